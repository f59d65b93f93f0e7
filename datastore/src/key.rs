//! The objects that matter to BGP, by name.

use std::fmt;

use ipnet::IpNet;

/// Names one object of the datastore, whatever back-end it comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// `Node/<name>`.
    Node(String),
    /// `BGPConfiguration/<name>`: `default` or `node.<node>`.
    BgpConfiguration(String),
    /// `BGPPeer/<name>`.
    BgpPeer(String),
    /// `BGPFilter/<name>`.
    BgpFilter(String),
    /// `IPPool/<name>`.
    IpPool(String),
    /// A block that a node owns: the IPAM key in etcd, a `BlockAffinity` object in files.
    BlockAffinity {
        /// The node that owns the block.
        node: String,
        /// What names the affinity among its node's: the block itself in etcd, the object's name in files
        /// (whose CIDR, read from the object, may be unreadable and is then reported).
        id: BlockId,
    },
    /// `CalicoNodeStatus/<name>`.
    CalicoNodeStatus(String),
    /// Kubernetes `Secret/<namespace>/<name>` (files only).
    Secret {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// Kubernetes `Service/<namespace>/<name>` (files only).
    Service {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// Kubernetes `EndpointSlice/<namespace>/<name>` (files only).
    EndpointSlice {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
}

/// See [`Key::BlockAffinity`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BlockId {
    /// etcd: the CIDR of the key.
    Cidr(IpNet),
    /// Files: `metadata.name`.
    Name(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Node(name) => write!(f, "Node/{name}"),
            Key::BgpConfiguration(name) => write!(f, "BGPConfiguration/{name}"),
            Key::BgpPeer(name) => write!(f, "BGPPeer/{name}"),
            Key::BgpFilter(name) => write!(f, "BGPFilter/{name}"),
            Key::IpPool(name) => write!(f, "IPPool/{name}"),
            Key::BlockAffinity {
                id: BlockId::Cidr(cidr),
                ..
            } => write!(f, "BlockAffinity/{cidr}"),
            Key::BlockAffinity {
                id: BlockId::Name(name),
                ..
            } => write!(f, "BlockAffinity/{name}"),
            Key::CalicoNodeStatus(name) => write!(f, "CalicoNodeStatus/{name}"),
            Key::Secret { namespace, name } => write!(f, "Secret/{namespace}/{name}"),
            Key::Service { namespace, name } => write!(f, "Service/{namespace}/{name}"),
            Key::EndpointSlice { namespace, name } => write!(f, "EndpointSlice/{namespace}/{name}"),
        }
    }
}

/// Where Calico's v3 resources are.
pub const RESOURCES: &str = "/calico/resources/v3/projectcalico.org/";
/// Where a node's block affinities are, before its name.
const AFFINITIES: &str = "/calico/ipam/v2/host/";

type OfName = fn(String) -> Key;

/// Kinds that are read, by their plural in the key.
const PLURALS: [(&str, OfName); 6] = [
    ("nodes", Key::Node),
    ("bgpconfigurations", Key::BgpConfiguration),
    ("bgppeers", Key::BgpPeer),
    ("bgpfilters", Key::BgpFilter),
    ("ippools", Key::IpPool),
    ("caliconodestatuses", Key::CalicoNodeStatus),
];

/// The etcd prefixes to list and watch for one node, each with its trailing slash: without it `node1` would see
/// `node10`, too.
pub fn prefixes(node: &str) -> Vec<String> {
    let resources = PLURALS.iter().map(|(plural, _)| format!("{RESOURCES}{plural}/"));
    resources.chain([format!("{AFFINITIES}{node}/")]).collect()
}

/// The object of an etcd key; `None` for one that is not ours to read, or does not parse.
pub fn parse(key: &str, node: &str) -> Option<Key> {
    if let Some(rest) = key.strip_prefix(RESOURCES) {
        let (plural, name) = rest.split_once('/')?;
        if name.is_empty() || name.contains('/') {
            return None;
        }
        let (_, of_name) = PLURALS.iter().find(|(known, _)| *known == plural)?;
        return Some(of_name(name.to_owned()));
    }
    let rest = key.strip_prefix(AFFINITIES)?.strip_prefix(node)?;
    let (family, cidr) = rest.strip_prefix('/')?.split_once("/block/")?;
    let cidr: IpNet = cidr.replacen('-', "/", 1).parse().ok()?;
    let is_of_family = match cidr {
        IpNet::V4(_) => family == "ipv4",
        IpNet::V6(_) => family == "ipv6",
    };
    is_of_family.then(|| Key::BlockAffinity {
        node: node.to_owned(),
        id: BlockId::Cidr(cidr.trunc()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c001_c002_exactly_the_prefixes_that_matter_with_a_trailing_slash() {
        let prefixes = prefixes("node1");
        assert_eq!(prefixes.len(), 7);
        assert!(prefixes.iter().all(|prefix| prefix.ends_with('/')));
        assert_eq!(
            parse("/calico/ipam/v2/host/node10/ipv4/block/10.0.0.0-26", "node1"),
            None
        );
    }

    #[test]
    fn c004_block_keys_of_both_families_and_what_does_not_parse() {
        let block = |text: &str| {
            let id = BlockId::Cidr(text.parse().unwrap());
            Some(Key::BlockAffinity {
                node: "n1".into(),
                id,
            })
        };
        let parse = |rest: &str| super::parse(&format!("/calico/ipam/v2/host/n1/{rest}"), "n1");
        assert_eq!(parse("ipv4/block/10.244.7.0-26"), block("10.244.7.0/26"));
        assert_eq!(parse("ipv6/block/fd00:10:244::-122"), block("fd00:10:244::/122"));
        assert_eq!(parse("ipv4/block/10.244.7.9-26"), block("10.244.7.0/26"));
        for bad in [
            "ipv4/block/not-a-cidr",
            "ipv6/block/10.0.0.0-26",
            "ipv4/10.0.0.0-26",
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn resource_keys_have_exactly_one_name() {
        let parse = |rest: &str| super::parse(&format!("{RESOURCES}{rest}"), "n1");
        assert_eq!(parse("nodes/kube-node-1"), Some(Key::Node("kube-node-1".into())));
        assert_eq!(
            parse("bgpconfigurations/node.n1"),
            Some(Key::BgpConfiguration("node.n1".into()))
        );
        for bad in ["nodes/", "nodes/a/b", "workloadendpoints/a", "nodes"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
