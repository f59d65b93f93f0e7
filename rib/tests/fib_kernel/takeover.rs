//! Routes of an earlier life and routes of others.

use crate::namespace::{self, ip, ours, two_links};
use crate::node::{Node, Observer, Seen, blackhole, via};

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
        let error = pipit_rib::io::netlink::spawn(12, 254).expect_err("not permitted");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}
