//! One family's half of the FIB: wanted and actual, prefix by prefix.

use std::collections::VecDeque;

use crate::fib::FibPrefix;
use crate::fib::entries::{Entries, EntryId};
use crate::fib::entry::{Entry, Flag};
use crate::fib::errno::{self, EEXIST, ESRCH, Remedy};
use crate::fib::kernel::{Authored, FibOpKind};
use crate::fib::plan::{Exceptions, Planned, Refusal, Surroundings, desired, is_kept};
use crate::fib::shapes::{RouteId, Shapes, TargetId};

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

/// How many prefixes' route is each of those that were ever there.
#[derive(Debug, Default)]
pub(super) struct Counts {
    prefixes: Vec<u32>,
    /// Entries of an earlier run that nothing has confirmed yet.
    adopted: usize,
    /// One has become nobody's since that was last asked.
    has_abandoned: bool,
}

impl Counts {
    pub(super) fn set_actual(&mut self, entry: &mut Entry, new: Option<RouteId>) {
        if let Some(old) = entry.actual() {
            let count = &mut self.prefixes[old.0 as usize];
            *count -= 1;
            self.has_abandoned |= *count == 0;
        }
        if let Some(new) = new {
            let at = new.0 as usize;
            if at >= self.prefixes.len() {
                self.prefixes.resize(at + 1, 0);
            }
            self.prefixes[at] += 1;
        }
        entry.set_actual(new);
    }

    fn set_adopted(&mut self, entry: &mut Entry, is_adopted: bool) {
        self.adopted -= usize::from(entry.has(Flag::Adopted));
        self.adopted += usize::from(is_adopted);
        entry.put(Flag::Adopted, is_adopted);
    }
}

/// See the module.
#[derive(Debug)]
pub struct FamilyFib<P> {
    pub(super) entries: Entries<P>,
    /// Those to be looked at ([`Flag::Dirty`]), each once; none of them is removed.
    pub(super) dirty: VecDeque<EntryId>,
    counts: Counts,
    pub(super) exceptions: Exceptions<P>,
}

impl<P> Default for FamilyFib<P> {
    fn default() -> Self {
        FamilyFib {
            entries: Entries::default(),
            dirty: VecDeque::new(),
            counts: Counts::default(),
            exceptions: Exceptions::default(),
        }
    }
}

impl<P: FibPrefix> FamilyFib<P> {
    pub(crate) fn set(&mut self, prefix: P, wanted: Option<TargetId>, shapes: &Shapes) {
        let (id, entry) = match wanted {
            Some(_) => self.entries.get_or_insert_with(prefix, Entry::default),
            // Never asked for: if the kernel has it, it stays until the sweep.
            None => match self.entries.get_mut(prefix) {
                Some(found) => found,
                None => return,
            },
        };
        if entry.wanted() == wanted {
            return;
        }
        entry.set_wanted(wanted);
        if wanted.is_some() && !is_kept(entry, shapes) {
            self.counts.set_adopted(entry, false);
        }
        if entry.has(Flag::Refused) {
            entry.put(Flag::Refused, false);
            self.exceptions.refused.remove(&prefix);
        }
        entry.put(Flag::Delayed, false);
        mark(&mut self.dirty, id, entry);
    }

    pub(crate) fn wanted(&self, prefix: P) -> Option<TargetId> {
        self.entries.get(prefix)?.wanted()
    }

    /// What the kernel has for a prefix.
    pub(crate) fn actual(&self, prefix: P) -> Option<RouteId> {
        self.entries.get(prefix)?.actual()
    }

    /// How many kernel routes of ours are one of these, those left over included.
    pub(crate) fn users(&self, routes: &[RouteId]) -> usize {
        let count = |id: &RouteId| self.counts.prefixes.get(id.0 as usize).copied().unwrap_or(0) as usize;
        let exceptions = &self.exceptions;
        let left_over = exceptions
            .extra
            .values()
            .chain(exceptions.doubles.values())
            .flatten();
        routes.iter().map(count).sum::<usize>() + left_over.filter(|id| routes.contains(id)).count()
    }

    /// Whether a route has become nobody's since the last time.
    pub(crate) fn take_abandoned(&mut self) -> bool {
        std::mem::take(&mut self.counts.has_abandoned)
    }

    pub(crate) fn has_abandoned(&self) -> bool {
        self.counts.has_abandoned
    }

    /// Whether the kernel has a route of ours with this metric.
    pub(crate) fn has(&self, prefix: P, metric: u32, shapes: &Shapes) -> bool {
        let actual = self.entries.get(prefix).and_then(|entry| entry.actual());
        actual.is_some_and(|actual| shapes.metric(actual) == metric)
    }

    /// Whether something of an earlier run is there that nothing has confirmed yet.
    pub(crate) fn has_adopted(&self) -> bool {
        self.counts.adopted > 0
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn actual_count(&self) -> usize {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.actual().is_some())
            .count()
    }

    /// Kernel routes of ours, one by one.
    pub(crate) fn routes(&self) -> impl Iterator<Item = RouteId> {
        let extra = self.exceptions.extra.values().flatten().copied();
        self.entries
            .iter()
            .filter_map(|(_, entry)| entry.actual())
            .chain(extra)
    }

    pub(crate) fn refused_count(&self) -> usize {
        self.exceptions.refused.len()
    }

    #[cfg(test)]
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.exceptions.extra.is_empty()
    }

    /// Everything unwanted is to go, and what was left as it was to be as it should.
    pub(crate) fn sweep(&mut self) {
        for (id, entry) in self.entries.iter_mut() {
            if entry.wanted().is_none() || entry.has(Flag::Adopted) {
                self.counts.set_adopted(entry, false);
                mark(&mut self.dirty, id, entry);
            }
        }
        for &prefix in self.exceptions.extra.keys() {
            if let Some((id, entry)) = self.entries.get_mut(prefix) {
                mark(&mut self.dirty, id, entry);
            }
        }
    }

    /// Looks at a prefix again.
    pub(crate) fn touch(&mut self, prefix: P) {
        if let Some((id, entry)) = self.entries.get_mut(prefix) {
            entry.put(Flag::Delayed, false);
            mark(&mut self.dirty, id, entry);
        }
    }

    /// Leaves a prefix as it is until [`Self::touch`].
    pub(crate) fn delay(&mut self, prefix: P) {
        if let Some((_, entry)) = self.entries.get_mut(prefix) {
            entry.put(Flag::Delayed, true);
        }
    }

    /// Looks again at the prefixes of these targets (sorted).
    pub(crate) fn touch_targets(&mut self, targets: &[TargetId]) {
        for (id, entry) in self.entries.iter_mut() {
            if entry
                .wanted()
                .is_some_and(|wanted| targets.binary_search(&wanted).is_ok())
            {
                mark(&mut self.dirty, id, entry);
            }
        }
    }

    /// Tries again what the kernel refused, where the target (`None`: to be deleted) is one of these.
    pub(crate) fn retry(&mut self, is_due: impl Fn(Option<TargetId>) -> bool) {
        for &prefix in self.exceptions.refused.keys() {
            if let Some((id, entry)) = self.entries.get_mut(prefix)
                && is_due(entry.wanted())
            {
                mark(&mut self.dirty, id, entry);
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
                _ => refusal.errno() == Some(EEXIST) && !is_puzzled,
            };
            if let Some((id, entry)) = self.entries.get_mut(prefix)
                && is_candidate
                && let Some(route) = desired(entry, around.shapes)
                && !self.exceptions.is_in_the_way(prefix, route, around)
            {
                is_blind |= refusal != Refusal::Taken;
                mark(&mut self.dirty, id, entry);
            }
        }
        is_blind
    }

    /// The kernel dropped a device's routes without a word; `routes` (sorted) name them all. Says whether it cannot
    /// be told what is there now.
    pub(crate) fn drop_device(&mut self, device: u32, routes: &[RouteId], shapes: &Shapes) -> bool {
        self.drop_routes(routes, |route| shapes.route(route).uses_only(device))
    }

    /// The same for any reason; `is_gone` says which of them are not there any more for certain.
    pub(crate) fn drop_routes(&mut self, routes: &[RouteId], is_gone: impl Fn(RouteId) -> bool) -> bool {
        let mut is_ambiguous = false;
        for (id, entry) in self.entries.iter_mut() {
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
            if entry.has(Flag::InFlight) || !is_gone(actual) {
                is_ambiguous = true;
                continue;
            }
            self.counts.set_actual(entry, None);
            mark(&mut self.dirty, id, entry);
        }
        let FamilyFib {
            entries, exceptions, ..
        } = self;
        exceptions.first.retain(|&(prefix, _)| {
            let actual = entries.get(prefix).and_then(|entry| entry.actual());
            actual.is_some_and(|actual| routes.binary_search(&actual).is_err())
        });
        let is_left_over = |id: &RouteId| routes.binary_search(id).is_ok();
        self.exceptions.unfindable.retain(|(_, id)| !is_left_over(id));
        is_ambiguous || self.exceptions.extra.values().flatten().any(is_left_over)
    }

    pub(crate) fn begin_dump(&mut self) {
        for (_, entry) in self.entries.iter_mut() {
            entry.put(Flag::Unseen, entry.actual().is_some());
        }
        self.exceptions.extra.clear();
        self.exceptions.doubles.clear();
        self.exceptions.first.clear();
    }

    /// What the dump did not show is not there; how many of those were wanted.
    pub(crate) fn end_dump(&mut self) -> usize {
        let mut lost = 0;
        for (id, entry) in self.entries.iter_mut() {
            if entry.has(Flag::Unseen) {
                entry.put(Flag::Unseen, false);
                self.counts.set_actual(entry, None);
                lost += usize::from(entry.wanted().is_some());
                mark(&mut self.dirty, id, entry);
            }
        }
        let FamilyFib {
            entries, exceptions, ..
        } = self;
        let Exceptions {
            extra, unfindable, ..
        } = exceptions;
        unfindable.retain(|&(prefix, route)| {
            let is_extra = extra.get(&prefix).is_some_and(|extra| extra.contains(&route));
            is_extra || entries.get(prefix).and_then(|entry| entry.actual()) == Some(route)
        });
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
        let (id, entry) = self.entries.get_or_insert_with(prefix, || {
            let mut entry = Entry::default();
            self.counts.set_adopted(&mut entry, !around.may_sweep);
            entry
        });
        if entry.has(Flag::InFlight) {
            return Outcome::Ambiguous;
        }
        let is_alike = |id: RouteId| shapes.metric(id) == shapes.metric(route);
        if is_replacement {
            self.exceptions.forget_extra(prefix, is_alike);
        } else if !around.is_dumping
            && self
                .exceptions
                .has_extra(prefix, |id| is_alike(id) && id != route)
        {
            // Somebody put it beside another one of ours; a dump shows both.
            return Outcome::Ambiguous;
        }
        self.exceptions.forget_extra(prefix, |id| id == route);
        let was_seen = !entry.has(Flag::Unseen);
        entry.put(Flag::Unseen, false);
        match entry.actual() {
            Some(actual) if actual == route => return Outcome::Expected,
            Some(actual) if was_seen && shapes.metric(actual) != shapes.metric(route) => {
                self.exceptions.extra.entry(prefix).or_default().push(route);
                mark(&mut self.dirty, id, entry);
                return Outcome::Expected;
            }
            Some(_) if was_seen && !is_replacement && around.is_dumping => {
                self.exceptions.doubles.entry(prefix).or_default().push(route);
                mark(&mut self.dirty, id, entry);
                return Outcome::Expected;
            }
            // It was there already when we wrote ours, and is not any more: old news.
            Some(_) if was_seen && !is_replacement => return Outcome::Ambiguous,
            _ => {}
        }
        self.counts.set_actual(entry, Some(route));
        let is_wanted = desired(entry, shapes) == Some(route);
        mark(&mut self.dirty, id, entry);
        if is_wanted || entry.has(Flag::Adopted) {
            Outcome::Expected
        } else {
            Outcome::Differs
        }
    }

    /// Another program's route with this metric came. `is_behind`: after all others; `is_alone`: no other program's
    /// was known.
    pub(crate) fn rank(&mut self, prefix: P, metric: u32, is_behind: bool, is_alone: bool, shapes: &Shapes) {
        let entry = self.entries.get(prefix);
        let actual = entry
            .filter(|entry| !entry.has(Flag::Unseen))
            .and_then(|entry| entry.actual());
        let is_ours_there = actual.is_some_and(|actual| shapes.metric(actual) == metric);
        if !(is_behind && is_ours_there) {
            self.exceptions.first.remove(&(prefix, metric));
        } else if is_alone {
            self.exceptions.first.insert((prefix, metric));
        }
    }

    /// A route of ours with this metric is gone, and not by our doing. `gone`: which one; `None` when a foreign
    /// one took its place.
    pub(crate) fn lost(
        &mut self,
        prefix: P,
        metric: u32,
        gone: Option<&Authored>,
        shapes: &Shapes,
    ) -> Outcome {
        let is_alike = |id: RouteId| shapes.metric(id) == metric;
        let is_meant = |id: RouteId| is_alike(id) && gone.is_none_or(|gone| *gone == *shapes.authored(id));
        self.exceptions.forget_extra(prefix, is_meant);
        self.exceptions
            .unfindable
            .retain(|&(of, id)| of != prefix || !is_alike(id));
        // Which of several, or which gateway of one, a dump shows.
        let is_doubtful = self.exceptions.has_extra(prefix, is_alike);
        let Some((id, entry)) = self.entries.get_mut(prefix) else {
            return Outcome::Expected;
        };
        if entry.has(Flag::InFlight) {
            return Outcome::Ambiguous;
        }
        let Some(actual) = entry.actual().filter(|&actual| is_alike(actual)) else {
            return match is_doubtful {
                true => Outcome::Ambiguous,
                false => Outcome::Expected,
            };
        };
        if gone.is_some_and(|gone| *gone != *shapes.authored(actual)) {
            // Old news, of a route that we replaced since, or one next hop of several.
            return Outcome::Ambiguous;
        }
        self.exceptions.first.remove(&(prefix, metric));
        self.counts.set_actual(entry, None);
        entry.put(Flag::Unseen, false);
        mark(&mut self.dirty, id, entry);
        if gone.is_none() {
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
            && let Some(id) = self.dirty.pop_front()
        {
            let (prefix, entry) = self.entries.at_mut(id);
            entry.put(Flag::Dirty, false);
            if entry.has(Flag::InFlight) {
                entry.put(Flag::Again, true);
                continue;
            }
            if entry.has(Flag::Delayed) || is_kept(entry, around.shapes) {
                continue;
            }
            self.counts.set_adopted(entry, false);
            let before = planned.len();
            let exceptions = &mut self.exceptions;
            let is_retry = exceptions.retry((id, prefix), entry, around.shapes, planned);
            if planned.len() == before {
                exceptions.plan((id, prefix), entry, &mut self.counts, around, planned);
            }
            for new in &mut planned[before..] {
                new.is_retry = is_retry;
            }
            entry.put(Flag::InFlight, planned.len() > before);
            let is_empty = entry.wanted().is_none() && entry.actual().is_none() && planned.len() == before;
            if is_empty && !self.exceptions.extra.contains_key(&prefix) {
                self.entries.remove(id);
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
        lasting: Option<Refusal>,
        around: &Surroundings<'_>,
    ) -> Outcome {
        let (prefix, shapes) = (planned.prefix, around.shapes);
        let FamilyFib {
            entries,
            dirty,
            counts,
            exceptions,
        } = self;
        let (found, entry) = entries.at_mut(planned.id);
        debug_assert!(
            found == prefix,
            "an entry was removed while a change was under way"
        );
        entry.put(Flag::InFlight, false);
        let metric = shapes.metric(planned.route);
        let current = entry.actual().filter(|&actual| shapes.metric(actual) == metric);
        let mut outcome = Outcome::Expected;
        let mut is_refused = false;
        // A dump has shown it since the kernel said so for the first time.
        let is_unfindable = (planned.kind, errno) == (FibOpKind::Delete, Some(ESRCH))
            && !exceptions.unfindable.insert((prefix, planned.route));
        let refusal =
            errno.filter(|&errno| is_unfindable || errno::remedy(planned.kind, errno) != Remedy::Done);
        match (planned.kind, refusal) {
            (FibOpKind::Create | FibOpKind::Replace, None) => {
                if let (Some(actual), None) = (entry.actual(), current) {
                    exceptions.extra.entry(prefix).or_default().push(actual);
                }
                if exceptions.forget_extra(prefix, |id| shapes.metric(id) == metric) {
                    // One of several: which was replaced, a dump shows.
                    outcome = Outcome::Ambiguous;
                }
                counts.set_actual(entry, Some(planned.route));
                if planned.kind == FibOpKind::Create {
                    exceptions.first.remove(&(prefix, metric));
                }
                if exceptions.is_in_the_way(prefix, planned.route, around) {
                    // Its place was taken from ours while the replacement was on its way.
                    outcome = Outcome::Ambiguous;
                }
            }
            (FibOpKind::Delete, None) => {
                exceptions.first.remove(&(prefix, metric));
                match current {
                    Some(actual) if actual == planned.route => counts.set_actual(entry, None),
                    // One of two with this metric: the kernel may have taken either.
                    Some(_) => outcome = Outcome::Ambiguous,
                    None => {}
                }
                exceptions.forget_extra(prefix, |id| id == planned.route);
                if errno.is_some() {
                    // Somebody was faster. That news is on its way, and would be taken for one of a newer route.
                    outcome = Outcome::Ambiguous;
                } else {
                    exceptions.unfindable.remove(&(prefix, planned.route));
                }
            }
            (kind, Some(errno)) => {
                // What has been decided since is not refused.
                is_refused = match kind {
                    FibOpKind::Create | FibOpKind::Replace => desired(entry, shapes) == Some(planned.route),
                    FibOpKind::Delete => true,
                };
                if is_refused {
                    exceptions.refuse(prefix, entry, lasting.unwrap_or(Refusal::Kernel(errno)));
                    is_refused = lasting.is_none();
                } else if planned.is_retry && desired(entry, shapes).is_some() {
                    // Another form of it is tried at once, and is no first try either.
                    exceptions.refuse(prefix, entry, Refusal::Kernel(errno));
                }
                if errno::remedy(planned.kind, errno) == Remedy::WaitForPrefix
                    && !around.is_taken(prefix, planned.route)
                {
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
            mark(dirty, planned.id, entry);
        }
        outcome
    }
}

fn mark(dirty: &mut VecDeque<EntryId>, id: EntryId, entry: &mut Entry) {
    if !entry.has(Flag::Dirty) {
        entry.put(Flag::Dirty, true);
        dirty.push_back(id);
    }
}
