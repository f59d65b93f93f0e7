//! One family's half of the FIB: wanted and actual, prefix by prefix.

use std::collections::{HashMap, VecDeque};

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::fib::FibPrefix;
use crate::fib::entry::{Entry, Flag};
use crate::fib::kernel::{FibOpKind, KernelRoute};
use crate::fib::resolve::Topology;
use crate::fib::shapes::{RouteId, Shapes, TargetId};
use crate::fib::view::State;

/// EEXIST: a route of somebody else is in the way.
const EEXIST: i32 = 17;
/// ESRCH: what was to be deleted is gone already.
const ESRCH: i32 = 3;

/// What an event about a route of ours means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Nothing is to be done.
    Expected,
    /// Somebody changed what we had written: it is to be put right.
    Differs,
    /// A change of ours was under way at that time; which came last cannot be told.
    Ambiguous,
}

/// A change to ask the kernel for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned<P> {
    pub(crate) prefix: P,
    pub(crate) kind: FibOpKind,
    pub(crate) route: RouteId,
}

/// What planning depends on.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) shapes: &'a Shapes,
    pub(crate) topology: &'a Topology,
    pub(crate) may_sweep: bool,
}

impl Surroundings<'_> {
    /// Whether a foreign route has this prefix and this route's metric.
    fn is_taken(&self, prefix: impl Into<IpNet>, route: RouteId) -> bool {
        let metric = self.shapes.metric(route);
        self.topology.conflict(prefix.into(), metric).is_some()
    }
}

/// Why a route is not written although its way is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    /// A foreign route has its prefix and metric; the kernel was not asked.
    Taken,
    /// The kernel said so, with this errno.
    Kernel(i32),
}

/// See the module.
#[derive(Debug)]
pub struct FamilyFib<P> {
    entries: HashMap<P, Entry, foldhash::fast::RandomState>,
    dirty: VecDeque<P>,
    exceptions: Exceptions<P>,
}

/// What few prefixes have, so that the many need no room for it.
#[derive(Debug)]
struct Exceptions<P> {
    /// Second and further kernel routes of ours for one prefix, with other metrics: left over, to be deleted when
    /// the wanted one is in place.
    extra: HashMap<P, SmallVec<[RouteId; 2]>, foldhash::fast::RandomState>,
    /// What cannot be written.
    refused: HashMap<P, Refusal, foldhash::fast::RandomState>,
}

impl<P> Default for FamilyFib<P> {
    fn default() -> Self {
        FamilyFib {
            entries: HashMap::default(),
            dirty: VecDeque::new(),
            exceptions: Exceptions {
                extra: HashMap::default(),
                refused: HashMap::default(),
            },
        }
    }
}

impl<P: FibPrefix> FamilyFib<P> {
    pub(crate) fn set(&mut self, prefix: P, wanted: Option<TargetId>) {
        let entry = match wanted {
            Some(_) => self.entries.entry(prefix).or_default(),
            // Never asked for: if the kernel has it, it stays until the sweep.
            None => match self.entries.get_mut(&prefix) {
                Some(entry) => entry,
                None => return,
            },
        };
        if entry.wanted() == wanted {
            return;
        }
        entry.set_wanted(wanted);
        entry.put(Flag::Adopted, false);
        entry.put(Flag::Delayed, false);
        mark(&mut self.dirty, prefix, entry);
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn actual_count(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.actual().is_some())
            .count()
    }

    pub(crate) fn refused_count(&self) -> usize {
        self.exceptions.refused.len()
    }

    #[cfg(test)]
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.exceptions.extra.is_empty()
    }

    /// Everything unwanted is to go.
    pub(crate) fn sweep(&mut self) {
        for (&prefix, entry) in &mut self.entries {
            if entry.wanted().is_none() {
                entry.put(Flag::Adopted, false);
                mark(&mut self.dirty, prefix, entry);
            }
        }
        for &prefix in self.exceptions.extra.keys() {
            if let Some(entry) = self.entries.get_mut(&prefix) {
                mark(&mut self.dirty, prefix, entry);
            }
        }
    }

    /// Looks at a prefix again.
    pub(crate) fn touch(&mut self, prefix: P) {
        if let Some(entry) = self.entries.get_mut(&prefix) {
            entry.put(Flag::Delayed, false);
            mark(&mut self.dirty, prefix, entry);
        }
    }

    /// Leaves a prefix as it is until [`Self::touch`].
    pub(crate) fn delay(&mut self, prefix: P) {
        if let Some(entry) = self.entries.get_mut(&prefix) {
            entry.put(Flag::Delayed, true);
        }
    }

    /// Looks again at the prefixes of these targets (sorted).
    pub(crate) fn touch_targets(&mut self, targets: &[TargetId]) {
        for (&prefix, entry) in &mut self.entries {
            if entry
                .wanted()
                .is_some_and(|wanted| targets.binary_search(&wanted).is_ok())
            {
                mark(&mut self.dirty, prefix, entry);
            }
        }
    }

    /// Tries again what the kernel refused, where the target (`None`: to be deleted) is one of these.
    pub(crate) fn retry(&mut self, is_due: impl Fn(Option<TargetId>) -> bool) {
        for &prefix in self.exceptions.refused.keys() {
            if let Some(entry) = self.entries.get_mut(&prefix)
                && is_due(entry.wanted())
            {
                mark(&mut self.dirty, prefix, entry);
            }
        }
    }

    /// A dump is complete: tries again where it shows nothing in the way any more. `is_puzzled`: another dump did not
    /// explain the kernel's refusals, so they wait for their time. Whether such are tried now.
    pub(crate) fn retry_free(&mut self, is_puzzled: bool, around: &Surroundings<'_>) -> bool {
        let mut is_blind = false;
        for (&prefix, &refusal) in &self.exceptions.refused {
            let is_candidate = match refusal {
                Refusal::Taken => true,
                Refusal::Kernel(errno) => errno == EEXIST && !is_puzzled,
            };
            if let Some(entry) = self.entries.get_mut(&prefix)
                && is_candidate
                && let Some(route) = desired(entry, around.shapes)
                && !around.is_taken(prefix, route)
            {
                is_blind |= refusal != Refusal::Taken;
                mark(&mut self.dirty, prefix, entry);
            }
        }
        is_blind
    }

    /// The kernel dropped a device's routes without a word; `routes` (sorted) name them all. Says whether it cannot
    /// be told what is there now.
    pub(crate) fn drop_device(&mut self, device: u32, routes: &[RouteId], shapes: &Shapes) -> bool {
        let mut is_ambiguous = false;
        for (&prefix, entry) in &mut self.entries {
            if entry.has(Flag::Unseen) {
                // The dump under way will tell.
                continue;
            }
            let Some(actual) = entry.actual() else {
                is_ambiguous |= entry.has(Flag::InFlight);
                continue;
            };
            if routes.binary_search(&actual).is_err() {
                is_ambiguous |= entry.has(Flag::InFlight);
                continue;
            }
            if entry.has(Flag::InFlight) || !shapes.route(actual).uses_only(device) {
                is_ambiguous = true;
                continue;
            }
            entry.set_actual(None);
            mark(&mut self.dirty, prefix, entry);
        }
        let is_left_over = |id: &RouteId| routes.binary_search(id).is_ok();
        is_ambiguous || self.exceptions.extra.values().flatten().any(is_left_over)
    }

    pub(crate) fn begin_dump(&mut self) {
        for entry in self.entries.values_mut() {
            entry.put(Flag::Unseen, entry.actual().is_some());
        }
        self.exceptions.extra.clear();
    }

    /// What the dump did not show is not there; how many of those were wanted.
    pub(crate) fn end_dump(&mut self) -> usize {
        let mut lost = 0;
        for (&prefix, entry) in &mut self.entries {
            if entry.has(Flag::Unseen) {
                entry.put(Flag::Unseen, false);
                entry.set_actual(None);
                lost += usize::from(entry.wanted().is_some());
                mark(&mut self.dirty, prefix, entry);
            }
        }
        lost
    }

    /// The kernel has this route of ours. `is_replacement`: it took the place of another one.
    pub(crate) fn found(
        &mut self,
        prefix: P,
        route: RouteId,
        is_replacement: bool,
        around: &Surroundings<'_>,
    ) -> Outcome {
        let shapes = around.shapes;
        let entry = self.entries.entry(prefix).or_insert_with(|| {
            let mut entry = Entry::default();
            entry.put(Flag::Adopted, !around.may_sweep);
            entry
        });
        if entry.has(Flag::InFlight) {
            return Outcome::Ambiguous;
        }
        self.exceptions.forget_extra(prefix, shapes.metric(route), shapes);
        let was_seen = !entry.has(Flag::Unseen);
        entry.put(Flag::Unseen, false);
        match entry.actual() {
            Some(actual) if actual == route => return Outcome::Expected,
            Some(actual) if was_seen && shapes.metric(actual) != shapes.metric(route) => {
                self.exceptions.extra.entry(prefix).or_default().push(route);
                mark(&mut self.dirty, prefix, entry);
                return Outcome::Expected;
            }
            // It was there already when we wrote ours, and is not any more: old news.
            Some(_) if was_seen && !is_replacement => return Outcome::Ambiguous,
            _ => {}
        }
        entry.set_actual(Some(route));
        let is_wanted = desired(entry, shapes) == Some(route);
        mark(&mut self.dirty, prefix, entry);
        if is_wanted || entry.has(Flag::Adopted) {
            Outcome::Expected
        } else {
            Outcome::Differs
        }
    }

    /// A route of ours with this metric is gone, and not by our doing. `route`: which one; `None` when a foreign
    /// one took its place.
    pub(crate) fn lost(
        &mut self,
        prefix: P,
        metric: u32,
        route: Option<&KernelRoute>,
        shapes: &Shapes,
    ) -> Outcome {
        self.exceptions.forget_extra(prefix, metric, shapes);
        let Some(entry) = self.entries.get_mut(&prefix) else {
            return Outcome::Expected;
        };
        if entry.has(Flag::InFlight) {
            return Outcome::Ambiguous;
        }
        let Some(actual) = entry.actual().filter(|&actual| shapes.metric(actual) == metric) else {
            return Outcome::Expected;
        };
        if route.is_some_and(|route| route != shapes.route(actual)) {
            // Old news, of a route that we replaced since, or one next hop of several.
            return Outcome::Ambiguous;
        }
        entry.set_actual(None);
        entry.put(Flag::Unseen, false);
        mark(&mut self.dirty, prefix, entry);
        if route.is_none() {
            // A replacement of ours may have replaced the foreign route in turn, without its being told.
            return Outcome::Ambiguous;
        }
        if desired(entry, shapes).is_some() {
            Outcome::Differs
        } else {
            Outcome::Expected
        }
    }

    /// Plans changes of dirty prefixes until there are `max`, or a few more.
    pub(crate) fn collect(&mut self, max: usize, around: &Surroundings<'_>, planned: &mut Vec<Planned<P>>) {
        while planned.len() < max
            && let Some(prefix) = self.dirty.pop_front()
        {
            let Some(entry) = self.entries.get_mut(&prefix) else {
                continue;
            };
            entry.put(Flag::Dirty, false);
            if entry.has(Flag::InFlight) {
                entry.put(Flag::Again, true);
                continue;
            }
            if entry.has(Flag::Delayed) || (entry.has(Flag::Adopted) && !around.may_sweep) {
                continue;
            }
            if entry.has(Flag::Refused) {
                entry.put(Flag::Refused, false);
                self.exceptions.refused.remove(&prefix);
            }
            let before = planned.len();
            self.exceptions.plan(prefix, entry, around, planned);
            entry.put(Flag::InFlight, planned.len() > before);
            let is_empty = entry.wanted().is_none() && entry.actual().is_none() && planned.len() == before;
            if is_empty && !self.exceptions.extra.contains_key(&prefix) {
                self.entries.remove(&prefix);
            }
        }
        if self.dirty.is_empty() {
            // The backlog of a first table is not needed again.
            self.dirty.shrink_to(1024);
        }
    }

    /// What became of one change. [`Outcome::Ambiguous`]: the kernel has something that we do not know of.
    pub(crate) fn handle_result(
        &mut self,
        planned: Planned<P>,
        errno: Option<i32>,
        around: &Surroundings<'_>,
    ) -> Outcome {
        let (prefix, shapes) = (planned.prefix, around.shapes);
        let FamilyFib {
            entries,
            dirty,
            exceptions,
        } = self;
        let Some(entry) = entries.get_mut(&prefix) else {
            return Outcome::Expected;
        };
        entry.put(Flag::InFlight, false);
        let metric = shapes.metric(planned.route);
        let current = entry.actual().filter(|&actual| shapes.metric(actual) == metric);
        let mut outcome = Outcome::Expected;
        let mut is_refused = false;
        match (planned.kind, errno) {
            (FibOpKind::Create | FibOpKind::Replace, None) => {
                if let (Some(actual), None) = (entry.actual(), current) {
                    exceptions.extra.entry(prefix).or_default().push(actual);
                }
                exceptions.forget_extra(prefix, metric, shapes);
                entry.set_actual(Some(planned.route));
                if around.is_taken(prefix, planned.route) {
                    // Its place was taken from ours while the replacement was on its way.
                    outcome = Outcome::Ambiguous;
                }
            }
            (FibOpKind::Delete, None | Some(ESRCH)) => {
                match current {
                    Some(_) => entry.set_actual(None),
                    None => exceptions.forget_extra(prefix, metric, shapes),
                }
                if errno.is_some() {
                    // Somebody was faster. That news is on its way, and would be taken for one of a newer route.
                    outcome = Outcome::Ambiguous;
                }
            }
            (FibOpKind::Create | FibOpKind::Replace | FibOpKind::Delete, Some(errno)) => {
                // What has been decided since is not refused.
                is_refused = match planned.kind {
                    FibOpKind::Create | FibOpKind::Replace => desired(entry, shapes) == Some(planned.route),
                    FibOpKind::Delete => true,
                };
                if is_refused {
                    exceptions.refuse(prefix, entry, Refusal::Kernel(errno));
                }
                if errno == EEXIST && !around.is_taken(prefix, planned.route) {
                    outcome = Outcome::Ambiguous;
                }
            }
        }
        let is_done = entry.actual() == desired(entry, shapes)
            && entry.actual().is_some()
            && !exceptions.extra.contains_key(&prefix);
        let is_due = entry.has(Flag::Again) || !is_refused;
        entry.put(Flag::Again, false);
        if !is_done && is_due {
            // Something newer may have been wanted meanwhile, or leftovers must go.
            mark(dirty, prefix, entry);
        }
        outcome
    }

    /// Hands out routes in order of their prefixes, from the one after `after`, at most `limit`.
    pub(crate) fn query<'a>(
        &self,
        shapes: &'a Shapes,
        after: Option<P>,
        limit: usize,
        mut each: impl FnMut(IpNet, &State<'a>),
    ) {
        let is_shown = |entry: &Entry| entry.wanted().is_some() || entry.actual().is_some();
        let mut page: Vec<P> = self
            .entries
            .iter()
            .filter(|&(prefix, entry)| is_shown(entry) && after.is_none_or(|after| *prefix > after))
            .map(|(&prefix, _)| prefix)
            .collect();
        if page.len() > limit {
            page.select_nth_unstable(limit);
            page.truncate(limit);
        }
        page.sort_unstable();
        for prefix in page {
            if let Some(state) = self.state(prefix, shapes) {
                each(prefix.into(), &state);
            }
        }
    }

    fn state<'a>(&self, prefix: P, shapes: &'a Shapes) -> Option<State<'a>> {
        let entry = self.entries.get(&prefix)?;
        let route = |id: RouteId| shapes.route(id);
        Some(match (entry.wanted(), entry.actual()) {
            (None, None) => return None,
            (None, Some(actual)) if entry.has(Flag::Adopted) => State::Stale(route(actual)),
            (None, Some(actual)) => State::Removing(route(actual)),
            (Some(wanted), actual) => match (shapes.resolved(wanted), actual) {
                (Err(_), Some(actual)) => State::Removing(route(actual)),
                (Err(parked), None) => State::Parked(shapes.target(wanted), parked),
                (Ok(resolved), Some(actual)) if resolved == actual => State::Installed(route(actual)),
                (Ok(resolved), _) if entry.has(Flag::Delayed) => State::Delayed(route(resolved)),
                (Ok(resolved), _) => match self.exceptions.refused.get(&prefix) {
                    None => State::Pending(route(resolved)),
                    Some(Refusal::Taken | Refusal::Kernel(EEXIST)) => State::Conflict(route(resolved)),
                    Some(&Refusal::Kernel(errno)) => State::Refused(route(resolved), errno),
                },
            },
        })
    }
}

impl<P: FibPrefix> Exceptions<P> {
    /// Plans the changes of one prefix.
    fn plan(
        &mut self,
        prefix: P,
        entry: &mut Entry,
        around: &Surroundings<'_>,
        planned: &mut Vec<Planned<P>>,
    ) {
        let shapes = around.shapes;
        let mut wanted = desired(entry, shapes);
        if let Some(route) = wanted {
            self.prefer(prefix, entry, shapes.metric(route), shapes);
            // A replacement would hit whichever route of this metric comes first. What we have under another metric
            // is out of date, and goes.
            let is_in_place = entry.actual() == wanted;
            if !is_in_place && around.is_taken(prefix, route) {
                self.refuse(prefix, entry, Refusal::Taken);
                wanted = None;
            }
        }
        let change = match (wanted, entry.actual()) {
            (Some(wanted), Some(actual)) if wanted == actual => None,
            (Some(wanted), Some(actual)) if shapes.metric(wanted) == shapes.metric(actual) => {
                Some((FibOpKind::Replace, wanted))
            }
            // Another metric is another route to the kernel: the old one goes when the new one is there.
            (Some(wanted), _) => Some((FibOpKind::Create, wanted)),
            (None, Some(actual)) => Some((FibOpKind::Delete, actual)),
            (None, None) => None,
        };
        if let Some((kind, route)) = change {
            planned.push(Planned { prefix, kind, route });
        } else if around.may_sweep || wanted.is_some() {
            let extra = self.extra.get(&prefix).into_iter().flatten();
            planned.extend(extra.map(|&route| Planned {
                prefix,
                kind: FibOpKind::Delete,
                route,
            }));
        }
    }

    /// Of several kernel routes of ours the one with the wanted metric is the one to work on.
    fn prefer(&mut self, prefix: P, entry: &mut Entry, metric: u32, shapes: &Shapes) {
        let actual = entry.actual();
        if actual.is_some_and(|actual| shapes.metric(actual) == metric) {
            return;
        }
        let Some(extra) = self.extra.get_mut(&prefix) else {
            return;
        };
        let Some(at) = extra.iter().position(|id| shapes.metric(*id) == metric) else {
            return;
        };
        entry.set_actual(Some(extra.remove(at)));
        extra.extend(actual);
        if extra.is_empty() {
            self.extra.remove(&prefix);
        }
    }

    fn refuse(&mut self, prefix: P, entry: &mut Entry, refusal: Refusal) {
        entry.put(Flag::Refused, true);
        self.refused.insert(prefix, refusal);
    }

    /// What had this metric is not left over any more.
    fn forget_extra(&mut self, prefix: P, metric: u32, shapes: &Shapes) {
        if let Some(extra) = self.extra.get_mut(&prefix) {
            extra.retain(|id| shapes.metric(*id) != metric);
            if extra.is_empty() {
                self.extra.remove(&prefix);
            }
        }
    }
}

/// What should be in the kernel now.
fn desired(entry: &Entry, shapes: &Shapes) -> Option<RouteId> {
    shapes.resolved(entry.wanted()?).ok()
}

fn mark<P>(dirty: &mut VecDeque<P>, prefix: P, entry: &mut Entry) {
    if !entry.has(Flag::Dirty) {
        entry.put(Flag::Dirty, true);
        dirty.push_back(prefix);
    }
}
