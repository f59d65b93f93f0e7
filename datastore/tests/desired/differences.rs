//! What changes between two plans, and what that does to sessions.

use std::time::Duration;

use pipit_bgp::Family;
use pipit_datastore::backend::StoreEvent;
use pipit_datastore::desired::{DesiredState, Environment, Planner};
use pipit_datastore::diff::{Change, ChangeClass, FilterChange, SessionSetting, diff};
use pipit_datastore::manifest::{self, ManifestItem};
use pipit_datastore::plan;

use crate::support::{default, items, object, peer, plan_n1, session};

const V4: Family = Family::Ipv4Unicast;

/// Changes of `n1` when objects are added to others.
fn changes(before: &[String], after: &[String]) -> Vec<Change> {
    diff(&plan_n1(before), &plan_n1(after))
}

fn tor(fields: &str) -> String {
    peer("tor", &format!("{{peerIP: 10.9.0.1, asNumber: 65001, {fields}}}"))
}

/// What a change of the ToR's BGPPeer changes in its session.
fn settings(before: &str, after: &str) -> (Vec<SessionSetting>, ChangeClass) {
    match &changes(&[tor(before)], &[tor(after)])[..] {
        [change @ Change::SessionChanged { settings, .. }] => (settings.clone(), change.class()),
        other => panic!("{before} -> {after}: {other:?}"),
    }
}

#[test]
fn equal_states_have_no_difference() {
    let objects = [tor(""), default("{listenPort: 1790}")];
    assert_eq!(changes(&objects, &objects), []);
}

#[test]
fn c106_one_own_block_moves_one_block() {
    let block = |i: u8| {
        object(
            "BlockAffinity",
            &format!("b{i}"),
            &format!("{{node: n1, cidr: 10.65.{i}.0/26}}"),
        )
    };
    let before: Vec<_> = (0..50).map(block).collect();
    let mut after = before.clone();
    after.push(block(77));
    let found = changes(&before, &after);
    let [Change::BlockSet { aggregate }, Change::BlackholeAdded { prefix }] = found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (aggregate.block, prefix.to_string().as_str()),
        (prefix, "10.65.77.0/26")
    );
    let back = changes(&after, &before);
    assert!(matches!(
        back[..],
        [Change::BlockRemoved { .. }, Change::BlackholeRemoved { .. }]
    ));
    assert!(
        found
            .iter()
            .chain(&back)
            .all(|change| change.class() == ChangeClass::NoEffect)
    );
}

#[test]
fn c200_a_peer_added_or_removed_touches_no_other_session() {
    let added = changes(&[], &[tor("")]);
    let expected = Change::SessionAdded {
        family: V4,
        name: "Global_10_9_0_1".into(),
    };
    assert_eq!(added, [expected]);
    assert_eq!(added[0].class(), ChangeClass::NoEffect);
    let removed = changes(&[tor("")], &[]);
    let expected = Change::SessionRemoved {
        family: V4,
        name: "Global_10_9_0_1".into(),
    };
    assert_eq!(removed, [expected]);
    assert_eq!(removed[0].class(), ChangeClass::SessionReset);
}

#[test]
fn c201_what_needs_a_new_session() {
    use SessionSetting as S;
    let reset = ChangeClass::SessionReset;
    assert_eq!(settings("", "localASNumber: 5"), (vec![S::LocalAsn], reset));
    assert_eq!(
        settings("", "sourceAddress: None"),
        (vec![S::SourceAddress], reset)
    );
    let asked = "password: {secretKeyRef: {name: s, key: k}}";
    assert_eq!(settings("", asked), (vec![S::Held], reset));
    let secret = |value: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: kube-system}}, stringData: {{k: {value}}}}}"
        )
    };
    let rotated = changes(&[tor(asked), secret("a")], &[tor(asked), secret("b")]);
    assert!(matches!(&rotated[..], [Change::SessionChanged { settings, .. }] if *settings == [S::Password]));
}

#[test]
fn c202_what_needs_none() {
    use SessionSetting as S;
    let none = ChangeClass::NoEffect;
    assert_eq!(settings("", "keepaliveTime: 5s"), (vec![S::Keepalive], none));
    assert_eq!(settings("", "maxRestartTime: 5s"), (vec![S::RestartTime], none));
    assert_eq!(settings("", "ttlSecurity: 1"), (vec![S::TtlSecurity], none));
    let refresh = ChangeClass::RouteRefresh;
    assert_eq!(settings("", "nextHopMode: Self"), (vec![S::NextHop], refresh));
    assert_eq!(
        settings("", "numAllowedLocalASNumbers: 1"),
        (vec![S::AllowedLocalAs], refresh)
    );
    let reflector = object(
        "Node",
        "n1",
        "{bgp: {ipv4Address: 172.31.1.11/24, ipv6Address: 'fd31:1::11/64', \
                                          routeReflectorClusterID: 1.1.1.1}}",
    );
    let plain = object(
        "Node",
        "n1",
        "{bgp: {ipv4Address: 172.31.1.11/24, ipv6Address: 'fd31:1::11/64'}}",
    );
    let off = default("{nodeToNodeMeshEnabled: false}");
    let rr = peer("rr", "{peerIP: 10.9.0.1, asNumber: 64512}");
    let found = changes(&[off.clone(), rr.clone(), plain], &[off, rr, reflector]);
    let is_client = vec![S::RouteReflectorClient];
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], Change::ClusterId);
    assert!(matches!(&found[1], Change::SessionChanged { settings, .. } if *settings == is_client));
    assert!(found.iter().all(|change| change.class() == refresh));
}

#[test]
fn a_port_of_a_neighbour_that_stays_is_no_reason_to_end_the_session() {
    let before = default("{nodeToNodeMeshEnabled: false}");
    let after = default("{nodeToNodeMeshEnabled: false, listenPort: 1790}");
    let selected = peer("p", "{peerSelector: node == 'n2', reversePeering: Manual}");
    let found = changes(&[before, selected.clone()], &[after, selected]);
    let moved = found.iter().find_map(|change| match change {
        Change::SessionChanged {
            family: V4,
            old_name,
            name,
            settings,
        } => Some((old_name.as_str(), name.as_str(), settings.clone(), change.class())),
        _ => None,
    });
    let settings = vec![SessionSetting::Origin, SessionSetting::Port];
    assert_eq!(
        moved,
        Some((
            "Global_172_31_1_12",
            "Global_172_31_1_12_port_1790",
            settings,
            ChangeClass::NoEffect
        ))
    );
    assert!(found.contains(&Change::Listen(V4)));
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn from_mesh_to_a_bgp_peer_the_session_stays() {
    let explicit = peer(
        "p",
        "{node: n1, peerIP: 172.31.1.12, asNumber: 64512, reversePeering: Manual}",
    );
    let found = changes(&[], &[explicit]);
    let [change @ Change::SessionChanged { old_name, name, .. }] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (old_name.as_str(), name.as_str()),
        ("Mesh_172_31_1_12", "Node_172_31_1_12")
    );
    assert_eq!(change.class(), ChangeClass::NoEffect);
}

#[test]
fn c203_c204_listen_router_id_and_as() {
    let found = changes(&[], &[default("{bindMode: NodeIP}")]);
    assert_eq!(found, [Change::Listen(V4), Change::Listen(Family::Ipv6Unicast)]);
    let moved = object(
        "Node",
        "n1",
        "{bgp: {ipv4Address: 172.31.1.99/24, ipv6Address: 'fd31:1::11/64'}}",
    );
    assert_eq!(changes(&[], &[moved])[0].class(), ChangeClass::SessionReset);
    let found = changes(&[], &[default("{asNumber: 64600}")]);
    // Said also where no session shows it.
    assert_eq!((&found[0], found.len()), (&Change::LocalAsn, 5));
    assert!(
        found[1..]
            .iter()
            .all(|change| change.class() == ChangeClass::SessionReset)
    );
}

#[test]
fn c205_filters_and_policy_are_a_route_refresh() {
    let filter = |action: &str| object("BGPFilter", "f", &format!("{{importV4: [{{action: {action}}}]}}"));
    let uses = tor("filters: [f]");
    let found = changes(
        &[filter("Accept"), uses.clone()],
        &[filter("Reject"), uses.clone()],
    );
    assert_eq!(
        found,
        [Change::FilterChanged(FilterChange {
            family: V4,
            name: "f".into(),
            is_used: true,
        })]
    );
    assert_eq!(found[0].class(), ChangeClass::RouteRefresh);
    let found = changes(std::slice::from_ref(&uses), &[filter("Accept"), uses.clone()]);
    assert_eq!(
        found[0],
        Change::FilterAdded(FilterChange {
            family: V4,
            name: "f".into(),
            is_used: true,
        })
    );
    assert!(
        matches!(&found[1], Change::SessionChanged { settings, .. } if *settings == [SessionSetting::ImportFilters])
    );
    let unused = changes(&[filter("Accept"), tor("")], &[filter("Reject"), tor("")]);
    assert_eq!(unused.len(), 1);
    assert_eq!(unused[0].class(), ChangeClass::NoEffect);
    let quiet = object("IPPool", "pods", "{cidr: 10.65.0.0/16, disableBGPExport: true}");
    assert_eq!(changes(&[], &[quiet]), [Change::Export(V4)]);
    let owned = changes(&[], &[default("{programClusterRoutes: Disabled}")]);
    assert_eq!(owned, [Change::Kernel(V4), Change::Kernel(Family::Ipv6Unicast)]);
}

#[test]
fn annotations_that_need_a_new_open_say_so() {
    let annotated = |annotation: &str| {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {{name: tor, annotations: {{{annotation}}}}}, \
             spec: {{peerIP: 10.9.0.1, asNumber: 65001}}}}"
        )
    };
    let class = |annotation: &str| match &changes(&[annotated("")], &[annotated(annotation)])[..] {
        [change] => change.class(),
        other => panic!("{annotation}: {other:?}"),
    };
    for annotation in [
        "pipit.io/hold-time: 9s",
        "pipit.io/add-path: off",
        "pipit.io/families: 'ipv4,ipv6'",
    ] {
        assert_eq!(class(annotation), ChangeClass::SessionReset, "{annotation}");
    }
    for annotation in [
        "pipit.io/passive: 'true'",
        "pipit.io/bfd: tx=1s",
        "pipit.io/max-prefixes: '5'",
    ] {
        assert_eq!(class(annotation), ChangeClass::NoEffect, "{annotation}");
    }
    assert_eq!(
        changes(&[annotated("")], &[annotated("pipit.io/hold-time: 4m")]).len(),
        0,
        "the default"
    );
}

#[test]
fn a_planner_gives_the_same_plans_as_from_nothing_whatever_changes() {
    let mut cache = plan::cache_of(items(&[])).unwrap();
    let mut planner = Planner::new("n1", Environment::default());
    let mut current: Vec<String> = Vec::new();
    let steps = [
        tor(""),
        object("BlockAffinity", "b", "{node: n1, cidr: 10.65.1.0/26}"),
        object(
            "Node",
            "n3",
            "{bgp: {ipv4Address: 172.31.1.13/24, asNumber: 64703}}",
        ),
        object("BGPFilter", "f", "{importV4: [{action: Accept}]}"),
        tor("filters: [f, g]"),
        default("{nodeMeshPassword: {secretKeyRef: {name: s, key: k}}}"),
        "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: kube-system}, stringData: {k: x}}"
            .to_owned(),
        object("IPPool", "pods", "{cidr: 10.65.0.0/16, ipipMode: Always}"),
        object("BGPConfiguration", "node.n2", "{listenPort: 1790}"),
    ];
    let mut previous: Option<DesiredState> = None;
    for step in steps {
        for item in manifest::read(&step, "step.yaml") {
            let ManifestItem::Object { key, value, origin } = item else {
                panic!("{item:?}");
            };
            assert!(
                cache
                    .handle(StoreEvent::Put { key, value, origin })
                    .concerns_plan(),
                "{step}"
            );
        }
        current.push(step.clone());
        let incremental = planner.plan(&cache).unwrap();
        assert_eq!(incremental, plan_n1(&current), "{step}");
        assert!(
            previous.is_none_or(|previous| !diff(&previous, &incremental).is_empty()),
            "{step}"
        );
        previous = Some(incremental);
    }
    let held = Environment {
        namespace: Some("elsewhere".into()),
        ..Environment::default()
    };
    planner.set_environment(held);
    let plan = planner.plan(&cache).unwrap();
    assert!(
        session(&plan, "Mesh_172_31_1_12").held.is_some(),
        "the environment counts as well"
    );
    let config = session(&plan, "Mesh_172_31_1_12").peer_config(plan.router_id);
    assert_eq!((config.port, config.hold_time), (1790, Duration::from_secs(240)));
}

#[test]
fn changes_speak_the_words_of_the_resources() {
    let words = |mode: &str| {
        let plan = plan_n1(&[tor(&format!("nextHopMode: {mode}"))]);
        SessionSetting::NextHop.value(session(&plan, "Global_10_9_0_1"))
    };
    assert_eq!(["Auto", "Self", "Keep"].map(words), ["auto", "self", "keep"]);
    let block = |state: &str| {
        object(
            "BlockAffinity",
            "b",
            &format!("{{node: n1, cidr: 10.65.1.0/26, state: {state}}}"),
        )
    };
    let said = |from: &str, to: &str| {
        let found = changes(&[block(from)], &[block(to)]);
        found.iter().map(Change::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        said("confirmed", "pendingDeletion"),
        ["+ block 10.65.1.0/26 (being given back)"]
    );
    assert_eq!(said("pendingDeletion", "confirmed"), ["+ block 10.65.1.0/26"]);
}
