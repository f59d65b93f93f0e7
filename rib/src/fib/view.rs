//! The kernel's routes, for people.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::fib::kernel::{KernelAction, KernelRoute};
use crate::fib::resolve::{Parked, Topology};
use crate::fib::target::{FibAction, FibTarget};

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

/// A route's state.
#[derive(Debug)]
pub(crate) enum State<'a> {
    Installed(&'a KernelRoute),
    Pending(&'a KernelRoute),
    Delayed(&'a KernelRoute),
    Stale(&'a KernelRoute),
    Removing(&'a KernelRoute),
    Parked(&'a FibTarget, &'a Parked),
    Conflict(&'a KernelRoute),
    Refused(&'a KernelRoute, i32),
}

impl FibView {
    pub(crate) fn new(prefix: IpNet, protocol: u8, state: &State<'_>, topology: &Topology) -> Self {
        let (kind, next_hops, metric) = match state {
            State::Parked(target, _) => of_target(target),
            State::Installed(route)
            | State::Pending(route)
            | State::Delayed(route)
            | State::Stale(route)
            | State::Removing(route)
            | State::Conflict(route)
            | State::Refused(route, _) => of_route(route, topology),
        };
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
        }
    }
}

fn words(prefix: IpNet, state: &State<'_>, topology: &Topology) -> (&'static str, Option<String>) {
    match state {
        State::Installed(_) => ("installed", None),
        State::Pending(_) => ("pending", None),
        State::Delayed(_) => ("pending", Some("another program keeps changing it".to_owned())),
        State::Removing(_) => ("removing", None),
        State::Stale(_) => ("stale", Some("of an earlier run; not wanted so far".to_owned())),
        State::Parked(_, parked) => ("parked", Some(parked.to_string())),
        State::Conflict(route) => {
            let other = topology.conflict(prefix, route.metric);
            let whose = other.map_or_else(String::new, |protocol| format!(" (protocol {protocol})"));
            let reason = format!("another program has this prefix and metric{whose}");
            ("conflict", Some(reason))
        }
        State::Refused(_, errno) => (
            "refused",
            Some(std::io::Error::from_raw_os_error(*errno).to_string()),
        ),
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
