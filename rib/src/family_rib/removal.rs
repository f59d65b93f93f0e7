//! Taking paths out, and freeing what nobody has to hear of any more.

use crate::adj_rib_out::{Paths, UpdateGroup};
use crate::family_rib::{FamilyRib, count};
use crate::fib::FibPrefix;
use crate::rib::Shared;
use crate::source::SourceId;
use crate::table::{Path, PathFlags, PathId};

/// Table slots looked at, and paths removed, before other work gets its turn: well below a millisecond of each.
const VISITS: u32 = 65_536;
const REMOVALS: u32 = 2_048;

impl<P: FibPrefix> FamilyRib<P> {
    /// Removes paths of closing sources, from `at` on, until the slice of work is done; where to go on, `None` at
    /// the end of the table.
    pub(crate) fn remove_closing(&mut self, shared: &mut Shared, at: u32) -> Option<u32> {
        let (mut visits, mut removals) = (VISITS, REMOVALS);
        for at in at..self.table.path_slots() {
            if visits == 0 || removals == 0 {
                self.settle(shared);
                return Some(at);
            }
            visits -= 1;
            if let Some((path_id, path)) = self.table.path_at(at)
                && !path.flags.contains(PathFlags::DEAD)
                && shared.sources[path.source].is_closing
            {
                removals -= 1;
                self.remove_path(shared, path_id);
            }
        }
        self.settle(shared);
        None
    }

    /// Removes the paths of a source that are of an earlier generation.
    pub(crate) fn sweep_source(&mut self, shared: &mut Shared, source: SourceId) {
        let generation = shared.sources[source].generation[P::FAMILY];
        self.remove_paths(shared, |path, _| {
            path.source == source && path.generation != generation
        });
    }

    /// The session of a source is lost again: what was stale already and has not been said again goes, unless it is
    /// long-lived stale (RFC 9494 §4.2).
    pub(crate) fn sweep_twice_stale(&mut self, shared: &mut Shared, source: SourceId) {
        let generation = shared.sources[source].generation[P::FAMILY];
        self.remove_paths(shared, |path, _| {
            path.source == source
                && path.generation != generation
                && !path.flags.contains(PathFlags::LLGR_STALE)
        });
    }

    /// Frees a slice of what nobody has to hear of any more. Says whether another slice is likely to free more: what
    /// a peer that is stuck must still hear of is looked at now and then, not each time.
    pub(crate) fn reap(&mut self) -> bool {
        let (table, groups) = (&mut self.table, &self.groups);
        let remembers = |paths, item| {
            groups
                .iter()
                .flatten()
                .any(|group: &UpdateGroup| group.paths() == paths && group.remembers(item))
        };
        let empty_prefixes = &mut self.empty_prefixes;
        let more_paths = self.dead_paths.sift(|path_id| {
            if !table.path(path_id).flags.contains(PathFlags::DEAD) {
                table.path_mut(path_id).flags.set(PathFlags::IN_DEAD_LIST, false);
                return false;
            }
            if remembers(Paths::All, path_id.0) {
                return true;
            }
            let id = table.prefix_of(path_id);
            table.free_path(path_id);
            empty_prefixes.items.push(id);
            false
        });
        let more_prefixes = self.empty_prefixes.sift(|id| {
            // It may have got a path again, or be waiting for a dead one.
            if table.paths(id).next().is_some() {
                return false;
            }
            if remembers(Paths::Best, id.0) {
                return true;
            }
            table.free_prefix_if_empty(id);
            false
        });
        more_paths || more_prefixes
    }

    fn remove_paths(&mut self, shared: &mut Shared, wanted: impl Fn(&Path, &Shared) -> bool) {
        for at in 0..self.table.path_slots() {
            if let Some((path_id, path)) = self.table.path_at(at)
                && wanted(path, shared)
            {
                self.remove_path(shared, path_id);
            }
        }
        self.settle(shared);
    }

    /// Takes a path out; [`Self::settle`] is due afterwards.
    pub(super) fn remove_path(&mut self, shared: &mut Shared, path_id: PathId) {
        let path = *self.table.path(path_id);
        if path.flags.contains(PathFlags::DEAD) {
            return;
        }
        let id = self.table.prefix_of(path_id);
        self.table.kill_path(path_id);
        count(shared, path.source, P::FAMILY, -1, path.flags);
        self.reselect_for(shared, id, path_id);
        shared.release(path.received);
        shared.release(path.attrs);
        let flags = &mut self.table.path_mut(path_id).flags;
        if !flags.contains(PathFlags::IN_DEAD_LIST) {
            flags.set(PathFlags::IN_DEAD_LIST, true);
            self.dead_paths.items.push(path_id);
        }
    }
}

/// Things to be freed once nobody needs them, looked at a slice at a time.
#[derive(Debug)]
pub(super) struct Backlog<T> {
    items: Vec<T>,
    next: usize,
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Backlog {
            items: Vec::new(),
            next: 0,
        }
    }
}

impl<T: Copy> Backlog<T> {
    /// Looks at a slice and drops what is not to be kept. Says whether some was dropped and some not looked at.
    fn sift(&mut self, mut is_kept: impl FnMut(T) -> bool) -> bool {
        let slice = self.items.len().min(REMOVALS as usize);
        let before = self.items.len();
        for _ in 0..slice {
            if self.next >= self.items.len() {
                self.next = 0;
            }
            if is_kept(self.items[self.next]) {
                self.next += 1;
            } else {
                self.items.swap_remove(self.next);
            }
        }
        if self.items.is_empty() {
            // A burst of withdrawals leaves no memory behind.
            self.items = Vec::new();
        }
        before > slice && self.items.len() < before
    }
}
