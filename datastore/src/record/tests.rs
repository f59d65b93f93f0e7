use super::*;
use crate::desired::{Environment, desired};
use crate::key::{BlockId, RESOURCES};
use serde_json::json;

struct Bench {
    cache: Cache,
    record: Record,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            cache: Cache::new(),
            record: Record::new("n1"),
        }
    }

    fn see(&mut self, event: StoreEvent) {
        let note = self.record.note(&event);
        self.cache.handle(event);
        self.record.take(note, &self.cache);
    }

    fn put(&mut self, key: Key, value: Value) {
        let origin = format!("{RESOURCES}{key}");
        self.see(StoreEvent::Put { key, value, origin });
    }

    /// What a cache that is built from the record makes of the node.
    fn rebuilt(&self) -> String {
        let bytes = encode(&self.record, &[], 7);
        let (_, record) = decode(&bytes).unwrap();
        let mut cache = Cache::new();
        for event in record.events(7) {
            cache.handle(event);
        }
        plan(&cache)
    }
}

fn plan(cache: &Cache) -> String {
    format!("{:#?}", desired(cache, "n1", &Environment::default()).unwrap())
}

fn node(name: &str, address: &str) -> (Key, Value) {
    let value = json!({"kind": "Node", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": name, "uid": "1-2-3", "labels": {"rack": "r1"},
            "annotations": {"projectcalico.org/kube-labels": "{}", "pipit.io/originate": "192.0.2.0/24"}},
        "spec": {"bgp": {"ipv4Address": address}, "addresses": [{"address": address}]},
        "status": {"wireguardPublicKey": "key", "podCIDRs": ["10.77.0.0/24"]}});
    (Key::Node(name.into()), value)
}

fn peer(name: &str, spec: Value) -> (Key, Value) {
    (
        Key::BgpPeer(name.into()),
        json!({"metadata": {"name": name}, "spec": spec}),
    )
}

fn block(node: &str, cidr: &str) -> (Key, Value) {
    let id = BlockId::Cidr(cidr.parse().unwrap());
    let node = node.to_owned();
    (Key::BlockAffinity { node, id }, Value::Null)
}

/// Two nodes, a peer, a filter, a pool, and blocks of both nodes.
fn filled() -> Bench {
    let mut bench = Bench::new();
    bench.see(StoreEvent::Begin);
    let filter = json!({"spec": {"importV4": [{"action": "Reject"}], "exportV6": [{"cidr": "fd00::/8",
        "matchOperator": "In", "action": "Accept"}]}});
    let service = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "10.96.0.9",
        "externalTrafficPolicy": "Cluster"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}});
    for (key, value) in [
        node("n1", "10.0.0.1/24"),
        node("n2", "10.0.0.2/24"),
        peer(
            "tor",
            json!({"peerIP": "10.9.0.1", "asNumber": 64601, "filters": ["all"]}),
        ),
        (Key::BgpFilter("all".into()), filter),
        (
            Key::IpPool("pods".into()),
            json!({"spec": {"cidr": "10.244.0.0/16"}}),
        ),
        block("n1", "10.244.1.0/26"),
        block("n2", "10.244.2.0/26"),
        (
            Key::Service {
                namespace: "default".into(),
                name: "web".into(),
            },
            service,
        ),
    ] {
        bench.put(key, value);
    }
    bench.see(StoreEvent::SnapshotDone { revision: 5 });
    bench
}

#[test]
fn a_cache_built_from_it_makes_the_same_plan() {
    let bench = filled();
    assert_eq!(bench.rebuilt(), plan(&bench.cache));
    assert!(bench.rebuilt().contains("10.9.0.1") && bench.rebuilt().contains("10.244.1.0/26"));
    // Without affinities a node's pod CIDRs are its blocks.
    let (mut bench, (key, _)) = (filled(), block("n1", "10.244.1.0/26"));
    bench.see(StoreEvent::Delete { key });
    assert_eq!(bench.rebuilt(), plan(&bench.cache));
    assert!(bench.rebuilt().contains("10.77.0.0/24"));
}

#[test]
fn what_is_in_force_is_kept_beside_what_cannot_be_honoured() {
    let mut bench = filled();
    let (key, _) = peer("tor", Value::Null);
    // A port that is none: the session stays as it was, and the problem is shown.
    let (_, broken) = peer(
        "tor",
        json!({"peerIP": "10.9.0.1:0", "asNumber": 64601, "filters": []}),
    );
    bench.put(key.clone(), broken);
    assert_eq!(bench.rebuilt(), plan(&bench.cache));
    assert!(bench.rebuilt().contains("spec.peerIP"));
    let error = "not JSON".to_owned();
    bench.see(StoreEvent::Unreadable {
        key: Some(key.clone()),
        origin: key.to_string(),
        error,
    });
    let sessions = |cache: &Cache| {
        let plan = desired(cache, "n1", &Environment::default()).unwrap();
        format!("{:#?}", plan.ipv4.peers)
    };
    let mut cache = Cache::new();
    bench.record.events(1).into_iter().for_each(|event| {
        cache.handle(event);
    });
    assert_eq!(sessions(&cache), sessions(&bench.cache));
    // The same in a snapshot: last good versions survive a listing.
    bench.see(StoreEvent::Begin);
    let (node_key, value) = node("n1", "10.0.0.1/24");
    bench.put(node_key, value);
    let error = "not JSON".to_owned();
    bench.see(StoreEvent::Unreadable {
        key: Some(key.clone()),
        origin: key.to_string(),
        error,
    });
    bench.see(StoreEvent::SnapshotDone { revision: 9 });
    assert_eq!(bench.record.len(), 2);
    assert!(bench.rebuilt().contains("10.9.0.1"));
}

#[test]
fn only_what_bgp_looks_at_changes_its_version() {
    let mut bench = filled();
    let version = bench.record.version();
    let (key, mut value) = node("n2", "10.0.0.2/24");
    value["status"]["wireguardPublicKey"] = "another".into();
    value["metadata"]["uid"] = "4-5-6".into();
    value["spec"]["addresses"] = json!([]);
    bench.put(key.clone(), value.clone());
    let (other, claimed) = block("n2", "10.244.3.0/26");
    bench.put(other, claimed);
    let secret = Key::Secret {
        namespace: "kube-system".into(),
        name: "bgp".into(),
    };
    bench.put(secret, json!({"stringData": {"key": "hunter2"}}));
    assert_eq!(bench.record.version(), version);
    value["metadata"]["labels"]["rack"] = "r2".into();
    bench.put(key.clone(), value);
    assert_eq!(bench.record.version(), version + 1);
    bench.see(StoreEvent::Delete { key });
    assert_eq!(bench.record.version(), version + 2);
    let text = String::from_utf8(encode(&bench.record, &[], 1)).unwrap();
    assert!(
        !text.contains("hunter2") && !text.contains("10.244.3.0"),
        "{text}"
    );
}

#[test]
fn bytes_that_are_not_what_was_written_are_told_apart() {
    let bench = filled();
    let source = ["http://10.0.0.1:2379".to_owned()];
    let bytes = encode(&bench.record, &source, 42);
    let (header, record) = decode(&bytes).unwrap();
    assert_eq!(
        (header.node.as_str(), header.source.as_slice(), header.revision),
        ("n1", &source[..], 42)
    );
    assert_eq!(record.len(), bench.record.len());
    assert_eq!(decode(b"").unwrap_err(), RecordError::NotOurs);
    assert_eq!(
        decode(b"{\"format\":\"other\"}\n").unwrap_err(),
        RecordError::NotOurs
    );
    let text = String::from_utf8(bytes.clone()).unwrap();
    let later = text.replacen("\"version\":1", "\"version\":2", 1);
    assert_eq!(
        decode(later.as_bytes()).unwrap_err(),
        RecordError::OtherVersion { found: 2 }
    );
    let start = text.find('\n').unwrap() + 1;
    for damaged in [&bytes[..bytes.len() - 1], &[&bytes[..], b"x"].concat(), &{
        let mut bytes = bytes.clone();
        bytes[start + 20] ^= 1;
        bytes
    }] {
        assert_eq!(decode(damaged).unwrap_err(), RecordError::Damaged);
    }
    // No prefix of it, and nothing with a flipped bit, is taken for the record or panics.
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut]).is_err());
    }
}
