//! The objects in force as text, from which the same cache can be built again: by the next run of the daemon while
//! etcd is away, and by `pipit plan --diff`.
//!
//! It follows the same events as the cache. Of an object whose newest version cannot be honoured whole it keeps the
//! last one that could be as well, for the cache goes by both. **Invariant:** no password is ever in it; what BGP
//! does not look at (a node's heartbeat) is not either, and changes no version.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

pub use text::{Header, RecordError, decode, encode, entry_of_line, line_of_entry};

use crate::backend::StoreEvent;
use crate::cache::Cache;
use crate::key::Key;

/// The annotations that count.
const ANNOTATIONS: &str = "pipit.io/";
/// Fields of a Node's spec that BGP does not look at.
const NODE_FIELDS: [&str; 5] = [
    "addresses",
    "interfaces",
    "orchRefs",
    "ipv4VXLANTunnelAddr",
    "vxlanTunnelMACAddr",
];

/// All that BGP looks at of a Node's status.
const POD_CIDRS: &str = "podCIDRs";

/// One object. Texts are JSON.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// The last version that could be honoured whole.
    pub good: Option<Arc<str>>,
    /// The newest version, when that is another one.
    pub newest: Option<Arc<str>>,
}

/// The objects in force for one node.
#[derive(Clone, Debug)]
pub struct Record {
    node: String,
    /// Shared with whoever writes it down; copied only when it changes meanwhile.
    entries: Arc<BTreeMap<Key, Entry>>,
    /// What a snapshot that is being received has held so far; `None` for an object that cannot be read.
    staging: Option<BTreeMap<Key, Option<Arc<str>>>>,
    version: u64,
}

/// What an event means for the record, taken before the cache has the event.
#[derive(Debug)]
pub struct Note(Step);

#[derive(Debug)]
enum Step {
    Nothing,
    Begin,
    Put(Key, Arc<str>),
    Unreadable(Key),
    Delete(Key),
    Done,
}

impl Record {
    /// Nothing yet, of what concerns this node.
    pub fn new(node: impl Into<String>) -> Record {
        Record {
            node: node.into(),
            entries: Arc::default(),
            staging: None,
            version: 0,
        }
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The node it is about.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The objects, in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// Adds an object as another record had it.
    pub(crate) fn insert(&mut self, key: Key, entry: Entry) {
        self.version += 1;
        Arc::make_mut(&mut self.entries).insert(key, entry);
    }

    /// What an event will mean; to be asked before the cache takes it.
    pub fn note(&self, event: &StoreEvent) -> Note {
        Note(match event {
            StoreEvent::Begin => Step::Begin,
            StoreEvent::SnapshotDone { .. } => Step::Done,
            StoreEvent::Put { key, value, .. } if self.concerns(key) => {
                Step::Put(key.clone(), pruned(key, value).to_string().into())
            }
            StoreEvent::Unreadable { key: Some(key), .. } if self.concerns(key) => {
                Step::Unreadable(key.clone())
            }
            StoreEvent::Delete { key } if self.concerns(key) => Step::Delete(key.clone()),
            StoreEvent::Put { .. }
            | StoreEvent::Unreadable { .. }
            | StoreEvent::Delete { .. }
            | StoreEvent::Readable { .. }
            | StoreEvent::Settled { .. }
            | StoreEvent::Status(_) => Step::Nothing,
        })
    }

    /// The cache has taken the event.
    pub fn take(&mut self, note: Note, cache: &Cache) {
        match (note.0, &mut self.staging) {
            (Step::Nothing, _) => {}
            (Step::Begin, staging) => *staging = Some(BTreeMap::new()),
            (Step::Put(key, text), Some(staging)) => drop(staging.insert(key, Some(text))),
            (Step::Unreadable(key), Some(staging)) => drop(staging.insert(key, None)),
            (Step::Delete(key), Some(staging)) => drop(staging.remove(&key)),
            (Step::Put(key, text), None) => self.set(key, Some(text), cache),
            (Step::Unreadable(key), None) => self.set(key, None, cache),
            (Step::Delete(key), None) => {
                if self.entries.contains_key(&key) {
                    Arc::make_mut(&mut self.entries).remove(&key);
                    self.version += 1;
                }
            }
            (Step::Done, staging) => {
                let staging = staging.take().unwrap_or_default();
                self.replace(staging, cache);
            }
        }
    }

    /// A snapshot and changes that make a cache hold what is in force here.
    pub fn events(&self, revision: i64) -> Vec<StoreEvent> {
        let put = |key: &Key, text: &Option<Arc<str>>| {
            Some(StoreEvent::Put {
                key: key.clone(),
                // It was a value when it was recorded.
                value: serde_json::from_str(text.as_deref()?).ok()?,
                origin: key.to_string(),
            })
        };
        let good = self
            .entries
            .iter()
            .filter_map(|(key, entry)| put(key, &entry.good));
        let newest = self
            .entries
            .iter()
            .filter_map(|(key, entry)| put(key, &entry.newest));
        let mut events = vec![StoreEvent::Begin];
        events.extend(good);
        events.push(StoreEvent::SnapshotDone { revision });
        events.extend(newest);
        events.push(StoreEvent::Settled { revision });
        events
    }

    fn concerns(&self, key: &Key) -> bool {
        match key {
            Key::BlockAffinity { node, .. } => *node == self.node,
            // They say who wants to know, not what to do; and passwords are nobody's business.
            Key::CalicoNodeStatus(_) | Key::Secret { .. } => false,
            Key::Node(_)
            | Key::BgpConfiguration(_)
            | Key::BgpPeer(_)
            | Key::BgpFilter(_)
            | Key::IpPool(_)
            | Key::Service { .. }
            | Key::EndpointSlice { .. } => true,
        }
    }

    fn replace(&mut self, staging: BTreeMap<Key, Option<Arc<str>>>, cache: &Cache) {
        let gone: BTreeSet<Key> = self
            .entries
            .keys()
            .filter(|key| !staging.contains_key(key))
            .cloned()
            .collect();
        if !gone.is_empty() {
            Arc::make_mut(&mut self.entries).retain(|key, _| !gone.contains(key));
            self.version += 1;
        }
        for (key, text) in staging {
            self.set(key, text, cache);
        }
    }

    /// An object's newest version; `None`: it cannot be read.
    fn set(&mut self, key: Key, text: Option<Arc<str>>, cache: &Cache) {
        let last = self.entries.get(&key);
        let new = match text {
            Some(text) if cache.is_honoured_whole(&key) => Entry {
                good: Some(text),
                newest: None,
            },
            newest => Entry {
                good: last.and_then(|entry| entry.good.clone()),
                newest,
            },
        };
        if last == Some(&new) {
            return;
        }
        self.version += 1;
        let entries = Arc::make_mut(&mut self.entries);
        match new {
            Entry {
                good: None,
                newest: None,
            } => drop(entries.remove(&key)),
            new => drop(entries.insert(key, new)),
        }
    }
}

/// What BGP looks at of an object.
fn pruned(key: &Key, value: &Value) -> Value {
    let Some(fields) = value.as_object() else {
        return value.clone();
    };
    let mut pruned = Map::new();
    for (name, value) in fields {
        match (name.as_str(), key) {
            ("metadata", _) => drop(pruned.insert(name.clone(), pruned_metadata(value))),
            ("kind" | "apiVersion", _) => {}
            ("status", Key::Node(_)) => {
                let pod_cidrs = value
                    .get(POD_CIDRS)
                    .map(|value| (POD_CIDRS.to_owned(), value.clone()));
                let status: Map<String, Value> = pod_cidrs.into_iter().collect();
                if !status.is_empty() {
                    pruned.insert(name.clone(), status.into());
                }
            }
            ("spec", Key::Node(_)) => {
                let mut spec = value.clone();
                if let Some(spec) = spec.as_object_mut() {
                    spec.retain(|name, _| !NODE_FIELDS.contains(&name.as_str()));
                }
                pruned.insert(name.clone(), spec);
            }
            _ => drop(pruned.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(pruned)
}

fn pruned_metadata(metadata: &Value) -> Value {
    let Some(fields) = metadata.as_object() else {
        return metadata.clone();
    };
    let mut pruned = Map::new();
    for name in ["name", "namespace", "labels", "annotations"] {
        let Some(value) = fields.get(name) else {
            continue;
        };
        let mut value = value.clone();
        if name == "annotations"
            && let Some(annotations) = value.as_object_mut()
        {
            annotations.retain(|name, _| name.starts_with(ANNOTATIONS));
        }
        pruned.insert(name.to_owned(), value);
    }
    Value::Object(pruned)
}

#[cfg(test)]
mod tests;
