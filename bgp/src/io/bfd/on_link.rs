//! Whether a peer is on a link of ours.

use std::net::IpAddr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

/// Whether an address is in the subnet of one of our interfaces, or at the other end of a point-to-point link.
pub(super) fn is_on_link(address: IpAddr) -> bool {
    let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    is_link_local
        || getifaddrs().is_ok_and(|mut interfaces| interfaces.any(|interface| reaches(&interface, address)))
}

fn reaches(interface: &InterfaceAddress, address: IpAddr) -> bool {
    let ip = |storage: &Option<SockaddrStorage>| storage.as_ref().and_then(ip);
    let is_in_subnet = match (ip(&interface.address), ip(&interface.netmask)) {
        (Some(ours), Some(mask)) => is_in_subnet(ours, mask, address),
        _ => false,
    };
    is_in_subnet || ip(&interface.destination) == Some(address)
}

fn is_in_subnet(ours: IpAddr, mask: IpAddr, address: IpAddr) -> bool {
    match (ours, mask, address) {
        (IpAddr::V4(ours), IpAddr::V4(mask), IpAddr::V4(address)) => ours & mask == address & mask,
        (IpAddr::V6(ours), IpAddr::V6(mask), IpAddr::V6(address)) => ours & mask == address & mask,
        _ => false,
    }
}

fn ip(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_ends_where_its_mask_says() {
        let check = |ours: &str, mask: &str, address: &str| {
            is_in_subnet(
                ours.parse().unwrap(),
                mask.parse().unwrap(),
                address.parse().unwrap(),
            )
        };
        assert!(check("10.0.0.1", "255.255.255.0", "10.0.0.254"));
        assert!(!check("10.0.0.1", "255.255.255.0", "10.0.1.1"));
        assert!(check("10.0.0.1", "255.255.255.254", "10.0.0.0"));
        assert!(!check("10.0.0.1", "255.255.255.255", "10.0.0.2"));
        assert!(check("fd00::1", "ffff:ffff:ffff:ffff::", "fd00::2"));
        assert!(!check("fd00::1", "ffff:ffff:ffff:ffff::", "fd00:0:0:1::2"));
        assert!(!check("10.0.0.1", "0.0.0.0", "fd00::2"));
    }

    #[test]
    fn the_loopback_is_on_a_link_and_the_world_is_not() {
        assert!(is_on_link("127.0.0.1".parse().unwrap()));
        assert!(is_on_link("fe80::1".parse().unwrap()));
        assert!(!is_on_link("198.51.100.1".parse().unwrap()));
    }
}
