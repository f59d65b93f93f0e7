//! Read-only questions to the RIB, and their answers as plain data.

use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::wire::attr::as_path::AS_SEQUENCE;
use pipit_bgp::wire::attr::{AttrView, Origin};
use pipit_bgp::{Asn, ClusterId, Family, FamilyMap, PeerId, RouterId};
use serde::Serialize;

use crate::best_path::Step;
use crate::family_rib::FamilyRib;
use crate::fib::{FibPrefix, FibView};
use crate::rib::Rib;
use crate::source::SourceId;
use crate::table::{Path, PathFlags};

/// One path to one prefix.
#[derive(Clone, PartialEq, Debug)]
pub struct RouteView {
    /// Destination.
    pub prefix: IpNet,
    /// Address family.
    pub family: Family,
    /// BGP next hop; `None` for own routes.
    pub next_hop: Option<IpAddr>,
    /// Session name of the peer; of own routes `local` (originated), `kernel` (another program's) or `direct`
    /// (connected).
    pub peer: String,
    /// This is the path in use.
    pub best: bool,
    /// Part of the multipath set.
    pub multipath: bool,
    /// Why it is, or is not, the path in use.
    pub reason: String,
    /// AS path, nearest AS first.
    pub as_path: Vec<AsPathPart>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// ORIGIN.
    pub origin: Origin,
    /// Communities (RFC 1997).
    pub communities: Vec<u32>,
    /// Large communities (RFC 8092).
    pub large_communities: Vec<[u32; 3]>,
    /// Extended communities (RFC 4360), in hexadecimal.
    pub extended_communities: Vec<String>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<RouterId>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<ClusterId>,
    /// Path identifier as received.
    pub path_id: u32,
    /// Kept from before the peer restarted.
    pub stale: bool,
}

/// An element of an AS path as people count it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AsPathPart {
    /// One AS of a sequence.
    As(Asn),
    /// An AS_SET.
    Set(Vec<Asn>),
}

/// Routes of one peer, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PeerCounts {
    /// Received and still in force.
    pub received: u32,
    /// Of those, accepted by import policy.
    pub accepted: u32,
    /// Announced to the peer.
    pub sent: u32,
}

/// Which routes are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum RouteFilter {
    /// All.
    #[default]
    All,
    /// Exactly this prefix.
    Exact(IpNet),
    /// This prefix and everything inside.
    Inside(IpNet),
    /// The longest match of an address.
    For(std::net::IpAddr),
}

impl Rib {
    /// Counts of every configured peer.
    pub fn peer_counts(&self) -> Vec<(PeerId, FamilyMap<PeerCounts>)> {
        let counts = |peer: &crate::peer::PeerState, family: Family| {
            let Some(source) = peer.source else {
                return PeerCounts::default();
            };
            let entry = &self.shared.sources[source];
            let group = peer.session.as_ref().and_then(|session| session.groups[family]);
            let sent = match family {
                Family::Ipv4Unicast => self.ipv4.announced_to(group, source),
                Family::Ipv6Unicast => self.ipv6.announced_to(group, source),
            };
            PeerCounts {
                received: entry.received[family],
                accepted: entry.accepted[family],
                sent,
            }
        };
        self.peers
            .iter()
            .map(|(id, peer)| {
                let ipv4 = counts(peer, Family::Ipv4Unicast);
                (
                    id,
                    FamilyMap {
                        ipv4,
                        ipv6: counts(peer, Family::Ipv6Unicast),
                    },
                )
            })
            .collect()
    }

    /// A page of routes: those of at most `limit` prefixes after `after`, in the order of prefixes, IPv4 first; and
    /// where the next page starts. Cost: one look at every prefix of the table.
    pub fn routes(
        &self,
        filter: &RouteFilter,
        after: Option<IpNet>,
        limit: usize,
    ) -> (Vec<RouteView>, Option<IpNet>) {
        if let RouteFilter::For(address) = filter {
            return (self.longest_match(*address), None);
        }
        let wanted = |net: &IpNet| match filter {
            RouteFilter::All | RouteFilter::For(_) => true,
            RouteFilter::Exact(exact) => net == exact,
            RouteFilter::Inside(outer) => outer.contains(net),
        };
        let all = self.ipv4.prefixes().chain(self.ipv6.prefixes()).filter(wanted);
        let (page, next) = page(all, after, limit);
        let mut views = Vec::new();
        for net in page {
            self.views_of(net, &mut views);
        }
        (views, next)
    }

    /// A page of the kernel's routes: at most `limit` after `after`, in the order of prefixes, IPv4 first; and where
    /// the next page starts.
    pub fn fib_page(&self, after: Option<IpNet>, limit: usize) -> (Vec<FibView>, Option<IpNet>) {
        let views = self.shared.fib.query_page(after, limit);
        let next = views
            .last()
            .filter(|_| views.len() >= limit)
            .map(|view| view.prefix);
        (views, next)
    }

    /// Prefixes and paths in the RIB, attribute sets, and the octets these hold.
    pub fn totals(&self) -> Totals {
        Totals {
            prefixes: self.ipv4.table.len() + self.ipv6.table.len(),
            paths: self.ipv4.table.live_paths() + self.ipv6.table.live_paths(),
            attribute_sets: self.shared.attrs.len(),
            attribute_bytes: self.shared.attrs.bytes_held(),
        }
    }

    fn longest_match(&self, address: IpAddr) -> Vec<RouteView> {
        let mut net = IpNet::from(address);
        loop {
            let mut views = Vec::new();
            self.views_of(net, &mut views);
            match net.supernet() {
                Some(next) if views.is_empty() => net = next,
                _ => return views,
            }
        }
    }

    fn views_of(&self, net: IpNet, views: &mut Vec<RouteView>) {
        match net {
            IpNet::V4(prefix) => self.route_views(&self.ipv4, prefix, views),
            IpNet::V6(prefix) => self.route_views(&self.ipv6, prefix, views),
        }
    }

    fn route_views<P: FibPrefix>(&self, family: &FamilyRib<P>, prefix: P, views: &mut Vec<RouteView>) {
        let Some(id) = family.table.find(prefix) else {
            return;
        };
        let prefix: IpNet = prefix.into();
        let selection = family.selection(&self.shared, id);
        let mut of_prefix: Vec<RouteView> = Vec::new();
        for (path_id, path) in family.table.paths(id) {
            if !path.flags.contains(PathFlags::DEAD) {
                let is_best = selection.as_ref().is_some_and(|s| s.best == path_id);
                let is_equal = selection.as_ref().is_some_and(|s| s.multipath.contains(&path_id));
                let reason = match &selection {
                    Some(selection) if is_best => reason_of(selection.step),
                    _ => self.why_not(path, selection.is_some(), is_equal),
                };
                let view = self.route_view(prefix, path, reason);
                of_prefix.push(RouteView {
                    best: is_best,
                    multipath: is_equal,
                    ..view
                });
            }
        }
        of_prefix.sort_by_key(|view| (!view.best, view.peer.clone(), view.path_id));
        views.append(&mut of_prefix);
    }

    fn why_not(&self, path: &Path, has_best: bool, is_equal: bool) -> String {
        let set = &self.shared.attrs[path.attrs];
        if path.flags.contains(PathFlags::REJECTED) {
            "rejected on import".into()
        } else if self.shared.next_hops[set.next_hop()].reachability == crate::fib::Reachability::Unreachable
            && !path.source.is_own()
        {
            "next hop unreachable".into()
        } else if is_equal {
            "as good as the best".into()
        } else if has_best {
            "another path is better".into()
        } else {
            "not usable".into()
        }
    }

    fn route_view(&self, prefix: IpNet, path: &Path, reason: String) -> RouteView {
        let family = Family::of(prefix.addr());
        let set = &self.shared.attrs[path.attrs];
        let attrs = AttrView::new(set.bytes());
        let source = &self.shared.sources[path.source];
        let is_local = path.source.is_own();
        let peer = source
            .peer
            .and_then(|peer| self.peers.get(peer))
            .map(|peer| peer.settings.name.clone());
        RouteView {
            prefix,
            family,
            next_hop: (!is_local).then(|| self.shared.next_hops[set.next_hop()].next_hop.address()),
            peer: peer.unwrap_or_else(|| own_name(path.source).into()),
            best: false,
            multipath: false,
            reason,
            as_path: as_path(attrs),
            local_pref: attrs.local_pref(),
            med: attrs.med(),
            origin: attrs.origin(),
            communities: attrs.communities().collect(),
            large_communities: attrs.large_communities().collect(),
            extended_communities: attrs.extended_communities().map(hexadecimal).collect(),
            originator_id: attrs.originator_id(),
            cluster_list: attrs.cluster_list().collect(),
            path_id: path.remote_id,
            stale: !is_local && path.generation != source.generation[family],
        }
    }
}

/// What stands in a peer's place.
fn own_name(source: SourceId) -> &'static str {
    match source {
        SourceId::KERNEL => "kernel",
        SourceId::CONNECTED => "direct",
        _ => "local",
    }
}

/// Sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Totals {
    /// Prefixes.
    pub prefixes: usize,
    /// Paths.
    pub paths: usize,
    /// Distinct attribute sets.
    pub attribute_sets: usize,
    /// Octets of attributes.
    pub attribute_bytes: usize,
}

/// The `limit` smallest prefixes after `after`, in order, and the last of them if there are more.
pub(crate) fn page(
    all: impl Iterator<Item = IpNet>,
    after: Option<IpNet>,
    limit: usize,
) -> (Vec<IpNet>, Option<IpNet>) {
    let mut found: Vec<IpNet> = all.filter(|net| after.is_none_or(|after| *net > after)).collect();
    let limit = limit.max(1);
    let has_more = found.len() > limit;
    if has_more {
        found.select_nth_unstable(limit);
        found.truncate(limit);
    }
    found.sort_unstable();
    let next = found.last().copied().filter(|_| has_more);
    (found, next)
}

fn as_path(attrs: AttrView<'_>) -> Vec<AsPathPart> {
    let mut parts = Vec::new();
    for segment in attrs.as_path().segments() {
        if segment.kind == AS_SEQUENCE {
            parts.extend(segment.members().map(AsPathPart::As));
        } else {
            parts.push(AsPathPart::Set(segment.members().collect()));
        }
    }
    parts
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn reason_of(step: Step) -> String {
    match step {
        Step::OnlyPath => "only path",
        Step::Reachable => "its next hop can be reached",
        Step::Preference => "preferred kind of origin",
        Step::FirstHand => "announced by its owner",
        Step::LlgrStale => "not long-lived stale",
        Step::LocalPref => "higher local preference",
        Step::AsPathLength => "shorter AS path",
        Step::Origin => "lower origin",
        Step::Med => "lower MED",
        Step::External => "eBGP over iBGP",
        Step::IgpMetric => "nearer next hop",
        Step::RouterId => "lower router id",
        Step::ClusterListLength => "shorter cluster list",
        Step::PeerAddress => "lower peer address",
        Step::PathIdentifier => "lower path identifier",
    }
    .into()
}
