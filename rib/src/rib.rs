//! The routes of this node: one owner, orchestration only.
//!
//! Rules live elsewhere: `import`, `best_path`, `export`, `policy`, `adj_rib_out`, `fib`. What happens here is the
//! order in which they are asked.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pipit_bgp::session::output::{Negotiated, SessionEnd};
use pipit_bgp::wire::attr::{AttrFacts, originated};
use pipit_bgp::wire::update::{BatchItem, Nlri, UpdateBatch};
use pipit_bgp::{Asn, ClusterId, Family, FamilyMap, FamilySet, NextHop, PeerId, RouterId};
use tracing::{debug, info, warn};

use crate::adj_rib_out::{EgressKey, FrameSink};
use crate::attrs::{AttrId, AttrTable, Released};
use crate::family_rib::{FamilyRib, Move};
use crate::fib::{Fib, FibEvent, FibPrefix, KernelEvent};
use crate::import;
use crate::next_hops::{NextHopId, NextHopTable};
use crate::peer::{PeerSettings, PeerTable, SessionState};
use crate::policy::{ExportRules, Glob, KernelRules, PeerType};
use crate::recovery::Recovery;
use crate::source::{Source, SourceId, SourceTable};

/// Frames that a fresh session may be given at once; the peer's task asks for more as it drains.
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
    /// Dump the kernel's tables.
    Dump,
    /// Restart recovery is over: tell sessions to stop saying so.
    RecoveryDone,
    /// The kernel held this many routes of ours before the start.
    Loaded(usize),
}

/// State that both families share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: NodeSettings,
    pub(crate) policy: FamilyMap<FamilyPolicy>,
    pub(crate) attrs: AttrTable,
    pub(crate) next_hops: NextHopTable,
    pub(crate) sources: SourceTable,
    pub(crate) fib: Fib,
}

impl Shared {
    /// Enters an attribute set; the caller holds a count.
    pub(crate) fn intern(&mut self, bytes: &[u8], facts: &AttrFacts, next_hop: NextHop) -> AttrId {
        let next_hop = match self.next_hops.find(next_hop) {
            Some(id) => id,
            None => {
                let reachability = self.fib.track(next_hop.address());
                self.next_hops.insert(next_hop, reachability)
            }
        };
        self.intern_at(bytes, facts, next_hop)
    }

    /// As [`Self::intern`], for a next hop that is known already.
    pub(crate) fn intern_at(&mut self, bytes: &[u8], facts: &AttrFacts, next_hop: NextHopId) -> AttrId {
        let (id, is_new) = self.attrs.intern(bytes, next_hop, facts);
        if is_new {
            self.next_hops.retain(next_hop);
        }
        id
    }

    /// Gives a count of an attribute set back.
    pub(crate) fn release(&mut self, id: AttrId) {
        if let Released::Gone(next_hop) = self.attrs.release(id)
            && let Some(next_hop) = self.next_hops.release(next_hop)
            && !self.next_hops.uses(next_hop.address())
        {
            self.fib.untrack(next_hop.address());
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Rib {
    pub(crate) shared: Shared,
    pub(crate) peers: PeerTable,
    pub(crate) ipv4: FamilyRib<Ipv4Net>,
    pub(crate) ipv6: FamilyRib<Ipv6Net>,
    recovery: Recovery,
    closing: VecDeque<SourceId>,
    to_regroup: Vec<PeerId>,
    /// What may be announced of other programs' routes is to be computed anew.
    pub(crate) is_learning_stale: bool,
    /// The FIB may have more to tell.
    has_fib_backlog: bool,
    outputs: VecDeque<Output>,
}

/// Collects frames for the task.
struct Frames<'a>(&'a mut VecDeque<Output>, Vec<PeerId>);

impl FrameSink for Frames<'_> {
    fn frame(&mut self, peer: PeerId, bytes: Bytes) {
        self.0.push_back(Output::Frame(peer, bytes));
        self.1.push(peer);
    }
}

impl Rib {
    /// An empty RIB in front of a kernel table.
    pub fn new(node: NodeSettings, fib: Fib) -> Self {
        let sources = SourceTable::new(node.router_id, node.local_as);
        Rib {
            shared: Shared {
                node,
                policy: FamilyMap::default(),
                attrs: AttrTable::default(),
                next_hops: NextHopTable::default(),
                sources,
                fib,
            },
            peers: PeerTable::default(),
            ipv4: FamilyRib::default(),
            ipv6: FamilyRib::default(),
            recovery: Recovery::default(),
            closing: VecDeque::new(),
            to_regroup: Vec::new(),
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
        self.shared.node = node;
        self.regroup_all();
        self.reevaluate_all();
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

    /// Originates a route of this node: announced by policy, and a blackhole in the kernel unless `is_in_kernel` is
    /// false.
    pub fn originate(&mut self, net: IpNet, is_in_kernel: bool) {
        let bytes = originated();
        let facts = AttrFacts::read(&bytes);
        let unspecified: IpAddr = match net {
            IpNet::V4(_) => IpAddr::from([0u8; 4]),
            IpNet::V6(_) => IpAddr::from([0u8; 16]),
        };
        let attrs = self.shared.intern(&bytes, &facts, unspecified.into());
        // The path identifier tells the two kinds of origination apart; nobody else sees it.
        let remote_id = local_path_id(is_in_kernel);
        match net {
            IpNet::V4(prefix) => self.ipv4.announce(
                &mut self.shared,
                SourceId::LOCAL,
                Nlri {
                    prefix,
                    path_id: remote_id,
                },
                attrs,
                None,
            ),
            IpNet::V6(prefix) => self.ipv6.announce(
                &mut self.shared,
                SourceId::LOCAL,
                Nlri {
                    prefix,
                    path_id: remote_id,
                },
                attrs,
                None,
            ),
        }
        self.shared.release(attrs);
    }

    /// Ends what [`Self::originate`] began with the same arguments.
    pub fn withdraw(&mut self, net: IpNet, is_in_kernel: bool) {
        let path_id = local_path_id(is_in_kernel);
        match net {
            IpNet::V4(prefix) => {
                self.ipv4
                    .withdraw(&mut self.shared, SourceId::LOCAL, Nlri { prefix, path_id })
            }
            IpNet::V6(prefix) => {
                self.ipv6
                    .withdraw(&mut self.shared, SourceId::LOCAL, Nlri { prefix, path_id })
            }
        }
    }

    /// Adds a peer or changes it. A change of filters, next hop or role acts on stored routes: no session moves.
    pub fn set_peer(&mut self, id: PeerId, settings: PeerSettings) {
        let settings = Arc::new(settings);
        self.is_learning_stale = true;
        match self.peers.get_mut(id) {
            None => self.peers.insert(id, settings),
            Some(peer) if *peer.settings == *settings => {}
            Some(peer) => {
                let old = std::mem::replace(&mut peer.settings, Arc::clone(&settings));
                if let Some(source) = peer.source {
                    let entry = &mut self.shared.sources[source];
                    entry.is_client = settings.is_client;
                    entry.is_external = settings.peer_type() == PeerType::Ebgp;
                    if is_import_changed(&old, &settings) {
                        self.ipv4.reimport(&mut self.shared, source, &settings);
                        self.ipv6.reimport(&mut self.shared, source, &settings);
                    }
                }
                self.regroup(id);
                if old.is_client != settings.is_client {
                    self.reevaluate_all();
                }
            }
        }
    }

    /// Forgets a peer and its routes.
    pub fn remove_peer(&mut self, id: PeerId) {
        self.leave_groups(id);
        self.is_learning_stale = true;
        if let Some(peer) = self.peers.remove(id)
            && let Some(source) = peer.source
        {
            self.close_source(source);
        }
        self.recovery.forget(id);
    }

    /// Restart recovery begins: until it is over, stale kernel routes stay and nobody is sent End-of-RIB. `peers`
    /// are those that are expected.
    pub fn begin_recovery(&mut self, now: std::time::Instant, peers: impl IntoIterator<Item = PeerId>) {
        self.recovery.begin(now, peers);
        self.check_recovery(now);
    }

    /// Whether the node is still learning what it lost in a restart.
    pub fn is_recovering(&self) -> bool {
        self.recovery.is_under_way()
    }

    /// A session is Established.
    pub fn handle_up(&mut self, now: std::time::Instant, id: PeerId, negotiated: Box<Negotiated>) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let settings = Arc::clone(&peer.settings);
        let families = negotiated.families;
        let source = match peer.source {
            // RFC 4724 §4.2: routes kept for this moment stay where they are, stale until sent again; those of
            // families for which the peer kept nothing go now.
            Some(source) => source,
            None => {
                let entry = Source {
                    peer: Some(id),
                    router_id: negotiated.remote_router_id,
                    address: settings.address,
                    local_as: settings.local_as,
                    is_external: settings.peer_type() == PeerType::Ebgp,
                    is_client: settings.is_client,
                    generation: FamilyMap::default(),
                    received: FamilyMap::default(),
                    accepted: FamilyMap::default(),
                    is_closing: false,
                };
                let Some(source) = self.shared.sources.insert(entry) else {
                    warn!(peer = %settings.name, "too many peers: its routes are not taken");
                    return;
                };
                peer.source = Some(source);
                source
            }
        };
        self.shared.sources[source].router_id = negotiated.remote_router_id;
        let kept = negotiated
            .graceful_restart
            .as_ref()
            .map_or(FamilySet::EMPTY, |restart| restart.forwarding);
        let lost: FamilySet = peer
            .retained
            .iter()
            .filter(|family| !kept.contains(*family))
            .collect();
        peer.retained = peer.retained.intersection(kept);
        self.recovery.up(id, &negotiated);
        peer.session = Some(SessionState {
            negotiated,
            families,
            groups: FamilyMap::default(),
            credit: CREDIT,
            end_of_rib: FamilySet::EMPTY,
            near_limit: FamilySet::EMPTY,
        });
        for family in lost.iter() {
            self.sweep(source, family);
        }
        self.regroup(id);
        self.check_recovery(now);
    }

    /// A session ended.
    pub fn handle_down(&mut self, now: std::time::Instant, id: PeerId, end: &SessionEnd) {
        self.leave_groups(id);
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        peer.session = None;
        self.recovery.down(id);
        let Some(source) = peer.source else { return };
        if end.retain.is_empty() {
            peer.retained = FamilySet::EMPTY;
            peer.source = None;
            self.close_source(source);
            self.check_recovery(now);
            return;
        }
        peer.retained = end.retain;
        debug!(peer = %peer.settings.name, restart_time = ?end.restart_time, "keeping the peer's routes as stale");
        let entry = &mut self.shared.sources[source];
        for family in Family::ALL {
            entry.generation[family] = entry.generation[family].wrapping_add(1);
        }
        for family in Family::ALL
            .into_iter()
            .filter(|family| !end.retain.contains(*family))
        {
            self.sweep(source, family);
        }
        self.recovery.retain_until(id, now + end.restart_time);
        self.check_recovery(now);
    }

    /// A peer's task has room for another frame.
    pub fn handle_drained(&mut self, id: PeerId) {
        let Some(session) = self.peers.get_mut(id).and_then(|peer| peer.session.as_mut()) else {
            return;
        };
        session.credit = (session.credit + 1).min(CREDIT);
        let (groups, credit) = (session.groups, session.credit);
        self.ipv4.grant(groups.ipv4, id, credit);
        self.ipv6.grant(groups.ipv6, id, credit);
    }

    /// A malformed UPDATE disabled a family for the rest of the session (RFC 7606 §2).
    pub fn handle_family_disabled(&mut self, id: PeerId, family: Family) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if let Some(session) = &mut peer.session {
            session.families.remove(family);
        }
        if let Some(source) = peer.source {
            self.shared.sources[source].generation[family] =
                self.shared.sources[source].generation[family].wrapping_add(1);
            self.sweep(source, family);
        }
        self.regroup(id);
    }

    /// A peer sent routes.
    pub fn handle_routes(&mut self, now: std::time::Instant, id: PeerId, batch: &UpdateBatch) {
        let Some(peer) = self.peers.get(id) else { return };
        let (Some(source), Some(session)) = (peer.source, &peer.session) else {
            return;
        };
        let settings = Arc::clone(&peer.settings);
        let families = session.families;
        for item in &batch.items {
            match item {
                BatchItem::Announce {
                    family,
                    next_hop,
                    facts,
                    attrs,
                    nlri,
                } if families.contains(*family) => {
                    let bytes = &batch.attr_bytes[attrs.start as usize..attrs.end as usize];
                    let range = nlri.start as usize..nlri.end as usize;
                    let shared = &mut self.shared;
                    match family {
                        Family::Ipv4Unicast => {
                            take_in(
                                &mut self.ipv4,
                                shared,
                                source,
                                &settings,
                                bytes,
                                facts,
                                *next_hop,
                                &batch.ipv4[range],
                            );
                        }
                        Family::Ipv6Unicast => {
                            take_in(
                                &mut self.ipv6,
                                shared,
                                source,
                                &settings,
                                bytes,
                                facts,
                                *next_hop,
                                &batch.ipv6[range],
                            );
                        }
                    }
                }
                BatchItem::Withdraw { family, nlri } => {
                    let range = nlri.start as usize..nlri.end as usize;
                    match family {
                        Family::Ipv4Unicast => {
                            batch.ipv4[range]
                                .iter()
                                .for_each(|n| self.ipv4.withdraw(&mut self.shared, source, *n));
                        }
                        Family::Ipv6Unicast => {
                            batch.ipv6[range]
                                .iter()
                                .for_each(|n| self.ipv6.withdraw(&mut self.shared, source, *n));
                        }
                    }
                }
                BatchItem::Announce { .. } => {}
                BatchItem::EndOfRib(family) => self.handle_end_of_rib(now, id, source, *family),
                BatchItem::RefreshRequest(family) => self.refresh(id, *family),
                BatchItem::BeginOfRefresh(family) => {
                    let entry = &mut self.shared.sources[source];
                    entry.generation[*family] = entry.generation[*family].wrapping_add(1);
                }
                BatchItem::EndOfRefresh(family) => self.sweep(source, *family),
            }
        }
        self.check_limits(id, source);
    }

    /// The kernel says something.
    pub fn handle_kernel(&mut self, now: std::time::Instant, events: Vec<KernelEvent>) {
        self.shared.fib.handle_kernel(events);
        self.take_fib_events();
        self.check_recovery(now);
    }

    /// Takes in what the FIB has to tell, as much as is right at once: the rest comes with the next flush.
    fn take_fib_events(&mut self) {
        // Without the time nobody could be asked to come back.
        let most = self.shared.fib.now().map_or(usize::MAX, |_| FIB_EVENTS);
        self.has_fib_backlog = true;
        for _ in 0..most {
            let Some(event) = self.shared.fib.poll_event() else {
                self.has_fib_backlog = false;
                return;
            };
            match event {
                FibEvent::WantsDump => self.outputs.push_back(Output::Dump),
                FibEvent::Loaded { adopted } => {
                    info!(routes = adopted, "took over the kernel routes of an earlier run");
                    self.outputs.push_back(Output::Loaded(adopted));
                }
                FibEvent::Learned(prefix, from, route) => self.learn(prefix, from, route),
                FibEvent::NextHopChanged(address, reachability) => {
                    let changed = self.shared.next_hops.set_reachability(address, &reachability);
                    if !changed.is_empty() {
                        debug!(%address, ?reachability, "next hop changed");
                        self.ipv4.reselect_via(&mut self.shared, &changed);
                        self.ipv6.reselect_via(&mut self.shared, &changed);
                    }
                }
            }
        }
    }

    /// Lets deadlines act.
    pub fn handle_timeout(&mut self, now: std::time::Instant) {
        self.shared.fib.handle_timeout(now);
        for id in self.recovery.expired(now) {
            let Some(peer) = self.peers.get_mut(id) else {
                continue;
            };
            let Some(source) = peer.source else { continue };
            info!(peer = %peer.settings.name, "restart time is over: stale routes go");
            let stale = std::mem::take(&mut peer.retained);
            if peer.session.is_none() {
                peer.source = None;
                self.close_source(source);
            } else {
                stale.iter().for_each(|family| self.sweep(source, family));
            }
        }
        self.check_recovery(now);
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<std::time::Instant> {
        let backlog = self.shared.fib.now().filter(|_| self.has_fib_backlog);
        [
            self.recovery.next_deadline(),
            self.shared.fib.poll_timeout(),
            backlog,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Sends what is due to peers that can take it. The task calls this when it has no further input at hand, so
    /// that what arrives together leaves together.
    pub fn flush(&mut self) {
        self.clear_closed();
        self.refresh_learn_rules();
        self.take_fib_events();
        self.apply_regroup();
        let holds = self.recovery.is_under_way();
        let mut frames = Frames(&mut self.outputs, Vec::new());
        self.ipv4.flush(&self.shared, holds, &mut frames);
        self.ipv6.flush(&self.shared, holds, &mut frames);
        let sent = frames.1;
        for id in sent {
            if let Some(session) = self.peers.get_mut(id).and_then(|peer| peer.session.as_mut()) {
                session.credit = session.credit.saturating_sub(1);
            }
        }
        self.ipv4.reap();
        self.ipv6.reap();
    }

    fn handle_end_of_rib(&mut self, now: std::time::Instant, id: PeerId, source: SourceId, family: Family) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let was_retained = peer.retained.contains(family);
        peer.retained.remove(family);
        let is_complete = peer.session.as_mut().is_some_and(|session| {
            session.end_of_rib.insert(family);
            session
                .families
                .iter()
                .all(|family| session.end_of_rib.contains(family))
        });
        if was_retained {
            self.sweep(source, family);
        }
        if is_complete {
            self.recovery.complete(id);
        }
        self.check_recovery(now);
    }

    fn check_recovery(&mut self, now: std::time::Instant) {
        if self.recovery.check(now) {
            info!("restart recovery is over");
            self.shared.fib.allow_sweep();
            self.ipv4.release_end_of_rib();
            self.ipv6.release_end_of_rib();
            self.outputs.push_back(Output::RecoveryDone);
        }
    }

    fn refresh(&mut self, id: PeerId, family: Family) {
        let Some(session) = self.peers.get(id).and_then(|peer| peer.session.as_ref()) else {
            return;
        };
        let (group, is_framed) = (session.groups[family], session.negotiated.enhanced_refresh);
        match family {
            Family::Ipv4Unicast => self.ipv4.refresh(group, id, is_framed),
            Family::Ipv6Unicast => self.ipv6.refresh(group, id, is_framed),
        }
    }

    fn check_limits(&mut self, id: PeerId, source: SourceId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let (Some(limit), Some(session)) = (peer.settings.max_prefixes, peer.session.as_mut()) else {
            return;
        };
        for family in session.families.iter() {
            let count = self.shared.sources[source].received[family];
            if count > limit {
                self.outputs.push_back(Output::PrefixLimit(id, family, limit));
            } else if u64::from(count) * 5 > u64::from(limit) * 4 && !session.near_limit.contains(family) {
                session.near_limit.insert(family);
                warn!(peer = %peer.settings.name, %family, count, limit, "the peer is close to its prefix limit");
            }
        }
    }

    /// Puts a peer into the update groups that its settings and session ask for, at the next flush at the latest:
    /// peers that change together stay together, and are then told only what differs.
    fn regroup(&mut self, id: PeerId) {
        if self.peers.get(id).is_some_and(|peer| peer.session.is_some()) {
            self.to_regroup.push(id);
        }
    }

    fn regroup_all(&mut self) {
        self.to_regroup = self.peers.ids();
    }

    fn apply_regroup(&mut self) {
        if self.to_regroup.is_empty() {
            return;
        }
        let mut moves = FamilyMap::<Vec<Move>>::default();
        let mut ids = std::mem::take(&mut self.to_regroup);
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let Some(peer) = self.peers.get(id) else { continue };
            let (Some(source), Some(session)) = (peer.source, peer.session.as_ref()) else {
                continue;
            };
            for family in Family::ALL {
                let key = session.carries(family).then(|| {
                    EgressKey::new(
                        family,
                        &peer.settings,
                        &session.negotiated,
                        &self.shared.node.addresses,
                    )
                });
                moves[family].push(Move {
                    peer: id,
                    source,
                    credit: session.credit,
                    from: session.groups[family],
                    key,
                });
            }
        }
        let mut frames = Frames(&mut self.outputs, Vec::new());
        let ipv4 = self.ipv4.regroup(&self.shared, moves.ipv4, &mut frames);
        let ipv6 = self.ipv6.regroup(&self.shared, moves.ipv6, &mut frames);
        for (family, joined) in [(Family::Ipv4Unicast, ipv4), (Family::Ipv6Unicast, ipv6)] {
            for (id, group) in joined {
                if let Some(session) = self.peers.get_mut(id).and_then(|peer| peer.session.as_mut()) {
                    session.groups[family] = group;
                }
            }
        }
    }

    fn reevaluate_all(&mut self) {
        self.ipv4.reevaluate(&mut self.shared);
        self.ipv6.reevaluate(&mut self.shared);
    }

    fn leave_groups(&mut self, id: PeerId) {
        let Some(session) = self.peers.get_mut(id).and_then(|peer| peer.session.as_mut()) else {
            return;
        };
        let groups = std::mem::take(&mut session.groups);
        self.ipv4.leave(groups.ipv4, id);
        self.ipv6.leave(groups.ipv6, id);
    }

    /// The source's paths count no more; they are cleared away at the next flush.
    fn close_source(&mut self, source: SourceId) {
        self.shared.sources[source].is_closing = true;
        self.closing.push_back(source);
    }

    fn clear_closed(&mut self) {
        while let Some(source) = self.closing.pop_front() {
            self.ipv4.remove_source(&mut self.shared, source);
            self.ipv6.remove_source(&mut self.shared, source);
            self.ipv4.forget_source(source);
            self.ipv6.forget_source(source);
            self.shared.sources.remove(source);
        }
    }

    /// Removes what a source announced in an earlier generation and has not announced again.
    fn sweep(&mut self, source: SourceId, family: Family) {
        match family {
            Family::Ipv4Unicast => self.ipv4.sweep_source(&mut self.shared, source),
            Family::Ipv6Unicast => self.ipv6.sweep_source(&mut self.shared, source),
        }
    }
}

/// Announces the prefixes of one attribute set, after the checks that the set decides for all of them.
#[expect(
    clippy::too_many_arguments,
    reason = "one call site; a struct would only rename the arguments"
)]
fn take_in<P: FibPrefix>(
    table: &mut FamilyRib<P>,
    shared: &mut Shared,
    source: SourceId,
    settings: &PeerSettings,
    bytes: &[u8],
    facts: &AttrFacts,
    next_hop: NextHop,
    prefixes: &[Nlri<P>],
) {
    let received = shared.intern(bytes, facts, next_hop);
    let verdict = import::for_set(shared, settings, received);
    for nlri in prefixes {
        table.announce(shared, source, *nlri, received, Some((settings, &verdict)));
    }
    verdict.release(shared);
    shared.release(received);
}

/// Own routes that are written to the kernel come first among equals.
fn local_path_id(is_in_kernel: bool) -> u32 {
    u32::from(!is_in_kernel)
}

fn is_import_changed(old: &PeerSettings, new: &PeerSettings) -> bool {
    old.import != new.import
        || old.allowed_local_as != new.allowed_local_as
        || old.accepts_local_pref != new.accepts_local_pref
        || old.role != new.role
}

/// The interface by which a next hop is reached, for policy.
pub(crate) fn interface_of(shared: &Shared, next_hop: NextHopId) -> Option<&str> {
    match &shared.next_hops[next_hop].reachability {
        crate::fib::Reachability::Reachable { interface, .. } if !interface.is_empty() => Some(interface),
        _ => None,
    }
}
