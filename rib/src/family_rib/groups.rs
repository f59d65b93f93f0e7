//! The update groups of a family, and peers that move between them.

use std::collections::HashSet;
use std::sync::Arc;

use pipit_bgp::PeerId;
use pipit_bgp::wire::update::{Nlri, encode_withdraw};

use crate::adj_rib_out::{EgressKey, FrameSink, GroupId, UpdateGroup};
use crate::family_rib::FamilyRib;
use crate::family_rib::telling::{Changed, TableView, nlri_of, tell_group};
use crate::fib::FibPrefix;
use crate::rib::Shared;
use crate::source::SourceId;

/// A peer on its way from one update group to another.
pub(crate) struct Move {
    pub(crate) peer: PeerId,
    pub(crate) source: SourceId,
    pub(crate) credit: u8,
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

    /// A peer may take frames again.
    pub(crate) fn grant(&mut self, group: Option<GroupId>, peer: PeerId, credit: u8) {
        if let Some(group) = self.group_mut(group) {
            group.grant(peer, credit);
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
        let Some(id) = group else { return };
        if let Some(entry) = self.groups.get_mut(usize::from(id.0))
            && let Some(group) = entry
        {
            group.leave(peer);
            if !group.has_members() {
                *entry = None;
            }
        }
    }

    /// Moves peers between update groups; where each of them is afterwards.
    pub(crate) fn regroup(
        &mut self,
        shared: &Shared,
        moves: Vec<Move>,
        sink: &mut impl FrameSink,
    ) -> Vec<(PeerId, Option<GroupId>)> {
        self.rekey(shared, &moves);
        let mut joined = Vec::new();
        for Move {
            peer,
            source,
            credit,
            from,
            waits_for_recovery,
            key,
        } in moves
        {
            let current = from.filter(|&id| self.group(id).map(|group| &**group.key()) == key.as_ref());
            if current.is_some() || (from.is_none() && key.is_none()) {
                joined.push((peer, current));
                continue;
            }
            let to = key.map(|key| self.group_for(shared, key));
            if let Some(from) = from {
                self.withdraw_difference(peer, source, from, to, sink);
                self.leave(Some(from), peer);
            }
            if let Some(group) = self.group_mut(to) {
                group.join(peer, source, credit, waits_for_recovery);
            }
            joined.push((peer, to));
        }
        joined
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

    /// What a peer was told in its old group and is not told in its new one.
    fn withdraw_difference(
        &self,
        peer: PeerId,
        source: SourceId,
        from: GroupId,
        to: Option<GroupId>,
        sink: &mut impl FrameSink,
    ) {
        let Some(old) = self.group(from) else { return };
        let new = to.and_then(|to| self.group(to));
        let is_told = |group: &UpdateGroup, item| group.said(item).is_some_and(|(_, from)| from != source);
        let read_to = old.read_to(peer);
        let view = |item| nlri_of(&self.table, old.paths(), item);
        let gone: Vec<Nlri<P>> = (0..old.items())
            .filter(|&item| is_told(old, item) || old.is_unread(item, read_to))
            .filter(|&item| !new.is_some_and(|new| is_told(new, item)))
            .map(view)
            .collect();
        if !gone.is_empty() {
            let mut bytes = Vec::new();
            encode_withdraw(&mut bytes, &old.key().encode, &gone);
            sink.frame(peer, bytes.into());
        }
    }
}
