//! Prefixes with many paths: those that every node announces, or what a peer makes of ADD-PATH (RFC 7911).
//!
//! To choose among all paths whenever one of them changes would let a peer that sends thousands for one prefix hold up
//! everybody. A crowded prefix is therefore chosen among once a batch. What is said of each path on its own is said at
//! once: it depends on no other.

use std::mem::take;

use crate::adj_rib_out::Paths;
use crate::family_rib::FamilyRib;
use crate::family_rib::telling::Changed;
use crate::fib::FibPrefix;
use crate::rib::Shared;
use crate::table::{PathId, PrefixId};

/// A prefix with more paths is crowded.
const CROWD: usize = 8;

impl<P: FibPrefix> FamilyRib<P> {
    pub(super) fn is_crowded(&self, id: PrefixId) -> bool {
        self.table.paths(id).nth(CROWD).is_some()
    }

    /// One path is new, gone, or has other attributes: chooses anew, or, in a crowd, leaves that to [`Self::settle`].
    pub(super) fn reselect_for(&mut self, shared: &mut Shared, id: PrefixId, path: PathId) {
        if !self.is_crowded(id) {
            self.reselect(shared, id, Some(path));
            return;
        }
        self.tell(shared, id, Changed::Path(path), Some(Paths::All));
        *self.unsettled.entry(id).or_default() |= self.table.best(id) == Some(path);
    }

    /// Chooses where that was left for later. Due at the end of whatever changes paths: until then a best path may be
    /// one that is gone.
    pub(crate) fn settle(&mut self, shared: &mut Shared) {
        for (id, is_best_changed) in take(&mut self.unsettled) {
            let changed = self.table.best(id).filter(|_| is_best_changed);
            let changed = self.choose(shared, id, changed);
            self.tell(shared, id, changed, Some(Paths::Best));
        }
    }
}
