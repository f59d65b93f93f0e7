//! A reflector that crashes again before it has heard everybody.

use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, first_blocks, mesh_routes, node, resource};
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::UP;
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::json;

const CLIENTS: usize = 4;

#[test]
fn a_reflector_that_crashes_again_and_again_takes_no_route_from_its_clients() {
    let rack = Rack::new(Plan::default(), 1 + CLIENTS);
    let mut store = Manifests::default();
    store.apply_rack(&rack);
    let mut reflector = node("n1", &rack.node(1).addresses, None);
    reflector["spec"]["bgp"]["routeReflectorClusterID"] = json!("10.0.0.1");
    reflector["metadata"]["labels"] = json!({"reflector": "yes"});
    store.apply(&reflector);
    let off = json!({"nodeToNodeMeshEnabled": false});
    store.apply(&resource("BGPConfiguration", "default", off));
    let spec = json!({"nodeSelector": "!has(reflector)", "peerSelector": "has(reflector)"});
    store.apply(&resource("BGPPeer", "to-reflector", spec));
    let source = Source::File(store.path().to_owned());
    let mut daemons: Vec<Pipit> = rack
        .nodes
        .iter()
        .map(|node| Pipit::start(node, &source))
        .collect();
    let wait_up = |daemons: &[Pipit]| {
        for (node, daemon) in rack.nodes.iter().zip(daemons) {
            let sessions = if node.number == 1 { CLIENTS } else { 1 };
            wait::until_eq("sessions", UP, || daemon.established(), &(sessions, sessions));
            let expected = mesh_routes(&rack, node.number, &first_blocks(&rack));
            wait::until_eq("routes", UP, || bird_routes(&node.netns), &expected);
        }
    };
    wait_up(&daemons);
    let monitors: Vec<Monitor> = rack
        .nodes
        .iter()
        .map(|node| Monitor::start(&node.netns))
        .collect();
    for _ in 0..6 {
        daemons[0].kill();
        daemons[0].resume(&rack.node(1).netns);
        // The first of them is back, and others may be.
        let is_up = || daemons[0].established().0 > 0;
        wait::until_eq("the first session", Duration::from_secs(10), is_up, &true);
    }
    wait_up(&daemons);
    for (node, monitor) in rack.nodes.iter().zip(&monitors) {
        assert_eq!(monitor.changes(), Vec::<String>::new(), "kernel of {}", node.name);
    }
}
