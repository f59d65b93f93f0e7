//! What changed, in the order of the last change of each item.
//!
//! An item (a prefix, or a path where all paths are sent) stands at most once in force: a later change of it makes
//! the earlier entry void. A reader is a position; what lies before it, it has. So the newest state wins, a reader
//! that stands still costs one number, and one that starts from zero reads every item once: its full feed.

/// Where a reader stands: everything before it has been read.
pub(crate) type Position = u32;

const VOID: Position = Position::MAX;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: Vec<u32>,
    /// Where each item's valid entry is.
    positions: Vec<Position>,
    valid: usize,
}

impl Journal {
    /// Notes a change of an item.
    pub(crate) fn record(&mut self, item: u32) {
        let at = item as usize;
        if at >= self.positions.len() {
            self.positions.resize(at + 1, VOID);
        }
        if self.positions[at] == VOID {
            self.valid += 1;
        }
        self.positions[at] = self.entries.len() as Position;
        self.entries.push(item);
    }

    /// Forgets an item: nobody need be told of it any more.
    pub(crate) fn forget(&mut self, item: u32) {
        if let Some(position) = self.positions.get_mut(item as usize)
            && *position != VOID
        {
            *position = VOID;
            self.valid -= 1;
        }
    }

    /// Where an item's last change stands; `None` when it has none.
    pub(crate) fn position(&self, item: u32) -> Option<Position> {
        self.positions
            .get(item as usize)
            .copied()
            .filter(|&position| position != VOID)
    }

    /// One past the last entry.
    pub(crate) fn end(&self) -> Position {
        self.entries.len() as Position
    }

    /// The valid items from a position on, each with the position after it.
    pub(crate) fn read(&self, from: Position) -> impl Iterator<Item = (u32, Position)> {
        (from..)
            .zip(&self.entries[(from as usize).min(self.entries.len())..])
            .filter_map(|(at, &item)| (self.positions[item as usize] == at).then_some((item, at + 1)))
    }

    /// Whether void entries outweigh the valid ones so far that squeezing them out pays.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.entries.len() > 2 * self.valid + 1024
    }

    /// Squeezes void entries out, and moves the readers along.
    pub(crate) fn compact<'a>(&mut self, readers: impl Iterator<Item = &'a mut Position>) {
        let mut readers: Vec<&mut Position> = readers.collect();
        readers.sort_unstable();
        let mut readers = readers.into_iter().peekable();
        let (mut kept, positions) = (0, &mut self.positions);
        for at in 0..self.entries.len() {
            while let Some(reader) = readers.next_if(|reader| **reader as usize <= at) {
                *reader = kept as Position;
            }
            let item = self.entries[at];
            if positions[item as usize] == at as Position {
                positions[item as usize] = kept as Position;
                self.entries[kept] = item;
                kept += 1;
            }
        }
        for reader in readers {
            *reader = kept as Position;
        }
        self.entries.truncate(kept);
        self.entries.shrink_to(2 * kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(journal: &Journal, from: Position) -> Vec<u32> {
        journal.read(from).map(|(item, _)| item).collect()
    }

    #[test]
    fn a_reader_sees_only_the_last_change_of_each_item() {
        let mut journal = Journal::default();
        [5, 7, 5, 9].into_iter().for_each(|item| journal.record(item));
        assert_eq!(items(&journal, 0), [7, 5, 9]);
        assert_eq!(items(&journal, 3), [9]);
        journal.forget(7);
        assert_eq!(items(&journal, 0), [5, 9]);
    }

    #[test]
    fn compaction_changes_nothing_that_a_reader_has_still_to_see() {
        let mut journal = Journal::default();
        for round in 0..3_000u32 {
            journal.record(round % 10);
        }
        assert!(journal.wants_compaction());
        let mut readers = [0, 2_993, 3_000, 2_990];
        let before = readers.map(|at| items(&journal, at));
        journal.compact(readers.iter_mut());
        assert_eq!(readers.map(|at| items(&journal, at)), before);
        assert_eq!(journal.end(), 10);
        assert!(!journal.wants_compaction());
    }
}
