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
use crate::fib::objects::{self, Objects, SetId, Ways};
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
    /// Its next hops as nexthop objects know them.
    set: Option<SetId>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Shapes {
    /// What new routes carry.
    protocol: u8,
    source: FamilyMap<Option<IpAddr>>,
    targets: Vec<Target>,
    target_ids: FamilyMap<HashMap<FibTarget, TargetId, foldhash::fast::RandomState>>,
    /// Which targets a next hop carries: what to look at when a route to it changes.
    by_next_hop: BTreeMap<IpAddr, SmallVec<[TargetId; 2]>>,
    routes: Vec<Authored>,
    route_ids: HashMap<Authored, RouteId, foldhash::fast::RandomState>,
    /// Routes through a nexthop object of ours.
    by_object: BTreeMap<u32, SmallVec<[RouteId; 1]>>,
    pub(crate) objects: Objects,
    /// Neighbouring prefixes mostly share their target.
    last: FamilyMap<Option<(FibTarget, TargetId)>>,
}

impl Shapes {
    /// Protocol number and preferred source of what is resolved from now on.
    pub(crate) fn set_marks(&mut self, protocol: u8, source: FamilyMap<Option<IpAddr>>) {
        (self.protocol, self.source) = (protocol, source);
        self.objects.set_protocol(protocol);
    }

    pub(crate) fn route_id(&mut self, route: &Authored) -> RouteId {
        if let Some(&id) = self.route_ids.get(route) {
            return id;
        }
        let id = RouteId(self.routes.len() as u32);
        if let Some(object) = route.route.object.filter(|object| objects::is_in_range(*object)) {
            self.by_object.entry(object).or_default().push(id);
        }
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

    /// Routes through a nexthop object of ours.
    pub(crate) fn routes_by(&self, object: u32) -> &[RouteId] {
        self.by_object.get(&object).map_or(&[], |routes| routes)
    }

    /// What is to be in the kernel for a target, by what is there.
    pub(crate) fn desired(&self, target: TargetId, actual: Option<RouteId>) -> Option<RouteId> {
        match self.resolved(target) {
            Ok(wanted) => Some(self.as_good(wanted, actual)),
            Err(Parked::DeviceMissing(_, plain)) => actual.filter(|&actual| self.leads_by(actual, plain)),
            Err(_) => None,
        }
    }

    /// Whether a route leads to gateways of these alone.
    fn leads_by(&self, route: RouteId, ways: &Ways) -> bool {
        let of_route = self.ways(route);
        !of_route.is_empty() && of_route.iter().all(|way| is_among(way, ways))
    }

    /// Of a route that is there, what leads to gateways of a wanted one; `None`: nothing does.
    pub(crate) fn rest_of(&mut self, actual: RouteId, wanted: RouteId) -> Option<RouteId> {
        let wanted = self.ways(wanted);
        if self.leads_by(actual, &wanted) {
            return Some(actual);
        }
        let mut ways = self.ways(actual);
        ways.retain(|way| is_among(way, &wanted));
        let route = KernelRoute {
            action: KernelAction::Unicast(merged(ways)),
            object: None,
            ..self.route(actual).clone()
        };
        let protocol = self.protocol;
        let has_way = !route.devices().eq([]);
        has_way.then(|| self.route_id(&Authored { protocol, route }))
    }

    /// The gateways of a route; of one through a group what that is about to hold.
    fn ways(&self, route: RouteId) -> Ways {
        let KernelRoute { action, object, .. } = self.route(route);
        match (action, object) {
            (KernelAction::Unicast(ways), None) => ways.clone(),
            (KernelAction::Unicast(_), Some(group)) => {
                let wanted = self.objects.wanted_ways(*group).cloned();
                wanted
                    .or_else(|| self.objects.ways_of(*group))
                    .unwrap_or_default()
            }
            (KernelAction::Blackhole | KernelAction::Other(_), _) => Ways::new(),
        }
    }

    /// What is right in the place of a resolved target: the kernel's own route where that leads through another group
    /// of the same next hops, or differs in what is declared of gateways ([`crate::fib::covered`]).
    pub(crate) fn as_good(&self, wanted: RouteId, actual: Option<RouteId>) -> RouteId {
        match actual {
            Some(actual) if actual != wanted => {
                let [this, that] = [wanted, actual].map(|id| self.authored(id));
                if is_declared_alone(this, that) {
                    return actual;
                }
                if self.objects.is_idle() {
                    return wanted;
                }
                let owner = |of: &Authored| of.route.object.and_then(|id| self.objects.owner(id));
                let is_alike = owner(this).is_some()
                    && owner(this) == owner(that)
                    && this.protocol == that.protocol
                    && (this.route.metric, this.route.source) == (that.route.metric, that.route.source)
                    && this.route.has_more == that.route.has_more;
                if is_alike { actual } else { wanted }
            }
            _ => wanted,
        }
    }

    /// The set of next hops that a target's routes lead through as a group now.
    pub(crate) fn set_in_use(&self, id: TargetId) -> Option<SetId> {
        let target = &self.targets[id.0 as usize];
        let route = target.resolved.as_ref().ok()?;
        target.set.filter(|_| self.route(*route).object.is_some())
    }

    /// A group of an earlier life, through which a route leads that is wanted through `target`, is that target's, if
    /// it holds the same.
    pub(crate) fn adopt(&mut self, actual: RouteId, target: TargetId, topology: &Topology) {
        if let Some(object) = self.route(actual).object
            && let Some(set) = self.set(target)
            && self.objects.adopt(object, set)
        {
            // Nobody has written through the group that it spares us.
            self.resolve_sets(&[set], topology);
        }
    }

    /// Whether what the kernel shows is this route; with it the kernel shows what its object holds, unless
    /// net.ipv4.nexthop_compat_mode is off.
    pub(crate) fn shows(&self, shown: &Authored, route: &Authored) -> bool {
        let (KernelAction::Unicast(shown_hops), Some(object)) = (&shown.route.action, route.route.object)
        else {
            return shown == route;
        };
        let is_told = shown_hops.iter().any(|hop| hop.device != 0);
        let is_right = self.objects.wanted_ways(object) == Some(shown_hops);
        shown.without_hops() == *route && (is_right || !is_told)
    }

    /// As the kernel shows it: next hops of ours that stand in an object are filled in.
    pub(crate) fn filled(&self, authored: &Authored) -> Authored {
        let mut filled = authored.clone();
        if let (Some(object), KernelAction::Unicast(hops)) = (authored.route.object, &mut filled.route.action)
            && hops.is_empty()
        {
            let there = self.objects.ways_of(object);
            *hops = there
                .or_else(|| self.objects.wanted_ways(object).cloned())
                .unwrap_or_default();
        }
        filled
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

    /// Why nothing can be written for a target.
    pub(crate) fn parked(&self, id: TargetId) -> Option<&Parked> {
        self.resolved(id).err()
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
            resolved: Err(Parked::WithoutNextHop),
            set: None,
        });
        self.target_ids[family].insert(target.clone(), id);
        self.resolve_again(id, topology);
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
        let Target {
            target, family, set, ..
        } = &self.targets[id.0 as usize];
        let (target, family) = (target.clone(), *family);
        let mut set = *set;
        if let FibAction::Via(hops) = &target.action
            && self.objects.is_on()
        {
            set = Some(self.objects.set_of(family, hops, id));
        }
        let resolved = self.resolve(&target, family, set, topology);
        let entry = &mut self.targets[id.0 as usize];
        let is_changed = entry.resolved != resolved;
        (entry.resolved, entry.set) = (resolved, set);
        is_changed
    }

    fn resolve(
        &mut self,
        target: &FibTarget,
        family: Family,
        set: Option<SetId>,
        topology: &Topology,
    ) -> Result<RouteId, Parked> {
        let mut object = None;
        let action = match &target.action {
            FibAction::Blackhole => KernelAction::Blackhole,
            FibAction::Via(hops) => {
                let ways = topology.resolve_all(hops).map(merged);
                object = set.and_then(|set| self.group(set, ways.as_ref().ok(), topology));
                // What a group holds is not the route's.
                KernelAction::Unicast(if object.is_some() { Ways::new() } else { ways? })
            }
        };
        // A blackhole sends nothing. What nothing can be sent from cannot be preferred: the kernel would refuse the route.
        let is_here = |source: &IpAddr| topology.addresses().is_source(*source);
        let source = match action {
            KernelAction::Unicast(_) => self.source[family].filter(is_here),
            KernelAction::Blackhole | KernelAction::Other(_) => None,
        };
        let route = KernelRoute {
            action,
            metric: target.metric,
            source,
            object,
            has_more: false,
        };
        let protocol = self.protocol;
        Ok(self.route_id(&Authored { protocol, route }))
    }

    fn group(&mut self, set: SetId, ways: Option<&Ways>, topology: &Topology) -> Option<u32> {
        let has_carrier = ways.is_some_and(|ways| ways.iter().all(|way| topology.has_carrier(way.device)));
        self.objects.group_for(set, ways, has_carrier)
    }

    /// Resolves anew what leads to these next hops; the targets that lead elsewhere now.
    pub(crate) fn resolve_sets(&mut self, sets: &[SetId], topology: &Topology) -> Vec<TargetId> {
        let mut targets: Vec<TargetId> = sets
            .iter()
            .flat_map(|set| self.objects.targets(*set).iter().copied())
            .collect();
        targets.sort_unstable();
        targets.dedup();
        targets.retain(|&id| self.resolve_again(id, topology));
        targets
    }

    /// What the kernel refused of these targets' next hops is tried again.
    pub(crate) fn forgive(&mut self, targets: &[TargetId]) {
        for target in targets {
            if let Some(set) = self.targets[target.0 as usize].set {
                self.objects.forgive(set);
            }
        }
    }

    /// The set of a target's next hops, once objects were asked for.
    pub(crate) fn set(&self, target: TargetId) -> Option<SetId> {
        self.targets[target.0 as usize].set
    }
}

/// Brings ways out into the order in which the decoder has them too. Two BGP next hops behind one gateway are one way
/// out with the weight of both.
fn merged(mut ways: Ways) -> Ways {
    ways.sort_unstable();
    let mut merged = Ways::new();
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
    merged
}

fn is_among(way: &KernelHop, ways: &Ways) -> bool {
    ways.iter()
        .any(|other| (other.gateway, other.device) == (way.gateway, way.device))
}

/// Whether all that tells two routes apart is which of their IPv6 gateways are declared to be on the link.
fn is_declared_alone(this: &Authored, that: &Authored) -> bool {
    let (KernelAction::Unicast(hops), KernelAction::Unicast(others)) =
        (&this.route.action, &that.route.action)
    else {
        return false;
    };
    let is_alike = |(hop, other): (&KernelHop, &KernelHop)| {
        let other = match other.gateway {
            Some(IpAddr::V6(_)) => KernelHop {
                is_onlink: hop.is_onlink,
                ..*other
            },
            _ => *other,
        };
        *hop == other
    };
    let rest = |of: &Authored| {
        let route = &of.route;
        (
            of.protocol,
            route.metric,
            route.source,
            route.object,
            route.has_more,
        )
    };
    rest(this) == rest(that) && hops.len() == others.len() && hops.iter().zip(others).all(is_alike)
}
