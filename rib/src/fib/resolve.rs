//! Next hops through the kernel's own routes.
//!
//! **Invariant:** only routes that pipit did not write resolve anything, so no BGP route depends on another. A peer that
//! is `reachableBy` a gateway is reached as that gateway is.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::fib::connected::Addresses;
use crate::fib::covered::Covered;
use crate::fib::foreign::{Change, ForeignTable};
use crate::fib::foreign_objects::ForeignObjects;
use crate::fib::host_routes::HostRoutes;
use crate::fib::kernel::{Arrival, Authored, KernelHop, Table};
use crate::fib::objects::Ways;
use crate::fib::scopes::Scopes;
use crate::fib::target::{Hop, Tunnel};

/// The device of Calico's IPIP mode.
pub(crate) const IPIP_DEVICE: &str = "tunl0";

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) is_up: bool,
    pub(crate) has_carrier: bool,
}

type Links = HashMap<u32, Link>;

fn is_up(links: &Links, device: u32) -> bool {
    links.get(&device).is_some_and(|link| link.is_up)
}

fn has_carrier(links: &Links, device: u32) -> bool {
    links.get(&device).is_some_and(|link| link.has_carrier)
}

/// Whether and how an address is reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Reachability {
    /// No route leads there.
    #[default]
    Unreachable,
    /// It is one of this host's: a packet that is sent there goes nowhere (RFC 4271 §5.1.3).
    Own,
    /// A route leads there.
    Reachable {
        /// Its metric: the IGP cost of the decision process.
        metric: u32,
        /// Name of the interface by which packets leave.
        interface: String,
    },
}

impl Reachability {
    /// Whether packets can go there.
    pub(crate) fn is_way(&self) -> bool {
        matches!(self, Reachability::Reachable { .. })
    }
}

/// Why a route cannot be written now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Parked {
    /// Nothing leads to this next hop.
    Unreachable(IpAddr),
    /// This device does not exist or is down. Without it packets would go these ways: a route of ours by them stays
    /// until there can be a better one.
    DeviceMissing(&'static str, Ways),
    /// The target names no next hop at all.
    WithoutNextHop,
}

impl std::fmt::Display for Parked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Parked::Unreachable(next_hop) => write!(f, "no route to next hop {next_hop}"),
            Parked::DeviceMissing(name, _) => write!(f, "device {name} does not exist or is down"),
            Parked::WithoutNextHop => write!(f, "no next hop"),
        }
    }
}

/// Links, addresses and foreign routes at one time.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    links: Links,
    addresses: Addresses,
    /// The main table.
    pub(crate) ipv4: ForeignTable<ipnet::Ipv4Net>,
    pub(crate) ipv6: ForeignTable<ipnet::Ipv6Net>,
    /// Our table, where it is another one.
    beside: Beside,
    objects: ForeignObjects,
}

/// Other programs' routes in a table of our own: in the way at most.
#[derive(Debug, Default)]
struct Beside {
    ipv4: ForeignTable<ipnet::Ipv4Net>,
    ipv6: ForeignTable<ipnet::Ipv6Net>,
}

/// What is known of the kernel beside our own routes.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    /// Our table is not the main one.
    is_apart: bool,
    current: Picture,
    /// What the dump under way has shown so far. Until it is complete the old picture answers.
    incoming: Option<Picture>,
    host_routes: HostRoutes,
    scopes: Scopes,
    covered: Covered,
}

impl Topology {
    /// Our table is not the main one: what is in the way and what leads to next hops are different routes.
    pub(crate) fn set_apart(&mut self) {
        self.is_apart = true;
    }

    pub(crate) fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// A dump starts: a new picture is drawn.
    pub(crate) fn begin_dump(&mut self) {
        self.incoming = Some(Picture::default());
    }

    /// The new picture is complete; says whether it shows other addresses.
    pub(crate) fn end_dump(&mut self) -> bool {
        let Some(incoming) = self.incoming.take() else {
            return false;
        };
        let old = std::mem::replace(&mut self.current, incoming);
        let links = &self.current.links;
        self.covered
            .retain(|device| links.get(&device).is_some_and(|link| link.is_up));
        old.addresses != self.current.addresses
    }

    fn drawn(&mut self) -> &mut Picture {
        self.incoming.as_mut().unwrap_or(&mut self.current)
    }

    /// What nexthop objects hold, as last told.
    pub(crate) fn objects_mut(&mut self) -> &mut ForeignObjects {
        &mut self.drawn().objects
    }

    /// Notes another program's route.
    pub(crate) fn add_route(&mut self, table: Table, prefix: IpNet, route: Authored, how: Arrival) -> Change {
        let is_beside = self.is_apart && table == Table::Ours;
        let picture = self.drawn();
        match (prefix, is_beside) {
            (IpNet::V4(prefix), false) => picture.ipv4.insert(prefix, route, how),
            (IpNet::V6(prefix), false) => picture.ipv6.insert(prefix, route, how),
            (IpNet::V4(prefix), true) => picture.beside.ipv4.insert(prefix, route, how),
            (IpNet::V6(prefix), true) => picture.beside.ipv6.insert(prefix, route, how),
        }
    }

    /// Forgets another program's route, or the next hops of it that are gone.
    pub(crate) fn remove_route(&mut self, table: Table, prefix: IpNet, route: &Authored) -> Change {
        let is_beside = self.is_apart && table == Table::Ours;
        let picture = self.drawn();
        match (prefix, is_beside) {
            (IpNet::V4(prefix), false) => picture.ipv4.remove(prefix, route),
            (IpNet::V6(prefix), false) => picture.ipv6.remove(prefix, route),
            (IpNet::V4(prefix), true) => picture.beside.ipv4.remove(prefix, route),
            (IpNet::V6(prefix), true) => picture.beside.ipv6.remove(prefix, route),
        }
    }

    /// A route of ours took the place of a foreign one, if there was any.
    pub(crate) fn displace(&mut self, prefix: IpNet, metric: u32) -> Change {
        let is_apart = self.is_apart;
        let picture = self.drawn();
        match (prefix, is_apart) {
            (IpNet::V4(prefix), false) => picture.ipv4.displace(prefix, metric),
            (IpNet::V6(prefix), false) => picture.ipv6.displace(prefix, metric),
            (IpNet::V4(prefix), true) => picture.beside.ipv4.displace(prefix, metric),
            (IpNet::V6(prefix), true) => picture.beside.ipv6.displace(prefix, metric),
        }
    }

    /// Says what was known before.
    pub(crate) fn set_link(&mut self, index: u32, link: Link) -> Option<Link> {
        if !link.is_up {
            self.covered.retain(|device| device != index);
        }
        self.drawn().links.insert(index, link)
    }

    /// Says what was known of it.
    pub(crate) fn remove_link(&mut self, index: u32) -> Option<Link> {
        self.covered.retain(|device| device != index);
        let picture = self.drawn();
        picture.addresses.remove_device(index);
        picture.links.remove(&index)
    }

    /// Whether a link that is up has no IPv6 address. During a dump the new picture answers.
    pub(crate) fn is_up_without_ipv6(&self, device: u32) -> bool {
        let picture = self.incoming.as_ref().unwrap_or(&self.current);
        is_up(&picture.links, device) && !picture.addresses.has_ipv6_on(device)
    }

    /// Whether an IPv6 route of another program uses a device. During a dump the new picture answers.
    pub(crate) fn has_ipv6_through(&self, device: u32) -> bool {
        let picture = self.incoming.as_ref().unwrap_or(&self.current);
        picture.ipv6.leads_through(device) || picture.beside.ipv6.leads_through(device)
    }

    /// Says whether that is new.
    pub(crate) fn add_address(&mut self, net: IpNet, device: u32, address: IpAddr) -> bool {
        self.drawn().addresses.insert(net, device, address)
    }

    /// Notes whether nothing can be sent from an address; says whether that is new.
    pub(crate) fn set_tentative(&mut self, device: u32, address: IpAddr, is_tentative: bool) -> bool {
        self.drawn()
            .addresses
            .set_tentative(device, address, is_tentative)
    }

    /// Says whether it was known.
    pub(crate) fn remove_address(&mut self, net: IpNet, device: u32, address: IpAddr) -> bool {
        self.drawn().addresses.remove(net, device, address)
    }

    /// The routes of other programs.
    pub(crate) fn routes(&self) -> &Picture {
        &self.current
    }

    /// The addresses of all interfaces.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.current.addresses
    }

    /// The destinations of others' routes that use a device: next hops within them may be reached in another way when
    /// it changes, and no other ones.
    pub(crate) fn nets_through(&self, device: u32) -> Vec<IpNet> {
        let picture = &self.current;
        let ipv4 = picture.ipv4.prefixes_through(device).into_iter().map(IpNet::V4);
        let ipv6 = picture.ipv6.prefixes_through(device).into_iter().map(IpNet::V6);
        ipv4.chain(ipv6).collect()
    }

    /// Forgets the routes that the kernel dropped with a device; their prefixes.
    pub(crate) fn drop_device(&mut self, index: u32) -> Vec<IpNet> {
        self.drop_from_all(
            |table, links| table.drop_device(index, |device| is_up(links, device)),
            |table, links| table.drop_device(index, |device| is_up(links, device)),
        )
    }

    /// Forgets the routes that the kernel dropped with a nexthop object; their prefixes.
    pub(crate) fn drop_object(&mut self, id: u32) -> Vec<IpNet> {
        self.drop_from_all(|table, _| table.drop_object(id), |table, _| table.drop_object(id))
    }

    /// Whether another program's route leads through a nexthop object.
    pub(crate) fn uses_object(&self, id: u32) -> bool {
        let picture = &self.current;
        picture.ipv4.uses_object(id)
            || picture.ipv6.uses_object(id)
            || picture.beside.ipv4.uses_object(id)
            || picture.beside.ipv6.uses_object(id)
    }

    /// Forgets the routes that the kernel dropped with the nexthop objects of a device; their prefixes.
    pub(crate) fn drop_objects_of(&mut self, device: u32) -> Vec<IpNet> {
        self.drop_from_all(
            |table, links| table.drop_objects_of(device, |device| has_carrier(links, device)),
            |table, links| table.drop_objects_of(device, |device| has_carrier(links, device)),
        )
    }

    fn drop_from_all(
        &mut self,
        ipv4: impl Fn(&mut ForeignTable<ipnet::Ipv4Net>, &Links) -> Vec<ipnet::Ipv4Net>,
        ipv6: impl Fn(&mut ForeignTable<ipnet::Ipv6Net>, &Links) -> Vec<ipnet::Ipv6Net>,
    ) -> Vec<IpNet> {
        let picture = self.drawn();
        let links = &picture.links;
        let mut dropped: Vec<IpNet> = Vec::new();
        for table in [&mut picture.ipv4, &mut picture.beside.ipv4] {
            dropped.extend(ipv4(table, links).into_iter().map(IpNet::V4));
        }
        for table in [&mut picture.ipv6, &mut picture.beside.ipv6] {
            dropped.extend(ipv6(table, links).into_iter().map(IpNet::V6));
        }
        dropped
    }

    pub(crate) fn link_name(&self, index: u32) -> Option<&str> {
        self.current.links.get(&index).map(|link| link.name.as_str())
    }

    pub(crate) fn name_if_up(&self, index: u32) -> Option<&str> {
        let link = self.current.links.get(&index).filter(|link| link.is_up)?;
        Some(&link.name)
    }

    /// Somebody else's route with this prefix and metric.
    pub(crate) fn conflict(&self, prefix: IpNet, metric: u32) -> Option<&Authored> {
        let picture = &self.current;
        match (prefix, self.is_apart) {
            (IpNet::V4(prefix), false) => picture.ipv4.holder(prefix, metric),
            (IpNet::V6(prefix), false) => picture.ipv6.holder(prefix, metric),
            (IpNet::V4(prefix), true) => picture.beside.ipv4.holder(prefix, metric),
            (IpNet::V6(prefix), true) => picture.beside.ipv6.holder(prefix, metric),
        }
    }

    /// Whether somebody else's routes in our table carry a protocol number.
    pub(crate) fn is_carried(&self, protocol: u8) -> bool {
        let picture = &self.current;
        let (ipv4, ipv6) = match self.is_apart {
            false => (&picture.ipv4, &picture.ipv6),
            true => (&picture.beside.ipv4, &picture.beside.ipv6),
        };
        ipv4.is_carried(protocol) || ipv6.is_carried(protocol)
    }

    /// Whether a program has another route than this one with its metric, as far as the dump under way has shown, or
    /// events since the last one.
    pub(crate) fn has_beside(&self, prefix: ipnet::Ipv4Net, route: &Authored) -> bool {
        let picture = self.incoming.as_ref().unwrap_or(&self.current);
        let table = match self.is_apart {
            true => &picture.beside.ipv4,
            false => &picture.ipv4,
        };
        let mut routes = table.routes(prefix);
        routes.any(|other| other.route.metric == route.route.metric && other != route)
    }

    /// Somebody else's route to this prefix that packets take instead of one with this metric, or may: the kernel asks
    /// first the lower metric, of two equal ones that which came first.
    pub(crate) fn shadow(&self, prefix: IpNet, metric: u32) -> Option<&Authored> {
        let picture = &self.current;
        match (prefix, self.is_apart) {
            (IpNet::V4(prefix), false) => picture.ipv4.first_below(prefix, metric),
            (IpNet::V6(prefix), false) => picture.ipv6.first_below(prefix, metric),
            (IpNet::V4(prefix), true) => picture.beside.ipv4.first_below(prefix, metric),
            (IpNet::V6(prefix), true) => picture.beside.ipv6.first_below(prefix, metric),
        }
    }

    pub(crate) fn reachability(&self, address: IpAddr) -> Reachability {
        match self.lookup(address) {
            _ if self.is_own(address) => Reachability::Own,
            Some((metric, hop)) => Reachability::Reachable {
                metric,
                interface: self.link_name(hop.device).unwrap_or_default().to_owned(),
            },
            None => Reachability::Unreachable,
        }
    }

    /// The kernel's form of several hops. Those without a way out are left out, and so are those behind a device
    /// without carrier while others have one: the kernel itself would go on using them.
    pub(crate) fn resolve_all(&self, hops: &[Hop]) -> Result<Ways, Parked> {
        let mut ways = Ways::new();
        let mut parked = Parked::WithoutNextHop;
        for hop in hops {
            match (self.resolve(hop), &mut parked) {
                (Ok(way), _) => ways.push(way),
                (Err(Parked::DeviceMissing(_, more)), Parked::DeviceMissing(_, plain)) => plain.extend(more),
                (Err(_), Parked::DeviceMissing(..)) => {}
                (Err(reason), parked) => *parked = reason,
            }
        }
        if ways.is_empty() {
            return Err(parked);
        }
        if ways.iter().any(|way| self.has_carrier(way.device)) {
            ways.retain(|way| self.has_carrier(way.device));
        }
        Ok(ways)
    }

    fn resolve(&self, hop: &Hop) -> Result<KernelHop, Parked> {
        let is_tunnelled = match (hop.tunnel, hop.next_hop) {
            (Tunnel::None, _) => false,
            (Tunnel::IpipAlways, _) => true,
            (Tunnel::IpipCrossSubnet(own), IpAddr::V4(next_hop)) => !own.contains(&next_hop),
            (Tunnel::IpipCrossSubnet(_), IpAddr::V6(_)) => true,
        };
        // The kernel takes a weight of 1 to 256.
        let weight = hop.weight.max(1);
        if is_tunnelled {
            let Some(device) = self.device(IPIP_DEVICE) else {
                let plain = Hop {
                    tunnel: Tunnel::None,
                    ..*hop
                };
                let plain = self.resolve(&plain).into_iter().collect();
                return Err(Parked::DeviceMissing(IPIP_DEVICE, plain));
            };
            return Ok(KernelHop {
                gateway: Some(hop.next_hop),
                device,
                is_onlink: true,
                weight,
            });
        }
        // A link-local address says nothing about its link: the global one does.
        let (_, via) = self
            .lookup(hop.next_hop)
            .ok_or(Parked::Unreachable(hop.next_hop))?;
        let address = hop.link_local.map_or(hop.next_hop, IpAddr::V6);
        let gateway = via.gateway.unwrap_or(address);
        Ok(KernelHop {
            gateway: Some(gateway),
            device: via.device,
            is_onlink: via.is_onlink || self.covered.is_declared(gateway, via.device),
            weight,
        })
    }

    /// Whether an address is on a connected network of this device.
    pub(crate) fn is_connected(&self, address: IpAddr, device: u32) -> bool {
        let way = self.lookup_foreign(address);
        way.is_some_and(|(_, hop)| hop.gateway.is_none() && hop.device == device)
    }

    pub(crate) fn covered(&mut self) -> &mut Covered {
        &mut self.covered
    }

    fn device(&self, name: &str) -> Option<u32> {
        self.current
            .links
            .iter()
            .find(|(_, link)| link.name == name && link.is_up)
            .map(|(&index, _)| index)
    }

    pub(crate) fn has_carrier(&self, device: u32) -> bool {
        has_carrier(&self.current.links, device)
    }

    pub(crate) fn scopes_mut(&mut self) -> &mut Scopes {
        &mut self.scopes
    }

    pub(crate) fn host_routes_mut(&mut self) -> &mut HostRoutes {
        &mut self.host_routes
    }

    /// The gateway of a peer that is `reachableBy` one.
    pub(crate) fn host_gateway(&self, peer: IpAddr) -> Option<IpAddr> {
        self.host_routes.gateway(peer)
    }

    fn lookup(&self, address: IpAddr) -> Option<(u32, KernelHop)> {
        // RFC 4271 §5.1.3: a packet that is sent to ourselves goes nowhere.
        if self.is_own(address) {
            return None;
        }
        let Some(gateway) = self.host_gateway(address) else {
            return self.lookup_foreign(address);
        };
        let (metric, hop) = self.lookup_foreign(gateway)?;
        let gateway = hop.gateway.or(Some(gateway));
        Some((metric, KernelHop { gateway, ..hop }))
    }

    /// Whether an address is this host's. A peer's link-local one is not, whatever other links have.
    fn is_own(&self, address: IpAddr) -> bool {
        self.addresses().has(address) && !self.scopes.knows(address)
    }

    fn lookup_foreign(&self, address: IpAddr) -> Option<(u32, KernelHop)> {
        if self.addresses().is_nobodys(address) {
            return None;
        }
        let links = &self.current.links;
        let is_usable = |hop: &KernelHop| {
            let link = links.get(&hop.device).filter(|link| link.is_up);
            link.is_some_and(|link| self.scopes.allow(address, &link.name))
        };
        let has_carrier = |hop: &KernelHop| self.has_carrier(hop.device);
        match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                let octets = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                self.current.ipv4.lookup(octets, is_usable, has_carrier)
            }
            IpAddr::V6(address) => self.current.ipv6.lookup(address.octets(), is_usable, has_carrier),
        }
    }

    #[cfg(test)]
    pub(crate) fn foreign_count(&self) -> usize {
        self.current.ipv4.len() + self.current.ipv6.len()
    }
}
