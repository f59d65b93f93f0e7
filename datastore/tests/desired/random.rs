//! Random changes: what a planner keeps from one event to the next never makes another plan than the resources do.

use std::collections::{BTreeMap, BTreeSet};

use pipit_datastore::backend::StoreEvent;
use pipit_datastore::cache::Cache;
use pipit_datastore::desired::{
    DesiredState, Environment, Planner, Problem, desired, node_problems, object_problems,
};
use pipit_datastore::diff::diff;
use pipit_datastore::key::Key;
use pipit_datastore::manifest::{self, ManifestItem};
use serde_json::Value;

use crate::support::object;

/// A generator without a seed of its own: a failing run can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// Objects, each with what may stand in its `spec`.
const OBJECTS: [(&str, &str, &[&str]); 24] = [
    (
        "Node",
        "n2",
        &[
            "{bgp: {ipv4Address: 10.0.0.2/24, ipv6Address: 'fd00::2/64'}}",
            "{}",
            "{bgp: {ipv4Address: 10.0.0.22/24, asNumber: 64600}, wireguard: {interfaceIPv4Address: 10.9.9.2}}",
        ],
    ),
    (
        "Node",
        "n3",
        &[
            "{bgp: {ipv4Address: 10.0.0.3/24, routeReflectorClusterID: 1.0.0.1}}",
            "{bgp: {ipv4Address: 10.0.0.3/24}}",
            "{bgp: {ipv4Address: 10.0.0.2/24}}",
        ],
    ),
    (
        "Node",
        "n4",
        &[
            "{bgp: {ipv6Address: 'fd00::4/64', asNumber: 64601}}",
            "{bgp: {ipv4Address: 10.0.0.4}}",
        ],
    ),
    (
        "BGPConfiguration",
        "default",
        &[
            "{nodeToNodeMeshEnabled: false}",
            "{asNumber: 64600, listenPort: 1790}",
            "{nodeMeshPassword: {secretKeyRef: {name: s, key: k}}, nodeMeshMaxRestartTime: 9s}",
            "{programClusterRoutes: Enabled, serviceClusterIPs: [{cidr: 10.96.0.0/12}], bindMode: NodeIP}",
            "{ipv4NormalRoutePriority: 7, ignoredInterfaces: [eth9], prefixAdvertisements: \
          [{cidr: 10.65.0.0/16, communities: ['1:2']}]}",
        ],
    ),
    (
        "BGPConfiguration",
        "node.n1",
        &["{listenPort: 1791}", "{logSeverityScreen: Debug}"],
    ),
    (
        "BGPConfiguration",
        "node.n2",
        &["{listenPort: 1792}", "{listenPort: 1793}"],
    ),
    (
        "BGPPeer",
        "a",
        &[
            "{peerIP: 10.0.0.2, asNumber: 64512}",
            "{peerIP: '10.0.0.1:1791', asNumber: 64512}",
            "{peerSelector: \"rack == 'b'\", filters: [f, g]}",
        ],
    ),
    (
        "BGPPeer",
        "b",
        &[
            "{nodeSelector: all(), peerSelector: has(rack)}",
            "{nodeSelector: \"rack == 'a'\", peerIP: 10.0.0.3, asNumber: 64512, reversePeering: Manual}",
        ],
    ),
    (
        "BGPPeer",
        "c",
        &[
            "{node: n1, peerIP: 10.0.0.9, password: {secretKeyRef: {name: s, key: k}}, filters: [f]}",
            "{node: n3, peerSelector: all(), reachableBy: 10.0.0.254}",
        ],
    ),
    (
        "BGPPeer",
        "d",
        &["{localWorkloadSelector: all(), asNumber: 65010, filters: [g]}"],
    ),
    (
        "BGPFilter",
        "f",
        &[
            "{importV4: [{action: Reject}]}",
            "{exportV4: [{action: Accept}], importV6: [{action: Accept}]}",
        ],
    ),
    (
        "BGPFilter",
        "g",
        &["{exportV4: [{interface: eth0, action: Reject}]}", "{}"],
    ),
    (
        "IPPool",
        "p",
        &[
            "{cidr: 10.65.0.0/16}",
            "{cidr: 10.65.0.0/16, ipipMode: CrossSubnet}",
        ],
    ),
    (
        "IPPool",
        "q",
        &[
            "{cidr: 10.65.0.0/16, disableBGPExport: true}",
            "{cidr: 'fd65::/48', vxlanMode: Always}",
        ],
    ),
    (
        "BlockAffinity",
        "x",
        &[
            "{node: n1, cidr: 10.65.1.0/26}",
            "{node: n1, cidr: 10.65.2.0/26, state: pendingDeletion}",
        ],
    ),
    (
        "BlockAffinity",
        "y",
        &[
            "{node: n1, cidr: 10.65.1.0/26, state: pending}",
            "{node: n1, cidr: 10.65.9.9/32}",
        ],
    ),
    ("BlockAffinity", "z", &["{node: n2, cidr: 10.65.3.0/26}"]),
    ("Secret", "s", &["{k: one}", "{k: two}", "{other: one}"]),
    (
        "Service",
        "w",
        &["{clusterIP: 10.96.0.1, externalTrafficPolicy: Local}"],
    ),
    ("EndpointSlice", "w-1", &["n1", "n2"]),
    (
        "Node",
        "n1",
        &[
            "{bgp: {ipv4Address: 10.0.0.1/24, ipv6Address: 'fd00::1/64'}}",
            "{bgp: {ipv4Address: 10.0.0.1/24, routeReflectorClusterID: 1.0.0.1}}",
            "{bgp: {ipv4Address: 10.0.0.7/24, ipv6Address: 'fd00::1/64'}}",
            "{bgp: {ipv6Address: 'fd00::2/64'}}",
            "{bgp: {ipv4Address: 10.0.0.2/24, asNumber: 64601}}",
        ],
    ),
    (
        "Node",
        "n5",
        &[
            "{bgp: {ipv4Address: 10.0.0.5/24}}",
            "{bgp: {ipv4Address: 10.0.0.2/24, ipv6Address: 'fd00::4/64'}}",
            "{bgp: {ipv4Address: 10.0.0.1/24, ipv6Address: 'fd00::2/64', asNumber: 64600}}",
            "{bgp: {ipv4Address: 10.0.0.3/24, routeReflectorClusterID: 1.0.0.2}}",
        ],
    ),
    (
        "Node",
        "n6",
        &[
            "{bgp: {ipv4Address: 10.0.0.3/24, ipv6Address: 'fd00::4/64'}}",
            "{bgp: {ipv4Address: 10.0.0.5/24, ipv6Address: 'fd00::1/64', asNumber: 64600}}",
            "{bgp: {ipv4Address: 10.0.0.2/24}}",
        ],
    ),
    (
        "BGPConfiguration",
        "node.n5",
        &["{listenPort: 1792}", "{listenPort: 1794}", "{}"],
    ),
];

fn text(kind: &str, name: &str, spec: &str, labels: &str) -> String {
    match kind {
        "Secret" => format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: kube-system}}, stringData: {spec}}}"
        ),
        "Service" => format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {spec}}}"),
        "EndpointSlice" => format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}, labels: \
             {{kubernetes.io/service-name: w}}}}, addressType: IPv4, endpoints: [{{nodeName: {spec}}}]}}"
        ),
        "Node" => object(kind, &format!("{name}, labels: {{{labels}}}"), spec),
        _ => object(kind, name, spec),
    }
}

/// What is there: the key, the newest readable version, and whether that was overwritten with nonsense.
type Present = BTreeMap<usize, (Key, Value, bool)>;

fn put((key, value, _): &(Key, Value, bool)) -> StoreEvent {
    StoreEvent::Put {
        key: key.clone(),
        value: value.clone(),
        origin: key.to_string(),
    }
}

fn nonsense((key, ..): &(Key, Value, bool)) -> StoreEvent {
    StoreEvent::Unreadable {
        key: Some(key.clone()),
        origin: key.to_string(),
        error: "not JSON".to_owned(),
    }
}

fn snapshot(objects: impl Iterator<Item = StoreEvent>) -> Vec<StoreEvent> {
    let done = StoreEvent::SnapshotDone { revision: 1 };
    std::iter::once(StoreEvent::Begin)
        .chain(objects)
        .chain([done])
        .collect()
}

/// A cache that has seen each object once, and what became of it.
fn fresh(present: &Present) -> Cache {
    let mut cache = Cache::new();
    let broken = present.values().filter(|(.., is_broken)| *is_broken);
    for event in snapshot(present.values().map(put))
        .into_iter()
        .chain(broken.map(nonsense))
    {
        cache.handle(event);
    }
    cache
}

/// One change of what is there, as events.
fn step(dice: &mut Dice, present: &mut Present) -> Vec<StoreEvent> {
    let index = dice.roll(OBJECTS.len());
    let (kind, name, specs) = OBJECTS[index];
    let event = match (present.get_mut(&index), dice.roll(8)) {
        (Some(object), 0) => {
            object.2 = true;
            nonsense(object)
        }
        (Some((key, ..)), 1 | 2) if name != "n1" => {
            let key = key.clone();
            present.remove(&index);
            StoreEvent::Delete { key }
        }
        _ => {
            let labels = ["", "rack: a", "rack: b", "rack: a, rr: yes"][dice.roll(4)];
            let text = text(kind, name, specs[dice.roll(specs.len())], labels);
            let Some(ManifestItem::Object { key, value, .. }) = manifest::read(&text, "random").pop() else {
                panic!("{text}");
            };
            let object = (key, value, false);
            let event = put(&object);
            present.insert(index, object);
            event
        }
    };
    // What etcd has is told again from the beginning, and with it what went or came meanwhile.
    match dice.roll(10) {
        0 => snapshot(present.values().map(|object| match object.2 {
            true => nonsense(object),
            false => put(object),
        })),
        _ => vec![event],
    }
}

/// The plan without what is only said.
fn deeds(plan: &DesiredState) -> Value {
    let mut plan: Value = serde_json::from_str(&pipit_datastore::plan::to_json(plan).unwrap()).unwrap();
    for said in ["problems", "notes"] {
        plan[said].take();
    }
    plan
}

fn places(problems: &[Problem]) -> BTreeSet<(&str, &str)> {
    let places = problems.iter();
    places
        .map(|problem| (problem.resource.as_str(), problem.field.as_str()))
        .collect()
}

#[test]
fn after_any_change_the_plan_is_the_one_of_the_resources() {
    for seed in 1..=32 {
        let mut dice = Dice(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let mut cache = Cache::new();
        let mut present = Present::new();
        let mut planner = Planner::new("n1", Environment::default());
        let mut last: Option<DesiredState> = None;
        for event in snapshot(std::iter::empty()) {
            cache.handle(event);
        }
        for number in 0..150 {
            for event in step(&mut dice, &mut present) {
                cache.handle(event);
            }
            let wanted = desired(&fresh(&present), "n1", &Environment::default());
            let found = planner.plan(&cache);
            assert_eq!(found, wanted, "seed {seed}, step {number}");
            let Ok(plan) = found else { continue };
            // `pipit check` finds the same without making plans.
            let mut apart = object_problems(&cache, Some("n1"));
            apart.extend(node_problems(&cache, "n1", &Environment::default()).unwrap());
            assert_eq!(
                places(&plan.problems),
                places(&apart),
                "seed {seed}, step {number}"
            );
            if let Some(last) = &last
                && diff(last, &plan).is_empty()
            {
                assert_eq!(
                    deeds(last),
                    deeds(&plan),
                    "no difference, seed {seed}, step {number}"
                );
            }
            last = Some(plan);
        }
    }
}
