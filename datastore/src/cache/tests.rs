//! Snapshots, changes and last good versions.

use serde_json::json;

use super::*;

fn put(key: Key, value: Value) -> StoreEvent {
    StoreEvent::Put {
        key,
        value,
        origin: "test".to_owned(),
    }
}

fn node(name: &str, address: &str, labels: Value) -> StoreEvent {
    let value =
        json!({"metadata": {"name": name, "labels": labels}, "spec": {"bgp": {"ipv4Address": address}}});
    put(Key::Node(name.to_owned()), value)
}

fn peer(name: &str, spec: Value) -> StoreEvent {
    put(Key::BgpPeer(name.to_owned()), json!({"spec": spec}))
}

fn block(cidr: &str) -> Key {
    Key::BlockAffinity {
        node: "n1".to_owned(),
        id: BlockId::Cidr(cidr.parse().unwrap()),
    }
}

/// A cache after a snapshot of these events.
fn cache(events: impl IntoIterator<Item = StoreEvent>) -> Cache {
    let mut cache = Cache::new();
    snapshot(&mut cache, events);
    cache
}

fn snapshot(cache: &mut Cache, events: impl IntoIterator<Item = StoreEvent>) -> Changed {
    assert!(cache.handle(StoreEvent::Begin).is_nothing());
    for event in events {
        assert!(
            cache.handle(event).is_nothing(),
            "visible before the snapshot is complete"
        );
    }
    cache.handle(StoreEvent::SnapshotDone { revision: 7 })
}

fn matches(cache: &Cache, selector: &str) -> Vec<String> {
    cache
        .selectors()
        .nodes(selector)
        .map(|name| name.to_string())
        .collect()
}

#[test]
fn c003_nothing_is_visible_before_the_snapshot_is_complete() {
    let mut cache = Cache::new();
    cache.handle(StoreEvent::Begin);
    cache.handle(node("n1", "10.0.0.1/24", json!({})));
    assert!(!cache.is_complete() && cache.nodes().next().is_none());
    let changed = cache.handle(StoreEvent::SnapshotDone { revision: 7 });
    assert!(changed.contains(Kind::Nodes) && changed.concerns_plan() && cache.is_complete());
    assert_eq!((cache.nodes().count(), cache.revision()), (1, 7));
}

#[test]
fn c008_what_a_new_snapshot_does_not_have_is_gone() {
    let mut cache = cache([
        node("n1", "10.0.0.1/24", json!({})),
        node("n2", "10.0.0.2/24", json!({})),
    ]);
    let changed = snapshot(&mut cache, [node("n1", "10.0.0.1/24", json!({}))]);
    assert_eq!(changed, Changed::when(true, Kind::Nodes));
    assert!(cache.node("n2").is_none());
    assert!(snapshot(&mut cache, [node("n1", "10.0.0.1/24", json!({}))]).is_nothing());
}

#[test]
fn a_heartbeat_changes_nothing() {
    let mut cache = cache([node("n1", "10.0.0.1/24", json!({"a": "b"}))]);
    let before = cache.session_inputs();
    let value = json!({"metadata": {"name": "n1", "labels": {"a": "b"}, "generation": 9},
        "spec": {"bgp": {"ipv4Address": "10.0.0.1/24"}}, "status": {"wireguardPublicKey": "new"}});
    assert!(cache.handle(put(Key::Node("n1".into()), value)).is_nothing());
    assert_eq!(cache.session_inputs(), before);
    assert!(
        !cache
            .handle(node("n1", "10.0.0.1/24", json!({"a": "c"})))
            .is_nothing()
    );
    assert_eq!(cache.session_inputs(), before, "no selector looks at the label");
    cache.handle(node("n1", "10.0.0.9/24", json!({"a": "c"})));
    assert_ne!(cache.session_inputs(), before);
}

#[test]
fn c007_an_unreadable_value_leaves_the_last_good_version_in_force() {
    let mut cache = cache([node("n1", "10.0.0.1/24", json!({}))]);
    let broken = || StoreEvent::Unreadable {
        key: Some(Key::Node("n1".into())),
        origin: "k".into(),
        error: "broken".into(),
    };
    let good = cache.readable_node("n1").cloned();
    assert!(cache.handle(broken()).contains(Kind::Nodes));
    assert_eq!(cache.readable_node("n1").cloned(), good);
    assert!(cache.node("n1").unwrap().is_last_good);
    // Neither does a re-list that finds it still broken, nor a value that has the wrong shape.
    snapshot(&mut cache, [broken()]);
    assert_eq!(cache.readable_node("n1").cloned(), good);
    cache.handle(put(Key::Node("n1".into()), json!("text")));
    assert_eq!(cache.readable_node("n1").cloned(), good);
    cache.handle(node("n1", "10.0.0.300/24", json!({})));
    assert_eq!(cache.readable_node("n1").cloned(), good);
    assert_eq!(
        cache.node("n1").unwrap().problems[0].field,
        "spec.bgp.ipv4Address"
    );
    cache.handle(StoreEvent::Delete {
        key: Key::Node("n1".into()),
    });
    assert!(cache.node("n1").is_none());
}

#[test]
fn c007_a_first_seen_unreadable_value_counts_as_absent() {
    let mut cache = cache([]);
    cache.handle(node("n1", "nowhere", json!({})));
    assert!(cache.readable_node("n1").is_none() && cache.nodes().next().is_none());
    cache.handle(put(block("10.0.0.0/26"), json!("confirmed")));
    assert!(cache.blocks("n1").all(|(_, stored)| stored.object.is_none()));
}

#[test]
fn c006_a_block_that_goes_pending_is_gone_although_it_was_good() {
    let mut cache = cache([put(block("10.0.0.0/26"), Value::Null)]);
    let owned = |cache: &Cache| {
        cache
            .blocks("n1")
            .filter(|(_, stored)| stored.object.is_some())
            .count()
    };
    assert_eq!(owned(&cache), 1);
    assert!(
        !cache
            .handle(put(block("10.0.0.0/26"), json!({"state": "pending"})))
            .is_nothing()
    );
    assert_eq!(owned(&cache), 0);
}

#[test]
fn c062_a_label_change_re_evaluates_the_selectors_of_that_node() {
    let mut cache = cache([
        node("n1", "10.0.0.1/24", json!({"rack": "a"})),
        node("n2", "10.0.0.2/24", json!({"rack": "b"})),
        peer(
            "p",
            json!({"nodeSelector": "rack == 'a'", "peerSelector": "has(rack)"}),
        ),
    ]);
    assert_eq!(matches(&cache, "rack == 'a'"), ["n1"]);
    let before = cache.session_inputs();
    cache.handle(node("n2", "10.0.0.2/24", json!({"rack": "a"})));
    assert_ne!(cache.session_inputs(), before);
    assert_eq!(cache.session_inputs().mesh, before.mesh);
    assert_eq!(matches(&cache, "rack == 'a'"), ["n1", "n2"]);
    cache.handle(node("n1", "10.0.0.1/24", json!({})));
    assert_eq!(matches(&cache, "has(rack)"), ["n2"]);
    cache.handle(peer(
        "p",
        json!({"nodeSelector": "rack != 'a'", "peerSelector": "has(rack)"}),
    ));
    assert_eq!(matches(&cache, "rack != 'a'"), ["n1"]);
    assert!(matches(&cache, "rack == 'a'").is_empty(), "no longer used");
    cache.handle(StoreEvent::Delete {
        key: Key::Node("n1".into()),
    });
    assert!(matches(&cache, "rack != 'a'").is_empty());
    snapshot(
        &mut cache,
        [
            node("n3", "10.0.0.3/24", json!({})),
            peer("p", json!({"peerSelector": "!has(rack)"})),
        ],
    );
    assert_eq!(matches(&cache, "!has(rack)"), ["n3"]);
}

#[test]
fn c025_a_selector_that_does_not_parse_matches_no_node() {
    let cache = cache([
        node("n1", "10.0.0.1/24", json!({})),
        peer("p", json!({"nodeSelector": "rack = 'a'", "peerIP": "10.0.0.9"})),
    ]);
    assert!(matches(&cache, "rack = 'a'").is_empty());
    assert_eq!(cache.peers().count(), 1);
}

#[test]
fn origins_come_and_go() {
    let mut cache = cache([]);
    let unreadable = StoreEvent::Unreadable {
        key: None,
        origin: "a.yaml".into(),
        error: "line 1".into(),
    };
    assert!(cache.handle(unreadable.clone()).contains(Kind::Origins));
    assert!(cache.handle(unreadable).is_nothing());
    assert_eq!(
        cache.unreadable_origins().collect::<Vec<_>>(),
        [("a.yaml", "line 1")]
    );
    assert!(
        cache
            .handle(StoreEvent::Readable {
                origin: "a.yaml".into()
            })
            .contains(Kind::Origins)
    );
    assert_eq!(cache.unreadable_origins().count(), 0);
}
