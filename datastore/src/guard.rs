//! Absence is not deletion: when most of a kind vanishes at once, it is held back before it is acted on.
//!
//! An emptied prefix, a half restored backup and the wrong cluster look to a reader like a cluster that was taken
//! down on purpose. The guard sits between a back-end and the cache and passes everything but such deletions: those
//! it turns into [`StoreEvent::Unreadable`], which keeps the last good version in force and shows it as a problem.
//! When the objects come back nothing has happened; when they do not, or somebody says so, they are deleted.
//!
//! Pure: events and `now` in, events out.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::backend::StoreEvent;
use crate::key::Key;

/// Fewer objects than this may vanish at once: a node that lost its only block is no accident worth waiting for.
const MIN_GONE: usize = 3;

/// Kinds of which most do not go at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Guarded {
    Nodes,
    Peers,
    Pools,
    Blocks,
}

impl Guarded {
    fn of(key: &Key) -> Option<Guarded> {
        match key {
            Key::Node(_) => Some(Guarded::Nodes),
            Key::BgpPeer(_) => Some(Guarded::Peers),
            Key::IpPool(_) => Some(Guarded::Pools),
            Key::BlockAffinity { .. } => Some(Guarded::Blocks),
            Key::BgpConfiguration(_)
            | Key::BgpFilter(_)
            | Key::CalicoNodeStatus(_)
            | Key::Secret { .. }
            | Key::Service { .. }
            | Key::EndpointSlice { .. } => None,
        }
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarded::Nodes => "nodes",
            Guarded::Peers => "BGPPeers",
            Guarded::Pools => "IPPools",
            Guarded::Blocks => "blocks",
        })
    }
}

/// Holds mass deletions back.
#[derive(Debug)]
pub struct Guard {
    hold: Duration,
    /// Guarded objects that the cache has.
    known: HashSet<Key>,
    /// Guarded objects of the snapshot that is being received.
    snapshot: Option<HashSet<Key>>,
    /// Deletions of the batch that is being received.
    batch: HashSet<Key>,
    /// Deletions held back: until when, and what is said about each.
    held: HashMap<Key, (Instant, String)>,
}

impl Guard {
    /// Holds mass deletions back for this long.
    pub fn new(hold: Duration) -> Guard {
        Guard {
            hold,
            known: HashSet::new(),
            snapshot: None,
            batch: HashSet::new(),
            held: HashMap::new(),
        }
    }

    /// Takes one event of the back-end: what the cache should get of it, in order.
    ///
    /// A deletion is passed on with the [`StoreEvent::Settled`] that ends its batch, for only then is it known how
    /// many there are.
    pub fn handle(&mut self, now: Instant, event: StoreEvent) -> Vec<StoreEvent> {
        match event {
            StoreEvent::Begin => {
                self.batch.clear();
                self.snapshot = Some(HashSet::new());
            }
            StoreEvent::Put { ref key, .. }
            | StoreEvent::Unreadable {
                key: Some(ref key), ..
            } => self.seen(key),
            StoreEvent::Delete { key } => return self.deleted(key),
            StoreEvent::Settled { .. } => return self.settled(now, event),
            StoreEvent::SnapshotDone { .. } => return self.snapshot_done(now, event),
            StoreEvent::Unreadable { key: None, .. }
            | StoreEvent::Readable { .. }
            | StoreEvent::Status(_) => {}
        }
        vec![event]
    }

    /// When [`Guard::handle_timeout`] has something to do; never inside a snapshot, which would swallow it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.snapshot.is_some() {
            return None;
        }
        self.held.values().map(|(until, _)| *until).min()
    }

    /// Deletions that have been held back long enough.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<StoreEvent> {
        if self.snapshot.is_some() {
            return Vec::new();
        }
        let due = self.held.iter().filter(|(_, (until, _))| *until <= now);
        let mut due: Vec<_> = due.map(|(key, _)| key.clone()).collect();
        due.sort();
        if !due.is_empty() {
            warn!(
                objects = due.len(),
                "deletions that were held back are acted on now"
            );
        }
        for key in &due {
            self.held.remove(key);
            self.known.remove(key);
        }
        due.into_iter().map(|key| StoreEvent::Delete { key }).collect()
    }

    /// Somebody says that it is meant so: what is held back is due now.
    pub fn release(&mut self, now: Instant) -> Vec<StoreEvent> {
        for (until, _) in self.held.values_mut() {
            *until = now;
        }
        self.handle_timeout(now)
    }

    /// Objects whose deletion is held back, in the order of their names.
    pub fn held(&self) -> Vec<&Key> {
        let mut held: Vec<_> = self.held.keys().collect();
        held.sort();
        held
    }

    fn seen(&mut self, key: &Key) {
        if Guarded::of(key).is_none() {
            return;
        }
        match &mut self.snapshot {
            Some(snapshot) => drop(snapshot.insert(key.clone())),
            None => {
                self.known.insert(key.clone());
                self.batch.remove(key);
                self.held.remove(key);
            }
        }
    }

    fn deleted(&mut self, key: Key) -> Vec<StoreEvent> {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.remove(&key);
        } else if self.known.contains(&key) {
            if !self.held.contains_key(&key) {
                self.batch.insert(key);
            }
            return Vec::new();
        }
        vec![StoreEvent::Delete { key }]
    }

    fn settled(&mut self, now: Instant, mark: StoreEvent) -> Vec<StoreEvent> {
        let gone = std::mem::take(&mut self.batch);
        let mut events = self.judge(now, gone);
        events.push(mark);
        events
    }

    fn snapshot_done(&mut self, now: Instant, mark: StoreEvent) -> Vec<StoreEvent> {
        let snapshot = self.snapshot.take().unwrap_or_default();
        self.held.retain(|key, _| !snapshot.contains(key));
        // What was held back before is missing again; it has been judged.
        let known = self.known.iter().filter(|key| !snapshot.contains(*key));
        let gone = known
            .filter(|key| !self.held.contains_key(*key))
            .cloned()
            .collect();
        let mut events: Vec<_> = self
            .held
            .iter()
            .map(|(key, (_, why))| is_held(key, why))
            .collect();
        // What is to go needs no word: the snapshot does not have it.
        let judged = self.judge(now, gone).into_iter();
        events.extend(judged.filter(|event| !matches!(event, StoreEvent::Delete { .. })));
        self.known.extend(snapshot);
        events.push(mark);
        events
    }

    /// Lets deletions pass, or holds them back where they are most of their kind.
    fn judge(&mut self, now: Instant, gone: HashSet<Key>) -> Vec<StoreEvent> {
        if gone.is_empty() {
            return Vec::new();
        }
        let known = self.known.iter().filter(|key| !self.held.contains_key(*key));
        let verdicts = Verdict::of_each_kind(&gone, known);
        for Verdict { of, gone, had } in verdicts.values().filter(|verdict| verdict.is_mass()) {
            let hold_secs = self.hold.as_secs();
            warn!(kind = %of, gone, had, hold_secs, "most vanished at once; their deletion is held back");
        }
        let mut gone: Vec<_> = gone.into_iter().collect();
        gone.sort();
        let mut events = Vec::with_capacity(gone.len());
        for key in gone {
            let verdict = Guarded::of(&key).and_then(|of| verdicts.get(&of));
            if let Some(verdict) = verdict.filter(|verdict| verdict.is_mass()) {
                let Verdict { of, gone, had } = verdict;
                let secs = self.hold.as_secs();
                let why =
                    format!("{gone} of {had} {of} vanished at once: its deletion is held back for {secs} s");
                events.push(is_held(&key, &why));
                self.held.insert(key, (now + self.hold, why));
            } else {
                self.known.remove(&key);
                events.push(StoreEvent::Delete { key });
            }
        }
        events
    }
}

/// How much of one kind vanished at once.
struct Verdict {
    of: Guarded,
    gone: usize,
    had: usize,
}

impl Verdict {
    fn of_each_kind<'k>(
        gone: &HashSet<Key>,
        known: impl Iterator<Item = &'k Key>,
    ) -> HashMap<Guarded, Verdict> {
        let mut verdicts: HashMap<Guarded, Verdict> = HashMap::new();
        for of in gone.iter().filter_map(Guarded::of) {
            let verdict = verdicts.entry(of).or_insert(Verdict { of, gone: 0, had: 0 });
            verdict.gone += 1;
        }
        for of in known.filter_map(Guarded::of) {
            if let Some(verdict) = verdicts.get_mut(&of) {
                verdict.had += 1;
            }
        }
        verdicts
    }

    fn is_mass(&self) -> bool {
        self.gone >= MIN_GONE && self.gone * 2 > self.had
    }
}

fn is_held(key: &Key, why: &str) -> StoreEvent {
    StoreEvent::Unreadable {
        key: Some(key.clone()),
        origin: key.to_string(),
        error: why.to_owned(),
    }
}

#[cfg(test)]
mod tests;
