//! Read-only questions to the RIB, and their answers as plain data.

mod announced;
mod listing;
mod words;

use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::wire::attr::as_path::AS_SEQUENCE;
use pipit_bgp::wire::attr::{AttrView, Marks, Origin};
use pipit_bgp::{Asn, ClusterId, Family, FamilyMap, PeerId, RouterId};
use serde::Serialize;

pub use self::listing::{ListOf, Listings, Nets};
use crate::best_path::Step;
use crate::family_rib::FamilyRib;
use crate::fib::{FibPrefix, FibView};
use crate::import;
use crate::rib::Rib;
use crate::source::SourceId;
use crate::table::{Path, PathFlags, PathId, PrefixId};

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
    /// Whether it goes to the peer that was asked about: `announced`, or why not.
    pub announced: Option<String>,
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
    /// where the next page starts. `to`: a peer's name; the views say whether the paths go there.
    pub fn routes(
        &self,
        listings: &mut Listings,
        filter: &RouteFilter,
        to: Option<&str>,
        after: Option<IpNet>,
        limit: usize,
    ) -> (Vec<RouteView>, Option<IpNet>) {
        let to = to.and_then(|name| self.peer_named(name));
        let mut views = Vec::new();
        match filter {
            RouteFilter::For(address) => return (self.longest_match(*address, to), None),
            RouteFilter::Exact(net) => {
                self.views_of(*net, to, &mut views);
                return (views, None);
            }
            RouteFilter::All | RouteFilter::Inside(_) => {}
        }
        let gather = || {
            let all = self.ipv4.prefixes().chain(self.ipv6.prefixes());
            all.filter(|net| !matches!(filter, RouteFilter::Inside(outer) if !outer.contains(net)))
                .collect()
        };
        let (page, next) = listings.page(ListOf::Routes(filter.clone()), after, limit, gather);
        page.into_iter()
            .for_each(|net| self.views_of(net, to, &mut views));
        (views, next)
    }

    /// A page of the kernel's routes: at most `limit` after `after`, in the order of prefixes, IPv4 first; and where
    /// the next page starts.
    pub fn fib_page(
        &self,
        listings: &mut Listings,
        after: Option<IpNet>,
        limit: usize,
    ) -> (Vec<FibView>, Option<IpNet>) {
        let fib = &self.shared.fib;
        let (page, next) = listings.page(ListOf::Fib, after, limit, || fib.nets().collect());
        (page.into_iter().filter_map(|net| fib.view(net)).collect(), next)
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

    fn longest_match(&self, address: IpAddr, to: Option<PeerId>) -> Vec<RouteView> {
        let mut net = IpNet::from(address);
        loop {
            let mut views = Vec::new();
            self.views_of(net, to, &mut views);
            match net.supernet() {
                Some(next) if views.is_empty() => net = next,
                _ => return views,
            }
        }
    }

    fn views_of(&self, net: IpNet, to: Option<PeerId>, views: &mut Vec<RouteView>) {
        match net {
            IpNet::V4(prefix) => self.route_views(&self.ipv4, prefix, to, views),
            IpNet::V6(prefix) => self.route_views(&self.ipv6, prefix, to, views),
        }
    }

    fn route_views<P: FibPrefix>(
        &self,
        family: &FamilyRib<P>,
        net: P,
        to: Option<PeerId>,
        views: &mut Vec<RouteView>,
    ) {
        let Some(id) = family.table.find(net) else {
            return;
        };
        let prefix: IpNet = net.into();
        let selection = family.selection(&self.shared, id);
        let mut of_prefix: Vec<RouteView> = Vec::new();
        for (path_id, path) in family.table.paths(id) {
            if !path.flags.contains(PathFlags::DEAD) {
                let is_best = selection.as_ref().is_some_and(|s| s.best == path_id);
                let is_equal = selection.as_ref().is_some_and(|s| s.multipath.contains(&path_id));
                let reason = match &selection {
                    Some(_) if is_best && !self.is_reachable(path) => {
                        "next hop unreachable: announced at most, never used".into()
                    }
                    Some(selection) if is_best => words::of_winner(selection.step).into(),
                    _ if is_equal => "as good as the best".into(),
                    _ => self.why_not(family, id, prefix, path_id),
                };
                let view = self.route_view(prefix, path, reason);
                of_prefix.push(RouteView {
                    best: is_best,
                    multipath: is_equal,
                    announced: to.map(|to| self.announced_to(to, family, net, path_id, is_best)),
                    ..view
                });
            }
        }
        of_prefix.sort_by_key(|view| (!view.best, view.peer.clone(), view.path_id));
        views.append(&mut of_prefix);
    }

    fn why_not<P: FibPrefix>(
        &self,
        family: &FamilyRib<P>,
        id: PrefixId,
        prefix: IpNet,
        path_id: PathId,
    ) -> String {
        let path = family.table.path(path_id);
        if path.flags.contains(PathFlags::REJECTED) {
            return self.why_refused(prefix, path).map_or_else(
                || "refused on import".into(),
                |why| format!("refused on import: {why}"),
            );
        }
        match family.lost_at(&self.shared, id, path_id) {
            Some(Step::LocalPref) if self.is_leaving(path) => words::LEAVING.into(),
            Some(step) => words::of_loser(step).into(),
            // Its session has ended; the walk that clears it away has not come by yet.
            None => "its session has ended".into(),
        }
    }

    fn is_leaving(&self, path: &Path) -> bool {
        let marks = self.shared.attrs[path.attrs].facts().marks;
        marks.contains(Marks::GRACEFUL_SHUTDOWN)
    }

    fn is_reachable(&self, path: &Path) -> bool {
        let next_hop = self.shared.attrs[path.attrs].next_hop();
        path.source.is_own() || self.shared.next_hops[next_hop].reachability.is_way()
    }

    fn why_refused(&self, prefix: IpNet, path: &Path) -> Option<String> {
        let peer = self.shared.sources[path.source].peer?;
        let settings = &self.peers.get(peer)?.settings;
        import::why_refused(&self.shared, settings, prefix, path.received)
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
            announced: None,
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
