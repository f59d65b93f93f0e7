//! Whether and how a route goes to the peers of an update group: Calico's export rules and the RFCs' (behaviour
//! contract §5.2, §12).

use std::fmt;

use ipnet::IpNet;
use pipit_bgp::session::config::Role;
use pipit_bgp::wire::attr::{AttrEdit, AttrFacts, AttrView, Change, Marks};
use pipit_bgp::{ClusterId, NextHop};
use serde::Serialize;

use crate::adj_rib_out::EgressKey;
use crate::best_path::DEFAULT_LOCAL_PREF;
use crate::peer::NextHopMode;
use crate::policy::{self, Community, ExportRules, Operation, PeerType, PolicySubject, RuleRef, Verdict};
use crate::source::{Source, SourceId};

/// Highest LOCAL_PREF that stands for a route priority: `LOCAL_PREF = 2147483647 - priority` (Calico).
pub const PRIORITY_BASE: u32 = 2_147_483_647;

/// GRACEFUL_SHUTDOWN (RFC 8326 §6).
const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

/// How a route is announced, apart from what depends on the route's own originator: equal announcements of equal
/// attributes are equal bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Announcement {
    /// Changes of the attributes.
    pub(crate) edit: AttrEdit,
    /// The route is reflected, by this cluster: ORIGINATOR_ID and CLUSTER_LIST are due (RFC 4456 §8).
    pub(crate) cluster: Option<ClusterId>,
    /// Our address, where it takes the next hop's place.
    pub(crate) own_next_hop: Option<NextHop>,
}

/// Why a route does not go to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotSent {
    /// The node is leaving, and takes back whatever it has announced.
    Withdrawn,
    /// Learned over iBGP, and this node reflects it to nobody of the peer's kind (RFC 4271 §9.2, RFC 4456 §6).
    IbgpToIbgp,
    /// Long-lived stale, and the peer does not know what that is (RFC 9494 §4.3).
    LongLivedStale,
    /// NO_ADVERTISE (RFC 1997).
    NoAdvertise,
    /// NO_EXPORT or NO_EXPORT_SUBCONFED towards eBGP (RFC 1997).
    NoExport,
    /// The route came from a provider, peer or route server and must not go to another (RFC 9234 §5).
    RouteLeak,
    /// A rule of a BGPFilter rejects it.
    Filter(RuleRef),
    /// Inside a pool with `disableBGPExport`.
    DisabledPool,
    /// It leaves by an interface whose routes are not exported.
    Interface,
    /// Beneath an own block, which is announced in its place.
    Aggregated,
    /// No rule accepts it: neither a pool nor a service range covers it.
    NoRule,
    /// Written to the kernel for a remote node by Felix or us: its owner announces it.
    SecondHand,
    /// There is no next hop of the family to announce it with.
    NoNextHop,
    /// We cannot reach its next hop, and are it or would be it (RFC 4271 §5.1.3, §9.1.2); or nobody can.
    Unreachable,
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotSent::Withdrawn => "the node is leaving, and announces nothing",
            NotSent::IbgpToIbgp => "learned over iBGP and not reflected",
            NotSent::LongLivedStale => "long-lived stale, which the peer does not know",
            NotSent::NoAdvertise => "community no-advertise",
            NotSent::NoExport => "community no-export",
            NotSent::RouteLeak => "would be a route leak",
            NotSent::Filter(_) => "rejected by a filter",
            NotSent::DisabledPool => "inside a pool with disableBGPExport",
            NotSent::Interface => "leaves by an interface that is not exported",
            NotSent::Aggregated => "beneath an own block",
            NotSent::NoRule => "outside all pools and service ranges",
            NotSent::SecondHand => "another node's route: its owner announces it",
            NotSent::NoNextHop => "no next hop of this family",
            NotSent::Unreachable => "its next hop cannot be reached from here",
        })
    }
}

/// A route as export sees it.
pub(crate) struct Exported<'a> {
    pub(crate) prefix: IpNet,
    pub(crate) attrs: &'a [u8],
    pub(crate) facts: &'a AttrFacts,
    pub(crate) next_hop: NextHop,
    pub(crate) is_reachable: bool,
    /// Its next hop is an address of this host.
    pub(crate) is_by_us: bool,
    pub(crate) source_id: SourceId,
    pub(crate) source: &'a Source,
    /// Metric of a route learned from the kernel; `None` for all others.
    pub(crate) kernel_metric: Option<u32>,
    /// Another program of this node sends it to a gateway.
    pub(crate) is_via_gateway: bool,
    /// The node is drained.
    pub(crate) is_leaving: bool,
    /// Interface by which the route leaves; `None` for blackholes.
    pub(crate) interface: Option<&'a str>,
}

impl Exported<'_> {
    fn is_from_peer(&self) -> bool {
        self.source.peer.is_some()
    }

    /// The Linux metric that stands for the route (behaviour contract §5.2 step 1).
    fn metric(&self, rules: &ExportRules) -> u32 {
        if self.is_from_peer() {
            PRIORITY_BASE.saturating_sub(self.facts.local_pref.unwrap_or(DEFAULT_LOCAL_PREF))
        } else {
            self.kernel_metric.unwrap_or(rules.normal_priority)
        }
    }
}

/// Decides for one route and one update group. `cluster` is set on a route reflector.
pub(crate) fn decide(
    route: &Exported<'_>,
    key: &EgressKey,
    rules: &ExportRules,
    cluster: Option<ClusterId>,
) -> Result<Announcement, NotSent> {
    let cluster = reflection(route, key, cluster)?;
    well_known_communities(route, key)?;
    let mut announcement = Announcement {
        cluster,
        ..Announcement::default()
    };
    let edit = &mut announcement.edit;
    let mut local_pref = if route.is_from_peer() {
        route.facts.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)
    } else {
        PRIORITY_BASE.saturating_sub(route.metric(rules))
    };
    let subject = PolicySubject {
        prefix: route.prefix,
        attrs: AttrView::new(route.attrs),
        local_pref: Some(local_pref),
        is_from_peer: route.is_from_peer(),
        interface: route.interface,
        peer_type: key.peer_type,
    };
    match policy::evaluate(key.filters.iter().map(|filter| &**filter), &subject) {
        Verdict::Reject(at) => return Err(NotSent::Filter(at)),
        Verdict::Accept(_, operations) => apply_operations(operations, edit, &mut local_pref),
        Verdict::Continue => built_in(route, key, rules, edit)?,
    }
    if route.is_leaving {
        edit.add_communities.push(GRACEFUL_SHUTDOWN);
    }
    roles(&subject.attrs, key, edit)?;
    announcement.own_next_hop = own_next_hop(route, key)?;
    let helps_nobody = announcement.own_next_hop.is_some() || route.is_by_us || is_class_e(route.next_hop);
    if helps_nobody && !route.is_reachable {
        return Err(NotSent::Unreachable);
    }
    match key.peer_type {
        PeerType::Ibgp => {
            if route.facts.local_pref != Some(local_pref) {
                edit.local_pref = Change::Set(local_pref);
            }
        }
        PeerType::Ebgp => {
            edit.prepend_as.insert(0, key.local_as);
            edit.local_pref = Change::Remove;
            edit.removes_reflection = true;
            // RFC 4271 §5.1.4: a MED received from one neighbouring AS is not for another.
            if route.is_from_peer() {
                edit.med = Change::Remove;
            }
        }
    }
    Ok(announcement)
}

/// Completes an announcement for one originator, and says the next hop.
pub(crate) fn complete(
    announcement: &Announcement,
    source: &Source,
    next_hop: NextHop,
) -> (AttrEdit, NextHop) {
    let mut edit = announcement.edit.clone();
    if announcement.cluster.is_some() {
        edit.originator_id = Some(source.router_id);
        edit.prepend_cluster = announcement.cluster;
    }
    (edit, announcement.own_next_hop.unwrap_or(next_hop))
}

/// The cluster that reflects the route; `None` where it goes on without reflection.
fn reflection(
    route: &Exported<'_>,
    key: &EgressKey,
    cluster: Option<ClusterId>,
) -> Result<Option<ClusterId>, NotSent> {
    let is_internal = route.is_from_peer() && !route.source.is_external;
    // Sessions that present different ASes are different ASes to each other (BIRD's rule, behaviour contract §12).
    if !is_internal || key.peer_type == PeerType::Ebgp || route.source.local_as != key.local_as {
        return Ok(None);
    }
    cluster
        .filter(|_| route.source.is_client || key.is_client)
        .map(Some)
        .ok_or(NotSent::IbgpToIbgp)
}

fn well_known_communities(route: &Exported<'_>, key: &EgressKey) -> Result<(), NotSent> {
    let marks = route.facts.marks;
    if !route.is_from_peer() {
        return Ok(());
    }
    if marks.contains(Marks::LLGR_STALE) && !key.takes_stale {
        return Err(NotSent::LongLivedStale);
    }
    if marks.contains(Marks::NO_ADVERTISE) {
        return Err(NotSent::NoAdvertise);
    }
    let stays_inside = marks.contains(Marks::NO_EXPORT) || marks.contains(Marks::NO_EXPORT_SUBCONFED);
    if stays_inside && key.peer_type == PeerType::Ebgp {
        Err(NotSent::NoExport)
    } else {
        Ok(())
    }
}

fn apply_operations(operations: &[Operation], edit: &mut AttrEdit, local_pref: &mut u32) {
    for operation in operations {
        match operation {
            Operation::AddCommunity(community) => add_community(edit, *community),
            Operation::PrependAsPath(path) => {
                edit.prepend_as.insert_many(0, path.iter().copied());
            }
            Operation::SetLocalPref(value) => *local_pref = *value,
        }
    }
}

pub(crate) fn add_community(edit: &mut AttrEdit, community: Community) {
    match community {
        Community::Standard(value) => {
            if !edit.add_communities.contains(&value) {
                edit.add_communities.push(value);
            }
        }
        Community::Large(value) => {
            if !edit.add_large_communities.contains(&value) {
                edit.add_large_communities.push(value);
            }
        }
    }
}

/// Steps 3 to 10 of the behaviour contract §5.2.
fn built_in(
    route: &Exported<'_>,
    key: &EgressKey,
    rules: &ExportRules,
    edit: &mut AttrEdit,
) -> Result<(), NotSent> {
    let prefix = route.prefix;
    if rules.disabled_pools.covers(prefix) {
        return Err(NotSent::DisabledPool);
    }
    if let Some(name) = route.interface {
        let is_rejected = |globs: &[policy::Glob]| globs.iter().any(|glob| glob.matches(name));
        if (key.peer_type == PeerType::Ibgp && is_rejected(&rules.reject_interfaces_ibgp))
            || is_rejected(&rules.reject_interfaces)
        {
            return Err(NotSent::Interface);
        }
    }
    for (net, communities) in &rules.communities {
        if net.contains(&prefix) {
            communities
                .iter()
                .for_each(|&community| add_community(edit, community));
        }
    }
    // Limit L1: Felix writes other nodes' blocks to the kernel, and their owners announce them.
    if route.is_via_gateway && rules.pools.covers(prefix) {
        return Err(NotSent::SecondHand);
    }
    if let Some(block) = rules.aggregates.covering(prefix) {
        // A kernel route without a metric, as Felix writes its pods', is a normal one: BIRD takes the zero for the
        // highest priority, and announces every pod on its own.
        let is_elevated = route.kernel_metric != Some(0) && route.metric(rules) < rules.normal_priority;
        return if block == prefix || is_elevated {
            Ok(())
        } else {
            Err(NotSent::Aggregated)
        };
    }
    let is_accepted = rules.services.covers(prefix)
        || rules.reflected_services.covers(prefix)
        || rules.pools.covers(prefix);
    if is_accepted { Ok(()) } else { Err(NotSent::NoRule) }
}

/// RFC 9234 §5: egress procedures. Roles are ours: a customer's peer is its provider.
fn roles(attrs: &AttrView<'_>, key: &EgressKey, edit: &mut AttrEdit) -> Result<(), NotSent> {
    let Some(role) = key.role else { return Ok(()) };
    match (role, attrs.otc()) {
        (Role::Customer | Role::RsClient | Role::Peer, Some(_)) => Err(NotSent::RouteLeak),
        (Role::Provider | Role::RsServer | Role::Peer, None) => {
            edit.otc = Change::Set(key.local_as);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// 240.0.0.0/4, where it is nobody's network here (behaviour contract §6.5), has no hosts: a route by way of it is not
/// handed on to others, who could do no more with it.
fn is_class_e(next_hop: NextHop) -> bool {
    matches!(next_hop, NextHop::V4(address) if address.octets()[0] >= 240)
}

/// Our address, where it is to be the next hop.
fn own_next_hop(route: &Exported<'_>, key: &EgressKey) -> Result<Option<NextHop>, NotSent> {
    let is_own = route.source_id == SourceId::LOCAL || route.next_hop.address().is_unspecified();
    let wants_self = match key.next_hop {
        NextHopMode::SelfAddress => true,
        NextHopMode::Keep => is_own,
        NextHopMode::Auto => is_own || key.peer_type == PeerType::Ebgp,
    };
    // RFC 8950 §4: an IPv6 next hop of an IPv4 route only where the peer can take it.
    let is_foreign = matches!(route.next_hop, NextHop::V6 { .. })
        && !key.extended_next_hop
        && route.prefix.addr().is_ipv4();
    if wants_self || is_foreign {
        key.own_next_hop.map(Some).ok_or(NotSent::NoNextHop)
    } else {
        Ok(None)
    }
}
