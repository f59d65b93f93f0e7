//! The kernel's routes, for people.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::fib::entry::Flag;
use crate::fib::errno::{self, EEXIST};
use crate::fib::family_fib::FamilyFib;
use crate::fib::kernel::{Authored, KernelAction, KernelHop, KernelRoute};
use crate::fib::plan::{desired, is_kept};
use crate::fib::resolve::{Parked, Topology};
use crate::fib::shapes::{RouteId, Shapes};
use crate::fib::target::{FibAction, FibTarget};
use crate::fib::{Fib, FibPrefix};

/// One route, for people.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FibView {
    /// Destination.
    pub prefix: IpNet,
    /// `unicast` or `blackhole`.
    pub kind: &'static str,
    /// Gateways; of a parked route the BGP next hops.
    pub next_hops: Vec<FibHopView>,
    /// Device of the first next hop.
    pub device: Option<String>,
    /// Linux metric.
    pub metric: u32,
    /// Protocol number.
    pub protocol: u8,
    /// `installed`, `shadowed`, `pending`, `removing`, `stale`, `parked`, `conflict` or `refused`.
    pub state: &'static str,
    /// Why it is not installed, or has no effect.
    pub reason: Option<String>,
    /// What the kernel has in its place, as `ip route` says it; `None`: nothing else than this.
    pub kernel: Option<String>,
    /// The nexthop object that it leads through (`nhid` in `ip route`).
    pub object: Option<u32>,
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

/// Why a route of the earlier run is still there in place of what is wanted so far.
pub(super) const KEPT: &str = "the route of an earlier run stays until restart recovery is over";

/// A route's state.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State<'a> {
    Installed(&'a Authored),
    /// Installed, and another program's route (the second) goes before it.
    Shadowed(&'a Authored, &'a Authored),
    Pending(&'a Authored),
    Delayed(&'a Authored),
    Stale(&'a Authored),
    /// The kernel's route of an earlier run stays in its place for now.
    Kept(&'a Authored),
    Removing(&'a Authored),
    Parked(&'a FibTarget, &'a Parked),
    Conflict(&'a Authored),
    Refused(&'a Authored, i32),
    /// It is there, is not to be, and the kernel does not delete it.
    Stuck(&'a Authored, i32),
}

/// A prefix's state, and the route of ours that the kernel has.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) state: State<'a>,
    pub(crate) actual: Option<&'a Authored>,
}

impl Fib {
    /// All routes, for people, in the order of prefixes, IPv4 first. Large tables: [`Self::nets`], [`Self::view`].
    pub fn query(&self) -> Vec<FibView> {
        let mut nets: Vec<IpNet> = self.nets().collect();
        nets.sort_unstable();
        nets.into_iter().filter_map(|net| self.view(net)).collect()
    }

    /// The prefixes of all routes, in no order.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.ipv4.nets().chain(self.ipv6.nets())
    }

    /// The route to a prefix, for people.
    pub fn view(&self, net: IpNet) -> Option<FibView> {
        let shown = match net {
            IpNet::V4(prefix) => self.ipv4.shown(prefix, &self.shapes),
            IpNet::V6(prefix) => self.ipv6.shown(prefix, &self.shapes),
        };
        Some(self.view_of(net, &shown?))
    }

    pub(super) fn view_of(&self, prefix: IpNet, shown: &Shown<'_>) -> FibView {
        let state = match shown.state {
            State::Installed(route) => {
                let metric = route.route.metric;
                let bar = match self.is_first(prefix, metric) {
                    true => metric.checked_sub(1),
                    false => Some(metric),
                };
                match bar.and_then(|bar| self.topology.shadow(prefix, bar)) {
                    Some(other) => State::Shadowed(route, other),
                    None => State::Installed(route),
                }
            }
            state => state,
        };
        let actual = shown.actual;
        FibView::new(prefix, self.protocols.current(), &Shown { state, actual }, self)
    }
}

impl<P: FibPrefix> FamilyFib<P> {
    fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.wanted().is_some() || entry.actual().is_some())
            .map(|(prefix, _)| prefix.into())
    }

    pub(super) fn shown<'a>(&self, prefix: P, shapes: &'a Shapes) -> Option<Shown<'a>> {
        let entry = self.entries.get(prefix)?;
        let route = |id: RouteId| shapes.authored(id);
        let wanted = |resolved| shapes.as_good(resolved, entry.actual());
        let refusal = self.exceptions.refused.get(&prefix);
        let errno = refusal.and_then(|refusal| refusal.errno());
        let leftover = self.exceptions.extra.get(&prefix).and_then(|extra| extra.first());
        let state = match (entry.wanted(), entry.actual()) {
            (None, None) => return None,
            (None, Some(actual)) if entry.has(Flag::Adopted) => State::Stale(route(actual)),
            (None, Some(actual)) => removing(route(actual), errno),
            (Some(target), actual) => match (shapes.resolved(target).map(wanted), actual) {
                (Err(_), Some(actual)) if is_kept(entry, shapes) => State::Stale(route(actual)),
                (Err(_), Some(actual)) if desired(entry, shapes).is_none() => removing(route(actual), errno),
                (Err(parked), _) => State::Parked(shapes.target(target), parked),
                (Ok(resolved), Some(actual)) if resolved == actual => match (leftover, errno) {
                    (Some(&leftover), Some(errno)) => State::Stuck(route(leftover), errno),
                    _ => State::Installed(route(actual)),
                },
                (Ok(resolved), _) if is_kept(entry, shapes) => State::Kept(route(resolved)),
                (Ok(resolved), _) if entry.has(Flag::Delayed) => State::Delayed(route(resolved)),
                (Ok(resolved), _) if refusal.is_none() => State::Pending(route(resolved)),
                (Ok(resolved), _) => match errno {
                    None | Some(EEXIST) => State::Conflict(route(resolved)),
                    Some(errno) => State::Refused(route(resolved), errno),
                },
            },
        };
        Some(Shown {
            state,
            actual: entry.actual().map(route),
        })
    }
}

fn removing(there: &Authored, errno: Option<i32>) -> State<'_> {
    match errno {
        Some(errno) => State::Stuck(there, errno),
        None => State::Removing(there),
    }
}

impl FibView {
    fn new(prefix: IpNet, protocol: u8, shown: &Shown<'_>, fib: &Fib) -> Self {
        let Shown { state, actual } = shown;
        let topology = &fib.topology;
        let mut object = None;
        let (kind, next_hops, metric, protocol) = match state {
            State::Parked(target, _) => {
                let (kind, next_hops, metric) = of_target(target);
                (kind, next_hops, metric, protocol)
            }
            State::Installed(route)
            | State::Shadowed(route, _)
            | State::Pending(route)
            | State::Delayed(route)
            | State::Stale(route)
            | State::Kept(route)
            | State::Removing(route)
            | State::Conflict(route)
            | State::Refused(route, _)
            | State::Stuck(route, _) => {
                let (kind, next_hops, metric) = of_route(&fib.shapes.filled(route).route, topology);
                object = route.route.object;
                (kind, next_hops, metric, route.protocol)
            }
        };
        let kernel = match state {
            State::Conflict(route) => topology.conflict(prefix, route.route.metric).or(*actual),
            State::Shadowed(_, other) => Some(*other),
            State::Pending(_)
            | State::Delayed(_)
            | State::Kept(_)
            | State::Refused(..)
            | State::Parked(..) => *actual,
            State::Installed(_) | State::Stale(_) | State::Removing(_) | State::Stuck(..) => None,
        };
        let kernel = kernel.map(|there| route_words(there, fib));
        let (state, reason) = words(prefix, state, topology);
        FibView {
            prefix,
            kind,
            device: next_hops.first().and_then(|hop| hop.device.clone()),
            next_hops,
            metric,
            protocol,
            state,
            reason,
            kernel,
            object,
        }
    }
}

fn words(prefix: IpNet, state: &State<'_>, topology: &Topology) -> (&'static str, Option<String>) {
    match state {
        State::Installed(_) => ("installed", None),
        State::Shadowed(route, other) => {
            let (protocol, metric) = (other.protocol, other.route.metric);
            let what = match metric == route.route.metric {
                true => "this metric too",
                false => "a better metric",
            };
            let reason = format!("another program has this prefix with {what} (protocol {protocol})");
            ("shadowed", Some(reason))
        }
        State::Pending(_) => ("pending", None),
        State::Delayed(_) => ("pending", Some("another program keeps changing it".to_owned())),
        State::Kept(_) => ("pending", Some(KEPT.to_owned())),
        State::Removing(_) => ("removing", None),
        State::Stale(_) => ("stale", Some("of an earlier run; not wanted so far".to_owned())),
        State::Parked(_, parked) => ("parked", Some(parked.to_string())),
        State::Conflict(route) => {
            let other = topology.conflict(prefix, route.route.metric);
            let whose = other.map_or_else(String::new, |other| format!(" (protocol {})", other.protocol));
            let reason = format!("another program has this prefix and metric{whose}");
            ("conflict", Some(reason))
        }
        State::Refused(_, errno) => ("refused", Some(errno::words(*errno))),
        State::Stuck(_, errno) => {
            let error = std::io::Error::from_raw_os_error(*errno);
            let reason =
                format!("nobody wants it, and the kernel does not delete it: {error}; tried again later");
            ("refused", Some(reason))
        }
    }
}

fn of_target(target: &FibTarget) -> (&'static str, Vec<FibHopView>, u32) {
    match &target.action {
        FibAction::Blackhole => ("blackhole", Vec::new(), target.metric),
        FibAction::Via(hops) => {
            let hops = hops.iter().map(|hop| FibHopView {
                gateway: Some(hop.next_hop),
                device: None,
                weight: hop.weight,
                onlink: false,
            });
            ("unicast", hops.collect(), target.metric)
        }
    }
}

fn of_route(route: &KernelRoute, topology: &Topology) -> (&'static str, Vec<FibHopView>, u32) {
    match &route.action {
        KernelAction::Blackhole => ("blackhole", Vec::new(), route.metric),
        KernelAction::Other(_) => ("other", Vec::new(), route.metric),
        KernelAction::Unicast(hops) => {
            let hops = hops.iter().map(|hop| FibHopView {
                gateway: hop.gateway,
                device: topology.link_name(hop.device).map(str::to_owned),
                weight: hop.weight,
                onlink: hop.is_onlink,
            });
            ("unicast", hops.collect(), route.metric)
        }
    }
}

/// As `ip route` says it, without the prefix.
pub(super) fn route_words(authored: &Authored, fib: &Fib) -> String {
    let (Authored { protocol, route }, topology) = (&fib.shapes.filled(authored), &fib.topology);
    let mut words = match &route.action {
        KernelAction::Blackhole => vec!["blackhole".to_owned()],
        KernelAction::Other(kind) => vec![format!("type {kind}")],
        KernelAction::Unicast(hops) => {
            let hop = |hop: &KernelHop| {
                let mut words = Vec::new();
                words.extend(hop.gateway.map(|gateway| format!("via {gateway}")));
                words.push(match topology.link_name(hop.device) {
                    Some(name) => format!("dev {name}"),
                    None => format!("dev #{}", hop.device),
                });
                words.extend((hops.len() > 1).then(|| format!("weight {}", hop.weight)));
                words.extend(hop.is_onlink.then(|| "onlink".to_owned()));
                words.join(" ")
            };
            let separator = if hops.len() > 1 { "nexthop " } else { "" };
            hops.iter()
                .map(|each| format!("{separator}{}", hop(each)))
                .collect()
        }
    };
    words.extend(route.object.map(|id| format!("nhid {id}")));
    words.extend(route.source.map(|source| format!("src {source}")));
    words.extend((*protocol != 12).then(|| format!("proto {protocol}")));
    words.extend((route.metric != 0).then(|| format!("metric {}", route.metric)));
    words.extend(
        route
            .has_more
            .then(|| "(and attributes that pipit does not write)".to_owned()),
    );
    words.join(" ")
}
