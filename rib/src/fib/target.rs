//! What the RIB wants of the kernel, before next hops are resolved.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv4Net;
use smallvec::SmallVec;

/// A wanted route without its prefix.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FibTarget {
    /// What it does.
    pub action: FibAction,
    /// Linux metric.
    pub metric: u32,
}

/// See [`FibTarget`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum FibAction {
    /// Drop: an own block, so that traffic to its unused addresses does not loop.
    Blackhole,
    /// Towards these next hops.
    Via(SmallVec<[Hop; 1]>),
}

/// One BGP next hop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    /// The (global) address.
    pub next_hop: IpAddr,
    /// The link-local address of the same router, if it sent one.
    pub link_local: Option<Ipv6Addr>,
    /// Share of an ECMP set, from 1.
    pub weight: u8,
    /// Whether packets are tunnelled.
    pub tunnel: Tunnel,
}

/// Calico's IPIP modes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tunnel {
    /// Packets go as they are.
    None,
    /// Always through `tunl0`.
    IpipAlways,
    /// Through `tunl0` unless the next hop is inside the node's own subnet.
    IpipCrossSubnet(Ipv4Net),
}
