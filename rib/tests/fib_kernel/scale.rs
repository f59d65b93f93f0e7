//! Many routes: how long they take here, which for a debug build says little, and that all of them arrive.

use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use crate::namespace::{self, ip, ours, two_links};
use crate::node::{Node, Observer, Seen, via};

const COUNT: u32 = 100_000;

fn prefixes() -> impl Iterator<Item = Ipv4Net> {
    (0..COUNT).map(|number| {
        let address = 0x0a00_0000 + (number << 6);
        Ipv4Net::new(address.into(), 26).unwrap()
    })
}

fn fill(node: &mut Node) -> Duration {
    let start = Instant::now();
    for prefix in prefixes() {
        node.set_v4(prefix, via(&["192.0.2.12"]));
    }
    node.settle();
    start.elapsed()
}

#[test]
fn a_hundred_thousand_routes_are_written_adopted_and_repaired() {
    namespace::run(
        "scale::a_hundred_thousand_routes_are_written_adopted_and_repaired",
        || {
            two_links();
            let mut node = Node::start();
            let written = fill(&mut node);
            assert_eq!(ours().len(), COUNT as usize);
            assert_eq!(node.fib.counts().dumps, 0);
            drop(node);

            let observer = Observer::start();
            let start = Instant::now();
            let mut node = Node::start();
            assert_eq!(node.adopted, Some(COUNT as usize));
            fill(&mut node);
            node.fib.allow_sweep();
            node.settle();
            let adopted = start.elapsed();
            assert_eq!((observer.seen(), node.fib.counts().written), (Seen::default(), 0));
            drop(observer);

            ip("route flush root 10.0.0.0/12 proto bird");
            let repaired = node.until("repaired", |node| {
                node.fib.is_settled() && node.fib.repaired() >= 16_384 && ours().len() == COUNT as usize
            });
            eprintln!(
                "{COUNT} routes: written in {written:?}, adopted in {adopted:?}, 16384 repaired in {repaired:?}"
            );
        },
    );
}
