//! Peers that move from one group to another: told what differs, and nothing of what they have.
//!
//! A journal says what a group's members have in common; what a newcomer lacks is its own, and is owed to it as a list
//! of items. Each is said as it stands when its turn comes, so a debtor that is stuck costs four octets an item.

use pipit_bgp::{PeerId, Prefix};

use super::{FrameSink, Member, UpdateGroup};
use crate::adj_rib_out::chunk::{ChunkSource, Item, cut};
use crate::adj_rib_out::journal::Position;
use crate::source::SourceId;

/// A peer between two groups.
pub(crate) struct Moving {
    member: Member,
    /// What it had still to be told in the old one.
    unsent: Vec<u32>,
}

impl UpdateGroup {
    /// The items of which two groups of a family say different things, in order.
    pub(crate) fn differences(&self, other: &UpdateGroup) -> Vec<u32> {
        debug_assert_eq!(self.key.encode, other.key.encode, "fixed for a session");
        (0..self.items().max(other.items()))
            .filter(|&item| self.said(item) != other.said(item))
            .collect()
    }

    /// Lets a peer go to another group.
    pub(crate) fn depart(&mut self, peer: PeerId) -> Option<Moving> {
        let at = self.members.iter().position(|member| member.peer == peer)?;
        let mut member = self.members.remove(at);
        self.is_ready = true;
        let mut unsent = std::mem::take(&mut member.owed);
        unsent.extend(self.journal.read(member.position).map(|(item, _)| item));
        Some(Moving { member, unsent })
    }

    /// Takes a peer in that comes from another group, which differs in these items.
    pub(crate) fn adopt(&mut self, moving: Moving, from: &UpdateGroup, differences: &[u32]) {
        let Moving { mut member, unsent } = moving;
        let own = member.source;
        let hears_of = |group: &UpdateGroup, item| group.said(item).is_some_and(|(_, source)| source != own);
        let mut owed: Vec<u32> = differences
            .iter()
            .copied()
            .filter(|&item| hears_of(from, item) || hears_of(self, item))
            .chain(unsent)
            .collect();
        owed.sort_unstable();
        owed.dedup();
        let announced = owed.iter().filter(|&&item| hears_of(self, item)).count();
        member.position = self.journal.end();
        if 2 * announced > self.announced as usize {
            // Most of it is new: read with the others' chunks, and only what must be forgotten said apart.
            owed.retain(|&item| !hears_of(self, item));
            member.position = 0;
        }
        member.feed_end = member.feed_end.map(|_| self.journal.end());
        self.is_owing |= !owed.is_empty();
        member.owed = owed;
        self.members.push(member);
        self.is_ready = true;
    }

    /// Whether some member is owed an item.
    pub(super) fn owes(&self, item: u32) -> bool {
        self.members
            .iter()
            .any(|member| member.owed.binary_search(&item).is_ok())
    }

    /// One frame of what a member is owed.
    pub(super) fn pay<P: Prefix>(
        &mut self,
        at: usize,
        source: &impl ChunkSource<P>,
        sink: &mut impl FrameSink,
    ) {
        let Member {
            peer,
            source: own,
            ref owed,
            ..
        } = self.members[at];
        let due = (1..).zip(owed.iter().rev()).map(|(after, &item)| {
            let said = self.said.get(item as usize).filter(|said| said.source != own);
            let item = Item {
                item,
                announcement: said.and_then(|said| self.announcements.get(said.announcement)),
                source: said.map_or(SourceId::LOCAL, |said| said.source),
                had_other_source: false,
            };
            (item, after)
        });
        let chunk = cut(0, owed.len() as Position, due, &self.key, source);
        let left = owed.len() - chunk.to as usize;
        let member = &mut self.members[at];
        member.owed.truncate(left);
        if left == 0 {
            member.owed = Vec::new();
        }
        member.credit -= 1;
        sink.frame(peer, chunk.bytes_for(own));
    }
}
