use super::*;
use crate::control::protocol::HeldItem;
use crate::control::protocol::{DatastoreKind, DatastoreStatus, KernelCounts, PeerKind, ProblemItem};

fn list() -> PeerList {
    let started = "2026-11-23T10:00:00Z".parse().unwrap();
    PeerList {
        api_version: "pipit/v1".into(),
        kind: "PeerList".into(),
        items: Vec::new(),
        daemon: DaemonStatus {
            api_version: "pipit/v1".into(),
            kind: "DaemonStatus".into(),
            version: "0.1.0".into(),
            node_name: "node-1".into(),
            router_id: Some("10.0.0.1".parse().unwrap()),
            local_as: Some(pipit_bgp::Asn(64512)),
            started,
            datastore: DatastoreStatus {
                kind: DatastoreKind::Etcd,
                endpoint: "https://etcd:2379".into(),
                connected: true,
                in_sync: true,
                reason: None,
                revision: 77,
                from_disk: false,
                guard_secs: None,
                held: Vec::new(),
            },
            datastore_stale_seconds: Some(0),
            drained: false,
            withdrawn: false,
            waiting: None,
            kernel: KernelCounts::default(),
        },
        problems: Vec::new(),
    }
}

fn peer(name: &str, state: PeerState) -> PeerItem {
    PeerItem {
        name: name.into(),
        address: "10.0.0.2".parse().unwrap(),
        interface: None,
        port: 179,
        remote_as: pipit_bgp::Asn(64512),
        local_as: pipit_bgp::Asn(64512),
        state,
        kind: PeerKind::Mesh,
        since: "2026-11-23T10:00:00Z".parse().unwrap(),
        prefixes_received: 3,
        prefixes_accepted: 2,
        prefixes_sent: 1,
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
        families: vec![pipit_bgp::Family::Ipv4Unicast],
        capabilities: Vec::new(),
        hostname: None,
        software: None,
        resource: "Node/node-2".into(),
        bfd: None,
    }
}

fn footer(list: &PeerList) -> String {
    let mut out = Vec::new();
    write_footer(&mut out, list, "2026-11-23T13:12:00Z".parse().unwrap()).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn footer_of_a_healthy_daemon_has_three_lines() {
    let mut list = list();
    list.items = vec![peer("a", PeerState::Established), peer("b", PeerState::Active)];
    assert_eq!(
        footer(&list),
        "\n\
         Node: node-1, router id 10.0.0.1, AS 64512, pipitd 0.1.0 for 3h12m\n\
         Datastore: etcd https://etcd:2379, in sync at revision 77\n\
         Peers: 1 of 2 established, no problems\n"
    );
}

#[test]
fn footer_tells_what_the_daemon_waits_for_and_what_is_wrong() {
    let mut list = list();
    list.daemon.router_id = None;
    list.daemon.local_as = None;
    list.daemon.waiting = Some("no Node \"node-1\" in the datastore".into());
    list.daemon.datastore.connected = false;
    list.daemon.datastore.reason = Some("connection refused".into());
    list.daemon.datastore_stale_seconds = Some(330);
    let problem = |index| ProblemItem {
        resource: format!("BGPPeer/p{index}"),
        message: "AS is missing".into(),
    };
    list.problems = (0..12).map(problem).collect();
    let text = footer(&list);
    assert!(text.contains("router id unknown, AS unknown"), "{text}");
    assert!(
        text.contains("not reached for 5m30s, the last good state is in force: connection refused\n"),
        "{text}"
    );
    assert!(
        text.contains("Waiting: no Node \"node-1\" in the datastore\n"),
        "{text}"
    );
    assert!(
        text.contains("12 problems:\n  BGPPeer/p0: AS is missing\n"),
        "{text}"
    );
    assert!(text.ends_with("  and 2 more (pipit status -o json)\n"), "{text}");
}

#[test]
fn footer_tells_how_old_a_state_from_disk_is_and_what_is_held_back() {
    let mut list = list();
    list.daemon.datastore.connected = false;
    list.daemon.datastore.from_disk = true;
    list.daemon.datastore_stale_seconds = Some(7200);
    let text = footer(&list);
    assert!(
        text.contains("not reached yet, the state of 2h ago, kept on disk, is in force\n"),
        "{text}"
    );
    assert!(!text.contains("Held back"), "{text}");
    let held = |name: &str, until: &str| HeldItem {
        resource: name.into(),
        until: until.parse().unwrap(),
    };
    list.daemon.datastore.held = vec![
        held("Node/a", "2026-11-23T10:00:30Z"),
        held("Node/b", "2026-11-23T10:00:20Z"),
    ];
    let text = footer(&list);
    let expected =
        "Held back: 2 deletions until 2026-11-23T10:00:20Z (pipit datastore release acts on it now)\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_hold_explains_more_than_the_last_error() {
    let mut peer = peer("a", PeerState::Idle);
    peer.last_error = Some("connection reset".into());
    assert_eq!(trouble(&peer), "connection reset");
    peer.held = Some("held: its password is missing".into());
    assert_eq!(trouble(&peer), "held: its password is missing");
}

#[test]
fn degraded_is_a_peer_that_is_down_or_a_node_that_is_not_there() {
    let mut list = list();
    assert!(!is_degraded(&list), "no peers, none down");
    list.items = vec![peer("a", PeerState::Established)];
    assert!(!is_degraded(&list));
    list.items.push(peer("b", PeerState::OpenConfirm));
    assert!(is_degraded(&list));
    list.items.clear();
    list.daemon.waiting = Some("no node".into());
    assert!(is_degraded(&list));
}
