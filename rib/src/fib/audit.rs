//! The kernel's table read afresh and compared with what it should hold: what `pipit fib diff` shows.
//!
//! Nothing is changed by it, and nothing that the FIB knows from events is believed: an audit finds what those did not
//! tell.

use std::collections::{BTreeMap, HashSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;

use crate::fib::family_fib::FamilyFib;
use crate::fib::kernel::{Authored, KernelEvent, Table};
use crate::fib::plan::{desired, is_kept};
use crate::fib::shapes::Shapes;
use crate::fib::view::{FibView, KEPT, route_words};
use crate::fib::{Fib, FibPrefix};

/// Where desired and kernel differ.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FibDifference {
    /// Destination.
    pub prefix: IpNet,
    /// `missing`, `different`, `unexpected`, or a state of [`FibView::state`] in which a route waits.
    pub problem: &'static str,
    /// What should be there, as `ip route` would say it.
    pub desired: Option<String>,
    /// What is there.
    pub kernel: Option<String>,
    /// Why it is not as it should be, where that is known.
    pub reason: Option<String>,
    /// What helps: `create`, `replace`, `delete`; `wait` where the daemon waits for something.
    pub action: &'static str,
}

/// A comparison under way.
#[derive(Debug, Default)]
pub struct Audit {
    ipv4: HashSet<Ipv4Net, foldhash::fast::RandomState>,
    ipv6: HashSet<Ipv6Net, foldhash::fast::RandomState>,
    found: BTreeMap<(IpNet, u32), FibDifference>,
    /// Other programs' routes where ours should be, in words.
    in_the_way: BTreeMap<(IpNet, u32), String>,
}

impl Audit {
    /// Takes in what the kernel shows.
    pub fn observe(&mut self, fib: &Fib, events: impl IntoIterator<Item = KernelEvent>) {
        for event in events {
            let KernelEvent::Route {
                table: Table::Ours,
                prefix,
                protocol,
                route,
                ..
            } = event
            else {
                continue;
            };
            let found = Authored { protocol, route };
            if !fib.protocols.are_ours(protocol) {
                let key = (prefix, found.route.metric);
                if fib.wants_metric(prefix, found.route.metric) {
                    let words = || route_words(&found, fib);
                    self.in_the_way.entry(key).or_insert_with(words);
                }
                continue;
            }
            match prefix {
                IpNet::V4(net) => {
                    if fib.ipv4.judge_found(net, &found, fib, &mut self.found) {
                        self.ipv4.insert(net);
                    }
                }
                IpNet::V6(net) => {
                    if fib.ipv6.judge_found(net, &found, fib, &mut self.found) {
                        self.ipv6.insert(net);
                    }
                }
            }
        }
    }

    /// The kernel has shown everything. Sorted by prefix.
    pub fn finish(mut self, fib: &Fib) -> Vec<FibDifference> {
        let others = &self.in_the_way;
        fib.ipv4.judge_missing(&self.ipv4, others, fib, &mut self.found);
        fib.ipv6.judge_missing(&self.ipv6, others, fib, &mut self.found);
        self.found.into_values().collect()
    }
}

type Found = BTreeMap<(IpNet, u32), FibDifference>;

impl<P: FibPrefix> FamilyFib<P> {
    fn wants_metric(&self, prefix: P, metric: u32, shapes: &Shapes) -> bool {
        let wanted = self.entries.get(prefix).and_then(|entry| desired(entry, shapes));
        wanted.is_some_and(|wanted| shapes.metric(wanted) == metric)
    }

    /// Whether this is what should be there, or what stands in its place.
    fn judge_found(&self, prefix: P, found: &Authored, fib: &Fib, differences: &mut Found) -> bool {
        let entry = self.entries.get(prefix);
        let wanted = entry
            .and_then(|entry| desired(entry, &fib.shapes))
            .map(|id| fib.shapes.authored(id));
        if wanted.is_some_and(|wanted| fib.shapes.shows(found, wanted)) {
            if let Some(parked) = entry.and_then(|entry| fib.shapes.parked(entry.wanted()?)) {
                let difference = FibDifference {
                    prefix: prefix.into(),
                    problem: "parked",
                    desired: None,
                    kernel: Some(route_words(found, fib)),
                    reason: Some(parked.to_string()),
                    action: "wait",
                };
                differences.insert((prefix.into(), found.route.metric), difference);
            }
            return true;
        }
        let in_place = wanted.filter(|wanted| wanted.route.metric == found.route.metric);
        let is_stale = entry.is_some_and(|entry| is_kept(entry, &fib.shapes));
        let (problem, action, reason) = match (in_place, is_stale) {
            (Some(_), true) => ("stale", "wait", Some(KEPT)),
            (Some(_), false) => ("different", "replace", None),
            (None, true) => ("stale", "wait", Some("of an earlier run; not wanted so far")),
            (None, false) => ("unexpected", "delete", None),
        };
        let difference = FibDifference {
            prefix: prefix.into(),
            problem,
            desired: in_place.map(|wanted| route_words(wanted, fib)),
            kernel: Some(route_words(found, fib)),
            reason: reason.map(str::to_owned),
            action,
        };
        differences.insert((prefix.into(), found.route.metric), difference);
        in_place.is_some()
    }

    fn judge_missing(
        &self,
        seen: &HashSet<P, foldhash::fast::RandomState>,
        others: &BTreeMap<(IpNet, u32), String>,
        fib: &Fib,
        differences: &mut Found,
    ) {
        for (prefix, entry) in self.entries.iter() {
            if entry.wanted().is_none() || seen.contains(&prefix) {
                continue;
            }
            let Some(shown) = self.shown(prefix, &fib.shapes) else {
                continue;
            };
            let view = fib.view_of(prefix.into(), &shown);
            let (problem, action) = match view.state {
                "installed" | "shadowed" => ("missing", "create"),
                "pending" if view.reason.is_none() => ("missing", "create"),
                waiting => (waiting, "wait"),
            };
            let wanted = desired(entry, &fib.shapes).map(|id| fib.shapes.authored(id));
            let difference = FibDifference {
                prefix: prefix.into(),
                problem,
                desired: wanted.map(|wanted| route_words(wanted, fib)),
                kernel: others.get(&(prefix.into(), view.metric)).cloned(),
                reason: view.reason,
                action,
            };
            differences.insert((prefix.into(), view.metric), difference);
        }
    }
}

impl Fib {
    /// Starts a comparison; [`Audit::observe`] is given a fresh dump of our table.
    pub fn audit(&self) -> Audit {
        Audit::default()
    }

    fn wants_metric(&self, prefix: IpNet, metric: u32) -> bool {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.wants_metric(prefix, metric, &self.shapes),
            IpNet::V6(prefix) => self.ipv6.wants_metric(prefix, metric, &self.shapes),
        }
    }

    /// Has everything looked at and put right now: a dump, and another try for what waits for its time.
    pub fn repair(&mut self) {
        self.ipv4.retry(|_| true);
        self.ipv6.retry(|_| true);
        for prefix in self.fights.give_up_waiting() {
            self.touch(prefix);
        }
        self.wants_dump();
    }

    /// Routes that others are in the way of, or that the kernel refuses; at most so many, in order.
    pub fn troubles(&self, limit: usize) -> Vec<FibView> {
        let mut views = Vec::new();
        self.ipv4.troubles(self, &mut views);
        self.ipv6.troubles(self, &mut views);
        views.truncate(limit);
        views
    }
}

impl<P: FibPrefix> FamilyFib<P> {
    fn troubles(&self, fib: &Fib, views: &mut Vec<FibView>) {
        let mut prefixes: Vec<P> = self.exceptions.refused.keys().copied().collect();
        prefixes.sort_unstable();
        views.extend(prefixes.into_iter().filter_map(|prefix| {
            let view = fib.view_of(prefix.into(), &self.shown(prefix, &fib.shapes)?);
            matches!(view.state, "conflict" | "refused").then_some(view)
        }));
    }
}
