//! One family's routes: the table, and the update groups that are told of it.

mod choice;
mod crowd;
mod groups;
mod removal;
mod stale;
mod telling;
mod verify;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use pipit_bgp::wire::update::Nlri;

pub(crate) use self::groups::Move;
use self::removal::Backlog;
use self::telling::{Changed, tell_group};
use crate::adj_rib_out::{Paths, UpdateGroup};
use crate::attrs::AttrId;
use crate::fib::FibPrefix;
use crate::import::{self, SetVerdict};
use crate::next_hops::{NextHopId, NextHopSet};
use crate::peer::PeerSettings;
use crate::rib::{Shared, interface_of};
use crate::source::SourceId;
use crate::table::{PathFlags, PathId, PrefixId, PrefixTable};

/// See the module.
#[derive(Debug)]
pub(crate) struct FamilyRib<P> {
    pub(crate) table: PrefixTable<P>,
    groups: Vec<Option<UpdateGroup>>,
    /// Withdrawn paths, and prefixes without a path, that some peer may still have to hear of.
    dead_paths: Backlog<PathId>,
    empty_prefixes: Backlog<PrefixId>,
    /// Crowded prefixes that are still to be chosen among (see `crowd`), and whether their best path has other
    /// attributes than before.
    unsettled: BTreeMap<PrefixId, bool>,
}

impl<P> Default for FamilyRib<P> {
    fn default() -> Self {
        FamilyRib {
            table: PrefixTable::default(),
            groups: Vec::new(),
            dead_paths: Backlog::default(),
            empty_prefixes: Backlog::default(),
            unsettled: BTreeMap::new(),
        }
    }
}

impl<P: FibPrefix> FamilyRib<P> {
    /// A source announces a route. `import` is `None` for this node's own; for a peer's, [`Self::settle`] is due
    /// after the batch.
    pub(crate) fn announce(
        &mut self,
        shared: &mut Shared,
        source: SourceId,
        nlri: Nlri<P>,
        received: AttrId,
        import: Option<(&PeerSettings, &SetVerdict)>,
    ) {
        let effective = effective(shared, nlri.prefix.into(), received, import);
        let (attrs, is_rejected) = match effective {
            Some(attrs) => (attrs, false),
            None => {
                shared.attrs.retain(received);
                (received, true)
            }
        };
        shared.attrs.retain(received);
        let generation = shared.sources[source].generation[P::FAMILY];
        let id = self.table.find_or_insert(nlri.prefix);
        let known = self.table.path_from(id, source, nlri.path_id);
        let path_id = match known {
            Some(path_id) => {
                let old = *self.table.path(path_id);
                let was_dead = old.flags.contains(PathFlags::DEAD);
                if was_dead {
                    self.table.revive_path(path_id);
                }
                let path = self.table.path_mut(path_id);
                (path.received, path.attrs, path.generation) = (received, attrs, generation);
                path.flags = path.flags.renewed();
                path.flags.set(PathFlags::REJECTED, is_rejected);
                if !was_dead {
                    shared.release(old.received);
                    shared.release(old.attrs);
                    count(shared, source, P::FAMILY, -1, old.flags);
                    let is_same = old.attrs == attrs && old.flags == path.flags;
                    if is_same {
                        count(shared, source, P::FAMILY, 1, old.flags);
                        return;
                    }
                }
                path_id
            }
            None => {
                let path_id = self.table.add_path(id, source, nlri.path_id, received, attrs);
                let path = self.table.path_mut(path_id);
                path.generation = generation;
                path.flags.set(PathFlags::REJECTED, is_rejected);
                path_id
            }
        };
        let flags = self.table.path(path_id).flags;
        count(shared, source, P::FAMILY, 1, flags);
        self.reselect_for(shared, id, path_id);
        if import.is_none() {
            self.settle(shared);
        }
    }

    /// A source takes a route back. [`Self::settle`] is due as after [`Self::announce`].
    pub(crate) fn withdraw(&mut self, shared: &mut Shared, source: SourceId, nlri: Nlri<P>) {
        let Some(id) = self.table.find(nlri.prefix) else {
            return;
        };
        if let Some(path_id) = self.table.path_from(id, source, nlri.path_id) {
            self.remove_path(shared, path_id);
        }
        if source.is_own() {
            self.settle(shared);
        }
    }

    /// Chooses anew among the paths of every prefix that has one via these next hops.
    pub(crate) fn reselect_via(&mut self, shared: &mut Shared, next_hops: &NextHopSet) {
        let mut crowds = BTreeSet::new();
        for at in 0..self.table.path_slots() {
            let Some((_, path)) = self.table.path_at(at) else {
                continue;
            };
            if path.is_candidate() && next_hops.contains(shared.attrs[path.attrs].next_hop()) {
                let id = self.table.prefix_of(PathId(at));
                if !self.is_crowded(id) || crowds.insert(id) {
                    self.reselect(shared, id, None);
                }
            }
        }
    }

    /// Asks export and kernel policy again for everything; only what comes out differently moves.
    pub(crate) fn reevaluate(&mut self, shared: &mut Shared) {
        for at in 0..self.table.prefix_slots() {
            if let Some(id) = self.table.prefix_at(at) {
                self.reselect(shared, id, None);
            }
        }
    }

    /// Says again what is announced of a source's routes, which are the same in the table and not on the wire.
    pub(crate) fn announce_again(&mut self, shared: &mut Shared, source: SourceId) {
        for at in 0..self.table.path_slots() {
            if let Some((path_id, path)) = self.table.path_at(at)
                && path.source == source
                && !path.flags.contains(PathFlags::DEAD)
            {
                let id = self.table.prefix_of(path_id);
                self.reselect_for(shared, id, path_id);
            }
        }
        self.settle(shared);
    }

    /// Asks import again, from the routes as received, where there are settings for the source and the next hop.
    pub(crate) fn reimport<'s>(
        &mut self,
        shared: &mut Shared,
        settings_of: impl Fn(SourceId, NextHopId) -> Option<&'s PeerSettings>,
    ) {
        for at in 0..self.table.path_slots() {
            let Some((path_id, path)) = self.table.path_at(at) else {
                continue;
            };
            if path.flags.contains(PathFlags::DEAD) {
                continue;
            }
            let source = path.source;
            let Some(settings) = settings_of(source, shared.attrs[path.received].next_hop()) else {
                continue;
            };
            let old = *path;
            let prefix = self.table.prefix(self.table.prefix_of(path_id)).into();
            let verdict = import::for_set(shared, settings, old.received);
            let effective = effective(shared, prefix, old.received, Some((settings, &verdict)));
            verdict.release(shared);
            let attrs = effective.unwrap_or_else(|| {
                shared.attrs.retain(old.received);
                old.received
            });
            let attrs = if old.flags.contains(PathFlags::LLGR_STALE) {
                stale::marked(shared, attrs)
            } else {
                attrs
            };
            let path = self.table.path_mut(path_id);
            path.attrs = attrs;
            path.flags.set(PathFlags::REJECTED, effective.is_none());
            let new_flags = path.flags;
            shared.release(old.attrs);
            count(shared, source, P::FAMILY, -1, old.flags);
            count(shared, source, P::FAMILY, 1, new_flags);
            if attrs != old.attrs || new_flags != old.flags {
                let id = self.table.prefix_of(path_id);
                self.reselect_for(shared, id, path_id);
            }
        }
        self.settle(shared);
    }

    /// All prefixes that a path leads to, in no order.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        (0..self.table.prefix_slots()).filter_map(|slot| {
            let id = self.table.prefix_at(slot)?;
            let is_live = self
                .table
                .paths(id)
                .any(|(_, path)| !path.flags.contains(PathFlags::DEAD));
            is_live.then(|| self.table.prefix(id).into())
        })
    }

    /// Chooses the best path of a prefix and tells everybody whom the outcome concerns. `changed`: a path that has
    /// other attributes than before.
    fn reselect(&mut self, shared: &mut Shared, id: PrefixId, changed: Option<PathId>) {
        let changed = self.choose(shared, id, changed);
        self.tell(shared, id, changed, None);
    }

    /// Chooses the best path of a prefix, and says what to tell of it.
    fn choose(&mut self, shared: &mut Shared, id: PrefixId, changed: Option<PathId>) -> Changed {
        let selection = self.selection(shared, id);
        let target = selection
            .as_ref()
            .and_then(|selection| self.fib_target(shared, id, selection));
        let best = selection.map(|selection| selection.best);
        let old = self.table.best(id);
        self.table.set_best(id, best);
        shared.fib.set(self.table.prefix(id), target);
        let changed = match changed {
            Some(path) => Changed::Path(path),
            None => Changed::Nothing,
        };
        if old == best {
            changed
        } else {
            Changed::Best(changed.path())
        }
    }

    /// Tells the groups of one kind, or all, what concerns them.
    fn tell(&mut self, shared: &Shared, id: PrefixId, changed: Changed, kind: Option<Paths>) {
        for group in self.groups.iter_mut().flatten() {
            if kind.is_none_or(|kind| group.paths() == kind) {
                tell_group(&self.table, shared, group, id, changed);
            }
        }
    }
}

/// The attributes that a route has after import; `None` when it is refused. The caller holds a count.
fn effective(
    shared: &mut Shared,
    prefix: IpNet,
    received: AttrId,
    import: Option<(&PeerSettings, &SetVerdict)>,
) -> Option<AttrId> {
    let (settings, verdict) = match import {
        None => {
            shared.attrs.retain(received);
            return Some(received);
        }
        Some((_, SetVerdict::Rejected)) => return None,
        Some((settings, verdict)) => (settings, verdict),
    };
    let SetVerdict::Accepted { edit, attrs } = verdict else {
        return None;
    };
    let set = &shared.attrs[*attrs];
    let interface = interface_of(shared, set.next_hop());
    match import::filter(settings, prefix, set.bytes(), set.facts(), interface, edit) {
        Err(_) => None,
        Ok(None) => {
            shared.attrs.retain(*attrs);
            Some(*attrs)
        }
        Ok(Some(edit)) => Some(import::edited(shared, received, &edit)),
    }
}

fn count(shared: &mut Shared, source: SourceId, family: pipit_bgp::Family, change: i32, flags: PathFlags) {
    let entry = &mut shared.sources[source];
    entry.received[family] = entry.received[family].wrapping_add_signed(change);
    if !flags.contains(PathFlags::REJECTED) {
        entry.accepted[family] = entry.accepted[family].wrapping_add_signed(change);
    }
}
