//! What single events make of a plan that is in force.

use std::sync::Arc;
use std::time::Instant;

use pipit_bgp::session::config::Secret;
use pipit_datastore::backend::StoreEvent;
use pipit_datastore::cache::Cache;
use pipit_datastore::desired::{DesiredState, Environment, Planner};
use pipit_datastore::key::Key;
use pipit_datastore::manifest::{self, ManifestItem};
use pipit_datastore::model::{EndpointStatus, SecretRef};
use pipit_datastore::plan;
use serde_json::{Value, json};

use crate::support::{default, items, names, object, peer, session};

struct Live {
    cache: Cache,
    planner: Planner,
}

impl Live {
    fn new(objects: &[String]) -> Live {
        Live {
            cache: plan::cache_of(items(objects)).unwrap(),
            planner: Planner::new("n1", Environment::default()),
        }
    }

    fn plan(&mut self) -> DesiredState {
        self.planner.plan(&self.cache).unwrap()
    }

    fn put(&mut self, text: &str) {
        for item in manifest::read(text, "live.yaml") {
            let ManifestItem::Object { key, value, origin } = item else {
                panic!("{item:?}");
            };
            self.cache.handle(StoreEvent::Put { key, value, origin });
        }
    }
}

#[test]
fn c013_selectors_as_etcd_stores_them() {
    let mut live = Live::new(&[]);
    let stored = r#"{"kind":"BGPPeer","apiVersion":"projectcalico.org/v3","metadata":{"name":"tor"},"spec":{"nodeSelector":"rack == 'a' \u0026\u0026 !has(no-bgp)","peerIP":"10.9.0.1","asNumber":64601}}"#;
    let value: Value = serde_json::from_str(stored).unwrap();
    let (key, origin) = (Key::BgpPeer("tor".into()), "etcd".to_owned());
    live.cache.handle(StoreEvent::Put { key, value, origin });
    let plan = live.plan();
    assert!(plan.sessions().any(|session| session.name == "Node_10_9_0_1"));
}

#[test]
fn c087_a_thousand_sessions_with_passwords_are_planned_at_once() {
    let password = |n: usize| format!("{{secretKeyRef: {{name: s{n}, key: k}}}}");
    let tor = |n: usize| {
        let spec = format!(
            "{{node: n1, peerIP: 10.9.{}.{}, asNumber: 64601, password: {}}}",
            n / 250,
            n % 250 + 1,
            password(n)
        );
        peer(&format!("tor-{n}"), &spec)
    };
    let peers: Vec<String> = (0..1_000).map(tor).collect();
    let mut live = Live::new(&peers);
    let held = |plan: &DesiredState| plan.sessions().filter(|session| session.held.is_some()).count();
    assert_eq!(held(&live.plan()), 1_000);
    let secrets = (0..1_000).map(|n| {
        let place = SecretRef {
            name: format!("s{n}"),
            key: "k".into(),
        };
        (place, Secret::new(format!("secret-{n}")))
    });
    let since = Instant::now();
    live.planner.set_environment(Environment {
        secrets: secrets.collect(),
        ..Environment::default()
    });
    assert_eq!(held(&live.plan()), 0);
    // Nothing waits for any Secret: Calico's half a second for each would be eight minutes.
    assert!(since.elapsed().as_secs() < 5, "{:?}", since.elapsed());
}

#[test]
fn c096_a_file_of_a_plain_pod_computes_nothing_anew() {
    let mut live = Live::new(&[]);
    let before = live.plan();
    let plain =
        r#"{"ifaceName":"cali1","mac":"aa:bb:cc:dd:ee:ff","ipv4Nets":["10.65.1.7/32"],"bgpPeerName":""}"#;
    let endpoints: Vec<EndpointStatus> = EndpointStatus::parse(plain).into_iter().collect();
    assert_eq!(endpoints, []);
    live.planner.set_environment(Environment {
        endpoints,
        ..Environment::default()
    });
    let after = live.plan();
    assert!(Arc::ptr_eq(&before.ipv4.peers, &after.ipv4.peers));
}

#[test]
fn c166_ipv6_pools_are_skipped_or_written_and_never_tunnelled() {
    let pools = [
        object("IPPool", "six-vxlan", "{cidr: 'fd66::/48', vxlanMode: Always}"),
        object("IPPool", "six-plain", "{cidr: 'fd67::/48'}"),
        default("{programClusterRoutes: Enabled}"),
    ];
    let plan = Live::new(&pools).plan();
    let rules = serde_json::to_value(&plan.ipv6.kernel.pools).unwrap();
    let expected = json!([
        {"cidr": "fd65::/48", "action": "install"},
        {"cidr": "fd66::/48", "action": "skip"},
        {"cidr": "fd67::/48", "action": "install"},
    ]);
    assert_eq!(rules, expected);
}

#[test]
fn c192_the_exclusion_label_acts_live() {
    let mut live = Live::new(&[default("{serviceClusterIPs: [{cidr: 10.96.0.0/12}]}")]);
    assert_eq!(live.plan().ipv4.blackholes.len(), 1);
    let label = "{'node.kubernetes.io/exclude-from-external-load-balancers': 'true'}";
    let node = |labels: &str| {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: Node, metadata: {{name: n1, labels: {labels}}}, \
             spec: {{bgp: {{ipv4Address: 172.31.1.11/24}}}}}}"
        )
    };
    live.put(&node(label));
    let plan = live.plan();
    assert!(plan.ipv4.blackholes.is_empty() && plan.ipv4.kernel.skip_services.len() == 1);
    live.put(&node("{}"));
    assert_eq!(live.plan().ipv4.blackholes.len(), 1);
}

#[test]
fn c195_l21_a_service_whose_last_slice_goes_is_withdrawn() {
    let mut live = Live::new(&[default("{serviceClusterIPs: [{cidr: 10.96.0.0/12}]}")]);
    live.put(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.9, externalTrafficPolicy: Local}}",
    );
    live.put(
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x, labels: \
         {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: [{nodeName: n1, conditions: {ready: true}}]}",
    );
    let host = "10.96.0.9/32".parse().unwrap();
    assert!(live.plan().ipv4.blackholes.contains(&host));
    let key = Key::EndpointSlice {
        namespace: "default".into(),
        name: "web-x".into(),
    };
    live.cache.handle(StoreEvent::Delete { key });
    assert!(!live.plan().ipv4.blackholes.contains(&host));
}

#[test]
fn c198_l11_what_arrives_together_acts_together() {
    let mut live = Live::new(&[]);
    let before = live.plan();
    // A peer that names a filter which comes after it: between the two nothing is asked, so nothing acts.
    live.put(&peer(
        "tor",
        "{peerIP: 10.9.0.1, asNumber: 64601, filters: [all]}",
    ));
    live.put(&object("BGPFilter", "all", "{importV4: [{action: Reject}]}"));
    live.put(&object("IPPool", "more", "{cidr: 10.99.0.0/16}"));
    let after = live.plan();
    assert!(after.problems.is_empty());
    assert_eq!(
        session(&after, "Global_10_9_0_1").import_filters[..],
        ["all".to_owned()]
    );
    assert_ne!(before.ipv4.export, after.ipv4.export);
}

#[test]
fn an_event_moves_the_sessions_of_its_family_alone_and_a_clash_ends_with_its_cause() {
    let mut live = Live::new(&[]);
    let node = |v4: &str| {
        let spec = format!("{{bgp: {{ipv4Address: {v4}/24, ipv6Address: 'fd31:1::13/64'}}}}");
        object("Node", "n3", &spec)
    };
    let before = live.plan();
    live.put(&node("172.31.1.12"));
    let clashing = live.plan();
    assert_eq!(names(&clashing), ["Mesh_172_31_1_12"]);
    assert_eq!(clashing.clashes.len(), 1);
    assert!(Arc::ptr_eq(&before.ipv6.peers, &clashing.ipv6.peers));
    live.put(&node("172.31.1.14"));
    let after = live.plan();
    assert_eq!(names(&after), ["Mesh_172_31_1_12", "Mesh_172_31_1_14"]);
    assert_eq!(after.clashes, []);
    assert!(Arc::ptr_eq(&before.ipv6.peers, &after.ipv6.peers));
    let kept = |plan: &DesiredState| Arc::clone(&plan.ipv4.peers[0]);
    assert!(Arc::ptr_eq(&kept(&clashing), &kept(&after)), "n2's");
    live.put(&node("172.31.1.13"));
    assert_eq!(live.plan(), before);
}
