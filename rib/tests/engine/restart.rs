//! Peers that restart (RFC 4724), and stay away longer (RFC 9494).

use std::time::Duration;

use pipit_bgp::wire::attr::AttrView;
use pipit_bgp::{PeerId, RouterId};

use crate::bench::{Bench, CLIENT, EXTERNAL, Kind, LONG_LIVED, RESTART_TIME, Route, address, net};

const LLGR_STALE: u32 = 0xffff_0006;
const NO_LLGR: u32 = 0xffff_0007;

/// Peers 1 and 2 announce, 3 and 4 listen; 4 has never heard of long-lived graceful restart.
fn bench() -> Bench {
    let mut bench = Bench::new();
    let old = Kind {
        knows_long_lived: false,
        ..CLIENT
    };
    for (id, kind) in [(1, CLIENT), (2, CLIENT), (3, CLIENT), (4, old)] {
        bench.add(id, kind);
        bench.up(id);
        bench.end_of_rib(id);
    }
    bench.announce(1, net("10.1.0.0/16"), Route::tagged(11));
    bench.announce(1, net("10.2.0.0/16"), Route::tagged(12));
    let last_choice = Route {
        local_pref: 50,
        ..Route::tagged(22)
    };
    bench.announce(2, net("10.2.0.0/16"), last_choice);
    bench
}

fn tags(bench: &Bench, id: u32) -> Vec<u32> {
    bench.tags(id).into_values().flatten().collect()
}

#[test]
fn rfc4724_4_2_routes_stay_for_the_restart_time_and_go_at_end_of_rib_unless_said_again() {
    let mut bench = bench();
    bench.down(1, Some(Duration::ZERO));
    assert_eq!(tags(&bench, 3), [11, 12]);
    bench.advance(RESTART_TIME / 2);
    bench.up(1);
    bench.announce(1, net("10.1.0.0/16"), Route::tagged(11));
    let told = bench.peers[&3].told;
    // The restart time has passed, but the peer is there and may take its time.
    bench.advance(RESTART_TIME);
    assert_eq!(tags(&bench, 3), [11, 12]);
    bench.end_of_rib(1);
    assert_eq!(tags(&bench, 3), [11, 22]);
    assert_eq!(bench.peers[&3].told, told + 1, "what was said again is no news");
    bench.verify();
}

#[test]
fn rfc8538_4_1_losing_a_peer_again_and_again_does_not_keep_what_it_never_says_again() {
    let mut bench = bench();
    bench.down(1, Some(Duration::ZERO));
    for _ in 0..4 {
        bench.up(1);
        bench.announce(1, net("10.1.0.0/16"), Route::tagged(11));
        bench.advance(RESTART_TIME / 5);
        bench.down(1, Some(Duration::ZERO));
        assert_eq!(tags(&bench, 3), [11, 12], "within the restart time");
    }
    bench.up(1);
    bench.announce(1, net("10.1.0.0/16"), Route::tagged(11));
    bench.advance(RESTART_TIME / 5);
    bench.down(1, Some(Duration::ZERO));
    assert_eq!(tags(&bench, 3), [11, 22], "what was said again is kept again");
    bench.verify();
}

#[test]
fn a_peer_that_comes_back_under_another_router_id_is_the_originator_of_what_was_kept() {
    let mut bench = bench();
    let originator = |bench: &Bench| {
        let (attrs, _) = &bench.peers[&3].attrs[&net("10.1.0.0/16").into()];
        AttrView::new(attrs).originator_id()
    };
    assert_eq!(originator(&bench), Some(RouterId(address(1))));
    bench.down(1, Some(Duration::ZERO));
    let other = RouterId([10, 0, 1, 77].into());
    bench.up_as(1, other);
    bench.announce(1, net("10.1.0.0/16"), Route::tagged(11));
    bench.announce(1, net("10.2.0.0/16"), Route::tagged(12));
    bench.end_of_rib(1);
    assert_eq!(originator(&bench), Some(other));
    bench.verify();
}

#[test]
fn rfc7313_4_whoever_asks_for_everything_during_recovery_gets_its_end_of_rib() {
    let mut bench = bench();
    bench.rib.begin_recovery(bench.now, [PeerId(9)], false);
    bench.add(5, CLIENT);
    bench.up(5);
    bench.refresh(5);
    bench.end_of_rib(5);
    assert!(!bench.peers[&5].end_of_rib, "nobody has said everything yet");
    bench.advance(Duration::from_secs(60));
    assert!(bench.peers[&5].end_of_rib);
    assert_eq!(tags(&bench, 5).len(), 2);
}

#[test]
fn rfc4724_4_1_what_the_last_peer_says_goes_out_before_the_end_of_rib_that_waited_for_it() {
    let mut bench = Bench::new();
    bench.rib.begin_recovery(bench.now, [PeerId(1), PeerId(2)], false);
    for id in 1..=2 {
        bench.add(id, CLIENT);
        bench.up(id);
    }
    bench.end_of_rib(2);
    assert!(!bench.peers[&2].end_of_rib);
    bench.announce_last(1, net("10.1.0.0/16"), Route::tagged(11));
    assert!(bench.peers[&2].end_of_rib);
    assert_eq!(bench.peers[&2].held_at_end, 1);
}

#[test]
fn rfc4724_4_2_routes_go_when_the_peer_does_not_come_back() {
    let mut bench = bench();
    bench.down(1, Some(Duration::ZERO));
    bench.advance(RESTART_TIME);
    assert_eq!(tags(&bench, 3), [22]);
    bench.verify();
}

#[test]
fn rfc9494_4_2_beyond_the_restart_time_stale_routes_are_the_last_choice_and_then_go() {
    let mut bench = bench();
    bench.down(1, Some(LONG_LIVED));
    assert_eq!(
        tags(&bench, 3),
        [11, 12],
        "nothing changes within the restart time"
    );
    bench.advance(RESTART_TIME);
    assert_eq!(tags(&bench, 3), [11, 22]);
    assert_eq!(bench.holds_with(3, LLGR_STALE), [net("10.1.0.0/16").into()]);
    bench.verify();
    bench.advance(LONG_LIVED);
    assert_eq!(tags(&bench, 3), [22]);
    bench.verify();
}

#[test]
fn rfc9494_4_3_stale_routes_do_not_go_to_peers_that_do_not_know_them() {
    let mut bench = bench();
    bench.down(1, Some(LONG_LIVED));
    assert_eq!(tags(&bench, 4), [11, 12]);
    bench.advance(RESTART_TIME);
    assert_eq!(tags(&bench, 4), [22]);
    bench.up(1);
    bench.announce(1, net("10.1.0.0/16"), Route::tagged(11));
    bench.end_of_rib(1);
    assert_eq!(tags(&bench, 4), [11, 22]);
    assert_eq!(bench.holds_with(3, LLGR_STALE), []);
    bench.verify();
}

#[test]
fn rfc9494_4_2_no_llgr_routes_are_not_kept_longer() {
    let mut bench = bench();
    let hasty = Route {
        mark: NO_LLGR,
        ..Route::tagged(13)
    };
    bench.announce(1, net("10.3.0.0/16"), hasty);
    bench.down(1, Some(LONG_LIVED));
    assert_eq!(tags(&bench, 3), [11, 12, 13]);
    bench.advance(RESTART_TIME);
    assert_eq!(tags(&bench, 3), [11, 22]);
    bench.verify();
}

#[test]
fn rfc9494_4_2_coming_and_going_does_not_put_the_end_off() {
    let mut bench = bench();
    bench.down(1, Some(LONG_LIVED));
    bench.advance(RESTART_TIME);
    bench.advance(LONG_LIVED / 2);
    bench.up(1);
    bench.down(1, Some(LONG_LIVED));
    bench.advance(LONG_LIVED / 2);
    assert_eq!(tags(&bench, 3), [22]);
    bench.verify();
}

#[test]
fn a_changed_import_policy_keeps_the_mark_of_stale_routes() {
    let mut bench = bench();
    bench.down(1, Some(LONG_LIVED));
    bench.advance(RESTART_TIME);
    bench.change(1, |settings| settings.allowed_local_as = 1);
    assert_eq!(bench.holds_with(3, LLGR_STALE), [net("10.1.0.0/16").into()]);
    bench.verify();
}

#[test]
fn a_peer_lost_for_good_takes_its_routes_with_it_and_its_number_is_used_again() {
    let mut bench = bench();
    bench.add(5, EXTERNAL);
    for round in 0..3 {
        bench.up(5);
        for third in 0..200 {
            bench.announce(
                5,
                net(&format!("10.9.{third}.0/24")),
                Route::tagged(round * 1000 + 100),
            );
        }
        assert_eq!(bench.tags(3).len(), 202);
        bench.down(5, None);
        assert_eq!(tags(&bench, 3), [11, 12]);
        bench.verify();
    }
}

#[test]
fn rfc4724_4_1_a_restarted_reflector_says_end_of_rib_after_what_the_last_peer_sent() {
    let mut bench = Bench::new();
    for id in 1..=3 {
        bench.add(id, CLIENT);
    }
    bench.begin_recovery(&[1, 2, 3]);
    for id in 1..=3 {
        bench.up(id);
    }
    bench.end_of_rib(3);
    bench.announce_last(1, net("10.1.0.0/16"), Route::tagged(11));
    assert!(!bench.peers[&3].end_of_rib, "peer 2 is still sending");
    bench.announce_last(2, net("10.2.0.0/16"), Route::tagged(12));
    let peer = &bench.peers[&3];
    assert_eq!((peer.end_of_rib, peer.held_at_end), (true, 2));
}

#[test]
fn rfc4724_4_1_who_keeps_nothing_of_ours_is_told_end_of_rib_at_once() {
    let mut bench = Bench::new();
    let helper = Kind {
        keeps_our_routes: false,
        ..CLIENT
    };
    for (id, kind) in [(1, CLIENT), (2, helper)] {
        bench.add(id, kind);
    }
    bench.begin_recovery(&[1, 2]);
    bench.up(1);
    bench.up(2);
    assert!(bench.peers[&2].end_of_rib && !bench.peers[&1].end_of_rib);
    bench.advance(Duration::from_secs(120));
    assert!(bench.peers[&1].end_of_rib, "patience ends");
}

#[test]
fn rfc4724_4_1_who_keeps_our_routes_is_told_of_others_when_all_have_spoken_and_of_our_own_at_once() {
    let mut bench = Bench::new();
    let new = Kind {
        keeps_our_routes: false,
        ..CLIENT
    };
    for (id, kind) in [(1, CLIENT), (2, CLIENT), (3, new), (4, CLIENT)] {
        bench.add(id, kind);
    }
    bench.begin_recovery(&[1, 2, 4]);
    bench.rib.originate(net("10.9.0.0/16").into(), false);
    for id in [1, 3, 4] {
        bench.up(id);
    }
    bench.announce_last(1, net("10.1.0.0/16"), Route::tagged(11));
    bench.rib.originate(net("10.8.0.0/16").into(), false);
    bench.advance(Duration::from_secs(1));
    let known = |bench: &Bench, id: u32| bench.peers[&id].attrs.len();
    assert_eq!(known(&bench, 4), 1, "peer 2 may know a better way");
    assert_eq!(known(&bench, 3), 3, "it has nothing to go on with meanwhile");
    bench.end_of_rib(3);
    bench.end_of_rib(4);
    bench.up(2);
    bench.announce_last(2, net("10.1.0.0/16"), Route::tagged(12));
    assert_eq!(known(&bench, 4), 3);
    assert!(bench.peers[&4].end_of_rib);
    bench.verify();
}

#[test]
fn rfc4724_4_1_who_restarts_as_well_is_not_kept_waiting_and_is_waited_for() {
    let mut bench = Bench::new();
    let restarting = Kind {
        is_restarting: true,
        ..CLIENT
    };
    bench.add(1, CLIENT);
    bench.add(2, restarting);
    bench.begin_recovery(&[1, 2]);
    bench.up(1);
    bench.end_of_rib(1);
    bench.up(2);
    assert!(bench.peers[&2].end_of_rib, "it may send nothing before");
    assert!(!bench.peers[&1].end_of_rib);
    bench.announce_last(2, net("10.2.0.0/16"), Route::tagged(12));
    assert!(bench.peers[&1].end_of_rib);
    assert_eq!(tags(&bench, 1), [12]);
}
