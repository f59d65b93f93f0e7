//! Two reflectors for the same clients: `n1` and `n2` reflect, `n3` to `n5` are clients of both.

use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, first_blocks, mesh_routes, node, resource};
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::UP;
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::json;

/// Announced by `n3` and `n4`.
const SHARED: &str = "10.65.200.0/26";

fn resources(rack: &Rack, clusters: [&str; 2]) -> Manifests {
    let mut store = Manifests::default();
    store.apply_rack(rack);
    for (number, cluster) in [1, 2].into_iter().zip(clusters) {
        let name = format!("n{number}");
        let mut reflector = node(&name, &rack.node(number).addresses, None);
        reflector["spec"]["bgp"]["routeReflectorClusterID"] = json!(cluster);
        reflector["metadata"]["labels"] = json!({"reflector": "yes"});
        store.apply(&reflector);
    }
    for number in [3, 4] {
        let mut origin = node(&format!("n{number}"), &rack.node(number).addresses, None);
        origin["metadata"]["annotations"] = json!({"pipit.io/originate": SHARED});
        store.apply(&origin);
    }
    let off = json!({"nodeToNodeMeshEnabled": false});
    store.apply(&resource("BGPConfiguration", "default", off));
    for (name, selector) in [("clients", "!has(reflector)"), ("reflectors", "has(reflector)")] {
        let spec = json!({"nodeSelector": selector, "peerSelector": "has(reflector)"});
        store.apply(&resource("BGPPeer", name, spec));
    }
    store
}

/// The ways to [`SHARED`] in a node's kernel, in order.
fn ways(rack: &Rack, number: usize) -> Vec<String> {
    let text = rack.node(number).netns.ip(&["route", "show", SHARED]);
    let hops = text.lines().filter(|line| line.contains("via"));
    let mut hops: Vec<String> = hops.map(|line| line.trim().to_owned()).collect();
    hops.sort();
    hops
}

fn both_reflect(clusters: [&str; 2]) {
    let rack = Rack::new(Plan::default(), 5);
    let store = resources(&rack, clusters);
    let source = Source::File(store.path().to_owned());
    let mut daemons: Vec<Pipit> = rack
        .nodes
        .iter()
        .map(|node| Pipit::start(node, &source))
        .collect();
    let blocks = first_blocks(&rack);
    for (node, daemon) in rack.nodes.iter().zip(&daemons) {
        let sessions = if node.number <= 2 { 4 } else { 2 };
        wait::until_eq("sessions", UP, || daemon.established(), &(sessions, sessions));
        let expected = mesh_routes(&rack, node.number, &blocks);
        let routes = || {
            let mut routes = bird_routes(&node.netns);
            routes.retain(|route| !route.contains(SHARED));
            routes
        };
        wait::until_eq("routes", UP, routes, &expected);
    }
    // Two ways, though each of them comes by two reflectors.
    let hop = |number: usize| {
        format!(
            "nexthop via {} dev eth0 weight 1",
            rack.node(number).addresses[0].addr()
        )
    };
    let expected = vec![hop(3), hop(4)];
    wait::until_eq("the shared prefix", UP, || ways(&rack, 5), &expected);
    let monitors: Vec<Monitor> = rack.nodes[2..]
        .iter()
        .map(|node| Monitor::start(&node.netns))
        .collect();
    daemons[0].kill();
    for client in &daemons[2..] {
        wait::until_eq(
            "a client to notice",
            Duration::from_secs(5),
            || client.established().0,
            &1,
        );
    }
    daemons[0].resume(&rack.node(1).netns);
    for client in &daemons[2..] {
        wait::until_eq("the session again", UP, || client.established().0, &2);
    }
    daemons[0].wait_for_log("restart recovery is over");
    for monitor in &monitors {
        assert_eq!(monitor.changes(), Vec::<String>::new());
    }
    for daemon in &daemons {
        let verdict = daemon.pipit(&["debug", "verify"]);
        assert!(verdict.status.success(), "{verdict:?}");
    }
}

#[test]
fn reflectors_of_one_cluster_give_each_way_once_and_one_may_go() {
    both_reflect(["10.0.0.1", "10.0.0.1"]);
}

#[test]
fn reflectors_of_two_clusters_give_each_way_once_and_one_may_go() {
    both_reflect(["10.0.0.1", "10.0.0.2"]);
}
