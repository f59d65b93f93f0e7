//! Targets and kernel routes, each stored once and named by a number.
//!
//! A million prefixes share a handful of ways out. Shapes are kept for the life of the daemon: their number follows
//! the next hops ever seen, not the prefixes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::{Family, FamilyMap};
use smallvec::SmallVec;

use crate::fib::kernel::{Authored, KernelAction, KernelHop, KernelRoute};
use crate::fib::resolve::{Parked, Topology};
use crate::fib::target::{FibAction, FibTarget};

/// Names a [`FibTarget`] in use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct TargetId(pub(crate) u32);

/// Names a [`KernelRoute`] that has been seen or written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct RouteId(pub(crate) u32);

#[derive(Debug)]
struct Target {
    target: FibTarget,
    family: Family,
    resolved: Result<RouteId, Parked>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// What new routes carry.
    protocol: u8,
    source: FamilyMap<Option<IpAddr>>,
    targets: Vec<Target>,
    target_ids: FamilyMap<HashMap<FibTarget, TargetId, foldhash::fast::RandomState>>,
    /// Which targets a next hop carries: what to look at when a route to it changes.
    by_next_hop: BTreeMap<IpAddr, SmallVec<[TargetId; 2]>>,
    routes: Vec<Authored>,
    route_ids: HashMap<Authored, RouteId, foldhash::fast::RandomState>,
    /// Neighbouring prefixes mostly share their target.
    last: FamilyMap<Option<(FibTarget, TargetId)>>,
}

impl Shapes {
    /// Protocol number and preferred source of what is resolved from now on.
    pub(crate) fn set_marks(&mut self, protocol: u8, source: FamilyMap<Option<IpAddr>>) {
        (self.protocol, self.source) = (protocol, source);
    }

    pub(crate) fn route_id(&mut self, route: &Authored) -> RouteId {
        if let Some(&id) = self.route_ids.get(route) {
            return id;
        }
        let id = RouteId(self.routes.len() as u32);
        self.routes.push(route.clone());
        self.route_ids.insert(route.clone(), id);
        id
    }

    pub(crate) fn route(&self, id: RouteId) -> &KernelRoute {
        &self.routes[id.0 as usize].route
    }

    pub(crate) fn authored(&self, id: RouteId) -> &Authored {
        &self.routes[id.0 as usize]
    }

    pub(crate) fn metric(&self, id: RouteId) -> u32 {
        self.route(id).metric
    }

    /// Whether a route of our number was seen that leads through this nexthop object.
    pub(crate) fn uses_object(&self, id: u32) -> bool {
        self.routes
            .iter()
            .any(|authored| authored.route.object == Some(id))
    }

    /// Routes through this device.
    pub(crate) fn routes_through(&self, device: u32) -> Vec<RouteId> {
        (0..)
            .map(RouteId)
            .zip(&self.routes)
            .filter(|(_, authored)| authored.route.uses(device))
            .map(|(id, _)| id)
            .collect()
    }

    pub(crate) fn target(&self, id: TargetId) -> &FibTarget {
        &self.targets[id.0 as usize].target
    }

    pub(crate) fn resolved(&self, id: TargetId) -> Result<RouteId, &Parked> {
        self.targets[id.0 as usize].resolved.as_ref().copied()
    }

    pub(crate) fn target_id(&mut self, target: FibTarget, family: Family, topology: &Topology) -> TargetId {
        if let Some((last, id)) = &self.last[family]
            && *last == target
        {
            return *id;
        }
        let id = match self.target_ids[family].get(&target) {
            Some(&id) => id,
            None => self.add_target(&target, family, topology),
        };
        self.last[family] = Some((target, id));
        id
    }

    fn add_target(&mut self, target: &FibTarget, family: Family, topology: &Topology) -> TargetId {
        let id = TargetId(self.targets.len() as u32);
        let resolved = self.resolve(target, family, topology);
        if let FibAction::Via(hops) = &target.action {
            for hop in hops {
                let targets = self.by_next_hop.entry(hop.next_hop).or_default();
                if targets.last() != Some(&id) {
                    targets.push(id);
                }
            }
        }
        self.targets.push(Target {
            target: target.clone(),
            family,
            resolved,
        });
        self.target_ids[family].insert(target.clone(), id);
        id
    }

    /// Targets with a next hop inside this net.
    pub(crate) fn targets_within(&self, net: IpNet) -> impl Iterator<Item = TargetId> {
        self.by_next_hop
            .range(net.network()..=net.broadcast())
            .flat_map(|(_, targets)| targets.iter().copied())
    }

    /// All targets.
    pub(crate) fn all_targets(&self) -> impl Iterator<Item = TargetId> + use<> {
        (0..self.targets.len() as u32).map(TargetId)
    }

    /// Resolves a target anew; whether the outcome changed.
    pub(crate) fn resolve_again(&mut self, id: TargetId, topology: &Topology) -> bool {
        let Target { target, family, .. } = &self.targets[id.0 as usize];
        let (target, family) = (target.clone(), *family);
        let resolved = self.resolve(&target, family, topology);
        let entry = &mut self.targets[id.0 as usize];
        let is_changed = entry.resolved != resolved;
        entry.resolved = resolved;
        is_changed
    }

    fn resolve(
        &mut self,
        target: &FibTarget,
        family: Family,
        topology: &Topology,
    ) -> Result<RouteId, Parked> {
        let action = match &target.action {
            FibAction::Blackhole => KernelAction::Blackhole,
            FibAction::Via(hops) => {
                let mut ways = topology.resolve_all(hops)?;
                merge(&mut ways);
                KernelAction::Unicast(ways)
            }
        };
        // A blackhole sends nothing. An address that is not there cannot be preferred: the kernel would refuse the route.
        let is_here = |source: &IpAddr| topology.addresses().has(*source);
        let source = match action {
            KernelAction::Unicast(_) => self.source[family].filter(is_here),
            KernelAction::Blackhole | KernelAction::Other(_) => None,
        };
        let route = KernelRoute {
            action,
            metric: target.metric,
            source,
            object: None,
        };
        let protocol = self.protocol;
        Ok(self.route_id(&Authored { protocol, route }))
    }
}

/// Brings ways out into the order in which the decoder has them too. Two BGP next hops behind one gateway are one way
/// out with the weight of both.
fn merge(ways: &mut SmallVec<[KernelHop; 1]>) {
    ways.sort_unstable();
    let mut merged: SmallVec<[KernelHop; 1]> = SmallVec::new();
    for way in ways.drain(..) {
        match merged.last_mut() {
            Some(last) if (last.gateway, last.device) == (way.gateway, way.device) => {
                last.weight = last.weight.saturating_add(way.weight);
            }
            _ => merged.push(way),
        }
    }
    // The weight of the only way out means nothing, and the kernel does not keep it.
    if let [only] = merged.as_mut_slice() {
        only.weight = 1;
    }
    *ways = merged;
}
