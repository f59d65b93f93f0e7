//! What nexthop objects hold that routes of other programs lead through.
//!
//! With `net.ipv4.nexthop_compat_mode` off the kernel names the object in a route and says no more. Dumps show objects
//! before routes, and an object is there before the first route through it.

use std::collections::HashMap;

use smallvec::{SmallVec, smallvec};

use crate::fib::Fib;
use crate::fib::dump::Dump;
use crate::fib::kernel::{Authored, KernelAction, KernelHop, ObjectContent};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ForeignObjects {
    contents: HashMap<u32, ObjectContent, foldhash::fast::RandomState>,
    /// The kernel left next hops out of a route: it will not repeat such routes when an object changes.
    is_needed: bool,
}

impl ForeignObjects {
    pub(crate) fn remove(&mut self, id: u32) {
        self.contents.remove(&id);
    }

    /// Objects whose routes may lead elsewhere now, if the kernel says nothing of these itself.
    fn set(&mut self, id: u32, content: &ObjectContent) -> SmallVec<[u32; 2]> {
        let old = self.contents.insert(id, content.clone());
        if !self.is_needed || old.is_none_or(|old| old == *content) {
            return SmallVec::new();
        }
        let is_around = |content: &ObjectContent| match content {
            ObjectContent::Group(members) => members.iter().any(|(member, _)| *member == id),
            ObjectContent::Hop(_) | ObjectContent::Other => false,
        };
        let groups = self.contents.iter().filter(|(_, content)| is_around(content));
        groups.map(|(&id, _)| id).chain([id]).collect()
    }

    /// Puts in the next hops that the kernel left out, if they are known.
    pub(crate) fn fill(&mut self, authored: &mut Authored) {
        let (Some(object), KernelAction::Unicast(hops)) = (authored.route.object, &mut authored.route.action)
        else {
            return;
        };
        if hops.iter().any(|hop| hop.device != 0) {
            return;
        }
        self.is_needed = true;
        if let Some(held) = self.hops(object) {
            *hops = held;
        }
    }

    fn hops(&self, object: u32) -> Option<SmallVec<[KernelHop; 1]>> {
        let members = match self.contents.get(&object)? {
            ObjectContent::Hop(hop) => return Some(smallvec![*hop]),
            ObjectContent::Group(members) => members,
            ObjectContent::Other => return None,
        };
        let hop = |&(id, weight): &(u32, u8)| match self.contents.get(&id)? {
            ObjectContent::Hop(hop) => Some(KernelHop { weight, ..*hop }),
            ObjectContent::Group(_) | ObjectContent::Other => None,
        };
        let mut hops = members.iter().map(hop).collect::<Option<SmallVec<_>>>()?;
        hops.sort_unstable();
        Some(hops)
    }
}

impl Fib {
    /// An object is there, or holds something else.
    pub(super) fn note_object(&mut self, id: u32, content: &ObjectContent) {
        let changed = self.topology.objects_mut().set(id, content);
        let is_used = match self.dump {
            Dump::Awaited { .. } => false,
            // What it has shown so far is not looked at before its end.
            Dump::Running { .. } => !changed.is_empty(),
            Dump::Done => changed.iter().any(|id| self.topology.uses_object(*id)),
        };
        if is_used {
            self.wants_dump();
        }
    }
}
