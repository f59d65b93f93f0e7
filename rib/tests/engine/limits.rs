//! Peers that send too much, alone or together.

use pipit_bgp::PeerId;
use pipit_rib::{Output, RibLimits};

use crate::bench::{Bench, CLIENT, Route, net};

fn bench(peers: u32) -> Bench {
    let mut bench = Bench::new();
    for id in 1..=peers {
        bench.add(id, CLIENT);
        bench.up(id);
    }
    bench.outputs.clear();
    bench
}

fn announce(bench: &mut Bench, id: u32, third: std::ops::Range<u32>) {
    for third in third {
        bench.announce(id, net(&format!("10.{id}.{third}.0/24")), Route::tagged(id));
    }
}

fn ended(bench: &Bench) -> Vec<PeerId> {
    let ended = bench.outputs.iter().filter_map(|output| match output {
        Output::OutOfResources(id) | Output::PrefixLimit(id, ..) | Output::Stuck(id) => Some(*id),
        _ => None,
    });
    ended.collect()
}

#[test]
fn above_its_own_limit_a_peer_is_ended_once_and_nothing_more_is_taken() {
    let mut bench = bench(2);
    bench.change(1, |settings| settings.max_prefixes = Some(10));
    announce(&mut bench, 1, 0..10);
    assert_eq!(ended(&bench), []);
    announce(&mut bench, 1, 10..30);
    assert_eq!(ended(&bench), [PeerId(1)]);
    assert_eq!(bench.rib.totals().paths, 11);
    // The end of the session takes everything back, and a new one starts afresh.
    bench.down(1, None);
    bench.up(1);
    announce(&mut bench, 1, 0..10);
    assert_eq!((ended(&bench).len(), bench.tags(2).len()), (1, 10));
    bench.verify();
}

#[test]
fn a_limit_that_is_lowered_beneath_what_is_there_acts_at_once() {
    let mut bench = bench(2);
    announce(&mut bench, 1, 0..30);
    bench.change(1, |settings| settings.max_prefixes = Some(30));
    assert_eq!(ended(&bench), []);
    bench.change(1, |settings| settings.max_prefixes = Some(29));
    assert_eq!(ended(&bench), [PeerId(1)]);
    bench.change(1, |settings| settings.max_prefixes = Some(28));
    assert_eq!(ended(&bench).len(), 1, "it is on its way out");
}

#[test]
fn when_the_table_is_full_the_peer_with_most_routes_goes_whoever_sent_the_last() {
    let mut bench = bench(3);
    let limits = RibLimits {
        paths: 40,
        ..RibLimits::default()
    };
    bench.rib.set_limits(limits);
    announce(&mut bench, 1, 0..30);
    announce(&mut bench, 2, 0..10);
    assert_eq!(ended(&bench), []);
    announce(&mut bench, 3, 0..1);
    assert_eq!(ended(&bench), [PeerId(1)]);
    bench.down(1, None);
    announce(&mut bench, 3, 0..20);
    assert_eq!(ended(&bench), [PeerId(1)], "there is room again");
    assert_eq!(bench.tags(2).len(), 20);
    bench.verify();
}

#[test]
fn one_peer_goes_at_a_time_whatever_comes_before_it_is_gone() {
    let mut bench = bench(3);
    bench.rib.set_limits(RibLimits {
        paths: 40,
        ..RibLimits::default()
    });
    announce(&mut bench, 1, 0..30);
    announce(&mut bench, 2, 0..20);
    assert_eq!(ended(&bench), [PeerId(1)]);
    // The session takes its time to end.
    announce(&mut bench, 2, 20..25);
    announce(&mut bench, 3, 0..5);
    assert_eq!(ended(&bench), [PeerId(1)], "the others are not to blame");
    bench.down(1, None);
    announce(&mut bench, 3, 5..10);
    assert_eq!(ended(&bench), [PeerId(1)]);
    announce(&mut bench, 3, 10..30);
    assert_eq!(ended(&bench), [PeerId(1), PeerId(2)]);
    bench.verify();
}

#[test]
fn routes_kept_for_a_peer_that_is_away_make_room_as_well() {
    let mut bench = bench(2);
    bench.rib.set_limits(RibLimits {
        paths: 40,
        ..RibLimits::default()
    });
    announce(&mut bench, 1, 0..30);
    bench.down(1, Some(std::time::Duration::ZERO));
    announce(&mut bench, 2, 0..20);
    assert_eq!(ended(&bench), []);
    assert_eq!(bench.rib.totals().paths, 20);
    bench.verify();
    bench.up(1);
    announce(&mut bench, 1, 0..5);
    assert_eq!(bench.tags(2).len(), 5);
    bench.verify();
}

#[test]
fn routes_that_come_and_go_before_a_peer_that_does_not_read_are_remembered_once() {
    let mut bench = bench(3);
    announce(&mut bench, 1, 0..20);
    bench.stick(2);
    for round in 0..200 {
        announce(&mut bench, 1, 0..20);
        for third in 0..20 {
            bench.withdraw(1, net(&format!("10.1.{third}.0/24")));
        }
        if round % 50 == 0 {
            bench.verify();
        }
    }
    bench.verify();
    assert_eq!((bench.rib.totals().prefixes, bench.rib.totals().paths), (20, 0));
    bench.unstick(2);
    assert!(bench.tags(2).is_empty());
    assert_eq!(bench.rib.totals().prefixes, 0);
    assert_eq!(ended(&bench), []);
    bench.verify();
}

#[test]
fn a_peer_that_does_not_read_goes_when_it_costs_more_than_the_table() {
    let mut bench = bench(3);
    bench.stick(2);
    let prefix = |n: u32| net(&format!("{}.{}.{}.0/24", 11 + (n >> 16), (n >> 8) & 255, n & 255));
    let mut last = 0;
    while ended(&bench).is_empty() {
        assert!(last < 1_000_000, "somebody must go");
        bench.announce_all(1, (last..last + 1000).map(|n| (prefix(n), Route::tagged(1))));
        bench.withdraw_all(1, (last..last + 1000).map(prefix));
        last += 1000;
    }
    assert_eq!(ended(&bench), [PeerId(2)]);
    assert!(bench.rib.totals().prefixes < 70_000);
    bench.down(2, None);
    bench.peers.get_mut(&2).unwrap().is_stuck = false;
    bench.announce_all(1, (0..10).map(|n| (prefix(n), Route::tagged(1))));
    bench.up(2);
    assert_eq!((bench.rib.totals().prefixes, bench.tags(2).len()), (10, 10));
    bench.verify();
}

#[test]
fn attributes_of_their_own_for_every_route_cost_the_peer_that_makes_them() {
    let mut bench = bench(2);
    let limits = RibLimits {
        attribute_bytes: 1_000,
        ..RibLimits::default()
    };
    bench.rib.set_limits(limits);
    // Many routes, one set of attributes; then few routes with a set each.
    announce(&mut bench, 1, 0..200);
    for third in 0..60 {
        bench.announce(2, net(&format!("10.2.{third}.0/24")), Route::tagged(1000 + third));
    }
    assert_eq!(ended(&bench), [PeerId(2)]);
    bench.down(2, None);
    assert!(bench.rib.totals().attribute_bytes < 200);
    bench.verify();
}
