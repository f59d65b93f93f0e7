//! The daemon goes and comes back; the pods notice nothing.

use std::time::Duration;

use pipit_testbed::calico::Manifests;
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::Mesh;
use pipit_testbed::ping::Ping;
use pipit_testbed::topology::Plan;
use pipit_testbed::wait;

/// Pings between the pods of all pairs of nodes, both ways and in both families.
fn pings(mesh: &Mesh<Manifests>) -> Vec<Ping> {
    let nodes = &mesh.rack.nodes;
    let pairs = nodes
        .iter()
        .flat_map(|a| nodes.iter().filter(|b| b.number != a.number).map(move |b| (a, b)));
    pairs
        .flat_map(|(from, to)| to.pods[0].addresses.iter().map(move |address| (from, address)))
        .map(|(from, address)| Ping::start(&from.pods[0].netns, &address.to_string()))
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
    let pings = pings(&mesh);
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
    let ping = Ping::start(
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
