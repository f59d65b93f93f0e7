//! A large cluster: 5,000 nodes, 20,000 blocks, 50 BGPPeers, 50 BGPFilters.
//!
//! `cargo bench -p pipit-datastore`. The figures to reach: first plan 300 ms, one block event to change 1 ms, any
//! other recomputation 5 ms.

use divan::{Bencher, black_box};
use pipit_datastore::backend::StoreEvent;
use pipit_datastore::cache::Cache;
use pipit_datastore::desired::{Environment, Planner};
use pipit_datastore::diff::diff;
use pipit_datastore::key::{BlockId, Key};
use pipit_datastore::manifest::{self, ManifestItem};
use pipit_datastore::plan;
use serde_json::{Value, json};

const NODES: usize = 5_000;
const BLOCKS: usize = 20_000;

fn main() {
    divan::main();
}

fn address(i: usize) -> String {
    format!("10.{}.{}.{}/16", 100 + i / 65_536, i / 256 % 256, i % 256)
}

fn node(i: usize, zone: usize) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "Node",
        "metadata": {"name": format!("node-{i}"), "labels": {"rack": format!("rack-{}", i % 50),
            "zone": format!("zone-{zone}"), "kubernetes.io/hostname": format!("node-{i}")}},
        "spec": {"bgp": {"ipv4Address": address(i), "ipv6Address": format!("fd00::{i:x}/64")}},
        "status": {"wireguardPublicKey": "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY="}})
}

fn block(i: usize) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "BlockAffinity",
        "metadata": {"name": format!("block-{i}")},
        "spec": {"node": format!("node-{}", i % NODES), "state": "confirmed", "type": "host", "deleted": "false",
            "cidr": format!("172.{}.{}.{}/26", 16 + i / 1024, i / 4 % 256, i % 4 * 64)}})
}

fn peer(i: usize, hops: u8) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": format!("peer-{i}")},
        "spec": {"nodeSelector": format!("rack == 'rack-{i}' && !has(no-bgp)"), "peerIP": format!("10.200.0.{i}"),
            "asNumber": 64600 + i, "filters": [format!("filter-{i}")], "ttlSecurity": hops}})
}

fn filter(i: usize) -> Value {
    let rule =
        |j: usize| json!({"cidr": format!("10.{j}.0.0/16"), "matchOperator": "In", "action": "Accept"});
    let rules: Vec<_> = (0..20).map(rule).collect();
    json!({"apiVersion": "projectcalico.org/v3", "kind": "BGPFilter",
        "metadata": {"name": format!("filter-{i}")}, "spec": {"importV4": rules, "exportV4": rules}})
}

fn objects() -> Vec<Value> {
    let pool = json!({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "pods"},
        "spec": {"cidr": "172.16.0.0/12"}});
    let nodes = (0..NODES).map(|i| node(i, i % 3));
    let blocks = (0..BLOCKS).map(block);
    let peers = (0..50).map(|i| peer(i, 0));
    let filters = (0..50).map(filter);
    nodes
        .chain(blocks)
        .chain(peers)
        .chain(filters)
        .chain([pool])
        .collect()
}

fn items(objects: &[Value]) -> Vec<ManifestItem> {
    let texts: Vec<_> = objects.iter().map(Value::to_string).collect();
    manifest::read(&texts.join("\n"), "bench.json")
}

#[expect(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]
fn yaml(objects: &[Value]) -> String {
    let texts: Vec<_> = objects
        .iter()
        .map(|object| serde_saphyr::to_string(object).unwrap())
        .collect();
    texts.join("---\n")
}

fn put(key: Key, value: Value) -> StoreEvent {
    StoreEvent::Put {
        key,
        value,
        origin: String::new(),
    }
}

/// A planner that has made its first plan.
#[expect(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]
fn running() -> (Cache, Planner) {
    let cache = plan::cache_of(items(&objects())).unwrap();
    let mut planner = Planner::new("node-7", Environment::default());
    assert!(planner.plan(&cache).unwrap().sessions().count() > 9_990);
    (cache, planner)
}

/// From an event to its changes, with the event alternating so that every round changes something.
#[expect(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]
fn recompute(bencher: Bencher<'_, '_>, event: impl Fn(bool) -> StoreEvent) {
    let (mut cache, mut planner) = running();
    let mut old = planner.plan(&cache).unwrap();
    let mut is_odd = false;
    bencher.bench_local(|| {
        is_odd = !is_odd;
        cache.handle(event(is_odd));
        let new = planner.plan(&cache).unwrap();
        let changes = diff(&old, &new);
        old = new;
        black_box(changes.len())
    });
}

#[divan::bench(sample_count = 20)]
#[expect(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]
fn first_plan_from_values(bencher: Bencher<'_, '_>) {
    let items = items(&objects());
    bencher.with_inputs(|| items.clone()).bench_local_values(|items| {
        let cache = plan::cache_of(items).unwrap();
        Planner::new("node-7", Environment::default())
            .plan(&cache)
            .unwrap()
    });
}

#[divan::bench(sample_count = 5)]
#[expect(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]
fn first_plan_from_json_text(bencher: Bencher<'_, '_>) {
    let texts: Vec<_> = objects().iter().map(Value::to_string).collect();
    let text = texts.join("\n");
    bencher.bench_local(|| {
        let items = manifest::read(&text, "bench.json");
        plan::plan(items, "node-7", &Environment::default()).unwrap()
    });
}

#[divan::bench(sample_count = 5)]
#[expect(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]
fn first_plan_from_yaml_text(bencher: Bencher<'_, '_>) {
    let text = yaml(&objects());
    bencher.bench_local(|| {
        let items = manifest::read(&text, "bench.yaml");
        plan::plan(items, "node-7", &Environment::default()).unwrap()
    });
}

#[divan::bench(sample_count = 50)]
#[expect(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]
fn after_own_block_event(bencher: Bencher<'_, '_>) {
    let key = Key::BlockAffinity {
        node: "node-7".to_owned(),
        id: BlockId::Cidr("172.30.0.0/26".parse().unwrap()),
    };
    recompute(bencher, |is_odd| match is_odd {
        true => put(key.clone(), json!({"state": "confirmed"})),
        false => StoreEvent::Delete { key: key.clone() },
    });
}

#[divan::bench(sample_count = 50)]
fn after_heartbeat_of_a_node(bencher: Bencher<'_, '_>) {
    let (mut cache, _) = running();
    bencher.bench_local(|| {
        let event = put(Key::Node("node-9".to_owned()), node(9, 0));
        assert!(cache.handle(event).is_nothing());
    });
}

#[divan::bench(sample_count = 50)]
fn after_label_event(bencher: Bencher<'_, '_>) {
    recompute(bencher, |is_odd| {
        put(Key::Node("node-9".to_owned()), node(9, 5 + usize::from(is_odd)))
    });
}

#[divan::bench(sample_count = 50)]
fn after_address_event(bencher: Bencher<'_, '_>) {
    recompute(bencher, |is_odd| {
        let mut node = node(9, 0);
        node["spec"]["bgp"]["ipv4Address"] =
            Value::from(if is_odd { "10.99.0.1/16" } else { "10.99.0.2/16" });
        put(Key::Node("node-9".to_owned()), node)
    });
}

#[divan::bench(sample_count = 50)]
fn after_peer_event(bencher: Bencher<'_, '_>) {
    recompute(bencher, |is_odd| {
        put(Key::BgpPeer("peer-7".to_owned()), peer(7, 1 + u8::from(is_odd)))
    });
}
