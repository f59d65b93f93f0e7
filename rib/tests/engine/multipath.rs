//! Paths that are as good as each other share the traffic.

use pipit_bgp::{Asn, ClusterId};
use pipit_rib::NodeSettings;

use crate::bench::{Bench, CLIENT, EXTERNAL, Kind, OWN_AS, Route, address, net, node};

const PREFIX: &str = "10.1.0.0/16";

/// Next hops and their shares, as the kernel is to have them.
fn shares(bench: &Bench) -> Vec<(String, u8)> {
    let views = bench.rib.fib_ref().query();
    let view = views.iter().find(|view| view.prefix == net(PREFIX).into());
    let hops = view.map_or(Vec::new(), |view| view.next_hops.clone());
    let mut shares: Vec<(String, u8)> = hops
        .iter()
        .map(|hop| (hop.gateway.unwrap().to_string(), hop.weight))
        .collect();
    shares.sort();
    shares
}

fn share(peer: u32, weight: u8) -> (String, u8) {
    (address(peer).to_string(), weight)
}

fn bench(kinds: &[Kind]) -> Bench {
    let mut bench = Bench::new();
    for (id, kind) in (1..).zip(kinds) {
        bench.add(id, *kind);
        bench.up(id);
    }
    bench
}

#[test]
fn equal_paths_over_different_neighbour_ases_share_equally() {
    let other = Kind {
        asn: Asn(65002),
        ..EXTERNAL
    };
    let mut bench = bench(&[EXTERNAL, other]);
    bench.announce(1, net(PREFIX), Route::tagged(1));
    bench.announce(2, net(PREFIX), Route::tagged(2));
    assert_eq!(shares(&bench), [share(1, 1), share(2, 1)]);
    bench.down(1, None);
    assert_eq!(shares(&bench), [share(2, 1)]);
    bench.verify();
}

#[test]
fn link_bandwidth_makes_shares_unequal_once_every_path_has_it() {
    let mut bench = bench(&[CLIENT, CLIENT]);
    let wide = |tag, bandwidth| Route {
        bandwidth,
        ..Route::tagged(tag)
    };
    bench.announce(1, net(PREFIX), wide(1, 1.25e9));
    bench.announce(2, net(PREFIX), Route::tagged(2));
    assert_eq!(shares(&bench), [share(1, 1), share(2, 1)]);
    bench.announce(2, net(PREFIX), wide(2, 5.0e9));
    assert_eq!(shares(&bench), [share(1, 1), share(2, 4)]);
    bench.verify();
}

#[test]
fn a_way_that_two_reflectors_hand_on_is_one_way() {
    let mut bench = bench(&[CLIENT, CLIENT]);
    bench.announce_via(1, 12, net(PREFIX), Route::tagged(12));
    bench.announce_via(2, 13, net(PREFIX), Route::tagged(13));
    assert_eq!(shares(&bench), [share(12, 1), share(13, 1)]);
    bench.announce_via(2, 12, net(PREFIX), Route::tagged(12));
    assert_eq!(shares(&bench), [share(12, 1)]);
    bench.add(3, CLIENT);
    bench.up(3);
    bench.announce_via(3, 13, net(PREFIX), Route::tagged(13));
    assert_eq!(shares(&bench), [share(12, 1), share(13, 1)], "12 counts once");
    bench.rib.set_node(NodeSettings {
        max_paths: 2,
        ..node()
    });
    bench.settle();
    assert_eq!(shares(&bench), [share(12, 1), share(13, 1)], "two next hops fit");
    bench.verify();
}

#[test]
fn the_width_is_a_setting_and_acts_at_once() {
    let mut bench = bench(&[CLIENT; 5]);
    for id in 1..=5 {
        bench.announce(id, net(PREFIX), Route::tagged(id));
    }
    assert_eq!(shares(&bench).len(), 5);
    let narrow = NodeSettings {
        max_paths: 2,
        ..node()
    };
    bench.rib.set_node(narrow);
    bench.settle();
    assert_eq!(
        shares(&bench),
        [share(1, 1), share(2, 1)],
        "the best by the last steps"
    );
    bench.verify();
}

#[test]
fn rfc4456_8_a_route_that_was_in_our_cluster_or_that_we_made_is_refused_another_cluster_s_is_not() {
    let mut bench = bench(&[CLIENT, CLIENT]);
    let clusters = |own: [u8; 4]| NodeSettings {
        cluster_id: Some(ClusterId(own.into())),
        ..node()
    };
    bench.announce_reflected(
        1,
        net(PREFIX),
        Route::tagged(1),
        [10, 0, 0, 9],
        &[[10, 0, 0, 3], [10, 0, 0, 2]],
    );
    assert_eq!(bench.tags(2)[&net(PREFIX)], [1]);
    // Our own cluster takes another name: the route has been there, and is refused without being sent again.
    for own in [[10, 0, 0, 2], [10, 0, 0, 3]] {
        bench.rib.set_node(clusters(own));
        bench.settle();
        assert!(bench.tags(2).is_empty(), "{own:?}");
        bench.verify();
    }
    bench.rib.set_node(clusters([10, 0, 0, 1]));
    bench.settle();
    assert_eq!(bench.tags(2)[&net(PREFIX)], [1]);
    // ORIGINATOR_ID is ours.
    bench.announce_reflected(1, net(PREFIX), Route::tagged(1), [10, 0, 0, 1], &[[10, 0, 0, 3]]);
    assert!(bench.tags(2).is_empty());
    assert_eq!(bench.peers[&2].kind.asn, OWN_AS);
    bench.verify();
}
