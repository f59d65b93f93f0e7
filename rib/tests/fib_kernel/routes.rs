//! How routes look in the kernel, and how they change.

use pipit_rib::fib::{FibAction, FibTarget, Hop, Tunnel};

use crate::namespace::{self, ip, ours, two_links};
use crate::node::{Node, Observer, Seen, blackhole, hop, via};

#[test]
fn routes_have_the_shape_that_calico_and_bird_know() {
    namespace::run("routes::routes_have_the_shape_that_calico_and_bird_know", || {
        two_links();
        ip("link add tunl0 type veth peer name peer9");
        ip("link set tunl0 up");
        ip("route add 172.16.0.0/12 via 198.51.100.9");
        let mut node = Node::start();
        let tunnelled = Hop {
            tunnel: Tunnel::IpipAlways,
            ..hop("172.31.1.12")
        };
        let heavy = Hop {
            weight: 3,
            ..hop("198.51.100.7")
        };
        let to = |hops: &[Hop], metric| {
            let action = FibAction::Via(hops.iter().copied().collect());
            Some(FibTarget { action, metric })
        };
        node.set("10.65.1.0/26", blackhole());
        node.set("10.65.2.0/26", via(&["192.0.2.12"]));
        node.set("10.65.3.0/26", to(&[tunnelled], 0));
        node.set("10.65.4.0/26", to(&[hop("172.31.1.14")], 0));
        node.set("10.65.5.0/26", to(&[hop("192.0.2.12"), heavy], 0));
        node.set("10.65.6.0/26", via(&["fd31:1::12"]));
        node.set("10.65.7.1/32", to(&[hop("192.0.2.12")], 512));
        node.set("0.0.0.0/1", via(&["192.0.2.12"]));
        node.set("fd65::1:0/122", blackhole());
        node.set("fd65::2:0/122", via(&["fd31:1::12"]));
        node.set("fd65::3:0/122", via(&["fd31:1::12", "fd31:1::13"]));
        node.settle();
        assert_eq!(
            ours(),
            [
                "0.0.0.0/1 via 192.0.2.12 dev eth0",
                "blackhole 10.65.1.0/26",
                "10.65.2.0/26 via 192.0.2.12 dev eth0",
                "10.65.3.0/26 via 172.31.1.12 dev tunl0 onlink linkdown",
                "10.65.4.0/26 via 198.51.100.9 dev eth1",
                "10.65.5.0/26",
                "\tnexthop via 192.0.2.12 dev eth0 weight 1",
                "\tnexthop via 198.51.100.7 dev eth1 weight 3",
                "10.65.6.0/26 via inet6 fd31:1::12 dev eth0",
                "10.65.7.1 via 192.0.2.12 dev eth0 metric 512",
                "blackhole fd65::1:0/122 dev lo metric 1024 pref medium",
                "fd65::2:0/122 via fd31:1::12 dev eth0 metric 1024 pref medium",
                "fd65::3:0/122 metric 1024 pref medium",
                "\tnexthop via fd31:1::12 dev eth0 weight 1",
                "\tnexthop via fd31:1::13 dev eth0 weight 1",
            ]
        );
        // What the kernel shows is what was meant: a second life finds nothing to write.
        let observer = Observer::start();
        let written = node.fib.counts().written;
        let mut second = Node::start();
        assert_eq!(second.adopted, Some(written as usize));
        for view in node.fib.query() {
            assert_eq!(view.state, "installed", "{view:?}");
        }
        second.set("10.65.5.0/26", to(&[hop("192.0.2.12"), heavy], 0));
        second.set("10.65.3.0/26", to(&[tunnelled], 0));
        second.set("10.65.6.0/26", via(&["fd31:1::12"]));
        second.set("fd65::3:0/122", via(&["fd31:1::13", "fd31:1::12"]));
        second.set("fd65::1:0/122", blackhole());
        second.settle();
        assert_eq!(observer.seen(), Seen::default());
    });
}

#[test]
fn every_change_is_one_replacement() {
    namespace::run("routes::every_change_is_one_replacement", || {
        two_links();
        let mut node = Node::start();
        let ipv4 = [
            (via(&["192.0.2.12"]), "10.65.2.0/26 via 192.0.2.12 dev eth0"),
            (via(&["198.51.100.7"]), "10.65.2.0/26 via 198.51.100.7 dev eth1"),
            (blackhole(), "blackhole 10.65.2.0/26"),
            (via(&["192.0.2.12", "198.51.100.7"]), "10.65.2.0/26"),
            (via(&["192.0.2.13"]), "10.65.2.0/26 via 192.0.2.13 dev eth0"),
        ];
        let ipv6 = [
            (
                via(&["fd31:1::12"]),
                "fd65::2:0/122 via fd31:1::12 dev eth0 metric 1024 pref medium",
            ),
            (
                blackhole(),
                "blackhole fd65::2:0/122 dev lo metric 1024 pref medium",
            ),
            (
                via(&["fd31:1::12", "fd31:1::13"]),
                "fd65::2:0/122 metric 1024 pref medium",
            ),
            (
                via(&["fd31:1::14"]),
                "fd65::2:0/122 via fd31:1::14 dev eth0 metric 1024 pref medium",
            ),
        ];
        let observer = Observer::start();
        for (prefix, targets) in [("10.65.2.0/26", &ipv4[..]), ("fd65::2:0/122", &ipv6[..])] {
            for (target, shown) in targets {
                node.set(prefix, target.clone());
                node.settle();
                assert!(ours().contains(&(*shown).to_owned()), "{shown}: {:?}", ours());
                let seen = observer.seen();
                assert_eq!(seen, Seen { new: 1, deleted: 0 }, "{shown}");
            }
            node.set(prefix, None);
            node.settle();
            assert_eq!(observer.seen().new, 0);
            assert!(ours().is_empty(), "{:?}", ours());
        }
    });
}

#[test]
fn another_metric_comes_before_the_old_one_goes() {
    namespace::run("routes::another_metric_comes_before_the_old_one_goes", || {
        two_links();
        let mut node = Node::start();
        let at = |metric| via(&["192.0.2.12"]).map(|target| FibTarget { metric, ..target });
        for metric in [100, 50, 0, 200] {
            node.set("10.65.2.0/26", at(metric));
            node.settle();
            let words = match metric {
                0 => String::new(),
                metric => format!(" metric {metric}"),
            };
            assert_eq!(ours(), [format!("10.65.2.0/26 via 192.0.2.12 dev eth0{words}")]);
        }
    });
}

#[test]
fn c169_tunnels_may_be_ecmp_and_ipv6_gateways_link_local() {
    namespace::run(
        "routes::c169_tunnels_may_be_ecmp_and_ipv6_gateways_link_local",
        || {
            two_links();
            ip("link add tunl0 type veth peer name peer9");
            ip("link set peer9 up");
            ip("link set tunl0 up");
            let to = |hops: &[Hop]| {
                let action = FibAction::Via(hops.iter().copied().collect());
                Some(FibTarget { action, metric: 1024 })
            };
            let mut node = Node::start();
            let tunnel = Tunnel::IpipCrossSubnet("192.0.2.0/24".parse().unwrap());
            let far = |text| Hop { tunnel, ..hop(text) };
            let near = Hop {
                link_local: Some("fe80::12".parse().unwrap()),
                ..hop("fd31:1::12")
            };
            node.set("10.65.1.0/26", to(&[far("172.31.1.12"), far("172.31.2.12")]));
            node.set("10.65.2.0/26", to(&[far("172.31.1.12"), far("192.0.2.12")]));
            node.set("fd65::2:0/122", to(&[near]));
            node.set("10.65.3.0/26", to(&[near]));
            node.settle();
            assert_eq!(
                ours(),
                [
                    "10.65.1.0/26 metric 1024",
                    "\tnexthop via 172.31.1.12 dev tunl0 weight 1 onlink",
                    "\tnexthop via 172.31.2.12 dev tunl0 weight 1 onlink",
                    "10.65.2.0/26 metric 1024",
                    "\tnexthop via 172.31.1.12 dev tunl0 weight 1 onlink",
                    "\tnexthop via 192.0.2.12 dev eth0 weight 1",
                    "10.65.3.0/26 via inet6 fe80::12 dev eth0 metric 1024",
                    "fd65::2:0/122 via fe80::12 dev eth0 metric 1024 pref medium",
                ]
            );
            // The tunnel goes and comes back: what has another way keeps it.
            let observer = Observer::start();
            ip("link set tunl0 down");
            node.until("without the tunnel", |node| {
                node.fib.is_settled()
                    && node.state("10.65.1.0/26") == "parked"
                    && ours()[0] == "10.65.2.0/26 via 192.0.2.12 dev eth0 metric 1024"
            });
            ip("link set tunl0 up");
            node.until("with it", |node| node.fib.is_settled() && ours().len() == 8);
            assert_eq!(observer.seen().deleted, 0);
        },
    );
}
