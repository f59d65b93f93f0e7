//! Absence is not deletion: when most of a kind vanishes in one revision, that is held back before it is acted on.
//!
//! An emptied prefix, a half restored backup and the wrong cluster look to a reader like a cluster that was taken
//! down on purpose. The guard sits between a back-end and the cache and passes everything but such deletions: those
//! it turns into [`StoreEvent::Unreadable`], which keeps the last good version in force and shows it as a problem.
//! What else goes in the same revision goes with them, or stays with them: half an accident is no better.
//! When the objects come back nothing has happened; when they do not, or somebody says so, they are deleted. While the
//! source is away the time stands still: who mends an accident may have to end etcd for it.
//!
//! Pure: events and `now` in, events out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::backend::{StoreEvent, StoreStatus};
use crate::key::Key;

/// Fewer objects than this may vanish at once: a node that lost its only block is no accident worth waiting for.
const MIN_GONE: usize = 2;

/// Kinds that are held back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Guarded {
    Nodes,
    Peers,
    Pools,
    Blocks,
    Configurations,
    Filters,
}

impl Guarded {
    fn of(key: &Key) -> Option<Guarded> {
        match key {
            Key::Node(_) => Some(Guarded::Nodes),
            Key::BgpPeer(_) => Some(Guarded::Peers),
            Key::IpPool(_) => Some(Guarded::Pools),
            Key::BlockAffinity { .. } => Some(Guarded::Blocks),
            Key::BgpConfiguration(_) => Some(Guarded::Configurations),
            Key::BgpFilter(_) => Some(Guarded::Filters),
            Key::CalicoNodeStatus(_)
            | Key::Secret { .. }
            | Key::Service { .. }
            | Key::EndpointSlice { .. } => None,
        }
    }
}

impl Guarded {
    /// Whether losing most of the kind is a reason by itself. The others only go along.
    fn is_reason(self) -> bool {
        match self {
            Guarded::Nodes | Guarded::Peers | Guarded::Pools | Guarded::Blocks => true,
            Guarded::Configurations | Guarded::Filters => false,
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
            Guarded::Configurations => "BGPConfigurations",
            Guarded::Filters => "BGPFilters",
        })
    }
}

/// Holds mass deletions back.
#[derive(Debug)]
pub struct Guard {
    /// `None`: nothing is held back.
    hold: Option<Duration>,
    /// Guarded objects that the cache has.
    known: HashSet<Key>,
    /// Guarded objects of the snapshot that is being received.
    snapshot: Option<HashSet<Key>>,
    /// Deletions since the last mark: of which revision they are it will say.
    batch: HashSet<Key>,
    /// Guarded objects that are new since the last mark, and those before it with their revision, until it is judged:
    /// what comes in a revision makes up for nothing that goes in it.
    new: Vec<Key>,
    new_in: HashMap<Key, i64>,
    /// Deletions that nobody has judged yet, by revision: each watch reports its part of one.
    pending: BTreeMap<i64, HashSet<Key>>,
    /// The revision that was last held back, for parts of it that come late.
    mass: Option<i64>,
    /// Deletions held back: until when, and what is said about each.
    held: HashMap<Key, (Instant, String)>,
    /// Since when the source cannot be asked.
    away_since: Option<Instant>,
}

impl Guard {
    /// Holds mass deletions back for this long; `None`: passes everything, and only keeps count.
    pub fn new(hold: Option<Duration>) -> Guard {
        Guard {
            hold,
            known: HashSet::new(),
            snapshot: None,
            batch: HashSet::new(),
            new: Vec::new(),
            new_in: HashMap::new(),
            pending: BTreeMap::new(),
            mass: None,
            held: HashMap::new(),
            away_since: None,
        }
    }

    /// Holds mass deletions back for this long from now on. What is held back already keeps its time.
    pub fn set_hold(&mut self, hold: Option<Duration>) {
        self.hold = hold;
    }

    /// How long mass deletions are held back.
    pub fn hold(&self) -> Option<Duration> {
        self.hold
    }

    /// Forgets what was there: nothing is missed in the next snapshot.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// Takes one event of the back-end: what the cache should get of it, in order.
    ///
    /// Deletions are passed on by [`Guard::judge`], for only then is it known how many there are.
    pub fn handle(&mut self, now: Instant, event: StoreEvent) -> Vec<StoreEvent> {
        match event {
            StoreEvent::Begin => {
                self.batch.clear();
                self.pending.clear();
                self.new.clear();
                self.new_in.clear();
                self.snapshot = Some(HashSet::new());
            }
            StoreEvent::Put { ref key, .. }
            | StoreEvent::Unreadable {
                key: Some(ref key), ..
            } => self.seen(key),
            StoreEvent::Delete { key } => return self.deleted(key),
            StoreEvent::Settled { revision } => {
                self.back(now);
                self.settled(revision);
            }
            StoreEvent::SnapshotDone { .. } => return self.snapshot_done(now, event),
            StoreEvent::Status(StoreStatus::Lost { .. }) => {
                self.away_since.get_or_insert(now);
            }
            StoreEvent::Status(StoreStatus::Connected { .. }) => self.back(now),
            StoreEvent::Unreadable { key: None, .. } | StoreEvent::Readable { .. } => {}
        }
        vec![event]
    }

    /// Lets the deletions since the last call pass, or holds them back. To be called when nothing more is at hand:
    /// what was deleted in one revision may arrive in parts.
    pub fn judge(&mut self, now: Instant) -> Vec<StoreEvent> {
        let pending = std::mem::take(&mut self.pending);
        let judged = pending
            .into_iter()
            .map(|(revision, gone)| self.judge_revision(now, revision, gone));
        let events = judged.collect::<Vec<_>>().concat();
        self.new_in.clear();
        events
    }

    /// How many deletions wait for [`Guard::judge`].
    pub fn pending(&self) -> usize {
        self.batch.len() + self.pending.values().map(HashSet::len).sum::<usize>()
    }

    /// When [`Guard::handle_timeout`] has something to do; never inside a snapshot, which would swallow it, nor while
    /// the source is away.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.snapshot.is_some() || self.away_since.is_some() {
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

    /// Objects whose deletion is held back, in the order of their names, and until when.
    pub fn held(&self) -> Vec<(&Key, Instant)> {
        let mut held: Vec<_> = self.held.iter().map(|(key, (until, _))| (key, *until)).collect();
        held.sort();
        held
    }

    /// How many those are.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// The source can be asked again: the time that it was away does not count.
    fn back(&mut self, now: Instant) {
        let Some(since) = self.away_since.take() else {
            return;
        };
        let away = now.saturating_duration_since(since);
        self.held.values_mut().for_each(|(until, _)| *until += away);
    }

    fn seen(&mut self, key: &Key) {
        if Guarded::of(key).is_none() {
            return;
        }
        match &mut self.snapshot {
            Some(snapshot) => drop(snapshot.insert(key.clone())),
            None => {
                if self.known.insert(key.clone()) {
                    self.new.push(key.clone());
                }
                self.batch.remove(key);
                for gone in self.pending.values_mut() {
                    gone.remove(key);
                }
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

    fn settled(&mut self, revision: i64) {
        self.new_in.extend(self.new.drain(..).map(|key| (key, revision)));
        let gone = std::mem::take(&mut self.batch);
        if !gone.is_empty() {
            self.pending.entry(revision).or_default().extend(gone);
        }
    }

    fn snapshot_done(&mut self, now: Instant, mark: StoreEvent) -> Vec<StoreEvent> {
        self.back(now);
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
        // A listing has no part that comes late.
        let judged = self.judge_revision(now, 0, gone).into_iter();
        events.extend(judged.filter(|event| !matches!(event, StoreEvent::Delete { .. })));
        self.known.extend(snapshot);
        events.push(mark);
        events
    }

    /// Lets deletions pass, or holds them back where they are most of their kind.
    fn judge_revision(&mut self, now: Instant, revision: i64, gone: HashSet<Key>) -> Vec<StoreEvent> {
        if gone.is_empty() {
            return Vec::new();
        }
        let was_there = |key: &&Key| self.new_in.get(*key).is_none_or(|since| *since < revision);
        let known = self.known.iter().filter(|key| !self.held.contains_key(*key));
        let known = known.filter(was_there);
        let verdicts = Verdict::of_each_kind(&gone, known);
        let is_late_part = revision != 0 && self.mass == Some(revision);
        let mass = verdicts
            .values()
            .filter(|verdict| is_late_part || verdict.is_mass());
        let mass = mass.max_by_key(|verdict| verdict.gone);
        let mut gone: Vec<_> = gone.into_iter().collect();
        gone.sort();
        let Some((verdict, hold)) = mass.zip(self.hold) else {
            for key in &gone {
                self.known.remove(key);
            }
            return gone.into_iter().map(|key| StoreEvent::Delete { key }).collect();
        };
        self.mass = Some(revision);
        let hold_secs = hold.as_secs();
        let Verdict { of, gone: count, had } = verdict;
        warn!(kind = %of, gone = count, had, hold_secs, "most vanished at once; all that went with them is held back");
        let why =
            format!("{count} of {had} {of} vanished at once: its deletion is held back for {hold_secs} s");
        let mut events = Vec::with_capacity(gone.len());
        for key in gone {
            events.push(is_held(&key, &why));
            self.held.insert(key, (now + hold, why.clone()));
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
        self.of.is_reason() && self.gone >= MIN_GONE && self.gone * 2 > self.had
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
