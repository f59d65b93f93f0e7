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
pub fn pool(name: &str, cidr: IpNet) -> Value {
    let spec = json!({ "cidr": cidr.to_string(), "ipipMode": "Never", "vxlanMode": "Never", "natOutgoing": true, "nodeSelector": "all()" });
    resource("IPPool", name, spec)
}

/// The pools of a plan.
pub fn pools(plan: &Plan) -> Vec<Value> {
    vec![
        pool("default-ipv4-ippool", plan.pool4.into()),
        pool("default-ipv6-ippool", plan.pool6.into()),
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
        "IPPool" => "ippools",
        "Node" => "nodes",
        other => panic!("no key for {other}"),
    };
    format!("/calico/resources/v3/projectcalico.org/{plural}/{name}")
}

/// The etcd value of a v3 resource, with the metadata that libcalico-go adds.
pub fn etcd_value(resource: &Value) -> String {
    let name = resource["metadata"]["name"].as_str().unwrap_or_default();
    let metadata = json!({
        "name": name,
        "uid": format!("5c0b9a52-30b9-4a21-9a2f-{:012x}", name.bytes().map(u64::from).sum::<u64>()),
        "creationTimestamp": "2026-08-22T10:14:59Z",
        "labels": resource["metadata"].get("labels").cloned().unwrap_or(json!({ "kubernetes.io/hostname": name })),
        "annotations": resource["metadata"].get("annotations").cloned().unwrap_or(json!({})),
    });
    let kind = &resource["kind"];
    // Field order as encoding/json has it: not significant, and still what a reader will meet.
    let text = format!(
        "{{\"kind\":{kind},\"apiVersion\":\"projectcalico.org/v3\",\"metadata\":{metadata},\"spec\":{}}}",
        resource["spec"]
    );
    // Go escapes what HTML would mind.
    text.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
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

/// The kernel routes that a node of a mesh must have: its own blocks as blackholes, the others' via their nodes.
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
    blocks
        .iter()
        .flat_map(|(owner, nets)| nets.iter().map(move |net| (owner, net)))
        .filter_map(route)
        .collect()
}

/// One block a node and family, by node number.
pub fn first_blocks(rack: &Rack) -> BTreeMap<usize, Vec<IpNet>> {
    rack.nodes
        .iter()
        .map(|node| (node.number, blocks(&rack.plan, node.number)))
        .collect()
}
