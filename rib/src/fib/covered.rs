//! IPv6 gateways that a route of ours covers.
//!
//! The kernel looks a gateway up among all routes when a route through it is written. Where it finds a route through
//! another router on the same link, such as the host route that a ToR announces of its neighbour, it refuses with
//! EHOSTUNREACH, although the gateway is on the link: a route that is declared so (`onlink`) is not looked up in this
//! way. It is declared for no other gateways, so that routes look as BIRD writes them; what was written before stays as
//! it is ([`Shapes::as_good`]). A covering route by another link makes the kernel refuse the declaration instead
//! (EINVAL): then it is taken back.
//!
//! [`Shapes::as_good`]: crate::fib::shapes::Shapes::as_good

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::fib::Fib;
use crate::fib::errno::{EHOSTUNREACH, EINVAL};
use crate::fib::kernel::{KernelAction, KernelHop};
use crate::fib::objects::Ways;
use crate::fib::resolve::Topology;
use crate::fib::shapes::{RouteId, TargetId};

/// Each with its device; whether it is declared. If not, it was in vain, and is not tried again before its time.
#[derive(Debug, Default)]
pub(crate) struct Covered(BTreeMap<(IpAddr, u32), bool>);

impl Covered {
    pub(crate) fn is_declared(&self, gateway: IpAddr, device: u32) -> bool {
        self.0.get(&(gateway, device)) == Some(&true)
    }

    /// Forgets those whose device is not one of these.
    pub(crate) fn retain(&mut self, is_meant: impl Fn(u32) -> bool) {
        self.0.retain(|(_, device), _| is_meant(*device));
    }

    /// What was in vain may be tried again.
    pub(crate) fn forgive(&mut self) {
        self.0.retain(|_, is_declared| *is_declared);
    }
}

impl Topology {
    /// The kernel refused a way. Whether it is to be declared from now on, or no longer.
    pub(super) fn reconsider(&mut self, way: &KernelHop, errno: i32) -> bool {
        let Some(gateway @ IpAddr::V6(_)) = way.gateway else {
            return false;
        };
        let key = (gateway, way.device);
        match (errno, self.covered().0.get(&key).copied()) {
            (EHOSTUNREACH, None) if self.is_connected(gateway, way.device) => {
                self.covered().0.insert(key, true);
                true
            }
            (EINVAL, Some(true)) if way.is_onlink => {
                self.covered().0.insert(key, false);
                true
            }
            _ => false,
        }
    }
}

impl Fib {
    /// The kernel refused a route: perhaps for what is declared of its gateways, or is not.
    pub(super) fn reconsider_gateways(&mut self, route: RouteId, errno: i32) {
        if !matches!(errno, EHOSTUNREACH | EINVAL) {
            return;
        }
        let ways = match &self.shapes.route(route).action {
            KernelAction::Unicast(ways) => ways.clone(),
            KernelAction::Blackhole | KernelAction::Other(_) => Ways::new(),
        };
        let mut is_changed = false;
        for way in &ways {
            is_changed |= self.topology.reconsider(way, errno);
        }
        if !is_changed {
            return;
        }
        // Their routes that are there already are as good as others.
        let mut changed: Vec<TargetId> = self.shapes.all_targets().collect();
        changed.retain(|&id| self.shapes.resolve_again(id, &self.topology));
        let is_due = |wanted: Option<TargetId>| wanted.is_some_and(|id| changed.binary_search(&id).is_ok());
        self.ipv4.retry(is_due);
        self.ipv6.retry(is_due);
    }
}
