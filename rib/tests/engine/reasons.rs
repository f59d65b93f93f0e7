//! What an operator is told of each path: why it was, or was not, chosen, refused or announced.

use pipit_rib::policy::Action;
use pipit_rib::query::{Listings, RouteFilter, RouteView};

use crate::bench::{Bench, CLIENT, EXTERNAL, Kind, Route, filter, net, rule};

const PREFIX: &str = "10.1.0.0/16";

fn bench() -> Bench {
    let mut bench = Bench::new();
    let internal = Kind {
        is_client: false,
        ..CLIENT
    };
    for (id, kind) in [
        (1, CLIENT),
        (2, CLIENT),
        (3, EXTERNAL),
        (4, internal),
        (5, internal),
    ] {
        bench.add(id, kind);
        bench.up(id);
    }
    bench
}

fn views(bench: &Bench, to: Option<&str>) -> Vec<RouteView> {
    let filter = RouteFilter::Exact(net(PREFIX).into());
    let mut listings = Listings::default();
    bench.rib.routes(&mut listings, &filter, to, None, 100).0
}

fn reasons(bench: &Bench) -> Vec<(String, String)> {
    let views = views(bench, None);
    views.into_iter().map(|view| (view.peer, view.reason)).collect()
}

fn pair(peer: &str, reason: &str) -> (String, String) {
    (peer.into(), reason.into())
}

#[test]
fn each_path_says_at_which_step_it_fell() {
    let mut bench = bench();
    let shorter = Route {
        path_len: 1,
        ..Route::tagged(1)
    };
    let longer = Route {
        path_len: 2,
        ..Route::tagged(2)
    };
    bench.announce(1, net(PREFIX), shorter);
    assert_eq!(reasons(&bench), [pair("p1", "only path")]);
    bench.announce(2, net(PREFIX), longer);
    let expected = [pair("p1", "shorter AS path"), pair("p2", "longer AS path")];
    assert_eq!(reasons(&bench), expected);
    bench.announce(3, net(PREFIX), shorter);
    let expected = [
        pair("p3", "eBGP over iBGP"),
        pair("p1", "iBGP, behind eBGP"),
        pair("p2", "longer AS path"),
    ];
    assert_eq!(reasons(&bench), expected);
}

#[test]
fn rfc8326_a_path_that_is_being_shut_down_says_so_whatever_its_local_preference() {
    let mut bench = bench();
    let leaving = Route {
        local_pref: 500,
        mark: 0xffff_0000,
        ..Route::tagged(1)
    };
    bench.announce(1, net(PREFIX), leaving);
    bench.announce(2, net(PREFIX), Route::tagged(2));
    let expected = [
        pair("p2", "higher local preference"),
        pair("p1", "being shut down (GRACEFUL_SHUTDOWN): the last choice"),
    ];
    assert_eq!(reasons(&bench), expected);
}

#[test]
fn a_refused_path_names_the_rule() {
    let mut bench = bench();
    bench.announce(1, net(PREFIX), Route::tagged(1));
    let strict = filter("strict", vec![rule(Action::Reject)]);
    bench.change(1, |settings| settings.import.ipv4 = vec![strict]);
    let expected = [pair("p1", "refused on import: rule 1 of filter strict")];
    assert_eq!(reasons(&bench), expected);
}

#[test]
fn a_question_about_a_peer_says_whether_the_path_goes_there_and_why_not() {
    let mut bench = bench();
    bench.announce(4, net(PREFIX), Route::tagged(1));
    let announced = |bench: &Bench, to: &str| views(bench, Some(to))[0].announced.clone().unwrap();
    assert_eq!(announced(&bench, "p1"), "announced");
    assert_eq!(announced(&bench, "p3"), "announced");
    assert_eq!(announced(&bench, "p4"), "it came from this peer");
    assert_eq!(announced(&bench, "p5"), "learned over iBGP and not reflected");
    let strict = filter("strict", vec![rule(Action::Reject)]);
    bench.change(3, |settings| settings.export.ipv4 = vec![strict]);
    assert_eq!(announced(&bench, "p3"), "rejected by rule 1 of filter strict");
    bench.change(4, |settings| {
        settings.import.ipv4 = vec![filter("none", vec![rule(Action::Reject)])]
    });
    assert_eq!(announced(&bench, "p1"), "refused on import");
    bench.change(4, |settings| settings.import.ipv4 = Vec::new());
    bench.down(3, None);
    assert_eq!(announced(&bench, "p3"), "the session is not established");
    // What is said agrees with what was sent.
    assert_eq!(bench.tags(1).len(), 1);
    assert_eq!(bench.tags(5).len(), 0);
}
