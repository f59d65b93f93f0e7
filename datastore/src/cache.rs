//! All objects that matter to BGP, typed, as the back-end last told.
//!
//! One owner feeds it the back-end's events and asks, when something changed, for the desired state.
//! **Invariants:** what is visible is always one complete snapshot plus ordered changes, never a part of a snapshot;
//! an object that cannot be read any more stays at its last good version; a change of what BGP does not look at
//! (a node's heartbeat) changes nothing here.

mod objects;

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use pipit_bgp::session::config::Secret;
use pipit_bgp::{Asn, ClusterId, FamilyMap};
use serde_json::Value;

use crate::backend::{StoreEvent, StoreStatus};
use crate::key::{BlockId, Key};
use crate::model::{
    BgpConfiguration, BgpFilter, BgpPeer, BlockAffinity, CalicoNodeStatus, EndpointSlice, FieldProblem,
    IpPool, LocalNodes, Node, RemotePeers, SecretObject, Service,
};
use crate::selector::{Labels, SelectorIndex};

pub use objects::Stored;

use objects::{Input, Objects, Section};

/// Name of an object inside a namespace.
pub type Namespaced = (String, String);

/// The objects of the datastore.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    current: Objects,
    /// A snapshot that is being received; it takes `current`'s place when it is complete.
    staging: Option<Box<Objects>>,
    selectors: SelectorIndex,
    /// Grows when a node's address, AS or cluster id changes.
    node_facts: u64,
    is_complete: bool,
    revision: i64,
    status: Option<StoreStatus>,
}

/// Kinds of objects, for [`Changed`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Node.
    Nodes,
    /// BGPConfiguration.
    Configurations,
    /// BGPPeer.
    Peers,
    /// BGPFilter.
    Filters,
    /// IPPool.
    Pools,
    /// Block affinities, of any node.
    Blocks,
    /// CalicoNodeStatus: concerns who answers them, not the desired state.
    Statuses,
    /// Secret.
    Secrets,
    /// Service and EndpointSlice.
    Services,
    /// Places that cannot be read.
    Origins,
}

/// Which kinds of objects an event changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changed(u16);

impl Changed {
    /// Nothing changed.
    pub const NOTHING: Changed = Changed(0);

    /// Whether nothing changed.
    pub fn is_nothing(self) -> bool {
        self == Changed::NOTHING
    }

    /// Whether objects of this kind changed.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }

    /// Whether the desired state may be another one now.
    pub fn concerns_plan(self) -> bool {
        self.0 & !(1 << Kind::Statuses as u16) != 0
    }

    /// What either changed.
    pub fn and(self, other: Changed) -> Changed {
        Changed(self.0 | other.0)
    }

    fn when(is_changed: bool, kind: Kind) -> Changed {
        match is_changed {
            true => Changed(1 << kind as u16),
            false => Changed::NOTHING,
        }
    }
}

/// Versions of all that the mesh of a node is computed from: equal versions, equal mesh.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MeshInputs {
    /// Addresses, AS numbers and cluster ids; labels are not among them.
    node_facts: u64,
    configurations: u64,
    secrets: u64,
}

/// Versions of all that the sessions of a node are computed from: equal versions, equal sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionInputs {
    /// What the mesh is computed from.
    pub mesh: MeshInputs,
    peers: u64,
    filters: u64,
    /// What selectors match, which is all that labels are for.
    selectors: u64,
}

impl Cache {
    /// An empty cache that has not seen a snapshot.
    pub fn new() -> Cache {
        Cache::default()
    }

    /// Takes one event, in the back-end's order.
    ///
    /// Between `Begin` and `SnapshotDone` nothing changes; `SnapshotDone` answers for all of it.
    pub fn handle(&mut self, event: StoreEvent) -> Changed {
        match event {
            StoreEvent::Begin => {
                self.staging = Some(Box::default());
                Changed::NOTHING
            }
            StoreEvent::Put { key, value, .. } => self.put(key, &value),
            StoreEvent::Unreadable { key, origin, error } => self.unreadable(key, origin, error),
            StoreEvent::Readable { origin } => {
                let objects = self.staging.as_deref_mut().unwrap_or(&mut self.current);
                let is_changed = objects.origins.remove(&origin).is_some();
                self.visible(Changed::when(is_changed, Kind::Origins))
            }
            StoreEvent::Delete { key } => self.delete(&key),
            StoreEvent::SnapshotDone { revision } => self.snapshot_done(revision),
            StoreEvent::Settled { revision } => {
                self.revision = revision;
                Changed::NOTHING
            }
            StoreEvent::Status(status) => {
                self.status = Some(status);
                Changed::NOTHING
            }
        }
    }

    /// Whether a whole snapshot has been received; before that nothing may be acted on.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The back-end's revision of what is visible; zero for files.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether the back-end sees its source; `None` before it said so.
    pub fn status(&self) -> Option<&StoreStatus> {
        self.status.as_ref()
    }

    /// Places that cannot be read and are not known to be one object: origin and reason.
    pub fn unreadable_origins(&self) -> impl Iterator<Item = (&str, &str)> {
        self.current
            .origins
            .iter()
            .map(|(origin, error)| (origin.as_str(), error.as_str()))
    }

    /// Readable nodes by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        self.current.nodes.readable()
    }

    /// A node.
    pub fn node(&self, name: &str) -> Option<&Stored<Node>> {
        self.current.nodes.objects.get(name)
    }

    /// A readable node.
    pub fn readable_node(&self, name: &str) -> Option<&Node> {
        self.node(name)?.object.as_ref()
    }

    /// The BGPConfiguration `default` or `node.<name>`.
    pub fn configuration(&self, name: &str) -> Option<&BgpConfiguration> {
        self.current.configurations.objects.get(name)?.object.as_ref()
    }

    /// BGPConfigurations by name.
    pub fn configurations(&self) -> impl Iterator<Item = (&String, &BgpConfiguration)> {
        self.current.configurations.readable()
    }

    /// Readable BGPPeers by name.
    pub fn peers(&self) -> impl Iterator<Item = (&String, &BgpPeer)> {
        self.current.peers.readable()
    }

    /// BGPFilters by name.
    pub fn filters(&self) -> impl Iterator<Item = (&String, &BgpFilter)> {
        self.current.filters.readable()
    }

    /// A BGPFilter; there is none in force when it was never readable.
    pub fn filter(&self, name: &str) -> Option<&Stored<BgpFilter>> {
        self.current.filters.objects.get(name)
    }

    /// Grows whenever a BGPFilter changes.
    pub fn filters_version(&self) -> u64 {
        self.current.filters.version
    }

    /// Readable IPPools by name.
    pub fn pools(&self) -> impl Iterator<Item = (&String, &IpPool)> {
        self.current.pools.readable()
    }

    /// The blocks of a node.
    pub fn blocks(&self, node: &str) -> impl Iterator<Item = (&BlockId, &Stored<BlockAffinity>)> {
        self.current
            .blocks
            .get(node)
            .into_iter()
            .flat_map(|section| &section.objects)
    }

    /// CalicoNodeStatus objects by name, for whatever node.
    pub fn statuses(&self) -> impl Iterator<Item = (&String, &Stored<CalicoNodeStatus>)> {
        self.current.statuses.objects.iter()
    }

    /// A Secret.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&SecretObject> {
        let name = (namespace.to_owned(), name.to_owned());
        self.current.secrets.objects.get(&name)?.object.as_ref()
    }

    /// Secrets by namespace and name.
    pub fn secrets(&self) -> impl Iterator<Item = (&Namespaced, &SecretObject)> {
        self.current.secrets.readable()
    }

    /// Puts other passwords in the place of those there are.
    pub fn replace_secrets(&mut self, with: impl Fn(&Secret) -> Secret) {
        let secrets = &mut self.current.secrets;
        secrets.version += 1;
        let objects = secrets
            .objects
            .values_mut()
            .filter_map(|stored| stored.object.as_mut());
        for value in objects.flat_map(|object| object.values.values_mut()) {
            *value = with(value);
        }
    }

    /// Services by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = (&Namespaced, &Service)> {
        self.current.services.readable()
    }

    /// EndpointSlices by namespace and name.
    pub fn endpoint_slices(&self) -> impl Iterator<Item = (&Namespaced, &EndpointSlice)> {
        self.current.slices.readable()
    }

    /// Which nodes the selectors of BGPPeers match.
    pub fn selectors(&self) -> &SelectorIndex {
        &self.selectors
    }

    /// What the sessions are computed from.
    pub fn session_inputs(&self) -> SessionInputs {
        SessionInputs {
            mesh: MeshInputs {
                node_facts: self.node_facts,
                configurations: self.current.configurations.version,
                secrets: self.current.secrets.version,
            },
            peers: self.current.peers.version,
            filters: self.filters_version(),
            selectors: self.selectors.version(),
        }
    }

    /// Objects with something to report: key, fields, why the whole cannot be read, whether an older version counts.
    /// Of block affinities only those of `node`; `None`: of all nodes.
    pub fn each_problem(
        &self,
        node: Option<&str>,
        mut visit: impl FnMut(Key, &[FieldProblem], Option<&str>, bool),
    ) {
        let objects = &self.current;
        objects
            .nodes
            .each_problem(|name| Key::Node(name.to_string()), &mut visit);
        objects
            .configurations
            .each_problem(|name| Key::BgpConfiguration(name.clone()), &mut visit);
        objects
            .peers
            .each_problem(|name| Key::BgpPeer(name.clone()), &mut visit);
        objects
            .filters
            .each_problem(|name| Key::BgpFilter(name.clone()), &mut visit);
        objects
            .pools
            .each_problem(|name| Key::IpPool(name.clone()), &mut visit);
        let mut visit_blocks = |(owner, blocks): (&String, &Section<BlockId, BlockAffinity>)| {
            let key = |id: &BlockId| Key::BlockAffinity {
                node: owner.clone(),
                id: id.clone(),
            };
            blocks.each_problem(key, &mut visit);
        };
        match node {
            Some(node) => objects
                .blocks
                .get_key_value(node)
                .into_iter()
                .for_each(visit_blocks),
            None => objects.blocks.iter().for_each(&mut visit_blocks),
        }
    }

    /// Whether an object is there and nothing of its newest version had to be left out.
    pub fn is_honoured_whole(&self, key: &Key) -> bool {
        self.current.is_honoured_whole(key)
    }

    /// Changes in a snapshot that is still being received are not visible.
    fn visible(&self, changed: Changed) -> Changed {
        match self.staging {
            Some(_) => Changed::NOTHING,
            None => changed,
        }
    }

    fn put(&mut self, key: Key, value: &Value) -> Changed {
        // An empty IPAM value means something, any other value that is not an object does not.
        let is_object = value.is_object() || (value.is_null() && matches!(key, Key::BlockAffinity { .. }));
        if !is_object {
            let origin = key.to_string();
            return self.unreadable(Some(key), origin, "the value is not an object".to_owned());
        }
        match &mut self.staging {
            Some(staging) => {
                staging.apply(&key, Input::Value(value), Some(&self.current));
                Changed::NOTHING
            }
            None => self.change(&key, Input::Value(value)),
        }
    }

    fn unreadable(&mut self, key: Option<Key>, origin: String, error: String) -> Changed {
        let Some(key) = key else {
            let objects = self.staging.as_deref_mut().unwrap_or(&mut self.current);
            let is_changed = objects.origins.insert(origin, error.clone()).as_ref() != Some(&error);
            return self.visible(Changed::when(is_changed, Kind::Origins));
        };
        match &mut self.staging {
            Some(staging) => {
                staging.apply(&key, Input::Unreadable(&error), Some(&self.current));
                Changed::NOTHING
            }
            None => self.change(&key, Input::Unreadable(&error)),
        }
    }

    fn delete(&mut self, key: &Key) -> Changed {
        match &mut self.staging {
            Some(staging) => {
                staging.apply(key, Input::Deleted, None);
                Changed::NOTHING
            }
            None => self.change(key, Input::Deleted),
        }
    }

    fn snapshot_done(&mut self, revision: i64) -> Changed {
        self.revision = revision;
        let Some(staging) = self.staging.take() else {
            return Changed::NOTHING;
        };
        self.is_complete = true;
        let changed = self.current.replace(*staging);
        if changed.contains(Kind::Nodes) {
            self.node_facts += 1;
            self.selectors.clear();
        }
        if changed.contains(Kind::Nodes) || changed.contains(Kind::Peers) {
            self.index_selectors();
        }
        changed
    }

    /// Changes what is visible, and keeps what is derived from it right.
    fn change(&mut self, key: &Key, input: Input<'_>) -> Changed {
        let facts = self.facts(key);
        let changed = self.current.apply(key, input, None);
        if changed.is_nothing() {
            return changed;
        }
        if self.facts(key) != facts {
            self.node_facts += 1;
        }
        match key {
            Key::Node(name) => match self.current.nodes.objects.get_key_value(name.as_str()) {
                Some((
                    name,
                    Stored {
                        object: Some(node), ..
                    },
                )) => {
                    self.selectors.node_changed(name, &node.labels);
                }
                _ => self.selectors.node_removed(name),
            },
            Key::BgpPeer(_) => self.index_selectors(),
            _ => {}
        }
        changed
    }

    /// What sessions with a node depend on besides its labels; `None` when the key is no readable node.
    fn facts(&self, key: &Key) -> Option<NodeFacts> {
        let Key::Node(name) = key else {
            return None;
        };
        let node = self.readable_node(name)?;
        Some((node.addresses, node.asn, node.cluster_id))
    }

    /// Evaluates selectors that are new, forgets those that nobody uses any more.
    fn index_selectors(&mut self) {
        let mut used = BTreeSet::new();
        for (_, peer) in self.current.peers.readable() {
            if let LocalNodes::Selected(text) = &peer.local {
                used.insert(text.as_str());
            }
            if let RemotePeers::Selected(text) = &peer.remote {
                used.insert(text.as_str());
            }
        }
        self.selectors.retain(&used);
        for text in used {
            let nodes = self.current.nodes.readable();
            let labels = nodes.map(|(name, node)| -> (&Arc<str>, &Labels) { (name, &node.labels) });
            // One that does not parse matches no node; the BGPPeer's own problems say so.
            let _ = self.selectors.insert(text, labels);
        }
    }
}

/// Addresses, AS and cluster id of a node.
type NodeFacts = (FamilyMap<Option<IpNet>>, Option<Asn>, Option<ClusterId>);

#[cfg(test)]
mod tests;
