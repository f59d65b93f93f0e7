//! Hands, links, tunnels and floods.

use std::fmt::Write;
use std::time::Duration;

use pipit_rib::fib::{FibAction, FibTarget, Hop, Tunnel};

use crate::namespace::{self, ip, ip_batch, ours, two_links};
use crate::node::{Node, Observer, Seen, hop, via};

#[test]
fn routes_changed_by_hand_are_put_right_at_once() {
    namespace::run("trouble::routes_changed_by_hand_are_put_right_at_once", || {
        two_links();
        let mut node = Node::start();
        let shown = [
            "10.65.2.0/26 via 192.0.2.12 dev eth0",
            "10.65.3.0/26 via 192.0.2.12 dev eth0",
        ];
        node.set("10.65.2.0/26", via(&["192.0.2.12"]));
        node.set("10.65.3.0/26", via(&["192.0.2.12"]));
        node.fib.allow_sweep();
        node.settle();
        let by_hand = [
            "route del 10.65.2.0/26",
            "route change 10.65.3.0/26 via 198.51.100.7 proto bird",
            "route flush proto bird",
            "route add 10.65.9.0/26 via 192.0.2.12 proto bird",
        ];
        for words in by_hand {
            let before = node.fib.repaired();
            ip(words);
            let took = node.until(words, |node| {
                node.fib.repaired() > before && node.fib.is_settled()
            });
            assert!(took < Duration::from_secs(1), "{words}: {took:?}");
            node.catch_up();
            assert_eq!(ours(), shown, "{words}");
        }
    });
}

/// The kernel has room for two routes with one prefix, metric and protocol number; a dump shows both.
#[test]
fn a_second_route_beside_ours_goes_and_holds_up_nothing() {
    namespace::run(
        "trouble::a_second_route_beside_ours_goes_and_holds_up_nothing",
        || {
            two_links();
            let mut node = Node::start();
            node.fib.allow_sweep();
            let with_metric = |metric| via(&["192.0.2.12"]).map(|target| FibTarget { metric, ..target });
            node.set("10.65.1.0/26", with_metric(0));
            node.set("10.65.2.0/26", with_metric(1024));
            node.set("fd65::2:0/122", via(&["fd31:1::12"]));
            node.settle();
            let before = ours();
            for words in [
                "route append 10.65.1.0/26 via 192.0.2.13 proto bird",
                "route prepend 10.65.1.0/26 via 192.0.2.13 proto bird",
                "route append 10.65.2.0/26 via 192.0.2.13 proto bird metric 1024",
                "route prepend 10.65.2.0/26 via 192.0.2.13 proto bird metric 1024",
                "-6 route append fd65::2:0/122 dev eth0 proto bird metric 1024",
                "-6 route append blackhole fd65::2:0/122 proto bird metric 1024",
            ] {
                ip(words);
                assert_ne!(ours(), before, "{words}");
                let took = node.until(words, |node| node.fib.is_settled() && ours() == before);
                assert!(took < Duration::from_secs(1), "{words}: {took:?}");
            }
            assert!(node.fib.counts().dumps < 20, "{:?}", node.fib.counts());
        },
    );
}

#[test]
fn a_link_that_flaps_gets_its_routes_back() {
    namespace::run("trouble::a_link_that_flaps_gets_its_routes_back", || {
        two_links();
        let mut node = Node::start();
        node.set("10.65.2.0/26", via(&["198.51.100.7"]));
        node.set("10.65.3.0/26", via(&["192.0.2.12"]));
        node.set("10.65.4.0/26", via(&["192.0.2.12", "198.51.100.7"]));
        node.settle();
        let before = ours();
        let observer = Observer::start();
        for _ in 0..20 {
            ip("link set eth1 down");
            node.until("parked", |node| {
                node.state("10.65.2.0/26") == "parked" && node.fib.is_settled()
            });
            let rest = [
                "10.65.3.0/26 via 192.0.2.12 dev eth0",
                "10.65.4.0/26 via 192.0.2.12 dev eth0",
            ];
            assert_eq!(ours(), rest);
            ip("link set eth1 up");
            let back = node.until("back", |node| {
                node.state("10.65.2.0/26") == "installed" && node.fib.is_settled()
            });
            assert!(back < Duration::from_secs(1), "{back:?}");
        }
        // Down and up before anybody looks.
        ip("link set eth1 down");
        ip("link set eth1 up");
        node.catch_up();
        assert_eq!(ours(), before);
        assert_eq!(
            observer.seen().deleted,
            0,
            "what the kernel dropped we did not delete"
        );
        // The other end goes: the kernel keeps the route, packets are lost.
        ip("link set peer1 down");
        let member =
            |node: &mut Node| node.fib.is_settled() && !ours().iter().any(|line| line.contains("nexthop"));
        node.until("the member without carrier left", member);
    });
}

#[test]
fn a_device_recreated_with_another_number_gets_its_routes_back() {
    namespace::run(
        "trouble::a_device_recreated_with_another_number_gets_its_routes_back",
        || {
            two_links();
            let mut node = Node::start();
            node.set("10.65.2.0/26", via(&["198.51.100.7"]));
            node.settle();
            ip("link del eth1");
            node.until("parked", |node| node.state("10.65.2.0/26") == "parked");
            ip("link add eth1 type veth peer name peer1");
            ip("link set peer1 up");
            ip("link set eth1 up");
            ip("address add 198.51.100.1/24 dev eth1");
            node.until("back", |node| node.state("10.65.2.0/26") == "installed");
            assert_eq!(ours(), ["10.65.2.0/26 via 198.51.100.7 dev eth1"]);
        },
    );
}

#[test]
fn a_tunnel_route_waits_for_its_device() {
    namespace::run("trouble::a_tunnel_route_waits_for_its_device", || {
        two_links();
        let mut node = Node::start();
        let tunnelled = Hop {
            tunnel: Tunnel::IpipCrossSubnet("192.0.2.0/24".parse().unwrap()),
            ..hop("172.31.1.12")
        };
        let action = FibAction::Via([tunnelled].into_iter().collect());
        node.set("10.65.3.0/26", Some(FibTarget { action, metric: 0 }));
        node.settle();
        assert_eq!(node.state("10.65.3.0/26"), "parked");
        ip("link add tunl0 type veth peer name peer9");
        ip("link set peer9 up");
        ip("link set tunl0 up");
        let took = node.until("tunl0", |node| node.state("10.65.3.0/26") == "installed");
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(
            ours()[0].starts_with("10.65.3.0/26 via 172.31.1.12 dev tunl0 onlink"),
            "{:?}",
            ours()
        );
    });
}

#[test]
fn next_hops_follow_the_routes_of_others() {
    namespace::run("trouble::next_hops_follow_the_routes_of_others", || {
        two_links();
        let mut node = Node::start();
        node.set("10.65.2.0/26", via(&["172.16.9.9"]));
        node.settle();
        assert_eq!(node.state("10.65.2.0/26"), "parked");
        let observer = Observer::start();
        ip("route add 172.16.0.0/12 via 192.0.2.9");
        node.until("there", |node| node.state("10.65.2.0/26") == "installed");
        assert_eq!(ours(), ["10.65.2.0/26 via 192.0.2.9 dev eth0"]);
        ip("route replace 172.16.0.0/12 via 198.51.100.9");
        node.catch_up();
        assert_eq!(ours(), ["10.65.2.0/26 via 198.51.100.9 dev eth1"]);
        assert_eq!(observer.seen(), Seen { new: 2, deleted: 0 });
        ip("route del 172.16.0.0/12");
        node.until("gone", |node| {
            node.state("10.65.2.0/26") == "parked" && node.fib.is_settled()
        });
        assert!(ours().is_empty());
    });
}

#[test]
fn a_flood_that_nobody_listens_to_costs_one_dump_and_no_route() {
    namespace::run(
        "trouble::a_flood_that_nobody_listens_to_costs_one_dump_and_no_route",
        || {
            two_links();
            let mut node = Node::start();
            for number in 0..1000 {
                let [high, low] = u16::to_be_bytes(number);
                node.set(&format!("10.{high}.{low}.0/24"), via(&["192.0.2.12"]));
            }
            node.settle();
            // 60 k changes with nobody reading: far more than channel and socket hold.
            let mut lines = String::new();
            for word in ["add", "del"] {
                for number in 0..30_000_u32 {
                    let [_, _, high, low] = number.to_be_bytes();
                    writeln!(lines, "route {word} 11.{high}.{low}.0/24 via 192.0.2.99").unwrap();
                }
            }
            // Lost in the flood.
            lines += "route del 10.0.7.0/24\nroute del 10.1.7.0/24\n";
            ip_batch(&lines);
            node.until("all there again", |node| {
                node.fib.is_settled() && ours().len() == 1000
            });
            assert!(node.fib.counts().dumps <= 2, "{:?}", node.fib.counts());
        },
    );
}
