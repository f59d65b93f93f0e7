//! The routes of other programs, one family: what resolves next hops and what must not be overwritten.

use std::collections::HashMap;

use pipit_bgp::Prefix;
use smallvec::SmallVec;

use crate::fib::kernel::{KernelAction, KernelHop, KernelRoute};

/// One route of another program, without its prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Foreign {
    shape: u32,
    protocol: u8,
}

/// Routes stored once, counted: the interfaces of pods come and go by the thousand.
#[derive(Debug, Default)]
struct Slab {
    routes: Vec<(KernelRoute, u32)>,
    ids: HashMap<KernelRoute, u32, foldhash::fast::RandomState>,
    free: Vec<u32>,
}

impl Slab {
    fn retain(&mut self, route: KernelRoute) -> u32 {
        if let Some(&id) = self.ids.get(&route) {
            self.routes[id as usize].1 += 1;
            return id;
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.routes[id as usize] = (route.clone(), 1);
                id
            }
            None => {
                self.routes.push((route.clone(), 1));
                (self.routes.len() - 1) as u32
            }
        };
        self.ids.insert(route, id);
        id
    }

    fn release(&mut self, id: u32) {
        let (route, count) = &mut self.routes[id as usize];
        *count -= 1;
        if *count == 0 {
            self.ids.remove(route);
            self.free.push(id);
        }
    }

    fn route(&self, id: u32) -> &KernelRoute {
        &self.routes[id as usize].0
    }
}

/// See the module. 32 octets for each prefix beside the hash table's slack.
#[derive(Debug)]
pub(crate) struct ForeignTable<P> {
    prefixes: HashMap<P, SmallVec<[Foreign; 2]>, foldhash::fast::RandomState>,
    /// How many prefixes of each length there are: a look-up tries only these.
    lengths: Vec<u32>,
    slab: Slab,
}

impl<P: Prefix> Default for ForeignTable<P> {
    fn default() -> Self {
        ForeignTable {
            prefixes: HashMap::default(),
            lengths: vec![0; usize::from(P::MAX_LEN) + 1],
            slab: Slab::default(),
        }
    }
}

impl<P: Prefix> ForeignTable<P> {
    /// Notes a route; says whether that is new.
    pub(crate) fn insert(
        &mut self,
        prefix: P,
        protocol: u8,
        route: KernelRoute,
        is_replacement: bool,
    ) -> bool {
        let metric = route.metric;
        let shape = self.slab.retain(route);
        let new = Foreign { shape, protocol };
        let routes = self.prefixes.entry(prefix).or_insert_with(|| {
            self.lengths[usize::from(prefix.bits())] += 1;
            SmallVec::new()
        });
        if routes.contains(&new) {
            self.slab.release(shape);
            return false;
        }
        if is_replacement {
            displace(&mut self.slab, routes, metric);
        }
        routes.push(new);
        true
    }

    /// Forgets the routes with this metric: another one, which is not foreign, took their place.
    pub(crate) fn displace(&mut self, prefix: P, metric: u32) -> bool {
        let Some(routes) = self.prefixes.get_mut(&prefix) else {
            return false;
        };
        let before = routes.len();
        displace(&mut self.slab, routes, metric);
        let is_changed = routes.len() < before;
        if routes.is_empty() {
            self.prefixes.remove(&prefix);
            self.lengths[usize::from(prefix.bits())] -= 1;
        }
        is_changed
    }

    /// Forgets a route; says whether it was known. The kernel's word on a removal may name fewer next hops than the
    /// route had, so metric and protocol decide when nothing is exactly equal.
    pub(crate) fn remove(&mut self, prefix: P, protocol: u8, route: &KernelRoute) -> bool {
        let Some(routes) = self.prefixes.get_mut(&prefix) else {
            return false;
        };
        let slab = &mut self.slab;
        let exact = routes
            .iter()
            .position(|old| old.protocol == protocol && slab.route(old.shape) == route);
        let similar = || {
            routes
                .iter()
                .position(|old| old.protocol == protocol && slab.route(old.shape).metric == route.metric)
        };
        let Some(at) = exact.or_else(similar) else {
            return false;
        };
        slab.release(routes.remove(at).shape);
        if routes.is_empty() {
            self.prefixes.remove(&prefix);
            self.lengths[usize::from(prefix.bits())] -= 1;
        }
        true
    }

    /// Forgets what the kernel dropped with a device; the prefixes concerned.
    pub(crate) fn drop_device(&mut self, device: u32) -> Vec<P> {
        let is_used = self
            .slab
            .routes
            .iter()
            .any(|(route, count)| *count > 0 && route.uses_only(device));
        if !is_used {
            return Vec::new();
        }
        let (slab, lengths) = (&mut self.slab, &mut self.lengths);
        let mut dropped = Vec::new();
        self.prefixes.retain(|&prefix, routes| {
            let before = routes.len();
            routes.retain(|old| {
                let stays = !slab.route(old.shape).uses_only(device);
                if !stays {
                    slab.release(old.shape);
                }
                stays
            });
            if routes.len() < before {
                dropped.push(prefix);
            }
            if routes.is_empty() {
                lengths[usize::from(prefix.bits())] -= 1;
            }
            !routes.is_empty()
        });
        dropped
    }

    /// The protocol of the route with this prefix and metric.
    pub(crate) fn holder(&self, prefix: P, metric: u32) -> Option<u8> {
        let routes = self.prefixes.get(&prefix)?;
        let holder = routes
            .iter()
            .find(|route| self.slab.route(route.shape).metric == metric)?;
        Some(holder.protocol)
    }

    /// The way to an address, and the metric of the route that gives it: the longest prefix, the lowest metric, of
    /// its next hops the first that is usable. A route without a usable one counts as absent; one that drops packets
    /// means that there is no way.
    pub(crate) fn lookup(
        &self,
        address: [u8; 16],
        is_usable: impl Fn(&KernelHop) -> bool,
    ) -> Option<(u32, KernelHop)> {
        for len in (0..=P::MAX_LEN).rev() {
            if self.lengths[usize::from(len)] == 0 {
                continue;
            }
            let Some(routes) = P::from_octets(address, len).and_then(|net| self.prefixes.get(&net)) else {
                continue;
            };
            let mut shapes: SmallVec<[&KernelRoute; 2]> =
                routes.iter().map(|route| self.slab.route(route.shape)).collect();
            shapes.sort_by_key(|route| route.metric);
            for route in shapes {
                match &route.action {
                    KernelAction::Blackhole | KernelAction::Other(_) => return None,
                    KernelAction::Unicast(hops) => {
                        if let Some(hop) = hops.iter().find(|hop| is_usable(hop)) {
                            return Some((route.metric, *hop));
                        }
                    }
                }
            }
        }
        None
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.prefixes.len()
    }
}

fn displace(slab: &mut Slab, routes: &mut SmallVec<[Foreign; 2]>, metric: u32) {
    routes.retain(|old| {
        let stays = slab.route(old.shape).metric != metric;
        if !stays {
            slab.release(old.shape);
        }
        stays
    });
}
