//! Whom a BGPPeer means: addresses, nodes and local workloads as neighbours of this node.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use pipit_bgp::{Asn, ClusterId, Family, FamilyMap};

use super::context::Context;
use crate::model::{BgpPeer, LocalNodes, Node, PeerAddress, RemotePeers};

/// Precedence of a BGPPeer's sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Class {
    Global,
    Node,
    Reverse,
}

/// What makes a session one of its own: a neighbour and a port; no port counts as one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) address: IpAddr,
    pub(super) interface: Option<Arc<str>>,
    pub(super) port: Option<u16>,
}

/// One neighbour that a BGPPeer describes.
pub(super) struct Neighbour {
    pub(super) slot: Slot,
    pub(super) asn: Option<Asn>,
    /// Known only when the neighbour was found as a node by a selector.
    pub(super) cluster_id: Option<ClusterId>,
    /// By text comparison with our address.
    pub(super) passive: bool,
    pub(super) kind: NeighbourKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NeighbourKind {
    /// `peerIP`: all fields of the BGPPeer count.
    Address,
    /// `peerSelector` or reverse: AS and port are the node's.
    Node,
    /// `localWorkloadSelector`: only AS numbers and filters count.
    LocalWorkload,
}

/// Nodes that have an address, alphabetically.
type NodesByAddress<'c> = HashMap<IpAddr, Vec<(&'c Arc<str>, &'c Node)>>;

/// Finds neighbours.
pub(super) struct Neighbours<'c> {
    context: &'c Context<'c>,
    addresses: FamilyMap<Option<IpAddr>>,
    /// The nodes that some `peerIP` names.
    named_nodes: NodesByAddress<'c>,
}

impl<'c> Neighbours<'c> {
    pub(super) fn new(context: &'c Context<'c>) -> Self {
        Neighbours {
            context,
            addresses: context.addresses(),
            named_nodes: named_nodes(context),
        }
    }

    /// The class of the sessions that this node has by a BGPPeer, `None` when it is for other nodes.
    pub(super) fn class_of(&self, peer: &BgpPeer) -> Option<Class> {
        let context = self.context;
        let is_ours = match &peer.local {
            LocalNodes::Global => return Some(Class::Global),
            LocalNodes::Named(name) => name == context.name,
            LocalNodes::Selected(text) => context.cache.selectors().contains(text, context.name),
        };
        is_ours.then_some(Class::Node)
    }

    /// The neighbours in the order in which sessions are made.
    pub(super) fn of_class(&self, class: Class, name: &str, peer: &'c BgpPeer) -> Vec<Neighbour> {
        match &peer.remote {
            RemotePeers::Address(remote) => vec![self.address_neighbour(class, remote, peer.asn)],
            RemotePeers::Selected(text) => {
                let nodes = self.context.cache.selectors().nodes(text);
                self.node_neighbours(nodes, &Family::ALL)
            }
            RemotePeers::LocalWorkloads => self.workload_neighbours(name, peer.asn),
        }
    }

    fn address_neighbour(&self, class: Class, remote: &PeerAddress, asn: Option<Asn>) -> Neighbour {
        let context = self.context;
        let nodes = self
            .named_nodes
            .get(&remote.address)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let is_node = !nodes.is_empty();
        let wanted = asn.unwrap_or_else(|| context.cluster_asn());
        let inherited = nodes
            .iter()
            .find(|(_, node)| context.asn_of(node) == wanted)
            .and_then(|(name, _)| context.listen_port_of(name));
        let own = self.addresses[Family::of(remote.address)];
        let sorts_after_ours = own.is_some_and(|own| remote.address.to_string() > own.to_string());
        Neighbour {
            slot: Slot {
                address: remote.address,
                interface: remote.interface.as_deref().map(Arc::from),
                port: remote.port.or(inherited),
            },
            asn,
            cluster_id: None,
            // Of a global peering both ends are configured alike, so one of them has to wait.
            passive: class == Class::Global && is_node && sorts_after_ours,
            kind: NeighbourKind::Address,
        }
    }

    fn node_neighbours<'n>(
        &self,
        names: impl Iterator<Item = &'n Arc<str>>,
        families: &[Family],
    ) -> Vec<Neighbour> {
        let mut neighbours = Vec::new();
        for name in names {
            let Some(node) = self.context.cache.readable_node(name) else {
                continue;
            };
            let mut port = None;
            for family in families {
                let Some(network) = node.addresses[*family] else {
                    continue;
                };
                let port = *port.get_or_insert_with(|| self.context.listen_port_of(name));
                neighbours.push(Neighbour {
                    slot: Slot {
                        address: network.addr(),
                        interface: None,
                        port,
                    },
                    asn: Some(self.context.asn_of(node)),
                    cluster_id: node.cluster_id,
                    passive: false,
                    kind: NeighbourKind::Node,
                });
            }
        }
        neighbours
    }

    fn workload_neighbours(&self, name: &str, asn: Option<Asn>) -> Vec<Neighbour> {
        let endpoints = &self.context.environment.endpoints;
        endpoints
            .iter()
            .filter(|endpoint| endpoint.bgp_peer == name)
            .flat_map(|endpoint| [endpoint.addresses.0, endpoint.addresses.1])
            .flatten()
            .map(|address| Neighbour {
                slot: Slot {
                    address,
                    interface: None,
                    port: None,
                },
                asn,
                cluster_id: None,
                passive: true,
                kind: NeighbourKind::LocalWorkload,
            })
            .collect()
    }

    /// The nodes that have a session to us by this BGPPeer, when it asks for the mirror image.
    pub(super) fn reverse(&self, peer: &BgpPeer) -> Vec<Neighbour> {
        let context = self.context;
        let families = match &peer.remote {
            _ if !peer.is_reversed => return Vec::new(),
            RemotePeers::LocalWorkloads => return Vec::new(),
            RemotePeers::Selected(text) if context.cache.selectors().contains(text, context.name) => {
                Family::ALL.to_vec()
            }
            RemotePeers::Address(remote) if self.is_us(remote, peer.asn) => {
                vec![Family::of(remote.address)]
            }
            RemotePeers::Selected(_) | RemotePeers::Address(_) => return Vec::new(),
        };
        match &peer.local {
            LocalNodes::Global => {
                let names = context.cache.nodes().map(|(name, _)| name);
                self.node_neighbours(names, &families)
            }
            LocalNodes::Named(name) => self.node_neighbours([Arc::from(name.as_str())].iter(), &families),
            LocalNodes::Selected(text) => {
                self.node_neighbours(context.cache.selectors().nodes(text), &families)
            }
        }
    }

    /// Whether a `peerIP` with its AS and port means this node.
    fn is_us(&self, remote: &PeerAddress, asn: Option<Asn>) -> bool {
        let wanted = asn.unwrap_or_else(|| self.context.cluster_asn());
        self.addresses[Family::of(remote.address)] == Some(remote.address)
            && self.context.local_asn() == wanted
            && remote.port.is_none_or(|port| port == self.context.listen_port())
    }
}

/// The nodes whose address some BGPPeer has as its `peerIP`, each list alphabetically. Only those: most addresses of
/// a large cluster are never asked for.
fn named_nodes<'c>(context: &Context<'c>) -> NodesByAddress<'c> {
    let mut named = NodesByAddress::new();
    for (_, peer) in context.cache.peers() {
        if let RemotePeers::Address(remote) = &peer.remote {
            named.insert(remote.address, Vec::new());
        }
    }
    if named.is_empty() {
        return named;
    }
    for (name, node) in context.cache.nodes() {
        for family in Family::ALL {
            let address = node.addresses[family].map(|network| network.addr());
            if let Some(nodes) = address.and_then(|address| named.get_mut(&address)) {
                nodes.push((name, node));
            }
        }
    }
    named
}
