//! Node: a host of the cluster.

use ipnet::IpNet;
use pipit_bgp::{Asn, ClusterId, Family, FamilyMap};
use serde_json::Value;

use super::Resource;
use super::annotations::NodeExtensions;
use super::fields::{Fields, Parsed, Problems};
use super::scalar::{self, Read, ScalarError, show};
use crate::selector::Labels;

/// The label that takes a node out of service advertisement.
const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What BGP needs to know of a node.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Node {
    /// `metadata.labels`: all that node and peer selectors look at.
    pub labels: Labels,
    /// BGP address with host bits and the length of the node's subnet; `None`: no BGP in that family.
    pub addresses: FamilyMap<Option<IpNet>>,
    /// Own AS; `None`: the cluster's.
    pub asn: Option<Asn>,
    /// `Some` on a route reflector.
    pub cluster_id: Option<ClusterId>,
    /// Whether the node has a WireGuard address of the family.
    pub has_wireguard: FamilyMap<bool>,
    /// `status.podCIDRs`, masked and sorted; entries that are no prefix are left out.
    pub pod_cidrs: Vec<IpNet>,
    /// `pipit.io/` annotations.
    pub extensions: NodeExtensions,
}

impl Node {
    /// Whether the node announces no service addresses.
    pub fn is_excluded_from_services(&self) -> bool {
        self.labels
            .get(EXCLUDE_LABEL)
            .is_some_and(|value| value == "true")
    }
}

impl Resource for Node {
    fn parse(value: &Value) -> Parsed<Self> {
        let mut problems = Problems::default();
        let root = Fields::root(value, "the node counts as absent");
        let spec = root.object("spec", &mut problems);
        let bgp = spec.object("bgp", &mut problems);
        let addresses = FamilyMap {
            ipv4: bgp.read("ipv4Address", &mut problems, node_address(Family::Ipv4Unicast)),
            ipv6: bgp.read("ipv6Address", &mut problems, node_address(Family::Ipv6Unicast)),
        };
        let asn = bgp.read("asNumber", &mut problems, scalar::asn).flatten();
        let cluster_id = bgp.read("routeReflectorClusterID", &mut problems, cluster_id);
        let is_readable = problems.len() == 0;
        // Only whether there is a WireGuard address matters.
        let wireguard = spec.object("wireguard", &mut problems);
        let node = Node {
            labels: labels(&root),
            addresses,
            asn,
            cluster_id,
            has_wireguard: FamilyMap {
                ipv4: wireguard.value("interfaceIPv4Address").is_some(),
                ipv6: wireguard.value("interfaceIPv6Address").is_some(),
            },
            pod_cidrs: pod_cidrs(value),
            extensions: NodeExtensions::read(&root, &mut problems),
        };
        Parsed {
            object: is_readable.then_some(node),
            problems: problems.0,
        }
    }
}

/// `a.b.c.d/len` with host bits; a plain address is a /32 or /128.
fn node_address(family: Family) -> impl Fn(&Value) -> Read<IpNet> {
    move |value| {
        let net = scalar::prefix(value)
            .or_else(|_| scalar::address(value).map(IpNet::from))
            .map_err(|_| ScalarError::NotAnAddress { found: show(value) })?;
        match Family::of(net.addr()) == family {
            true => Ok(net),
            false => Err(ScalarError::WrongFamily {
                found: show(value),
                family,
            }),
        }
    }
}

fn cluster_id(value: &Value) -> Read<ClusterId> {
    scalar::text(value)?
        .parse()
        .map_err(|_| ScalarError::NotAnAddress { found: show(value) })
}

fn labels(root: &Fields<'_>) -> Labels {
    let mut ignored = Problems::default();
    let labels = root
        .object("metadata", &mut ignored)
        .object("labels", &mut ignored);
    labels
        .entries()
        .filter_map(|(key, value)| Some((key.clone(), scalar::text(value).ok()?)))
        .collect()
}

fn pod_cidrs(value: &Value) -> Vec<IpNet> {
    let entries = value.pointer("/status/podCIDRs").and_then(Value::as_array);
    let mut prefixes: Vec<_> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(scalar::prefix(entry).ok()?.trunc()))
        .collect();
    prefixes.sort();
    prefixes.dedup();
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_example_of_the_contract() {
        let parsed = Node::parse(
            &json!({"kind": "Node", "metadata": {"labels": {"rack": "rack1", "rr": true}},
            "spec": {"bgp": {"asNumber": 64512, "ipv4Address": "10.192.0.3/16", "ipv6Address": "fd5f::3",
            "routeReflectorClusterID": "10.0.0.1"}, "wireguard": {"interfaceIPv4Address": "192.168.221.195"}},
            "status": {"wireguardPublicKey": "x", "podCIDRs": ["10.244.3.0/24"]}}),
        );
        let node = parsed.object.unwrap();
        assert_eq!(parsed.problems, []);
        assert_eq!(node.addresses.ipv4.unwrap().to_string(), "10.192.0.3/16");
        assert_eq!(node.addresses.ipv6.unwrap().to_string(), "fd5f::3/128");
        assert_eq!(node.labels["rr"], "true");
        assert!(node.has_wireguard.ipv4 && !node.has_wireguard.ipv6);
        assert_eq!(node.pod_cidrs.len(), 1);
    }

    #[test]
    fn a_node_with_an_unreadable_field_is_absent() {
        for (field, value) in [
            ("ipv4Address", json!("10.0.0.300/16")),
            ("ipv4Address", json!("fd00::1/64")),
            ("ipv6Address", json!("10.0.0.1/16")),
            ("asNumber", json!("many")),
        ] {
            let parsed = Node::parse(&json!({"spec": {"bgp": {field: value}}}));
            assert_eq!(parsed.object, None, "{value}");
            assert_eq!(parsed.problems[0].field, format!("spec.bgp.{field}"));
        }
    }
}
