//! The decision process: RFC 4271 §9.1.2, RFC 4456 §9, and Calico's preferences before them.
//!
//! [`Step`]s are asked in order; the first that tells two paths apart decides and is the reason shown. Up to and
//! including [`Step::IgpMetric`] the steps say how good a path is, so paths that tie there form the multipath set;
//! the rest only make the choice of one unambiguous.

use std::cmp::Ordering;
use std::net::IpAddr;

use pipit_bgp::Asn;
use pipit_bgp::wire::attr::{AttrFacts, Marks};
use serde::Serialize;
use smallvec::{SmallVec, smallvec};

use crate::next_hops::NextHopId;
use crate::table::PathId;

/// LOCAL_PREF of a path that carries none (eBGP), as BIRD has it.
pub const DEFAULT_LOCAL_PREF: u32 = 100;

/// Which rule preferred one path over another, in the order in which they are asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// There is no other path.
    OnlyPath,
    /// A next hop that can be reached before one that cannot, whatever else speaks for it.
    Reachable,
    /// Kind of origin: own routes, elevated routes, BGP, the kernel's (Calico).
    Preference,
    /// A path announced by the block's owner before one that a neighbour relays (Calico limit L1).
    FirstHand,
    /// Fresh before long-lived stale (RFC 9494 §4.3).
    LlgrStale,
    /// Higher LOCAL_PREF; zero for a path that is being shut down (RFC 8326).
    LocalPref,
    /// Shorter AS path.
    AsPathLength,
    /// Lower ORIGIN.
    Origin,
    /// Lower MED among paths of one neighbouring AS; absent is zero.
    Med,
    /// eBGP before iBGP.
    External,
    /// Nearer next hop.
    IgpMetric,
    /// Lower router id of the originator.
    RouterId,
    /// Shorter CLUSTER_LIST.
    ClusterListLength,
    /// Lower peer address.
    PeerAddress,
    /// Lower path identifier of one peer.
    PathIdentifier,
}

/// Calico's preference of a path's kind of origin; higher is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Preference {
    /// Another program's, on this node.
    Kernel,
    /// Learned over BGP.
    Bgp,
    /// Learned over BGP with a LOCAL_PREF above that of normal routes.
    Elevated,
    /// This node's own.
    Local,
    /// A network that this node is connected to.
    Connected,
}

/// One path, with everything that the steps look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) path: PathId,
    pub(crate) is_reachable: bool,
    pub(crate) preference: Preference,
    pub(crate) is_second_hand: bool,
    pub(crate) is_llgr_stale: bool,
    pub(crate) facts: &'a AttrFacts,
    pub(crate) is_external: bool,
    pub(crate) igp_metric: u32,
    pub(crate) next_hop: NextHopId,
    /// ORIGINATOR_ID, else the peer's router id (RFC 4456 §9).
    pub(crate) originator: u32,
    pub(crate) peer_address: IpAddr,
    pub(crate) remote_id: u32,
}

impl Candidate<'_> {
    fn neighbor_as(&self) -> Option<Asn> {
        self.facts.neighbor_as
    }
}

/// LOCAL_PREF as the decision process sees it.
pub(crate) fn local_pref(facts: &AttrFacts) -> u32 {
    if facts.marks.contains(Marks::GRACEFUL_SHUTDOWN) {
        0
    } else {
        facts.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)
    }
}

/// The chosen path and those as good as it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Selection {
    pub(crate) best: PathId,
    /// What set it apart from the runner-up.
    pub(crate) step: Step,
    /// The best path first, then those that tie with it through the IGP metric, best first.
    pub(crate) multipath: SmallVec<[PathId; 2]>,
}

/// Chooses among the paths of one prefix; `None` when there are none.
///
/// A path whose next hop cannot be reached is chosen only where there is no other. It is then not written to the
/// kernel, and handed on only with its next hop kept, for those who can reach it (`export`).
///
/// MED is compared within each neighbouring AS before those groups' winners meet (RFC 4271 §9.1.2.2 c), so the
/// outcome does not depend on the order of the candidates. Cost: one comparison a candidate within its group, and
/// one a group. `max_paths` counts next hops: paths that differ only in who handed them on are one way.
pub(crate) fn select(candidates: &[Candidate<'_>], max_paths: usize) -> Option<Selection> {
    if let [only] = candidates {
        return Some(Selection {
            best: only.path,
            step: Step::OnlyPath,
            multipath: SmallVec::from_slice(&[only.path]),
        });
    }
    let winners = group_winners(candidates);
    let best = *winners.iter().min_by(|a, b| compare(a, b, Med::Skip).0)?;
    let step = runner_up_step(candidates, &winners, best);
    let mut equal: SmallVec<[&Candidate<'_>; 8]> = candidates
        .iter()
        .filter(|other| other.path != best.path && compare(best, other, Med::WithinAs).1 > Step::IgpMetric)
        // A path that its own AS's winner beats on MED is not as good as the best, whatever it ties with.
        .filter(|other| {
            winners
                .iter()
                .filter(|winner| winner.neighbor_as() == other.neighbor_as())
                .all(|winner| {
                    winner.path == other.path || compare(winner, other, Med::WithinAs).1 > Step::IgpMetric
                })
        })
        .collect();
    equal.sort_by(|a, b| compare(a, b, Med::Skip).0);
    let mut next_hops: SmallVec<[NextHopId; 8]> = smallvec![best.next_hop];
    equal.retain(|other| {
        let is_known = next_hops.contains(&other.next_hop);
        if !is_known && next_hops.len() < max_paths {
            next_hops.push(other.next_hop);
        }
        next_hops.contains(&other.next_hop)
    });
    let multipath = std::iter::once(best.path)
        .chain(equal.into_iter().map(|other| other.path))
        .collect();
    Some(Selection {
        best: best.path,
        step,
        multipath,
    })
}

fn group_winners<'c, 'a>(candidates: &'c [Candidate<'a>]) -> SmallVec<[&'c Candidate<'a>; 8]> {
    let mut winners: SmallVec<[&Candidate<'a>; 8]> = SmallVec::new();
    for candidate in candidates {
        match winners
            .iter_mut()
            .find(|winner| winner.neighbor_as() == candidate.neighbor_as())
        {
            Some(winner) => {
                if compare(candidate, winner, Med::WithinAs).0 == Ordering::Less {
                    *winner = candidate;
                }
            }
            None => winners.push(candidate),
        }
    }
    winners
}

/// The step at which the last rival fell: the latest over all rivals, since that one came closest.
fn runner_up_step(candidates: &[Candidate<'_>], winners: &[&Candidate<'_>], best: &Candidate<'_>) -> Step {
    let among_winners = winners
        .iter()
        .filter(|w| w.path != best.path)
        .map(|w| compare(best, w, Med::Skip).1);
    let within_as = candidates
        .iter()
        .filter(|c| c.path != best.path && c.neighbor_as() == best.neighbor_as())
        .map(|c| compare(best, c, Med::WithinAs).1);
    among_winners.chain(within_as).max().unwrap_or(Step::OnlyPath)
}

/// The step at which a candidate fell: against the best of its own AS, else against the best of all. `None` when it
/// is the best, or not among the candidates.
pub(crate) fn lost_at(candidates: &[Candidate<'_>], path: PathId) -> Option<Step> {
    let loser = candidates.iter().find(|candidate| candidate.path == path)?;
    let winners = group_winners(candidates);
    let best = winners.iter().min_by(|a, b| compare(a, b, Med::Skip).0)?;
    if best.path == path {
        return None;
    }
    let of_as = winners
        .iter()
        .find(|winner| winner.neighbor_as() == loser.neighbor_as());
    match of_as.filter(|winner| winner.path != path) {
        Some(winner) => Some(compare(winner, loser, Med::WithinAs).1),
        None => Some(compare(best, loser, Med::Skip).1),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Med {
    WithinAs,
    Skip,
}

/// `Less` means that `a` is preferred.
fn compare(a: &Candidate<'_>, b: &Candidate<'_>, med: Med) -> (Ordering, Step) {
    let same_as = a.neighbor_as() == b.neighbor_as();
    let steps: [(Step, Ordering); 9] = [
        (Step::Reachable, b.is_reachable.cmp(&a.is_reachable)),
        (Step::Preference, b.preference.cmp(&a.preference)),
        (Step::FirstHand, a.is_second_hand.cmp(&b.is_second_hand)),
        (Step::LlgrStale, a.is_llgr_stale.cmp(&b.is_llgr_stale)),
        (Step::LocalPref, local_pref(b.facts).cmp(&local_pref(a.facts))),
        (Step::AsPathLength, a.facts.as_path_len.cmp(&b.facts.as_path_len)),
        (Step::Origin, a.facts.origin.cmp(&b.facts.origin)),
        (
            Step::Med,
            if med == Med::WithinAs && same_as {
                a.facts.med.unwrap_or(0).cmp(&b.facts.med.unwrap_or(0))
            } else {
                Ordering::Equal
            },
        ),
        (Step::External, b.is_external.cmp(&a.is_external)),
    ];
    for (step, order) in steps {
        if order != Ordering::Equal {
            return (order, step);
        }
    }
    let tie_breaks = [
        (Step::IgpMetric, a.igp_metric.cmp(&b.igp_metric)),
        (Step::RouterId, a.originator.cmp(&b.originator)),
        (
            Step::ClusterListLength,
            a.facts.cluster_list_len.cmp(&b.facts.cluster_list_len),
        ),
        (Step::PeerAddress, a.peer_address.cmp(&b.peer_address)),
        (Step::PathIdentifier, a.remote_id.cmp(&b.remote_id)),
    ];
    for (step, order) in tie_breaks {
        if order != Ordering::Equal {
            return (order, step);
        }
    }
    (a.path.cmp(&b.path), Step::PathIdentifier)
}

#[cfg(test)]
mod tests;
