//! Which next hops an event concerns, and what follows when they are reached in another way.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::fib::dump::Dump;
use crate::fib::shapes::TargetId;
use crate::fib::{Fib, FibEvent};

/// Changes of single routes in one call beyond which all next hops are resolved anew.
const MANY_NETS: usize = 64;

/// What must be resolved anew.
#[derive(Debug, Default)]
pub(super) struct Stir {
    /// Everything.
    pub(super) all: bool,
    /// Next hops within these.
    nets: Vec<IpNet>,
    /// Refused routes through these devices are worth another try.
    devices: Vec<u32>,
}

impl Fib {
    pub(super) fn stir_net(&mut self, net: IpNet) {
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

    pub(super) fn stir_link(&mut self, index: u32) {
        self.stir.all = true;
        self.stir.devices.push(index);
    }

    /// Resolves what the events since the last time concern.
    pub(super) fn resolve_again(&mut self) {
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
