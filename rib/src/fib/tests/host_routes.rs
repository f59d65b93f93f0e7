//! Static routes to peers behind a gateway.

use std::collections::BTreeMap;

use super::*;

fn routes(of: &[(&str, &str)]) -> BTreeMap<IpAddr, IpAddr> {
    let address = |text: &str| text.parse().unwrap();
    of.iter()
        .map(|(peer, via)| (address(peer), address(via)))
        .collect()
}

#[test]
fn c078_a_peer_behind_a_gateway_has_a_route_and_what_it_announces_goes_there() {
    let mut fib = loaded(&[route(
        "0.0.0.0/0",
        STATIC,
        unicast(&[way(Some("192.0.2.1"), 2)], 0),
    )]);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("10.9.0.1")], 0)));
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.2.0/26 via 192.0.2.1 dev 2 metric 0"]
    );
    fib.set_host_routes(routes(&[("10.9.0.1", "192.0.2.7"), ("fd99::1", "fd31:1::7")]));
    assert_eq!(
        written(&mut fib),
        [
            "Create 10.9.0.1/32 via 192.0.2.7 dev 2 metric 0",
            "Replace 10.65.2.0/26 via 192.0.2.7 dev 2 metric 0",
            "Create fd99::1/128 via fd31:1::7 dev 2 metric 1024",
        ]
    );
    // Another gateway replaces, and the end of it is the end of it.
    fib.set_host_routes(routes(&[("10.9.0.1", "192.0.2.8")]));
    assert_eq!(
        written(&mut fib),
        [
            "Replace 10.9.0.1/32 via 192.0.2.8 dev 2 metric 0",
            "Replace 10.65.2.0/26 via 192.0.2.8 dev 2 metric 0",
            "Delete fd99::1/128 via fd31:1::7 dev 2 metric 1024",
        ]
    );
    assert!(fib.set_host_routes(BTreeMap::new()), "a peer lost its route");
    let left = written(&mut fib);
    assert!(
        left.contains(&"Replace 10.65.2.0/26 via 192.0.2.1 dev 2 metric 0".to_owned()),
        "{left:?}"
    );
    assert!(
        left.contains(&"Delete 10.9.0.1/32 via 192.0.2.8 dev 2 metric 0".to_owned()),
        "{left:?}"
    );
}

#[test]
fn a_gateway_that_comes_goes_and_returns_is_followed_by_the_peers_behind_it() {
    let mut fib = loaded(&[]);
    let far = "198.18.0.1";
    fib.set_host_routes(routes(&[("10.9.0.1", far)]));
    let peer: IpAddr = "10.9.0.1".parse().unwrap();
    assert_eq!(fib.track(peer), Reachability::Unreachable);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("10.9.0.1")], 0)));
    assert_eq!(written(&mut fib), Vec::<String>::new());
    let parked = Some(("parked", Some(format!("no route to next hop {far}"))));
    assert_eq!(state(&fib, "10.9.0.1/32"), parked);
    let connected = unicast(&[way(None, 3)], 0);
    let told = |fib: &mut Fib, event: KernelEvent| {
        fib.handle_kernel([event]);
        let mut of_peer = Vec::new();
        while let Some(event) = fib.poll_event() {
            if let FibEvent::NextHopChanged(address, reachability) = event {
                fib.follow_gateway(address);
                of_peer.extend((address == peer).then_some(reachability != Reachability::Unreachable));
            }
        }
        of_peer
    };
    assert_eq!(
        told(&mut fib, route("198.18.0.0/24", STATIC, connected.clone())),
        [true]
    );
    assert_eq!(
        written(&mut fib),
        [
            "Create 10.9.0.1/32 via 198.18.0.1 dev 3 metric 0",
            "Create 10.65.2.0/26 via 198.18.0.1 dev 3 metric 0",
        ]
    );
    assert_eq!(told(&mut fib, gone("198.18.0.0/24", STATIC, connected)), [false]);
}

#[test]
fn no_other_route_takes_the_place_of_a_peers_own() {
    let mut fib = loaded(&[]);
    fib.set_host_routes(routes(&[("10.9.0.1", "192.0.2.7")]));
    set(&mut fib, "10.9.0.1/32", Some(via(&[hop("192.0.2.12")], 7)));
    assert_eq!(
        written(&mut fib),
        ["Create 10.9.0.1/32 via 192.0.2.7 dev 2 metric 0"]
    );
    set(&mut fib, "10.9.0.1/32", None);
    assert_eq!(written(&mut fib), Vec::<String>::new());
}
