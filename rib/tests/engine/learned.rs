//! Routes of other programs in the kernel follow the peers' export filters.

use pipit_bgp::{FamilyMap, PeerId};
use pipit_rib::fib::{KernelAction, KernelEvent, KernelHop, KernelRoute, Table};
use pipit_rib::policy::Action;

use crate::bench::{Bench, CLIENT, accept_all, filter, net, rule};

/// A static route of the operator's.
const STATIC: &str = "203.0.113.0/24";

fn bench() -> Bench {
    let mut bench = Bench::new();
    for id in 1..=2 {
        bench.add(id, CLIENT);
        bench.change(id, |settings| settings.export = FamilyMap::default());
        bench.up(id);
    }
    let hop = KernelHop {
        gateway: Some([10, 0, 0, 9].into()),
        device: 1,
        is_onlink: false,
        weight: 1,
    };
    let route = KernelEvent::Route {
        prefix: STATIC.parse().unwrap(),
        protocol: 4,
        table: Table::Ours,
        route: KernelRoute {
            action: KernelAction::Unicast([hop].into_iter().collect()),
            metric: 0,
            source: None,
            object: None,
            has_more: false,
        },
        how: pipit_rib::fib::Arrival::Added,
    };
    bench.rib.handle_kernel(bench.now, vec![route]);
    bench.settle();
    bench
}

fn told(bench: &Bench, id: u32) -> bool {
    bench.peers[&id].attrs.contains_key(&net(STATIC).into())
}

#[test]
fn a_filter_that_accepts_a_static_route_announces_it_and_takes_it_back_with_itself() {
    let mut bench = bench();
    assert!(!told(&bench, 1), "nothing built in is so wide");
    bench.change(1, |settings| settings.export.ipv4 = vec![accept_all()]);
    assert!(told(&bench, 1) && !told(&bench, 2));
    let strict = filter("strict", vec![rule(Action::Reject)]);
    bench.change(1, |settings| settings.export.ipv4 = vec![strict]);
    assert!(!told(&bench, 1));
    bench.change(1, |settings| settings.export.ipv4 = vec![accept_all()]);
    assert!(told(&bench, 1));
    bench.change(1, |settings| settings.export.ipv4 = Vec::new());
    assert!(!told(&bench, 1));
    bench.verify();
}

#[test]
fn a_peer_that_comes_and_goes_takes_its_filter_along() {
    let mut bench = bench();
    let learned = |bench: &Bench| bench.rib.totals().prefixes;
    assert_eq!(learned(&bench), 0, "what nobody may be told is not learned");
    bench.add(3, CLIENT);
    bench.up(3);
    assert!(told(&bench, 3) && !told(&bench, 2));
    assert_eq!(learned(&bench), 1);
    bench.rib.remove_peer(PeerId(3));
    bench.peers.remove(&3);
    bench.settle();
    assert_eq!(learned(&bench), 0);
    bench.verify();
}
