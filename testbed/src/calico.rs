//! Calico's resources: as calicoctl's manifests, and byte-shaped as libcalico-go writes them into etcd.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::kernel::temporary;
use crate::topology::{Plan, Rack};

/// A v3 resource.
pub fn resource(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "kind": kind,
        "apiVersion": "projectcalico.org/v3",
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// A Node with its BGP addresses.
pub fn node(name: &str, addresses: &[IpNet], asn: Option<u32>) -> Value {
    let mut bgp = serde_json::Map::new();
    for address in addresses {
        let field = if matches!(address, IpNet::V4(_)) {
            "ipv4Address"
        } else {
            "ipv6Address"
        };
        bgp.insert(field.into(), json!(address.to_string()));
    }
    if let Some(asn) = asn {
        bgp.insert("asNumber".into(), json!(asn));
    }
    resource("Node", name, json!({ "bgp": bgp }))
}

/// A pool without encapsulation.
pub fn pool(name: &str, cidr: IpNet, block_len: u8) -> Value {
    let spec = json!({
        "cidr": cidr.to_string(),
        "ipipMode": "Never",
        "vxlanMode": "Never",
        "natOutgoing": true,
        "blockSize": block_len,
        "nodeSelector": "all()",
    });
    resource("IPPool", name, spec)
}

/// The pools of a plan.
pub fn pools(plan: &Plan) -> Vec<Value> {
    vec![
        pool("default-ipv4-ippool", plan.pool4.into(), plan.block4_len),
        pool("default-ipv6-ippool", plan.pool6.into(), plan.block6_len),
    ]
}

/// The blocks of a node in a plan, one a family.
pub fn blocks(plan: &Plan, number: usize) -> Vec<IpNet> {
    let ipv4 = plan.ipv4.map(|_| IpNet::from(plan.block4(number)));
    let ipv6 = plan.ipv6.map(|_| IpNet::from(plan.block6(number)));
    ipv4.into_iter().chain(ipv6).collect()
}

/// A cluster's resources, wherever pipit reads them from.
pub trait Store {
    /// Creates a resource or changes it.
    fn apply(&mut self, resource: &Value);
    /// Removes a resource.
    fn delete(&mut self, kind: &str, name: &str);
    /// A node owns a block.
    fn assign(&mut self, node: &str, block: IpNet);
    /// It does not own it any more.
    fn release(&mut self, node: &str, block: IpNet);

    /// The resources of a rack: pools, nodes, one block a node and family.
    fn apply_rack(&mut self, rack: &Rack) {
        pools(&rack.plan).iter().for_each(|pool| self.apply(pool));
        for n in &rack.nodes {
            self.apply(&node(&n.name, &n.addresses, None));
            for block in blocks(&rack.plan, n.number) {
                self.assign(&n.name, block);
            }
        }
    }
}

/// A folder of manifests, one file a resource.
#[derive(Debug)]
pub struct Manifests {
    folder: tempfile::TempDir,
}

impl Default for Manifests {
    fn default() -> Self {
        Manifests { folder: temporary() }
    }
}

impl Manifests {
    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file as an editor does: beside it, then in its place.
    ///
    /// # Panics
    /// When the file system refuses.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        let beside = self.folder.path().join(format!(".{name}.new"));
        let result = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path));
        assert!(result.is_ok(), "cannot write {}: {result:?}", path.display());
    }

    fn file(&self, kind: &str, name: &str) -> PathBuf {
        self.folder.path().join(file_name(kind, name))
    }
}

impl Store for Manifests {
    fn apply(&mut self, resource: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, name) = (text(&resource["kind"]), text(&resource["metadata"]["name"]));
        // JSON is YAML; calicoctl's own output is either.
        self.write(&file_name(&kind, &name), &format!("{resource:#}\n"));
    }

    fn delete(&mut self, kind: &str, name: &str) {
        let result = fs::remove_file(self.file(kind, name));
        assert!(result.is_ok(), "no manifest of {kind}/{name}: {result:?}");
    }

    fn assign(&mut self, node: &str, block: IpNet) {
        let spec =
            json!({ "node": node, "cidr": block.to_string(), "state": "confirmed", "deleted": "false" });
        self.apply(&resource("BlockAffinity", &affinity_name(node, block), spec));
    }

    fn release(&mut self, node: &str, block: IpNet) {
        self.delete("BlockAffinity", &affinity_name(node, block));
    }
}

fn file_name(kind: &str, name: &str) -> String {
    format!("{}-{name}.yaml", kind.to_lowercase())
}

fn affinity_name(node: &str, block: IpNet) -> String {
    format!("{node}-{}", block.to_string().replace(['.', ':', '/'], "-"))
}

/// The etcd key of a v3 resource.
pub fn etcd_key(kind: &str, name: &str) -> String {
    let plural = match kind {
        "BGPConfiguration" => "bgpconfigurations",
        "BGPFilter" => "bgpfilters",
        "BGPPeer" => "bgppeers",
        "CalicoNodeStatus" => "caliconodestatuses",
        "IPPool" => "ippools",
        "Node" => "nodes",
        other => panic!("no key for {other}"),
    };
    format!("/calico/resources/v3/projectcalico.org/{plural}/{name}")
}

/// The etcd value of a v3 resource, as libcalico-go writes it: with the metadata and the fields that its other
/// writers add, in the order of Go's structs, escaped as encoding/json does.
pub fn etcd_value(resource: &Value) -> String {
    let kind = resource["kind"].as_str().unwrap_or_default();
    let name = resource["metadata"]["name"].as_str().unwrap_or_default();
    let mut stored = json!({
        "kind": kind,
        "apiVersion": "projectcalico.org/v3",
        "metadata": {
            "name": name,
            "uid": uid(kind, name),
            "creationTimestamp": "2026-08-22T10:14:59Z",
        },
        "spec": resource["spec"],
    });
    for field in ["labels", "annotations"] {
        if let Some(value) = resource["metadata"].get(field) {
            stored["metadata"][field] = value.clone();
        }
    }
    if kind == "Node" {
        add_node_fields(&mut stored, name);
    }
    let mut text = String::new();
    write_go(&stored, &mut text);
    text.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

/// What calico-node's start-up and kube-controllers put beside the BGP addresses.
fn add_node_fields(node: &mut Value, name: &str) {
    let labels = json!({ "kubernetes.io/hostname": name });
    if node["metadata"].get("labels").is_none() {
        node["metadata"]["labels"] = labels.clone();
    }
    node["metadata"]["annotations"]["projectcalico.org/kube-labels"] = json!(labels.to_string());
    let bgp = node["spec"]["bgp"].clone();
    let own = ["ipv4Address", "ipv6Address"].map(|field| bgp[field].as_str().map(str::to_owned));
    let mut addresses = Vec::new();
    for address in own.iter().flatten() {
        addresses.push(json!({ "address": address, "type": "CalicoNodeIP" }));
        let host = address.split('/').next();
        addresses.push(json!({ "address": host, "type": "InternalIP" }));
    }
    node["spec"]["addresses"] = json!(addresses);
    node["spec"]["orchRefs"] = json!([{ "nodeName": name, "orchestrator": "k8s" }]);
    node["status"] = json!({});
}

/// Looks like a random one and is the same in every run.
fn uid(kind: &str, name: &str) -> String {
    let digest = kind
        .bytes()
        .chain(name.bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!(
        "5c0b9a52-{:04x}-4a21-9a2f-{:012x}",
        digest >> 48,
        digest & 0xffff_ffff_ffff
    )
}

/// Fields in the order of the structs they come from; one order serves all of them. Others follow by name.
const GO_ORDER: [&str; 30] = [
    "kind",
    "apiVersion",
    "metadata",
    "name",
    "uid",
    "creationTimestamp",
    "labels",
    "annotations",
    "spec",
    "bgp",
    "logSeverityScreen",
    "nodeToNodeMeshEnabled",
    "asNumber",
    "ipv4Address",
    "ipv6Address",
    "routeReflectorClusterID",
    "orchRefs",
    "nodeName",
    "orchestrator",
    "addresses",
    "address",
    "type",
    "cidr",
    "vxlanMode",
    "ipipMode",
    "natOutgoing",
    "blockSize",
    "nodeSelector",
    "listenPort",
    "status",
];

fn write_go(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            let place = |name: &str| {
                GO_ORDER
                    .iter()
                    .position(|field| *field == name)
                    .unwrap_or(usize::MAX)
            };
            // Stable, and by name to begin with.
            fields.sort_by_key(|(name, _)| place(name));
            let write_field = |(name, value): (&String, &Value), text: &mut String| {
                text.push_str(&json!(name).to_string());
                text.push(':');
                write_go(value, text);
            };
            write_list(('{', '}'), fields, write_field, text);
        }
        Value::Array(items) => write_list(('[', ']'), items, write_go, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_list<T>(
    (open, close): (char, char),
    items: impl IntoIterator<Item = T>,
    write: impl Fn(T, &mut String),
    text: &mut String,
) {
    text.push(open);
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        write(item, text);
    }
    text.push(close);
}

/// The etcd key of a block affinity.
pub fn affinity_key(node: &str, block: IpNet) -> String {
    let family = if matches!(block, IpNet::V4(_)) {
        "ipv4"
    } else {
        "ipv6"
    };
    format!(
        "/calico/ipam/v2/host/{node}/{family}/block/{}",
        block.to_string().replacen('/', "-", 1)
    )
}

/// The kernel routes that a node of a mesh must have: its own blocks as blackholes, the others' via their nodes, and
/// so the pods that no block of their node covers.
pub fn mesh_routes(
    rack: &Rack,
    number: usize,
    blocks: &BTreeMap<usize, Vec<IpNet>>,
) -> std::collections::BTreeSet<String> {
    let route = |(&owner, net): (&usize, &IpNet)| {
        if owner == number {
            return Some(format!("blackhole {net}"));
        }
        let via = rack.node(owner).address(matches!(net, IpNet::V4(_)))?;
        Some(format!("{net} via {} dev eth0", via.addr()))
    };
    let of_blocks = blocks
        .iter()
        .flat_map(|(owner, nets)| nets.iter().map(move |net| (owner, net)))
        .filter_map(route);
    let others = blocks.iter().filter(|(owner, _)| **owner != number);
    let of_pods = others.flat_map(|(&owner, nets)| {
        let pods = rack.node(owner).pods.iter().flat_map(|pod| &pod.addresses);
        let lone = pods.filter(move |pod| !nets.iter().any(|net| net.contains(*pod)));
        lone.filter_map(move |&pod| {
            let via = rack.node(owner).address(pod.is_ipv4())?;
            Some(format!("{} via {} dev eth0", IpNet::from(pod), via.addr()))
        })
    });
    of_blocks.chain(of_pods).collect()
}

/// One block a node and family, by node number.
pub fn first_blocks(rack: &Rack) -> BTreeMap<usize, Vec<IpNet>> {
    rack.nodes
        .iter()
        .map(|node| (node.number, blocks(&rack.plan, node.number)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_in_etcd_has_the_bytes_that_libcalico_go_writes() {
        let node = node("kube-node-1", &["10.192.0.3/16".parse().unwrap()], Some(64512));
        let expected = concat!(
            r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"kube-node-1","uid":"UID","#,
            r#""creationTimestamp":"2026-08-22T10:14:59Z","labels":{"kubernetes.io/hostname":"kube-node-1"},"#,
            r#""annotations":{"projectcalico.org/kube-labels":"{\"kubernetes.io/hostname\":\"kube-node-1\"}"}},"#,
            r#""spec":{"bgp":{"asNumber":64512,"ipv4Address":"10.192.0.3/16"},"#,
            r#""orchRefs":[{"nodeName":"kube-node-1","orchestrator":"k8s"}],"#,
            r#""addresses":[{"address":"10.192.0.3/16","type":"CalicoNodeIP"},"#,
            r#"{"address":"10.192.0.3","type":"InternalIP"}]},"status":{}}"#,
        );
        assert_eq!(
            etcd_value(&node),
            expected.replace("UID", &uid("Node", "kube-node-1"))
        );
    }

    #[test]
    fn what_html_would_mind_is_escaped() {
        let spec = json!({ "nodeSelector": "a == 'x' && b > 'y'" });
        let value = etcd_value(&resource("BGPPeer", "p", spec));
        assert!(value.contains(r"a == 'x' \u0026\u0026 b \u003e 'y'"), "{value}");
    }

    #[test]
    fn keys_of_blocks_have_a_dash_for_the_slash() {
        let key = affinity_key("n1", "fd00:10:244::/122".parse().unwrap());
        assert_eq!(key, "/calico/ipam/v2/host/n1/ipv6/block/fd00:10:244::-122");
    }
}
