//! What an operator may decide for one peer, as far as the session is concerned.
//!
//! What concerns its routes (policy, reflection, prefix limits) is `pipit_rib`'s `PeerSettings`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::asn::Asn;
use crate::family::{Family, FamilySet};
use crate::router_id::RouterId;

/// One configured peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerConfig {
    /// Name in logs and the CLI: Calico's session name (`Mesh_10_0_0_1`).
    pub name: String,
    /// The peer's address. A connection from it, whatever its source port, is this peer's.
    pub address: IpAddr,
    /// Interface of a link-local `address`; `None` otherwise.
    pub interface: Option<String>,
    /// TCP port to dial.
    pub port: u16,
    /// The AS the peer must present in its OPEN.
    pub remote_as: Asn,
    /// The AS we present.
    pub local_as: Asn,
    /// Our BGP Identifier.
    pub router_id: RouterId,
    /// Local address to dial from, and the only one on which connections are taken; `None`: the kernel chooses.
    pub source: Option<IpAddr>,
    /// Never dial.
    pub passive: bool,
    /// Why the session must not run; `None` when it may. A held peer neither dials nor accepts.
    pub held: Option<HoldReason>,
    /// Address families offered.
    pub families: FamilySet,
    /// Hold time offered in OPEN, whole seconds: zero, or 3 to 65,535 (RFC 4271 §4.2).
    pub hold_time: Duration,
    /// Interval between KEEPALIVEs; `None`: a third of the negotiated hold time.
    pub keepalive: Option<Duration>,
    /// Time before the first retry of a failed dial; doubles to `connect_retry`.
    pub first_retry: Duration,
    /// Longest time between dials (RFC 4271 ConnectRetryTime).
    pub connect_retry: Duration,
    /// First time spent in Idle after an error; doubles to 60 s, never below this.
    pub idle_hold: Duration,
    /// How long a new connection waits for the peer's OPEN before ours goes out (RFC 4271 §8.1.1 DelayOpenTime); zero:
    /// ours goes out at once.
    pub delay_open: Duration,
    /// RFC 9687 send hold time; `None`: twice the negotiated hold time, at least 8 minutes.
    pub send_hold: Option<Duration>,
    /// ADD-PATH offered (RFC 7911).
    pub add_path: AddPath,
    /// Graceful restart offered (RFC 4724).
    pub graceful_restart: GracefulRestart,
    /// IPv4 routes with IPv6 next hops offered (RFC 8950).
    pub extended_next_hop: bool,
    /// GTSM (RFC 5082): accept only packets that came over at most this many hops; `None`: TTL 64, no check.
    pub ttl_security: Option<u8>,
    /// TCP MD5 key (RFC 2385); `None`: unsigned.
    pub password: Option<Secret>,
    /// BGP Role (RFC 9234); `None`: not offered.
    pub role: Option<Role>,
    /// BFD (RFC 5880); `None`: off.
    pub bfd: Option<Bfd>,
}

impl PeerConfig {
    /// A peer with every setting that has one at its default.
    pub fn new(
        name: impl Into<String>,
        address: IpAddr,
        local_as: Asn,
        remote_as: Asn,
        router_id: RouterId,
    ) -> Self {
        PeerConfig {
            name: name.into(),
            address,
            interface: None,
            port: 179,
            remote_as,
            local_as,
            router_id,
            source: None,
            passive: false,
            held: None,
            families: FamilySet::only(Family::of(address)),
            hold_time: Duration::from_secs(240),
            keepalive: None,
            first_retry: Duration::from_secs(1),
            connect_retry: Duration::from_secs(5),
            idle_hold: Duration::from_secs(1),
            delay_open: Duration::ZERO,
            send_hold: None,
            add_path: AddPath::Both,
            graceful_restart: GracefulRestart::default(),
            extended_next_hop: false,
            ttl_security: None,
            password: None,
            role: None,
            bfd: None,
        }
    }
}

/// Why a configured session must not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldReason {
    /// The resource does not say which AS the peer is in.
    AsnMissing,
    /// A filter that the session uses cannot be read: fail closed.
    FilterInvalid,
    /// A password is asked for but not at hand: never run unauthenticated.
    PasswordMissing,
    /// An operator shut it down.
    Administrative,
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HoldReason::AsnMissing => "held: the peer's AS is missing",
            HoldReason::FilterInvalid => "held: a filter it uses cannot be read",
            HoldReason::PasswordMissing => "held: its password is missing",
            HoldReason::Administrative => "held: shut down by the operator",
        })
    }
}

/// ADD-PATH directions offered (RFC 7911 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AddPath {
    /// Not offered.
    Off,
    /// We take several paths for a prefix.
    Receive,
    /// We send several paths for a prefix.
    Send,
    /// Both.
    #[default]
    Both,
}

/// Graceful restart as offered (RFC 4724).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GracefulRestart {
    /// No capability.
    Off,
    /// We keep a restarting peer's routes, and promise nothing for our own restarts.
    Helper,
    /// We also ask peers to keep ours, for this long (whole seconds, up to 4,095).
    Restart {
        /// Restart Time in our OPEN.
        restart_time: Duration,
        /// How much longer they may be kept as the last choice (RFC 9494), whole seconds up to 2^24 - 1; zero: not
        /// asked for.
        long_lived: Duration,
    },
}

impl Default for GracefulRestart {
    fn default() -> Self {
        GracefulRestart::Restart {
            restart_time: Duration::from_secs(120),
            long_lived: Duration::ZERO,
        }
    }
}

/// BGP Role of the local speaker (RFC 9234 §4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// We are the peer's provider.
    Provider,
    /// We are a route server.
    RsServer,
    /// We are a route server's client.
    RsClient,
    /// We are the peer's customer.
    Customer,
    /// Lateral peers.
    Peer,
}

/// BFD timers asked for (RFC 5880 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bfd {
    /// Desired minimum interval between our packets.
    pub tx: Duration,
    /// Required minimum interval between theirs.
    pub rx: Duration,
    /// Packets that may be lost before the session is down.
    pub multiplier: u8,
}

/// A password. Never shown: not by `Debug`, not in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// So many octets a key for TCP MD5 may have: `TCP_MD5SIG_MAXKEYLEN` (linux/tcp.h).
    pub const LEN_MAX: usize = 80;

    /// Wraps the key's bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into())
    }

    /// The key, for the kernel alone.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
