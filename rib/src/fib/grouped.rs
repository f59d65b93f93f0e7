//! Nexthop objects at work: when which requests go out, what becomes of them, and what events do to routes through
//! them. The objects themselves are [`crate::fib::objects`]'.
//!
//! Requests for objects go out alone: no route is under way while one changes, and no route is written before the group
//! that it leads through is there. So there is never a doubt which routes follow.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::fib::batch::Batch;
use crate::fib::dump::Dump;
use crate::fib::entry::Flag;
use crate::fib::errno;
use crate::fib::family_fib::FamilyFib;
use crate::fib::kernel::{FibOpKind, FibRefusal, FibWork, ObjectContent, ObjectOp};
use crate::fib::objects::{self, Found, SetId};
use crate::fib::plan::{Surroundings, desired, is_kept};
use crate::fib::shapes::{RouteId, TargetId};
use crate::fib::{Fib, FibPrefix};

const ENOENT: i32 = 2;
/// The list of what is to be written is looked through when a part of it that is not smaller than one in so many is new.
const PART: usize = 16;

/// Changes of our objects by others in succession that are put right at once; beyond, plain routes are safer.
const AT_ONCE: u32 = 8;
/// Who has left our objects alone for so long starts over.
const PEACE: Duration = Duration::from_secs(30);
/// How long there are plain routes then.
const DISTRUST: Duration = Duration::from_secs(60);

/// Others lay hands on our objects again and again.
#[derive(Debug, Default)]
pub(super) struct Resistance {
    is_new: bool,
    count: u32,
    last: Option<Instant>,
    /// When objects are tried again.
    pub(super) until: Option<Instant>,
}

/// Where a route that leads through a group is to lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Goal {
    /// Through another set of next hops, all else equal.
    Through(SetId),
    /// Nowhere: it is to go.
    Nowhere,
    /// It must be written anew in any case.
    Apart,
}

/// What the routes of one group are wanted to be.
#[derive(Debug)]
struct Votes {
    goal: Goal,
    count: usize,
    is_unanimous: bool,
}

impl Fib {
    /// Whether routes lead through nexthop objects, so that a change of a set of next hops is one operation for all its
    /// routes. Either way each route changes by one replacement.
    pub fn set_nexthop_objects(&mut self, is_on: bool) {
        if is_on && self.topology.is_apart() {
            warn!("routes in a table of their own do not lead through nexthop objects");
            return;
        }
        if !self.shapes.objects.set_on(is_on) {
            return;
        }
        info!(is_on, "nexthop objects");
        self.stir.all = true;
        if self.dump == Dump::Done {
            self.resolve_again();
        }
    }

    /// More changes of the same cause follow at once: a group whose routes all change is to be seen as such. Nothing is
    /// written meanwhile where routes lead through objects.
    pub(crate) fn hold_back(&mut self, is_held: bool) {
        self.is_held_back = is_held && !self.shapes.objects.is_idle();
    }

    /// The next thing to ask the kernel for, routes or nexthop objects; see [`Self::poll_batch`].
    pub fn poll_work(&mut self) -> Option<FibWork> {
        let objects = self.poll_objects().map(FibWork::Objects);
        let work = objects.or_else(|| self.poll_batch().map(FibWork::Routes));
        // That no route is left to write may be what objects waited for.
        work.or_else(|| self.poll_objects().map(FibWork::Objects))
    }

    fn poll_objects(&mut self) -> Option<Vec<ObjectOp>> {
        let is_busy = self.dump != Dump::Done || !self.in_flight.is_empty() || self.is_held_back;
        if self.shapes.objects.is_idle() || is_busy {
            return None;
        }
        let mut ops = if self.is_vote_due() {
            self.hand_over_groups()
        } else {
            Vec::new()
        };
        if ops.is_empty() {
            ops = self.shapes.objects.plan();
        }
        if ops.is_empty() && !self.has_dirty() && self.is_untidy() {
            ops = self.plan_removal();
        }
        if ops.is_empty() {
            return None;
        }
        self.counts.written += ops.len() as u64;
        self.in_flight.push_back(Batch::Objects(ops.clone()));
        Some(ops)
    }

    /// Whether routes must wait for objects.
    pub(super) fn do_objects_come_first(&self) -> bool {
        if self.shapes.objects.is_idle() {
            return false;
        }
        let is_asked = matches!(self.in_flight.back(), Some(Batch::Objects(_)));
        self.is_held_back || is_asked || self.shapes.objects.has_due() || self.is_vote_due()
    }

    pub(super) fn are_objects_settled(&self) -> bool {
        let objects = &self.shapes.objects;
        objects.is_idle() || !(self.is_held_back || objects.has_due() || self.is_untidy())
    }

    /// Whether something may have become useless.
    fn is_untidy(&self) -> bool {
        self.shapes.objects.is_untidy || self.ipv4.has_abandoned() || self.ipv6.has_abandoned()
    }

    fn has_dirty(&self) -> bool {
        self.ipv4.has_dirty() || self.ipv6.has_dirty()
    }

    fn is_vote_due(&self) -> bool {
        let moves = self.shapes.objects.moves;
        moves > 0 && moves * PART >= self.ipv4.dirty.len() + self.ipv6.dirty.len()
    }

    fn users(&self, group: u32) -> usize {
        let routes = self.shapes.routes_by(group);
        self.ipv4.users(routes) + self.ipv6.users(routes)
    }

    /// Groups whose routes are all wanted through another set become that set's; the requests to remove those whose
    /// routes are all to go.
    fn hand_over_groups(&mut self) -> Vec<ObjectOp> {
        self.shapes.objects.moves = 0;
        let mut votes = BTreeMap::new();
        let around = Surroundings {
            shapes: &self.shapes,
            topology: &self.topology,
            may_sweep: self.may_sweep,
            is_dumping: false,
        };
        self.ipv4.vote(&around, &mut votes);
        self.ipv6.vote(&around, &mut votes);
        let mut removals = Vec::new();
        let mut sets = Vec::new();
        for (group, vote) in votes {
            if !vote.is_unanimous || vote.count < self.users(group) {
                continue;
            }
            match vote.goal {
                Goal::Through(to) => {
                    sets.extend(self.shapes.objects.hand_over(group, to));
                    sets.push(to);
                }
                // A single one's deletion is better seen by those who watch routes.
                Goal::Nowhere if vote.count > 1 && !self.topology.uses_object(group) => {
                    removals.push(self.shapes.objects.removal(group));
                }
                Goal::Nowhere | Goal::Apart => {}
            }
        }
        self.resolve_sets(&sets);
        removals
    }

    fn plan_removal(&mut self) -> Vec<ObjectOp> {
        self.ipv4.take_abandoned();
        self.ipv6.take_abandoned();
        let (shapes, topology) = (&self.shapes, &self.topology);
        let users: BTreeMap<u32, usize> = shapes
            .objects
            .groups()
            .map(|id| (id, self.users(id) + usize::from(topology.uses_object(id))))
            .collect();
        self.shapes
            .objects
            .plan_removal(|id| users.get(&id).copied().unwrap_or(0))
    }

    /// What became of requests for objects.
    pub(super) fn objects_answered(&mut self, ops: &[ObjectOp], refusals: &[FibRefusal]) {
        let mut refusals = refusals.iter().peekable();
        let (mut made, mut lost, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (at, op) in ops.iter().enumerate() {
            let errno = refusals
                .next_if(|refusal| refusal.at == at)
                .map(|refusal| refusal.errno);
            match (op.kind, errno) {
                (FibOpKind::Delete, None | Some(ENOENT)) => {
                    lost.push(op.id);
                    self.shapes.objects.done(op);
                }
                (_, None) => {
                    made.extend(self.shapes.objects.owner(op.id));
                    self.shapes.objects.done(op);
                }
                (_, Some(errno)) => {
                    self.counts.refused += 1;
                    warn!(errno, ?op, "the kernel refused a nexthop object");
                    refused.extend(self.refused_object(op, errno));
                    if let ObjectContent::Hop(way) = &op.content {
                        self.topology.reconsider(way, errno);
                    }
                }
            }
        }
        self.drop_groups(&lost);
        self.resolve_sets(&refused);
        let shapes = &self.shapes;
        let is_due = |wanted: Option<TargetId>| {
            let set = wanted.and_then(|target| shapes.set(target));
            set.is_some_and(|set| made.contains(&set))
        };
        if !made.is_empty() {
            self.ipv4.retry(is_due);
            self.ipv6.retry(is_due);
        }
        if std::mem::take(&mut self.is_object_doubtful) {
            self.wants_dump();
        }
    }

    /// Sets whose routes lead elsewhere from now on.
    fn refused_object(&mut self, op: &ObjectOp, errno: i32) -> Vec<SetId> {
        if op.kind == FibOpKind::Delete {
            return Vec::new();
        }
        if errno == errno::EOPNOTSUPP {
            self.shapes.objects.give_up(errno);
            return self.shapes.objects.all_sets().collect();
        }
        let is_taken = errno == errno::EEXIST && op.kind == FibOpKind::Create;
        self.shapes.objects.refused(op, errno, is_taken)
    }

    /// What leads to these sets leads elsewhere now.
    fn resolve_sets(&mut self, sets: &[SetId]) {
        let changed = self.shapes.resolve_sets(sets, &self.topology);
        if !changed.is_empty() {
            self.ipv4.touch_targets(&changed);
            self.ipv6.touch_targets(&changed);
        }
    }

    /// Says what should be there for a prefix whose route may lead through an object.
    pub(super) fn put_grouped<P: FibPrefix>(&mut self, prefix: P, target: Option<TargetId>) {
        let family = P::family_ref(self);
        let (old, actual) = (family.wanted(prefix), family.actual(prefix));
        if let (Some(actual), Some(target)) = (actual, target)
            && self.shapes.objects.has_unowned()
        {
            self.shapes.adopt(actual, target, &self.topology);
        }
        self.set_target(prefix, target);
        if old == target {
            return;
        }
        for (of, is_more) in [(old, false), (target, true)] {
            if let Some(set) = of.and_then(|target| self.shapes.set(target)) {
                self.shapes.objects.count(set, is_more);
            }
        }
        let object = actual.and_then(|actual| self.shapes.route(actual).object);
        if let Some(object) = object
            && self.shapes.objects.owner(object) != target.and_then(|target| self.shapes.set(target))
        {
            self.shapes.objects.moves += 1;
        }
    }

    /// Everything has been resolved anew: who leads where is counted again where the setting has changed, and groups of
    /// an earlier life are claimed.
    pub(super) fn survey_objects(&mut self) {
        if !self.shapes.objects.is_on() {
            return;
        }
        if self.shapes.objects.is_uncounted {
            self.shapes.objects.reset_counts();
            let wanted = self.ipv4.all_wanted().chain(self.ipv6.all_wanted());
            for target in wanted {
                if let Some(set) = self.shapes.set(target) {
                    self.shapes.objects.count(set, true);
                }
            }
        }
        if self.shapes.objects.has_unowned() {
            let routes = self.ipv4.ways_in_use().chain(self.ipv6.ways_in_use());
            for (target, actual) in routes {
                self.shapes.adopt(actual, target, &self.topology);
            }
        }
    }

    /// The kernel shows an object, or somebody changed one.
    pub(super) fn object_found(&mut self, id: u32, protocol: u8, content: &ObjectContent) {
        if !objects::is_in_range(id) {
            return;
        }
        self.doubt_objects();
        let is_ours = self.protocols.are_ours(protocol) && !self.topology.is_apart();
        let found = self
            .shapes
            .objects
            .found(id, is_ours.then_some(protocol), content);
        match found {
            Found::Expected => return,
            Found::Differs => {}
            Found::Usurped(set) => self.resolve_sets(&[set]),
        }
        self.counts.repaired += 1;
        self.resistance.is_new = true;
        warn!(id, "somebody changed a nexthop object of ours; putting it right");
    }

    /// Somebody removed an object: of the IPv4 routes that went with it the kernel says nothing.
    pub(super) fn object_gone(&mut self, id: u32) {
        for prefix in self.topology.drop_object(id) {
            self.others_changed(prefix);
        }
        if objects::is_in_range(id) {
            self.doubt_objects();
            let was_there = self.shapes.objects.is_there(id);
            let groups = self.shapes.objects.gone(id);
            let lost: usize = groups.iter().map(|group| self.users(*group)).sum();
            self.drop_groups(&groups);
            if was_there {
                self.counts.repaired += lost.max(1) as u64;
                self.resistance.is_new = true;
                warn!(
                    id,
                    routes = lost,
                    "somebody removed a nexthop object of ours; putting it back"
                );
            }
        } else if self.shapes.uses_object(id) {
            // One of our number that led through others' work; a dump shows whether it is still there.
            self.wants_dump();
        }
    }

    /// After events, before what they concern is resolved: objects that somebody keeps removing take their routes with
    /// them each time.
    pub(super) fn judge_resistance(&mut self) {
        let resistance = &mut self.resistance;
        let (true, Some(now)) = (std::mem::take(&mut resistance.is_new), self.now) else {
            return;
        };
        let last = resistance.last.replace(now).unwrap_or(now);
        if now.saturating_duration_since(last) > PEACE {
            resistance.count = 0;
        }
        resistance.count += 1;
        if resistance.count > AT_ONCE && resistance.until.is_none() {
            warn!("somebody keeps removing nexthop objects of ours: plain routes for a minute");
            resistance.until = Some(now + DISTRUST);
            self.shapes.objects.is_distrusted = true;
            self.stir.all = true;
        }
    }

    /// The time of plain routes may be over.
    pub(super) fn trust_again(&mut self, now: Instant) {
        if self.resistance.until.is_none_or(|until| until > now) {
            return;
        }
        self.resistance = Resistance::default();
        self.shapes.objects.is_distrusted = false;
        self.stir.all = true;
        if self.dump == Dump::Done {
            self.resolve_again();
        }
    }

    /// Another try for what the kernel refused.
    pub(super) fn retry_objects(&mut self) {
        let refused = self.shapes.objects.refused_sets();
        refused.iter().for_each(|set| self.shapes.objects.forgive(*set));
        self.resolve_sets(&refused);
    }

    /// Why routes are plain ones although they should lead through objects, for people.
    pub fn object_trouble(&self) -> Option<String> {
        if self.resistance.until.is_some() {
            return Some("another program keeps removing nexthop objects: routes are plain ones".to_owned());
        }
        let errno = self.shapes.objects.trouble()?;
        let error = std::io::Error::from_raw_os_error(errno);
        Some(format!(
            "the kernel refuses nexthop objects: {error}; routes are plain ones"
        ))
    }

    /// A device is down, gone, or without carrier: the kernel drops the objects through it, and their routes, in
    /// silence.
    pub(super) fn drop_objects_through(&mut self, device: u32) {
        if self.shapes.objects.is_idle() {
            return;
        }
        self.doubt_objects();
        let groups = self.shapes.objects.drop_device(device);
        self.drop_groups(&groups);
    }

    /// Objects are being changed while something happens to some: which came last cannot be told.
    fn doubt_objects(&mut self) {
        self.is_object_doubtful |= matches!(self.in_flight.back(), Some(Batch::Objects(_)));
    }

    /// The routes through these groups are not there any more.
    fn drop_groups(&mut self, groups: &[u32]) {
        let routes = groups.iter().flat_map(|group| self.shapes.routes_by(*group));
        let mut routes: Vec<RouteId> = routes.copied().collect();
        if routes.is_empty() {
            return;
        }
        routes.sort_unstable();
        let is_ambiguous =
            self.ipv4.drop_routes(&routes, |_| true) | self.ipv6.drop_routes(&routes, |_| true);
        if is_ambiguous {
            self.wants_dump();
        }
    }
}

impl<P: FibPrefix> FamilyFib<P> {
    /// What the routes that are to be looked at say of the groups that they lead through.
    fn vote(&self, around: &Surroundings<'_>, votes: &mut BTreeMap<u32, Votes>) {
        let shapes = around.shapes;
        for &id in &self.dirty {
            let (_, entry) = self.entries.at(id);
            let is_left_alone = entry.has(Flag::Delayed) || is_kept(entry, shapes);
            let Some(actual) = entry.actual().filter(|_| !is_left_alone) else {
                continue;
            };
            let there = shapes.authored(actual);
            let Some(group) = there.route.object else { continue };
            let goal = match entry.wanted().map(|wanted| (wanted, shapes.resolved(wanted))) {
                Some((_, Err(_))) if desired(entry, shapes).is_some() => continue,
                None | Some((_, Err(_))) => Goal::Nowhere,
                Some((wanted, Ok(resolved))) => {
                    let new = shapes.authored(resolved);
                    let is_alike = (new.protocol, new.route.metric, new.route.source)
                        == (there.protocol, there.route.metric, there.route.source)
                        && new.route.has_more == there.route.has_more;
                    match shapes.set_in_use(wanted).filter(|_| is_alike) {
                        Some(set) if shapes.objects.owner(group) == Some(set) => continue,
                        Some(set) => Goal::Through(set),
                        None => Goal::Apart,
                    }
                }
            };
            let vote = votes.entry(group).or_insert(Votes {
                goal,
                count: 0,
                is_unanimous: true,
            });
            vote.count += 1;
            vote.is_unanimous &= vote.goal == goal;
        }
    }

    fn all_wanted(&self) -> impl Iterator<Item = TargetId> {
        self.entries.iter().filter_map(|(_, entry)| entry.wanted())
    }

    fn ways_in_use(&self) -> impl Iterator<Item = (TargetId, RouteId)> {
        self.entries
            .iter()
            .filter_map(|(_, entry)| Some((entry.wanted()?, entry.actual()?)))
    }
}
