//! RFC 9234 §5, and the other checks of where a path has been: who may announce what, and to whom it goes on.

use pipit_bgp::Asn;
use pipit_bgp::session::config::Role;
use pipit_rib::query::{Listings, RouteFilter};

use crate::bench::{Bench, EXTERNAL, Kind, Route, net};

const PREFIX: &str = "10.1.0.0/16";
const MARKER: u32 = 65_001;
const OTHER: Kind = Kind {
    asn: Asn(65_002),
    ..EXTERNAL
};

/// What becomes of a route that came from a peer to which we are `ours`, with this OTC or none: refused with this
/// reason, or marked with this one.
fn ingress(ours: Role, otc: Option<u32>) -> Result<Option<u32>, String> {
    let mut bench = Bench::new();
    bench.add(1, EXTERNAL);
    bench.add(2, OTHER);
    bench.change(1, |settings| settings.role = Some(ours));
    // A neighbour without a role sees what the route carries.
    bench.up(1);
    bench.up(2);
    bench.announce_marked(1, net(PREFIX), Route::tagged(1), otc);
    let filter = RouteFilter::Exact(net(PREFIX).into());
    let views = bench
        .rib
        .routes(&mut Listings::default(), &filter, None, None, 10)
        .0;
    match views[0].reason.strip_prefix("refused on import: ") {
        Some(reason) => Err(reason.to_owned()),
        None => Ok(bench.peers[&2].otc.get(&net(PREFIX)).map(|otc| otc.0)),
    }
}

#[test]
fn rfc9234_5_ingress() {
    let leak = || Err("a route leak".to_owned());
    for ours in [Role::Provider, Role::RsServer] {
        assert_eq!(ingress(ours, Some(MARKER)), leak(), "{ours:?}");
        assert_eq!(ingress(ours, None), Ok(None), "{ours:?}");
    }
    for ours in [Role::Customer, Role::RsClient] {
        assert_eq!(ingress(ours, None), Ok(Some(MARKER)), "{ours:?}");
        assert_eq!(ingress(ours, Some(7)), Ok(Some(7)), "{ours:?}");
    }
    assert_eq!(ingress(Role::Peer, None), Ok(Some(MARKER)));
    assert_eq!(ingress(Role::Peer, Some(MARKER)), Ok(Some(MARKER)));
    assert_eq!(ingress(Role::Peer, Some(7)), leak());
}

#[test]
fn rfc9234_5_egress() {
    for (towards, is_marked, is_sent) in [
        (Role::Provider, true, true),
        (Role::Provider, false, true),
        (Role::RsServer, true, true),
        (Role::Customer, true, false),
        (Role::RsClient, true, false),
        (Role::Peer, true, false),
        (Role::Customer, false, true),
        (Role::Peer, false, true),
    ] {
        let mut bench = Bench::new();
        bench.add(1, EXTERNAL);
        bench.add(2, OTHER);
        bench.change(2, |settings| settings.role = Some(towards));
        bench.up(1);
        bench.up(2);
        let otc = is_marked.then_some(MARKER);
        bench.announce_marked(1, net(PREFIX), Route::tagged(1), otc);
        assert_eq!(
            bench.tags(2).len(),
            usize::from(is_sent),
            "{towards:?}, {is_marked}"
        );
        // Towards a customer, a client or a lateral peer what goes out is marked, by us if by nobody before.
        let marks = matches!(towards, Role::Provider | Role::Peer | Role::RsServer);
        let expected = match otc {
            _ if !is_sent => None,
            Some(otc) => Some(otc),
            None => marks.then_some(crate::bench::OWN_AS.0),
        };
        let found = bench.peers[&2].otc.get(&net(PREFIX)).map(|otc| otc.0);
        assert_eq!(found, expected, "{towards:?}, {is_marked}");
    }
}

#[test]
fn rfc4271_6_3_the_first_as_is_checked_where_asked_for() {
    let mut bench = Bench::new();
    bench.add(1, EXTERNAL);
    bench.up(1);
    // A route server's path: without its own AS.
    let bare = Route {
        path_len: 0,
        ..Route::tagged(1)
    };
    let reason = |bench: &Bench| {
        let filter = RouteFilter::Exact(net(PREFIX).into());
        let views = bench
            .rib
            .routes(&mut Listings::default(), &filter, None, None, 10)
            .0;
        views[0].reason.clone()
    };
    bench.announce(1, net(PREFIX), bare);
    assert_eq!(reason(&bench), "only path");
    bench.change(1, |settings| settings.enforces_first_as = true);
    assert_eq!(
        reason(&bench),
        "refused on import: the path does not begin with the peer's AS"
    );
    bench.announce(1, net(PREFIX), Route::tagged(2));
    assert_eq!(reason(&bench), "only path");
}
