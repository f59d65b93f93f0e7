//! Everything about a peer that can change what it is told.

use std::net::IpAddr;
use std::sync::Arc;

use pipit_bgp::session::config::Role;
use pipit_bgp::session::output::Negotiated;
use pipit_bgp::wire::update::EncodeOptions;
use pipit_bgp::{Asn, Family, NextHop};

use crate::peer::{NextHopMode, PeerSettings};
use crate::policy::{Filter, PeerType};

/// The key of an update group: peers with equal keys are told the same, in the same bytes.
///
/// **Invariant:** export and encoding see of a peer nothing but this. The constructor takes both its sources apart
/// without `..`, so a field added to either does not compile until somebody has decided whether it matters here.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct EgressKey {
    pub(crate) family: Family,
    pub(crate) peer_type: PeerType,
    pub(crate) local_as: Asn,
    pub(crate) is_client: bool,
    pub(crate) next_hop: NextHopMode,
    /// Our address as a next hop of this family; `None` when we have none, and then own routes cannot be announced.
    pub(crate) own_next_hop: Option<NextHop>,
    pub(crate) filters: Vec<Arc<Filter>>,
    pub(crate) role: Option<Role>,
    /// IPv4 next hops may be IPv6 and the other way round never.
    pub(crate) extended_next_hop: bool,
    /// Long-lived stale routes may go to it (RFC 9494 §4.3).
    pub(crate) takes_stale: bool,
    /// Whether the peer takes all paths of a prefix.
    pub(crate) all_paths: bool,
    pub(crate) encode: EncodeOptions,
}

impl EgressKey {
    /// The key of one session for one family. `own_next_hop` depends on the node beside the session.
    pub(crate) fn new(
        family: Family,
        settings: &PeerSettings,
        negotiated: &Negotiated,
        own_next_hop: Option<IpAddr>,
    ) -> EgressKey {
        // Who the peer is, what it may send us and how it restarts does not change what it is told.
        let PeerSettings {
            name: _,
            address: _,
            interface: _,
            local_as,
            remote_as: _,
            next_hop,
            is_client,
            allowed_local_as: _,
            max_prefixes: _,
            accepts_local_pref: _,
            enforces_first_as: _,
            role,
            import: _,
            export,
        } = settings;
        let Negotiated {
            remote_router_id: _,
            remote_as: _,
            // It is in `own_next_hop`.
            local_address: _,
            families: _,
            hold_time: _,
            four_octet_as,
            max_message_len,
            add_path_send,
            add_path_receive: _,
            route_refresh: _,
            enhanced_refresh: _,
            extended_next_hop,
            graceful_restart,
            keeps_our_routes: _,
            role: _,
            hostname: _,
            software: _,
        } = negotiated;
        EgressKey {
            family,
            peer_type: settings.peer_type(),
            local_as: *local_as,
            is_client: *is_client,
            next_hop: *next_hop,
            own_next_hop: own_next_hop.map(NextHop::from),
            filters: export[family].clone(),
            role: *role,
            extended_next_hop: *extended_next_hop,
            takes_stale: graceful_restart
                .as_ref()
                .is_some_and(|restart| restart.knows_long_lived),
            all_paths: add_path_send.contains(family),
            encode: EncodeOptions {
                four_octet_as: *four_octet_as,
                add_path: *add_path_send,
                max_message_len: *max_message_len,
            },
        }
    }
}
