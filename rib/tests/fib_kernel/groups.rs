//! Routes through nexthop objects of ours.

use std::time::{Duration, Instant};

use crate::namespace::{self, ip, ip_batch, ours, two_links};
use crate::node::{Node, Observer, Seen, blackhole, hop, via};

const SOON: Duration = Duration::from_secs(1);
const IPV4: [&str; 4] = ["10.65.2.0/26", "10.65.3.0/26", "10.65.4.0/26", "10.65.5.0/26"];
const IPV6: [&str; 2] = ["fd65::2:0/122", "fd65::3:0/122"];

fn start() -> Node {
    let mut node = Node::start();
    node.fib.set_nexthop_objects(true);
    node
}

fn set_all(node: &mut Node, prefixes: &[&str], next_hops: &[&str]) {
    for prefix in prefixes {
        node.set(prefix, via(next_hops));
    }
    node.settle();
}

/// Gateways and groups of ours.
fn objects() -> (usize, usize) {
    let shown = ip("nexthop show proto 12");
    let groups = shown.lines().filter(|line| line.contains(" group ")).count();
    (shown.lines().count() - groups, groups)
}

/// Where the routes to these prefixes lead, and whether through an object.
fn ways(prefixes: &[&str]) -> Vec<String> {
    prefixes
        .iter()
        .map(|prefix| {
            let family = if prefix.contains(':') { "-6" } else { "-4" };
            let shown = ip(&format!("{family} route show {prefix} proto bird"));
            let words: Vec<&str> = shown.split_whitespace().collect();
            let vias = words
                .windows(3)
                .filter(|words| words[0] == "via")
                .map(|words| if words[1] == "inet6" { words[2] } else { words[1] });
            let through = if words.contains(&"nhid") {
                "object"
            } else {
                "plain"
            };
            let mut vias: Vec<&str> = vias.collect();
            vias.sort_unstable();
            format!("{through} {}", vias.join(" "))
        })
        .collect()
}

#[test]
fn a_set_that_changes_is_one_operation_for_all_its_routes() {
    namespace::run(
        "groups::a_set_that_changes_is_one_operation_for_all_its_routes",
        || {
            two_links();
            // Without, the kernel repeats every route of an object that changes, for listeners that know no objects.
            std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
            let mut node = start();
            set_all(&mut node, &IPV4, &["192.0.2.12", "198.51.100.7"]);
            set_all(&mut node, &IPV6, &["fd31:1::12", "fd31:1::13"]);
            assert_eq!(objects(), (4, 2));
            let observer = Observer::start();
            let written = node.fib.counts().written;
            // A member dies: the RIB says so prefix by prefix.
            for prefix in IPV4 {
                node.set(prefix, via(&["198.51.100.7"]));
            }
            node.settle();
            assert_eq!(observer.seen(), Seen::default(), "no route was written");
            let ops = node.fib.counts().written - written;
            assert_eq!(ops, 2, "the group changes, and its former member goes");
            assert_eq!(objects(), (3, 2));
            // It comes back; all of them get another set; that is one that others use already.
            for next_hops in [
                &["192.0.2.12", "198.51.100.7"][..],
                &["192.0.2.13"],
                &["192.0.2.12"],
            ] {
                set_all(&mut node, &IPV4, next_hops);
            }
            set_all(&mut node, &["10.65.9.0/26"], &["192.0.2.14"]);
            assert_eq!(observer.seen(), Seen { new: 1, deleted: 0 });
            set_all(&mut node, &IPV4, &["192.0.2.14"]);
            assert_eq!(observer.seen(), Seen::default());
            // Some of them only: those are written.
            set_all(&mut node, &IPV4[..2], &["192.0.2.12"]);
            assert_eq!(observer.seen(), Seen { new: 2, deleted: 0 });
            std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "1").unwrap();
            assert_eq!(
                ways(&IPV4),
                [
                    "object 192.0.2.12",
                    "object 192.0.2.12",
                    "object 192.0.2.14",
                    "object 192.0.2.14"
                ]
            );
            // A gateway moves: the way to a next hop leads through another one.
            ip("route add 172.16.0.0/12 via 192.0.2.9");
            node.catch_up();
            set_all(&mut node, &IPV4, &["172.16.9.9"]);
            let written = node.fib.counts().written;
            ip("route replace 172.16.0.0/12 via 198.51.100.9");
            node.until("moved", |_| {
                ways(&IPV4).iter().all(|way| way == "object 198.51.100.9")
            });
            node.settle();
            let ops = node.fib.counts().written - written;
            assert_eq!(ops, 4, "a gateway made, two groups changed, a gateway removed");
        },
    );
}

#[test]
fn the_last_route_takes_the_objects_with_it() {
    namespace::run("groups::the_last_route_takes_the_objects_with_it", || {
        two_links();
        let mut node = start();
        node.fib.allow_sweep();
        ip("nexthop add id 7 via 192.0.2.9 dev eth0 proto zebra");
        let theirs = ip("nexthop");
        set_all(&mut node, &IPV4, &["192.0.2.12", "198.51.100.7"]);
        set_all(&mut node, &IPV6, &["fd31:1::12"]);
        node.set("10.65.1.0/26", blackhole());
        node.settle();
        assert_eq!(objects(), (3, 2));
        let written = node.fib.counts().written;
        for prefix in IPV4.iter().chain(&IPV6) {
            node.set(prefix, None);
        }
        node.settle();
        assert_eq!(ours(), ["blackhole 10.65.1.0/26"]);
        assert_eq!(ip("nexthop"), theirs);
        assert_eq!(
            node.fib.counts().written - written,
            5,
            "two groups, three gateways; no route"
        );
    });
}

#[test]
fn a_second_life_finds_its_objects_and_writes_nothing() {
    namespace::run(
        "groups::a_second_life_finds_its_objects_and_writes_nothing",
        || {
            two_links();
            let mut node = start();
            set_all(&mut node, &IPV4, &["192.0.2.12", "198.51.100.7"]);
            set_all(&mut node, &IPV6, &["fd31:1::12"]);
            // One of two groups for the same set.
            set_all(&mut node, &["10.65.9.0/26"], &["192.0.2.13"]);
            set_all(&mut node, &["10.65.9.0/26"], &["192.0.2.12", "198.51.100.7"]);
            let (routes, shown) = (ours(), ip("nexthop"));
            drop(node);
            let observer = Observer::start();
            let mut second = start();
            assert_eq!(second.adopted, Some(7));
            second.settle();
            assert_eq!((ours(), ip("nexthop")), (routes.clone(), shown.clone()));
            for prefix in IPV4.iter().chain(&["10.65.9.0/26"]) {
                second.set(prefix, via(&["192.0.2.12", "198.51.100.7"]));
            }
            set_all(&mut second, &IPV6, &["fd31:1::12"]);
            second.fib.allow_sweep();
            second.settle();
            assert_eq!(second.fib.counts().written, 0);
            assert_eq!((ours(), ip("nexthop")), (routes, shown));
            assert_eq!(observer.seen(), Seen::default());
            // And they are its own: one operation for all.
            set_all(&mut second, &IPV4, &["198.51.100.7"]);
            assert_eq!(observer.seen().deleted, 0);
            assert!(second.fib.counts().written <= 2, "{:?}", second.fib.counts());
            // A third one in which half of it is not wanted any more, and the setting is off.
            drop(second);
            let mut third = Node::start();
            set_all(&mut third, &IPV4, &["198.51.100.7"]);
            third.fib.allow_sweep();
            third.settle();
            assert_eq!(ways(&IPV4), ["plain 198.51.100.7"; 4]);
            assert_eq!((objects(), ours().len()), ((0, 0), 4));
            assert_eq!(observer.seen().new, 4);
        },
    );
}

#[test]
fn objects_that_others_change_or_remove_are_back_at_once() {
    namespace::run(
        "groups::objects_that_others_change_or_remove_are_back_at_once",
        || {
            two_links();
            let mut node = start();
            set_all(&mut node, &IPV4, &["192.0.2.12", "198.51.100.7"]);
            set_all(&mut node, &IPV6, &["fd31:1::12"]);
            node.fib.allow_sweep();
            node.settle();
            let before = (ways(&IPV4), ways(&IPV6));
            let id = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
            let of = |word: &str| {
                let shown = ip("nexthop show proto 12");
                id(shown.lines().find(|line| line.contains(word)).unwrap())
            };
            let changes: [&dyn Fn() -> String; 6] = [
                &|| format!("nexthop del id {}", of("group")),
                &|| format!("nexthop del id {}", of("192.0.2.12")),
                &|| "nexthop flush".to_owned(),
                &|| {
                    format!(
                        "nexthop replace id {} via 192.0.2.99 dev eth0 proto 12",
                        of("via 192.0.2.12")
                    )
                },
                &|| {
                    format!(
                        "nexthop replace id {} group {} proto 12",
                        of("group"),
                        of("via 192.0.2.12")
                    )
                },
                &|| {
                    let id = of("group");
                    format!("nexthop del id {id}\nnexthop add id {id} via 192.0.2.88 dev eth0 proto zebra")
                },
            ];
            for change in changes {
                let words = change();
                ip_batch(&words);
                let repaired = node.fib.counts().repaired;
                let took = node.until(&words, |node| {
                    node.fib.counts().repaired > repaired
                        && node.fib.is_settled()
                        && (ways(&IPV4), ways(&IPV6)) == before
                });
                assert!(took < SOON, "{words}: {took:?}");
                node.catch_up();
                assert_eq!((ways(&IPV4), ways(&IPV6)), before, "{words}");
            }
            assert!(ip("nexthop").contains("proto zebra"), "others' objects stay");
            // Somebody who does not give up meets plain routes, which an object's end does not concern.
            for _ in 0..8 {
                ip("nexthop flush");
                node.catch_up();
            }
            assert_eq!(ways(&IPV4), ["plain 192.0.2.12 198.51.100.7"; 4]);
            assert!(node.fib.object_trouble().is_some());
            node.fib.handle_timeout(Instant::now() + Duration::from_secs(61));
            node.settle();
            assert_eq!((ways(&IPV4), node.fib.object_trouble()), (before.0, None));
        },
    );
}

#[test]
fn a_link_that_fails_takes_its_members_and_gives_them_back() {
    namespace::run(
        "groups::a_link_that_fails_takes_its_members_and_gives_them_back",
        || {
            two_links();
            let mut node = start();
            set_all(&mut node, &IPV4, &["192.0.2.12", "198.51.100.7"]);
            set_all(&mut node, &["10.65.9.0/26"], &["198.51.100.7"]);
            let all = [&IPV4[..], &["10.65.9.0/26"]].concat();
            let before = ways(&all);
            for (down, up, alone) in [
                // Without carrier a route stays, for the time when it is back; the kernel would drop it with the object.
                ("peer1 down", "peer1 up", "plain 198.51.100.7"),
                ("eth1 down", "eth1 up", "plain "),
            ] {
                for _ in 0..5 {
                    ip(&format!("link set {down}"));
                    let took = node.until(down, |node| {
                        node.fib.is_settled()
                            && ways(&IPV4) == ["object 192.0.2.12"; 4]
                            && ways(&["10.65.9.0/26"]) == [alone]
                    });
                    assert!(took < SOON, "{down}: {took:?}");
                    ip(&format!("link set {up}"));
                    let took = node.until(up, |node| node.fib.is_settled() && ways(&all) == before);
                    assert!(took < SOON, "{up}: {took:?}");
                }
            }
            // Both before anybody looks.
            ip("link set eth1 down");
            ip("link set eth1 up");
            node.until("back", |node| node.fib.is_settled() && ways(&all) == before);
            // Another device in its place.
            ip("link del eth1");
            node.until("gone", |node| {
                node.fib.is_settled() && ways(&all)[0] == "object 192.0.2.12"
            });
            ip("link add eth1 type veth peer name peer1");
            ip("link set peer1 up");
            ip("link set eth1 up");
            ip("address add 198.51.100.1/24 dev eth1");
            node.until("back", |node| node.fib.is_settled() && ways(&all) == before);
        },
    );
}

#[test]
fn the_setting_changes_each_route_by_one_replacement() {
    namespace::run(
        "groups::the_setting_changes_each_route_by_one_replacement",
        || {
            two_links();
            ip("link add tunl0 type veth peer name peer9");
            ip("link set peer9 up");
            ip("link set tunl0 up");
            let mut node = Node::start();
            node.fib.allow_sweep();
            set_all(&mut node, &IPV4, &["192.0.2.12", "198.51.100.7"]);
            set_all(&mut node, &IPV6, &["fd31:1::12", "fd31:1::13"]);
            node.set("10.65.1.0/26", blackhole());
            // By way of IPv6, and through the tunnel.
            set_all(&mut node, &["10.65.6.0/26"], &["fd31:1::12"]);
            let tunnelled = pipit_rib::fib::Hop {
                tunnel: pipit_rib::fib::Tunnel::IpipAlways,
                ..hop("172.31.1.12")
            };
            let action = pipit_rib::fib::FibAction::Via([tunnelled].into_iter().collect());
            node.set(
                "10.65.7.0/26",
                Some(pipit_rib::fib::FibTarget { action, metric: 7 }),
            );
            node.settle();
            let all = [&IPV4[..], &IPV6, &["10.65.6.0/26", "10.65.7.0/26"]].concat();
            let plain = ways(&all);
            let routes = ours();
            let observer = Observer::start();
            for _ in 0..3 {
                node.fib.set_nexthop_objects(true);
                node.settle();
                let through: Vec<String> = plain.iter().map(|way| way.replace("plain", "object")).collect();
                assert_eq!(ways(&all), through);
                assert_eq!(observer.seen(), Seen { new: 8, deleted: 0 });
                node.fib.set_nexthop_objects(false);
                node.settle();
                assert_eq!(ways(&all), plain);
                assert_eq!(observer.seen().deleted, 0);
                assert_eq!((ours(), objects()), (routes.clone(), (0, 0)));
            }
            node.fib.set_nexthop_objects(true);
            node.settle();
            // Another number is on all of them.
            node.fib.set_protocol(99);
            node.until("replaced", |node| node.fib.is_settled() && ours().is_empty());
            assert_eq!(
                (objects(), ip("nexthop show proto 99").lines().count()),
                ((0, 0), 9)
            );
            assert_eq!(observer.seen().deleted, 0);
        },
    );
}

#[test]
fn ten_thousand_routes_follow_one_change() {
    namespace::run("groups::ten_thousand_routes_follow_one_change", || {
        two_links();
        let mut node = start();
        let prefix = |at: u32| ipnet::Ipv4Net::new((0x0a00_0000 + (at << 6)).into(), 26).unwrap();
        let fill = |node: &mut Node, next_hops: &[&str]| {
            for at in 0..10_000 {
                node.set_v4(prefix(at), via(next_hops));
            }
            node.settle();
        };
        fill(&mut node, &["192.0.2.12", "198.51.100.7"]);
        let written = node.fib.counts().written;
        fill(&mut node, &["198.51.100.7"]);
        assert_eq!(node.fib.counts().written - written, 2);
        ip_batch("nexthop flush\n");
        let took = node.until("back", |node| {
            node.fib.is_settled() && node.fib.counts().repaired >= 10_000
        });
        assert!(took < SOON, "{took:?}");
        assert_eq!(ours().len(), 10_000);
    });
}
