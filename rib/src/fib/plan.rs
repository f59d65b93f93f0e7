//! What is to be asked of the kernel for one prefix, and what few prefixes have beside wanted and actual.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::fib::FibPrefix;
use crate::fib::entries::EntryId;
use crate::fib::entry::{Entry, Flag};
use crate::fib::family_fib::Counts;
use crate::fib::kernel::{FibOpKind, KernelAction};
use crate::fib::resolve::Topology;
use crate::fib::shapes::{RouteId, Shapes};
use crate::fib::target::FibAction;

/// A change to ask the kernel for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned<P> {
    pub(super) id: EntryId,
    pub(crate) prefix: P,
    pub(crate) kind: FibOpKind,
    pub(crate) route: RouteId,
    /// The kernel refused it before.
    pub(super) is_retry: bool,
}

/// What planning depends on.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) shapes: &'a Shapes,
    pub(crate) topology: &'a Topology,
    pub(crate) may_sweep: bool,
    /// What is told now is what a dump shows, or what happens while it is under way: nothing of ours is.
    pub(crate) is_dumping: bool,
}

impl Surroundings<'_> {
    /// Whether a foreign route has this prefix and this route's metric.
    pub(super) fn is_taken(&self, prefix: impl Into<IpNet>, route: RouteId) -> bool {
        let metric = self.shapes.metric(route);
        self.topology.conflict(prefix.into(), metric).is_some()
    }
}

/// Why a route is not written although its way is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// A foreign route has its prefix and metric; the kernel was not asked.
    Taken,
    /// The kernel said so, with this errno.
    Kernel(i32),
    /// It said so again of the route `wanted`, while it has one with ways that are not wanted any more: of that, `rest`
    /// may stay, or nothing.
    Lasting {
        errno: i32,
        wanted: RouteId,
        rest: Option<RouteId>,
    },
}

impl Refusal {
    /// The kernel's word.
    pub(super) fn errno(self) -> Option<i32> {
        match self {
            Refusal::Taken => None,
            Refusal::Kernel(errno) | Refusal::Lasting { errno, .. } => Some(errno),
        }
    }
}

/// What few prefixes have, so that the many need no room for it.
#[derive(Debug)]
pub(crate) struct Exceptions<P> {
    /// Second and further kernel routes of ours for one prefix, with other metrics: left over, to be deleted when
    /// the wanted one is in place.
    pub(super) extra: HashMap<P, SmallVec<[RouteId; 2]>, foldhash::fast::RandomState>,
    /// Further ones with a metric that another one has already: somebody put them beside ours.
    pub(super) doubles: HashMap<P, SmallVec<[RouteId; 2]>, foldhash::fast::RandomState>,
    /// What cannot be written.
    pub(super) refused: HashMap<P, Refusal, foldhash::fast::RandomState>,
    /// What the kernel did not find when it was to be deleted. If a dump shows it all the same, it never will.
    pub(super) unfindable: HashSet<(P, RouteId), foldhash::fast::RandomState>,
    /// Prefixes and metrics that other programs have too, behind ours: ours is in force, and a replacement hits it.
    pub(super) first: HashSet<(P, u32), foldhash::fast::RandomState>,
}

impl<P> Default for Exceptions<P> {
    fn default() -> Self {
        Exceptions {
            extra: HashMap::default(),
            doubles: HashMap::default(),
            refused: HashMap::default(),
            unfindable: HashSet::default(),
            first: HashSet::default(),
        }
    }
}

impl<P: FibPrefix> Exceptions<P> {
    /// Plans the changes of one prefix.
    pub(super) fn plan(
        &mut self,
        (id, prefix): (EntryId, P),
        entry: &mut Entry,
        counts: &mut Counts,
        around: &Surroundings<'_>,
        planned: &mut Vec<Planned<P>>,
    ) {
        let shapes = around.shapes;
        let mut wanted = desired(entry, shapes);
        for double in self.doubles.remove(&prefix).into_iter().flatten() {
            let mut gone = Some(double);
            if Some(double) == wanted {
                gone = entry.actual();
                counts.set_actual(entry, wanted);
            }
            planned.extend(gone.filter(|gone| Some(*gone) != wanted).map(|route| Planned {
                id,
                prefix,
                kind: FibOpKind::Delete,
                route,
                is_retry: false,
            }));
        }
        if let Some(route) = wanted {
            self.prefer(prefix, entry, counts, shapes.metric(route), shapes);
            // What is there now may be as good as what was.
            wanted = desired(entry, shapes);
            // A replacement would hit whichever route of this metric comes first. What we have behind that, or under
            // another metric, is out of date, and goes.
            let is_in_place = entry.actual() == wanted;
            if !is_in_place && self.is_in_the_way(prefix, route, around) {
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
            planned.push(Planned {
                id,
                prefix,
                kind,
                route,
                is_retry: false,
            });
        } else if around.may_sweep || wanted.is_some() {
            let extra = self.extra.get(&prefix).into_iter().flatten();
            planned.extend(extra.map(|&route| Planned {
                id,
                prefix,
                kind: FibOpKind::Delete,
                route,
                is_retry: false,
            }));
        }
    }

    /// What is due of a prefix whose route the kernel refused: the change that takes away what is not wanted any more.
    /// Whether the route itself is written for another time.
    pub(super) fn retry(
        &mut self,
        (id, prefix): (EntryId, P),
        entry: &mut Entry,
        shapes: &Shapes,
        planned: &mut Vec<Planned<P>>,
    ) -> bool {
        if !entry.has(Flag::Refused) {
            return false;
        }
        entry.put(Flag::Refused, false);
        let refusal = self.refused.remove(&prefix);
        if let Some(Refusal::Lasting { errno, wanted, rest }) = refusal
            && desired(entry, shapes) == Some(wanted)
            && let Some(actual) = entry.actual()
        {
            self.refuse(prefix, entry, Refusal::Kernel(errno));
            planned.push(Planned {
                id,
                prefix,
                kind: rest.map_or(FibOpKind::Delete, |_| FibOpKind::Replace),
                route: rest.unwrap_or(actual),
                is_retry: false,
            });
            return false;
        }
        matches!(refusal, Some(Refusal::Kernel(_)))
    }

    /// Of several kernel routes of ours the one with the wanted metric is the one to work on.
    fn prefer(&mut self, prefix: P, entry: &mut Entry, counts: &mut Counts, metric: u32, shapes: &Shapes) {
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
        counts.set_actual(entry, Some(extra.remove(at)));
        extra.extend(actual);
        if extra.is_empty() {
            self.extra.remove(&prefix);
        }
    }

    /// Whether our route with this metric goes before all others.
    pub(super) fn is_first(&self, prefix: P, metric: u32) -> bool {
        self.first.contains(&(prefix, metric))
    }

    /// Whether writing a route would meet another program's.
    pub(super) fn is_in_the_way(&self, prefix: P, route: RouteId, around: &Surroundings<'_>) -> bool {
        around.is_taken(prefix, route) && !self.is_first(prefix, around.shapes.metric(route))
    }

    pub(super) fn refuse(&mut self, prefix: P, entry: &mut Entry, refusal: Refusal) {
        entry.put(Flag::Refused, true);
        self.refused.insert(prefix, refusal);
    }

    /// What is meant is not left over any more; whether there was such.
    pub(super) fn forget_extra(&mut self, prefix: P, is_meant: impl Fn(RouteId) -> bool) -> bool {
        let Some(extra) = self.extra.get_mut(&prefix) else {
            return false;
        };
        let before = extra.len();
        extra.retain(|id| !is_meant(*id));
        let is_changed = extra.len() < before;
        if extra.is_empty() {
            self.extra.remove(&prefix);
        }
        is_changed
    }

    /// Whether one is left over for which this holds.
    pub(super) fn has_extra(&self, prefix: P, is_meant: impl Fn(RouteId) -> bool) -> bool {
        let extra = self.extra.get(&prefix);
        extra.is_some_and(|extra| extra.iter().any(|id| is_meant(*id)))
    }
}

/// Whether a route of the earlier run stays as it is until recovery is over (RFC 4724 §4.1): it forwards, and what is
/// wanted of its prefix so far is the word of those who spoke first. Own routes are known, and go before.
pub(super) fn is_kept(entry: &Entry, shapes: &Shapes) -> bool {
    let Some(actual) = entry.actual().filter(|_| entry.has(Flag::Adopted)) else {
        return false;
    };
    entry.wanted().is_none_or(|wanted| {
        let is_learned = matches!(shapes.target(wanted).action, FibAction::Via(_));
        let does_forward = matches!(shapes.route(actual).action, KernelAction::Unicast(_));
        is_learned && does_forward && desired(entry, shapes) != Some(actual)
    })
}

/// What should be in the kernel now.
pub(super) fn desired(entry: &Entry, shapes: &Shapes) -> Option<RouteId> {
    shapes.desired(entry.wanted()?, entry.actual())
}
