//! Which next hops an event concerns, and what follows when they are reached in another way.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::fib::dump::Dump;
use crate::fib::resolve::IPIP_DEVICE;
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

    /// A link changed: of next hops it concerns those that others' routes send through it, and of tunnels all when it
    /// is their device.
    pub(super) fn stir_link(&mut self, index: u32, names: [Option<&str>; 2]) {
        self.stir.devices.push(index);
        if self.dump != Dump::Done || names.contains(&Some(IPIP_DEVICE)) {
            self.stir.all = true;
        }
        if self.stir.all {
            return;
        }
        for net in self.topology.nets_through(index) {
            self.stir_net(net);
        }
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
        self.counts.resolved += concerned.len() as u64;
        self.shapes.forgive(&concerned);
        for &id in &concerned {
            if self.shapes.resolve_again(id, &self.topology) {
                changed.push(id);
            }
        }
        if !changed.is_empty() {
            self.ipv4.touch_targets(&changed);
            self.ipv6.touch_targets(&changed);
            // Some may have nowhere to go any more.
            self.shapes.objects.moves += self.ipv4.dirty.len() + self.ipv6.dirty.len();
        }
        if all {
            self.survey_objects();
        }
        self.retry(&concerned, &devices, all);
        self.report_next_hops(all, &nets);
    }

    /// What the kernel refused, because it was ahead of our picture, may work now: what has to do with the devices that
    /// changed, and with the next hops, unless that was all of them.
    fn retry(&mut self, concerned: &[TargetId], devices: &[u32], all: bool) {
        let shapes = &self.shapes;
        let uses_device = |id: TargetId| {
            let route = shapes.resolved(id).map(|route| shapes.route(route));
            route.is_ok_and(|route| devices.iter().any(|&device| route.uses(device)))
        };
        let is_due = |wanted: Option<TargetId>| {
            wanted.is_some_and(|id| uses_device(id) || (!all && concerned.binary_search(&id).is_ok()))
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
