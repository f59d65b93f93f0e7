//! IPv4 and IPv6: one session for each family and pair.

use pipit_testbed::calico::Store;
use pipit_testbed::kernel::Monitor;
use pipit_testbed::mesh::{CHANGE, Mesh};
use pipit_testbed::topology::Plan;
use pipit_testbed::wait;

fn dual() -> Plan {
    Plan {
        ipv6: Some("fd31:1::/64".parse().unwrap()),
        ..Plan::default()
    }
}

#[test]
fn every_pair_has_a_session_for_each_family_and_pods_reach_each_other_by_both() {
    let mut mesh = Mesh::from_files(dual(), 3);
    mesh.ping_all();
    let names: Vec<String> = mesh.daemons[0]
        .sessions()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "Mesh_172_31_1_12",
            "Mesh_172_31_1_13",
            "Mesh_fd31_1__12",
            "Mesh_fd31_1__13"
        ]
    );
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    mesh.assign(2, "fd65::99:0/122".parse().unwrap());
    mesh.wait_routes(CHANGE);
    assert_eq!(monitor.changes_beside(&["fd65::99:0/122"]), Vec::<String>::new());
}

#[test]
fn a_node_that_loses_ipv6_loses_only_that() {
    let mut mesh = Mesh::from_files(dual(), 2);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    let n2 = mesh.rack.node(2);
    let ipv4_only = pipit_testbed::calico::node(&n2.name, &n2.addresses[..1], None);
    mesh.store.apply(&ipv4_only);
    wait::until_eq(
        "the IPv4 session alone",
        CHANGE,
        || mesh.daemons[0].established(),
        &(1, 1),
    );
    let beside = monitor.changes_beside(&["fd65::2:0/122"]);
    assert_eq!(beside, Vec::<String>::new(), "no IPv4 route moved");
}

#[test]
fn a_mesh_of_ipv6_alone_needs_no_router_id() {
    let plan = Plan { ipv4: None, ..dual() };
    let mesh = Mesh::from_files(plan, 2);
    mesh.ping_all();
    assert_eq!(mesh.daemons[0].sessions().len(), 1);
}
