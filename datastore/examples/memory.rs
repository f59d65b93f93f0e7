//! What a large cluster costs in memory: 5,000 nodes, 20,000 blocks, 50 BGPPeers, 50 BGPFilters.
//!
//! `cargo run --release -p pipit-datastore --example memory [etcd|files]`: resident memory before, with everything
//! that the datastore's task keeps, and the peak. `etcd` has the node's own blocks only, as the back-end does;
//! `files` has everybody's. The figure to reach: 40 MiB.

use std::process::ExitCode;
use std::time::Instant;

use pipit_datastore::backend::StoreEvent;
use pipit_datastore::cache::Cache;
use pipit_datastore::desired::{Environment, Planner};
use pipit_datastore::guard::Guard;
use pipit_datastore::key::{BlockId, Key};
use pipit_datastore::record::Record;
use serde_json::{Value, json};

const NODES: usize = 5_000;
const BLOCKS: usize = 20_000;
const NODE: &str = "node-7";

fn node(i: usize) -> (Key, String) {
    let address = format!("10.{}.{}.{}/16", 100 + i / 65_536, i / 256 % 256, i % 256);
    let name = format!("node-{i}");
    let value = json!({"kind": "Node", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": name, "uid": format!("a2c2f4f8-52a5-4a67-8f7b-{i:012}"),
            "creationTimestamp": "2026-08-22T10:14:59Z",
            "labels": {"rack": format!("rack-{}", i % 50), "zone": format!("zone-{}", i % 3),
                "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name},
            "annotations": {"projectcalico.org/kube-labels": format!("{{\"kubernetes.io/hostname\":\"{name}\"}}")}},
        "spec": {"bgp": {"ipv4Address": address, "ipv6Address": format!("fd00::{i:x}/64")},
            "addresses": [{"address": address, "type": "CalicoNodeIP"}],
            "orchRefs": [{"nodeName": name, "orchestrator": "k8s"}]},
        "status": {"wireguardPublicKey": "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY="}});
    (Key::Node(name), value.to_string())
}

fn block(i: usize) -> Option<(Key, String)> {
    let cidr = format!("172.{}.{}.{}/26", 16 + i / 1024, i / 4 % 256, i % 4 * 64);
    let key = Key::BlockAffinity {
        node: format!("node-{}", i % NODES),
        id: BlockId::Cidr(cidr.parse().ok()?),
    };
    Some((key, r#"{"state":"confirmed","deleted":false}"#.to_owned()))
}

fn peer(i: usize) -> (Key, String) {
    let spec = json!({"nodeSelector": format!("rack == 'rack-{i}' && !has(no-bgp)"), "asNumber": 64600 + i,
        "peerIP": format!("10.200.0.{i}"), "filters": [format!("filter-{i}")]});
    (
        Key::BgpPeer(format!("peer-{i}")),
        json!({ "spec": spec }).to_string(),
    )
}

fn filter(i: usize) -> (Key, String) {
    let rule =
        |j: usize| json!({"cidr": format!("10.{j}.0.0/16"), "matchOperator": "In", "action": "Accept"});
    let rules: Vec<_> = (0..20).map(rule).collect();
    let value = json!({"spec": {"importV4": rules, "exportV4": rules}});
    (Key::BgpFilter(format!("filter-{i}")), value.to_string())
}

fn objects(with_all_blocks: bool) -> Vec<(Key, String)> {
    let pool = (
        Key::IpPool("pods".into()),
        json!({"spec": {"cidr": "172.16.0.0/12"}}).to_string(),
    );
    let is_ours = |key: &Key| match key {
        Key::BlockAffinity { node, .. } => with_all_blocks || node == NODE,
        _ => true,
    };
    let nodes = (0..NODES).map(node);
    let others = (0..50).map(peer).chain((0..50).map(filter)).chain([pool]);
    let blocks = (0..BLOCKS).filter_map(block);
    nodes
        .chain(others)
        .chain(blocks)
        .filter(|(key, _)| is_ours(key))
        .collect()
}

/// A line of `/proc/self/status`, in KiB.
fn memory(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn main() -> ExitCode {
    match run() {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

fn run() -> Option<()> {
    let with_all_blocks = std::env::args().any(|argument| argument == "files");
    let before = memory("VmRSS")?;
    let (mut cache, mut record, mut guard) = (Cache::new(), Record::new(NODE), Guard::new(None));
    let mut planner = Planner::new(NODE, Environment::default());
    let since = Instant::now();
    let mut take = |event: StoreEvent| {
        for event in guard.handle(since, event) {
            let note = record.note(&event);
            cache.handle(event);
            record.take(note, &cache);
        }
    };
    // As the back-end does: the whole listing as it came, then one object after the other.
    let put = |(key, text): (Key, String)| {
        let value: Value = serde_json::from_str(&text).ok()?;
        let origin = key.to_string();
        Some(StoreEvent::Put { key, value, origin })
    };
    let listing = objects(with_all_blocks);
    take(StoreEvent::Begin);
    listing.into_iter().filter_map(put).for_each(&mut take);
    take(StoreEvent::SnapshotDone { revision: 1 });
    let plan = planner.plan(&cache).ok()?;
    let after = memory("VmRSS")?;
    let mut out = std::io::stdout();
    let text = format!(
        "{} sessions, {} objects recorded, first plan after {:?}: {} KiB before, {} KiB more kept, {} KiB peak\n",
        plan.sessions().count(),
        record.len(),
        since.elapsed(),
        before,
        after - before,
        memory("VmHWM")?,
    );
    std::io::Write::write_all(&mut out, text.as_bytes()).ok()
}
