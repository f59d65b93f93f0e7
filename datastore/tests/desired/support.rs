//! Small clusters in text, and the plans that come out.

use pipit_datastore::desired::{DesiredState, Environment, Session};
use pipit_datastore::manifest;
use pipit_datastore::plan;
use serde_json::Value;

/// Three nodes `n1` to `n3` on 172.31.1.0/24 and fd31:1::/64, one pool for each family.
pub(crate) const RACK: &str = "
apiVersion: projectcalico.org/v3
kind: List
items:
- {kind: Node, metadata: {name: n1, labels: {node: n1, rack: a}}, spec: {bgp: {ipv4Address: 172.31.1.11/24, ipv6Address: 'fd31:1::11/64'}}}
- {kind: Node, metadata: {name: n2, labels: {node: n2, rack: a}}, spec: {bgp: {ipv4Address: 172.31.1.12/24, ipv6Address: 'fd31:1::12/64'}}}
- {kind: Node, metadata: {name: n3, labels: {node: n3, rack: b}}, spec: {bgp: {ipv4Address: 172.31.1.13/24, ipv6Address: 'fd31:1::13/64'}}}
- {kind: IPPool, metadata: {name: pods}, spec: {cidr: 10.65.0.0/16}}
- {kind: IPPool, metadata: {name: pods6}, spec: {cidr: 'fd65::/48'}}
";

/// One more object: kind, name, spec in flow YAML.
pub(crate) fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}")
}

/// The BGPConfiguration `default`.
pub(crate) fn default(spec: &str) -> String {
    object("BGPConfiguration", "default", spec)
}

/// A BGPPeer.
pub(crate) fn peer(name: &str, spec: &str) -> String {
    object("BGPPeer", name, spec)
}

/// `RACK` and more objects; an object of `RACK` is replaced by one of its kind and name.
pub(crate) fn items(objects: &[String]) -> Vec<manifest::ManifestItem> {
    let files = [RACK.to_owned()].into_iter().chain(objects.iter().cloned());
    manifest::merge(files.map(|text| manifest::read(&text, "test.yaml")))
}

/// The plan of a node of `RACK` with more objects.
pub(crate) fn plan_for(node: &str, objects: &[String], environment: &Environment) -> DesiredState {
    let state = plan::plan(items(objects), node, environment);
    state.unwrap_or_else(|error| panic!("{error}"))
}

/// The plan of `n1`.
pub(crate) fn plan_n1(objects: &[String]) -> DesiredState {
    plan_for("n1", objects, &Environment::default())
}

/// Names of the IPv4 sessions.
pub(crate) fn names(state: &DesiredState) -> Vec<&str> {
    state
        .ipv4
        .peers
        .iter()
        .map(|session| session.name.as_str())
        .collect()
}

/// Names of the IPv6 sessions.
pub(crate) fn names6(state: &DesiredState) -> Vec<&str> {
    state
        .ipv6
        .peers
        .iter()
        .map(|session| session.name.as_str())
        .collect()
}

/// A session by name.
pub(crate) fn session<'s>(state: &'s DesiredState, name: &str) -> &'s Session {
    let found = state.sessions().find(|session| session.name == name);
    found.unwrap_or_else(|| panic!("no session {name}: {:?} {:?}", names(state), names6(state)))
}

/// Resource and field of the problems.
pub(crate) fn problems(state: &DesiredState) -> Vec<String> {
    let show =
        |problem: &pipit_datastore::desired::Problem| format!("{} {}", problem.resource, problem.field);
    state.problems.iter().map(show).collect()
}

/// A part of the plan as JSON, by pointer.
pub(crate) fn json(state: &DesiredState, pointer: &str) -> Value {
    let plan: Value = serde_json::from_str(&plan::to_json(state).unwrap()).unwrap();
    plan.pointer(pointer)
        .unwrap_or_else(|| panic!("no {pointer}"))
        .clone()
}

/// The value without fields that are null.
pub(crate) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
