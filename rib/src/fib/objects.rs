//! Nexthop objects in the kernel, where the setting asks for them: an object for each gateway, and a group of those for
//! each set of BGP next hops. Routes lead through groups.
//!
//! A gateway never changes: another one is another object. A group does, and with it, in one operation, all routes
//! through it. It stands for a set of next hops, its owner, and holds what that resolves to; it gets another owner when
//! all its routes are wanted through that one ([`Objects::hand_over`]). So a set may own several groups: the first is
//! where its new routes go, the others are as good.
//!
//! Groups even for one gateway, since the kernel makes no group of a single object, and no single object of a group.
//! What carries our protocol number inside our range of numbers is ours; all else is left alone.

mod plan;
mod seen;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pipit_bgp::Family;
pub(crate) use seen::Found;
use smallvec::SmallVec;

use crate::fib::kernel::KernelHop;
use crate::fib::shapes::TargetId;
use crate::fib::target::Hop;

/// Numbers of our objects: "PI" in the upper half, far from where others begin to count.
const IDS: std::ops::Range<u32> = 0x5049_0000..0x5059_0000;

/// Gateways with their shares, in the order of [`KernelHop`].
pub(crate) type Ways = SmallVec<[KernelHop; 1]>;
type Members = SmallVec<[(u32, u8); 2]>;

/// Names a set of BGP next hops.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SetId(u32);

#[derive(Debug, Default)]
struct Set {
    /// What its groups are to hold; `None`: its routes are plain ones, or there are none.
    ways: Option<Ways>,
    groups: SmallVec<[u32; 1]>,
    targets: SmallVec<[TargetId; 1]>,
    /// Prefixes that are wanted through it.
    wanted: usize,
}

#[derive(Debug)]
struct Gateway {
    /// With a weight of one.
    way: KernelHop,
    /// With which protocol number the kernel has it.
    there: Option<u8>,
}

#[derive(Debug, Default)]
struct Group {
    owner: Option<SetId>,
    /// What the kernel has: protocol number and members.
    there: Option<(u8, Members)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    is_on: bool,
    /// The kernel knows no nexthop objects.
    unsupported: Option<i32>,
    /// Somebody keeps removing ours: plain routes for a while.
    pub(super) is_distrusted: bool,
    protocol: u8,
    gateways: BTreeMap<u32, Gateway>,
    gateway_ids: HashMap<KernelHop, u32, foldhash::fast::RandomState>,
    groups: BTreeMap<u32, Group>,
    sets: Vec<Set>,
    /// Sets whose group, or one of whose gateways, the kernel did not take: their routes are plain ones.
    refused: BTreeMap<SetId, i32>,
    set_ids: HashMap<(Family, SmallVec<[Hop; 1]>), SetId, foldhash::fast::RandomState>,
    /// Numbers of our range that are others'.
    taken: BTreeSet<u32>,
    /// Groups that may not hold what they should.
    due: BTreeSet<u32>,
    unseen: BTreeSet<u32>,
    /// No lower number is free.
    next: u32,
    has_unowned: bool,
    /// Something may have become useless.
    pub(super) is_untidy: bool,
    /// How many prefixes came to be wanted through another set than their group's, since that was last looked at.
    pub(super) moves: usize,
    /// [`Set::wanted`] must be counted anew.
    pub(super) is_uncounted: bool,
}

/// Whether a number is of our range.
pub(crate) fn is_in_range(id: u32) -> bool {
    IDS.contains(&id)
}

impl Objects {
    /// Whether there is nothing to be done about objects, and no route through one.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_on && self.groups.is_empty() && self.gateways.is_empty()
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Says whether that is new.
    pub(crate) fn set_on(&mut self, is_on: bool) -> bool {
        self.unsupported = None;
        self.is_distrusted = false;
        self.is_uncounted = true;
        std::mem::replace(&mut self.is_on, is_on) != is_on
    }

    /// Protocol number of what is written from now on.
    pub(crate) fn set_protocol(&mut self, protocol: u8) {
        if self.protocol == protocol {
            return;
        }
        self.protocol = protocol;
        // The kernel changes everything of a group but its number: there will be others.
        for (id, group) in self.groups.iter_mut().filter(|(_, group)| group.there.is_some()) {
            if let Some(owner) = group.owner.take() {
                self.sets[owner.0 as usize].groups.retain(|group| group != id);
            }
            self.has_unowned = true;
        }
        self.is_untidy = true;
    }

    pub(crate) fn carries(&self, protocol: u8) -> bool {
        let mut gateways = self.gateways.values().filter_map(|gateway| gateway.there);
        let mut groups = self
            .groups
            .values()
            .filter_map(|group| Some(group.there.as_ref()?.0));
        gateways.any(|with| with == protocol) || groups.any(|with| with == protocol)
    }

    /// The kernel knows no objects.
    pub(crate) fn give_up(&mut self, errno: i32) {
        self.unsupported = Some(errno);
    }

    /// Why there are none, or not as many as there should be: the kernel's errno.
    pub(crate) fn trouble(&self) -> Option<i32> {
        let mut refused = self.refused.iter().filter(|(id, _)| self.set(**id).wanted > 0);
        self.unsupported
            .or_else(|| refused.next().map(|(_, errno)| *errno))
    }

    /// Sets that the kernel refused.
    pub(crate) fn refused_sets(&self) -> Vec<SetId> {
        self.refused.keys().copied().collect()
    }

    pub(crate) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Whether the kernel has this object of ours.
    pub(crate) fn is_there(&self, id: u32) -> bool {
        let group = self.groups.get(&id).is_some_and(|group| group.there.is_some());
        group
            || self
                .gateways
                .get(&id)
                .is_some_and(|gateway| gateway.there.is_some())
    }

    /// Groups in the kernel.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.values().filter(|group| group.there.is_some()).count()
    }

    fn set(&self, id: SetId) -> &Set {
        &self.sets[id.0 as usize]
    }

    fn set_mut(&mut self, id: SetId) -> &mut Set {
        &mut self.sets[id.0 as usize]
    }

    /// The set of these next hops, that of a target.
    pub(crate) fn set_of(&mut self, family: Family, hops: &[Hop], target: TargetId) -> SetId {
        let key = (family, SmallVec::from_slice(hops));
        let new = SetId(self.sets.len() as u32);
        let id = *self.set_ids.entry(key).or_insert(new);
        if id == new {
            self.sets.push(Set::default());
        }
        let targets = &mut self.set_mut(id).targets;
        if !targets.contains(&target) {
            targets.push(target);
        }
        id
    }

    pub(crate) fn all_sets(&self) -> impl Iterator<Item = SetId> + use<> {
        (0..self.sets.len() as u32).map(SetId)
    }

    /// Groups of ours, in the kernel or to be made.
    pub(crate) fn groups(&self) -> impl Iterator<Item = u32> {
        self.groups.keys().copied()
    }

    /// The targets whose next hops these are.
    pub(crate) fn targets(&self, id: SetId) -> &[TargetId] {
        &self.set(id).targets
    }

    /// What a set resolves to now; the group that new routes through it use. `None`: plain routes. Objects need a
    /// carrier, and the kernel drops them without: plain routes it keeps.
    pub(crate) fn group_for(&mut self, id: SetId, ways: Option<&Ways>, has_carrier: bool) -> Option<u32> {
        let may_be = self.is_on && self.unsupported.is_none() && !self.is_distrusted && has_carrier;
        let ways = ways.filter(|_| may_be);
        let set = self.set_mut(id);
        if set.ways.as_ref() != ways {
            set.ways = ways.cloned();
            let groups = set.groups.clone();
            self.refused.remove(&id);
            self.due.extend(groups);
            self.is_untidy = true;
        }
        let set = self.set(id);
        if set.ways.is_none() || self.refused.contains_key(&id) {
            return None;
        }
        match set.groups.first() {
            Some(&group) => Some(group),
            None => self.add_group(id),
        }
    }

    fn add_group(&mut self, owner: SetId) -> Option<u32> {
        let id = self.free_id()?;
        let group = Group {
            owner: Some(owner),
            there: None,
        };
        self.groups.insert(id, group);
        self.set_mut(owner).groups.push(id);
        self.due.insert(id);
        Some(id)
    }

    /// The lowest number that is free: where sets change to and fro, the same few numbers come again and again.
    fn free_id(&mut self) -> Option<u32> {
        let is_free = |id: &u32| {
            !(self.gateways.contains_key(id) || self.groups.contains_key(id) || self.taken.contains(id))
        };
        let id = (self.next.max(IDS.start)..IDS.end).find(is_free);
        self.next = id.unwrap_or(IDS.end);
        id
    }

    /// A number may be used again.
    fn release_id(&mut self, id: u32) {
        self.next = self.next.min(id);
    }

    /// What the kernel refused is tried again.
    pub(crate) fn forgive(&mut self, id: SetId) {
        if self.refused.remove(&id).is_some() {
            let groups = self.set(id).groups.clone();
            self.due.extend(groups);
        }
    }

    /// One prefix more, or less, is wanted through a set.
    pub(crate) fn count(&mut self, id: SetId, is_more: bool) {
        let set = self.set_mut(id);
        if is_more {
            set.wanted += 1;
            if set.wanted == 1
                && let Some(&first) = set.groups.first()
            {
                self.due.insert(first);
            }
        } else {
            set.wanted = set.wanted.saturating_sub(1);
            self.is_untidy |= set.wanted == 0;
        }
    }

    /// All counts begin at zero.
    pub(crate) fn reset_counts(&mut self) {
        self.is_uncounted = false;
        self.is_untidy = true;
        for set in &mut self.sets {
            set.wanted = 0;
        }
    }

    pub(crate) fn owner(&self, group: u32) -> Option<SetId> {
        self.groups.get(&group)?.owner
    }

    /// Whether the kernel has groups that nobody has claimed.
    pub(crate) fn has_unowned(&self) -> bool {
        self.has_unowned && self.is_on
    }

    /// A group of an earlier life that holds what a set resolves to is that set's, and its routes stay as they are.
    /// Whether it is.
    pub(crate) fn adopt(&mut self, group: u32, set: SetId) -> bool {
        let is_free = |group: &Group| {
            let with = group.there.as_ref().map(|(protocol, _)| *protocol);
            group.owner.is_none() && with == Some(self.protocol)
        };
        let is_free = self.groups.get(&group).is_some_and(is_free);
        let is_same = is_free && self.set(set).ways.is_some() && self.set(set).ways == self.ways_of(group);
        if is_same {
            self.hand_over(group, set);
            self.has_unowned = self.groups.values().any(|group| group.owner.is_none());
        }
        is_same
    }

    /// All routes of a group are wanted through another set. The former owner, if it had one.
    pub(crate) fn hand_over(&mut self, group: u32, to: SetId) -> Option<SetId> {
        let from = self.groups.get_mut(&group)?.owner.replace(to);
        if let Some(from) = from {
            self.set_mut(from).groups.retain(|id| *id != group);
        }
        // One that would only now have to be made is not needed.
        let mut groups = std::mem::take(&mut self.set_mut(to).groups);
        groups.retain(|id| {
            let is_there = self.groups.get(id).is_some_and(|group| group.there.is_some());
            if !is_there {
                self.groups.remove(id);
                self.due.remove(id);
                self.next = self.next.min(*id);
            }
            is_there
        });
        groups.push(group);
        self.set_mut(to).groups = groups;
        self.due.insert(group);
        from
    }

    /// What a group holds in the kernel; a gateway that is not ours counts as one without a device.
    pub(crate) fn ways_of(&self, group: u32) -> Option<Ways> {
        let (_, members) = self.groups.get(&group)?.there.as_ref()?;
        let way = |&(id, weight): &(u32, u8)| match self.gateways.get(&id) {
            Some(gateway) => KernelHop {
                weight,
                ..gateway.way
            },
            None => KernelHop {
                gateway: None,
                device: 0,
                is_onlink: false,
                weight,
            },
        };
        let mut ways: Ways = members.iter().map(way).collect();
        ways.sort_unstable();
        Some(ways)
    }

    /// What a group is to hold.
    pub(crate) fn wanted_ways(&self, group: u32) -> Option<&Ways> {
        self.set(self.owner(group)?).ways.as_ref()
    }

    fn is_first(&self, group: u32, owner: SetId) -> bool {
        self.set(owner).groups.first() == Some(&group)
    }

    /// Whether a group is to be in the kernel even when no route leads through it yet.
    fn is_needed(&self, id: u32, group: &Group) -> bool {
        group.owner.is_some_and(|owner| {
            let set = self.set(owner);
            let may_be = set.ways.is_some() && !self.refused.contains_key(&owner);
            self.is_first(id, owner) && set.wanted > 0 && may_be
        })
    }
}
