//! Peers that change update groups while their sessions stay: what each is told is the difference.

use std::sync::Arc;

use ipnet::Ipv4Net;
use pipit_bgp::PeerId;
use pipit_rib::PeerSettings;
use pipit_rib::policy::{Action, Community, Condition, Filter, Operation, PrefixOperator, Rule};
use pipit_rib::query::PeerCounts;

use crate::bench::{Bench, CLIENT, EXTERNAL, Route, accept_all, filter, net, rule};

const ROUTES: u32 = 200;

fn prefix(number: u32) -> Ipv4Net {
    net(&format!("10.{}.{}.0/24", 100 + number / 250, number % 250))
}

/// Peer 1 announces, the others listen and are one group.
fn bench(listeners: u32) -> Bench {
    let mut bench = Bench::new();
    for id in 1..=1 + listeners {
        bench.add(id, CLIENT);
        bench.up(id);
    }
    bench.announce_all(1, (0..ROUTES).map(|n| (prefix(n), Route::tagged(1 + n))));
    bench.peers.values_mut().for_each(|peer| peer.told = 0);
    bench
}

fn reject(numbers: impl IntoIterator<Item = u32>) -> Vec<Rule> {
    let reject = |number| Rule {
        conditions: vec![Condition::Prefix {
            net: prefix(number).into(),
            operator: PrefixOperator::Equal,
            length: None,
        }],
        action: Action::Reject,
    };
    let accept = rule(Action::Accept(Vec::new()));
    numbers.into_iter().map(reject).chain([accept]).collect()
}

fn told(bench: &Bench) -> Vec<usize> {
    bench.peers.values().map(|peer| peer.told).collect()
}

#[test]
fn a_filter_on_one_of_many_tells_it_the_difference_and_the_others_nothing() {
    let mut bench = bench(3);
    let strict = filter("strict", reject([3, 5]));
    bench.change(2, |settings| settings.export.ipv4 = vec![strict]);
    assert_eq!(told(&bench), [0, 2, 0, 0]);
    assert_eq!(bench.tags(2).len(), ROUTES as usize - 2);
    bench.verify();
    bench.change(2, |settings| settings.export.ipv4 = vec![accept_all()]);
    assert_eq!(told(&bench), [0, 4, 0, 0]);
    assert_eq!(bench.tags(2), bench.tags(3));
    bench.verify();
    assert!(bench.peers[&2].end_of_rib);
}

#[test]
fn a_group_that_splits_peer_by_peer_is_told_the_difference_each_time() {
    let mut bench = bench(6);
    let strict = filter("strict", reject([7]));
    for id in 2..=6 {
        bench.change(id, |settings| settings.export.ipv4 = vec![strict.clone()]);
    }
    assert_eq!(told(&bench), [0, 1, 1, 1, 1, 1, 0]);
    // One more route, to all of them.
    bench.announce(1, prefix(ROUTES), Route::tagged(9999));
    assert_eq!(told(&bench), [0, 2, 2, 2, 2, 2, 1]);
    bench.verify();
}

#[test]
fn what_goes_to_a_peer_otherwise_than_before_is_said_again_in_full() {
    let mut bench = bench(2);
    let add = Action::Accept(vec![Operation::AddCommunity(Community::Standard(0xffff_0001))]);
    let marking = filter("marking", vec![rule(add)]);
    bench.change(2, |settings| settings.export.ipv4 = vec![marking]);
    assert_eq!(bench.holds_with(2, 0xffff_0001).len(), ROUTES as usize);
    assert_eq!(told(&bench), [0, ROUTES as usize, 0]);
    bench.verify();
}

#[test]
fn a_stuck_peer_that_moves_time_and_again_ends_with_what_it_is_due() {
    let mut bench = bench(3);
    bench.stick(2);
    // It takes what its task has room for, and nothing more.
    for round in 0..3 {
        bench.announce_all(
            1,
            (0..ROUTES).map(|n| (prefix(n), Route::tagged(1000 * round + n + 1))),
        );
    }
    for round in 0..20u32 {
        let strict = filter("strict", reject((round * 7)..(round * 7 + 20)));
        bench.change(2, |settings| settings.export.ipv4 = vec![strict]);
        bench.withdraw(1, prefix(round));
        bench.announce(1, prefix(round), Route::tagged(50_000 + round));
        bench.withdraw(1, prefix(190 - round));
        bench.verify();
    }
    // What it is owed is not forgotten while others come and go.
    bench.announce_all(1, (0..20).map(|n| (prefix(300 + n), Route::tagged(60_000 + n))));
    bench.unstick(2);
    let mut due = bench.tags(3);
    (133..153).for_each(|n| drop(due.remove(&prefix(n))));
    assert_eq!(bench.tags(2), due);
    bench.verify();
}

#[test]
fn a_peer_that_moves_does_not_hear_its_own_routes() {
    let mut bench = bench(2);
    bench.announce_all(
        2,
        (0..50).map(|n| {
            (
                prefix(n),
                Route {
                    local_pref: 200,
                    ..Route::tagged(7000 + n)
                },
            )
        }),
    );
    assert_eq!(bench.tags(2).len(), ROUTES as usize - 50);
    let before = bench.peers[&2].told;
    let strict = filter("strict", reject([0, 60]));
    bench.change(2, |settings| settings.export.ipv4 = vec![strict]);
    assert_eq!(bench.peers[&2].told, before + 1, "one of the two is its own");
    assert!(
        bench
            .tags(2)
            .keys()
            .all(|net| (50..ROUTES).any(|n| prefix(n) == *net))
    );
    // Its own go, and it hears of the other's again.
    (0..50).for_each(|n| bench.withdraw(2, prefix(n)));
    assert_eq!(bench.tags(2).len(), ROUTES as usize - 2);
    bench.verify();
}

#[test]
fn what_is_counted_as_sent_is_what_is_held() {
    let mut bench = bench(2);
    bench.add(4, EXTERNAL);
    bench.up(4);
    let strict = filter("strict", reject(0..10));
    bench.change(2, |settings| settings.export.ipv4 = vec![strict]);
    let counts: Vec<(PeerId, PeerCounts)> = bench
        .rib
        .peer_counts()
        .into_iter()
        .map(|(id, counts)| (id, counts.ipv4))
        .collect();
    for (id, counts) in counts {
        assert_eq!(counts.sent as usize, bench.tags(id.0).len(), "{id}");
    }
}

#[test]
fn two_that_change_places_get_what_is_due_to_them() {
    let mut bench = bench(2);
    let [strict, other] = [3, 5].map(|number| filter(&format!("not {number}"), reject([number])));
    for filters in [[&strict, &other], [&other, &strict]] {
        let set = |filter: &Arc<Filter>| {
            let export = vec![Arc::clone(filter)];
            move |settings: &mut PeerSettings| settings.export.ipv4 = export
        };
        bench.change_together([2, 3].into_iter().zip(filters.map(set)));
        bench.verify();
    }
    let lacks = |id, number| !bench.tags(id).contains_key(&prefix(number));
    assert!(lacks(2, 5) && !lacks(2, 3), "{:?}", told(&bench));
    assert!(lacks(3, 3) && !lacks(3, 5), "{:?}", told(&bench));
    assert_eq!(told(&bench), [0, 3, 3], "each time what differs");
}
