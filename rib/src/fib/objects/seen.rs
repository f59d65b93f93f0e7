//! What the kernel has done, has refused and shows.

use smallvec::{SmallVec, smallvec};

use crate::fib::kernel::{FibOpKind, KernelHop, ObjectContent, ObjectOp};
use crate::fib::objects::{Gateway, Members, Objects, Set, SetId};

impl Objects {
    /// The kernel has done it.
    pub(crate) fn done(&mut self, op: &ObjectOp) {
        self.is_untidy = true;
        match (op.kind, &op.content) {
            (FibOpKind::Delete, _) => {
                self.gone(op.id);
            }
            (_, ObjectContent::Hop(_)) => {
                if let Some(gateway) = self.gateways.get_mut(&op.id) {
                    gateway.there = Some(op.protocol);
                }
            }
            (_, ObjectContent::Group(members)) => {
                if let Some(group) = self.groups.get_mut(&op.id) {
                    group.there = Some((op.protocol, members.clone()));
                }
            }
            (_, ObjectContent::Other) => {}
        }
    }

    /// The kernel refused it. Sets whose routes are plain ones from now on, or which need another number.
    pub(crate) fn refused(&mut self, op: &ObjectOp, errno: i32, is_taken: bool) -> Vec<SetId> {
        self.is_untidy = true;
        if is_taken {
            self.taken.insert(op.id);
        }
        let sets: Vec<SetId> = match &op.content {
            ObjectContent::Hop(way) => {
                if let Some(gateway) = self.gateways.remove(&op.id) {
                    self.gateway_ids.remove(&gateway.way);
                }
                let is_way = |other: &KernelHop| KernelHop { weight: 1, ..*other } == *way;
                let uses = |set: &Set| set.ways.as_ref().is_some_and(|ways| ways.iter().any(is_way));
                let used = (0..).map(SetId).zip(&self.sets).filter(|(_, set)| uses(set));
                used.map(|(id, _)| id).collect()
            }
            _ => self.owner(op.id).into_iter().collect(),
        };
        for &id in &sets {
            if is_taken {
                self.forget_group(op.id);
            } else {
                self.refused.insert(id, errno);
            }
        }
        sets
    }

    /// A group is not ours (any more).
    fn forget_group(&mut self, id: u32) {
        if let Some(owner) = self.groups.remove(&id).and_then(|group| group.owner) {
            self.set_mut(owner).groups.retain(|group| *group != id);
        }
        self.due.remove(&id);
    }

    /// A dump begins: what it does not show is not there.
    pub(crate) fn begin_dump(&mut self) {
        let gateways = self
            .gateways
            .iter()
            .filter(|(_, gateway)| gateway.there.is_some());
        let groups = self.groups.iter().filter(|(_, group)| group.there.is_some());
        self.unseen = gateways
            .map(|(id, _)| *id)
            .chain(groups.map(|(id, _)| *id))
            .collect();
        self.taken.clear();
        self.next = 0;
    }

    /// It is complete. Routes it has shown itself.
    pub(crate) fn end_dump(&mut self) {
        for id in std::mem::take(&mut self.unseen) {
            self.gone(id);
        }
        self.is_untidy = true;
    }

    /// The kernel shows an object of our range. What that means for routes.
    pub(crate) fn found(&mut self, id: u32, protocol: Option<u8>, content: &ObjectContent) -> Found {
        self.unseen.remove(&id);
        self.is_untidy = true;
        let Some(protocol) = protocol else {
            self.taken.insert(id);
            return self.usurped(id);
        };
        match content {
            ObjectContent::Hop(way) if !self.groups.contains_key(&id) => {
                self.found_gateway(id, protocol, *way)
            }
            ObjectContent::Group(members) if !self.gateways.contains_key(&id) => {
                let mut members = members.clone();
                normalise(&mut members);
                let group = self.groups.entry(id).or_default();
                let is_new = group.there.as_ref() != Some(&(protocol, members.clone()));
                let was_there = group.there.replace((protocol, members)).is_some();
                self.has_unowned |= group.owner.is_none();
                if is_new {
                    self.due.insert(id);
                }
                if is_new && was_there {
                    Found::Differs
                } else {
                    Found::Expected
                }
            }
            _ => {
                self.taken.insert(id);
                self.usurped(id)
            }
        }
    }

    fn found_gateway(&mut self, id: u32, protocol: u8, way: KernelHop) -> Found {
        let known = self.gateways.entry(id).or_insert(Gateway { way, there: None });
        let is_other = known.way != way;
        let was_there = known.there.replace(protocol).is_some();
        let former = std::mem::replace(&mut known.way, way);
        if self.gateway_ids.get(&former) == Some(&id) && is_other {
            self.gateway_ids.remove(&former);
        }
        self.gateway_ids.entry(way).or_insert(id);
        if is_other {
            self.due.extend(self.groups.keys());
        }
        if is_other && was_there {
            Found::Differs
        } else {
            Found::Expected
        }
    }

    /// Somebody else has a number that was ours.
    fn usurped(&mut self, id: u32) -> Found {
        if let Some(gateway) = self.gateways.remove(&id) {
            self.gateway_ids.remove(&gateway.way);
            self.due.extend(self.groups.keys());
            return Found::Differs;
        }
        let Some(owner) = self.owner(id) else {
            self.groups.remove(&id);
            return Found::Expected;
        };
        self.forget_group(id);
        Found::Usurped(owner)
    }

    /// An object is no longer there. The groups that the kernel dropped with it, and all routes through them.
    pub(crate) fn gone(&mut self, id: u32) -> SmallVec<[u32; 1]> {
        self.taken.remove(&id);
        self.unseen.remove(&id);
        self.release_id(id);
        if let Some(group) = self.groups.get_mut(&id) {
            let was_there = group.there.take().is_some();
            if group.owner.is_none() {
                self.groups.remove(&id);
                self.has_unowned = self.groups.values().any(|group| group.owner.is_none());
            } else {
                self.due.insert(id);
            }
            return if was_there { smallvec![id] } else { smallvec![] };
        }
        let mut dropped = SmallVec::new();
        let Some(gateway) = self.gateways.remove(&id) else {
            return dropped;
        };
        if self.gateway_ids.get(&gateway.way) == Some(&id) {
            self.gateway_ids.remove(&gateway.way);
        }
        for (&group_id, group) in &mut self.groups {
            let Some((_, members)) = &mut group.there else {
                continue;
            };
            let before = members.len();
            members.retain(|(member, _)| *member != id);
            if members.len() == before {
                continue;
            }
            self.due.insert(group_id);
            normalise(members);
            if members.is_empty() {
                group.there = None;
                dropped.push(group_id);
            }
        }
        dropped
    }

    /// A device is down, gone or without carrier: the kernel drops its gateways without a word. The groups that went
    /// with them.
    pub(crate) fn drop_device(&mut self, device: u32) -> Vec<u32> {
        let through: Vec<u32> = self
            .gateways
            .iter()
            .filter(|(_, gateway)| gateway.way.device == device && gateway.there.is_some())
            .map(|(id, _)| *id)
            .collect();
        through.into_iter().flat_map(|id| self.gone(id)).collect()
    }
}

/// What an object that the kernel shows means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Nothing that was not known, or something of an earlier life.
    Expected,
    /// Somebody changed it; it will be put right.
    Differs,
    /// Somebody put something of theirs in the place of this set's group: its routes must leave it.
    Usurped(SetId),
}

/// The kernel's order does not matter, nor does the weight of an only member.
fn normalise(members: &mut Members) {
    members.sort_unstable();
    if let [(_, weight)] = members.as_mut_slice() {
        *weight = 1;
    }
}
