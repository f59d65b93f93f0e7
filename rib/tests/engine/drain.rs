//! Leaving without loss (RFC 8326).

use pipit_bgp::wire::attr::AttrView;
use pipit_rib::Drain;

use crate::bench::{Bench, CLIENT, EXTERNAL, Kind, Route, net};

const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

#[test]
fn rfc8326_4_a_drained_node_marks_what_it_announces_and_no_session_moves() {
    let mut bench = Bench::new();
    for (id, kind) in [(1, CLIENT), (2, EXTERNAL), (3, EXTERNAL)] {
        bench.add(id, kind);
        bench.up(id);
    }
    bench.announce(1, net("10.1.0.0/16"), Route::tagged(11));
    bench.announce(2, net("10.2.0.0/16"), Route::tagged(12));
    bench.rib.set_drain(Drain::Marked);
    bench.settle();
    let all = [net("10.1.0.0/16").into(), net("10.2.0.0/16").into()];
    assert_eq!(bench.holds_with(3, GRACEFUL_SHUTDOWN), all);
    bench.verify();
    bench.announce(1, net("10.3.0.0/16"), Route::tagged(13));
    assert_eq!(bench.holds_with(3, GRACEFUL_SHUTDOWN).len(), 3, "later ones, too");
    let told = bench.peers[&3].told;
    bench.rib.set_drain(Drain::Marked);
    bench.settle();
    assert_eq!(bench.peers[&3].told, told, "saying it twice is no news");
    bench.rib.set_drain(Drain::Off);
    bench.settle();
    assert_eq!(bench.holds_with(3, GRACEFUL_SHUTDOWN), []);
    assert_eq!(bench.tags(3).len(), 3);
    bench.verify();
}

#[test]
fn a_node_that_withdraws_tells_peers_nothing_more_and_takes_in_what_they_tell() {
    let mut bench = Bench::new();
    let takes_all = Kind {
        takes_all: true,
        ..CLIENT
    };
    for (id, kind) in [(1, CLIENT), (2, EXTERNAL), (3, takes_all)] {
        bench.add(id, kind);
        bench.up(id);
    }
    bench.announce(1, net("10.1.0.0/16"), Route::tagged(11));
    bench.rib.set_drain(Drain::Withdrawn);
    bench.settle();
    bench.announce(1, net("10.2.0.0/16"), Route::tagged(12));
    assert_eq!((bench.tags(2).len(), bench.tags(3).len()), (0, 0));
    bench.verify();
    // Less than that is more than nothing.
    bench.rib.set_drain(Drain::Marked);
    bench.settle();
    assert_eq!(bench.holds_with(2, GRACEFUL_SHUTDOWN).len(), 2);
    bench.rib.set_drain(Drain::Off);
    bench.settle();
    assert_eq!((bench.tags(2).len(), bench.tags(3).len()), (2, 2));
    bench.verify();
}

#[test]
fn rfc8326_5_a_route_that_is_being_shut_down_is_no_preferred_one() {
    let mut bench = Bench::new();
    for id in 1..=3 {
        bench.add(id, CLIENT);
        bench.up(id);
    }
    let prefix = net("10.1.0.9/32");
    // A live migration's preference (behaviour contract §5.2): priority 512 and 1024.
    let with = |tag, priority: u32, mark| Route {
        local_pref: 2_147_483_647 - priority,
        mark,
        ..Route::tagged(tag)
    };
    bench.announce(1, prefix, with(11, 512, 0));
    bench.announce(2, prefix, with(12, 1024, 0));
    assert_eq!(bench.tags(3)[&prefix], [11]);
    bench.announce(1, prefix, with(11, 512, GRACEFUL_SHUTDOWN));
    assert_eq!(bench.tags(3)[&prefix], [12]);
    bench.verify();
}

#[test]
fn rfc8326_4_1_what_another_as_shuts_down_is_the_last_choice_of_all_of_ours() {
    let mut bench = Bench::new();
    for (id, kind) in [(1, EXTERNAL), (2, CLIENT)] {
        bench.add(id, kind);
        bench.up(id);
    }
    let prefix = net("10.1.0.0/16");
    let local_pref = |bench: &Bench| AttrView::new(&bench.peers[&2].attrs[&prefix.into()].0).local_pref();
    bench.announce(1, prefix, Route::tagged(11));
    assert_eq!(local_pref(&bench), Some(100));
    let leaving = Route {
        mark: GRACEFUL_SHUTDOWN,
        ..Route::tagged(11)
    };
    bench.announce(1, prefix, leaving);
    assert_eq!(local_pref(&bench), Some(0));
    assert_eq!(bench.holds_with(2, GRACEFUL_SHUTDOWN).len(), 1);
    bench.announce(1, prefix, Route::tagged(11));
    assert_eq!(local_pref(&bench), Some(100));
    bench.verify();
}

#[test]
fn rfc8326_5_a_route_of_a_leaving_neighbour_is_the_last_choice() {
    let mut bench = Bench::new();
    for (id, kind) in [(1, CLIENT), (2, CLIENT), (3, CLIENT)] {
        bench.add(id, kind);
        bench.up(id);
    }
    let prefix = net("10.1.0.0/16");
    let leaving = Route {
        local_pref: 500,
        mark: GRACEFUL_SHUTDOWN,
        ..Route::tagged(11)
    };
    bench.announce(1, prefix, leaving);
    assert_eq!(bench.tags(3)[&prefix], [11], "still better than none");
    bench.announce(2, prefix, Route::tagged(12));
    assert_eq!(bench.tags(3)[&prefix], [12]);
    bench.verify();
}
