//! Routes of other programs: which of them the RIB is told of, and when.

use pipit_bgp::Family;

use super::*;
use crate::policy::{Glob, NetSet};

const POOL: &str = "10.65.0.0/16";

fn inside(nets: &[&str]) -> LearnRules {
    LearnRules {
        ignored_interfaces: ["cali*", "kube-ipvs*"].map(Glob::new).into(),
        scope: LearnScope::Inside(nets.iter().map(|text| net(text)).collect::<NetSet>()),
    }
}

fn learning(found: &[KernelEvent]) -> Fib {
    let mut fib = loaded(found);
    fib.set_learn_rules(Family::Ipv4Unicast, inside(&[POOL]));
    fib.set_learn_rules(Family::Ipv6Unicast, inside(&["fd65::/48"]));
    fib
}

/// What the RIB is told, in words.
fn told(fib: &mut Fib) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(event) = fib.poll_event() {
        let FibEvent::Learned(prefix, from, route) = event else {
            continue;
        };
        let from = match from {
            LearnedFrom::Connected => "direct",
            LearnedFrom::Kernel => "kernel",
        };
        let how = match route {
            None => "gone".to_owned(),
            Some(route) => {
                let metric = route
                    .metric
                    .map_or_else(String::new, |metric| format!(" metric {metric}"));
                let via = if route.is_via_gateway { " via" } else { "" };
                format!("{}{metric}{via}", route.interface.as_deref().unwrap_or("nowhere"))
            }
        };
        told.push(format!("{from} {prefix} {how}"));
    }
    told.sort();
    told
}

fn pod(device: u32) -> KernelRoute {
    unicast(&[way(None, device)], 0)
}

fn address(device: u32, text: &str, peer: &str) -> KernelEvent {
    KernelEvent::Address {
        device,
        address: ip(text),
        net: net(peer),
        is_tentative: false,
    }
}

#[test]
fn c179_a_pods_route_is_told_when_it_comes_and_when_it_goes() {
    let mut fib = learning(&[]);
    assert_eq!(told(&mut fib), [""; 0]);
    fib.handle_kernel([link(7, "cali7", true), route("10.65.1.7/32", 3, pod(7))]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 cali7 metric 0"]);
    fib.handle_kernel([replacement("10.65.1.7/32", 3, pod(7))]);
    assert_eq!(told(&mut fib), [""; 0], "nothing new");
    fib.handle_kernel([gone("10.65.1.7/32", 3, pod(7))]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 gone"]);
}

#[test]
fn a_pods_route_goes_with_its_interface() {
    let mut fib = learning(&[link(7, "cali7", true), route("10.65.1.7/32", 3, pod(7))]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 cali7 metric 0"]);
    // The kernel says nothing of the route.
    fib.handle_kernel([KernelEvent::LinkGone { index: 7 }]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 gone"]);
}

#[test]
fn a_renamed_interface_is_told_of() {
    let mut fib = learning(&[link(7, "veth1", true), route("10.65.1.7/32", 3, pod(7))]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 veth1 metric 0"]);
    fib.handle_kernel([link(7, "cali7", true)]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 cali7 metric 0"]);
}

#[test]
fn c176_all_kinds_and_protocols_but_the_kernels_own_and_ours_are_learned() {
    let other = |kind| KernelRoute {
        action: KernelAction::Other(kind),
        metric: 5,
        source: None,
        object: None,
        has_more: false,
    };
    let mut fib = learning(&[
        route("10.65.2.0/26", STATIC, blackhole_route()),
        route("10.65.3.0/26", 80, other(7)),
        route("10.65.4.0/26", 80, other(8)),
        route("10.65.5.0/26", 16, unicast(&[way(Some("192.0.2.9"), 2)], 20)),
        route("10.65.6.0/26", KERNEL, pod(2)),
        route("10.65.7.0/26", 1, pod(2)),
        route("10.65.8.0/26", OURS, pod(2)),
        route("10.65.9.0/26", 80, other(9)),
    ]);
    assert_eq!(
        told(&mut fib),
        [
            "kernel 10.65.2.0/26 nowhere metric 0",
            "kernel 10.65.3.0/26 nowhere metric 5",
            "kernel 10.65.4.0/26 nowhere metric 5",
            "kernel 10.65.5.0/26 eth0 metric 20 via",
        ]
    );
}

fn blackhole_route() -> KernelRoute {
    KernelRoute {
        action: KernelAction::Blackhole,
        metric: 0,
        source: None,
        object: None,
        has_more: false,
    }
}

#[test]
fn c178_the_lowest_metric_represents_a_prefix() {
    let with = |device, metric| unicast(&[way(None, device)], metric);
    let mut fib = learning(&[route("10.65.1.7/32", 3, with(2, 1024))]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 eth0 metric 1024"]);
    fib.handle_kernel([route("10.65.1.7/32", 80, with(3, 512))]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 eth1 metric 512"]);
    fib.handle_kernel([route("10.65.1.7/32", 80, with(2, 2000))]);
    assert_eq!(told(&mut fib), [""; 0]);
    fib.handle_kernel([gone("10.65.1.7/32", 80, with(3, 512))]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 eth0 metric 1024"]);
}

#[test]
fn c180_connected_networks_except_ignored_interfaces() {
    let mut fib = learning(&[
        link(1, "lo", true),
        link(7, "cali7", true),
        link(8, "tunl0", true),
        link(9, "kube-ipvs0", true),
        link(10, "docker0", false),
        address(1, "127.0.0.1", "127.0.0.0/8"),
        address(1, "10.65.200.1", "10.65.200.1/32"),
        address(2, "192.0.2.1", "192.0.2.0/24"),
        address(2, "fe80::1", "fe80::/64"),
        address(2, "fd31:1::1", "fd31:1::/64"),
        address(3, "198.51.100.1", "198.51.100.0/24"),
        address(7, "169.254.1.1", "169.254.1.1/32"),
        address(7, "10.65.1.7", "10.65.1.7/32"),
        address(8, "10.65.9.0", "10.65.9.0/32"),
        address(9, "10.96.0.1", "10.96.0.1/32"),
        address(10, "172.17.0.1", "172.17.0.0/16"),
    ]);
    let all = [
        "direct 10.65.9.0/32 tunl0",
        "direct 192.0.2.0/24 eth0",
        "direct 198.51.100.0/24 eth1",
        "direct fd31:1::/64 eth0",
    ];
    assert_eq!(told(&mut fib), all);
    // C180: what is configured comes first.
    let mut rules = inside(&[POOL]);
    rules.ignored_interfaces.insert(0, Glob::new("eth1"));
    fib.set_learn_rules(Family::Ipv4Unicast, rules);
    assert_eq!(told(&mut fib), ["direct 198.51.100.0/24 gone"]);
    fib.handle_kernel([link(10, "docker0", true), link(8, "tunl0", false)]);
    assert_eq!(
        told(&mut fib),
        ["direct 10.65.9.0/32 gone", "direct 172.17.0.0/16 docker0"]
    );
    fib.handle_kernel([KernelEvent::AddressGone {
        device: 10,
        address: ip("172.17.0.1"),
        net: net("172.17.0.0/16"),
    }]);
    assert_eq!(told(&mut fib), ["direct 172.17.0.0/16 gone"]);
}

#[test]
fn what_no_rule_accepts_is_not_told_until_one_does() {
    let mut fib = learning(&[
        route("203.0.113.0/24", STATIC, pod(2)),
        route("10.65.1.7/32", 3, pod(2)),
        route("10.0.0.0/8", STATIC, pod(2)),
    ]);
    assert_eq!(told(&mut fib), ["kernel 10.65.1.7/32 eth0 metric 0"]);
    fib.set_learn_rules(Family::Ipv4Unicast, inside(&["203.0.113.0/24"]));
    assert_eq!(
        told(&mut fib),
        ["kernel 10.65.1.7/32 gone", "kernel 203.0.113.0/24 eth0 metric 0"]
    );
    let everything = LearnRules {
        scope: LearnScope::Everything,
        ..LearnRules::default()
    };
    fib.set_learn_rules(Family::Ipv4Unicast, everything);
    assert_eq!(
        told(&mut fib),
        [
            "kernel 10.0.0.0/8 eth0 metric 0",
            "kernel 10.65.1.7/32 eth0 metric 0"
        ]
    );
}

#[test]
fn a_dump_tells_only_what_differs() {
    let mut fib = learning(&[route("10.65.1.7/32", 3, pod(2)), route("10.65.1.8/32", 3, pod(2))]);
    assert_eq!(told(&mut fib).len(), 2);
    fib.handle_kernel([KernelEvent::Overrun]);
    dump(
        &mut fib,
        &[route("10.65.1.8/32", 3, pod(2)), route("10.65.1.9/32", 3, pod(2))],
    );
    assert_eq!(
        told(&mut fib),
        ["kernel 10.65.1.7/32 gone", "kernel 10.65.1.9/32 eth0 metric 0"]
    );
}

#[test]
fn a_flood_of_changes_ends_in_what_is_there() {
    let mut fib = learning(&[]);
    for round in 0..100 {
        let events = (0..250_u32).flat_map(|number| {
            let prefix = format!("10.65.{}.{number}/32", number % 7);
            let metric = (number * 7 + round) % 5;
            let there = unicast(&[way(None, 2 + number % 2)], metric);
            [route(&prefix, 3, there.clone()), gone(&prefix, 3, there)]
        });
        fib.handle_kernel(events);
    }
    assert_eq!(told(&mut fib), [""; 0], "came and went between two looks");
}

/// `net.ipv4.nexthop_compat_mode` off: routes name an object and nothing else.
#[test]
fn a_route_of_which_the_kernel_says_only_its_object_leads_where_that_does() {
    let object = |id, content| KernelEvent::Object {
        id,
        protocol: STATIC,
        content,
    };
    let to = |gateway, device| ObjectContent::Hop(way(gateway, device));
    let through = |id| KernelRoute {
        object: Some(id),
        ..unicast(&[way(None, 0)], 0)
    };
    let pair = ObjectContent::Group([(5, 1), (6, 1)].into_iter().collect());
    let found = |of_5: ObjectContent| {
        [
            object(5, of_5),
            object(6, to(Some("198.51.100.7"), 3)),
            object(7, pair.clone()),
            object(8, ObjectContent::Other),
            route("10.65.5.0/26", STATIC, through(5)),
            route("10.65.7.0/26", STATIC, through(7)),
            route("10.65.8.0/26", STATIC, through(8)),
            route("172.16.0.0/12", STATIC, through(5)),
            route("172.17.0.0/16", STATIC, through(8)),
        ]
    };
    let mut fib = learning(&found(to(Some("192.0.2.9"), 2)));
    assert_eq!(
        told(&mut fib)[..3],
        [
            "kernel 10.65.5.0/26 eth0 metric 0 via",
            "kernel 10.65.7.0/26 eth0 metric 0 via",
            "kernel 10.65.8.0/26 nowhere metric 0 via",
        ]
    );
    assert!(fib.track(ip("172.16.9.9")).is_way());
    assert_eq!(fib.track(ip("172.17.9.9")), Reachability::Unreachable);
    // The kernel says nothing of the routes.
    fib.handle_kernel([object(5, to(None, 3))]);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    dump(&mut fib, &found(to(None, 3)));
    let told = told(&mut fib);
    assert!(
        told.contains(&"kernel 10.65.5.0/26 eth1 metric 0".to_owned()),
        "{told:?}"
    );
    // Of no concern.
    fib.handle_kernel([object(9, to(None, 3)), object(9, to(None, 2))]);
    assert_eq!(fib.poll_event(), None);
}
