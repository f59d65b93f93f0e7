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

mod audit;
mod batch;
mod connected;
mod covered;
mod dump;
mod entries;
mod entry;
mod errno;
mod events;
mod family_fib;
mod fights;
mod foreign;
mod foreign_objects;
mod grouped;
mod host_routes;
mod kernel;
mod learn;
mod objects;
mod plan;
mod protocol;
mod resolve;
mod scopes;
mod shapes;
mod slab;
mod stir;
mod target;
mod view;
mod way;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use audit::{Audit, FibDifference};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
pub use kernel::{
    Arrival, FibOp, FibOpKind, FibRefusal, FibWork, KernelAction, KernelEvent, KernelHop, KernelRoute,
    ObjectContent, ObjectOp, Table,
};
pub use learn::{LearnRules, LearnScope, LearnedFrom, LearnedRoute};
use pipit_bgp::{Family, FamilyMap, Prefix};
pub use resolve::Reachability;
pub use target::{FibAction, FibTarget, Hop, Tunnel};
pub use view::{FibHopView, FibView};

use crate::fib::batch::Batch;
use crate::fib::dump::Dump;
use crate::fib::events::Damage;
use crate::fib::family_fib::FamilyFib;
use crate::fib::fights::Fights;
use crate::fib::grouped::Resistance;
use crate::fib::learn::Learner;
use crate::fib::protocol::Protocols;
use crate::fib::resolve::Topology;
use crate::fib::shapes::{Shapes, TargetId};
use crate::fib::stir::Stir;

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
    /// The interfaces have other addresses.
    AddressesChanged,
    /// A route of another program that may be announced, or none any more.
    Learned(IpNet, LearnedFrom, Option<LearnedRoute>),
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
    /// Groups of nexthop objects in the kernel now.
    pub groups: u64,
    /// Sets of next hops looked at again because something that they depend on changed.
    pub resolved: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Fib {
    protocols: Protocols,
    source: FamilyMap<Option<IpAddr>>,
    topology: Topology,
    shapes: Shapes,
    ipv4: FamilyFib<Ipv4Net>,
    ipv6: FamilyFib<Ipv6Net>,
    tracked: BTreeMap<IpAddr, Reachability>,
    events: VecDeque<FibEvent>,
    dump: Dump,
    is_loaded: bool,
    may_sweep: bool,
    in_flight: VecDeque<Batch>,
    /// Objects changed by other hands while ours were at work.
    is_object_doubtful: bool,
    /// See [`Self::hold_back`].
    is_held_back: bool,
    resistance: Resistance,
    /// What the kernel finds in the way was tried again although a dump showed nothing. If it is still there, the
    /// next dump will not show it either.
    is_puzzled: bool,
    stir: Stir,
    damage: Damage,
    fights: Fights,
    /// See [`Self::look_up`].
    doubts: Fights,
    learner: Learner,
    now: Option<Instant>,
    retry_at: Option<Instant>,
    retry_wait: Duration,
    counts: FibCounts,
}

impl Fib {
    /// An empty table that writes with this protocol number.
    pub fn new(protocol: u8) -> Self {
        let mut shapes = Shapes::default();
        shapes.set_marks(protocol, FamilyMap::default());
        Fib {
            protocols: Protocols::new(protocol),
            source: FamilyMap::default(),
            topology: Topology::default(),
            shapes,
            ipv4: FamilyFib::default(),
            ipv6: FamilyFib::default(),
            tracked: BTreeMap::new(),
            events: VecDeque::new(),
            dump: Dump::Awaited { again: false },
            is_loaded: false,
            may_sweep: false,
            in_flight: VecDeque::new(),
            is_object_doubtful: false,
            is_held_back: false,
            resistance: Resistance::default(),
            is_puzzled: false,
            stir: Stir::default(),
            damage: Damage::default(),
            fights: Fights::default(),
            doubts: Fights::default(),
            learner: Learner::default(),
            now: None,
            retry_at: None,
            retry_wait: FIRST_RETRY,
            counts: FibCounts::default(),
        }
    }

    /// The same, for a table that is not the main one. Next hops are resolved, and routes learned, in the main table
    /// all the same.
    pub fn apart(protocol: u8) -> Self {
        let mut fib = Fib::new(protocol);
        fib.topology.set_apart();
        fib
    }

    /// Says what should be there for a prefix; `None`: nothing of ours.
    pub fn set<P: FibPrefix>(&mut self, prefix: P, target: Option<FibTarget>) {
        if !self.is_host_route(prefix) {
            self.put(prefix, target);
        }
    }

    fn put<P: FibPrefix>(&mut self, prefix: P, target: Option<FibTarget>) {
        let target = target.map(|target| {
            self.shapes
                .target_id(normal::<P>(target), P::FAMILY, &self.topology)
        });
        if self.shapes.objects.is_idle() {
            self.set_target(prefix, target);
        } else {
            self.put_grouped(prefix, target);
        }
    }

    fn set_target<P: FibPrefix>(&mut self, prefix: P, target: Option<TargetId>) {
        let (family, shapes) = P::family_and_shapes(self);
        family.set(prefix, target, shapes);
    }

    /// Whether this is what the kernel is to have for a prefix.
    pub(crate) fn wants<P: FibPrefix>(&self, prefix: P, target: Option<&FibTarget>) -> bool {
        if self.is_host_route(prefix) {
            return true;
        }
        let wanted = P::family_ref(self).wanted(prefix);
        wanted.map(|id| self.shapes.target(id)) == target.map(|target| normal::<P>(target.clone())).as_ref()
    }

    /// From now on routes of ours that nobody wants are removed, those of an earlier life included.
    pub fn allow_sweep(&mut self) {
        if !self.may_sweep {
            self.may_sweep = true;
            self.ipv4.sweep();
            self.ipv6.sweep();
        }
    }

    /// Whether routes of an earlier life are there that nothing has confirmed yet, or may be: a dump will tell.
    pub(crate) fn has_adopted(&self) -> bool {
        self.dump != Dump::Done || self.ipv4.has_adopted() || self.ipv6.has_adopted()
    }

    /// Reports changes of how an address is reached from now on; how it is reached now.
    pub fn track(&mut self, address: IpAddr) -> Reachability {
        let reachability = self.topology.reachability(address);
        self.tracked.insert(address, reachability.clone());
        reachability
    }

    /// Which routes of other programs are worth telling of. [`Self::poll_event`] has what that changes.
    pub fn set_learn_rules(&mut self, family: Family, rules: LearnRules) {
        self.learner.set_rules(family, rules, &self.topology);
    }

    /// Whether an interface of this host has the address.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.topology.addresses().has(address)
    }

    /// An address of a family on the interface that has `address`, to be named as next hop there.
    pub(crate) fn address_beside(&self, address: IpAddr, family: Family) -> Option<IpAddr> {
        self.topology.addresses().beside(address, family)
    }

    /// Ends what [`Self::track`] began.
    pub fn untrack(&mut self, address: IpAddr) {
        if !self.is_gateway(address) {
            self.tracked.remove(&address);
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
        if !self.doubts.due(now).is_empty() {
            self.wants_dump();
        }
        self.trust_again(now);
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        if !self.has_refused() {
            (self.retry_at, self.retry_wait) = (None, FIRST_RETRY);
            return;
        }
        if self.retry_at.is_some() {
            self.topology.covered().forgive();
            self.ipv4.retry(|_| true);
            self.ipv6.retry(|_| true);
            self.retry_objects();
            self.retry_wait = (self.retry_wait * 2).min(LONGEST_RETRY);
        }
        self.retry_at = Some(now + self.retry_wait);
    }

    /// When [`Self::handle_timeout`] is due next; `None`: nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let is_refused = self.has_refused();
        // A refusal since the last call has no date yet: the time is asked for.
        let retry = self.retry_at.or(self.now).filter(|_| is_refused);
        let waits = [
            self.fights.next_due(),
            self.doubts.next_due(),
            self.resistance.until,
        ];
        waits.into_iter().chain([retry]).flatten().min()
    }

    fn has_refused(&self) -> bool {
        self.ipv4.refused_count() + self.ipv6.refused_count() > 0 || self.shapes.objects.has_refused()
    }

    /// The time as last told.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.now
    }

    /// While a dump is under way the picture is an old one.
    fn may_tell(&self) -> bool {
        self.is_loaded && !matches!(self.dump, Dump::Running { .. })
    }

    /// Something that the RIB must know. News of other programs' routes may be hundreds of thousands.
    pub fn poll_event(&mut self) -> Option<FibEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if !self.may_tell() {
            return None;
        }
        let (prefix, from, route) = self.learner.poll(&self.topology, &self.protocols.all())?;
        Some(FibEvent::Learned(prefix, from, route))
    }

    /// Whether nothing is left to write. What is parked, refused or waits for a fighter counts as written.
    pub fn is_settled(&self) -> bool {
        self.dump == Dump::Done
            && self.in_flight.is_empty()
            && !self.ipv4.has_dirty()
            && !self.ipv6.has_dirty()
            && self.are_objects_settled()
    }

    /// Counts since the start.
    pub fn counts(&self) -> FibCounts {
        FibCounts {
            groups: self.shapes.objects.group_count() as u64,
            ..self.counts
        }
    }

    /// How often a route of ours that others had removed or changed was put back.
    pub fn repaired(&self) -> u64 {
        self.counts.repaired
    }
}

/// Prefixes of the two families, each with its half of the [`Fib`].
pub trait FibPrefix: Prefix {
    /// The half, and what it names by number.
    #[doc(hidden)]
    fn family_and_shapes(fib: &mut Fib) -> (&mut FamilyFib<Self>, &Shapes);
    /// The half, to look at.
    #[doc(hidden)]
    fn family_ref(fib: &Fib) -> &FamilyFib<Self>;
    /// The metric that the kernel makes of zero.
    #[doc(hidden)]
    const METRIC_OF_ZERO: u32;
}

impl FibPrefix for Ipv4Net {
    fn family_and_shapes(fib: &mut Fib) -> (&mut FamilyFib<Self>, &Shapes) {
        (&mut fib.ipv4, &fib.shapes)
    }
    fn family_ref(fib: &Fib) -> &FamilyFib<Self> {
        &fib.ipv4
    }
    const METRIC_OF_ZERO: u32 = 0;
}

impl FibPrefix for Ipv6Net {
    fn family_and_shapes(fib: &mut Fib) -> (&mut FamilyFib<Self>, &Shapes) {
        (&mut fib.ipv6, &fib.shapes)
    }
    fn family_ref(fib: &Fib) -> &FamilyFib<Self> {
        &fib.ipv6
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
