use super::*;
use crate::control::protocol::{API_VERSION, DatastoreKind, DatastoreStatus, Origin};
use pipit_bgp::Asn;

fn daemon() -> DaemonStatus {
    DaemonStatus {
        api_version: API_VERSION.into(),
        kind: "DaemonStatus".into(),
        version: "1.2.3".into(),
        node_name: "n1".into(),
        router_id: Some("10.0.0.1".parse().unwrap()),
        local_as: Some(Asn(64512)),
        started: "2026-08-22T10:15:10Z".parse().unwrap(),
        datastore: DatastoreStatus {
            kind: DatastoreKind::Etcd,
            endpoint: "http://10.0.0.1:2379".into(),
            connected: true,
            in_sync: true,
            reason: None,
            revision: 7,
            from_disk: false,
            guard_secs: None,
            held: Vec::new(),
        },
        datastore_stale_seconds: Some(0),
        drained: false,
        withdrawn: false,
        waiting: None,
        kernel: crate::control::protocol::KernelCounts::default(),
    }
}

fn peer_of(name: &str, address: &str, kind: PeerKind, state: PeerState) -> PeerItem {
    PeerItem {
        name: name.into(),
        address: address.parse().unwrap(),
        interface: None,
        port: 179,
        remote_as: Asn(64512),
        local_as: Asn(64512),
        state,
        kind,
        since: "2026-08-22T10:15:12.9Z".parse().unwrap(),
        prefixes_received: 0,
        prefixes_accepted: 0,
        prefixes_sent: 0,
        last_error: None,
        last_error_sent: None,
        last_error_received: None,
        messages_sent: Default::default(),
        messages_received: Default::default(),
        held: None,
        passive: false,
        flaps: 0,
        hold_time_secs: None,
        remote_router_id: None,
        families: Vec::new(),
        capabilities: Vec::new(),
        hostname: None,
        software: None,
        resource: String::new(),
        bfd: None,
    }
}

fn path(prefix: &str, peer: &str, next_hop: Option<&str>, best: bool) -> RouteItem {
    let prefix: IpNet = prefix.parse().unwrap();
    RouteItem {
        prefix,
        family: Family::of(prefix.addr()),
        next_hop: next_hop.map(|hop| hop.parse().unwrap()),
        peer: peer.into(),
        best,
        multipath: best,
        as_path: Vec::new(),
        local_pref: None,
        med: None,
        origin: Origin::Igp,
        communities: Vec::new(),
        large_communities: Vec::new(),
        extended_communities: Vec::new(),
        originator_id: None,
        cluster_list: Vec::new(),
        path_id: None,
        stale: false,
        announced: None,
        reason: String::new(),
        since: None,
    }
}

fn facts() -> Facts {
    Facts {
        daemon: daemon(),
        reconfigured: Some("2026-08-22T10:16:41Z".parse().unwrap()),
        enabled: FamilyMap {
            ipv4: true,
            ipv6: false,
        },
        is_recovering: false,
        peers: vec![
            peer_of(
                "Global_192_20_30_40",
                "192.20.30.40",
                PeerKind::Global,
                PeerState::Active,
            ),
            peer_of(
                "Mesh_10_0_0_2",
                "10.0.0.2",
                PeerKind::Mesh,
                PeerState::Established,
            ),
            peer_of("Node_fd00__2", "fd00::2", PeerKind::Node, PeerState::Established),
        ],
        routes: Vec::new(),
        exits: Exits::default(),
    }
}

#[test]
fn c220_the_agent_of_each_family() {
    let expected = json!({"agent": {
        "birdV4": {"state": "Ready", "version": "pipit 1.2.3", "routerID": "10.0.0.1",
            "lastBootTime": "2026-08-22 10:15:10", "lastReconfigurationTime": "2026-08-22 10:16:41"},
        "birdV6": {"state": "NotReady"},
    }});
    assert_eq!(Value::Object(status(&[StatusClass::Agent], &facts())), expected);
    let recovering = Facts {
        is_recovering: true,
        ..facts()
    };
    let agent = Value::Object(status(&[StatusClass::Agent], &recovering));
    assert_eq!(agent["agent"]["birdV4"]["state"], "NotReady");
}

#[test]
fn c221_peers_with_type_and_state_in_the_list_of_their_family() {
    let since = "2026-08-22 10:15:12";
    let expected = json!({"bgp": {
        "numberEstablishedV4": 1, "numberNotEstablishedV4": 1,
        "numberEstablishedV6": 1, "numberNotEstablishedV6": 0,
        "peersV4": [
            {"peerIP": "192.20.30.40", "type": "GlobalPeer", "state": "Active", "since": since},
            {"peerIP": "10.0.0.2", "type": "NodeMesh", "state": "Established", "since": since},
        ],
        "peersV6": [{"peerIP": "fd00::2", "type": "NodePeer", "state": "Established", "since": since}],
    }});
    assert_eq!(Value::Object(status(&[StatusClass::Bgp], &facts())), expected);
    let alone = Facts {
        peers: Vec::new(),
        ..facts()
    };
    let expected = json!({"bgp": {"numberEstablishedV4": 0, "numberNotEstablishedV4": 0,
        "numberEstablishedV6": 0, "numberNotEstablishedV6": 0}});
    assert_eq!(Value::Object(status(&[StatusClass::Bgp], &alone)), expected);
}

#[test]
fn c222_routes_say_how_they_leave_and_whom_they_are_from() {
    let exit = |gateway: Option<&str>, interface: &str| Exit {
        gateway: gateway.map(|text| text.parse().unwrap()),
        interface: interface.into(),
    };
    let (block, remote): (IpNet, IpNet) =
        ("10.244.0.0/26".parse().unwrap(), "10.244.1.0/26".parse().unwrap());
    let facts = Facts {
        routes: vec![
            path("10.244.0.0/26", "local", None, true),
            path("10.244.1.0/26", "Mesh_10_0_0_2", Some("10.0.0.2"), true),
            path("10.244.1.0/26", "Global_192_20_30_40", Some("10.0.0.7"), false),
            path("10.244.2.0/26", "Global_192_20_30_40", Some("10.9.9.9"), false),
            path("10.96.0.0/12", "local", None, true),
            path("10.244.7.9/32", "kernel", None, true),
            path("10.9.0.0/24", "kernel", None, true),
            path("10.0.0.0/24", "direct", None, true),
            path("fd00:244::/122", "Node_fd00__2", Some("fd00::2"), true),
        ],
        exits: Exits {
            of_prefix: [
                (block, exit(None, "blackhole")),
                (remote, exit(Some("10.0.0.2"), "tunl0")),
            ]
            .into(),
            of_address: [
                ("10.0.0.7".parse().unwrap(), exit(Some("10.0.0.254"), "eth0")),
                ("fd00::2".parse().unwrap(), exit(Some("fd00::2"), "eth1")),
                ("10.244.7.9".parse().unwrap(), exit(Some("10.244.7.9"), "cali7")),
                ("10.9.0.0".parse().unwrap(), exit(Some("10.0.0.253"), "eth0")),
                ("10.0.0.0".parse().unwrap(), exit(Some("10.0.0.0"), "eth0")),
            ]
            .into(),
        },
        ..facts()
    };
    let route = |kind: &str, destination: &str, gateway: &str, interface: &str, from: Value| {
        json!({"type": kind, "destination": destination, "gateway": gateway, "interface": interface,
            "learnedFrom": from})
    };
    let expected = json!({"routes": {
        "routesV4": [
            route("FIB", "10.244.0.0/26", "N/A", "blackhole", json!({"sourceType": "Static"})),
            route("FIB", "10.244.1.0/26", "10.0.0.2", "tunl0",
                json!({"sourceType": "NodeMesh", "peerIP": "10.0.0.2"})),
            route("RIB", "10.244.1.0/26", "10.0.0.254", "eth0",
                json!({"sourceType": "BGPPeer", "peerIP": "192.20.30.40"})),
            route("RIB", "10.244.2.0/26", "10.9.9.9", "unreachable",
                json!({"sourceType": "BGPPeer", "peerIP": "192.20.30.40"})),
            route("FIB", "10.96.0.0/12", "N/A", "blackhole", json!({"sourceType": "Static"})),
            route("FIB", "10.244.7.9/32", "N/A", "cali7", json!({"sourceType": "Kernel"})),
            route("FIB", "10.9.0.0/24", "10.0.0.253", "eth0", json!({"sourceType": "Kernel"})),
            route("FIB", "10.0.0.0/24", "N/A", "eth0", json!({"sourceType": "Direct"})),
        ],
        "routesV6": [route("FIB", "fd00:244::/122", "fd00::2", "eth1",
            json!({"sourceType": "BGPPeer", "peerIP": "fd00::2"}))],
    }});
    assert_eq!(Value::Object(status(&[StatusClass::Routes], &facts)), expected);
}

#[test]
fn c223_only_the_time_of_writing_is_no_news() {
    let new = status(&[StatusClass::Bgp], &facts());
    let mut stored = new.clone();
    stored.insert("lastUpdated".into(), "2026-08-22T11:00:10Z".into());
    let stored = Value::Object(stored);
    assert!(says_the_same(Some(&stored), &new));
    assert!(!says_the_same(None, &new));
    assert!(!says_the_same(Some(&Value::Null), &new));
    let more = status(&[StatusClass::Agent, StatusClass::Bgp], &facts());
    assert!(!says_the_same(Some(&stored), &more));
    let mut other = stored.clone();
    other["bgp"]["numberEstablishedV4"] = 0.into();
    assert!(!says_the_same(Some(&other), &new));
    other["agent"] = json!({});
    assert!(!says_the_same(Some(&other), &new));
}
