//! The node-to-node mesh.

use pipit_datastore::desired::{Environment, Held};
use pipit_datastore::model::PeerType;

use crate::support::{default, names, names6, object, peer, plan_for, plan_n1, problems, session};

#[test]
fn c037_c038_one_session_per_other_node_and_family() {
    let plan = plan_n1(&[]);
    assert_eq!(names(&plan), ["Mesh_172_31_1_12", "Mesh_172_31_1_13"]);
    assert_eq!(names6(&plan), ["Mesh_fd31_1__12", "Mesh_fd31_1__13"]);
    assert_eq!(
        names(&plan_n1(&[default("{nodeToNodeMeshEnabled: true}")])).len(),
        2
    );
    assert_eq!(
        plan_n1(&[default("{nodeToNodeMeshEnabled: false}")])
            .sessions()
            .count(),
        0
    );
}

#[test]
fn c038_nodes_without_an_address_or_with_ours_are_skipped() {
    let n2 = object("Node", "n2", "{bgp: {ipv4Address: 172.31.1.11/24}}");
    let n3 = object("Node", "n3", "{}");
    assert_eq!(plan_n1(&[n2, n3]).sessions().count(), 0);
}

#[test]
fn two_nodes_with_one_address_are_one_session() {
    let n3 = object(
        "Node",
        "n3",
        "{bgp: {ipv4Address: 172.31.1.12/24, asNumber: 64703}}",
    );
    let plan = plan_n1(&[n3]);
    assert_eq!(names(&plan), ["Mesh_172_31_1_12"]);
    assert_eq!(session(&plan, "Mesh_172_31_1_12").asn.unwrap().0, 64512, "n2's");
    let told =
        "Node/n3: spec.bgp.ipv4Address: it has the address 172.31.1.12 of Node/n2, whose session it is";
    assert_eq!(plan.notes, [told]);
    assert_eq!(plan.clashes[0].resource, "Node/n3", "who runs it sees a problem");
    assert_eq!(problems(&plan), Vec::<String>::new(), "a note by contract");
}

#[test]
fn a_node_with_the_address_of_this_one_is_told_of() {
    let n2 = object("Node", "n2", "{bgp: {ipv6Address: 'fd31:1::11/64'}}");
    let plan = plan_n1(&[n2]);
    assert_eq!(names6(&plan), ["Mesh_fd31_1__13"]);
    let told =
        "Node/n2: spec.bgp.ipv6Address: it has this node's address fd31:1::11: there is no session with it";
    assert_eq!(plan.notes, [told]);
}

#[test]
fn c039_reflectors_leave_the_mesh() {
    let reflector = object(
        "Node",
        "n2",
        "{bgp: {ipv4Address: 172.31.1.12/24, routeReflectorClusterID: 244.0.0.1}}",
    );
    assert_eq!(
        names(&plan_n1(std::slice::from_ref(&reflector))),
        ["Mesh_172_31_1_13"]
    );
    let plan = plan_for("n2", &[reflector], &Environment::default());
    assert_eq!(plan.sessions().count(), 0);
    assert_eq!(plan.cluster_id.unwrap().to_string(), "244.0.0.1");
}

#[test]
fn c040_a_mesh_peer_without_an_as_is_in_the_clusters() {
    let n1 = object(
        "Node",
        "n1",
        "{bgp: {ipv4Address: 172.31.1.11/24, asNumber: 64701}}",
    );
    let plan = plan_n1(&[n1, default("{asNumber: 64600}")]);
    let mesh = session(&plan, "Mesh_172_31_1_12");
    assert_eq!((mesh.asn.unwrap().0, mesh.local_asn.0), (64600, 64701));
    assert_eq!(mesh.peer_type, PeerType::External);
}

#[test]
fn c041_c048_port_of_the_peer_never_in_the_name() {
    let n2 = object("BGPConfiguration", "node.n2", "{listenPort: 1792}");
    let plan = plan_n1(&[default("{listenPort: 1790}"), n2]);
    assert_eq!(session(&plan, "Mesh_172_31_1_12").port, Some(1792));
    assert_eq!(session(&plan, "Mesh_172_31_1_13").port, Some(1790));
    assert_eq!(session(&plan_n1(&[]), "Mesh_172_31_1_13").port, None);
}

#[test]
fn c042_c045_source_and_restart_time() {
    let plan = plan_n1(&[default("{nodeMeshMaxRestartTime: 1m30.4s}")]);
    let mesh = session(&plan, "Mesh_fd31_1__12");
    assert_eq!(mesh.source_address, Some("fd31:1::11".parse().unwrap()));
    assert_eq!(
        (mesh.ttl_security_hops, mesh.graceful_restart_secs),
        (None, Some(90))
    );
    assert_eq!(&*mesh.resource, "BGPConfiguration/default");
}

#[test]
fn c043_mesh_passive_by_text() {
    let address =
        |name: &str, address: &str| object("Node", name, &format!("{{bgp: {{ipv4Address: {address}}}}}"));
    // As numbers 9 is before 10, as texts behind it.
    let nodes = [
        address("n1", "10.0.0.10/24"),
        address("n2", "10.0.0.9/24"),
        address("n3", "10.0.0.1/24"),
    ];
    let plan = plan_n1(&nodes);
    assert!(session(&plan, "Mesh_10_0_0_9").passive);
    assert!(!session(&plan, "Mesh_10_0_0_1").passive);
    let plan = plan_for("n2", &nodes, &Environment::default());
    assert!(
        !session(&plan, "Mesh_10_0_0_10").passive,
        "one of the two has to dial"
    );
}

#[test]
fn c044_mesh_sessions_have_no_filters() {
    let filter = object("BGPFilter", "f", "{importV4: [{action: Reject}]}");
    let plan = plan_n1(&[filter]);
    assert!(plan.sessions().all(|session| session.import_filters.is_empty()));
    assert_eq!(plan.ipv4.filters.len(), 1);
}

#[test]
fn c046_a_missing_mesh_password_holds_the_mesh_and_is_reported_once() {
    let configuration = default("{nodeMeshPassword: {secretKeyRef: {name: s, key: k}}}");
    let plan = plan_n1(std::slice::from_ref(&configuration));
    assert!(
        plan.sessions()
            .all(|session| session.held == Some(Held::PasswordMissing) && !session.authenticated)
    );
    assert_eq!(
        problems(&plan),
        ["BGPConfiguration/default spec.nodeMeshPassword"]
    );
    let off = default("{nodeToNodeMeshEnabled: false, nodeMeshPassword: {secretKeyRef: {name: s, key: k}}}");
    assert_eq!(problems(&plan_n1(&[off])), [""; 0], "nobody needs it");
    let secret =
        "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: kube-system}, stringData: {k: x}}";
    let plan = plan_n1(&[configuration, secret.to_owned()]);
    assert!(
        plan.sessions()
            .all(|session| session.held.is_none() && session.authenticated)
    );
}

#[test]
fn c047_a_deleted_node_has_no_session() {
    let gone = object("Node", "n3", "{bgp: {ipv4Address: nowhere}}");
    let plan = plan_n1(&[gone]);
    assert_eq!(names(&plan), ["Mesh_172_31_1_12"]);
    assert_eq!(problems(&plan), ["Node/n3 spec.bgp.ipv4Address"]);
}

#[test]
fn a_bgp_peer_takes_the_place_of_a_mesh_session_and_is_reported() {
    let plan = plan_n1(&[peer(
        "p",
        "{node: n1, peerIP: 172.31.1.12, asNumber: 64512, reversePeering: Manual}",
    )]);
    assert_eq!(names(&plan), ["Mesh_172_31_1_13", "Node_172_31_1_12"]);
    assert_eq!(names6(&plan).len(), 2, "the other family is another session");
    assert_eq!(problems(&plan), ["BGPPeer/p spec.peerIP"]);
}
