//! The decision process in an operator's words.

use crate::best_path::Step;

/// What the best path has that its closest rival has not.
pub(super) fn of_winner(step: Step) -> &'static str {
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
}

/// Why a path that is being shut down fell behind, whatever local preference it has (RFC 8326 §4).
pub(super) const LEAVING: &str = "being shut down (GRACEFUL_SHUTDOWN): the last choice";

/// Why a path fell behind the best one.
pub(super) fn of_loser(step: Step) -> &'static str {
    match step {
        Step::OnlyPath => "another path is better",
        Step::Reachable => "next hop unreachable",
        Step::Preference => "less preferred kind of origin",
        Step::FirstHand => "relayed by a neighbour, and its owner announces it, too",
        Step::LlgrStale => "long-lived stale",
        Step::LocalPref => "lower local preference",
        Step::AsPathLength => "longer AS path",
        Step::Origin => "higher origin",
        Step::Med => "higher MED than another path of its AS",
        Step::External => "iBGP, behind eBGP",
        Step::IgpMetric => "farther next hop",
        Step::RouterId => "higher router id",
        Step::ClusterListLength => "longer cluster list",
        Step::PeerAddress => "higher peer address",
        Step::PathIdentifier => "higher path identifier",
    }
}
