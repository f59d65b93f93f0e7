//! Attribute sets, stored once each.
//!
//! Routes name their set by an [`AttrId`]: four octets to copy, nothing to count twice. A set is found again by its
//! canonical bytes (see `pipit_bgp::wire::attr`) and next hop, so that equal attributes from any number of peers are
//! one entry. **Invariant:** an entry lives exactly as long as somebody holds a count of it.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::HashTable;
use pipit_bgp::wire::attr::AttrFacts;

use crate::next_hops::NextHopId;

/// Names an attribute set in the [`AttrTable`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct AttrId(u32);

/// One attribute set.
#[derive(Debug)]
pub(crate) struct AttrSet {
    /// Canonical attribute bytes, next hop excluded.
    bytes: Box<[u8]>,
    facts: AttrFacts,
    next_hop: NextHopId,
    count: u32,
    hash: u64,
}

impl AttrSet {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn facts(&self) -> &AttrFacts {
        &self.facts
    }

    pub(crate) fn next_hop(&self) -> NextHopId {
        self.next_hop
    }
}

/// All attribute sets of the RIB.
#[derive(Debug, Default)]
pub(crate) struct AttrTable {
    sets: Vec<AttrSet>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    bytes_held: usize,
}

/// The outcome of giving one count back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Released {
    /// Others still hold the set.
    Shared,
    /// That was the last count; the set's hold on this next hop ends too.
    Gone(NextHopId),
}

impl AttrTable {
    /// The id of the set with these bytes and this next hop, with one more count held by the caller. The flag says
    /// that the set is new, in which case it also holds a count of `next_hop`.
    pub(crate) fn intern(&mut self, bytes: &[u8], next_hop: NextHopId, facts: &AttrFacts) -> (AttrId, bool) {
        let hash = self.hash(bytes, next_hop);
        let sets = &mut self.sets;
        let found = self.index.find(hash, |&at| {
            let set = &sets[at as usize];
            set.hash == hash && set.next_hop == next_hop && *set.bytes == *bytes
        });
        if let Some(&at) = found {
            sets[at as usize].count += 1;
            return (AttrId(at), false);
        }
        self.bytes_held += bytes.len();
        let set = AttrSet {
            bytes: bytes.into(),
            facts: *facts,
            next_hop,
            count: 1,
            hash,
        };
        let at = match self.free.pop() {
            Some(at) => {
                sets[at as usize] = set;
                at
            }
            None => {
                sets.push(set);
                (sets.len() - 1) as u32
            }
        };
        self.index.insert_unique(hash, at, |&at| sets[at as usize].hash);
        (AttrId(at), true)
    }

    /// Takes one more count of a set that the caller already holds.
    pub(crate) fn retain(&mut self, id: AttrId) {
        self.sets[id.0 as usize].count += 1;
    }

    /// Gives one count back.
    pub(crate) fn release(&mut self, id: AttrId) -> Released {
        let set = &mut self.sets[id.0 as usize];
        set.count -= 1;
        if set.count > 0 {
            return Released::Shared;
        }
        let (hash, next_hop) = (set.hash, set.next_hop);
        self.bytes_held -= set.bytes.len();
        set.bytes = Box::default();
        if let Ok(entry) = self.index.find_entry(hash, |&at| at == id.0) {
            entry.remove();
        }
        self.free.push(id.0);
        Released::Gone(next_hop)
    }

    /// The octets of a set, divided among its uses.
    pub(crate) fn share(&self, id: AttrId) -> u64 {
        let set = &self[id];
        set.bytes.len() as u64 / u64::from(set.count.max(1))
    }

    /// Every set with the number of its uses.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (AttrId, u32)> {
        (0..)
            .map(AttrId)
            .zip(&self.sets)
            .filter(|(_, set)| set.count > 0)
            .map(|(id, set)| (id, set.count))
    }

    /// Number of distinct sets.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Octets of canonical attributes held.
    pub(crate) fn bytes_held(&self) -> usize {
        self.bytes_held
    }

    fn hash(&self, bytes: &[u8], next_hop: NextHopId) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes);
        next_hop.hash(&mut hasher);
        hasher.finish()
    }
}

impl std::ops::Index<AttrId> for AttrTable {
    type Output = AttrSet;

    fn index(&self, id: AttrId) -> &AttrSet {
        &self.sets[id.0 as usize]
    }
}
