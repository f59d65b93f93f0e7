//! Routes of an earlier life and routes of others.

use std::time::Duration;

use pipit_bgp::FamilyMap;

use crate::namespace::{self, ip, of_protocol, ours, two_links};
use crate::node::{Monitor, Node, Observer, Seen, blackhole, via};

#[test]
fn a_restart_adopts_without_a_write_and_sweeps_when_allowed() {
    namespace::run(
        "takeover::a_restart_adopts_without_a_write_and_sweeps_when_allowed",
        || {
            two_links();
            // As BIRD leaves them.
            ip("route add 10.65.2.0/26 via 192.0.2.12 dev eth0 proto bird");
            ip("route add blackhole 10.65.1.0/26 proto bird");
            ip("-6 route add fd65::2:0/122 via fd31:1::12 dev eth0 proto bird");
            ip("route add 10.65.3.0/26 via 192.0.2.13 dev eth0 proto bird");
            ip("route add 10.65.4.0/26 via 192.0.2.13 dev eth0 proto static");
            let observer = Observer::start();
            let mut node = Node::start();
            assert_eq!(node.adopted, Some(4));
            node.set("10.65.2.0/26", via(&["192.0.2.12"]));
            node.set("10.65.1.0/26", blackhole());
            node.set("fd65::2:0/122", via(&["fd31:1::12"]));
            node.settle();
            assert_eq!(node.state("10.65.3.0/26"), "stale");
            assert_eq!((observer.seen(), node.fib.counts().written), (Seen::default(), 0));
            node.fib.allow_sweep();
            node.settle();
            assert_eq!(observer.seen(), Seen { new: 0, deleted: 1 });
            assert_eq!(ours().len(), 3);
            assert!(ip("route show proto static").contains("10.65.4.0/26 via 192.0.2.13 dev eth0"));
        },
    );
}

#[test]
fn a_foreign_route_is_left_alone_and_ours_follows_when_it_goes() {
    namespace::run(
        "takeover::a_foreign_route_is_left_alone_and_ours_follows_when_it_goes",
        || {
            two_links();
            ip("route add 10.65.2.0/26 via 198.51.100.7 proto static");
            let mut node = Node::start();
            node.set("10.65.2.0/26", via(&["192.0.2.12"]));
            node.set("10.65.3.0/26", via(&["192.0.2.12"]));
            node.settle();
            assert_eq!(node.state("10.65.2.0/26"), "conflict");
            assert_eq!(ours(), ["10.65.3.0/26 via 192.0.2.12 dev eth0"]);
            ip("route del 10.65.2.0/26 proto static");
            node.until("ours", |node| node.state("10.65.2.0/26") == "installed");
            // Somebody takes the place of ours: the kernel says only that the new one is there.
            ip("route replace 10.65.3.0/26 via 198.51.100.7 proto static");
            node.until("noticed", |node| {
                node.fib.is_settled() && node.state("10.65.3.0/26") == "conflict"
            });
            node.set("10.65.3.0/26", via(&["192.0.2.13"]));
            node.settle();
            let foreign = ip("route show 10.65.3.0/26");
            assert_eq!(
                foreign.trim_end(),
                "10.65.3.0/26 via 198.51.100.7 dev eth1 proto static"
            );
            node.set("10.65.3.0/26", None);
            node.settle();
            assert_eq!(ip("route show 10.65.3.0/26"), foreign);
        },
    );
}

/// IPv6 makes one route of those that have a prefix, a metric and gateways, whoever wrote them, and tells of it under
/// the number of whichever it looked at.
#[test]
fn an_ipv6_route_that_the_kernel_joins_to_ours_is_noticed_and_so_is_what_goes_with_it() {
    let name = "takeover::an_ipv6_route_that_the_kernel_joins_to_ours_is_noticed_and_so_is_what_goes_with_it";
    namespace::run(name, || {
        two_links();
        let mut node = Node::start();
        node.fib.allow_sweep();
        node.set("fd65::2:0/122", via(&["fd31:1::12"]));
        node.settle();
        let alone = ["fd65::2:0/122 via fd31:1::12 dev eth0 metric 1024 pref medium"];
        let is_alone = || ours() == alone;
        assert!(is_alone(), "{:?}", ours());
        for proto in ["static", "80"] {
            let joining = format!("fd65::2:0/122 via fd31:1::13 dev eth0 proto {proto} metric 1024");
            ip(&format!("-6 route append {joining}"));
            assert!(!is_alone());
            node.until("ours alone again", |_| is_alone());
            // Both go in one step, which the kernel tells of as the other program's route alone.
            ip(&format!("-6 route append {joining}"));
            ip(&format!("-6 route del fd65::2:0/122 proto {proto} metric 1024"));
            node.until("ours again", |node| node.fib.is_settled() && is_alone());
        }
        // Two of others, who are in the way together and go together.
        ip("-6 route replace fd65::2:0/122 via fd31:1::13 dev eth0 proto static metric 1024");
        ip("-6 route append fd65::2:0/122 via fd31:1::14 dev eth0 proto 80 metric 1024");
        node.until("conflict", |node| node.state("fd65::2:0/122") == "conflict");
        node.catch_up();
        ip("-6 route del fd65::2:0/122 metric 1024");
        node.until("ours once more", |node| node.fib.is_settled() && is_alone());
    });
}

#[test]
fn a_route_that_appears_between_dump_and_write_is_not_overwritten() {
    namespace::run(
        "takeover::a_route_that_appears_between_dump_and_write_is_not_overwritten",
        || {
            two_links();
            let mut node = Node::start();
            // The FIB has not heard of it when it writes.
            ip("route add 10.65.2.0/26 via 198.51.100.7 proto static");
            node.set("10.65.2.0/26", via(&["192.0.2.12"]));
            node.until("conflict", |node| {
                node.fib.is_settled() && node.state("10.65.2.0/26") == "conflict"
            });
            let foreign = ip("route show 10.65.2.0/26");
            assert_eq!(
                foreign.trim_end(),
                "10.65.2.0/26 via 198.51.100.7 dev eth1 proto static"
            );
            assert!(ours().is_empty());
        },
    );
}

#[test]
fn without_permission_the_error_says_what_is_missing() {
    let name = "takeover::without_permission_the_error_says_what_is_missing";
    namespace::run_without_permission(name, || {
        let error = pipit_rib::io::netlink::spawn(254).expect_err("not permitted");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}

#[test]
fn another_protocol_number_is_one_replacement_a_route() {
    namespace::run(
        "takeover::another_protocol_number_is_one_replacement_a_route",
        || {
            two_links();
            let mut node = Node::start();
            node.set("10.65.1.0/26", blackhole());
            node.set("10.65.2.0/26", via(&["192.0.2.12"]));
            node.set("10.65.3.0/26", via(&["192.0.2.12", "198.51.100.7"]));
            node.set("fd65::2:0/122", via(&["fd31:1::12"]));
            node.set("fd65::1:0/122", blackhole());
            node.fib.allow_sweep();
            node.settle();
            let before = ours();
            ip("route add 10.65.9.0/26 via 192.0.2.12 proto 99");
            let monitor = Monitor::start();
            node.fib.set_protocol(99);
            node.until("replaced", |node| node.fib.is_settled() && ours().is_empty());
            let deleted = monitor.deleted();
            assert_eq!(deleted.len(), 1, "{deleted:?}");
            assert!(
                deleted[0].contains("10.65.9.0/26"),
                "what carries our number is ours: {deleted:?}"
            );
            assert_eq!(of_protocol("99"), before);
            // Twelve is BIRD's again.
            ip("route add 10.65.8.0/26 via 192.0.2.12 proto bird");
            node.catch_up();
            assert_eq!(ours(), ["10.65.8.0/26 via 192.0.2.12 dev eth0"]);
            node.fib.set_protocol(12);
            node.until("back", |node| {
                node.fib.is_settled() && of_protocol("99").is_empty()
            });
            assert_eq!(ours(), before);
        },
    );
}

#[test]
fn a_table_of_our_own_is_written_and_the_main_one_read() {
    namespace::run(
        "takeover::a_table_of_our_own_is_written_and_the_main_one_read",
        || {
            two_links();
            for table in [1000, 200] {
                let show = |family| ip(&format!("-{family} route show table {table}"));
                ip("route add 10.65.2.0/26 via 198.51.100.7 proto bird");
                ip("route add 172.16.0.0/12 via 198.51.100.9 proto static");
                ip(&format!(
                    "route add 10.65.3.0/26 via 198.51.100.7 proto static table {table}"
                ));
                ip(&format!(
                    "route add 10.65.4.0/26 via 192.0.2.12 proto bird table {table}"
                ));
                let mut node = Node::start_in(table);
                assert_eq!(node.adopted, Some(1));
                for (prefix, next_hop) in [
                    ("10.65.2.0/26", "192.0.2.12"),
                    ("10.65.3.0/26", "192.0.2.12"),
                    ("10.65.5.0/26", "172.16.9.9"),
                    ("fd65::2:0/122", "fd31:1::12"),
                ] {
                    node.set(prefix, via(&[next_hop]));
                }
                node.fib.allow_sweep();
                node.settle();
                assert_eq!(node.state("10.65.3.0/26"), "conflict");
                let ipv4: Vec<String> = show(4).lines().map(|line| line.trim_end().to_owned()).collect();
                assert_eq!(
                    ipv4,
                    [
                        "10.65.2.0/26 via 192.0.2.12 dev eth0 proto bird",
                        "10.65.3.0/26 via 198.51.100.7 dev eth1 proto static",
                        "10.65.5.0/26 via 198.51.100.9 dev eth1 proto bird",
                    ]
                );
                assert!(show(6).contains("fd65::2:0/122 via fd31:1::12 dev eth0 proto bird"));
                assert_eq!(
                    ours(),
                    ["10.65.2.0/26 via 198.51.100.7 dev eth1"],
                    "somebody else's"
                );
                // By hand, in our table and in the one that leads there.
                ip(&format!("route del 10.65.2.0/26 table {table}"));
                ip("route replace 172.16.0.0/12 via 192.0.2.9 proto static");
                node.until("repaired", |node| {
                    node.fib.repaired() == 1 && node.fib.is_settled()
                });
                assert!(show(4).contains("10.65.5.0/26 via 192.0.2.9 dev eth0"));
                assert!(show(4).contains("10.65.2.0/26 via 192.0.2.12 dev eth0"));
                drop(node);
                ip("route del 10.65.2.0/26");
                ip("route del 172.16.0.0/12");
            }
        },
    );
}

#[test]
fn a_preferred_source_address_is_written_and_its_loss_repaired() {
    namespace::run(
        "takeover::a_preferred_source_address_is_written_and_its_loss_repaired",
        || {
            two_links();
            ip("address add 192.0.2.5/24 dev eth0");
            let mut node = Node::start();
            node.set("10.65.2.0/26", via(&["192.0.2.12"]));
            node.set("fd65::2:0/122", via(&["fd31:1::12"]));
            node.settle();
            node.fib.set_source(FamilyMap {
                ipv4: Some("192.0.2.5".parse().unwrap()),
                ipv6: Some("fd31:1::1".parse().unwrap()),
            });
            node.settle();
            assert_eq!(ours()[0], "10.65.2.0/26 via 192.0.2.12 dev eth0 src 192.0.2.5");
            assert!(ours()[1].starts_with("fd65::2:0/122 via fd31:1::12 dev eth0 src fd31:1::1"));
            // The kernel drops the IPv4 route with the address, in silence, and takes none that names it.
            for (word, expected) in [
                ("del", "10.65.2.0/26 via 192.0.2.12 dev eth0"),
                ("add", "10.65.2.0/26 via 192.0.2.12 dev eth0 src 192.0.2.5"),
            ] {
                ip(&format!("address {word} 192.0.2.5/24 dev eth0"));
                let took = node.until(word, |node| node.fib.is_settled() && ours()[0] == expected);
                assert!(took < Duration::from_secs(1), "{took:?}");
            }
        },
    );
}
