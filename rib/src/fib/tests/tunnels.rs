//! IPIP and several next hops.

use super::*;

#[test]
fn c169_l9_every_next_hop_of_an_ecmp_route_is_tunnelled() {
    let mut fib = loaded(&[link(9, "tunl0", true)]);
    let tunnelled = |next_hop: &str| Hop {
        tunnel: Tunnel::IpipCrossSubnet("192.0.2.0/24".parse().unwrap()),
        ..hop(next_hop)
    };
    set(
        &mut fib,
        "10.65.2.0/26",
        Some(via(&[tunnelled("172.16.0.7"), tunnelled("172.16.0.8")], 0)),
    );
    let ops = fib.poll_batch().unwrap();
    let KernelAction::Unicast(hops) = &ops[0].route.action else {
        panic!("{:?}", ops[0]);
    };
    let found: Vec<_> = hops
        .iter()
        .map(|hop| (hop.gateway, hop.device, hop.is_onlink))
        .collect();
    assert_eq!(
        found,
        [
            (Some(ip("172.16.0.7")), 9, true),
            (Some(ip("172.16.0.8")), 9, true)
        ]
    );
    fib.handle_result(&[]);
    // One inside our subnet goes as it is, beside one that does not.
    set(
        &mut fib,
        "10.65.2.0/26",
        Some(via(&[tunnelled("172.16.0.7"), tunnelled("192.0.2.12")], 0)),
    );
    let ops = fib.poll_batch().unwrap();
    let KernelAction::Unicast(hops) = &ops[0].route.action else {
        panic!("{:?}", ops[0]);
    };
    let mut devices: Vec<u32> = hops.iter().map(|hop| hop.device).collect();
    devices.sort_unstable();
    assert_eq!(devices, [2, 9]);
}
