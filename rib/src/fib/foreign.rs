//! The routes of other programs, one family: what resolves next hops, what must not be overwritten, what may be
//! announced.
//!
//! All of them are kept, since any may be on the way of a next hop that comes later. So that half a million of them
//! stay small, a prefix costs its own octets and four more beside the hash table's slack; second routes of a prefix
//! are few.

use std::collections::{HashMap, HashSet};

use pipit_bgp::{Family, Prefix};
use smallvec::SmallVec;

use crate::fib::kernel::{Arrival, Authored, KernelAction, KernelHop, KernelRoute};
use crate::fib::slab::Slab;

/// A number of the slab, without alignment: five octets of an IPv4 prefix and these make nine, not twelve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Id([u8; 4]);

impl Id {
    fn new(number: u32) -> Self {
        Id(number.to_ne_bytes())
    }

    fn number(self) -> u32 {
        u32::from_ne_bytes(self.0)
    }
}

type Ids = SmallVec<[Id; 4]>;

/// What the kernel's word changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Nothing: it was known.
    None,
    /// What is known is what is there.
    Done,
    /// Several routes may be meant: only a dump shows what is there.
    Unclear,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ForeignTable<P> {
    first: HashMap<P, Id, foldhash::fast::RandomState>,
    more: HashMap<P, Ids, foldhash::fast::RandomState>,
    /// How many prefixes of each length there are: a look-up tries only these.
    lengths: Vec<u32>,
    slab: Slab<Authored>,
    /// Prefixes with two IPv4 routes that differ only in what is not kept, as their preferred source or MTU.
    doubled: HashSet<P, foldhash::fast::RandomState>,
    /// What the dump under way showed last: routes with the same prefix and metric follow each other.
    shown: Option<(P, u32)>,
}

impl<P: Prefix> Default for ForeignTable<P> {
    fn default() -> Self {
        ForeignTable {
            first: HashMap::default(),
            more: HashMap::default(),
            lengths: vec![0; usize::from(P::MAX_LEN) + 1],
            slab: Slab::default(),
            doubled: HashSet::default(),
            shown: None,
        }
    }
}

impl<P: Prefix> ForeignTable<P> {
    /// Notes a route.
    pub(crate) fn insert(&mut self, prefix: P, new: Authored, how: Arrival) -> Change {
        let metric = new.route.metric;
        let is_ipv4 = P::FAMILY == Family::Ipv4Unicast;
        let mut ids = self.load(prefix);
        if !is_ipv4 {
            // Gateways that join others are told of together with them.
            self.forget(&mut ids, |known| {
                *known != new && known.route.is_joined_by(&new.route)
            });
        }
        let first = ids
            .iter()
            .position(|id| self.slab.get(id.number()).route.metric == metric);
        let rivals = self.with_metric(&ids, metric).count();
        let mut is_unclear = false;
        let mut at = ids.len();
        let mut is_second = true;
        match (how, first) {
            (Arrival::Shown, _) => {
                is_second = self.shown.replace((prefix, metric)) == Some((prefix, metric));
                if !is_second {
                    // What events told before it is older.
                    self.forget(&mut ids, |known| known.route.metric == metric && *known != new);
                    at = ids.len();
                }
            }
            (Arrival::Replacement, Some(first)) => {
                // IPv6 replaces the first of the same kind, with or without gateway.
                is_unclear = self.doubled.contains(&prefix) || (!is_ipv4 && rivals > 1);
                is_second = *self.slab.get(ids[first].number()) != new;
                if is_second && !is_unclear {
                    self.slab.release(ids.remove(first).number());
                    at = first;
                }
            }
            (Arrival::AddedFirst, Some(first)) => at = first,
            (Arrival::Added | Arrival::AddedFirst | Arrival::Replacement, _) => {}
        }
        let id = Id::new(self.slab.retain(new));
        let is_known = ids.contains(&id);
        if is_known {
            self.slab.release(id.number());
            if is_ipv4 && is_second {
                self.doubled.insert(prefix);
                // It may have come before others.
                is_unclear |= how != Arrival::Shown && rivals > 1;
            }
        } else {
            ids.insert(at, id);
        }
        self.store(prefix, ids);
        match (is_unclear, is_known) {
            (true, _) => Change::Unclear,
            (false, true) => Change::None,
            (false, false) => Change::Done,
        }
    }

    /// Forgets the route with this metric: another one, which is not foreign, took its place.
    pub(crate) fn displace(&mut self, prefix: P, metric: u32) -> Change {
        let mut ids = self.load(prefix);
        match self.with_metric(&ids, metric).count() {
            0 => Change::None,
            1 if !self.doubled.contains(&prefix) => {
                self.forget(&mut ids, |known| known.route.metric == metric);
                self.store(prefix, ids);
                Change::Done
            }
            _ => Change::Unclear,
        }
    }

    /// Forgets a route, or those of its next hops that are gone: IPv6 tells of gateways that leave others one by one.
    pub(crate) fn remove(&mut self, prefix: P, gone: &Authored) -> Change {
        let mut ids = self.load(prefix);
        let position = |is_meant: &dyn Fn(&Authored) -> bool| {
            ids.iter().position(|id| is_meant(self.slab.get(id.number())))
        };
        // With an object it is told of as what that holds by then.
        let exact =
            position(&|known| known == gone).or_else(|| position(&|known| known.is_through_same(gone)));
        let Some(at) = exact.or_else(|| position(&|known| known.route.shares_gateway(&gone.route))) else {
            return Change::None;
        };
        let known = self.slab.get(ids[at].number());
        let is_clear = match exact {
            Some(_) => !self.doubled.contains(&prefix),
            None => P::FAMILY == Family::Ipv6Unicast && known.protocol == gone.protocol,
        };
        if !is_clear {
            return Change::Unclear;
        }
        let left = exact.is_none().then(|| known.without_hops_of(gone)).flatten();
        self.slab.release(ids.remove(at).number());
        if let Some(left) = left {
            let id = Id::new(self.slab.retain(left));
            if ids.contains(&id) {
                self.slab.release(id.number());
            } else {
                ids.push(id);
            }
        }
        self.store(prefix, ids);
        Change::Done
    }

    fn with_metric(&self, ids: &Ids, metric: u32) -> impl Iterator<Item = &Authored> {
        let routes = ids.iter().map(|id| self.slab.get(id.number()));
        routes.filter(move |known| known.route.metric == metric)
    }

    fn forget(&mut self, ids: &mut Ids, is_meant: impl Fn(&Authored) -> bool) {
        ids.retain(|id| {
            let stays = !is_meant(self.slab.get(id.number()));
            if !stays {
                self.slab.release(id.number());
            }
            stays
        });
    }

    /// The prefixes of routes that use a device. Costs a pass over all routes only where there is one.
    pub(crate) fn prefixes_through(&self, device: u32) -> Vec<P> {
        self.prefixes_where(|route| route.uses(device)).1
    }

    /// Whether a route uses a device.
    pub(crate) fn leads_through(&self, device: u32) -> bool {
        self.slab.iter().any(|(_, foreign)| foreign.route.uses(device))
    }

    /// Forgets what the kernel dropped with a device: of its next hops this was the last that was alive. The prefixes
    /// concerned.
    pub(crate) fn drop_device(&mut self, device: u32, is_alive: impl Fn(u32) -> bool) -> Vec<P> {
        self.drop_where(|route| route.uses(device) && !route.devices().any(&is_alive))
    }

    /// Forgets what the kernel dropped with a nexthop object; the prefixes concerned.
    pub(crate) fn drop_object(&mut self, id: u32) -> Vec<P> {
        self.drop_where(|route| route.object == Some(id))
    }

    /// Whether a route leads through a nexthop object.
    pub(crate) fn uses_object(&self, id: u32) -> bool {
        self.slab
            .iter()
            .any(|(_, foreign)| foreign.route.object == Some(id))
    }

    /// Whether a route carries a protocol number.
    pub(crate) fn is_carried(&self, protocol: u8) -> bool {
        self.slab.iter().any(|(_, foreign)| foreign.protocol == protocol)
    }

    /// Forgets what the kernel dropped with the nexthop objects of a device that lost its carrier, as the last one of
    /// theirs that had it; the prefixes concerned.
    pub(crate) fn drop_objects_of(&mut self, device: u32, has_carrier: impl Fn(u32) -> bool) -> Vec<P> {
        self.drop_where(|route| {
            route.object.is_some() && route.uses(device) && !route.devices().any(&has_carrier)
        })
    }

    fn drop_where(&mut self, is_meant: impl Fn(&KernelRoute) -> bool) -> Vec<P> {
        let (ids, prefixes) = self.prefixes_where(is_meant);
        for &prefix in &prefixes {
            let (gone, left): (Ids, Ids) = self
                .load(prefix)
                .into_iter()
                .partition(|id| ids.binary_search(&id.number()).is_ok());
            gone.iter().for_each(|id| self.slab.release(id.number()));
            self.store(prefix, left);
        }
        prefixes
    }

    /// Numbers of routes, and their prefixes, both sorted.
    fn prefixes_where(&self, is_meant: impl Fn(&KernelRoute) -> bool) -> (Vec<u32>, Vec<P>) {
        let meant = self.slab.iter().filter(|(_, foreign)| is_meant(&foreign.route));
        let ids: Vec<u32> = meant.map(|(id, _)| id).collect();
        if ids.is_empty() {
            return (ids, Vec::new());
        }
        let is_meant = |id: &Id| ids.binary_search(&id.number()).is_ok();
        let first = self.first.iter().filter(|(_, id)| is_meant(id));
        let more = self
            .more
            .iter()
            .filter(|(_, of_prefix)| of_prefix.iter().any(is_meant));
        let mut prefixes: Vec<P> = first
            .map(|(&prefix, _)| prefix)
            .chain(more.map(|(&prefix, _)| prefix))
            .collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        (ids, prefixes)
    }

    /// The route with this prefix and metric.
    pub(crate) fn holder(&self, prefix: P, metric: u32) -> Option<&Authored> {
        self.routes(prefix).find(|foreign| foreign.route.metric == metric)
    }

    /// The route with this prefix and the lowest metric, up to this one.
    pub(crate) fn first_below(&self, prefix: P, metric: u32) -> Option<&Authored> {
        let routes = self
            .routes(prefix)
            .filter(|foreign| foreign.route.metric <= metric);
        routes.min_by_key(|foreign| foreign.route.metric)
    }

    /// The routes of a prefix, in no order.
    pub(crate) fn routes(&self, prefix: P) -> impl Iterator<Item = &Authored> {
        let first = self.first.get(&prefix);
        let more = first.and_then(|_| self.more.get(&prefix));
        first
            .into_iter()
            .chain(more.into_iter().flatten())
            .map(|id| self.slab.get(id.number()))
    }

    /// The prefixes, in no order.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = P> {
        self.first.keys().copied()
    }

    /// The way to an address, and the metric of the route that gives it: the longest prefix, the lowest metric, of
    /// its next hops the first that is usable, with carrier if any has it. A route without a usable one counts as
    /// absent; one that drops packets means that there is no way.
    pub(crate) fn lookup(
        &self,
        address: [u8; 16],
        is_usable: impl Fn(&KernelHop) -> bool,
        has_carrier: impl Fn(&KernelHop) -> bool,
    ) -> Option<(u32, KernelHop)> {
        for len in (0..=P::MAX_LEN).rev() {
            if self.lengths[usize::from(len)] == 0 {
                continue;
            }
            let Some(net) = P::from_octets(address, len) else {
                continue;
            };
            let mut routes: SmallVec<[&KernelRoute; 2]> =
                self.routes(net).map(|foreign| &foreign.route).collect();
            routes.sort_by_key(|route| route.metric);
            for route in routes {
                match &route.action {
                    KernelAction::Blackhole | KernelAction::Other(_) => return None,
                    // Through a nexthop object of which nothing is known: somewhere else than all others lead.
                    KernelAction::Unicast(hops) if hops.iter().any(|hop| hop.device == 0) => return None,
                    KernelAction::Unicast(hops) => {
                        let usable = hops.iter().filter(|hop| is_usable(hop));
                        if let Some(hop) = usable.min_by_key(|hop| !has_carrier(hop)) {
                            return Some((route.metric, *hop));
                        }
                    }
                }
            }
        }
        None
    }

    fn load(&self, prefix: P) -> Ids {
        let Some(&first) = self.first.get(&prefix) else {
            return Ids::new();
        };
        let more = self.more.get(&prefix);
        std::iter::once(first)
            .chain(more.into_iter().flatten().copied())
            .collect()
    }

    fn store(&mut self, prefix: P, ids: Ids) {
        let count = &mut self.lengths[usize::from(prefix.bits())];
        let Some((&first, more)) = ids.split_first() else {
            *count -= u32::from(self.first.remove(&prefix).is_some());
            self.more.remove(&prefix);
            self.doubled.remove(&prefix);
            return;
        };
        *count += u32::from(self.first.insert(prefix, first).is_none());
        if more.is_empty() {
            self.more.remove(&prefix);
        } else {
            self.more.insert(prefix, more.iter().copied().collect());
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }
}

#[cfg(test)]
mod tests {
    use ipnet::Ipv4Net;

    use super::*;

    fn route(device: u32, metric: u32) -> Authored {
        let hop = KernelHop {
            gateway: None,
            device,
            is_onlink: false,
            weight: 1,
        };
        Authored {
            protocol: 3,
            route: KernelRoute {
                action: KernelAction::Unicast([hop].into_iter().collect()),
                metric,
                source: None,
                object: None,
                has_more: false,
            },
        }
    }

    #[test]
    fn a_foreign_prefix_costs_nine_octets_before_the_slack() {
        assert_eq!(size_of::<(Ipv4Net, Id)>(), 9);
    }

    #[test]
    fn several_routes_of_a_prefix_come_and_go_one_by_one() {
        let mut table = ForeignTable::<Ipv4Net>::default();
        let prefix: Ipv4Net = "10.0.0.0/24".parse().unwrap();
        for device in [2, 3, 4] {
            let new = route(device, device);
            assert_eq!(table.insert(prefix, new.clone(), Arrival::Added), Change::Done);
            assert_eq!(table.insert(prefix, new, Arrival::Replacement), Change::None);
        }
        assert_eq!((table.len(), table.routes(prefix).count()), (1, 3));
        assert_eq!(
            table.insert(prefix, route(9, 3), Arrival::Replacement),
            Change::Done,
            "takes the place of device 3"
        );
        assert_eq!(table.drop_device(3, |device| device != 3), []);
        assert_eq!(table.drop_device(2, |device| device != 2), [prefix]);
        assert_eq!(table.holder(prefix, 3), Some(&route(9, 3)));
        assert_eq!(table.remove(prefix, &route(9, 3)), Change::Done);
        assert_eq!(table.displace(prefix, 4), Change::Done);
        assert_eq!((table.len(), table.routes(prefix).count()), (0, 0));
        assert_eq!(
            table.lookup(
                [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                |_| true,
                |_| true
            ),
            None
        );
    }
}
