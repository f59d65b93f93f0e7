//! `reachableBy`: a peer that only a gateway leads to.

use pipit_testbed::calico::{Manifests, Store, node, resource};
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::{CHANGE, UP};
use pipit_testbed::netns::run;
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::json;

const PEER: &str = "10.9.0.1";

#[test]
fn c078_a_session_and_its_routes_run_over_the_gateway() {
    let rack = Rack::new(Plan::default(), 3);
    let mut store = Manifests::default();
    store.apply_rack(&rack);
    // The second node speaks from an address that no connected network holds.
    let [first, second, third] = [1, 2, 3].map(|number| rack.node(number));
    run(
        "ip",
        &[
            "-n",
            second.netns.name(),
            "address",
            "add",
            &format!("{PEER}/32"),
            "dev",
            "lo",
        ],
    );
    store.apply(&node("n2", &[format!("{PEER}/32").parse().unwrap()], None));
    let off = json!({"nodeToNodeMeshEnabled": false});
    store.apply(&resource("BGPConfiguration", "default", off));
    let peer_via = |gateway: &str| {
        let spec = json!({"node": "n1", "peerIP": PEER, "asNumber": 64512, "reachableBy": gateway});
        resource("BGPPeer", "far", spec)
    };
    let gateway = second.addresses[0].addr().to_string();
    store.apply(&peer_via(&gateway));
    let source = Source::File(store.path().to_owned());
    let daemons = [Pipit::start(first, &source), Pipit::start(second, &source)];
    for daemon in &daemons {
        wait::until_eq("the session", UP, || daemon.established(), &(1, 1));
    }
    let block = rack.plan.block4(2);
    let has = |wanted: &str| {
        bird_routes(&first.netns)
            .iter()
            .any(|route| route.contains(wanted))
    };
    let expected = format!("{PEER}/32 via {gateway}");
    wait::until_eq("the host route", CHANGE, || has(&expected), &true);
    wait::until_eq(
        "the block behind it",
        CHANGE,
        || has(&format!("{block} via {gateway}")),
        &true,
    );

    // Through the third node: replaced in place, never gone in between.
    let monitor = Monitor::start(&first.netns);
    let other = third.addresses[0].addr().to_string();
    store.apply(&peer_via(&other));
    wait::until_eq(
        "the other gateway",
        CHANGE,
        || has(&format!("{PEER}/32 via {other}")),
        &true,
    );
    wait::until_eq(
        "the block behind it",
        CHANGE,
        || has(&format!("{block} via {other}")),
        &true,
    );
    let deleted: Vec<String> = monitor
        .changes()
        .into_iter()
        .filter(|line| line.contains("Deleted"))
        .collect();
    assert_eq!(deleted, Vec::<String>::new());

    store.delete("BGPPeer", "far");
    wait::until_eq("no host route", CHANGE, || has(PEER), &false);
}
