//! The entries of all prefixes of a family, found by prefix or by number.
//!
//! A change is set once by prefix; its way to the kernel and back goes by number, in the order in which entries were
//! made: looking a prefix up in a table of a million is a walk through cold memory. The index is in pieces, so that it
//! grows piece by piece: one that doubles holds the old half beside the new whole, which is the peak of the process.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

use crate::fib::entry::{Entry, Flag};

/// Names an entry in [`Entries`] until it is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EntryId(u32);

/// Pieces of the index.
const PIECES: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Entries<P> {
    slots: Vec<(P, Entry)>,
    /// Slots of entries that were removed ([`Flag::Vacant`]).
    vacant: Vec<EntryId>,
    index: Vec<HashTable<EntryId>>,
    hasher: foldhash::fast::RandomState,
}

impl<P> Default for Entries<P> {
    fn default() -> Self {
        Entries {
            slots: Vec::new(),
            vacant: Vec::new(),
            index: (0..PIECES).map(|_| HashTable::new()).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl<P: Copy + Eq + Hash> Entries<P> {
    pub(crate) fn find(&self, prefix: P) -> Option<EntryId> {
        let hash = self.hasher.hash_one(prefix);
        let found = self.index[piece(hash)].find(hash, |id| self.slots[id.0 as usize].0 == prefix);
        found.copied()
    }

    pub(crate) fn get(&self, prefix: P) -> Option<&Entry> {
        self.find(prefix).map(|id| self.at(id).1)
    }

    pub(crate) fn get_mut(&mut self, prefix: P) -> Option<(EntryId, &mut Entry)> {
        self.find(prefix).map(|id| (id, self.at_mut(id).1))
    }

    /// The entry with this number, which has not been removed since.
    pub(crate) fn at(&self, id: EntryId) -> (P, &Entry) {
        let (prefix, entry) = &self.slots[id.0 as usize];
        (*prefix, entry)
    }

    /// The same, to be changed.
    pub(crate) fn at_mut(&mut self, id: EntryId) -> (P, &mut Entry) {
        let (prefix, entry) = &mut self.slots[id.0 as usize];
        (*prefix, entry)
    }

    /// The entry of a prefix, made if there is none.
    pub(crate) fn get_or_insert_with(
        &mut self,
        prefix: P,
        make: impl FnOnce() -> Entry,
    ) -> (EntryId, &mut Entry) {
        let (slots, hasher) = (&mut self.slots, &self.hasher);
        let hash = hasher.hash_one(prefix);
        let piece = &mut self.index[piece(hash)];
        let id = match piece.find(hash, |id| slots[id.0 as usize].0 == prefix) {
            Some(&id) => id,
            None => {
                let slot = (prefix, make());
                let id = match self.vacant.pop() {
                    Some(id) => {
                        slots[id.0 as usize] = slot;
                        id
                    }
                    None => {
                        slots.push(slot);
                        EntryId((slots.len() - 1) as u32)
                    }
                };
                piece.insert_unique(hash, id, |id| hasher.hash_one(slots[id.0 as usize].0));
                id
            }
        };
        (id, &mut slots[id.0 as usize].1)
    }

    /// Removes an entry; its number may name another one from now on.
    pub(crate) fn remove(&mut self, id: EntryId) {
        let (prefix, entry) = &mut self.slots[id.0 as usize];
        let hash = self.hasher.hash_one(*prefix);
        if let Ok(found) = self.index[piece(hash)].find_entry(hash, |found| *found == id) {
            found.remove();
            *entry = Entry::default();
            entry.put(Flag::Vacant, true);
            self.vacant.push(id);
        }
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (P, &Entry)> {
        let used = self.slots.iter().filter(|(_, entry)| !entry.has(Flag::Vacant));
        used.map(|(prefix, entry)| (*prefix, entry))
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (EntryId, &mut Entry)> {
        let slots = (0..).map(EntryId).zip(&mut self.slots);
        let used = slots.filter(|(_, (_, entry))| !entry.has(Flag::Vacant));
        used.map(|(id, (_, entry))| (id, entry))
    }
}

/// Bits of the hash that a table of this size does not use itself.
fn piece(hash: u64) -> usize {
    (hash >> 40) as usize % PIECES
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fib::shapes::TargetId;

    #[test]
    fn entries_are_found_changed_and_removed_wherever_they_lie() {
        let mut entries = Entries::<u32>::default();
        let mut ids = Vec::new();
        for key in 0..10_000 {
            let (id, entry) = entries.get_or_insert_with(key, Entry::default);
            entry.set_wanted(Some(TargetId(key)));
            ids.push(id);
        }
        assert!(entries.get(10_000).is_none());
        for id in ids.iter().step_by(2) {
            entries.remove(*id);
        }
        for (id, entry) in entries.iter_mut() {
            let key = ids.iter().position(|other| *other == id).unwrap() as u32;
            entry.set_wanted(Some(TargetId(key + 1)));
        }
        let left: BTreeSet<u32> = entries.iter().map(|(key, _)| key).collect();
        assert_eq!(left, (1..10_000).step_by(2).collect());
        for key in left {
            let id = entries.find(key).unwrap();
            assert_eq!(id, ids[key as usize]);
            assert_eq!(entries.at(id).0, key);
            assert_eq!(
                entries.get(key).and_then(|entry| entry.wanted()),
                Some(TargetId(key + 1))
            );
            assert!(entries.get_mut(key).is_some());
        }
    }

    #[test]
    fn a_vacant_slot_is_used_again_and_shows_nothing_of_the_old_entry() {
        let mut entries = Entries::<u32>::default();
        let (old, entry) = entries.get_or_insert_with(1, Entry::default);
        entry.put(Flag::Refused, true);
        entries.get_or_insert_with(2, Entry::default);
        entries.remove(old);
        assert!(entries.find(1).is_none());
        assert_eq!(entries.iter().count(), 1);
        let (new, entry) = entries.get_or_insert_with(3, Entry::default);
        assert_eq!(new, old);
        assert!(!entry.has(Flag::Refused) && !entry.has(Flag::Vacant));
        assert_eq!(entries.iter().count(), 2);
    }
}
