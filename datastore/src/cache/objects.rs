//! The objects themselves: each kind by name, with the last good version of each.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::{Changed, Kind, Namespaced};
use crate::key::{BlockId, Key};
use crate::model::{
    BgpConfiguration, BgpFilter, BgpPeer, BlockAffinity, CalicoNodeStatus, EndpointSlice, FieldProblem,
    IpPool, Node, Parsed, Resource, SecretObject, Service,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    pub(super) nodes: Section<Arc<str>, Node>,
    pub(super) configurations: Section<String, BgpConfiguration>,
    pub(super) peers: Section<String, BgpPeer>,
    pub(super) filters: Section<String, BgpFilter>,
    pub(super) pools: Section<String, IpPool>,
    /// By owner: only one node's are ever asked for.
    pub(super) blocks: BTreeMap<String, Section<BlockId, BlockAffinity>>,
    pub(super) statuses: Section<String, CalicoNodeStatus>,
    pub(super) secrets: Section<Namespaced, SecretObject>,
    pub(super) services: Section<Namespaced, Service>,
    pub(super) slices: Section<Namespaced, EndpointSlice>,
    /// What cannot be read and is not known to be one object: origin to reason.
    pub(super) origins: BTreeMap<String, String>,
}

/// An object as stored.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored<T> {
    /// The version in force; `None` when there never was a readable one.
    pub object: Option<T>,
    /// Fields of the newest version that cannot be honoured.
    pub problems: Vec<FieldProblem>,
    /// Why the newest version cannot be read at all.
    pub unreadable: Option<String>,
    /// Whether `object`, or a part of it, is from an older version.
    pub is_last_good: bool,
}

impl<T> Stored<T> {
    fn has_trouble(&self) -> bool {
        !self.problems.is_empty() || self.unreadable.is_some()
    }
}

/// One kind of object; `version` grows with every change.
#[derive(Clone, Debug)]
pub(super) struct Section<K, T> {
    pub(super) objects: BTreeMap<K, Stored<T>>,
    /// Those of which something cannot be honoured: few, and asked for at every event.
    troubled: BTreeSet<K>,
    pub(super) version: u64,
}

impl<K, T> Default for Section<K, T> {
    fn default() -> Self {
        Section {
            objects: BTreeMap::new(),
            troubled: BTreeSet::new(),
            version: 0,
        }
    }
}

/// What happened to one object.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    Value(&'a Value),
    Unreadable(&'a str),
    Deleted,
}

impl Objects {
    /// Applies one change. Last good versions are looked for in `last` when that is another set of objects.
    pub(super) fn apply(&mut self, key: &Key, input: Input<'_>, last: Option<&Objects>) -> Changed {
        macro_rules! apply {
            ($section:ident, $name:expr, $kind:expr) => {{
                let name = $name;
                let last = last.map(|last| last.$section.objects.get(&name));
                Changed::when(self.$section.apply(name, input, last), $kind)
            }};
        }
        let pair = |namespace: &String, name: &String| (namespace.clone(), name.clone());
        match key {
            Key::Node(name) => apply!(nodes, Arc::<str>::from(name.as_str()), Kind::Nodes),
            Key::BgpConfiguration(name) => apply!(configurations, name.clone(), Kind::Configurations),
            Key::BgpPeer(name) => apply!(peers, name.clone(), Kind::Peers),
            Key::BgpFilter(name) => apply!(filters, name.clone(), Kind::Filters),
            Key::IpPool(name) => apply!(pools, name.clone(), Kind::Pools),
            Key::CalicoNodeStatus(name) => apply!(statuses, name.clone(), Kind::Statuses),
            Key::Secret { namespace, name } => apply!(secrets, pair(namespace, name), Kind::Secrets),
            Key::Service { namespace, name } => apply!(services, pair(namespace, name), Kind::Services),
            Key::EndpointSlice { namespace, name } => apply!(slices, pair(namespace, name), Kind::Services),
            Key::BlockAffinity { node, id } => {
                let last = last.map(|last| last.blocks.get(node).and_then(|section| section.objects.get(id)));
                let section = self.blocks.entry(node.clone()).or_default();
                let parse = |value: &Value| BlockAffinity::parse(id, value);
                let is_changed = section.apply_with(id.clone(), input, last, parse, keep_block);
                Changed::when(is_changed, Kind::Blocks)
            }
        }
    }

    /// Whether an object is there and nothing of its newest version had to be left out.
    pub(super) fn is_honoured_whole(&self, key: &Key) -> bool {
        let pair = |namespace: &String, name: &String| (namespace.clone(), name.clone());
        match key {
            Key::Node(name) => self.nodes.is_clean(name.as_str()),
            Key::BgpConfiguration(name) => self.configurations.is_clean(name),
            Key::BgpPeer(name) => self.peers.is_clean(name),
            Key::BgpFilter(name) => self.filters.is_clean(name),
            Key::IpPool(name) => self.pools.is_clean(name),
            Key::CalicoNodeStatus(name) => self.statuses.is_clean(name),
            Key::Secret { namespace, name } => self.secrets.is_clean(&pair(namespace, name)),
            Key::Service { namespace, name } => self.services.is_clean(&pair(namespace, name)),
            Key::EndpointSlice { namespace, name } => self.slices.is_clean(&pair(namespace, name)),
            Key::BlockAffinity { node, id } => {
                self.blocks.get(node).is_some_and(|section| section.is_clean(id))
            }
        }
    }

    /// Takes the place of a complete snapshot; says what that changed.
    pub(super) fn replace(&mut self, new: Objects) -> Changed {
        let Objects {
            nodes,
            configurations,
            peers,
            filters,
            pools,
            blocks,
            statuses,
            secrets,
            services,
            slices,
            origins,
        } = new;
        let mut changed = Changed::when(self.nodes.replace(nodes), Kind::Nodes)
            .and(Changed::when(
                self.configurations.replace(configurations),
                Kind::Configurations,
            ))
            .and(Changed::when(self.peers.replace(peers), Kind::Peers))
            .and(Changed::when(self.filters.replace(filters), Kind::Filters))
            .and(Changed::when(self.pools.replace(pools), Kind::Pools))
            .and(Changed::when(self.statuses.replace(statuses), Kind::Statuses))
            .and(Changed::when(self.secrets.replace(secrets), Kind::Secrets))
            .and(Changed::when(self.services.replace(services), Kind::Services))
            .and(Changed::when(self.slices.replace(slices), Kind::Services))
            .and(Changed::when(self.origins != origins, Kind::Origins));
        self.origins = origins;
        for (node, section) in &mut self.blocks {
            if !blocks.contains_key(node) {
                changed = changed.and(Changed::when(section.replace(Section::default()), Kind::Blocks));
            }
        }
        for (node, section) in blocks {
            let is_changed = self.blocks.entry(node).or_default().replace(section);
            changed = changed.and(Changed::when(is_changed, Kind::Blocks));
        }
        changed
    }
}

fn keep_block(parsed: &mut Parsed<BlockAffinity>, last: BlockAffinity) -> bool {
    parsed.object.is_none() && {
        parsed.object = Some(last);
        true
    }
}

impl<K: Ord + Clone, T: Resource + Clone> Section<K, T> {
    fn apply(&mut self, name: K, input: Input<'_>, last: Option<Option<&Stored<T>>>) -> bool {
        self.apply_with(name, input, last, T::parse, T::keep_last_good)
    }
}

impl<K: Ord + Clone, T: PartialEq + Clone> Section<K, T> {
    /// Says whether anything changed.
    fn apply_with(
        &mut self,
        name: K,
        input: Input<'_>,
        last: Option<Option<&Stored<T>>>,
        parse: impl FnOnce(&Value) -> Parsed<T>,
        keep_last_good: impl FnOnce(&mut Parsed<T>, T) -> bool,
    ) -> bool {
        let last = last.unwrap_or_else(|| self.objects.get(&name));
        let last_object = || last.and_then(|stored| stored.object.clone());
        let stored = match input {
            Input::Deleted => {
                let is_changed = self.objects.remove(&name).is_some();
                self.troubled.remove(&name);
                self.version += u64::from(is_changed);
                return is_changed;
            }
            Input::Value(value) => {
                let mut parsed = parse(value);
                let is_last_good = match last_object() {
                    Some(object) if !parsed.problems.is_empty() => keep_last_good(&mut parsed, object),
                    _ => false,
                };
                Stored {
                    object: parsed.object,
                    problems: parsed.problems,
                    unreadable: None,
                    is_last_good,
                }
            }
            Input::Unreadable(error) => {
                let object = last_object();
                Stored {
                    is_last_good: object.is_some(),
                    object,
                    problems: Vec::new(),
                    unreadable: Some(error.to_owned()),
                }
            }
        };
        if self.objects.get(&name) == Some(&stored) {
            return false;
        }
        self.version += 1;
        if stored.has_trouble() {
            self.troubled.insert(name.clone());
        } else {
            self.troubled.remove(&name);
        }
        self.objects.insert(name, stored);
        true
    }

    pub(super) fn replace(&mut self, new: Section<K, T>) -> bool {
        if self.objects == new.objects {
            return false;
        }
        (self.objects, self.troubled) = (new.objects, new.troubled);
        self.version += 1;
        true
    }
}

impl<K: Ord, T> Section<K, T> {
    fn is_clean<Q: Ord + ?Sized>(&self, name: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let stored = self.objects.get(name);
        stored.is_some_and(|stored| stored.object.is_some() && !stored.has_trouble())
    }

    pub(super) fn readable(&self) -> impl Iterator<Item = (&K, &T)> {
        self.objects
            .iter()
            .filter_map(|(name, stored)| Some((name, stored.object.as_ref()?)))
    }

    pub(super) fn each_problem(
        &self,
        key: impl Fn(&K) -> Key,
        visit: &mut impl FnMut(Key, &[FieldProblem], Option<&str>, bool),
    ) {
        let troubled = self.troubled.iter();
        for (name, stored) in troubled.filter_map(|name| Some((name, self.objects.get(name)?))) {
            visit(
                key(name),
                &stored.problems,
                stored.unreadable.as_deref(),
                stored.is_last_good,
            );
        }
    }
}
