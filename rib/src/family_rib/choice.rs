//! What there is to choose from, and what the kernel is to do with the outcome (behaviour contract §6.2).

use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::NextHop;
use pipit_bgp::wire::attr::{AttrView, Marks};
use smallvec::{SmallVec, smallvec};

use crate::best_path::{self, Candidate, DEFAULT_LOCAL_PREF, Preference, Selection, Step};
use crate::export::PRIORITY_BASE;
use crate::family_rib::FamilyRib;
use crate::fib::{FibAction, FibPrefix, FibTarget, Hop, Reachability, Tunnel};
use crate::link_bandwidth;
use crate::next_hops::NextHopId;
use crate::policy::PoolAction;
use crate::rib::Shared;
use crate::source::SourceId;
use crate::table::{Path, PathId, PrefixId};

impl<P: FibPrefix> FamilyRib<P> {
    /// The choice among the paths of a prefix as it stands.
    pub(crate) fn selection(&self, shared: &Shared, id: PrefixId) -> Option<Selection> {
        let candidates = self.candidates(shared, id);
        best_path::select(&candidates, shared.node.max_paths)
    }

    /// The step at which a path fell.
    pub(crate) fn lost_at(&self, shared: &Shared, id: PrefixId, path: PathId) -> Option<Step> {
        best_path::lost_at(&self.candidates(shared, id), path)
    }

    fn weights(&self, shared: &Shared, ways: &[(NextHopId, PathId)]) -> SmallVec<[u8; 4]> {
        if ways.len() == 1 {
            return smallvec![1];
        }
        let bandwidth = |&(_, path): &(NextHopId, PathId)| {
            let set = &shared.attrs[self.table.path(path).attrs];
            link_bandwidth::of(AttrView::new(set.bytes()))
        };
        let bandwidths: SmallVec<[Option<f32>; 4]> = ways.iter().map(bandwidth).collect();
        link_bandwidth::weights(&bandwidths)
    }

    fn candidates<'a>(&self, shared: &'a Shared, id: PrefixId) -> SmallVec<[Candidate<'a>; 4]> {
        let prefix: IpNet = self.table.prefix(id).into();
        let paths = self.table.paths(id).filter(|(_, path)| path.is_candidate());
        paths
            .filter_map(|(path_id, path)| candidate(shared, prefix, path_id, path))
            .collect()
    }

    /// What the kernel should do with a prefix (behaviour contract §6.2).
    pub(super) fn fib_target(
        &self,
        shared: &Shared,
        id: PrefixId,
        selection: &Selection,
    ) -> Option<FibTarget> {
        let prefix: IpNet = self.table.prefix(id).into();
        let rules = &shared.policy[P::FAMILY].kernel;
        let best = self.table.path(selection.best);
        if rules.skip_services.covers(prefix) {
            return None;
        }
        let action = rules.action(prefix);
        if best.source == SourceId::LOCAL {
            // A host route's blackhole would swallow the pod itself.
            let is_block = best.remote_id == 0 && prefix.prefix_len() < P::MAX_LEN;
            let target = FibTarget {
                action: FibAction::Blackhole,
                metric: 0,
            };
            return (is_block && action != PoolAction::Skip).then_some(target);
        }
        if best.source.is_own() {
            // The kernel has it from somebody else.
            return None;
        }
        let tunnel = match action {
            PoolAction::Skip => return None,
            PoolAction::Install => Tunnel::None,
            PoolAction::TunnelAlways => Tunnel::IpipAlways,
            PoolAction::TunnelCrossSubnet { own_subnet } => Tunnel::IpipCrossSubnet(own_subnet),
        };
        // A route that several reflectors hand on is one way still: its next hop counts once.
        let mut ways: SmallVec<[(NextHopId, PathId); 2]> = SmallVec::new();
        for &path in &selection.multipath {
            let next_hop = shared.attrs[self.table.path(path).attrs].next_hop();
            if ways.iter().all(|(known, _)| *known != next_hop) {
                ways.push((next_hop, path));
            }
        }
        let hops: SmallVec<[Hop; 1]> = ways
            .iter()
            .zip(self.weights(shared, &ways))
            .map(|(&(next_hop, _), weight)| hop(shared.next_hops[next_hop].next_hop, weight, tunnel))
            .filter(|hop| !rules.wireguard_next_hops.contains(&hop.next_hop))
            .collect();
        let local_pref = shared.attrs[best.attrs]
            .facts()
            .local_pref
            .unwrap_or(DEFAULT_LOCAL_PREF);
        let metric = PRIORITY_BASE.saturating_sub(local_pref);
        (!hops.is_empty()).then_some(FibTarget {
            action: FibAction::Via(hops),
            metric,
        })
    }
}

/// A path as the decision process sees it; `None` when its source is gone.
pub(super) fn candidate<'a>(
    shared: &'a Shared,
    prefix: IpNet,
    path_id: PathId,
    path: &Path,
) -> Option<Candidate<'a>> {
    let source = &shared.sources[path.source];
    let set = &shared.attrs[path.attrs];
    let facts = set.facts();
    let is_own = path.source.is_own();
    let next_hop = &shared.next_hops[set.next_hop()];
    let (is_reachable, igp_metric) = match (&next_hop.reachability, is_own) {
        (_, true) => (true, 0),
        (Reachability::Reachable { metric, .. }, false) => (true, *metric),
        (Reachability::Unreachable | Reachability::Own, false) => (false, u32::MAX),
    };
    if source.is_closing {
        return None;
    }
    let rules = &shared.policy[pipit_bgp::Family::of(prefix.addr())].export;
    let preference = if path.source == SourceId::CONNECTED {
        Preference::Connected
    } else if path.source == SourceId::LOCAL {
        Preference::Local
    } else if path.source == SourceId::KERNEL {
        Preference::Kernel
    } else if best_path::local_pref(facts) > PRIORITY_BASE.saturating_sub(rules.normal_priority) {
        Preference::Elevated
    } else {
        Preference::Bgp
    };
    let is_relayed = !is_own && !source.is_external && facts.originator_id.is_none();
    let owner = next_hop.next_hop.address();
    // A session over the other family says nothing of who the next hop is.
    let is_second_hand = is_relayed
        && owner != source.address
        && owner.is_ipv4() == source.address.is_ipv4()
        && rules.pools.covers(prefix);
    Some(Candidate {
        path: path_id,
        is_reachable,
        preference,
        is_second_hand,
        is_llgr_stale: facts.marks.contains(Marks::LLGR_STALE),
        facts,
        is_external: source.is_external,
        igp_metric,
        next_hop: set.next_hop(),
        originator: facts.originator_id.unwrap_or(source.router_id).into(),
        peer_address: source.address,
        remote_id: path.remote_id,
    })
}

fn hop(next_hop: NextHop, weight: u8, tunnel: Tunnel) -> Hop {
    let link_local = match next_hop {
        NextHop::V6 { link_local, .. } => link_local,
        NextHop::V4(_) => None,
    };
    let address: IpAddr = next_hop.address();
    Hop {
        next_hop: address,
        link_local,
        weight,
        tunnel,
    }
}
