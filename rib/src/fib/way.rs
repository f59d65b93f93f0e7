//! How a BGP next hop is reached, for people.

use std::net::IpAddr;

use crate::fib::Fib;
use crate::fib::target::{Hop, Tunnel};
use crate::fib::view::FibHopView;

impl Fib {
    /// The gateway and the device by which packets to a next hop leave, tunnels left aside; `None`: nothing leads
    /// there.
    pub fn way(&self, next_hop: IpAddr) -> Option<FibHopView> {
        let hop = Hop {
            next_hop,
            link_local: None,
            weight: 1,
            tunnel: Tunnel::None,
        };
        let ways = self.topology.resolve_all(&[hop]).ok()?;
        let way = ways.first()?;
        Some(FibHopView {
            gateway: way.gateway,
            device: self.topology.link_name(way.device).map(str::to_owned),
            weight: way.weight,
            onlink: way.is_onlink,
        })
    }
}
