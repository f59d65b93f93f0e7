//! What a session tells the rest of the daemon.

use std::net::IpAddr;
use std::time::Duration;

use crate::asn::Asn;
use crate::family::{FamilyMap, FamilySet};
use crate::router_id::RouterId;
use crate::session::config::Role;

/// What both OPENs together allow. Exists only once OPENs have been exchanged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Negotiated {
    /// The peer's BGP Identifier.
    pub remote_router_id: RouterId,
    /// The AS the peer presented (4-octet form).
    pub remote_as: Asn,
    /// Our end of the TCP connection.
    pub local_address: IpAddr,
    /// Families both sides offered (IPv4 unicast is implied where a side sends no MP capability at all).
    pub families: FamilySet,
    /// Smaller of the two hold times; zero: no keepalives (RFC 4271 §4.2).
    pub hold_time: Duration,
    /// AS numbers travel as 4 octets (RFC 6793).
    pub four_octet_as: bool,
    /// Largest message we may send: 4,096, or 65,535 with RFC 8654.
    pub max_message_len: u16,
    /// We may send several paths for a prefix.
    pub add_path_send: FamilySet,
    /// The peer sends path identifiers.
    pub add_path_receive: FamilySet,
    /// ROUTE-REFRESH may be sent (RFC 2918).
    pub route_refresh: bool,
    /// Refreshes are framed by BoRR and EoRR (RFC 7313).
    pub enhanced_refresh: bool,
    /// IPv4 routes may have IPv6 next hops, in MP_REACH_NLRI (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer's side of graceful restart; `None` when it did not offer it.
    pub graceful_restart: Option<PeerRestart>,
    /// The peer keeps our routes while we restart: we asked for it, and it knows graceful restart.
    pub keeps_our_routes: bool,
    /// The peer's role was checked against ours (RFC 9234); ours, when one is configured.
    pub role: Option<Role>,
    /// FQDN capability: the host name, for people.
    pub hostname: Option<String>,
    /// Software version capability, for people.
    pub software: Option<String>,
}

/// The peer's graceful restart and LLGR capabilities (RFC 4724 §3, RFC 8538, RFC 9494).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerRestart {
    /// The peer has just restarted (Restart State bit).
    pub restarting: bool,
    /// It can tell hard resets from soft ones (N bit, RFC 8538).
    pub notification: bool,
    /// How long it may take to come back.
    pub restart_time: Duration,
    /// Families for which routes are kept while it restarts.
    pub families: FamilySet,
    /// Families for which it kept its forwarding state (F bit).
    pub forwarding: FamilySet,
    /// It knows long-lived graceful restart (RFC 9494 §3), and so takes routes that are marked stale.
    pub knows_long_lived: bool,
    /// LLGR stale time by family; zero: none.
    pub long_lived: FamilyMap<Duration>,
    /// Families for which it kept its forwarding state, as its LLGR capability has it.
    pub long_lived_forwarding: FamilySet,
}

/// How a session ended, as far as its routes are concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionEnd {
    /// What happened, for people.
    pub reason: String,
    /// Families whose routes stay, marked stale, and for how long (RFC 4724 §4.2); empty: all routes go at once.
    pub retain: FamilySet,
    /// Restart time of the peer; meaningful where `retain` is not empty.
    pub restart_time: Duration,
    /// LLGR stale time by family, after the restart time; zero: none.
    pub long_lived: FamilyMap<Duration>,
}
