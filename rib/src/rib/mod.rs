//! The routes of this node: one owner, orchestration only.
//!
//! Rules live elsewhere: `import`, `best_path`, `export`, `policy`, `adj_rib_out`, `fib`. What happens here is the
//! order in which they are asked.

mod egress;
mod limits;
mod peers;
mod purge;
mod routes;
mod shared;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ipnet::{Ipv4Net, Ipv6Net};
use pipit_bgp::{Asn, ClusterId, Family, FamilyMap, PeerId, RouterId};
use tracing::{debug, info};

pub use self::limits::RibLimits;
use self::purge::Purge;
pub(crate) use self::shared::{Shared, interface_of};
use crate::attrs::AttrTable;
use crate::family_rib::FamilyRib;
use crate::fib::{Fib, FibEvent, KernelEvent};
use crate::next_hops::{NextHopSet, NextHopTable};
use crate::peer::{PeerSettings, PeerTable};
use crate::policy::{ExportRules, Glob, KernelRules};
use crate::recovery::{Recovery, Step};
use crate::source::{SourceId, SourceTable};

/// Frames of a family that a fresh session may be given at once; the peer's task asks for more as it drains.
pub const CREDIT: u8 = 2;

/// News of the FIB that are taken at once: a few milliseconds' worth.
const FIB_EVENTS: usize = 4096;

/// What holds for the node as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSettings {
    /// Our BGP Identifier.
    pub router_id: RouterId,
    /// Our AS.
    pub local_as: Asn,
    /// Set on a route reflector.
    pub cluster_id: Option<ClusterId>,
    /// Our BGP addresses, for next hops of families that a session does not run over.
    pub addresses: FamilyMap<Option<IpAddr>>,
    /// Width of ECMP sets, at least 1.
    pub max_paths: usize,
    /// Linux protocol number that our kernel routes carry.
    pub route_protocol: u8,
    /// Whether kernel routes lead through nexthop objects.
    pub nexthop_objects: bool,
}

/// How far a node has gone that is to be left alone by traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Drain {
    /// Not at all.
    #[default]
    Off,
    /// What it announces carries GRACEFUL_SHUTDOWN (RFC 8326 §4): peers prefer other ways where there are any.
    Marked,
    /// It announces nothing. Also peers that pass the community over use other ways, and nothing is left of it for a
    /// graceful restart to keep when the sessions end.
    Withdrawn,
}

/// The policy of one family.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FamilyPolicy {
    /// What leaves.
    pub export: ExportRules,
    /// What is written to the kernel.
    pub kernel: KernelRules,
    /// Interfaces whose networks do not count as connected.
    pub ignored_interfaces: Vec<Glob>,
}

/// Something that the task around the RIB has to do.
#[derive(Debug)]
pub enum Output {
    /// Give these bytes to a peer's session.
    Frame(PeerId, Bytes),
    /// End a peer's session: it sent more prefixes of a family than it may.
    PrefixLimit(PeerId, Family, u32),
    /// End a peer's session: the table is full, and the peer's share is the largest.
    OutOfResources(PeerId),
    /// End a peer's session: it does not read, and what must be remembered for it is too much.
    Stuck(PeerId),
    /// Dump the kernel's tables.
    Dump,
    /// What the node knows has been said: sessions stop saying that it restarts.
    RecoveryDone,
    /// The kernel held this many routes of ours before the start.
    Loaded(usize),
}

/// See the module.
#[derive(Debug)]
pub struct Rib {
    pub(crate) shared: Shared,
    pub(crate) peers: PeerTable,
    pub(crate) ipv4: FamilyRib<Ipv4Net>,
    pub(crate) ipv6: FamilyRib<Ipv6Net>,
    recovery: Recovery,
    limits: RibLimits,
    purge: Purge,
    has_backlog: bool,
    to_regroup: Vec<PeerId>,
    /// Policy is to be asked again for everything, with the next flush.
    is_reevaluation_due: bool,
    /// What may be announced of other programs' routes is to be computed anew.
    pub(crate) is_learning_stale: bool,
    /// The FIB may have more to tell.
    has_fib_backlog: bool,
    outputs: VecDeque<Output>,
}

impl Rib {
    /// An empty RIB in front of a kernel table.
    pub fn new(node: NodeSettings, fib: Fib) -> Self {
        let sources = SourceTable::new(node.router_id, node.local_as);
        Rib {
            shared: Shared {
                node,
                policy: FamilyMap::default(),
                drain: Drain::Off,
                attrs: AttrTable::default(),
                next_hops: NextHopTable::default(),
                sources,
                fib,
            },
            peers: PeerTable::default(),
            ipv4: FamilyRib::default(),
            ipv6: FamilyRib::default(),
            recovery: Recovery::default(),
            limits: RibLimits::default(),
            purge: Purge::default(),
            has_backlog: false,
            to_regroup: Vec::new(),
            is_reevaluation_due: false,
            is_learning_stale: true,
            has_fib_backlog: false,
            outputs: VecDeque::new(),
        }
    }

    /// The kernel's table.
    pub fn fib(&mut self) -> &mut Fib {
        &mut self.shared.fib
    }

    /// The kernel's table, to look at.
    pub fn fib_ref(&self) -> &Fib {
        &self.shared.fib
    }

    /// The next thing for the task to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Other settings of the node. Sessions that they reset are the speaker's business; routes follow here.
    pub fn set_node(&mut self, node: NodeSettings) {
        if self.shared.node == node {
            return;
        }
        for own in SourceId::OWN {
            let own = &mut self.shared.sources[own];
            (own.router_id, own.local_as) = (node.router_id, node.local_as);
        }
        self.shared.fib.set_protocol(node.route_protocol);
        self.shared.fib.set_nexthop_objects(node.nexthop_objects);
        let old = std::mem::replace(&mut self.shared.node, node);
        let node = &self.shared.node;
        // What import checks look at: see `import`.
        let is_import_changed = (old.router_id, old.cluster_id, old.addresses)
            != (node.router_id, node.cluster_id, node.addresses);
        if is_import_changed {
            self.reimport_all();
        }
        self.regroup_all();
        self.reevaluate_all();
    }

    /// What counts as a loop, or as our own next hop, is something else now.
    fn reimport_all(&mut self) {
        let peers = self.peers.iter();
        let settings: HashMap<SourceId, Arc<PeerSettings>> = peers
            .filter_map(|(_, peer)| Some((peer.source?, Arc::clone(&peer.settings))))
            .collect();
        let of = |source, _| settings.get(&source).map(|settings| &**settings);
        self.ipv4.reimport(&mut self.shared, of);
        self.ipv6.reimport(&mut self.shared, of);
    }

    /// Import filters may ask by which interface a next hop is reached.
    fn reimport_via(&mut self, next_hops: &NextHopSet) {
        let settings: HashMap<SourceId, Arc<PeerSettings>> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.settings.asks_for_interface())
            .filter_map(|(_, peer)| Some((peer.source?, Arc::clone(&peer.settings))))
            .collect();
        if settings.is_empty() {
            return;
        }
        let of = |source, next_hop| {
            let settings = settings.get(&source)?;
            next_hops.contains(next_hop).then_some(&**settings)
        };
        self.ipv4.reimport(&mut self.shared, of);
        self.ipv6.reimport(&mut self.shared, of);
    }

    /// Drains the node, or ends that. It goes on forwarding meanwhile. Also [`ExportRules::graceful_shutdown`], by
    /// configuration.
    pub fn set_drain(&mut self, drain: Drain) {
        if self.shared.drain != drain {
            self.shared.drain = drain;
            self.reevaluate_all();
        }
    }

    /// Another policy of a family: what it changes is announced, withdrawn and written, and nothing else.
    pub fn set_policy(&mut self, family: Family, policy: FamilyPolicy) {
        if self.shared.policy[family] == policy {
            return;
        }
        let old = std::mem::replace(&mut self.shared.policy[family], policy);
        self.is_learning_stale = true;
        let policy = &self.shared.policy[family];
        if (&old.export, &old.kernel) == (&policy.export, &policy.kernel) {
            return;
        }
        match family {
            Family::Ipv4Unicast => self.ipv4.reevaluate(&mut self.shared),
            Family::Ipv6Unicast => self.ipv6.reevaluate(&mut self.shared),
        }
    }

    /// Restart recovery begins: until it is over, kernel routes of the earlier run stay as they are, and who keeps ours
    /// is sent no End-of-RIB. `peers` are those that are expected; `is_doubtful`: there may be more.
    pub fn begin_recovery(
        &mut self,
        now: Instant,
        peers: impl IntoIterator<Item = PeerId>,
        is_doubtful: bool,
    ) {
        self.recovery.begin(now, peers, is_doubtful);
        self.check_recovery(now);
    }

    /// Whether the node is still learning what it lost in a restart.
    pub fn is_recovering(&self) -> bool {
        self.recovery.is_under_way()
    }

    /// The kernel says something.
    pub fn handle_kernel(&mut self, now: Instant, events: Vec<KernelEvent>) {
        self.shared.fib.handle_kernel(events);
        self.take_fib_events();
        self.check_recovery(now);
    }

    /// Takes in what the FIB has to tell, as much as is right at once: the rest comes with the next flush.
    pub(crate) fn take_fib_events(&mut self) {
        // At the very start nobody has anything else to do.
        let most = self.shared.fib.now().map_or(usize::MAX, |_| FIB_EVENTS);
        self.has_fib_backlog = true;
        // An interface takes many next hops with it; the table is walked once for all of them.
        let mut changed = NextHopSet::default();
        for _ in 0..most {
            let Some(event) = self.shared.fib.poll_event() else {
                self.has_fib_backlog = false;
                break;
            };
            match event {
                FibEvent::WantsDump => self.outputs.push_back(Output::Dump),
                FibEvent::Loaded { adopted } => {
                    info!(routes = adopted, "took over the kernel routes of an earlier run");
                    self.outputs.push_back(Output::Loaded(adopted));
                }
                // Our next hop of the family that a session does not run over may be another one.
                FibEvent::AddressesChanged => self.regroup_all(),
                FibEvent::Learned(prefix, from, route) => self.learn(prefix, from, route),
                FibEvent::NextHopChanged(address, reachability) => {
                    self.shared.fib.follow_gateway(address);
                    for id in self.shared.next_hops.set_reachability(address, &reachability) {
                        debug!(%address, ?reachability, "next hop changed");
                        changed.insert(id);
                    }
                }
            }
        }
        if !changed.is_empty() {
            self.ipv4.reselect_via(&mut self.shared, &changed);
            self.ipv6.reselect_via(&mut self.shared, &changed);
            self.reimport_via(&changed);
        }
    }

    /// Lets deadlines act.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.shared.fib.handle_timeout(now);
        for id in self.recovery.expired(now) {
            self.end_restart_time(now, id);
        }
        for (id, family) in self.recovery.expired_long_lived(now) {
            self.end_long_lived(id, family);
        }
        self.check_recovery(now);
    }

    /// Whether there is work left that waits for nothing: [`Self::flush`] is to be called again soon, after others
    /// have had their turn.
    pub fn has_backlog(&self) -> bool {
        self.has_backlog
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.recovery.next_deadline(), self.shared.fib.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn check_recovery(&mut self, now: Instant) {
        while let Some(step) = self.recovery.poll(now, self.shared.fib.has_adopted()) {
            match step {
                Step::Announce => {
                    self.ipv4.release_end_of_rib();
                    self.ipv6.release_end_of_rib();
                    self.outputs.push_back(Output::RecoveryDone);
                }
                Step::Sweep => {
                    info!("restart recovery is over");
                    self.shared.fib.allow_sweep();
                }
            }
        }
    }

    fn reevaluate_all(&mut self) {
        self.ipv4.reevaluate(&mut self.shared);
        self.ipv6.reevaluate(&mut self.shared);
    }
}
