//! One family's half of the FIB: wanted and actual, prefix by prefix.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::fib::kernel::{FibOp, FibOpKind, KernelRoute};
use crate::fib::resolve::{Parked, Topology};
use crate::fib::{FibPrefix, RouteId, Shapes, TargetId};

/// EEXIST: a foreign route is in the way.
const EEXIST: i32 = 17;
/// ESRCH: what was to be deleted is gone already.
const ESRCH: i32 = 3;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    wanted: Option<TargetId>,
    actual: Option<RouteId>,
    flags: Flags,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    is_dirty: bool,
    is_in_flight: bool,
    /// Found in the kernel, never wanted by this process.
    is_adopted: bool,
    /// Not seen (yet) in the dump under way.
    is_unseen: bool,
    /// The errno of the last refusal, until something changes; zero: none.
    refused: u8,
}

/// A route's state, for people.
#[derive(Debug)]
pub(crate) enum State<'a> {
    Installed(&'a KernelRoute),
    Pending(&'a KernelRoute),
    Stale(&'a KernelRoute),
    Removing(&'a KernelRoute),
    Parked(&'a Parked),
    Conflict(&'a KernelRoute),
    Refused(&'a KernelRoute, i32),
}

/// See the module.
#[derive(Debug)]
pub struct FamilyFib<P> {
    entries: HashMap<P, Entry, foldhash::fast::RandomState>,
    dirty: Vec<P>,
    /// Second and further kernel routes of ours for one prefix, with other metrics: left over, to be deleted.
    extra: Vec<(P, RouteId)>,
}

impl<P> Default for FamilyFib<P> {
    fn default() -> Self {
        FamilyFib {
            entries: HashMap::default(),
            dirty: Vec::new(),
            extra: Vec::new(),
        }
    }
}

impl<P: FibPrefix> FamilyFib<P> {
    pub(crate) fn set(&mut self, prefix: P, wanted: Option<TargetId>) {
        let entry = self.entries.entry(prefix).or_default();
        if entry.wanted == wanted && wanted.is_some() {
            return;
        }
        entry.wanted = wanted;
        entry.flags.is_adopted = false;
        entry.flags.refused = 0;
        mark(&mut self.dirty, prefix, &mut entry.flags);
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.extra.is_empty()
    }

    pub(crate) fn actual_count(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.actual.is_some())
            .count()
    }

    /// Everything unwanted is to go.
    pub(crate) fn sweep(&mut self) {
        for (&prefix, entry) in &mut self.entries {
            if entry.wanted.is_none() {
                entry.flags.is_adopted = false;
                mark(&mut self.dirty, prefix, &mut entry.flags);
            }
        }
    }

    pub(crate) fn touch(&mut self, prefix: P) {
        if let Some(entry) = self.entries.get_mut(&prefix) {
            entry.flags.refused = 0;
            mark(&mut self.dirty, prefix, &mut entry.flags);
        }
    }

    pub(crate) fn touch_targets(&mut self, targets: &[TargetId]) {
        for (&prefix, entry) in &mut self.entries {
            if entry
                .wanted
                .is_some_and(|wanted| targets.binary_search(&wanted).is_ok())
            {
                entry.flags.refused = 0;
                mark(&mut self.dirty, prefix, &mut entry.flags);
            }
        }
    }

    pub(crate) fn begin_dump(&mut self) {
        self.entries
            .values_mut()
            .for_each(|entry| entry.flags.is_unseen = true);
        self.extra.clear();
    }

    /// What the dump did not show is not there; how many of those were wanted.
    pub(crate) fn end_dump(&mut self) -> usize {
        let mut lost = 0;
        for (&prefix, entry) in &mut self.entries {
            if std::mem::take(&mut entry.flags.is_unseen) && !entry.flags.is_in_flight {
                if entry.actual.take().is_some() && entry.wanted.is_some() {
                    lost += 1;
                }
                entry.flags.refused = 0;
                mark(&mut self.dirty, prefix, &mut entry.flags);
            }
        }
        lost
    }

    /// The kernel has this route of ours.
    pub(crate) fn found(&mut self, prefix: P, route: RouteId, shapes: &Shapes) {
        let entry = self.entries.entry(prefix).or_insert_with(|| Entry {
            flags: Flags {
                is_adopted: true,
                ..Flags::default()
            },
            ..Entry::default()
        });
        let is_other_metric = entry
            .actual
            .is_some_and(|actual| shapes.route(actual).metric != shapes.route(route).metric);
        if !entry.flags.is_unseen && is_other_metric {
            self.extra.push((prefix, route));
            return;
        }
        entry.flags.is_unseen = false;
        if entry.actual != Some(route) && !entry.flags.is_in_flight {
            entry.actual = Some(route);
            entry.flags.refused = 0;
            mark(&mut self.dirty, prefix, &mut entry.flags);
        }
    }

    /// Somebody else removed this route of ours; whether we want it.
    pub(crate) fn lost(&mut self, prefix: P, route: RouteId, shapes: &Shapes) -> bool {
        let metric = shapes.route(route).metric;
        self.extra
            .retain(|&(other, id)| other != prefix || shapes.route(id).metric != metric);
        let Some(entry) = self.entries.get_mut(&prefix) else {
            return false;
        };
        let is_this = entry
            .actual
            .is_some_and(|actual| shapes.route(actual).metric == metric);
        if !is_this || entry.flags.is_in_flight {
            return false;
        }
        entry.actual = None;
        mark(&mut self.dirty, prefix, &mut entry.flags);
        entry.wanted.is_some()
    }

    /// Makes operations of up to `max` dirty prefixes.
    pub(crate) fn collect(
        &mut self,
        max: usize,
        may_sweep: bool,
        shapes: &mut Shapes,
        topology: &Topology,
        ops: &mut Vec<FibOp>,
    ) {
        if may_sweep {
            let room = max.min(self.extra.len());
            for (prefix, route) in self.extra.drain(..room) {
                ops.push(FibOp {
                    prefix: prefix.into(),
                    kind: FibOpKind::Delete,
                    route: shapes.route(route).clone(),
                });
            }
        }
        while ops.len() < max
            && let Some(prefix) = self.dirty.pop()
        {
            let Some(entry) = self.entries.get_mut(&prefix) else {
                continue;
            };
            entry.flags.is_dirty = false;
            if entry.flags.is_in_flight || entry.flags.is_adopted {
                continue;
            }
            let wanted = entry.wanted.and_then(|wanted| shapes.resolved(wanted).ok());
            let (Entry { actual, .. }, net) = (*entry, prefix.into());
            let op = |kind, route: RouteId| FibOp {
                prefix: net,
                kind,
                route: shapes.route(route).clone(),
            };
            let metric_of = |route: RouteId| shapes.route(route).metric;
            match (wanted, actual) {
                (Some(wanted), Some(actual)) if wanted == actual => {}
                (Some(wanted), Some(actual)) if metric_of(wanted) == metric_of(actual) => {
                    entry.flags.is_in_flight = true;
                    ops.push(op(FibOpKind::Replace, wanted));
                }
                (Some(wanted), actual) => {
                    if topology.conflict(net, metric_of(wanted)).is_some() {
                        entry.flags.refused = EEXIST as u8;
                        continue;
                    }
                    entry.flags.is_in_flight = true;
                    ops.push(op(FibOpKind::Create, wanted));
                    // Another metric is another route to the kernel: the new one is there before the old one goes.
                    ops.extend(actual.map(|actual| op(FibOpKind::Delete, actual)));
                }
                (None, Some(actual)) => {
                    entry.flags.is_in_flight = true;
                    ops.push(op(FibOpKind::Delete, actual));
                }
                (None, None) if entry.wanted.is_none() => {
                    self.entries.remove(&prefix);
                }
                (None, None) => {}
            }
        }
    }

    pub(crate) fn handle_result(
        &mut self,
        prefix: P,
        kind: FibOpKind,
        route: RouteId,
        errno: Option<i32>,
        shapes: &Shapes,
    ) {
        let Some(entry) = self.entries.get_mut(&prefix) else {
            return;
        };
        entry.flags.is_in_flight = false;
        let metric = shapes.route(route).metric;
        let is_current = entry
            .actual
            .is_some_and(|actual| shapes.route(actual).metric == metric);
        match (kind, errno) {
            (FibOpKind::Create | FibOpKind::Replace, None) => {
                entry.actual = Some(route);
                entry.flags.refused = 0;
            }
            (FibOpKind::Create | FibOpKind::Replace, Some(errno)) => {
                entry.flags.refused = errno.clamp(1, 255) as u8
            }
            (FibOpKind::Delete, None | Some(ESRCH)) if is_current => entry.actual = None,
            (FibOpKind::Delete, _) => {}
        }
        if errno.is_none() {
            // Something newer may have been wanted meanwhile.
            mark(&mut self.dirty, prefix, &mut entry.flags);
        }
    }

    /// All prefixes that are wanted or there, in no order.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        let has_state = |entry: &Entry| entry.wanted.is_some() || entry.actual.is_some();
        self.entries
            .iter()
            .filter(move |(_, entry)| has_state(entry))
            .map(|(&prefix, _)| prefix.into())
    }

    /// How a prefix is; `None` when it is neither wanted nor there.
    pub(crate) fn state<'a>(&self, prefix: P, shapes: &'a Shapes) -> Option<State<'a>> {
        let entry = self.entries.get(&prefix)?;
        let route = |id: RouteId| shapes.route(id);
        Some(match (entry.wanted, entry.actual) {
            (None, None) => return None,
            (None, Some(actual)) if entry.flags.is_adopted => State::Stale(route(actual)),
            (None, Some(actual)) => State::Removing(route(actual)),
            (Some(wanted), actual) => match (shapes.resolved(wanted), actual) {
                (Err(_), Some(actual)) => State::Removing(route(actual)),
                (Err(parked), None) => State::Parked(parked),
                (Ok(resolved), Some(actual)) if resolved == actual => State::Installed(route(actual)),
                (Ok(resolved), _) => match i32::from(entry.flags.refused) {
                    0 => State::Pending(route(resolved)),
                    EEXIST => State::Conflict(route(resolved)),
                    errno => State::Refused(route(resolved), errno),
                },
            },
        })
    }
}

fn mark<P>(dirty: &mut Vec<P>, prefix: P, flags: &mut Flags) {
    if !flags.is_dirty {
        flags.is_dirty = true;
        dirty.push(prefix);
    }
}
