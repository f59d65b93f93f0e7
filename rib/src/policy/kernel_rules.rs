//! Which routes of one family are written to the kernel, and through which tunnel (behaviour contract §6.2).

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::policy::NetSet;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KernelRules {
    /// Inside: not written.
    pub skip_services: NetSet,
    /// BGP routes with one of these next hops are not written: WireGuard peers, Felix's business.
    pub wireguard_next_hops: Vec<IpAddr>,
    /// Pools; the most specific that covers a prefix decides. Outside all of them routes are written.
    pub pools: Vec<(IpNet, PoolAction)>,
}

/// What a pool says of the routes inside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PoolAction {
    /// Felix writes them.
    Skip,
    /// Written as ordinary routes.
    Install,
    /// Written through `tunl0`.
    TunnelAlways,
    /// Written through `tunl0` unless the BGP next hop is inside the node's own subnet.
    TunnelCrossSubnet {
        /// The network part of the node's address.
        own_subnet: Ipv4Net,
    },
}

impl KernelRules {
    /// What the pools say of a prefix.
    pub fn action(&self, prefix: IpNet) -> PoolAction {
        self.pools
            .iter()
            .filter(|(net, _)| net.contains(&prefix))
            .max_by_key(|(net, _)| net.prefix_len())
            .map_or(PoolAction::Install, |&(_, action)| action)
    }
}
