//! The entries of all prefixes of a family: a hash table in pieces, so that it grows piece by piece.
//!
//! One table of a million prefixes doubles by holding the old half beside the new whole: fifteen megabytes for a moment,
//! which is the peak of the process. A sixty-fourth of that is nothing.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

use crate::fib::entry::Entry;

/// Pieces.
const PIECES: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Entries<P> {
    pieces: Vec<HashTable<(P, Entry)>>,
    hasher: foldhash::fast::RandomState,
}

impl<P> Default for Entries<P> {
    fn default() -> Self {
        Entries {
            pieces: (0..PIECES).map(|_| HashTable::new()).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl<P: Copy + Eq + Hash> Entries<P> {
    pub(crate) fn get(&self, prefix: P) -> Option<&Entry> {
        let hash = self.hasher.hash_one(prefix);
        let found = self.pieces[piece(hash)].find(hash, |(key, _)| *key == prefix);
        found.map(|(_, entry)| entry)
    }

    pub(crate) fn get_mut(&mut self, prefix: P) -> Option<&mut Entry> {
        let hash = self.hasher.hash_one(prefix);
        let found = self.pieces[piece(hash)].find_mut(hash, |(key, _)| *key == prefix);
        found.map(|(_, entry)| entry)
    }

    /// The entry of a prefix, made if there is none.
    pub(crate) fn get_or_insert_with(&mut self, prefix: P, make: impl FnOnce() -> Entry) -> &mut Entry {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(prefix);
        let entry =
            self.pieces[piece(hash)].entry(hash, |(key, _)| *key == prefix, |(key, _)| hasher.hash_one(key));
        &mut entry.or_insert_with(|| (prefix, make())).into_mut().1
    }

    pub(crate) fn remove(&mut self, prefix: P) {
        let hash = self.hasher.hash_one(prefix);
        if let Ok(found) = self.pieces[piece(hash)].find_entry(hash, |(key, _)| *key == prefix) {
            found.remove();
        }
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (P, &Entry)> {
        self.pieces
            .iter()
            .flat_map(|piece| piece.iter().map(|(prefix, entry)| (*prefix, entry)))
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (P, &mut Entry)> {
        self.pieces
            .iter_mut()
            .flat_map(|piece| piece.iter_mut().map(|(prefix, entry)| (*prefix, entry)))
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
        for key in 0..10_000 {
            entries
                .get_or_insert_with(key, Entry::default)
                .set_wanted(Some(TargetId(key)));
        }
        assert!(entries.get(10_000).is_none());
        for key in (0..10_000).step_by(2) {
            entries.remove(key);
        }
        for (key, entry) in entries.iter_mut() {
            entry.set_wanted(Some(TargetId(key + 1)));
        }
        let left: BTreeSet<u32> = entries.iter().map(|(key, _)| key).collect();
        assert_eq!(left, (1..10_000).step_by(2).collect());
        for key in left {
            assert_eq!(
                entries.get(key).and_then(|entry| entry.wanted()),
                Some(TargetId(key + 1))
            );
            assert!(entries.get_mut(key).is_some());
        }
    }
}
