//! The update groups of a family, and peers that move between them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pipit_bgp::PeerId;

use crate::adj_rib_out::{EgressKey, FrameSink, GroupId, UpdateGroup};
use crate::family_rib::FamilyRib;
use crate::family_rib::telling::{Changed, TableView, tell_group};
use crate::fib::FibPrefix;
use crate::rib::Shared;
use crate::source::SourceId;

/// A peer on its way from one update group to another.
pub(crate) struct Move {
    pub(crate) peer: PeerId,
    pub(crate) source: SourceId,
    pub(crate) from: Option<GroupId>,
    /// End-of-RIB to it waits while we are restarting (RFC 4724 §4.1): it keeps routes of ours until then.
    pub(crate) waits_for_recovery: bool,
    /// What it is to be told; `None`: nothing.
    pub(crate) key: Option<EgressKey>,
}

impl<P: FibPrefix> FamilyRib<P> {
    /// Forgets sources whose paths are gone, so that their numbers can be used again.
    pub(crate) fn forget_sources(&mut self, sources: &HashSet<SourceId>) {
        self.groups
            .iter_mut()
            .flatten()
            .for_each(|group| group.forget_sources(sources));
    }

    /// A peer may take one frame more.
    pub(crate) fn grant(&mut self, group: Option<GroupId>, peer: PeerId) {
        if let Some(group) = self.group_mut(group) {
            group.grant(peer);
        }
    }

    /// A peer asks for everything again.
    pub(crate) fn refresh(&mut self, group: Option<GroupId>, peer: PeerId, is_framed: bool) {
        if let Some(group) = self.group_mut(group) {
            group.refresh(peer, is_framed);
        }
    }

    /// A peer is told nothing more.
    pub(crate) fn leave(&mut self, group: Option<GroupId>, peer: PeerId) {
        if let Some(group) = self.group_mut(group) {
            group.leave(peer);
            self.drop_empty_groups();
        }
    }

    /// Moves peers between update groups; where each of them is afterwards.
    pub(crate) fn regroup(&mut self, shared: &Shared, moves: Vec<Move>) -> Vec<(PeerId, Option<GroupId>)> {
        self.rekey(shared, &moves);
        // All groups are made before the first is left, and go after the last was joined: one that is empty in between
        // may be where somebody else is going.
        let moves: Vec<_> = moves
            .into_iter()
            .map(
                |Move {
                     peer,
                     source,
                     from,
                     waits_for_recovery,
                     key,
                 }| {
                    let to = key.map(|key| self.group_for(shared, key));
                    (peer, source, from, to, waits_for_recovery)
                },
            )
            .collect();
        let mut differences = HashMap::new();
        for &(peer, source, from, to, waits_for_recovery) in &moves {
            match (from, to) {
                (from, to) if from == to => {}
                (Some(from), Some(to)) => self.transfer(peer, (from, to), &mut differences),
                (from, to) => {
                    if let Some(group) = self.group_mut(from) {
                        group.leave(peer);
                    }
                    if let Some(group) = self.group_mut(to) {
                        group.join(peer, source, waits_for_recovery);
                    }
                }
            }
        }
        self.drop_empty_groups();
        moves.into_iter().map(|(peer, _, _, to, _)| (peer, to)).collect()
    }

    /// Moves a peer with what it knows. `known`: in what groups differ, found once for all that go the same way.
    fn transfer(
        &mut self,
        peer: PeerId,
        (from, to): (GroupId, GroupId),
        known: &mut HashMap<(GroupId, GroupId), Vec<u32>>,
    ) {
        let Some(mut old) = self.groups.get_mut(usize::from(from.0)).and_then(Option::take) else {
            return;
        };
        if let Some(new) = self.group_mut(Some(to)) {
            let differences = known.entry((from, to)).or_insert_with(|| old.differences(new));
            if let Some(moving) = old.depart(peer) {
                new.adopt(moving, &old, differences);
            }
        }
        self.groups[usize::from(from.0)] = Some(old);
    }

    fn drop_empty_groups(&mut self) {
        for entry in &mut self.groups {
            if entry.as_ref().is_some_and(|group| !group.has_members()) {
                *entry = None;
            }
        }
    }

    /// Hands frames to peers that can take them.
    pub(crate) fn flush(&mut self, shared: &Shared, holds_end_of_rib: bool, sink: &mut impl FrameSink) {
        let table = &self.table;
        for group in self.groups.iter_mut().flatten() {
            let view = TableView {
                table,
                shared,
                paths: group.paths(),
            };
            group.poll(&view, holds_end_of_rib, sink);
        }
    }

    /// End-of-RIBs that were held back may go.
    pub(crate) fn release_end_of_rib(&mut self) {
        self.groups
            .iter_mut()
            .flatten()
            .for_each(UpdateGroup::release_end_of_rib);
    }

    /// How many routes a peer is told.
    pub(crate) fn announced_to(&self, group: Option<GroupId>, source: SourceId) -> u32 {
        group
            .and_then(|id| self.group(id))
            .map_or(0, |group| group.announced_to(source))
    }

    /// Whether a peer that is to be told what `key` says, or nothing, is where it is told that.
    pub(crate) fn is_placed(&self, peer: PeerId, group: Option<GroupId>, key: Option<&EgressKey>) -> bool {
        let group = group.and_then(|id| self.group(id));
        match (group, key) {
            (Some(group), Some(key)) => **group.key() == *key && group.has_member(peer),
            (None, None) => true,
            _ => false,
        }
    }

    fn group(&self, id: GroupId) -> Option<&UpdateGroup> {
        self.groups.get(usize::from(id.0))?.as_ref()
    }

    fn group_mut(&mut self, id: Option<GroupId>) -> Option<&mut UpdateGroup> {
        self.groups.get_mut(usize::from(id?.0))?.as_mut()
    }

    /// Where all members of a group change alike, the group itself changes: they are told the difference.
    fn rekey(&mut self, shared: &Shared, moves: &[Move]) {
        for at in 0..self.groups.len() {
            let from = GroupId(at as u16);
            let Some(group) = &self.groups[at] else { continue };
            let mut leaving = moves.iter().filter(|m| m.from == Some(from));
            let Some(key) = leaving.next().and_then(|m| m.key.as_ref()) else {
                continue;
            };
            let count = 1 + leaving.clone().count();
            let is_common = leaving.all(|m| m.key.as_ref() == Some(key)) && count == group.member_count();
            let is_taken = self.groups.iter().flatten().any(|other| **other.key() == *key);
            // What was sent in another encoding, or under other path identifiers, cannot be built upon.
            if is_common
                && !is_taken
                && group.key().encode == key.encode
                && group.key().all_paths == key.all_paths
            {
                if let Some(group) = &mut self.groups[at] {
                    group.set_key(Arc::new(key.clone()));
                }
                self.fill_group(shared, at);
            }
        }
    }

    fn group_for(&mut self, shared: &Shared, key: EgressKey) -> GroupId {
        if let Some(at) = self
            .groups
            .iter()
            .position(|g| g.as_ref().is_some_and(|g| **g.key() == key))
        {
            return GroupId(at as u16);
        }
        let group = Some(UpdateGroup::new(Arc::new(key)));
        let at = match self.groups.iter().position(Option::is_none) {
            Some(at) => {
                self.groups[at] = group;
                at
            }
            None => {
                self.groups.push(group);
                self.groups.len() - 1
            }
        };
        self.fill_group(shared, at);
        GroupId(at as u16)
    }

    /// Says to one group what it is to announce, for every prefix.
    fn fill_group(&mut self, shared: &Shared, at: usize) {
        let Some(group) = &mut self.groups[at] else { return };
        for slot in 0..self.table.prefix_slots() {
            if let Some(id) = self.table.prefix_at(slot) {
                tell_group(&self.table, shared, group, id, Changed::Nothing);
            }
        }
    }
}
