//! The mesh with Calico's own keys in a real etcd.

use std::time::Duration;

use ipnet::IpNet;
use pipit_testbed::calico::{Store, affinity_key, etcd_key, etcd_value, resource};
use pipit_testbed::etcd::Etcd;
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::{CHANGE, Mesh, UP};
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::json;

fn mesh(count: usize) -> Mesh<Etcd> {
    let rack = Rack::new(Plan::default(), count);
    let etcd = Etcd::start(rack.node(1));
    let source = Source::Etcd(etcd.endpoint().to_owned());
    let mut mesh = Mesh::prepare(rack, etcd, source);
    mesh.start();
    mesh
}

#[test]
fn blocks_from_etcd_act_within_a_second_and_pending_ones_do_not() {
    let mut mesh = mesh(3);
    mesh.ping_all();
    let monitors: Vec<Monitor> = mesh
        .rack
        .nodes
        .iter()
        .map(|node| Monitor::start(&node.netns))
        .collect();
    let block = "10.65.77.0/26".parse().unwrap();
    mesh.assign(1, block);
    mesh.wait_routes(CHANGE);
    // Moved in one transaction.
    let (from, to) = (affinity_key("n1", block), affinity_key("n2", block));
    mesh.store
        .replace(&from, &to, r#"{"state":"confirmed","deleted":false}"#);
    mesh.blocks.get_mut(&1).unwrap().retain(|have| *have != block);
    mesh.blocks.get_mut(&2).unwrap().push(block);
    mesh.wait_routes(CHANGE);
    // Old versions wrote an empty value: the same as confirmed.
    mesh.store.put(&to, "");
    let claimed = "10.65.78.0/26".parse().unwrap();
    mesh.store.put(
        &affinity_key("n3", claimed),
        r#"{"state":"pending","deleted":false}"#,
    );
    let other = "10.65.79.0/26".parse().unwrap();
    mesh.assign(3, other);
    mesh.wait_routes(CHANGE);
    for monitor in &monitors {
        assert_eq!(
            monitor.changes_beside(&["10.65.77.0/26", "10.65.79.0/26"]),
            Vec::<String>::new()
        );
    }
}

/// Whether `pipit status` of a daemon has this among its problems.
fn says(daemon: &Pipit, problem: &str) -> bool {
    String::from_utf8_lossy(&daemon.pipit(&["status"]).stdout).contains(problem)
}

#[test]
fn e15_a_daemon_that_runs_under_another_hosts_name_says_so_and_harms_nobody() {
    let mut mesh = mesh(3);
    mesh.ping_all();
    mesh.daemon(3).kill();
    let monitors = [1, 2].map(|number| Monitor::start(&mesh.rack.node(number).netns));
    let source = Source::Etcd(mesh.store.endpoint().to_owned());
    let second = Pipit::start_as(&mesh.rack.node(3).netns, "n2", &source, &[]);
    let address = mesh.rack.node(2).addresses[0].addr();
    let problem = format!("Node/n2: {address} is no address of this host");
    wait::until_eq("the second to say so", UP, || says(&second, &problem), &true);
    assert!(!says(&mesh.daemons[1], &problem));
    assert_eq!(mesh.daemons[1].established().0, 1);
    for monitor in &monitors {
        assert_eq!(monitor.changes(), Vec::<String>::new());
    }
}

#[test]
fn e9_a_block_that_two_nodes_have_is_a_problem_of_both() {
    let mut mesh = mesh(3);
    let block: IpNet = "10.65.77.0/26".parse().unwrap();
    mesh.assign(1, block);
    mesh.wait_routes(CHANGE);
    let key = affinity_key("n2", block);
    mesh.store.put(&key, r#"{"state":"confirmed"}"#);
    for (number, rival) in [(1, 2), (2, 1)] {
        let address = mesh.rack.node(rival).addresses[0].addr();
        let problem = format!("BlockAffinity/{block}: {address} announces it, too");
        let said = || says(&mesh.daemons[number - 1], &problem);
        wait::until_eq(&problem, CHANGE, said, &true);
    }
    assert!(!says(&mesh.daemons[2], "announces it, too"));
    mesh.store.ctl(&["del", &key]);
    let said = || says(&mesh.daemons[0], "announces it, too");
    wait::until_eq("an end of it", CHANGE, said, &false);
    mesh.wait_routes(CHANGE);
}

#[test]
fn losing_etcd_moves_nothing_and_its_return_brings_what_happened() {
    let mut mesh = mesh(3);
    let monitors: Vec<Monitor> = mesh
        .rack
        .nodes
        .iter()
        .map(|node| Monitor::start(&node.netns))
        .collect();
    mesh.store.kill();
    for daemon in &mesh.daemons {
        daemon.wait_for_log("trying again");
    }
    for monitor in &monitors {
        assert_eq!(monitor.changes(), Vec::<String>::new());
    }
    mesh.ping_all();
    let netns = mesh.rack.node(1).netns.name().to_owned();
    assert!(netns.contains("n1"));
    mesh.store.restart(&mesh.rack.nodes[0].netns);
    mesh.assign(2, "10.65.88.0/26".parse().unwrap());
    mesh.wait_routes(Duration::from_secs(10));
    mesh.assign(3, "10.65.89.0/26".parse().unwrap());
    mesh.wait_routes(CHANGE);
    for monitor in &monitors {
        assert_eq!(
            monitor.changes_beside(&["10.65.88.0/26", "10.65.89.0/26"]),
            Vec::<String>::new()
        );
    }
}

#[test]
fn what_changed_while_history_was_compacted_is_found_as_a_difference() {
    let mut mesh = mesh(2);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    // Stopped, the daemon misses the changes, and etcd forgets them.
    mesh.daemon(1).process().signal("STOP");
    mesh.assign(2, "10.65.90.0/26".parse().unwrap());
    mesh.assign(1, "10.65.91.0/26".parse().unwrap());
    mesh.store.kill();
    mesh.store.restart(&mesh.rack.nodes[0].netns);
    mesh.store.compact();
    mesh.daemon(1).process().signal("CONT");
    mesh.wait_routes(UP);
    assert_eq!(
        monitor.changes_beside(&["10.65.90.0/26", "10.65.91.0/26"]),
        Vec::<String>::new()
    );
}

#[test]
fn nonsense_in_etcd_is_named_and_harms_nothing_else() {
    let mut mesh = mesh(2);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    mesh.store.put(
        "/calico/ipam/v2/host/n1/ipv4/block/not-a-cidr",
        r#"{"state":"confirmed"}"#,
    );
    mesh.store.put(&etcd_key("Node", "n2"), "{broken");
    mesh.store.put(
        "/calico/resources/v3/projectcalico.org/felixconfigurations/default",
        "{broken",
    );
    mesh.assign(1, "10.65.92.0/26".parse().unwrap());
    mesh.wait_routes(CHANGE);
    mesh.daemons[0].wait_for_log("/calico/resources/v3/projectcalico.org/nodes/n2");
    let status = String::from_utf8(mesh.daemons[0].pipit(&["-o", "json", "peers"]).stdout).unwrap();
    assert!(
        status.contains("Node/n2") || status.contains("nodes/n2"),
        "the problem is shown by name: {status}"
    );
    assert_eq!(monitor.changes_beside(&["10.65.92.0/26"]), Vec::<String>::new());
    assert_eq!(
        mesh.daemons[0].established(),
        (1, 1),
        "the last good version stays in force"
    );
}

#[test]
fn nodes_come_and_go_and_the_mesh_switch_acts_by_etcd_too() {
    let mut mesh = mesh(2);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    mesh.join();
    mesh.wait_up();
    mesh.ping_all();
    // As `calicoctl delete node` does it: the blocks' affinities first.
    for block in mesh.blocks.remove(&3).unwrap() {
        mesh.store.release("n3", block);
    }
    mesh.store.delete("Node", "n3");
    for number in [1, 2] {
        let expected = mesh.expected(number);
        let netns = &mesh.rack.node(number).netns;
        wait::until_eq("routes without n3", CHANGE, || bird_routes(netns), &expected);
        let daemon = &mesh.daemons[number - 1];
        wait::until_eq("sessions without n3", CHANGE, || daemon.established(), &(1, 1));
    }
    // Without its block, the pod's own route stands alone until the node is gone, as with Calico.
    assert_eq!(
        monitor.changes_beside(&["10.65.3.0/26", "10.65.3.2"]),
        Vec::<String>::new()
    );

    let switch = |is_on: bool| {
        let spec = json!({ "logSeverityScreen": "Info", "nodeToNodeMeshEnabled": is_on });
        resource("BGPConfiguration", "default", spec)
    };
    mesh.store.apply(&switch(false));
    for number in [1, 2] {
        let own = [format!("blackhole {}", mesh.rack.plan.block4(number))].into();
        let netns = &mesh.rack.node(number).netns;
        wait::until_eq("the own block alone", CHANGE, || bird_routes(netns), &own);
        assert_eq!(mesh.daemon(number).sessions(), []);
    }
    mesh.store.apply(&switch(true));
    for number in [1, 2] {
        let expected = mesh.expected(number);
        let netns = &mesh.rack.node(number).netns;
        wait::until_eq("the mesh again", UP, || bird_routes(netns), &expected);
    }
}

#[test]
fn a_new_as_from_etcd_reforms_all_sessions() {
    let mesh = mesh(2);
    let configuration = resource(
        "BGPConfiguration",
        "default",
        json!({ "asNumber": 4_200_000_100u32 }),
    );
    mesh.store.put(
        &etcd_key("BGPConfiguration", "default"),
        &etcd_value(&configuration),
    );
    wait::until(
        "sessions in the new AS",
        UP,
        || mesh.daemons[0].items("peers"),
        |peers| {
            peers
                .iter()
                .all(|peer| peer["remote_as"] == 4_200_000_100u32 && peer["state"] == "Established")
        },
    );
    mesh.wait_routes(UP);
    mesh.ping_all();
}
