//! Taking paths out, and freeing what nobody has to hear of any more.

use crate::adj_rib_out::{Paths, UpdateGroup};
use crate::family_rib::{FamilyRib, count};
use crate::fib::FibPrefix;
use crate::rib::Shared;
use crate::source::SourceId;
use crate::table::{Path, PathFlags, PathId};

impl<P: FibPrefix> FamilyRib<P> {
    /// Removes every path of a source.
    pub(crate) fn remove_source(&mut self, shared: &mut Shared, source: SourceId) {
        self.remove_paths(shared, |path, _| path.source == source);
    }

    /// Removes the paths of a source that are of an earlier generation.
    pub(crate) fn sweep_source(&mut self, shared: &mut Shared, source: SourceId) {
        let generation = shared.sources[source].generation[P::FAMILY];
        self.remove_paths(shared, |path, _| {
            path.source == source && path.generation != generation
        });
    }

    /// Frees what nobody has to hear of any more.
    pub(crate) fn reap(&mut self) {
        let (table, groups) = (&mut self.table, &self.groups);
        let remembers = |paths, item| {
            groups
                .iter()
                .flatten()
                .any(|group: &UpdateGroup| group.paths() == paths && group.remembers(item))
        };
        let empty_prefixes = &mut self.empty_prefixes;
        self.dead_paths.retain(|&path_id| {
            if remembers(Paths::All, path_id.0) {
                return true;
            }
            let id = table.prefix_of(path_id);
            table.free_path(path_id);
            empty_prefixes.push(id);
            false
        });
        self.empty_prefixes.retain(|&id| {
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
    }

    fn remove_paths(&mut self, shared: &mut Shared, wanted: impl Fn(&Path, &Shared) -> bool) {
        for at in 0..self.table.path_slots() {
            if let Some((path_id, path)) = self.table.path_at(at)
                && wanted(path, shared)
            {
                self.remove_path(shared, path_id);
            }
        }
    }

    pub(super) fn remove_path(&mut self, shared: &mut Shared, path_id: PathId) {
        let path = *self.table.path(path_id);
        if path.flags.contains(PathFlags::DEAD) {
            return;
        }
        let id = self.table.prefix_of(path_id);
        self.table.kill_path(path_id);
        count(shared, path.source, P::FAMILY, -1, path.flags);
        self.reselect(shared, id, None);
        shared.release(path.received);
        shared.release(path.attrs);
        self.dead_paths.push(path_id);
    }
}
