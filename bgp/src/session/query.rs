//! Sessions as people see them.

use std::net::IpAddr;

use serde::Serialize;

use crate::asn::Asn;
use crate::bfd::BfdView;
use crate::session::counts::MessageCounts;

/// The states of RFC 4271 §8.2.2, in its words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum State {
    /// Refusing connections, or waiting after an error.
    Idle,
    /// Dialling.
    Connect,
    /// Waiting for the peer to dial, or to dial again.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPENs exchanged.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Idle => "Idle",
            State::Connect => "Connect",
            State::Active => "Active",
            State::OpenSent => "OpenSent",
            State::OpenConfirm => "OpenConfirm",
            State::Established => "Established",
        })
    }
}

/// One session.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SessionView {
    /// Calico's session name.
    pub name: String,
    /// The peer's address.
    pub address: IpAddr,
    /// TCP port that is dialled.
    pub port: u16,
    /// The AS we present.
    pub local_as: Asn,
    /// The AS the peer must present.
    pub remote_as: Asn,
    /// FSM state.
    pub state: State,
    /// When the session entered or left Established, or was configured; seconds since 1970.
    pub since: u64,
    /// Why the last session or attempt ended; `None` when nothing went wrong yet.
    pub last_error: Option<String>,
    /// Why it is not allowed to run; `None` when it is.
    pub held: Option<String>,
    /// Never dials.
    pub is_passive: bool,
    /// How often an Established session has ended.
    pub flaps: u64,
    /// The last NOTIFICATION that we sent, in words; `None`: none yet. Those of collisions are routine, and not here.
    pub last_error_sent: Option<String>,
    /// The last NOTIFICATION that the peer sent; as above.
    pub last_error_received: Option<String>,
    /// Messages to the peer.
    pub sent: MessageCounts,
    /// Messages from the peer.
    pub received: MessageCounts,
    /// What was negotiated; `None` unless Established.
    pub negotiated: Option<NegotiatedView>,
    /// How the path to the peer is; `None` without BFD.
    pub bfd: Option<BfdView>,
}

/// What a session negotiated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NegotiatedView {
    /// The peer's router id.
    pub router_id: String,
    /// Hold time in seconds.
    pub hold_time_secs: u64,
    /// Families in use.
    pub families: Vec<String>,
    /// Capabilities in effect, by name.
    pub capabilities: Vec<&'static str>,
    /// The peer's host name, if it says it.
    pub hostname: Option<String>,
    /// The peer's software, if it says it.
    pub software: Option<String>,
}
