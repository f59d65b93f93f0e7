//! Addresses of interfaces, and the networks that these connect.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::Family;

/// The addresses of all interfaces.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Addresses {
    all: BTreeSet<(IpNet, u32, IpAddr)>,
    /// How many entries have an address: whether it is ours is asked of every next hop.
    counts: HashMap<IpAddr, usize, foldhash::fast::RandomState>,
    /// How many entries have it as an end of their network: [`ends`].
    ends: HashMap<IpAddr, usize, foldhash::fast::RandomState>,
    /// Those that nothing can be sent from, and their devices.
    tentative: BTreeSet<(IpAddr, u32)>,
}

impl Addresses {
    /// `net`: the network on the link, of a point-to-point link the peer's address.
    pub(crate) fn insert(&mut self, net: IpNet, device: u32, address: IpAddr) -> bool {
        let is_new = self.all.insert((net.trunc(), device, address));
        if is_new {
            *self.counts.entry(address).or_default() += 1;
            for end in ends(net) {
                *self.ends.entry(end).or_default() += 1;
            }
        }
        is_new
    }

    pub(crate) fn remove(&mut self, net: IpNet, device: u32, address: IpAddr) -> bool {
        let was_known = self.all.remove(&(net.trunc(), device, address));
        self.tentative.remove(&(address, device));
        if was_known {
            release(&mut self.counts, address);
            for end in ends(net) {
                release(&mut self.ends, end);
            }
        }
        was_known
    }

    pub(crate) fn remove_device(&mut self, device: u32) {
        let of_device: Vec<_> = self
            .all
            .iter()
            .filter(|(_, of, _)| *of == device)
            .copied()
            .collect();
        for (net, device, address) in of_device {
            self.remove(net, device, address);
        }
    }

    /// Notes whether nothing can be sent from an address; says whether that is new.
    pub(crate) fn set_tentative(&mut self, device: u32, address: IpAddr, is_tentative: bool) -> bool {
        match is_tentative {
            true => self.tentative.insert((address, device)),
            false => self.tentative.remove(&(address, device)),
        }
    }

    /// Whether packets can be sent from an address.
    pub(crate) fn is_source(&self, address: IpAddr) -> bool {
        let tentative = self.tentative.range((address, 0)..=(address, u32::MAX)).count();
        self.counts.get(&address).is_some_and(|&count| count > tentative)
    }

    /// Whether this host has an address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.counts.contains_key(&address)
    }

    /// Whether no single host can have an address: the kernel takes it for no gateway.
    pub(crate) fn is_nobodys(&self, address: IpAddr) -> bool {
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        let is_never = address.is_unspecified() || address.is_multicast() || is_broadcast;
        is_never || self.ends.contains_key(&address)
    }

    pub(crate) fn has_ipv6_on(&self, device: u32) -> bool {
        let mut all = self.all.iter();
        all.any(|(_, of, address)| *of == device && address.is_ipv6())
    }

    /// The first address of a family that has a meaning beyond its link, on the device that has `address`.
    pub(crate) fn beside(&self, address: IpAddr, family: Family) -> Option<IpAddr> {
        let (_, device, _) = self.all.iter().find(|(_, _, of)| *of == address)?;
        let on_device = self.all.iter().filter(|(_, of, _)| of == device);
        let mut addresses = on_device.map(|(_, _, address)| *address);
        addresses.find(|address| Family::of(*address) == family && !is_near(*address))
    }

    /// Each network with the first device for which `is_used` says yes.
    pub(crate) fn networks(&self, is_used: impl Fn(u32, IpNet) -> bool) -> BTreeMap<IpNet, u32> {
        let mut networks = BTreeMap::new();
        for &(net, device, address) in &self.all {
            if !is_near(address) && is_used(device, net) {
                networks.entry(net).or_insert(device);
            }
        }
        networks
    }
}

/// The first and the last address of an IPv4 network, which no host has where there are others between them.
pub(crate) fn ends(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let has_ends = matches!(net, IpNet::V4(net) if net.prefix_len() <= 30);
    let ends = has_ends.then(|| [net.network(), net.broadcast()]);
    ends.into_iter().flatten()
}

fn release(counts: &mut HashMap<IpAddr, usize, foldhash::fast::RandomState>, address: IpAddr) {
    if let Some(count) = counts.get_mut(&address) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&address);
        }
    }
}

/// Whether an address means something only on this host or link, or nothing at all. 240.0.0.0/4 is used like any
/// other (behaviour contract §6.5).
pub(super) fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || address.octets()[0] == 0
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_multicast()
                || address.is_unspecified()
        }
    }
}

/// Whether a route to this destination can be announced at all: the default route, and what is not of this host or
/// link alone.
pub(crate) fn is_announceable(prefix: IpNet) -> bool {
    prefix.prefix_len() == 0 || !is_near(prefix.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c177_what_concerns_only_this_host_or_link_is_not_announceable() {
        for (prefix, expected) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("10.65.1.0/26", true),
            ("240.1.0.0/24", true),
            ("fd00::/64", true),
            ("127.0.0.0/8", false),
            ("169.254.1.1/32", false),
            ("224.0.0.0/4", false),
            ("255.255.255.255/32", false),
            ("0.0.0.0/8", false),
            ("fe80::/64", false),
            ("ff00::/8", false),
            ("::1/128", false),
        ] {
            assert_eq!(is_announceable(prefix.parse().unwrap()), expected, "{prefix}");
        }
    }

    #[test]
    fn an_address_is_ours_while_one_interface_has_it_and_has_others_beside_it() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut addresses = Addresses::default();
        for (net, device, address) in [
            ("192.0.2.0/24", 2, "192.0.2.1"),
            ("192.0.2.0/24", 3, "192.0.2.1"),
            ("fe80::/64", 2, "fe80::1"),
            ("2001:db8::/64", 2, "2001:db8::1"),
            ("2001:db8:9::/64", 9, "2001:db8:9::1"),
        ] {
            addresses.insert(net.parse().unwrap(), device, ip(address));
        }
        assert_eq!(
            addresses.beside(ip("192.0.2.1"), Family::Ipv6Unicast),
            Some(ip("2001:db8::1"))
        );
        assert_eq!(addresses.beside(ip("2001:db8:9::1"), Family::Ipv4Unicast), None);
        addresses.remove_device(2);
        assert!(addresses.has(ip("192.0.2.1")) && !addresses.has(ip("2001:db8::1")));
        addresses.remove_device(3);
        assert!(!addresses.has(ip("192.0.2.1")));
    }

    #[test]
    fn a_network_stays_while_one_of_its_addresses_does() {
        let mut addresses = Addresses::default();
        let net: IpNet = "192.0.2.0/24".parse().unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(addresses.insert(net, 2, ip("192.0.2.1")));
        assert!(addresses.insert(net, 2, ip("192.0.2.2")));
        addresses.remove(net, 2, ip("192.0.2.1"));
        assert_eq!(
            addresses.networks(|_, _| true).into_keys().collect::<Vec<_>>(),
            [net]
        );
        assert!(addresses.networks(|device, _| device != 2).is_empty());
        addresses.remove_device(2);
        assert!(addresses.networks(|_, _| true).is_empty());
    }

    #[test]
    fn no_host_has_the_ends_of_a_network_nor_a_groups_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut addresses = Addresses::default();
        let nets = ["192.0.2.0/24", "198.51.100.0/31", "2001:db8::/64"];
        for (device, text) in (2..).zip(nets) {
            let net: IpNet = text.parse().unwrap();
            addresses.insert(net, device, net.hosts().nth(1).unwrap());
        }
        for (address, expected) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.2.254", false),
            ("198.51.100.0", false),
            ("2001:db8::", false),
            ("203.0.113.255", false),
            ("0.0.0.0", true),
            ("255.255.255.255", true),
            ("224.0.0.5", true),
            ("::", true),
            ("ff02::1", true),
        ] {
            assert_eq!(addresses.is_nobodys(ip(address)), expected, "{address}");
        }
        addresses.remove_device(2);
        assert!(!addresses.is_nobodys(ip("192.0.2.255")));
    }
}
