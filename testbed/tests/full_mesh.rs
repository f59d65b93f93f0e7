//! Node-to-node mesh on the file datastore: the main job.

use std::time::Duration;

use pipit_testbed::calico::{Store, node, resource};
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::{CHANGE, Mesh, UP};
use pipit_testbed::ping;
use pipit_testbed::topology::Plan;
use pipit_testbed::wait;
use serde_json::json;

#[test]
fn three_nodes_reach_each_other_and_then_the_kernel_is_silent() {
    let mesh = Mesh::from_files(Plan::default(), 3);
    mesh.ping_all();
    let pod = &mesh.rack.node(1).pods[0].netns;
    assert!(
        !ping::answers(pod, "10.65.2.33"),
        "an address that no pod has is dropped by its block's blackhole"
    );
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    // Silence is the subject here: three of BIRD's scan intervals.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(monitor.changes(), Vec::<String>::new());
}

#[test]
fn other_addresses_sizes_as_numbers_and_ports_work_as_well() {
    let plan = Plan {
        ipv4: Some("10.9.8.0/22".parse().unwrap()),
        pool4: "192.168.0.0/16".parse().unwrap(),
        block4_len: 28,
        ..Plan::default()
    };
    let rack = pipit_testbed::topology::Rack::new(plan, 5);
    let store = pipit_testbed::calico::Manifests::default();
    let source = pipit_testbed::speaker::Source::File(store.path().to_owned());
    let mut mesh = Mesh::prepare(rack, store, source);
    mesh.store.apply(&resource(
        "BGPConfiguration",
        "default",
        json!({ "asNumber": "65000.7", "listenPort": 1790 }),
    ));
    mesh.store.apply(&resource(
        "BGPConfiguration",
        "node.n2",
        json!({ "listenPort": 1791 }),
    ));
    mesh.start();
    mesh.ping_all();
    let peers = mesh.daemon(1).items("peers");
    assert!(
        peers.iter().all(|peer| peer["remote_as"] == 65000u32 * 65536 + 7),
        "{peers:#?}"
    );
    let ports: Vec<_> = peers.iter().map(|peer| peer["port"].as_u64().unwrap()).collect();
    assert_eq!(ports, [1791, 1790, 1790, 1790]);
    let listening = String::from_utf8(
        mesh.rack
            .node(2)
            .netns
            .command("ss")
            .args(["-Hltn"])
            .output()
            .unwrap()
            .stdout,
    );
    let listening = listening.unwrap();
    assert!(
        listening.contains(":1791 ") && !listening.contains(":179 "),
        "{listening}"
    );
}

#[test]
fn blocks_come_go_and_move_and_nothing_else_does() {
    let mut mesh = Mesh::from_files(Plan::default(), 3);
    let monitors: Vec<Monitor> = mesh
        .rack
        .nodes
        .iter()
        .map(|node| Monitor::start(&node.netns))
        .collect();
    let block = "10.65.77.0/26".parse().unwrap();
    mesh.assign(1, block);
    mesh.wait_routes(CHANGE);
    mesh.release(1, block);
    mesh.assign(2, block);
    mesh.wait_routes(CHANGE);
    mesh.release(2, block);
    mesh.wait_routes(CHANGE);
    for monitor in &monitors {
        assert_eq!(monitor.changes_beside(&["10.65.77.0/26"]), Vec::<String>::new());
        assert!(!monitor.changes().is_empty());
    }
    assert!(
        mesh.daemons
            .iter()
            .all(|daemon| daemon.items("peers").iter().all(|peer| peer["flaps"] == 0))
    );
}

#[test]
fn a_node_joins_and_a_node_leaves_and_the_rest_stays_as_it_is() {
    let mut mesh = Mesh::from_files(Plan::default(), 3);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    mesh.join();
    mesh.wait_up();
    mesh.ping_all();
    mesh.store.delete("Node", "n4");
    for block in mesh.blocks.remove(&4).unwrap() {
        mesh.store.release("n4", block);
    }
    mesh.daemon(4).terminate();
    for number in 1..=3 {
        let expected = mesh.expected(number);
        let netns = &mesh.rack.node(number).netns;
        wait::until_eq(
            "routes without the node",
            CHANGE,
            || bird_routes(netns),
            &expected,
        );
        wait::until_eq(
            "sessions without the node",
            CHANGE,
            || mesh.daemons[number - 1].established(),
            &(2, 2),
        );
    }
    assert_eq!(monitor.changes_beside(&["10.65.4.0/26"]), Vec::<String>::new());
}

#[test]
fn sessions_and_next_hops_follow_a_node_that_changes_its_address() {
    let mut mesh = Mesh::from_files(Plan::default(), 3);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    mesh.rack.set_address(3, "172.31.1.99/24".parse().unwrap());
    let n3 = mesh.rack.node(3);
    let moved = node(&n3.name, &n3.addresses, None);
    mesh.store.apply(&moved);
    let name = || mesh.daemons[0].sessions().pop().unwrap_or_default().0;
    wait::until_eq("the new peer", CHANGE, name, &"Mesh_172_31_1_99".to_owned());
    mesh.wait_up();
    mesh.ping_all();
    assert_eq!(monitor.changes_beside(&["10.65.3.0/26"]), Vec::<String>::new());
}

#[test]
fn the_mesh_switch_acts_both_ways() {
    let mut mesh = Mesh::from_files(Plan::default(), 3);
    let blocks = std::mem::take(&mut mesh.blocks);
    mesh.store.apply(&resource(
        "BGPConfiguration",
        "default",
        json!({ "nodeToNodeMeshEnabled": false }),
    ));
    for number in 1..=3 {
        mesh.blocks = [(number, blocks[&number].clone())].into();
        let expected = mesh.expected(number);
        let netns = &mesh.rack.node(number).netns;
        wait::until_eq("own block only", CHANGE, || bird_routes(netns), &expected);
        assert_eq!(mesh.daemon(number).sessions(), []);
    }
    mesh.store.delete("BGPConfiguration", "default");
    mesh.blocks = blocks;
    mesh.wait_up();
    mesh.ping_all();
}

#[test]
fn the_as_of_a_node_can_be_its_own() {
    // A node in another AS: its sessions are eBGP, and its routes arrive all the same.
    let mut mesh = Mesh::from_files(Plan::default(), 3);
    let n3 = mesh.rack.node(3);
    let changed = node(&n3.name, &n3.addresses, Some(64999));
    mesh.store.apply(&changed);
    wait::until(
        "sessions with the new AS",
        UP,
        || mesh.daemons[0].items("peers"),
        |peers| {
            peers
                .iter()
                .any(|peer| peer["remote_as"] == 64999 && peer["state"] == "Established")
        },
    );
    // An eBGP peer is told every block by every node, so what n3 installs may go by either of the others.
    let routes = || bird_routes(&mesh.rack.node(3).netns).len();
    wait::until_eq("three routes", UP, routes, &3);
    mesh.ping_all();
}
