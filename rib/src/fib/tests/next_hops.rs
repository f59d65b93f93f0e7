//! From BGP next hops to gateways, devices and flags.

use pipit_bgp::PeerId;

use super::*;

#[test]
fn a_connected_next_hop_is_the_gateway_and_blackholes_need_none() {
    let mut fib = loaded(&[]);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("192.0.2.12")], 0)));
    set(&mut fib, "fd65::2:0/122", Some(via(&[hop("fd31:1::12")], 0)));
    set(&mut fib, "10.65.1.0/26", Some(blackhole()));
    assert_eq!(
        written(&mut fib),
        [
            "Create 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0",
            "Create 10.65.1.0/26 blackhole metric 0",
            "Create fd65::2:0/122 via fd31:1::12 dev 2 metric 1024",
        ]
    );
    assert!(fib.is_settled());
    assert_eq!(state(&fib, "10.65.2.0/26"), Some(("installed", None)));
}

#[test]
fn a_distant_next_hop_is_reached_by_the_gateway_of_its_route() {
    let onlink = KernelHop {
        is_onlink: true,
        ..way(Some("203.0.113.1"), 3)
    };
    let on_device = KernelHop {
        gateway: None,
        ..onlink
    };
    let mut fib = loaded(&[
        route("0.0.0.0/0", STATIC, unicast(&[way(Some("192.0.2.1"), 2)], 0)),
        route("172.16.0.0/12", STATIC, unicast(&[onlink], 50)),
        route("10.60.0.0/24", STATIC, unicast(&[on_device], 0)),
    ]);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("8.8.8.8")], 0)));
    set(&mut fib, "10.65.3.0/26", Some(via(&[hop("172.16.9.9")], 0)));
    set(&mut fib, "10.65.4.0/26", Some(via(&[hop("10.60.0.7")], 0)));
    assert_eq!(
        written(&mut fib),
        [
            "Create 10.65.2.0/26 via 192.0.2.1 dev 2 metric 0",
            "Create 10.65.3.0/26 via 203.0.113.1 dev 3 onlink metric 0",
            "Create 10.65.4.0/26 via 10.60.0.7 dev 3 onlink metric 0",
        ]
    );
}

#[test]
fn rfc4271_5_1_3_an_address_of_our_own_is_no_way_out() {
    let mut fib = loaded(&[]);
    assert_ne!(fib.track(ip("192.0.2.99")), Reachability::Unreachable);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("192.0.2.99")], 0)));
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.2.0/26 via 192.0.2.99 dev 2 metric 0"]
    );
    let own = |present: bool| {
        let (device, address, net) = (2, ip("192.0.2.99"), net("192.0.2.0/24"));
        match present {
            true => KernelEvent::Address {
                device,
                address,
                net,
                is_tentative: false,
            },
            false => KernelEvent::AddressGone { device, address, net },
        }
    };
    fib.handle_kernel([own(true)]);
    assert_eq!(fib.track(ip("192.0.2.99")), Reachability::Own);
    assert_eq!(
        written(&mut fib),
        ["Delete 10.65.2.0/26 via 192.0.2.99 dev 2 metric 0"]
    );
    let events: Vec<FibEvent> = std::iter::from_fn(|| fib.poll_event()).collect();
    assert!(events.contains(&FibEvent::AddressesChanged), "{events:?}");
}

#[test]
fn routes_of_our_own_resolve_nothing() {
    let mut fib = loaded(&[]);
    set(&mut fib, "172.16.0.0/12", Some(via(&[hop("192.0.2.1")], 0)));
    set(&mut fib, "10.65.3.0/26", Some(via(&[hop("172.16.9.9")], 0)));
    assert_eq!(
        written(&mut fib),
        ["Create 172.16.0.0/12 via 192.0.2.1 dev 2 metric 0"]
    );
    let parked = Some(("parked", Some("no route to next hop 172.16.9.9".to_owned())));
    assert_eq!(state(&fib, "10.65.3.0/26"), parked);
}

#[test]
fn a_dropping_route_in_front_of_the_next_hop_leaves_no_way() {
    let unreachable = KernelRoute {
        action: KernelAction::Other(7),
        metric: 0,
        source: None,
        object: None,
        has_more: false,
    };
    let mut fib = loaded(&[
        route("0.0.0.0/0", STATIC, unicast(&[way(Some("192.0.2.1"), 2)], 0)),
        route("172.16.0.0/12", STATIC, unreachable),
    ]);
    assert_eq!(fib.track(ip("172.16.9.9")), Reachability::Unreachable);
}

#[test]
fn a_parked_route_is_written_when_its_gateway_appears_and_taken_back_when_it_goes() {
    let mut fib = loaded(&[]);
    let static_route = unicast(&[way(Some("198.51.100.7"), 3)], 0);
    set(&mut fib, "10.65.3.0/26", Some(via(&[hop("172.16.9.9")], 0)));
    assert!(written(&mut fib).is_empty());
    fib.handle_kernel([route("172.16.0.0/12", STATIC, static_route.clone())]);
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.3.0/26 via 198.51.100.7 dev 3 metric 0"]
    );
    fib.handle_kernel([gone("172.16.0.0/12", STATIC, static_route)]);
    assert_eq!(
        written(&mut fib),
        ["Delete 10.65.3.0/26 via 198.51.100.7 dev 3 metric 0"]
    );
}

#[test]
fn a_changed_gateway_is_one_replacement_of_what_depends_on_it() {
    let mut fib = loaded(&[route(
        "172.16.0.0/12",
        STATIC,
        unicast(&[way(Some("198.51.100.7"), 3)], 0),
    )]);
    set(&mut fib, "10.65.3.0/26", Some(via(&[hop("172.16.9.9")], 0)));
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("192.0.2.12")], 0)));
    written(&mut fib);
    fib.handle_kernel([KernelEvent::Route {
        table: Table::Ours,
        prefix: net("172.16.0.0/12"),
        protocol: STATIC,
        route: unicast(&[way(Some("192.0.2.9"), 2)], 0),
        how: Arrival::Replacement,
    }]);
    assert_eq!(
        written(&mut fib),
        ["Replace 10.65.3.0/26 via 192.0.2.9 dev 2 metric 0"]
    );
}

#[test]
fn ipip_always_waits_for_tunl0_and_needs_no_route_to_the_next_hop() {
    let mut fib = loaded(&[]);
    let tunnelled = Hop {
        tunnel: Tunnel::IpipAlways,
        ..hop("203.0.113.5")
    };
    set(&mut fib, "10.65.2.0/26", Some(via(&[tunnelled], 0)));
    assert!(written(&mut fib).is_empty());
    let reason = "device tunl0 does not exist or is down".to_owned();
    assert_eq!(state(&fib, "10.65.2.0/26"), Some(("parked", Some(reason))));
    fib.handle_kernel([link(9, "tunl0", false)]);
    assert!(written(&mut fib).is_empty());
    fib.handle_kernel([link(9, "tunl0", true)]);
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.2.0/26 via 203.0.113.5 dev 9 onlink metric 0"]
    );
}

#[test]
fn ipip_cross_subnet_tunnels_only_to_other_subnets_and_switches_in_place() {
    let mut fib = loaded(&[link(9, "tunl0", true)]);
    let cross = |own: &str| {
        let tunnel = Tunnel::IpipCrossSubnet(own.parse().unwrap());
        via(
            &[Hop {
                tunnel,
                ..hop("192.0.2.12")
            }],
            0,
        )
    };
    set(&mut fib, "10.65.2.0/26", Some(cross("192.0.2.0/24")));
    set(&mut fib, "10.65.3.0/26", Some(cross("198.51.100.0/24")));
    assert_eq!(
        written(&mut fib),
        [
            "Create 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0",
            "Create 10.65.3.0/26 via 192.0.2.12 dev 9 onlink metric 0",
        ]
    );
    set(&mut fib, "10.65.2.0/26", Some(cross("198.51.100.0/24")));
    assert_eq!(
        written(&mut fib),
        ["Replace 10.65.2.0/26 via 192.0.2.12 dev 9 onlink metric 0"]
    );
}

#[test]
fn rfc2545_3_a_link_local_next_hop_goes_out_by_the_device_of_the_global_one() {
    let mut fib = loaded(&[]);
    let both = Hop {
        link_local: Some("fe80::12".parse().unwrap()),
        ..hop("fd31:1::12")
    };
    set(&mut fib, "fd65::2:0/122", Some(via(&[both], 0)));
    assert_eq!(
        written(&mut fib),
        ["Create fd65::2:0/122 via fe80::12 dev 2 metric 1024"]
    );
}

#[test]
fn rfc4007_6_a_link_local_next_hop_is_on_the_link_of_the_peer_that_has_it() {
    let on = |device| unicast(&[way(None, device)], 256);
    let on_both = [2, 3].map(|device| route("fe80::/64", KERNEL, on(device)));
    let mut fib = loaded(&on_both);
    fib.set_link(PeerId(1), ip("fe80::2"), Some("eth1".to_owned()));
    set(&mut fib, "fd65::/48", Some(via(&[hop("fe80::2")], 0)));
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("fe80::2")], 0)));
    assert_eq!(
        written(&mut fib),
        [
            "Create 10.65.2.0/26 via fe80::2 dev 3 metric 0",
            "Create fd65::/48 via fe80::2 dev 3 metric 1024"
        ]
    );
    // Another link goes, of which the kernel may speak twice; or has the same address.
    fib.handle_kernel([
        gone("fe80::/64", KERNEL, on(2)),
        gone("fe80::/64", KERNEL, on(2)),
        KernelEvent::Address {
            device: 2,
            address: ip("fe80::2"),
            net: net("fe80::/64"),
            is_tentative: false,
        },
    ]);
    assert_eq!(written(&mut fib), [""; 0]);
    // The peer moves to where nothing leads.
    assert!(fib.set_link(PeerId(1), ip("fe80::2"), Some("eth0".to_owned())));
    assert_eq!(
        written(&mut fib),
        [
            "Delete 10.65.2.0/26 via fe80::2 dev 3 metric 0",
            "Delete fd65::/48 via fe80::2 dev 3 metric 1024"
        ]
    );
}

#[test]
fn rfc8950_ipv4_goes_by_an_ipv6_gateway() {
    let mut fib = loaded(&[]);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("fd31:1::12")], 0)));
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.2.0/26 via fd31:1::12 dev 2 metric 0"]
    );
}

#[test]
fn ecmp_members_leave_with_their_carrier_and_come_back() {
    let mut fib = loaded(&[]);
    let heavy = Hop {
        weight: 3,
        ..hop("198.51.100.7")
    };
    set(
        &mut fib,
        "10.65.2.0/26",
        Some(via(&[heavy, hop("192.0.2.12"), hop("203.0.113.1")], 0)),
    );
    let both = "10.65.2.0/26 via 192.0.2.12 dev 2, via 198.51.100.7 dev 3 weight 3 metric 0";
    assert_eq!(written(&mut fib), [format!("Create {both}")]);
    let carrier = |has_carrier| KernelEvent::Link {
        index: 3,
        name: "eth1".to_owned(),
        is_up: true,
        has_carrier,
    };
    fib.handle_kernel([carrier(false)]);
    assert_eq!(
        written(&mut fib),
        ["Replace 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
    fib.handle_kernel([carrier(true)]);
    assert_eq!(written(&mut fib), [format!("Replace {both}")]);
}

#[test]
fn a_way_through_somebodys_ecmp_route_goes_where_there_is_carrier() {
    let mut fib = loaded(&[route(
        "203.0.113.1/32",
        STATIC,
        unicast(&[way(Some("192.0.2.1"), 2), way(Some("198.51.100.7"), 3)], 0),
    )]);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("203.0.113.1")], 0)));
    let [eth0, eth1] = [
        "10.65.2.0/26 via 192.0.2.1 dev 2 metric 0",
        "10.65.2.0/26 via 198.51.100.7 dev 3 metric 0",
    ];
    assert_eq!(written(&mut fib), [format!("Create {eth0}")]);
    let carrier = |index, name: &str, has_carrier| KernelEvent::Link {
        index,
        name: name.to_owned(),
        is_up: true,
        has_carrier,
    };
    fib.handle_kernel([carrier(2, "eth0", false)]);
    assert_eq!(written(&mut fib), [format!("Replace {eth1}")]);
    // Where none has it, nothing is better than the first.
    fib.handle_kernel([carrier(3, "eth1", false)]);
    assert_eq!(written(&mut fib), [format!("Replace {eth0}")]);
    fib.handle_kernel([carrier(3, "eth1", true)]);
    assert_eq!(written(&mut fib), [format!("Replace {eth1}")]);
}

#[test]
fn two_next_hops_behind_one_gateway_are_one_way_out() {
    let mut fib = loaded(&[route(
        "0.0.0.0/0",
        STATIC,
        unicast(&[way(Some("192.0.2.1"), 2)], 0),
    )]);
    let hops = [hop("203.0.113.1"), hop("203.0.113.2"), hop("198.51.100.7")];
    set(&mut fib, "10.65.2.0/26", Some(via(&hops, 0)));
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.2.0/26 via 192.0.2.1 dev 2 weight 2, via 198.51.100.7 dev 3 metric 0"]
    );
}

#[test]
fn tracked_next_hops_are_reported_when_their_way_changes_and_only_then() {
    let mut fib = loaded(&[]);
    let eth1 = |metric| Reachability::Reachable {
        metric,
        interface: "eth1".to_owned(),
    };
    assert_eq!(fib.track(ip("198.51.100.7")), eth1(0));
    assert_eq!(fib.track(ip("172.16.9.9")), Reachability::Unreachable);
    let static_route = unicast(&[way(Some("198.51.100.7"), 3)], 20);
    fib.handle_kernel([
        route("172.16.0.0/12", STATIC, static_route.clone()),
        route("203.0.113.0/24", STATIC, static_route),
    ]);
    let changed = FibEvent::NextHopChanged(ip("172.16.9.9"), eth1(20));
    assert_eq!(fib.poll_event(), Some(changed));
    assert_eq!(fib.poll_event(), None);
    fib.untrack(ip("172.16.9.9"));
    fib.handle_kernel([KernelEvent::LinkGone { index: 3 }]);
    let lost = FibEvent::NextHopChanged(ip("198.51.100.7"), Reachability::Unreachable);
    assert_eq!(fib.poll_event(), Some(lost));
    assert_eq!(fib.poll_event(), None);
}

#[test]
fn a_device_that_comes_back_under_another_number_gets_its_routes_back() {
    let mut fib = loaded(&[]);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("198.51.100.7")], 0)));
    written(&mut fib);
    // The kernel says nothing of the routes that it drops with the device.
    fib.handle_kernel([KernelEvent::LinkGone { index: 3 }]);
    assert!(written(&mut fib).is_empty());
    assert_eq!(fib.poll_event(), None, "no dump is needed");
    fib.handle_kernel([
        link(17, "eth1", true),
        route("198.51.100.0/24", KERNEL, unicast(&[way(None, 17)], 0)),
    ]);
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.2.0/26 via 198.51.100.7 dev 17 metric 0"]
    );
}

#[test]
fn a_flap_within_one_call_is_not_missed() {
    let mut fib = loaded(&[]);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("198.51.100.7")], 0)));
    written(&mut fib);
    fib.handle_kernel([
        link(3, "eth1", false),
        link(3, "eth1", true),
        route("198.51.100.0/24", KERNEL, unicast(&[way(None, 3)], 0)),
    ]);
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.2.0/26 via 198.51.100.7 dev 3 metric 0"]
    );
}

#[test]
fn pods_that_come_and_go_cost_neither_writes_nor_dumps() {
    let mut fib = loaded(&[]);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("192.0.2.12")], 0)));
    fib.track(ip("192.0.2.12"));
    written(&mut fib);
    let foreign = fib.topology.foreign_count();
    for pod in 0..1000u32 {
        let [_, _, high, low] = pod.to_be_bytes();
        let prefix = format!("10.65.{high}.{low}/32");
        let name = format!("cali{pod}");
        fib.handle_kernel([
            link(100 + pod, &name, true),
            route(&prefix, 80, unicast(&[way(None, 100 + pod)], 0)),
        ]);
        fib.handle_kernel([
            link(100 + pod, &name, false),
            KernelEvent::LinkGone { index: 100 + pod },
        ]);
    }
    assert_eq!((fib.poll_event(), written(&mut fib)), (None, Vec::new()));
    assert_eq!(
        fib.topology.foreign_count(),
        foreign,
        "their routes are forgotten with them"
    );
}

#[test]
fn a_change_concerns_only_the_next_hops_that_depend_on_it() {
    let mut fib = loaded(&[route(
        "172.16.0.0/12",
        STATIC,
        unicast(&[way(Some("198.51.100.9"), 3)], 0),
    )]);
    // A thousand nodes by eth0, one by eth1, one behind a gateway of eth1's.
    for number in 0..1000_u32 {
        let prefix = format!("10.{}.{}.0/24", number >> 8, number & 255);
        let next_hop = format!("192.0.2.{}", number % 250);
        set(&mut fib, &prefix, Some(via(&[hop(&next_hop)], number)));
    }
    set(&mut fib, "10.200.1.0/24", Some(via(&[hop("198.51.100.7")], 0)));
    set(&mut fib, "10.200.2.0/24", Some(via(&[hop("172.16.9.9")], 0)));
    assert_eq!(written(&mut fib).len(), 1002);
    let mut resolved = |events: Vec<KernelEvent>| {
        let before = fib.counts().resolved;
        fib.handle_kernel(events);
        written(&mut fib);
        fib.counts().resolved - before
    };
    // Pods come and go: interface, flags, route, and all of it again backwards.
    let pod = unicast(&[way(None, 7)], 0);
    assert_eq!(resolved(vec![link(7, "cali7", false), link(7, "cali7", true)]), 0);
    assert_eq!(
        resolved(vec![
            route("10.65.1.7/32", 80, pod.clone()),
            link(7, "cali7", true)
        ]),
        0
    );
    assert_eq!(resolved(vec![link(7, "cali7", false)]), 0);
    assert_eq!(resolved(vec![KernelEvent::LinkGone { index: 7 }]), 0);
    assert_eq!(
        resolved(vec![KernelEvent::Link {
            index: 3,
            name: "eth1".to_owned(),
            is_up: true,
            has_carrier: false,
        }]),
        2,
        "what leads through eth1"
    );
    assert_eq!(
        resolved(vec![gone(
            "172.16.0.0/12",
            STATIC,
            unicast(&[way(Some("198.51.100.9"), 3)], 0)
        )]),
        1
    );
    assert_eq!(resolved(vec![link(3, "eth1", true)]), 1);
}

#[test]
fn an_address_that_no_host_has_is_no_way_out() {
    let address = KernelEvent::Address {
        device: 2,
        address: ip("192.0.2.1"),
        net: net("192.0.2.0/24"),
        is_tentative: false,
    };
    let mut fib = loaded(&[]);
    assert!(fib.track(ip("192.0.2.255")).is_way());
    fib.handle_kernel([address]);
    let changed = FibEvent::NextHopChanged(ip("192.0.2.255"), Reachability::Unreachable);
    assert!(std::iter::from_fn(|| fib.poll_event()).any(|event| event == changed));
    for (at, end) in ["192.0.2.255", "192.0.2.0", "224.0.0.5", "0.0.0.0", "ff02::1"]
        .into_iter()
        .enumerate()
    {
        assert_eq!(fib.track(ip(end)), Reachability::Unreachable, "{end}");
        let prefix = format!("10.65.{at}.0/24");
        set(&mut fib, &prefix, Some(via(&[hop("192.0.2.12"), hop(end)], 0)));
        let alone = format!("Create {prefix} via 192.0.2.12 dev 2 metric 0");
        assert_eq!(written(&mut fib), [alone], "{end}");
    }
}
