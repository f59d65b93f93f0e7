//! What to ask of the kernel, object by object.

use std::collections::BTreeSet;

use crate::fib::kernel::{FibOpKind, KernelHop, ObjectContent, ObjectOp};
use crate::fib::objects::{Gateway, Members, Objects, Ways};

impl Objects {
    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// What to ask of the kernel: gateways first, and when they are there, groups. What is as it should be is not
    /// looked at again.
    pub(crate) fn plan(&mut self) -> Vec<ObjectOp> {
        let due: Vec<u32> = self.due.iter().copied().collect();
        let (mut gateways, mut groups) = (Vec::new(), Vec::new());
        for id in due {
            match self.wish(id) {
                Some(ways) => self.plan_group(id, &ways, &mut gateways, &mut groups),
                None => {
                    self.due.remove(&id);
                    self.forget_needless(id);
                }
            }
        }
        if gateways.is_empty() { groups } else { gateways }
    }

    fn wish(&self, id: u32) -> Option<Ways> {
        let group = self.groups.get(&id)?;
        let owner = group.owner?;
        let set = self.set(owner);
        let is_meant =
            !self.refused.contains_key(&owner) && (group.there.is_some() || self.is_needed(id, group));
        set.ways.clone().filter(|_| is_meant)
    }

    /// A further group that is not in the kernel is nothing at all.
    fn forget_needless(&mut self, id: u32) {
        let Some(group) = self.groups.get(&id).filter(|group| group.there.is_none()) else {
            return;
        };
        match group.owner {
            Some(owner) if self.is_first(id, owner) => {}
            owner => {
                self.groups.remove(&id);
                self.release_id(id);
                if let Some(owner) = owner {
                    self.set_mut(owner).groups.retain(|group| *group != id);
                }
            }
        }
    }

    fn plan_group(&mut self, id: u32, ways: &Ways, gateways: &mut Vec<ObjectOp>, groups: &mut Vec<ObjectOp>) {
        let before = gateways.len();
        let mut members = Members::new();
        for way in ways {
            let Some(gateway) = self.gateway_id(way) else {
                return;
            };
            members.push((gateway, way.weight));
            let there = self.gateways.get(&gateway).and_then(|gateway| gateway.there);
            let is_asked = gateways.iter().any(|op| op.id == gateway);
            if there != Some(self.protocol) && !is_asked {
                let content = ObjectContent::Hop(KernelHop { weight: 1, ..*way });
                gateways.push(self.op(gateway, there.is_some(), content));
            }
        }
        members.sort_unstable();
        let there = self.groups.get(&id).and_then(|group| group.there.as_ref());
        if gateways.len() > before {
            return;
        }
        if there == Some(&(self.protocol, members.clone())) {
            self.due.remove(&id);
        } else {
            groups.push(self.op(id, there.is_some(), ObjectContent::Group(members)));
        }
    }

    fn op(&self, id: u32, is_there: bool, content: ObjectContent) -> ObjectOp {
        let kind = if is_there {
            FibOpKind::Replace
        } else {
            FibOpKind::Create
        };
        ObjectOp {
            id,
            kind,
            protocol: self.protocol,
            content,
        }
    }

    fn gateway_id(&mut self, way: &KernelHop) -> Option<u32> {
        let way = KernelHop { weight: 1, ..*way };
        if let Some(&id) = self.gateway_ids.get(&way) {
            return Some(id);
        }
        let id = self.free_id()?;
        self.gateways.insert(id, Gateway { way, there: None });
        self.gateway_ids.insert(way, id);
        Some(id)
    }

    /// What nothing leads through and nobody needs. `users`: routes through a group, others' included.
    pub(crate) fn plan_removal(&mut self, users: impl Fn(u32) -> usize) -> Vec<ObjectOp> {
        self.is_untidy = false;
        let mut ops: Vec<ObjectOp> = self
            .groups
            .iter()
            .filter(|(id, group)| group.there.is_some() && !self.is_needed(**id, group))
            .filter(|(id, _)| users(**id) == 0)
            .map(|(&id, _)| self.removal(id))
            .collect();
        if ops.is_empty() {
            let members = self.groups.values().filter_map(|group| group.there.as_ref());
            let used: BTreeSet<u32> = members
                .flat_map(|(_, members)| members.iter().map(|(id, _)| *id))
                .collect();
            let idle = self
                .gateways
                .iter()
                .filter(|(id, gateway)| gateway.there.is_some() && !used.contains(id));
            ops.extend(idle.map(|(&id, _)| self.removal(id)));
        }
        ops
    }

    /// The request to remove an object.
    pub(crate) fn removal(&self, id: u32) -> ObjectOp {
        let content = match self.groups.get(&id) {
            Some(_) => ObjectContent::Group(Members::new()),
            None => ObjectContent::Other,
        };
        ObjectOp {
            id,
            kind: FibOpKind::Delete,
            protocol: self.protocol,
            content,
        }
    }
}
