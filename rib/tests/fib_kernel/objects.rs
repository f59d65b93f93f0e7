//! Nexthop objects, as FRR and others use them: what leads through them is followed.

use crate::namespace::{self, ip, ours, two_links};
use crate::node::{Node, via};

#[test]
fn a_way_through_somebodys_nexthop_object_is_followed_through_all_its_changes() {
    namespace::run(
        "objects::a_way_through_somebodys_nexthop_object_is_followed_through_all_its_changes",
        || {
            two_links();
            ip("nexthop add id 7 via 192.0.2.9 dev eth0 proto zebra");
            ip("nexthop add id 8 via 198.51.100.9 dev eth1 proto zebra");
            ip("nexthop add id 70 group 7 proto zebra");
            ip("route add 172.16.0.0/12 nhid 70 proto zebra");
            ip("-6 nexthop add id 9 via fd31:1::9 dev eth0 proto zebra");
            ip("-6 route add fd99::/64 nhid 9 proto zebra");
            let mut node = Node::start();
            node.set("10.65.2.0/26", via(&["172.16.9.9"]));
            node.set("fd65::2:0/122", via(&["fd99::9"]));
            node.settle();
            let v6 = "fd65::2:0/122 via fd31:1::9 dev eth0 metric 1024 pref medium";
            assert_eq!(ours(), ["10.65.2.0/26 via 192.0.2.9 dev eth0", v6]);
            // The object's content changes: every route through it does.
            ip("nexthop replace id 70 group 8 proto zebra");
            node.until("the other gateway", |node| {
                node.fib.is_settled() && ours()[0] == "10.65.2.0/26 via 198.51.100.9 dev eth1"
            });
            // Without carrier its device loses all objects.
            ip("nexthop add id 6 via 198.51.100.8 dev eth1 proto zebra");
            ip("route add 172.32.0.0/12 nhid 6 proto zebra");
            node.set("10.65.4.0/26", via(&["172.32.9.9"]));
            node.until("there", |node| node.state("10.65.4.0/26") == "installed");
            ip("link set peer1 down");
            node.until("parked", |node| node.state("10.65.4.0/26") == "parked");
            assert_eq!(ip("route show 172.32.0.0/12"), "", "the kernel has dropped it");
            ip("link set peer1 up");
            ip("nexthop add id 8 via 198.51.100.9 dev eth1 proto zebra");
            ip("nexthop add id 70 group 8 proto zebra");
            ip("route add 172.16.0.0/12 nhid 70 proto zebra");
            node.until("back", |node| node.state("10.65.2.0/26") == "installed");
            node.set("10.65.4.0/26", None);
            node.settle();
            // It goes, and its routes with it: of IPv4's the kernel says nothing.
            ip("nexthop del id 70");
            ip("nexthop del id 9");
            node.until("parked", |node| {
                node.fib.is_settled()
                    && node.state("10.65.2.0/26") == "parked"
                    && node.state("fd65::2:0/122") == "parked"
            });
            assert!(ours().is_empty());
            assert_eq!(
                node.fib.counts().dumps,
                0,
                "an object's end is no reason for a dump"
            );
            // Somebody writes one of our number through an object: it is put right.
            node.set("10.65.3.0/26", via(&["192.0.2.12"]));
            node.settle();
            ip("route replace 10.65.3.0/26 nhid 8 proto bird");
            node.until("put right", |node| {
                node.fib.repaired() == 1 && node.fib.is_settled()
            });
            node.catch_up();
            assert_eq!(ours(), ["10.65.3.0/26 via 192.0.2.12 dev eth0"]);
        },
    );
}
