//! The other end of BGPPeers that select this node.

use pipit_datastore::desired::{DesiredState, SessionSource};

use crate::support::{default, names, names6, object, peer, plan_n1, problems, session};

fn plan(objects: &[String]) -> DesiredState {
    let mut all = vec![default("{nodeToNodeMeshEnabled: false}")];
    all.extend_from_slice(objects);
    plan_n1(&all)
}

#[test]
fn c064_c065_selected_nodes_get_sessions_back_unless_manual() {
    let spec = |mode: &str| {
        format!("{{nodeSelector: node == 'n2', peerSelector: rack == 'a', reversePeering: {mode}}}")
    };
    let auto = plan(&[peer("p", &spec("Auto"))]);
    assert_eq!(names(&auto), ["Node_172_31_1_12"]);
    assert_eq!(names6(&auto), ["Node_fd31_1__12"]);
    assert_eq!(plan(&[peer("p", &spec("Manual"))]).sessions().count(), 0);
    let default_is_auto = peer("p", "{nodeSelector: node == 'n2', peerSelector: rack == 'a'}");
    assert_eq!(plan(&[default_is_auto]).sessions().count(), 2);
}

#[test]
fn c066_a_peer_ip_that_is_this_node_in_its_family_only() {
    let found = plan(&[peer("p", "{node: n2, peerIP: 172.31.1.11, asNumber: 64512}")]);
    assert_eq!(
        (names(&found), names6(&found)),
        (vec!["Node_172_31_1_12"], vec![])
    );
    let other_as = plan(&[peer("p", "{node: n2, peerIP: 172.31.1.11, asNumber: 64999}")]);
    assert_eq!(other_as.sessions().count(), 0);
}

#[test]
fn c067_a_global_peering_is_reversed_to_all_nodes() {
    let found = plan(&[peer("p", "{peerIP: 172.31.1.11, asNumber: 64512}")]);
    assert_eq!(names(&found), ["Node_172_31_1_12", "Node_172_31_1_13"]);
}

#[test]
fn c068_reverse_sessions_are_nodes_with_the_options_of_the_resource() {
    let spec = "{node: n2, peerSelector: node == 'n1', ttlSecurity: 2, keepaliveTime: 7s, maxRestartTime: 9s, \
                nextHopMode: Self, sourceAddress: None, reachableBy: 172.31.1.1, localASNumber: 5, \
                numAllowedLocalASNumbers: 2}";
    let found = plan(&[peer("p", spec)]);
    let reverse = session(&found, "Node_172_31_1_12");
    assert_eq!(reverse.source, SessionSource::Node);
    assert!(!reverse.passive && reverse.source_address.is_none());
    assert_eq!(
        (
            reverse.ttl_security_hops,
            reverse.keepalive_secs,
            reverse.graceful_restart_secs
        ),
        (Some(2), Some(7), Some(9))
    );
    assert_eq!((reverse.local_asn.0, reverse.allowed_local_as), (64512, 0));
    assert_eq!(found.ipv4.host_routes.len(), 1);
}

#[test]
fn c069_local_workload_peers_are_not_reversed() {
    let found = plan(&[peer(
        "p",
        "{node: n2, localWorkloadSelector: all(), asNumber: 65001}",
    )]);
    assert_eq!(found.sessions().count(), 0);
}

#[test]
fn c070_a_port_in_peer_ip_must_be_the_one_this_node_listens_on() {
    let with_port = |port: u16| {
        peer(
            "p",
            &format!("{{node: n2, peerIP: '172.31.1.11:{port}', asNumber: 64512}}"),
        )
    };
    let count = |objects: &[String]| plan_n1(objects).sessions().count();
    let cluster = default("{nodeToNodeMeshEnabled: false, listenPort: 1790}");
    let own = object("BGPConfiguration", "node.n1", "{listenPort: 1791}");
    assert_eq!(count(&[cluster.clone(), with_port(1790)]), 1);
    assert_eq!(count(&[cluster.clone(), with_port(1791)]), 0);
    assert_eq!(count(&[cluster.clone(), own.clone(), with_port(1791)]), 1);
    assert_eq!(count(&[cluster, own, with_port(1790)]), 0);
    assert_eq!(plan(&[with_port(179)]).sessions().count(), 1);
    assert_eq!(plan(&[with_port(1790)]).sessions().count(), 0);
}

#[test]
fn c059_an_explicit_session_wins_over_a_reverse_one_silently() {
    let objects = [
        peer(
            "a-theirs",
            "{node: n2, peerSelector: node == 'n1', keepaliveTime: 5s}",
        ),
        peer(
            "b-ours",
            "{node: n1, peerSelector: node == 'n2', keepaliveTime: 6s}",
        ),
    ];
    let found = plan(&objects);
    assert_eq!(names(&found), ["Node_172_31_1_12"]);
    assert_eq!(session(&found, "Node_172_31_1_12").keepalive_secs, Some(6));
    assert_eq!(problems(&found), [""; 0]);
}

#[test]
fn l26_the_typical_reflector_deployment() {
    let rr = "{bgp: {ipv4Address: 172.31.1.12/24, routeReflectorClusterID: 244.0.0.1}}";
    let node = format!(
        "{{apiVersion: projectcalico.org/v3, kind: Node, metadata: {{name: n2, labels: {{rr: yes}}}}, spec: {rr}}}"
    );
    let objects = [
        node,
        peer(
            "clients",
            "{nodeSelector: \"!has(rr)\", peerSelector: rr == 'true'}",
        ),
        peer("reflectors", "{nodeSelector: has(rr), peerSelector: has(rr)}"),
    ];
    let found = plan(&objects);
    assert_eq!(
        (names(&found), problems(&found)),
        (vec!["Node_172_31_1_12"], vec![])
    );
}
