//! What a folder's files say together, and the difference to what was delivered: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tracing::{debug, warn};

use super::scan::{Content, Known, Object, Scanned, name_of};
use crate::backend::StoreEvent;
use crate::key::Key;

/// The files of a folder, and what was delivered of them.
#[derive(Debug, Default)]
pub(super) struct Folder {
    files: BTreeMap<PathBuf, File>,
    delivered: Merged,
}

/// A file as it counts: an older state of it where the newest cannot be read.
#[derive(Debug, Default)]
struct File {
    fingerprint: Option<u64>,
    objects: Vec<Object>,
    /// Origin and reason.
    complaints: Vec<(String, String)>,
    /// Was found empty; whether it is meant so is not known yet.
    is_suspect: bool,
}

/// All files together.
#[derive(Debug, Default)]
struct Merged {
    /// By identity: see [`identity`].
    objects: BTreeMap<Key, Object>,
    complaints: BTreeMap<String, String>,
}

impl Folder {
    /// Fingerprints of what needs no parsing again.
    pub(super) fn known(&self) -> Known {
        let files = self.files.iter();
        files
            .filter_map(|(path, file)| Some((path.clone(), file.fingerprint?)))
            .collect()
    }

    /// Whether a file should be looked at again soon.
    pub(super) fn has_suspects(&self) -> bool {
        self.files.values().any(|file| file.is_suspect)
    }

    /// Takes what a look at the folder found: what changed by it.
    ///
    /// At the first look (`is_first`) an empty file is taken for what it is; nothing can be lost by it.
    pub(super) fn take(&mut self, scanned: Vec<Scanned>, is_first: bool) -> Vec<StoreEvent> {
        let present: BTreeSet<_> = scanned.iter().map(|file| file.path.clone()).collect();
        self.files.retain(|path, _| present.contains(path));
        for Scanned { path, content } in scanned {
            let name = name_of(&path);
            self.files.entry(path).or_default().take(content, &name, is_first);
        }
        let merged = self.merged();
        let mut events = changed_objects(&self.delivered, &merged);
        events.extend(changed_complaints(&self.delivered, &merged));
        self.delivered = merged;
        events
    }

    /// In name order: of an object that occurs twice the later file's counts.
    fn merged(&self) -> Merged {
        let mut merged = Merged::default();
        for file in self.files.values() {
            let objects = file.objects.iter().cloned();
            merged
                .objects
                .extend(objects.map(|object| (identity(&object.0), object)));
            merged.complaints.extend(file.complaints.iter().cloned());
        }
        merged
    }
}

impl File {
    fn take(&mut self, content: Content, name: &str, is_first: bool) {
        let was_suspect = std::mem::take(&mut self.is_suspect);
        match content {
            Content::Same => {}
            Content::Unreadable(reason) => {
                // Read again when it can be, even if it is the same then.
                self.fingerprint = None;
                self.complaints = vec![(name.to_owned(), reason)];
            }
            Content::Empty if self.objects.is_empty() || was_suspect || is_first => {
                *self = File::default();
            }
            Content::Empty => {
                self.fingerprint = None;
                self.is_suspect = true;
            }
            Content::Read {
                fingerprint,
                mut objects,
                complaints,
            } => {
                if !complaints.is_empty() {
                    // Which object the broken part was cannot be told, so nothing the file said before is given up.
                    let new: BTreeSet<_> = objects.iter().map(|(key, ..)| identity(key)).collect();
                    let kept = self.objects.drain(..);
                    objects.extend(kept.filter(|(key, ..)| !new.contains(&identity(key))));
                }
                *self = File {
                    fingerprint: Some(fingerprint),
                    objects,
                    complaints,
                    is_suspect: false,
                };
            }
        }
    }
}

/// The key without what is content: the node of a BlockAffinity is a field of an object with a name of its own.
fn identity(key: &Key) -> Key {
    match key {
        Key::BlockAffinity { id, .. } => Key::BlockAffinity {
            node: String::new(),
            id: id.clone(),
        },
        Key::Node(_)
        | Key::BgpConfiguration(_)
        | Key::BgpPeer(_)
        | Key::BgpFilter(_)
        | Key::IpPool(_)
        | Key::CalicoNodeStatus(_)
        | Key::Secret { .. }
        | Key::Service { .. }
        | Key::EndpointSlice { .. } => key.clone(),
    }
}

fn changed_objects(old: &Merged, new: &Merged) -> Vec<StoreEvent> {
    let mut events = Vec::new();
    for (identity, (key, ..)) in &old.objects {
        let successor = new.objects.get(identity);
        if successor.is_none_or(|(new_key, ..)| new_key != key) {
            debug!(%key, "gone");
            events.push(StoreEvent::Delete { key: key.clone() });
        }
    }
    for (identity, object) in &new.objects {
        let (key, value, origin) = object;
        let is_same = old
            .objects
            .get(identity)
            .is_some_and(|(old_key, old_value, _)| (old_key, old_value) == (key, value));
        if !is_same {
            debug!(%key, %origin, "read");
            events.push(StoreEvent::Put {
                key: key.clone(),
                value: value.clone(),
                origin: origin.clone(),
            });
        }
    }
    events
}

fn changed_complaints(old: &Merged, new: &Merged) -> Vec<StoreEvent> {
    let mut events = Vec::new();
    for (origin, error) in &new.complaints {
        if old.complaints.get(origin) != Some(error) {
            warn!(%origin, %error, "cannot be read; what it said before stays in force");
            events.push(StoreEvent::Unreadable {
                key: None,
                origin: origin.clone(),
                error: error.clone(),
            });
        }
    }
    let mended = old.complaints.keys();
    let mended = mended.filter(|origin| !new.complaints.contains_key(*origin));
    events.extend(mended.cloned().map(|origin| StoreEvent::Readable { origin }));
    events
}
