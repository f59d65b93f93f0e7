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

fn tunnelled(next_hop: &str) -> Hop {
    Hop {
        tunnel: Tunnel::IpipAlways,
        ..hop(next_hop)
    }
}

const BLOCK: &str = "10.65.2.0/26";

fn of_tunl0() -> Option<String> {
    Some("device tunl0 does not exist or is down".to_owned())
}

#[test]
fn a_route_stays_until_tunl0_is_there_and_is_then_replaced() {
    let mut fib = loaded(&[]);
    fib.allow_sweep();
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    written(&mut fib);
    set(&mut fib, BLOCK, Some(via(&[tunnelled("192.0.2.12")], 0)));
    // One that was never there is not written.
    set(&mut fib, "10.65.3.0/26", Some(via(&[tunnelled("192.0.2.12")], 0)));
    assert_eq!(written(&mut fib), [""; 0]);
    assert!(fib.is_settled());
    assert_eq!(state(&fib, BLOCK), Some(("parked", of_tunl0())));
    let kernel = |fib: &Fib| fib.view(net(BLOCK)).and_then(|view| view.kernel);
    assert_eq!(kernel(&fib).as_deref(), Some("via 192.0.2.12 dev eth0"));
    let mut audit = fib.audit();
    audit.observe(
        &fib,
        [route(BLOCK, OURS, unicast(&[way(Some("192.0.2.12"), 2)], 0))],
    );
    let found = audit.finish(&fib);
    let found: Vec<_> = found
        .iter()
        .map(|found| (found.problem, found.kernel.as_deref(), found.action))
        .collect();
    assert_eq!(
        found,
        [
            ("parked", Some("via 192.0.2.12 dev eth0"), "wait"),
            ("parked", None, "wait")
        ]
    );
    fib.handle_kernel([link(9, "tunl0", false)]);
    assert_eq!(written(&mut fib), [""; 0], "down is as good as missing");
    fib.handle_kernel([link(9, "tunl0", true)]);
    assert_eq!(
        written(&mut fib),
        [
            "Replace 10.65.2.0/26 via 192.0.2.12 dev 9 onlink metric 0",
            "Create 10.65.3.0/26 via 192.0.2.12 dev 9 onlink metric 0",
        ]
    );
    // The kernel takes them away with the device: nothing comes in their place.
    fib.handle_kernel([KernelEvent::LinkGone { index: 9 }]);
    assert_eq!(written(&mut fib), [""; 0]);
    assert_eq!(kernel(&fib), None);
}

#[test]
fn a_route_that_leads_elsewhere_does_not_wait_for_tunl0() {
    let gateway = |address: &str| {
        let route = unicast(&[way(Some(address), 2)], 0);
        KernelEvent::Route {
            table: Table::Ours,
            prefix: net("172.16.0.0/12"),
            protocol: STATIC,
            route,
            how: Arrival::Replacement,
        }
    };
    let mut fib = loaded(&[gateway("192.0.2.1")]);
    let [first, second] = ["10.65.2.0/26", "10.65.3.0/26"];
    set(&mut fib, first, Some(via(&[hop("192.0.2.12")], 0)));
    set(&mut fib, second, Some(via(&[hop("172.16.9.9")], 0)));
    assert_eq!(written(&mut fib).len(), 2);
    set(&mut fib, first, Some(via(&[tunnelled("192.0.2.13")], 0)));
    set(&mut fib, second, Some(via(&[tunnelled("172.16.9.9")], 0)));
    assert_eq!(
        written(&mut fib),
        ["Delete 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
    // Nor one whose way is an old one by now.
    fib.handle_kernel([gateway("192.0.2.2")]);
    assert_eq!(
        written(&mut fib),
        ["Delete 10.65.3.0/26 via 192.0.2.1 dev 2 metric 0"]
    );
}

#[test]
fn after_a_restart_a_route_stays_until_tunl0_is_there() {
    let both = [way(Some("192.0.2.12"), 2), way(Some("198.51.100.7"), 3)];
    let mut fib = loaded(&[route(BLOCK, OURS, unicast(&both, 100))]);
    let wanted = via(&[tunnelled("198.51.100.7"), tunnelled("192.0.2.12")], 0);
    set(&mut fib, BLOCK, Some(wanted));
    fib.allow_sweep();
    assert_eq!(written(&mut fib), [""; 0]);
    assert_eq!(state(&fib, BLOCK), Some(("parked", of_tunl0())));
    fib.handle_kernel([link(9, "tunl0", true)]);
    assert_eq!(
        written(&mut fib),
        [
            "Create 10.65.2.0/26 via 192.0.2.12 dev 9 onlink, via 198.51.100.7 dev 9 onlink metric 0",
            "Delete 10.65.2.0/26 via 192.0.2.12 dev 2, via 198.51.100.7 dev 3 metric 100",
        ]
    );
}
