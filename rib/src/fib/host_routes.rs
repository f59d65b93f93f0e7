//! Static routes to peers behind a gateway (Calico's `reachableBy`).
//!
//! They are written like any route of ours, and unlike any other they resolve next hops: what a peer announces is
//! mostly to be sent to the peer itself. A route whose gateway nothing leads to is parked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use smallvec::smallvec;

use crate::fib::target::{FibAction, FibTarget, Hop, Tunnel};
use crate::fib::{Fib, FibPrefix};

/// Peers and their gateways.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HostRoutes(BTreeMap<IpAddr, IpAddr>);

impl HostRoutes {
    /// The gateway of a peer.
    pub(crate) fn gateway(&self, peer: IpAddr) -> Option<IpAddr> {
        self.0.get(&peer).copied()
    }

    fn peers_behind(&self, gateway: IpAddr) -> Vec<IpAddr> {
        let behind = self.0.iter().filter(|(_, via)| **via == gateway);
        behind.map(|(peer, _)| *peer).collect()
    }
}

impl Fib {
    /// Puts these routes, peer to gateway, in the place of those there were. Says whether any peer lost its route:
    /// its prefix is free for other routes again.
    pub fn set_host_routes(&mut self, routes: BTreeMap<IpAddr, IpAddr>) -> bool {
        let old = std::mem::replace(self.topology.host_routes_mut(), HostRoutes(routes.clone())).0;
        let mut has_lost = false;
        for &peer in old.keys().filter(|peer| !routes.contains_key(*peer)) {
            has_lost = true;
            self.set_host(peer, None);
            self.resolve_host(peer);
        }
        for (&peer, &gateway) in routes.iter().filter(|(peer, via)| old.get(*peer) != Some(*via)) {
            self.set_host(peer, Some(gateway));
            // From now on it is told when the gateway is reached in another way.
            self.track(gateway);
            self.resolve_host(peer);
        }
        has_lost
    }

    /// A tracked address is reached in another way: if it is a gateway, so are the peers behind it.
    pub(crate) fn follow_gateway(&mut self, gateway: IpAddr) {
        for peer in self.topology.host_routes_mut().peers_behind(gateway) {
            self.resolve_host(peer);
        }
    }

    /// Whether a prefix is that of such a peer: no other route takes its place (Calico's static routes come first).
    pub(crate) fn is_host_route<P: FibPrefix>(&self, prefix: P) -> bool {
        let net: IpNet = prefix.into();
        net.prefix_len() == net.max_prefix_len() && self.topology.host_gateway(net.addr()).is_some()
    }

    /// Whether an address is the gateway of one.
    pub(crate) fn is_gateway(&mut self, address: IpAddr) -> bool {
        !self.topology.host_routes_mut().peers_behind(address).is_empty()
    }

    fn set_host(&mut self, peer: IpAddr, gateway: Option<IpAddr>) {
        let target = gateway.map(|next_hop| FibTarget {
            action: FibAction::Via(smallvec![Hop {
                next_hop,
                link_local: None,
                weight: 1,
                tunnel: Tunnel::None,
            }]),
            metric: 0,
        });
        match IpNet::from(peer) {
            IpNet::V4(prefix) => self.put(prefix, target),
            IpNet::V6(prefix) => self.put(prefix, target),
        }
    }

    fn resolve_host(&mut self, peer: IpAddr) {
        self.stir_net(peer.into());
        self.resolve_again();
    }
}
