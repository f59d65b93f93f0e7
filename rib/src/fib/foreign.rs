//! The routes of other programs, one family: what resolves next hops, what must not be overwritten, what may be
//! announced.
//!
//! All of them are kept, since any may be on the way of a next hop that comes later. So that half a million of them
//! stay small, a prefix costs its own octets and four more beside the hash table's slack; second routes of a prefix
//! are few.

use std::collections::HashMap;

use pipit_bgp::Prefix;
use smallvec::SmallVec;

use crate::fib::kernel::{Authored, KernelAction, KernelHop, KernelRoute};
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

/// See the module.
#[derive(Debug)]
pub(crate) struct ForeignTable<P> {
    first: HashMap<P, Id, foldhash::fast::RandomState>,
    more: HashMap<P, Ids, foldhash::fast::RandomState>,
    /// How many prefixes of each length there are: a look-up tries only these.
    lengths: Vec<u32>,
    slab: Slab<Authored>,
}

impl<P: Prefix> Default for ForeignTable<P> {
    fn default() -> Self {
        ForeignTable {
            first: HashMap::default(),
            more: HashMap::default(),
            lengths: vec![0; usize::from(P::MAX_LEN) + 1],
            slab: Slab::default(),
        }
    }
}

impl<P: Prefix> ForeignTable<P> {
    /// Notes a route; says whether that is new.
    pub(crate) fn insert(&mut self, prefix: P, new: Authored, is_replacement: bool) -> bool {
        let metric = new.route.metric;
        let mut ids = self.load(prefix);
        let id = Id::new(self.slab.retain(new));
        if ids.contains(&id) {
            self.slab.release(id.number());
            return false;
        }
        if is_replacement {
            displace(&mut self.slab, &mut ids, metric);
        }
        ids.push(id);
        self.store(prefix, ids);
        true
    }

    /// Forgets the routes with this metric: another one, which is not foreign, took their place.
    pub(crate) fn displace(&mut self, prefix: P, metric: u32) -> bool {
        let mut ids = self.load(prefix);
        let before = ids.len();
        displace(&mut self.slab, &mut ids, metric);
        let is_changed = ids.len() < before;
        if is_changed {
            self.store(prefix, ids);
        }
        is_changed
    }

    /// Forgets a route; says whether it was known. The kernel's word on a removal may name fewer next hops than the
    /// route had, so metric and protocol decide when nothing is exactly equal; a route by other devices is another one.
    pub(crate) fn remove(&mut self, prefix: P, gone: &Authored) -> bool {
        let mut ids = self.load(prefix);
        let slab = &mut self.slab;
        let exact = ids.iter().position(|id| slab.get(id.number()) == gone);
        let is_similar = |id: &Id| {
            let known = slab.get(id.number());
            (known.protocol, known.route.metric) == (gone.protocol, gone.route.metric)
                && gone.route.devices().all(|device| known.route.uses(device))
        };
        let Some(at) = exact.or_else(|| ids.iter().position(is_similar)) else {
            return false;
        };
        slab.release(ids.remove(at).number());
        self.store(prefix, ids);
        true
    }

    /// The prefixes of routes that use a device. Costs a pass over all routes only where there is one.
    pub(crate) fn prefixes_through(&self, device: u32) -> Vec<P> {
        self.prefixes_where(|route| route.uses(device)).1
    }

    /// Forgets what the kernel dropped with a device; the prefixes concerned.
    pub(crate) fn drop_device(&mut self, device: u32) -> Vec<P> {
        self.drop_where(|route| route.uses_only(device))
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

    /// Forgets what the kernel dropped with the nexthop objects of a device that lost its carrier; the prefixes
    /// concerned.
    pub(crate) fn drop_objects_of(&mut self, device: u32) -> Vec<P> {
        self.drop_where(|route| route.object.is_some() && route.uses_only(device))
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

fn displace(slab: &mut Slab<Authored>, ids: &mut Ids, metric: u32) {
    ids.retain(|id| {
        let stays = slab.get(id.number()).route.metric != metric;
        if !stays {
            slab.release(id.number());
        }
        stays
    });
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
            assert!(table.insert(prefix, route(device, device), false));
            assert!(!table.insert(prefix, route(device, device), false));
        }
        assert_eq!((table.len(), table.routes(prefix).count()), (1, 3));
        assert!(
            table.insert(prefix, route(9, 3), true),
            "takes the place of device 3"
        );
        assert_eq!(table.drop_device(3), []);
        assert_eq!(table.drop_device(2), [prefix]);
        assert_eq!(table.holder(prefix, 3), Some(&route(9, 3)));
        assert!(table.remove(prefix, &route(9, 3)) && table.displace(prefix, 4));
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
