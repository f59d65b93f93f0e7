//! The routes of other programs that this node may announce: Felix's pods, static routes, connected networks.
//!
//! ```text
//! kernel routes ──┐                          ┌── what the RIB was told
//! addresses ──────┴─► should be announced ── differ? ─► FibEvent::Learned
//! links, rules ───┘
//! ```
//!
//! **Invariant:** only what some rule of export may accept is told, however many routes others have. Policy itself
//! decides in the RIB.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pipit_bgp::{Family, FamilyMap, Prefix};

use crate::fib::connected;
use crate::fib::foreign::ForeignTable;
use crate::fib::kernel::{Authored, KernelAction};
use crate::fib::resolve::Topology;
use crate::fib::slab::Slab;
use crate::policy::{Glob, NetSet};

/// RTPROT_REDIRECT and RTPROT_KERNEL: what the kernel adds by itself.
const KERNELS_OWN: [u8; 2] = [1, 2];
/// RTN_UNREACHABLE and RTN_PROHIBIT.
const REFUSING: [u8; 2] = [7, 8];

/// Which routes of other programs are worth telling the RIB of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LearnRules {
    /// Interfaces whose networks do not count as connected.
    pub ignored_interfaces: Vec<Glob>,
    /// Destinations that some rule of export may accept.
    pub scope: LearnScope,
}

/// See [`LearnRules::scope`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LearnScope {
    /// A filter may accept anything.
    Everything,
    /// These and what is inside them.
    Inside(NetSet),
}

impl Default for LearnScope {
    fn default() -> Self {
        LearnScope::Inside(NetSet::default())
    }
}

impl LearnScope {
    fn covers(&self, prefix: IpNet) -> bool {
        match self {
            LearnScope::Everything => true,
            LearnScope::Inside(nets) => nets.covers(prefix),
        }
    }
}

/// Where a route of this node comes from (behaviour contract §1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LearnedFrom {
    /// An address of an interface that is up.
    Connected,
    /// Another program's route in the main table.
    Kernel,
}

/// A route of this node that the RIB may announce.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LearnedRoute {
    /// Linux metric; `None` for a connected network.
    pub metric: Option<u32>,
    /// The interface by which it leaves; `None` for blackholes and the like.
    pub interface: Option<Arc<str>>,
    /// It leads to another router: where that is another node, the route is that node's to announce.
    pub is_via_gateway: bool,
}

/// A change of what may be announced.
pub(crate) type Change = (IpNet, LearnedFrom, Option<LearnedRoute>);

/// What the RIB was told, and what may have changed since.
#[derive(Debug, Default)]
pub(crate) struct Learner {
    rules: FamilyMap<LearnRules>,
    ipv4: Told<Ipv4Net>,
    ipv6: Told<Ipv6Net>,
    ways: Slab<LearnedRoute>,
    connected: BTreeMap<IpNet, Arc<str>>,
    is_connected_stale: bool,
    changes: VecDeque<Change>,
}

/// One family's kernel routes.
#[derive(Debug)]
struct Told<P> {
    ways: HashMap<P, u32, foldhash::fast::RandomState>,
    dirty: VecDeque<P>,
}

/// What one family's routes are judged by.
struct Sight<'a, P> {
    routes: &'a ForeignTable<P>,
    scope: &'a LearnScope,
    topology: &'a Topology,
    /// Protocol numbers that are ours.
    ours: &'a [u8],
}

impl<P> Default for Told<P> {
    fn default() -> Self {
        Told {
            ways: HashMap::default(),
            dirty: VecDeque::new(),
        }
    }
}

impl Learner {
    /// Other rules for a family; `topology` is looked through only if they differ.
    pub(crate) fn set_rules(&mut self, family: Family, rules: LearnRules, topology: &Topology) {
        if self.rules[family] == rules {
            return;
        }
        let is_scope_same = self.rules[family].scope == rules.scope;
        self.rules[family] = rules;
        self.is_connected_stale = true;
        if is_scope_same {
            return;
        }
        let scope = &self.rules[family].scope;
        match family {
            Family::Ipv4Unicast => self.ipv4.mark_all(&topology.routes().ipv4, scope),
            Family::Ipv6Unicast => self.ipv6.mark_all(&topology.routes().ipv6, scope),
        }
    }

    /// A route of another program came, changed or went.
    pub(crate) fn touch(&mut self, prefix: IpNet) {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.dirty.push_back(prefix),
            IpNet::V6(prefix) => self.ipv6.dirty.push_back(prefix),
        }
    }

    /// Addresses came or went.
    pub(crate) fn touch_connected(&mut self) {
        self.is_connected_stale = true;
    }

    /// A link changed. `old_name`: where it had another one.
    pub(crate) fn touch_link(&mut self, old_name: Option<&str>) {
        self.is_connected_stale = true;
        let Some(old_name) = old_name else { return };
        let ways = &self.ways;
        let is_through = |id: u32| ways.get(id).interface.as_deref() == Some(old_name);
        self.ipv4.mark_where(is_through);
        self.ipv6.mark_where(is_through);
    }

    /// A whole new picture.
    pub(crate) fn touch_all(&mut self, topology: &Topology) {
        self.is_connected_stale = true;
        self.ipv4
            .mark_all(&topology.routes().ipv4, &self.rules.ipv4.scope);
        self.ipv6
            .mark_all(&topology.routes().ipv6, &self.rules.ipv6.scope);
    }

    /// The next thing to tell the RIB. `ours`: protocol numbers whose routes are never learned, in whatever table.
    pub(crate) fn poll(&mut self, topology: &Topology, ours: &[u8]) -> Option<Change> {
        if std::mem::take(&mut self.is_connected_stale) {
            self.compare_connected(topology);
        }
        let Learner {
            rules,
            ipv4,
            ipv6,
            ways,
            ..
        } = self;
        while self.changes.is_empty() {
            let change = if let Some(prefix) = ipv4.dirty.pop_front() {
                let sight = Sight {
                    routes: &topology.routes().ipv4,
                    scope: &rules.ipv4.scope,
                    topology,
                    ours,
                };
                ipv4.compare(prefix, &sight, ways)
            } else if let Some(prefix) = ipv6.dirty.pop_front() {
                let sight = Sight {
                    routes: &topology.routes().ipv6,
                    scope: &rules.ipv6.scope,
                    topology,
                    ours,
                };
                ipv6.compare(prefix, &sight, ways)
            } else {
                return None;
            };
            self.changes.extend(change);
        }
        self.changes.pop_front()
    }

    fn compare_connected(&mut self, topology: &Topology) {
        let rules = &self.rules;
        let is_used = |device, net: IpNet| {
            let ignored = &rules[Family::of(net.addr())].ignored_interfaces;
            topology
                .name_if_up(device)
                .is_some_and(|name| name != "lo" && !ignored.iter().any(|glob| glob.matches(name)))
        };
        let now: BTreeMap<IpNet, Arc<str>> = topology
            .addresses()
            .networks(is_used)
            .into_iter()
            .filter_map(|(net, device)| Some((net, Arc::from(topology.link_name(device)?))))
            .collect();
        let route = |interface: &Arc<str>| LearnedRoute {
            metric: None,
            interface: Some(Arc::clone(interface)),
            is_via_gateway: false,
        };
        for &net in self.connected.keys().filter(|net| !now.contains_key(net)) {
            self.changes.push_back((net, LearnedFrom::Connected, None));
        }
        for (&net, interface) in &now {
            if self.connected.get(&net) != Some(interface) {
                let change = (net, LearnedFrom::Connected, Some(route(interface)));
                self.changes.push_back(change);
            }
        }
        self.connected = now;
    }
}

impl<P: Prefix> Told<P> {
    fn mark_where(&mut self, is_meant: impl Fn(u32) -> bool) {
        let meant = self.ways.iter().filter(|(_, id)| is_meant(**id));
        self.dirty.extend(meant.map(|(&prefix, _)| prefix));
    }

    /// What was told, and what there is to tell.
    fn mark_all(&mut self, routes: &ForeignTable<P>, scope: &LearnScope) {
        let told = self.ways.keys().copied();
        let untold = routes
            .prefixes()
            .filter(|&prefix| !self.ways.contains_key(&prefix) && scope.covers(prefix.into()));
        self.dirty.clear();
        self.dirty.extend(told.chain(untold));
    }

    fn compare(&mut self, prefix: P, sight: &Sight<'_, P>, ways: &mut Slab<LearnedRoute>) -> Option<Change> {
        let net: IpNet = prefix.into();
        let is_meant = connected::is_announceable(net) && sight.scope.covers(net);
        let new = if is_meant {
            representative(sight.routes.routes(prefix), sight.ours)
                .map(|foreign| learned(foreign, sight.topology))
        } else {
            None
        };
        let old = self.ways.get(&prefix).copied();
        if old.map(|id| ways.get(id)) == new.as_ref() {
            return None;
        }
        if let Some(old) = old {
            ways.release(old);
        }
        match &new {
            Some(route) => drop(self.ways.insert(prefix, ways.retain(route.clone()))),
            None => drop(self.ways.remove(&prefix)),
        }
        if self.dirty.is_empty() {
            // The backlog of a first picture is not needed again.
            self.dirty.shrink_to(1024);
        }
        Some((net, LearnedFrom::Kernel, new))
    }
}

/// C176, C178: of what other programs than the kernel wrote, the route with the lowest metric.
fn representative<'a>(routes: impl Iterator<Item = &'a Authored>, ours: &[u8]) -> Option<&'a Authored> {
    let is_meant = |foreign: &&Authored| {
        let is_kind_known = match foreign.route.action {
            KernelAction::Blackhole | KernelAction::Unicast(_) => true,
            KernelAction::Other(kind) => REFUSING.contains(&kind),
        };
        is_kind_known && !KERNELS_OWN.contains(&foreign.protocol) && !ours.contains(&foreign.protocol)
    };
    routes.filter(is_meant).min_by_key(|foreign| foreign.route.metric)
}

fn learned(foreign: &Authored, topology: &Topology) -> LearnedRoute {
    let hops = match &foreign.route.action {
        KernelAction::Unicast(hops) => hops.as_slice(),
        KernelAction::Blackhole | KernelAction::Other(_) => &[],
    };
    let interface = hops.first().and_then(|hop| topology.link_name(hop.device));
    LearnedRoute {
        metric: Some(foreign.route.metric),
        interface: interface.map(Arc::from),
        // No device: through a nexthop object of which nothing is known, so mostly a gateway.
        is_via_gateway: hops.iter().any(|hop| hop.gateway.is_some() || hop.device == 0),
    }
}
