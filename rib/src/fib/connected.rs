//! Addresses of interfaces, and the networks that these connect.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

/// The addresses of all interfaces.
#[derive(Debug, Default)]
pub(crate) struct Addresses(BTreeSet<(IpNet, u32, IpAddr)>);

impl Addresses {
    /// `net`: the network on the link, of a point-to-point link the peer's address.
    pub(crate) fn insert(&mut self, net: IpNet, device: u32, address: IpAddr) -> bool {
        self.0.insert((net.trunc(), device, address))
    }

    pub(crate) fn remove(&mut self, net: IpNet, device: u32, address: IpAddr) -> bool {
        self.0.remove(&(net.trunc(), device, address))
    }

    pub(crate) fn remove_device(&mut self, device: u32) {
        self.0.retain(|&(_, of, _)| of != device);
    }

    /// Each network with the first device for which `is_used` says yes.
    pub(crate) fn networks(&self, is_used: impl Fn(u32, IpNet) -> bool) -> BTreeMap<IpNet, u32> {
        let mut networks = BTreeMap::new();
        for &(net, device, address) in &self.0 {
            if !is_near(address) && is_used(device, net) {
                networks.entry(net).or_insert(device);
            }
        }
        networks
    }
}

/// Whether an address means something only on this host or link, or nothing at all. 240.0.0.0/4 is used like any
/// other (behaviour contract §6.5).
fn is_near(address: IpAddr) -> bool {
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
}
