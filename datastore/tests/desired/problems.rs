//! What is reported, where, and what is not.

use pipit_datastore::desired::Environment;

use crate::support::{default, names, object, peer, plan_for, plan_n1, problems};

#[test]
fn problems_are_sorted_and_at_most_one_a_field() {
    let plan = plan_n1(&[
        peer("z", "{peerIP: x}"),
        peer("a", "{peerIP: y, asNumber: z}"),
        default(
            "{listenPort: 0, asNumber: x, prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [p, q]}]}",
        ),
        object("IPPool", "bad", "{cidr: pods}"),
    ]);
    assert_eq!(
        problems(&plan),
        [
            "BGPConfiguration/default spec.asNumber",
            "BGPConfiguration/default spec.listenPort",
            "BGPConfiguration/default spec.prefixAdvertisements[0].communities",
            "BGPPeer/a spec.asNumber",
            "BGPPeer/a spec.peerIP",
            "BGPPeer/z spec.peerIP",
            "IPPool/bad spec.cidr",
        ]
    );
    assert!(plan.problems.iter().all(|problem| problem.message.len() > 10));
}

#[test]
fn an_unreadable_field_is_reported_on_every_node() {
    let objects = [
        peer("p", "{node: n1, peerIP: x, asNumber: 1}"),
        object("Node", "n3", "{bgp: {asNumber: x}}"),
    ];
    for node in ["n1", "n2"] {
        let plan = plan_for(node, &objects, &Environment::default());
        assert_eq!(
            problems(&plan),
            ["BGPPeer/p spec.peerIP", "Node/n3 spec.bgp.asNumber"]
        );
    }
}

#[test]
fn c199_a_broken_object_costs_only_itself() {
    let plan = plan_n1(&[
        peer("broken", "{peerIP: ['x'], asNumber: {}, password: 7}"),
        peer(
            "selector",
            "{nodeSelector: 'rack = a', peerIP: 10.9.0.2, asNumber: 65001}",
        ),
        peer("good", "{peerIP: 10.9.0.1, asNumber: 65001}"),
    ]);
    assert_eq!(
        names(&plan),
        ["Global_10_9_0_1", "Mesh_172_31_1_12", "Mesh_172_31_1_13"]
    );
    assert_eq!(
        problems(&plan),
        [
            "BGPPeer/broken spec.asNumber",
            "BGPPeer/broken spec.password",
            "BGPPeer/broken spec.peerIP",
            "BGPPeer/selector spec.nodeSelector"
        ]
    );
}

#[test]
fn what_is_no_problem() {
    let plan = plan_n1(&[
        object(
            "BGPConfiguration",
            "node.n1",
            "{asNumber: x, newField: 2, prefixAdvertisements: []}",
        ),
        object("BGPConfiguration", "other", "{listenPort: x}"),
        default("{serviceClusterIPs: [{}], newField: {x: y}}"),
        object("BGPFilter", "unused", "{exportV4: [{action: Accept}]}"),
        peer("p", "{peerSelector: node == 'n9', asNumber: 7, newField: 1}"),
        "{apiVersion: v1, kind: Node, metadata: {name: kubernetes}, spec: {bgp: {ipv4Address: x}}}"
            .to_owned(),
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}".to_owned(),
    ]);
    assert_eq!(problems(&plan), [""; 0]);
    assert_eq!(names(&plan).len(), 2);
}

#[test]
fn two_bgp_peers_between_the_same_nodes_report_the_shadowed_selector() {
    let plan = plan_n1(&[
        default("{nodeToNodeMeshEnabled: false}"),
        peer("a", "{peerSelector: all(), reversePeering: Manual}"),
        peer(
            "b",
            "{node: n1, peerIP: 172.31.1.12, asNumber: 64512, reversePeering: Manual}",
        ),
        peer("c", "{node: n1, peerSelector: has(rack), reversePeering: Manual}"),
    ]);
    assert_eq!(
        problems(&plan),
        ["BGPPeer/b spec.peerIP", "BGPPeer/c spec.peerSelector"]
    );
    assert_eq!(names(&plan), ["Global_172_31_1_12", "Global_172_31_1_13"]);
}

#[test]
fn of_a_nodes_configuration_three_fields_count_and_of_another_nodes_the_port() {
    let spec = "{listenPort: x, logSeverityScreen: loud, asNumber: x, prefixAdvertisements: [{cidr: x}]}";
    let own = plan_n1(&[object("BGPConfiguration", "node.n1", spec)]);
    assert_eq!(
        problems(&own),
        [
            "BGPConfiguration/node.n1 spec.listenPort",
            "BGPConfiguration/node.n1 spec.logSeverityScreen",
            "BGPConfiguration/node.n1 spec.prefixAdvertisements[0].cidr"
        ]
    );
    let other = plan_n1(&[object("BGPConfiguration", "node.n2", spec)]);
    assert_eq!(problems(&other), ["BGPConfiguration/node.n2 spec.listenPort"]);
}
