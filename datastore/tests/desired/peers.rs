//! BGPPeers to sessions: who with whom, ports, precedence.

use pipit_datastore::desired::{Environment, Held, SessionSource};
use pipit_datastore::model::PeerType;

use crate::support::{default, names, names6, object, peer, plan_for, plan_n1, problems, session};

/// `n1`'s plan without a mesh.
fn plan(objects: &[String]) -> pipit_datastore::desired::DesiredState {
    let mut all = vec![default("{nodeToNodeMeshEnabled: false}")];
    all.extend_from_slice(objects);
    plan_n1(&all)
}

#[test]
fn c049_c050_global_named_and_selected() {
    let peers = [
        peer("global", "{peerIP: 10.9.0.1, asNumber: 65001}"),
        peer("mine", "{node: n1, peerIP: 10.9.0.2, asNumber: 65001}"),
        peer("theirs", "{node: n2, peerIP: 10.9.0.3, asNumber: 65001}"),
        peer(
            "rack",
            "{nodeSelector: rack == 'a', peerIP: 10.9.0.4, asNumber: 65001}",
        ),
        peer(
            "other-rack",
            "{nodeSelector: rack == 'b', peerIP: 10.9.0.5, asNumber: 65001}",
        ),
    ];
    let plan = plan(&peers);
    assert_eq!(
        names(&plan),
        ["Global_10_9_0_1", "Node_10_9_0_2", "Node_10_9_0_4"]
    );
    assert_eq!(problems(&plan), [""; 0]);
}

#[test]
fn c026_empty_selectors_are_not_set() {
    let plan = plan(&[peer(
        "p",
        "{nodeSelector: '', peerSelector: '', peerIP: 10.9.0.1, asNumber: 65001}",
    )]);
    assert_eq!(names(&plan), ["Global_10_9_0_1"]);
}

#[test]
fn c052_a_peer_ip_that_is_a_node_of_that_as_inherits_its_port() {
    let n2 = object("BGPConfiguration", "node.n2", "{listenPort: 1792}");
    let objects = [
        n2,
        peer(
            "node",
            "{peerIP: 172.31.1.12, asNumber: 64512, reversePeering: Manual}",
        ),
        peer(
            "other-as",
            "{peerIP: 172.31.1.13, asNumber: 64999, reversePeering: Manual}",
        ),
    ];
    let plan = plan(&objects);
    assert_eq!(
        names(&plan),
        ["Global_172_31_1_12_port_1792", "Global_172_31_1_13"]
    );
}

#[test]
fn c053_c054_an_explicit_port_wins_and_makes_a_session_of_its_own() {
    let objects = [
        peer("a", "{peerIP: '10.9.0.1:1790', asNumber: 65001}"),
        peer("b", "{peerIP: 10.9.0.1, asNumber: 65001}"),
        peer("c", "{peerIP: '[fd09::1]:1179', asNumber: 65001}"),
    ];
    let plan = plan(&objects);
    assert_eq!(names(&plan), ["Global_10_9_0_1", "Global_10_9_0_1_port_1790"]);
    assert_eq!(names6(&plan), ["Global_fd09__1_port_1179"]);
    assert_eq!(session(&plan, "Global_10_9_0_1").port, None);
}

#[test]
fn c055_c056_peer_selector_takes_as_and_port_from_the_node() {
    let objects = [
        object(
            "Node",
            "n2",
            "{bgp: {ipv4Address: 172.31.1.12/24, asNumber: 64702}}",
        ),
        peer(
            "p",
            "{peerSelector: all(), asNumber: 1, localASNumber: 2, numAllowedLocalASNumbers: 3}",
        ),
    ];
    let plan = plan(&objects);
    assert_eq!(names(&plan), ["Global_172_31_1_12", "Global_172_31_1_13"]);
    assert_eq!(names6(&plan), ["Global_fd31_1__13"]);
    let found = session(&plan, "Global_172_31_1_12");
    assert_eq!(
        (found.asn.unwrap().0, found.local_asn.0, found.allowed_local_as),
        (64702, 64512, 0)
    );
    assert_eq!(found.peer_type, PeerType::External);
}

#[test]
fn c057_a_peer_at_our_own_address_is_dropped_without_a_word() {
    let plan = plan(&[peer(
        "p",
        "{peerIP: 172.31.1.11, asNumber: 64512, reversePeering: Manual}",
    )]);
    assert_eq!((names(&plan), problems(&plan)), (vec![], vec![]));
}

#[test]
fn c058_c060_first_is_global_then_the_alphabet() {
    let objects = [
        peer("a-node", "{node: n1, peerIP: 10.9.0.1, asNumber: 65001}"),
        peer("b-global", "{peerIP: 10.9.0.1, asNumber: 65002}"),
        peer("c-global", "{peerIP: 10.9.0.1, asNumber: 65003}"),
    ];
    let plan = plan(&objects);
    assert_eq!(names(&plan), ["Global_10_9_0_1"]);
    let found = session(&plan, "Global_10_9_0_1");
    assert_eq!(
        (&*found.resource, found.asn.unwrap().0),
        ("BGPPeer/b-global", 65002)
    );
    assert_eq!(
        problems(&plan),
        ["BGPPeer/a-node spec.peerIP", "BGPPeer/c-global spec.peerIP"]
    );
}

#[test]
fn c061_a_peer_ip_without_an_as_is_held_and_nothing_else_is() {
    for asn in ["0", "null", "''"] {
        let objects = [
            peer("none", &format!("{{peerIP: 10.9.0.1, asNumber: {asn}}}")),
            peer("good", "{peerIP: 10.9.0.2, asNumber: 65001}"),
        ];
        let plan = plan(&objects);
        let held = session(&plan, "Global_10_9_0_1");
        assert_eq!(
            (held.held, held.asn, held.peer_type),
            (Some(Held::AsnMissing), None, PeerType::External)
        );
        assert_eq!(session(&plan, "Global_10_9_0_2").held, None);
        assert_eq!(problems(&plan), ["BGPPeer/none spec.asNumber"]);
    }
    let elsewhere = peer("p", "{node: n2, peerIP: 10.9.0.1}");
    assert_eq!(
        problems(&plan(&[elsewhere])),
        [""; 0],
        "only where it makes a session"
    );
}

#[test]
fn c063_the_port_of_a_selected_node_is_followed() {
    let selected = peer("p", "{peerSelector: node == 'n2', reversePeering: Manual}");
    let port = |value: u16| object("BGPConfiguration", "node.n2", &format!("{{listenPort: {value}}}"));
    assert_eq!(
        names(&plan(&[selected.clone(), port(1790)])),
        ["Global_172_31_1_12_port_1790"]
    );
    assert_eq!(
        names(&plan(&[selected, port(1791)])),
        ["Global_172_31_1_12_port_1791"]
    );
}

#[test]
fn c079_reachable_by_of_another_family_costs_the_session() {
    let plan = plan(&[peer(
        "p",
        "{peerIP: 10.9.0.1, asNumber: 65001, reachableBy: 'fd31:1::1'}",
    )]);
    assert_eq!(
        (names(&plan), problems(&plan)),
        (vec![], vec!["BGPPeer/p spec.reachableBy".to_owned()])
    );
}

#[test]
fn c078_reachable_by_adds_a_host_route_of_its_family() {
    let objects = [
        peer(
            "tor",
            "{peerIP: 10.9.0.1, asNumber: 65001, reachableBy: 172.31.1.1}",
        ),
        peer(
            "nodes",
            "{peerSelector: node == 'n2', reachableBy: 172.31.1.1, reversePeering: Manual}",
        ),
    ];
    let plan = plan(&objects);
    let routes: Vec<_> = plan
        .ipv4
        .host_routes
        .iter()
        .map(|r| format!("{} {}", r.prefix, r.via))
        .collect();
    assert_eq!(routes, ["10.9.0.1/32 172.31.1.1", "172.31.1.12/32 172.31.1.1"]);
    assert!(plan.ipv6.host_routes.is_empty());
}

#[test]
fn c080_c081_passive_only_global_peer_ips_that_are_nodes() {
    let objects = [
        peer(
            "node",
            "{peerIP: 172.31.1.12, asNumber: 64999, reversePeering: Manual}",
        ),
        peer("tor", "{peerIP: 172.31.1.99, asNumber: 65001}"),
        peer(
            "named",
            "{node: n1, peerIP: 172.31.1.13, asNumber: 64512, reversePeering: Manual}",
        ),
        peer("selected", "{peerSelector: node == 'n2', reversePeering: Manual}"),
    ];
    let plan = plan(&objects);
    let passive: Vec<_> = plan
        .sessions()
        .filter(|s| s.passive)
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(passive, ["Global_172_31_1_12"], "also when the AS is another one");
}

#[test]
fn c082_c083_c084_clients_of_a_reflector() {
    let reflector = |name: &str, last: u8, id: &str| {
        let spec = format!("{{bgp: {{ipv4Address: 172.31.1.{last}/24, routeReflectorClusterID: {id}}}}}");
        object("Node", name, &spec)
    };
    let objects = [
        reflector("n1", 11, "244.0.0.1"),
        reflector("n2", 12, "244.0.0.1"),
        reflector("n3", 13, "244.0.0.2"),
        object("Node", "n4", "{bgp: {ipv4Address: 172.31.1.14/24}}"),
        object(
            "Node",
            "n5",
            "{bgp: {ipv4Address: 172.31.1.15/24, asNumber: 64999}}",
        ),
        peer("all", "{peerSelector: all()}"),
        peer("ip", "{peerIP: 10.9.0.1, asNumber: 64512}"),
    ];
    let clients = |node: &str| {
        let plan = plan_for(node, &objects, &Environment::default());
        let clients = plan.sessions().filter(|s| s.route_reflector_client);
        clients.map(|s| s.address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(clients("n1"), ["10.9.0.1", "172.31.1.13", "172.31.1.14"]);
    assert_eq!(clients("n4"), [""; 0]);
}

#[test]
fn c093_c095_c097_local_workload_sessions() {
    let status = |text: &str| pipit_datastore::model::EndpointStatus::parse(text).unwrap();
    let environment = Environment {
        endpoints: vec![
            status(r#"{"ipv4Nets":["10.65.1.2/32"],"ipv6Nets":["fd65::2/128"],"bgpPeerName":"pods"}"#),
            status(r#"{"ipv4Nets":["10.65.1.3/32"],"bgpPeerName":"elsewhere"}"#),
            status(r#"{"ipv4Nets":["10.65.1.4/32"],"bgpPeerName":"unknown"}"#),
            status(r#"{"ipv4Nets":["10.65.1.5/32"],"bgpPeerName":"mine"}"#),
        ],
        ..Environment::default()
    };
    let objects = [
        default("{nodeToNodeMeshEnabled: false}"),
        peer(
            "pods",
            "{localWorkloadSelector: app == 'x', asNumber: 65010, localASNumber: 65011, ttlSecurity: 1, \
             keepaliveTime: 5s, nextHopMode: Self, password: {secretKeyRef: {name: s, key: k}}}",
        ),
        peer(
            "elsewhere",
            "{node: n2, localWorkloadSelector: app == 'x', asNumber: 65010}",
        ),
        peer("mine", "{node: n1, localWorkloadSelector: app == 'y'}"),
    ];
    let plan = plan_for("n1", &objects, &environment);
    assert_eq!(
        names(&plan),
        ["Local_Workload_10_65_1_2", "Local_Workload_10_65_1_5"]
    );
    assert_eq!(names6(&plan), ["Local_Workload_fd65__2"]);
    let found = session(&plan, "Local_Workload_10_65_1_2");
    assert_eq!(found.source, SessionSource::LocalWorkload);
    assert!(found.passive && found.source_address.is_none() && found.password_ref.is_none());
    assert_eq!(
        (found.local_asn.0, found.ttl_security_hops, found.keepalive_secs),
        (65011, None, None)
    );
    assert_eq!(
        session(&plan, "Local_Workload_10_65_1_5").held,
        Some(Held::AsnMissing)
    );
    assert_eq!(problems(&plan), ["BGPPeer/mine spec.asNumber"]);
}

#[test]
fn a_link_local_neighbour_has_an_interface() {
    let objects = [
        peer("a", "{peerIP: 'fe80::1%eth0', asNumber: 65001}"),
        peer("b", "{peerIP: 'fe80::1%eth1', asNumber: 65001}"),
    ];
    let plan = plan(&objects);
    assert_eq!(names6(&plan), ["Global_fe80__1_eth0", "Global_fe80__1_eth1"]);
    let found = session(&plan, "Global_fe80__1_eth0");
    assert_eq!(
        (found.interface.as_deref(), found.source_address),
        (Some("eth0"), None)
    );
}
