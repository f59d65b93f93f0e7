//! Many routes: how long they take here, which for a debug build says little, and that all of them arrive.

use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use pipit_bgp::Family;
use pipit_rib::fib::{LearnRules, LearnScope};

use crate::namespace::{self, ip, ip_batch, ours, two_links};
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

/// `count` lines of `ip -batch` for /32 routes from this address on.
fn host_routes(word: &str, first: u32, count: u32) -> String {
    (0..count).fold(String::new(), |mut lines, number| {
        let address = std::net::Ipv4Addr::from(first + number);
        lines += &format!("route {word} {address}/32 via 192.0.2.99\n");
        lines
    })
}

fn learn_inside(node: &mut Node, net: &str) {
    let rules = LearnRules {
        scope: LearnScope::Inside([net.parse().unwrap()].into_iter().collect()),
        ..LearnRules::default()
    };
    node.fib.set_learn_rules(Family::Ipv4Unicast, rules);
}

#[test]
fn a_flood_of_two_hundred_thousand_changes_costs_at_most_one_dump() {
    namespace::run(
        "scale::a_flood_of_two_hundred_thousand_changes_costs_at_most_one_dump",
        || {
            two_links();
            let mut node = Node::start();
            learn_inside(&mut node, "10.64.0.0/10");
            for number in 0..1000_u32 {
                let prefix = Ipv4Net::new((0x0a00_0000 + (number << 8)).into(), 24).unwrap();
                node.set_v4(prefix, via(&["192.0.2.12"]));
            }
            node.settle();
            // 10.65.0.0/16 is candidates for announcement, 20.0.0.0/8 is nobody's.
            let lines = [
                host_routes("add", 0x0a41_0000, 50_000),
                host_routes("add", 0x1400_0000, 50_000),
                host_routes("del", 0x0a41_0000, 50_000),
                host_routes("del", 0x1400_0000, 49_000),
                host_routes("add", 0x0a41_0000, 1000),
                "route del 10.0.7.0/24\n".to_owned(),
            ];
            let flood = std::thread::spawn(move || ip_batch(&lines.concat()));
            let took = node.until("the flood's end", |node| {
                // The route deleted by hand is the last change.
                node.fib.is_settled() && node.learned.len() == 1000 && node.fib.repaired() == 1
            });
            flood.join().unwrap();
            eprintln!("200 k foreign changes: {took:?}, {:?}", node.fib.counts());
            assert!(node.fib.counts().dumps <= 1, "{:?}", node.fib.counts());
            assert_eq!(ours().len(), 1000);
        },
    );
}

#[test]
fn foreign_routes_by_the_hundred_thousand_cost_few_octets_each() {
    namespace::run(
        "scale::foreign_routes_by_the_hundred_thousand_cost_few_octets_each",
        || {
            const FOREIGN: u32 = 300_000;
            two_links();
            ip_batch(&host_routes("add", 0x1400_0000, FOREIGN));
            let mut node = Node::start();
            learn_inside(&mut node, "10.65.0.0/16");
            let before = resident_kib();
            // A second picture beside the first, which it replaces.
            node.dump();
            let grown = resident_kib().saturating_sub(before);
            let whole = resident_kib();
            eprintln!("{FOREIGN} foreign routes: process {whole} KiB, a dump adds {grown} KiB");
            assert!(node.learned.is_empty(), "none of them may be announced");
            assert!(whole < 48 << 10, "{whole} KiB");
            node.set("10.65.2.0/26", via(&["20.1.2.3"]));
            node.settle();
            assert_eq!(ours(), ["10.65.2.0/26 via 192.0.2.99 dev eth0"]);
        },
    );
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
