//! Next hops through the kernel's own routes.
//!
//! **Invariant:** only routes that pipit did not write resolve anything, so no BGP route depends on another.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::fib::kernel::{KernelAction, KernelHop, KernelRoute};
use crate::fib::target::{Hop, Tunnel};
use crate::policy::NetSet;

/// The device of Calico's IPIP mode.
const IPIP_DEVICE: &str = "tunl0";

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Link {
    name: String,
    is_up: bool,
}

/// Whether and how an address is reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Reachability {
    /// No route leads there.
    #[default]
    Unreachable,
    /// A route leads there.
    Reachable {
        /// Its metric: the IGP cost of the decision process.
        metric: u32,
        /// Name of the interface by which packets leave.
        interface: String,
    },
}

/// Why a route cannot be written now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Parked {
    /// Nothing leads to this next hop.
    NoRoute(IpAddr),
    /// This device does not exist or is down.
    NoDevice(&'static str),
}

impl std::fmt::Display for Parked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Parked::NoRoute(next_hop) => write!(f, "no route to next hop {next_hop}"),
            Parked::NoDevice(name) => write!(f, "device {name} does not exist or is down"),
        }
    }
}

/// What is known of the kernel beside our own routes.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    links: HashMap<u32, Link>,
    /// Foreign routes by prefix, several where metrics differ.
    foreign: HashMap<IpNet, Vec<(u8, KernelRoute)>, foldhash::fast::RandomState>,
    prefixes: NetSet,
}

impl Topology {
    /// Forgets all routes, before a dump.
    pub(crate) fn clear_routes(&mut self) {
        self.foreign.clear();
        self.prefixes = NetSet::default();
    }

    pub(crate) fn add_route(&mut self, prefix: IpNet, protocol: u8, route: KernelRoute) {
        let routes = self.foreign.entry(prefix).or_default();
        routes.retain(|(_, known)| known.metric != route.metric);
        routes.push((protocol, route));
        self.prefixes.insert(prefix);
    }

    pub(crate) fn remove_route(&mut self, prefix: IpNet, route: &KernelRoute) {
        if let Some(routes) = self.foreign.get_mut(&prefix) {
            routes.retain(|(_, known)| known.metric != route.metric);
            if routes.is_empty() {
                self.foreign.remove(&prefix);
                self.prefixes.remove(prefix);
            }
        }
    }

    /// Says whether anything changed.
    pub(crate) fn set_link(&mut self, index: u32, name: String, is_up: bool) -> bool {
        let link = Link { name, is_up };
        self.links.insert(index, link.clone()) != Some(link)
    }

    pub(crate) fn remove_link(&mut self, index: u32) {
        self.links.remove(&index);
    }

    pub(crate) fn link_name(&self, index: u32) -> Option<&str> {
        self.links.get(&index).map(|link| link.name.as_str())
    }

    /// Who else has a route with this prefix and metric.
    pub(crate) fn conflict(&self, prefix: IpNet, metric: u32) -> Option<u8> {
        let routes = self.foreign.get(&prefix)?;
        routes
            .iter()
            .find(|(_, route)| route.metric == metric)
            .map(|&(protocol, _)| protocol)
    }

    pub(crate) fn reachability(&self, address: IpAddr) -> Reachability {
        match self.lookup(address) {
            Some((metric, hop)) => Reachability::Reachable {
                metric,
                interface: self.link_name(hop.device).unwrap_or_default().to_owned(),
            },
            None => Reachability::Unreachable,
        }
    }

    /// The kernel's form of one hop.
    pub(crate) fn resolve(&self, hop: &Hop) -> Result<KernelHop, Parked> {
        let is_tunnelled = match (hop.tunnel, hop.next_hop) {
            (Tunnel::None, _) => false,
            (Tunnel::IpipAlways, _) => true,
            (Tunnel::IpipCrossSubnet(own), IpAddr::V4(next_hop)) => !own.contains(&next_hop),
            (Tunnel::IpipCrossSubnet(_), IpAddr::V6(_)) => true,
        };
        if is_tunnelled {
            let device = self.device(IPIP_DEVICE).ok_or(Parked::NoDevice(IPIP_DEVICE))?;
            return Ok(KernelHop {
                gateway: Some(hop.next_hop),
                device,
                is_onlink: true,
                weight: hop.weight,
            });
        }
        let address = hop.link_local.map_or(hop.next_hop, IpAddr::V6);
        // A link-local address says nothing about its link: the global one does.
        let (_, via) = self.lookup(hop.next_hop).ok_or(Parked::NoRoute(hop.next_hop))?;
        let gateway = via.gateway.unwrap_or(address);
        Ok(KernelHop {
            gateway: Some(gateway),
            device: via.device,
            is_onlink: via.is_onlink,
            weight: hop.weight,
        })
    }

    fn device(&self, name: &str) -> Option<u32> {
        self.links
            .iter()
            .find(|(_, link)| link.name == name && link.is_up)
            .map(|(&index, _)| index)
    }

    /// The longest match with the lowest metric whose device is up.
    fn lookup(&self, address: IpAddr) -> Option<(u32, KernelHop)> {
        let mut net = self.prefixes.covering(host(address))?;
        loop {
            let mut routes: Vec<&KernelRoute> =
                self.foreign.get(&net)?.iter().map(|(_, route)| route).collect();
            routes.sort_by_key(|route| route.metric);
            let usable = routes.into_iter().find_map(|route| match &route.action {
                KernelAction::Unicast(hops) => {
                    let up = hops
                        .iter()
                        .find(|hop| self.links.get(&hop.device).is_some_and(|link| link.is_up));
                    up.map(|hop| (route.metric, *hop))
                }
                KernelAction::Blackhole | KernelAction::Other(_) => None,
            });
            if usable.is_some() {
                return usable;
            }
            net = self.prefixes.covering(net.supernet()?)?;
        }
    }
}

fn host(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(address) => Ipv4Net::from(address).into(),
        IpAddr::V6(address) => Ipv6Net::from(address).into(),
    }
}
