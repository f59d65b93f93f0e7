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
