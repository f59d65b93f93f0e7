//! Snapshots and changes.

use pipit_datastore::backend::StoreEvent;
use pipit_datastore::io::etcd::{Written, update_status};
use pipit_datastore::key::{BlockId, Key, RESOURCES};
use serde_json::{Value, json};

use crate::driver::{Driver, config};
use crate::server::Etcd;

const MINE: &str = "/calico/ipam/v2/host/node-1/";

pub(crate) fn node(name: &str) -> String {
    format!("{RESOURCES}nodes/{name}")
}

fn block(cidr: &str) -> Key {
    Key::BlockAffinity {
        node: "node-1".into(),
        id: BlockId::Cidr(cidr.parse().unwrap()),
    }
}

#[tokio::test]
async fn c001_c004_a_snapshot_holds_what_matters_to_bgp_and_nothing_else() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    let confirmed = r#"{"state":"confirmed","deleted":false}"#;
    for (key, value) in [
        (node("node-1"), r#"{"kind":"Node"}"#),
        (
            format!("{RESOURCES}ippools/pool"),
            r#"{"spec":{"cidr":"10.0.0.0/8"}}"#,
        ),
        (
            format!("{RESOURCES}bgppeers/tor"),
            r#"{"spec":{"nodeSelector":"a == 'x' \u0026\u0026 all()"}}"#,
        ),
        (format!("{MINE}ipv4/block/10.1.0.0-26"), confirmed),
        (format!("{MINE}ipv6/block/fd00:10:244::-122"), ""),
        // Not read: deeper keys, other nodes, other kinds, the host marker, keys that are no CIDR.
        (node("a/b"), "{}"),
        (
            "/calico/ipam/v2/host/node-10/ipv4/block/10.9.0.0-26".into(),
            confirmed,
        ),
        ("/calico/ipam/v2/host/node-1".into(), "{}"),
        (format!("{MINE}ipv4/block/rubbish"), confirmed),
        (format!("{RESOURCES}felixconfigurations/default"), "{}"),
    ] {
        writer.put(&key, value).await;
    }
    let mut driver = Driver::of(etcd.url());
    let (objects, revision) = driver.snapshot().await;
    let names: Vec<_> = objects.keys().map(Key::to_string).collect();
    assert_eq!(
        names,
        [
            "Node/node-1",
            "BGPPeer/tor",
            "IPPool/pool",
            "BlockAffinity/10.1.0.0/26",
            "BlockAffinity/fd00:10:244::/122"
        ]
    );
    assert_eq!(objects[&block("fd00:10:244::/122")], Value::Null);
    let selector = &objects[&Key::BgpPeer("tor".into())]["spec"]["nodeSelector"];
    assert_eq!(selector, "a == 'x' && all()");
    assert_eq!(revision, 11, "etcd counts from 1");
    assert_eq!(driver.connected().await, etcd.url());
}

#[tokio::test]
async fn changes_follow_the_snapshot_in_order_each_batch_with_its_mark() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    let mut driver = Driver::of(etcd.url());
    assert!(driver.snapshot().await.0.is_empty());
    // Between kinds there is an order only once every watch is up.
    driver.connected().await;
    let affinity = format!("{MINE}ipv4/block/10.1.0.0-26");
    writer.put(&affinity, r#"{"state":"pending"}"#).await;
    writer.put(&affinity, r#"{"state":"confirmed"}"#).await;
    writer.delete(&affinity).await;
    writer.put(&node("a"), "{}").await;
    for state in ["pending", "confirmed"] {
        match driver.change().await {
            StoreEvent::Put { key, value, .. } => {
                assert_eq!((key, &value["state"]), (block("10.1.0.0/26"), &json!(state)))
            }
            other => panic!("{other:?}"),
        }
    }
    let key = block("10.1.0.0/26");
    assert_eq!(driver.change().await, StoreEvent::Delete { key });
    let (key, origin) = (Key::Node("a".into()), node("a"));
    let value = json!({});
    assert_eq!(driver.change().await, StoreEvent::Put { key, value, origin });
}

#[tokio::test]
async fn a_value_that_is_not_json_is_reported_without_being_shown() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    let mut driver = Driver::of(etcd.url());
    driver.snapshot().await;
    writer.put(&node("a"), r#"{"spec": {"password": "hunter2"#).await;
    let change = driver.change().await;
    let StoreEvent::Unreadable { key, origin, error } = change else {
        panic!("{change:?}")
    };
    assert_eq!((key, origin), (Some(Key::Node("a".into())), node("a")));
    assert!(
        error.starts_with("not JSON") && !error.contains("hunter2"),
        "{error}"
    );
}

#[tokio::test]
async fn a_snapshot_of_many_pages_is_of_one_revision() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    let name = |number| node(&format!("node-{number:05}"));
    writer
        .put_all((0..1234).map(|number| (name(number), "{}".to_owned())))
        .await;
    let mut driver = Driver::of(etcd.url());
    // The driver's queue is shorter than a page: it is somewhere in the listing while this happens.
    writer
        .put_all((1000..1300).map(|number| (name(number), r#"{"later":true}"#.to_owned())))
        .await;
    let (objects, revision) = driver.snapshot().await;
    let later = objects.values().filter(|value| value["later"] == true).count();
    let expected = [(1234, 0), (1234, 100), (1234, 200), (1300, 300)];
    let first = 1 + 13;
    assert_eq!(
        (objects.len(), later),
        expected[usize::try_from(revision - first).unwrap()]
    );
}

#[tokio::test]
async fn objects_too_large_for_one_answer_come_in_smaller_pages() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    let large = format!(r#"{{"filler":"{}"}}"#, "x".repeat(1_400_000));
    for number in 0..20 {
        writer.put(&node(&format!("node-{number}")), large.as_str()).await;
    }
    let mut driver = Driver::of(etcd.url());
    assert_eq!(driver.snapshot().await.0.len(), 20);
}

#[tokio::test]
async fn a_status_is_written_by_compare_and_swap() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    let config = config(&["http://127.0.0.1:1".into(), etcd.url()]);
    let key = format!("{RESOURCES}caliconodestatuses/mine");
    let status = |_: &Value| Some(json!({"agent": 1}));
    assert_eq!(
        update_status(&config, "mine", status).await.unwrap(),
        Written::Absent
    );
    writer
        .put(&key, r#"{"metadata":{"uid":"u"},"spec":{"node":"node-1"}}"#)
        .await;
    assert_eq!(
        update_status(&config, "mine", status).await.unwrap(),
        Written::Stored
    );
    let stored: Value = serde_json::from_str(&writer.get(&key).await).unwrap();
    assert_eq!(
        stored,
        json!({"metadata": {"uid": "u"}, "spec": {"node": "node-1"}, "status": {"agent": 1}})
    );
    assert_eq!(
        update_status(&config, "mine", status).await.unwrap(),
        Written::Unchanged
    );
    assert_eq!(
        update_status(&config, "mine", |_| None).await.unwrap(),
        Written::Unchanged
    );
    writer.put(&key, "rubbish").await;
    assert!(update_status(&config, "mine", status).await.is_err());
    assert_eq!(writer.get(&key).await, "rubbish");
}
