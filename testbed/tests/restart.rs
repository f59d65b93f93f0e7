//! The daemon goes and comes back; the pods notice nothing.

use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, first_blocks, mesh_routes, node, resource};
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::{Mesh, UP};
use pipit_testbed::ping::{self, FINE, Ping};
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::json;

/// Pings between the pods of all pairs of nodes, both ways and in both families.
fn pings(rack: &Rack) -> Vec<Ping> {
    let nodes = &rack.nodes;
    let pairs = nodes
        .iter()
        .flat_map(|a| nodes.iter().filter(|b| b.number != a.number).map(move |b| (a, b)));
    pairs
        .flat_map(|(from, to)| to.pods[0].addresses.iter().map(move |address| (from, address)))
        .map(|(from, address)| Ping::every(FINE, &from.pods[0].netns, &address.to_string()))
        .collect()
}

/// Ends the daemon of n1 in some way, starts it again, and checks that nothing was lost or deleted meanwhile.
fn restart(end: impl Fn(&mut Mesh<Manifests>)) {
    let plan = Plan {
        ipv6: Some("fd31:1::/64".parse().unwrap()),
        ..Plan::default()
    };
    let mut mesh = Mesh::from_files(plan, 3);
    let monitors: Vec<Monitor> = mesh
        .rack
        .nodes
        .iter()
        .map(|node| Monitor::start(&node.netns))
        .collect();
    let pings = pings(&mesh.rack);
    end(&mut mesh);
    let is_noticed = || mesh.daemons[1].established();
    wait::until_eq("n2 to notice", Duration::from_secs(5), is_noticed, &(2, 4));
    let Mesh { daemons, rack, .. } = &mut mesh;
    daemons[0].resume(&rack.nodes[0].netns);
    mesh.wait_up();
    mesh.daemons[0].wait_for_log("restart recovery is over");
    mesh.wait_routes(Duration::from_secs(1));
    for ping in pings {
        let report = ping.stop();
        assert_eq!(report.lost(), 0, "{report:?}");
    }
    for (node, monitor) in mesh.rack.nodes.iter().zip(&monitors) {
        assert_eq!(monitor.changes(), Vec::<String>::new(), "kernel of {}", node.name);
    }
}

#[test]
fn a_crash_loses_no_packet_and_touches_no_route() {
    restart(|mesh| mesh.daemon(1).kill());
}

#[test]
fn an_orderly_stop_loses_no_packet_and_touches_no_route() {
    restart(|mesh| assert_eq!(mesh.daemon(1).terminate(), Some(0)));
}

#[test]
fn what_changed_while_the_daemon_was_down_is_right_afterwards() {
    let mut mesh = Mesh::from_files(Plan::default(), 3);
    mesh.assign(2, "10.65.70.0/26".parse().unwrap());
    mesh.assign(1, "10.65.71.0/26".parse().unwrap());
    mesh.wait_routes(Duration::from_secs(2));
    mesh.daemon(1).kill();
    mesh.release(2, "10.65.70.0/26".parse().unwrap());
    mesh.release(1, "10.65.71.0/26".parse().unwrap());
    mesh.assign(3, "10.65.72.0/26".parse().unwrap());
    let Mesh { daemons, rack, .. } = &mut mesh;
    daemons[0].resume(&rack.nodes[0].netns);
    mesh.wait_up();
}

#[test]
fn a_dead_peer_does_not_delay_the_sweep() {
    let mut mesh = Mesh::from_files(Plan::default(), 3);
    mesh.assign(2, "10.65.70.0/26".parse().unwrap());
    mesh.wait_routes(Duration::from_secs(2));
    mesh.daemon(1).kill();
    mesh.daemon(3).kill();
    mesh.release(2, "10.65.70.0/26".parse().unwrap());
    let Mesh { daemons, rack, .. } = &mut mesh;
    daemons[0].resume(&rack.nodes[0].netns);
    let netns = &mesh.rack.node(1).netns;
    let has_gone = || {
        bird_routes(netns)
            .iter()
            .any(|route| route.contains("10.65.70.0/26"))
    };
    let took = wait::until_eq(
        "the block that n2 no longer has",
        Duration::from_secs(16),
        has_gone,
        &false,
    );
    assert!(took < Duration::from_secs(16));
}

#[test]
fn crashing_again_and_again_loses_nothing() {
    let mut mesh = Mesh::from_files(Plan::default(), 2);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    let ping = Ping::every(
        FINE,
        &mesh.rack.node(2).pods[0].netns,
        &mesh.rack.node(1).pods[0].addresses[0].to_string(),
    );
    for _ in 0..5 {
        let Mesh { daemons, rack, .. } = &mut mesh;
        daemons[0].kill();
        daemons[0].resume(&rack.nodes[0].netns);
        let answers = || !daemons[0].items("peers").is_empty();
        wait::until_eq("the daemon to answer", Duration::from_secs(5), answers, &true);
    }
    mesh.wait_up();
    assert_eq!(ping.stop().lost(), 0);
    assert_eq!(monitor.changes(), Vec::<String>::new());
}

#[test]
fn all_daemons_crash_at_once_and_forget_nothing() {
    let mut mesh = Mesh::from_files(Plan::default(), 3);
    let monitors: Vec<Monitor> = mesh
        .rack
        .nodes
        .iter()
        .map(|node| Monitor::start(&node.netns))
        .collect();
    let pings = pings(&mesh.rack);
    let Mesh { daemons, rack, .. } = &mut mesh;
    for daemon in &mut *daemons {
        daemon.kill();
    }
    for (daemon, node) in daemons.iter_mut().zip(&rack.nodes) {
        daemon.resume(&node.netns);
    }
    mesh.wait_up();
    for daemon in &mesh.daemons {
        daemon.wait_for_log("restart recovery is over");
    }
    for (ping, monitor) in pings.into_iter().zip(&monitors) {
        assert_eq!(ping.stop().lost(), 0);
        assert_eq!(monitor.changes(), Vec::<String>::new());
    }
}

/// What nexthop objects would cost: docs/adr/0004-plain-routes.md.
#[test]
fn a_loose_cable_while_the_daemon_is_away_costs_no_route() {
    let plan = Plan {
        ipv6: Some("fd31:1::/64".parse().unwrap()),
        ..Plan::default()
    };
    let mut mesh = Mesh::from_files(plan, 2);
    mesh.daemon(1).kill();
    let rack = &mesh.rack;
    let (n1, n2) = (rack.node(1), rack.node(2));
    let routes = bird_routes(&n1.netns);
    let has_carrier = || n1.netns.ip(&["link", "show", "dev", "eth0"]).contains("LOWER_UP");
    for is_up in [false, true] {
        rack.set_link(1, is_up);
        wait::until_eq("the carrier", Duration::from_secs(5), has_carrier, &is_up);
    }
    for address in &n2.pods[0].addresses {
        let answers = || ping::answers(&n1.pods[0].netns, &address.to_string());
        wait::until_eq("packets to pass again", Duration::from_secs(10), answers, &true);
    }
    assert_eq!(bird_routes(&n1.netns), routes);
}

/// n1 reflects; the others have sessions with it alone.
fn reflected(rack: &Rack) -> Manifests {
    let mut store = Manifests::default();
    store.apply_rack(rack);
    let mut reflector = node("n1", &rack.node(1).addresses, None);
    reflector["spec"]["bgp"]["routeReflectorClusterID"] = json!("10.0.0.1");
    reflector["metadata"]["labels"] = json!({"reflector": "yes"});
    store.apply(&reflector);
    let off = json!({"nodeToNodeMeshEnabled": false});
    store.apply(&resource("BGPConfiguration", "default", off));
    let spec = json!({"nodeSelector": "!has(reflector)", "peerSelector": "has(reflector)"});
    store.apply(&resource("BGPPeer", "to-reflector", spec));
    store
}

#[test]
fn a_reflector_restarts_and_its_clients_lose_no_packet_and_no_route() {
    let rack = Rack::new(Plan::default(), 3);
    let store = reflected(&rack);
    let source = Source::File(store.path().to_owned());
    let mut daemons: Vec<Pipit> = rack
        .nodes
        .iter()
        .map(|node| Pipit::start(node, &source))
        .collect();
    let wait_up = |daemons: &[Pipit]| {
        for (node, daemon) in rack.nodes.iter().zip(daemons) {
            let sessions = if node.number == 1 { 2 } else { 1 };
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
    let pings = pings(&rack);
    type End = fn(&mut Pipit);
    let ends: [End; 2] = [Pipit::kill, |daemon| assert_eq!(daemon.terminate(), Some(0))];
    for end in ends {
        end(&mut daemons[0]);
        for client in &daemons[1..] {
            let is_noticed = || client.established();
            wait::until_eq("a client to notice", Duration::from_secs(5), is_noticed, &(0, 1));
        }
        daemons[0].resume(&rack.node(1).netns);
        wait_up(&daemons);
        daemons[0].wait_for_log("restart recovery is over");
    }
    for (node, monitor) in rack.nodes.iter().zip(&monitors) {
        assert_eq!(monitor.changes(), Vec::<String>::new(), "kernel of {}", node.name);
    }
    for ping in pings {
        let report = ping.stop();
        assert_eq!(report.lost(), 0, "{report:?}");
    }
}

#[test]
fn a_crash_in_the_middle_of_the_first_table_transfer_loses_nothing() {
    let mut mesh = Mesh::from_files(Plan::default(), 2);
    for third in 100..220 {
        mesh.assign(2, format!("10.65.{third}.0/26").parse().unwrap());
    }
    mesh.wait_routes(Duration::from_secs(5));
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    let ping = Ping::every(
        FINE,
        &mesh.rack.node(1).pods[0].netns,
        &mesh.rack.node(2).pods[0].addresses[0].to_string(),
    );
    mesh.daemon(1).kill();
    for _ in 0..5 {
        let Mesh { daemons, rack, .. } = &mut mesh;
        daemons[0].resume(&rack.nodes[0].netns);
        // As soon as it has a session, routes are on their way.
        wait::until_eq("a session", UP, || daemons[0].established(), &(1, 1));
        daemons[0].kill();
    }
    let Mesh { daemons, rack, .. } = &mut mesh;
    daemons[0].resume(&rack.nodes[0].netns);
    mesh.wait_up();
    mesh.daemons[0].wait_for_log("restart recovery is over");
    mesh.wait_routes(Duration::from_secs(1));
    assert_eq!(ping.stop().lost(), 0);
    assert_eq!(monitor.changes(), Vec::<String>::new());
}
