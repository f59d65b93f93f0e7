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
//! nobody has asked for yet stay until [`Fib::allow_sweep`]; nothing is written from the moment a dump is asked for
//! until it is complete, so that what it shows is compared with what is, not with what is on its way.

mod entry;
mod family_fib;
mod fights;
mod foreign;
mod host_routes;
mod kernel;
mod resolve;
mod shapes;
mod target;
mod view;
mod way;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pipit_bgp::Prefix;
use tracing::{debug, info, warn};

pub use kernel::{FibOp, FibOpKind, FibRefusal, KernelAction, KernelEvent, KernelHop, KernelRoute};
pub use resolve::Reachability;
pub use target::{FibAction, FibTarget, Hop, Tunnel};
pub use view::{FibHopView, FibView};

use crate::fib::family_fib::{FamilyFib, Outcome, Planned, Surroundings};
use crate::fib::fights::Fights;
use crate::fib::resolve::{Link, Topology};
use crate::fib::shapes::{Shapes, TargetId};

/// Operations in one batch: large enough to amortise the round trip, small enough to react.
const BATCH: usize = 512;
/// Batches that may be under way: one that the kernel works on, and the next, so that it need not wait for us.
const MAX_IN_FLIGHT: usize = 2;
/// Changes of single routes in one call beyond which all next hops are resolved anew.
const MANY_NETS: usize = 64;
/// The first wait before refused routes are tried again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest such wait.
const LONGEST_RETRY: Duration = Duration::from_secs(64);

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
    /// Events were lost or routes vanished with their link: the table must be dumped again. Said once until that
    /// dump begins.
    WantsDump,
}

/// How often things happened that should not.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FibCounts {
    /// Routes put back or put right after somebody else changed them.
    pub repaired: u64,
    /// Changes that the kernel refused.
    pub refused: u64,
    /// Dumps after the first.
    pub dumps: u64,
    /// Operations handed out.
    pub written: u64,
}

/// Where we are with the kernel's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dump {
    /// Asked for; whether another one is needed after it. The first one is asked for by the caller.
    Awaited { again: bool },
    /// Under way; whether another one is needed after it.
    Running { again: bool },
    /// Complete, and events since have kept it true.
    Done,
}

/// What must be resolved anew.
#[derive(Debug, Default)]
struct Stir {
    /// Everything.
    all: bool,
    /// Next hops within these.
    nets: Vec<IpNet>,
    /// Refused routes through these devices are worth another try.
    devices: Vec<u32>,
}

/// What others did to routes of ours, for one line in the log.
#[derive(Debug, Default)]
struct Damage {
    count: usize,
    example: Option<IpNet>,
}

/// See the module.
#[derive(Debug)]
pub struct Fib {
    protocol: u8,
    topology: Topology,
    shapes: Shapes,
    ipv4: FamilyFib<Ipv4Net>,
    ipv6: FamilyFib<Ipv6Net>,
    tracked: BTreeMap<IpAddr, Reachability>,
    events: VecDeque<FibEvent>,
    dump: Dump,
    is_loaded: bool,
    may_sweep: bool,
    in_flight: VecDeque<Vec<InFlight>>,
    /// What the kernel finds in the way was tried again although a dump showed nothing. If it is still there, the
    /// next dump will not show it either.
    is_puzzled: bool,
    stir: Stir,
    damage: Damage,
    fights: Fights,
    now: Option<Instant>,
    retry_at: Option<Instant>,
    retry_wait: Duration,
    counts: FibCounts,
}

#[derive(Debug)]
enum InFlight {
    V4(Planned<Ipv4Net>),
    V6(Planned<Ipv6Net>),
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
            tracked: BTreeMap::new(),
            events: VecDeque::new(),
            dump: Dump::Awaited { again: false },
            is_loaded: false,
            may_sweep: false,
            in_flight: VecDeque::new(),
            is_puzzled: false,
            stir: Stir::default(),
            damage: Damage::default(),
            fights: Fights::default(),
            now: None,
            retry_at: None,
            retry_wait: FIRST_RETRY,
            counts: FibCounts::default(),
        }
    }

    /// Says what should be there for a prefix; `None`: nothing of ours.
    pub fn set<P: FibPrefix>(&mut self, prefix: P, target: Option<FibTarget>) {
        if !self.is_host_route(prefix) {
            self.put(prefix, target);
        }
    }

    fn put<P: FibPrefix>(&mut self, prefix: P, target: Option<FibTarget>) {
        let target = target.map(|target| self.shapes.target_id(normal::<P>(target), &self.topology));
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
        if !self.is_gateway(address) {
            self.tracked.remove(&address);
        }
    }

    /// Takes events in. The caller hands over as many as it has at once: resolution follows once, after the last.
    pub fn handle_kernel(&mut self, events: impl IntoIterator<Item = KernelEvent>) {
        for event in events {
            self.handle_event(event);
        }
        if self.dump == Dump::Done {
            self.resolve_again();
        }
        let Damage { count, example } = std::mem::take(&mut self.damage);
        if let Some(prefix) = example {
            warn!(count, %prefix, "somebody changed routes of ours; putting them right");
        }
    }

    /// Says what time it is: waits for refused routes and for routes that somebody keeps changing end by it. Until
    /// the first call there are no waits: what others change is put right at once, what the kernel refused is tried
    /// again when what it depends on changes.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        for prefix in self.fights.due(now) {
            self.touch(prefix);
        }
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        if self.ipv4.refused_count() + self.ipv6.refused_count() == 0 {
            (self.retry_at, self.retry_wait) = (None, FIRST_RETRY);
            return;
        }
        if self.retry_at.is_some() {
            self.ipv4.retry(|_| true);
            self.ipv6.retry(|_| true);
            self.retry_wait = (self.retry_wait * 2).min(LONGEST_RETRY);
        }
        self.retry_at = Some(now + self.retry_wait);
    }

    /// When [`Self::handle_timeout`] is due next; `None`: nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let is_refused = self.ipv4.refused_count() + self.ipv6.refused_count() > 0;
        // A refusal since the last call has no date yet: the time is asked for.
        let retry = self.retry_at.or(self.now).filter(|_| is_refused);
        [retry, self.fights.next_due()].into_iter().flatten().min()
    }

    /// The next operations; the caller answers each batch with [`Self::handle_result`], in the order of batches. At
    /// most two batches and one dump are under way at any time: channels that hold so much never block.
    pub fn poll_batch(&mut self) -> Option<Vec<FibOp>> {
        if self.dump != Dump::Done || self.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        let around = Surroundings {
            shapes: &self.shapes,
            topology: &self.topology,
            may_sweep: self.may_sweep,
        };
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        // A long list of one family does not keep the other waiting.
        self.ipv6.collect(BATCH / 2, &around, &mut ipv6);
        self.ipv4
            .collect(BATCH.saturating_sub(ipv6.len()), &around, &mut ipv4);
        self.ipv6
            .collect(BATCH.saturating_sub(ipv4.len()), &around, &mut ipv6);
        if ipv4.is_empty() && ipv6.is_empty() {
            return None;
        }
        let ops: Vec<FibOp> = ipv4
            .iter()
            .map(|planned| self.op(planned))
            .chain(ipv6.iter().map(|planned| self.op(planned)))
            .collect();
        self.counts.written += ops.len() as u64;
        let batch = ipv4.into_iter().map(InFlight::V4);
        self.in_flight
            .push_back(batch.chain(ipv6.into_iter().map(InFlight::V6)).collect());
        Some(ops)
    }

    fn op<P: FibPrefix>(&self, planned: &Planned<P>) -> FibOp {
        FibOp {
            prefix: planned.prefix.into(),
            kind: planned.kind,
            route: self.shapes.route(planned.route).clone(),
        }
    }

    /// What became of the oldest batch. Refusals are in the order of the operations.
    pub fn handle_result(&mut self, refusals: &[FibRefusal]) {
        let Some(batch) = self.in_flight.pop_front() else {
            return;
        };
        let around = Surroundings {
            shapes: &self.shapes,
            topology: &self.topology,
            may_sweep: self.may_sweep,
        };
        let mut refusals = refusals.iter().peekable();
        let mut is_ambiguous = false;
        for (at, planned) in batch.into_iter().enumerate() {
            let errno = refusals
                .next_if(|refusal| refusal.at == at)
                .map(|refusal| refusal.errno);
            if let Some(errno) = errno {
                self.counts.refused += 1;
                debug!(errno, ?planned, "the kernel refused a change");
            }
            let outcome = match planned {
                InFlight::V4(planned) => self.ipv4.handle_result(planned, errno, &around),
                InFlight::V6(planned) => self.ipv6.handle_result(planned, errno, &around),
            };
            is_ambiguous |= outcome == Outcome::Ambiguous;
        }
        if is_ambiguous {
            debug!("the kernel has routes that we do not know of");
            self.wants_dump();
        } else {
            self.is_puzzled = false;
        }
    }

    /// Something that the RIB must know.
    pub fn poll_event(&mut self) -> Option<FibEvent> {
        self.events.pop_front()
    }

    /// Whether nothing is left to write. What is parked, refused or waits for a fighter counts as written.
    pub fn is_settled(&self) -> bool {
        self.dump == Dump::Done
            && self.in_flight.is_empty()
            && !self.ipv4.has_dirty()
            && !self.ipv6.has_dirty()
    }

    /// Counts since the start.
    pub fn counts(&self) -> FibCounts {
        self.counts
    }

    /// How often a route of ours that others had removed or changed was put back.
    pub fn repaired(&self) -> u64 {
        self.counts.repaired
    }

    /// All routes, for people; sorted by prefix within each family. Large tables: [`Self::query_page`].
    pub fn query(&self) -> Vec<FibView> {
        self.query_page(None, usize::MAX)
    }

    /// Routes for people, IPv4 first and sorted by prefix, from the one after `after` on; an answer shorter than
    /// `limit` is the last. Costs one pass over the table for each page.
    pub fn query_page(&self, after: Option<IpNet>, limit: usize) -> Vec<FibView> {
        let mut views = Vec::new();
        let mut each = |prefix, state: &view::State<'_>| {
            views.push(FibView::new(prefix, self.protocol, state, &self.topology));
        };
        let after_ipv6 = match after {
            Some(IpNet::V6(after)) => Some(after),
            None | Some(IpNet::V4(_)) => None,
        };
        if after_ipv6.is_none() {
            let after_ipv4 = after.and_then(Ipv4Net::from_net);
            self.ipv4.query(&self.shapes, after_ipv4, limit, &mut each);
        }
        let left = limit.saturating_sub(views.len());
        let mut each = |prefix, state: &view::State<'_>| {
            views.push(FibView::new(prefix, self.protocol, state, &self.topology));
        };
        self.ipv6.query(&self.shapes, after_ipv6, left, &mut each);
        views
    }

    fn handle_event(&mut self, event: KernelEvent) {
        match event {
            KernelEvent::DumpBegin => self.begin_dump(),
            KernelEvent::DumpEnd => self.end_dump(),
            KernelEvent::Overrun => self.handle_overrun(),
            KernelEvent::AddressGone => self.wants_dump(),
            KernelEvent::Route {
                prefix,
                protocol,
                route,
                is_replacement,
            } => {
                if protocol == self.protocol {
                    self.own_route(prefix, &route, is_replacement);
                } else {
                    self.foreign_route(prefix, protocol, route, is_replacement);
                }
            }
            KernelEvent::RouteGone {
                prefix,
                protocol,
                route,
            } => {
                if protocol == self.protocol {
                    self.own_route_gone(prefix, route.metric, Some(&route));
                } else if self.topology.remove_route(prefix, protocol, &route) {
                    self.touch(prefix);
                    self.stir_net(prefix);
                }
            }
            KernelEvent::Link {
                index,
                name,
                is_up,
                has_carrier,
            } => {
                let link = Link {
                    name,
                    is_up,
                    has_carrier,
                };
                let old = self.topology.set_link(index, link.clone());
                if old.as_ref() != Some(&link) {
                    self.stir_link(index);
                }
                // Unknown before: a dump is under way, and routes may have been told of before their link.
                if old.is_none_or(|old| old.is_up) && !is_up {
                    self.drop_device(index);
                }
            }
            KernelEvent::LinkGone { index } => {
                self.topology.remove_link(index);
                self.stir_link(index);
                self.drop_device(index);
            }
        }
    }

    fn begin_dump(&mut self) {
        let again = match self.dump {
            Dump::Awaited { again } => {
                self.counts.dumps += u64::from(self.is_loaded);
                again
            }
            Dump::Running { .. } | Dump::Done => false,
        };
        self.dump = Dump::Running { again };
        self.topology.begin_dump();
        self.ipv4.begin_dump();
        self.ipv6.begin_dump();
    }

    fn end_dump(&mut self) {
        let Dump::Running { again } = self.dump else {
            return;
        };
        self.dump = Dump::Done;
        self.topology.end_dump();
        self.stir.all = true;
        let lost = self.ipv4.end_dump() + self.ipv6.end_dump();
        if lost > 0 {
            self.counts.repaired += lost as u64;
            info!(lost, "routes of ours were missing in the kernel");
        }
        if !self.is_loaded {
            self.is_loaded = true;
            let adopted = self.ipv4.actual_count() + self.ipv6.actual_count();
            self.events.push_back(FibEvent::Loaded { adopted });
        }
        let around = Surroundings {
            shapes: &self.shapes,
            topology: &self.topology,
            may_sweep: self.may_sweep,
        };
        self.is_puzzled |=
            self.ipv4.retry_free(self.is_puzzled, &around) | self.ipv6.retry_free(self.is_puzzled, &around);
        if again {
            self.wants_dump();
        }
    }

    fn wants_dump(&mut self) {
        match &mut self.dump {
            // It will begin later than what made it necessary.
            Dump::Awaited { .. } => {}
            Dump::Running { again } => *again = true,
            Dump::Done => {
                self.dump = Dump::Awaited { again: false };
                self.events.push_back(FibEvent::WantsDump);
            }
        }
    }

    /// The loss is reported before what is still queued, so a dump that is asked for may have begun before it.
    fn handle_overrun(&mut self) {
        match &mut self.dump {
            Dump::Awaited { again } => *again = true,
            Dump::Running { .. } | Dump::Done => self.wants_dump(),
        }
    }

    fn own_route(&mut self, prefix: IpNet, route: &KernelRoute, is_replacement: bool) {
        if is_replacement && self.topology.displace(prefix, route.metric) {
            self.touch(prefix);
            self.stir_net(prefix);
        }
        let id = self.shapes.route_id(route);
        let around = Surroundings {
            shapes: &self.shapes,
            topology: &self.topology,
            may_sweep: self.may_sweep,
        };
        let outcome = match prefix {
            IpNet::V4(prefix) => self.ipv4.found(prefix, id, is_replacement, &around),
            IpNet::V6(prefix) => self.ipv6.found(prefix, id, is_replacement, &around),
        };
        // What a dump shows for the first time is not somebody's doing of this moment.
        if self.is_loaded {
            self.judge(prefix, outcome);
        }
    }

    fn own_route_gone(&mut self, prefix: IpNet, metric: u32, route: Option<&KernelRoute>) {
        let outcome = match prefix {
            IpNet::V4(prefix) => self.ipv4.lost(prefix, metric, route, &self.shapes),
            IpNet::V6(prefix) => self.ipv6.lost(prefix, metric, route, &self.shapes),
        };
        self.judge(prefix, outcome);
    }

    fn judge(&mut self, prefix: IpNet, outcome: Outcome) {
        match outcome {
            Outcome::Expected => {}
            Outcome::Ambiguous => self.wants_dump(),
            Outcome::Differs => {
                self.counts.repaired += 1;
                self.damage.count += 1;
                self.damage.example.get_or_insert(prefix);
                if let Some(now) = self.now
                    && !self.fights.repair_at_once(prefix, now)
                {
                    match prefix {
                        IpNet::V4(prefix) => self.ipv4.delay(prefix),
                        IpNet::V6(prefix) => self.ipv6.delay(prefix),
                    }
                }
            }
        }
    }

    fn foreign_route(&mut self, prefix: IpNet, protocol: u8, route: KernelRoute, is_replacement: bool) {
        let metric = route.metric;
        let is_new = self.topology.add_route(prefix, protocol, route, is_replacement);
        if is_replacement {
            self.own_route_gone(prefix, metric, None);
        }
        if is_new {
            self.touch(prefix);
            self.stir_net(prefix);
        }
    }

    /// The kernel drops a device's routes without a word for IPv4; IPv6 routes are told of, but later.
    fn drop_device(&mut self, index: u32) {
        for prefix in self.topology.drop_device(index) {
            self.touch(prefix);
        }
        let routes = self.shapes.routes_through(index);
        if routes.is_empty() {
            return;
        }
        let is_ambiguous = self.ipv4.drop_device(index, &routes, &self.shapes)
            | self.ipv6.drop_device(index, &routes, &self.shapes);
        if is_ambiguous {
            self.wants_dump();
        }
    }

    fn touch(&mut self, prefix: IpNet) {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.touch(prefix),
            IpNet::V6(prefix) => self.ipv6.touch(prefix),
        }
    }

    fn stir_net(&mut self, net: IpNet) {
        // During a dump nothing is resolved, and after it everything.
        if self.dump != Dump::Done || self.stir.all {
            return;
        }
        let addresses = net.network()..=net.broadcast();
        let concerns_nobody = self.tracked.range(addresses).next().is_none()
            && self.shapes.targets_within(net).next().is_none();
        if concerns_nobody {
            return;
        }
        if self.stir.nets.len() < MANY_NETS {
            self.stir.nets.push(net);
        } else {
            self.stir.all = true;
        }
    }

    fn stir_link(&mut self, index: u32) {
        self.stir.all = true;
        self.stir.devices.push(index);
    }

    /// Resolves what the events since the last time concern.
    fn resolve_again(&mut self) {
        let Stir { all, nets, devices } = std::mem::take(&mut self.stir);
        let mut concerned: Vec<TargetId> = if all {
            self.shapes.all_targets().collect()
        } else {
            let nets = nets.iter();
            nets.flat_map(|&net| self.shapes.targets_within(net)).collect()
        };
        concerned.sort_unstable();
        concerned.dedup();
        let mut changed = Vec::new();
        for &id in &concerned {
            if self.shapes.resolve_again(id, &self.topology) {
                changed.push(id);
            }
        }
        if !changed.is_empty() {
            self.ipv4.touch_targets(&changed);
            self.ipv6.touch_targets(&changed);
        }
        self.retry(all, &concerned, &devices);
        self.report_next_hops(all, &nets);
    }

    /// What the kernel refused, because it was ahead of our picture, may work now.
    fn retry(&mut self, all: bool, concerned: &[TargetId], devices: &[u32]) {
        let shapes = &self.shapes;
        let uses_device = |id: TargetId| {
            let route = shapes.resolved(id).map(|route| shapes.route(route));
            route.is_ok_and(|route| devices.iter().any(|&device| route.uses(device)))
        };
        let is_due = |wanted: Option<TargetId>| {
            wanted.is_some_and(|id| {
                if all {
                    uses_device(id)
                } else {
                    concerned.binary_search(&id).is_ok()
                }
            })
        };
        self.ipv4.retry(is_due);
        self.ipv6.retry(is_due);
    }

    fn report_next_hops(&mut self, all: bool, nets: &[IpNet]) {
        let addresses: Vec<IpAddr> = if all {
            self.tracked.keys().copied().collect()
        } else {
            let within = |net: &IpNet| self.tracked.range(net.network()..=net.broadcast());
            nets.iter()
                .flat_map(within)
                .map(|(&address, _)| address)
                .collect()
        };
        for address in addresses {
            let now = self.topology.reachability(address);
            if let Some(known) = self.tracked.get_mut(&address)
                && *known != now
            {
                known.clone_from(&now);
                self.events.push_back(FibEvent::NextHopChanged(address, now));
            }
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

#[cfg(test)]
mod tests;
