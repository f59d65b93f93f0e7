//! The kernel's routing table: what should be there, what is, and the difference.
//!
//! ```text
//!            set(prefix, target)                      kernel events, results
//!                   │                                          │
//!               wanted ──────────── differ? ─────────────── actual
//!                   │          dirty prefixes                  ▲
//!            Topology::resolve        └── poll_batch ── FibOp ─┘
//! ```
//!
//! Start, steady state, overrun and repair are one path: a dump sets `actual`, prefixes where it differs from the
//! resolved `wanted` are dirty, and dirty prefixes become operations. **Invariants:** only routes of our protocol
//! number are ever replaced or deleted; a route never changes by deleting it first; routes found at the start that
//! nobody has asked for yet stay until [`Fib::allow_sweep`].

mod family_fib;
mod kernel;
mod resolve;
mod target;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pipit_bgp::Prefix;
use serde::Serialize;
use tracing::{debug, warn};

pub use kernel::{FibOp, FibOpKind, FibRefusal, KernelAction, KernelEvent, KernelHop, KernelRoute};
pub use resolve::Reachability;
pub use target::{FibAction, FibTarget, Hop, Tunnel};

use crate::fib::family_fib::{FamilyFib, State};
use crate::fib::resolve::{Parked, Topology};
use crate::query::page;

/// Operations in one batch: large enough to amortise the round trip, small enough to react.
const BATCH: usize = 512;

/// Names a [`FibTarget`] in use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct TargetId(u32);

/// Names a [`KernelRoute`] that has been seen or written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct RouteId(u32);

/// What the RIB must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FibEvent {
    /// A tracked next hop is reached in another way, or not at all, or again.
    NextHopChanged(IpAddr, Reachability),
    /// The first dump is in: the kernel held this many routes of ours from an earlier life.
    Loaded {
        /// Routes adopted.
        adopted: usize,
    },
    /// Events were lost or links moved: the table must be dumped again.
    WantsDump,
}

/// Targets and kernel routes, each stored once.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    targets: Vec<(FibTarget, Result<RouteId, Parked>)>,
    target_ids: HashMap<FibTarget, TargetId, foldhash::fast::RandomState>,
    routes: Vec<KernelRoute>,
    route_ids: HashMap<KernelRoute, RouteId, foldhash::fast::RandomState>,
}

impl Shapes {
    pub(crate) fn route_id(&mut self, route: &KernelRoute) -> RouteId {
        if let Some(&id) = self.route_ids.get(route) {
            return id;
        }
        let id = RouteId(self.routes.len() as u32);
        self.routes.push(route.clone());
        self.route_ids.insert(route.clone(), id);
        id
    }

    pub(crate) fn route(&self, id: RouteId) -> &KernelRoute {
        &self.routes[id.0 as usize]
    }

    pub(crate) fn resolved(&self, id: TargetId) -> Result<RouteId, &Parked> {
        self.targets[id.0 as usize].1.as_ref().copied()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Fib {
    protocol: u8,
    topology: Topology,
    shapes: Shapes,
    ipv4: FamilyFib<Ipv4Net>,
    ipv6: FamilyFib<Ipv6Net>,
    tracked: HashMap<IpAddr, Reachability>,
    events: VecDeque<FibEvent>,
    is_dumping: bool,
    is_loaded: bool,
    may_sweep: bool,
    in_flight: VecDeque<Vec<FibOp>>,
    last_target: Option<(FibTarget, TargetId)>,
    repaired: u64,
    refused: u64,
}

impl Fib {
    /// An empty table that writes with this protocol number.
    pub fn new(protocol: u8) -> Self {
        Fib {
            protocol,
            topology: Topology::default(),
            shapes: Shapes::default(),
            ipv4: FamilyFib::default(),
            ipv6: FamilyFib::default(),
            tracked: HashMap::new(),
            events: VecDeque::new(),
            is_dumping: false,
            is_loaded: false,
            may_sweep: false,
            in_flight: VecDeque::new(),
            last_target: None,
            repaired: 0,
            refused: 0,
        }
    }

    /// Says what should be there for a prefix; `None`: nothing of ours.
    pub fn set<P: FibPrefix>(&mut self, prefix: P, target: Option<FibTarget>) {
        let target = target.map(|target| self.target_id(normal::<P>(target)));
        P::family_of(self).set(prefix, target);
    }

    /// From now on routes of ours that nobody wants are removed, those of an earlier life included.
    pub fn allow_sweep(&mut self) {
        if !self.may_sweep {
            self.may_sweep = true;
            self.ipv4.sweep();
            self.ipv6.sweep();
        }
    }

    /// Reports changes of how an address is reached from now on; how it is reached now.
    pub fn track(&mut self, address: IpAddr) -> Reachability {
        let reachability = self.topology.reachability(address);
        self.tracked.insert(address, reachability.clone());
        reachability
    }

    /// Ends what [`Self::track`] began.
    pub fn untrack(&mut self, address: IpAddr) {
        self.tracked.remove(&address);
    }

    /// Takes events in. The caller hands over as many as it has at once: resolution follows once, after the last.
    pub fn handle_kernel(&mut self, events: impl IntoIterator<Item = KernelEvent>) {
        let mut is_topology_changed = false;
        for event in events {
            is_topology_changed |= self.handle_event(event);
        }
        if is_topology_changed && !self.is_dumping {
            self.resolve_again();
        }
    }

    /// The next operations, at most one batch at a time; the caller answers with [`Self::handle_result`].
    pub fn poll_batch(&mut self) -> Option<Vec<FibOp>> {
        if !self.is_loaded || self.is_dumping || !self.in_flight.is_empty() {
            return None;
        }
        let mut ops = Vec::new();
        let (shapes, topology) = (&mut self.shapes, &self.topology);
        self.ipv4
            .collect(BATCH, self.may_sweep, shapes, topology, &mut ops);
        let left = BATCH.saturating_sub(ops.len());
        self.ipv6
            .collect(left, self.may_sweep, shapes, topology, &mut ops);
        if ops.is_empty() {
            return None;
        }
        self.in_flight.push_back(ops.clone());
        Some(ops)
    }

    /// What became of the oldest batch.
    pub fn handle_result(&mut self, refusals: &[FibRefusal]) {
        let Some(ops) = self.in_flight.pop_front() else {
            return;
        };
        for (at, op) in ops.iter().enumerate() {
            let refusal = refusals.iter().find(|refusal| refusal.at == at);
            if let Some(refusal) = refusal {
                self.refused += 1;
                debug!(prefix = %op.prefix, errno = refusal.errno, ?op, "the kernel refused a route");
            }
            let route = self.shapes.route_id(&op.route);
            let errno = refusal.map(|refusal| refusal.errno);
            match op.prefix {
                IpNet::V4(prefix) => self
                    .ipv4
                    .handle_result(prefix, op.kind, route, errno, &self.shapes),
                IpNet::V6(prefix) => self
                    .ipv6
                    .handle_result(prefix, op.kind, route, errno, &self.shapes),
            }
        }
    }

    /// Something that the RIB must know.
    pub fn poll_event(&mut self) -> Option<FibEvent> {
        self.events.pop_front()
    }

    /// Whether nothing is left to write.
    pub fn is_settled(&self) -> bool {
        self.is_loaded && self.in_flight.is_empty() && !self.ipv4.has_dirty() && !self.ipv6.has_dirty()
    }

    /// How often a route of ours that others had removed or changed was put back.
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    /// A page of routes, for people: at most `limit` prefixes after `after`, in order, IPv4 first; and where the next
    /// page starts. Cost: one look at every prefix.
    pub fn query(&self, after: Option<IpNet>, limit: usize) -> (Vec<FibView>, Option<IpNet>) {
        let (page, next) = page(self.ipv4.prefixes().chain(self.ipv6.prefixes()), after, limit);
        let state = |net: IpNet| match net {
            IpNet::V4(prefix) => self.ipv4.state(prefix, &self.shapes),
            IpNet::V6(prefix) => self.ipv6.state(prefix, &self.shapes),
        };
        let views = page
            .into_iter()
            .filter_map(|net| Some(self.view(net, state(net)?)))
            .collect();
        (views, next)
    }

    fn handle_event(&mut self, event: KernelEvent) -> bool {
        match event {
            KernelEvent::DumpBegin => {
                self.is_dumping = true;
                self.topology.clear_routes();
                self.ipv4.begin_dump();
                self.ipv6.begin_dump();
                false
            }
            KernelEvent::DumpEnd => {
                self.is_dumping = false;
                let lost = self.ipv4.end_dump() + self.ipv6.end_dump();
                self.repaired += lost as u64;
                if !self.is_loaded {
                    self.is_loaded = true;
                    let adopted = self.ipv4.actual_count() + self.ipv6.actual_count();
                    self.events.push_back(FibEvent::Loaded { adopted });
                }
                true
            }
            KernelEvent::Route {
                prefix,
                protocol,
                route,
            } if protocol == self.protocol => {
                let id = self.shapes.route_id(&route);
                match prefix {
                    IpNet::V4(prefix) => self.ipv4.found(prefix, id, &self.shapes),
                    IpNet::V6(prefix) => self.ipv6.found(prefix, id, &self.shapes),
                }
                false
            }
            KernelEvent::RouteGone {
                prefix,
                protocol,
                route,
            } if protocol == self.protocol => {
                let id = self.shapes.route_id(&route);
                let was_wanted = match prefix {
                    IpNet::V4(prefix) => self.ipv4.lost(prefix, id, &self.shapes),
                    IpNet::V6(prefix) => self.ipv6.lost(prefix, id, &self.shapes),
                };
                if was_wanted {
                    self.repaired += 1;
                    warn!(%prefix, "somebody removed a route of ours; putting it back");
                }
                false
            }
            KernelEvent::Route {
                prefix,
                protocol,
                route,
            } => {
                self.topology.add_route(prefix, protocol, route);
                self.unpark_conflict(prefix);
                true
            }
            KernelEvent::RouteGone { prefix, route, .. } => {
                self.topology.remove_route(prefix, &route);
                self.unpark_conflict(prefix);
                true
            }
            KernelEvent::Link { index, name, is_up } => {
                let is_changed = self.topology.set_link(index, name, is_up);
                // The kernel drops routes with their link without a word for IPv4: look again.
                self.wants_dump(is_changed && self.is_loaded);
                is_changed
            }
            KernelEvent::LinkGone { index } => {
                self.topology.remove_link(index);
                self.wants_dump(self.is_loaded);
                true
            }
            KernelEvent::AddressChanged => {
                self.wants_dump(self.is_loaded);
                false
            }
            KernelEvent::Overrun => {
                self.wants_dump(true);
                false
            }
        }
    }

    fn wants_dump(&mut self, is_wanted: bool) {
        if is_wanted && !self.events.contains(&FibEvent::WantsDump) {
            self.events.push_back(FibEvent::WantsDump);
        }
    }

    /// A foreign route with our prefix came or went.
    fn unpark_conflict(&mut self, prefix: IpNet) {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.touch(prefix),
            IpNet::V6(prefix) => self.ipv6.touch(prefix),
        }
    }

    fn resolve_again(&mut self) {
        let mut changed = Vec::new();
        for at in 0..self.shapes.targets.len() {
            let resolved = self.resolve(&self.shapes.targets[at].0.clone());
            if self.shapes.targets[at].1 != resolved {
                self.shapes.targets[at].1 = resolved;
                changed.push(TargetId(at as u32));
            }
        }
        if !changed.is_empty() {
            self.ipv4.touch_targets(&changed);
            self.ipv6.touch_targets(&changed);
        }
        for (address, known) in &mut self.tracked {
            let now = self.topology.reachability(*address);
            if now != *known {
                *known = now.clone();
                self.events.push_back(FibEvent::NextHopChanged(*address, now));
            }
        }
    }

    fn target_id(&mut self, target: FibTarget) -> TargetId {
        if let Some((last, id)) = &self.last_target
            && *last == target
        {
            return *id;
        }
        let id = match self.shapes.target_ids.get(&target) {
            Some(&id) => id,
            None => {
                let resolved = self.resolve(&target);
                let id = TargetId(self.shapes.targets.len() as u32);
                self.shapes.targets.push((target.clone(), resolved));
                self.shapes.target_ids.insert(target.clone(), id);
                id
            }
        };
        self.last_target = Some((target, id));
        id
    }

    fn resolve(&mut self, target: &FibTarget) -> Result<RouteId, Parked> {
        let action = match &target.action {
            FibAction::Blackhole => KernelAction::Blackhole,
            FibAction::Via(hops) => {
                let resolved: Vec<_> = hops.iter().map(|hop| self.topology.resolve(hop)).collect();
                let mut usable: smallvec::SmallVec<[KernelHop; 1]> = resolved
                    .iter()
                    .filter_map(|hop| hop.as_ref().ok().copied())
                    .collect();
                if usable.is_empty() {
                    let parked = resolved.into_iter().find_map(Result::err);
                    return Err(parked.unwrap_or(Parked::NoRoute(IpAddr::from([0, 0, 0, 0]))));
                }
                // Two BGP next hops behind one gateway are one way out.
                usable.sort_unstable();
                usable.dedup_by_key(|hop| (hop.gateway, hop.device));
                KernelAction::Unicast(usable)
            }
        };
        Ok(self.shapes.route_id(&KernelRoute {
            action,
            metric: target.metric,
        }))
    }

    fn view(&self, prefix: IpNet, state: State<'_>) -> FibView {
        let (name, reason, route) = match state {
            State::Installed(route) => ("installed", None, Some(route)),
            State::Pending(route) => ("pending", None, Some(route)),
            State::Stale(route) => (
                "stale",
                Some("of an earlier run; not wanted so far".to_owned()),
                Some(route),
            ),
            State::Removing(route) => ("removing", None, Some(route)),
            State::Parked(parked) => ("parked", Some(parked.to_string()), None),
            State::Conflict(route) => {
                let other = self.topology.conflict(prefix, route.metric);
                let whose = other.map_or_else(String::new, |protocol| format!(" (protocol {protocol})"));
                (
                    "conflict",
                    Some(format!("another program has this prefix and metric{whose}")),
                    Some(route),
                )
            }
            State::Refused(route, errno) => (
                "refused",
                Some(std::io::Error::from_raw_os_error(errno).to_string()),
                Some(route),
            ),
        };
        let (kind, hops) = match route.map(|route| &route.action) {
            Some(KernelAction::Blackhole) => ("blackhole", &[][..]),
            Some(KernelAction::Unicast(hops)) => ("unicast", &hops[..]),
            Some(KernelAction::Other(_)) => ("other", &[][..]),
            None => ("unicast", &[][..]),
        };
        let device = |index| self.topology.link_name(index).map(str::to_owned);
        let next_hops: Vec<FibHopView> = hops
            .iter()
            .map(|hop| FibHopView {
                gateway: hop.gateway,
                device: device(hop.device),
                weight: hop.weight,
                onlink: hop.is_onlink,
            })
            .collect();
        FibView {
            prefix,
            kind,
            device: next_hops.first().and_then(|hop| hop.device.clone()),
            next_hops,
            metric: route.map_or(0, |route| route.metric),
            protocol: self.protocol,
            state: name,
            reason,
        }
    }
}

/// Prefixes of the two families, each with its half of the [`Fib`].
pub trait FibPrefix: Prefix {
    /// The half.
    #[doc(hidden)]
    fn family_of(fib: &mut Fib) -> &mut FamilyFib<Self>;
    /// The metric that the kernel makes of zero.
    #[doc(hidden)]
    const METRIC_OF_ZERO: u32;
}

impl FibPrefix for Ipv4Net {
    fn family_of(fib: &mut Fib) -> &mut FamilyFib<Self> {
        &mut fib.ipv4
    }
    const METRIC_OF_ZERO: u32 = 0;
}

impl FibPrefix for Ipv6Net {
    fn family_of(fib: &mut Fib) -> &mut FamilyFib<Self> {
        &mut fib.ipv6
    }
    const METRIC_OF_ZERO: u32 = 1024;
}

fn normal<P: FibPrefix>(target: FibTarget) -> FibTarget {
    let metric = if target.metric == 0 {
        P::METRIC_OF_ZERO
    } else {
        target.metric
    };
    FibTarget { metric, ..target }
}

/// One route, for people.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FibView {
    /// Destination.
    pub prefix: IpNet,
    /// `unicast` or `blackhole`.
    pub kind: &'static str,
    /// Gateways.
    pub next_hops: Vec<FibHopView>,
    /// Device of the first next hop.
    pub device: Option<String>,
    /// Linux metric.
    pub metric: u32,
    /// Protocol number.
    pub protocol: u8,
    /// `installed`, `pending`, `removing`, `stale`, `parked`, `conflict` or `refused`.
    pub state: &'static str,
    /// Why it is not installed.
    pub reason: Option<String>,
}

/// One next hop, for people.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FibHopView {
    /// Gateway.
    pub gateway: Option<IpAddr>,
    /// Device name.
    pub device: Option<String>,
    /// Share of an ECMP route.
    pub weight: u8,
    /// On the link by declaration.
    pub onlink: bool,
}

#[cfg(test)]
mod tests;
