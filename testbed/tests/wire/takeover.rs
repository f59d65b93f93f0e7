//! A neighbour that announces what is not its own: the node's blocks, its networks, its way to the world.

use std::time::Duration;

use pipit_testbed::calico::Store;
use pipit_testbed::wait;

use crate::bench::{Bench, NODE, Neighbour, OURS};
use crate::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(10);
const BLOCK: &str = "10.65.3.0/26";

fn route(bench: &Bench, prefix: &str) -> Vec<String> {
    let shown = bench.node.ip(&["route", "show", prefix]);
    shown.lines().map(|line| line.trim().to_owned()).collect()
}

/// A node with a block of its own and a default route of somebody else's; a neighbour, and one that watches.
fn scene() -> (Bench, Peer, Peer) {
    let mut bench = Bench::start(vec![Neighbour::external(); 2]);
    bench.store.assign("dut", BLOCK.parse().unwrap());
    bench
        .node
        .ip(&["route", "add", "default", "via", "10.97.2.2", "dev", "eth0"]);
    bench
        .node
        .ip(&["route", "add", "10.99.0.0/16", "via", "10.97.2.2", "dev", "eth0"]);
    let [thief, mut watcher] = [0, 1].map(|at| bench.up(at));
    watcher.wait("the block", |watcher| watcher.has(BLOCK));
    wait::until(
        "the blackhole",
        PATIENCE,
        || route(&bench, BLOCK),
        |routes| routes.first().is_some_and(|route| route.starts_with("blackhole")),
    );
    (bench, thief, watcher)
}

#[test]
fn r26_what_is_the_nodes_own_stays_whatever_a_neighbour_announces() {
    let (bench, mut thief, mut watcher) = scene();
    let own = [BLOCK, "10.97.0.0/16", "0.0.0.0/0", "10.99.0.0/16"];
    let before = own.map(|prefix| route(&bench, prefix));
    thief.announce(7, &own);
    thief.announce(7, &["10.97.0.1/32", "60.1.0.0/24"]);
    wait::until(
        "its good route",
        PATIENCE,
        || route(&bench, "60.1.0.0/24"),
        |routes| !routes.is_empty(),
    );
    watcher.wait("the same", |watcher| watcher.has("60.1.0.0/24"));
    for (prefix, before) in own.iter().zip(&before) {
        let now = route(&bench, prefix);
        assert!(
            before.iter().all(|line| now.contains(line)),
            "{prefix}: {before:?} became {now:?}"
        );
        // What the kernel prefers, the lowest metric, is as it was.
        assert_eq!(now.first(), before.first(), "{prefix}");
    }
    // The block is still ours to everybody.
    assert_eq!(watcher.route(BLOCK).unwrap().asns(), [OURS]);
    assert_eq!(watcher.route(BLOCK).unwrap().next_hop, NODE.octets());
    // And when the neighbour takes it all back, or goes, nothing of ours goes with it.
    thief.withdraw(&own[..2]);
    drop(thief);
    watcher.wait("the neighbour's routes gone", |watcher| {
        !watcher.has("60.1.0.0/24")
    });
    wait::until_eq(
        "no route of it",
        PATIENCE,
        || route(&bench, "60.1.0.0/24"),
        &vec![],
    );
    assert_eq!(own.map(|prefix| route(&bench, prefix)), before);
    assert_eq!(watcher.route(BLOCK).unwrap().asns(), [OURS]);
    assert_eq!(watcher.ending, None);
}

#[test]
fn r26_more_specific_routes_inside_the_own_block_do_not_hide_it() {
    let (bench, mut thief, mut watcher) = scene();
    thief.announce(7, &["10.65.3.0/27", "10.65.3.5/32"]);
    thief.announce(7, &["60.1.0.0/24"]);
    watcher.wait("its good route", |watcher| watcher.has("60.1.0.0/24"));
    assert!(route(&bench, BLOCK)[0].starts_with("blackhole"));
    assert_eq!(watcher.route(BLOCK).unwrap().asns(), [OURS]);
}
