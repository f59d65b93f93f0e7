//! What keeps one peer, or all of them together, from eating up the node's memory.

use pipit_bgp::{FamilySet, PeerId};
use tracing::{error, warn};

use crate::peer::SessionState;
use crate::rib::{Output, Rib};
use crate::source::SourceId;

/// How much the table may hold. The measure is taken after each message of a peer, so it can be exceeded by what one
/// read from a socket brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RibLimits {
    /// Paths of both families together.
    pub paths: usize,
    /// Octets of distinct attribute sets: what a peer blows up that gives every route attributes of its own.
    pub attribute_bytes: usize,
}

impl Default for RibLimits {
    fn default() -> Self {
        // A route takes about a hundred octets: this is a gigabyte each, and ten times today's internet.
        RibLimits {
            paths: 10_000_000,
            attribute_bytes: 1 << 30,
        }
    }
}

impl Rib {
    /// Other limits; acted upon when routes next come in.
    pub fn set_limits(&mut self, limits: RibLimits) {
        self.limits = limits;
    }

    /// Ends the session of a peer that exceeds its own limit, or of the greediest one when all together are too many.
    pub(super) fn check_limits(&mut self, id: PeerId, source: SourceId) {
        self.check_prefix_limit(id, source);
        let totals = self.totals();
        let is_full =
            totals.paths > self.limits.paths || totals.attribute_bytes > self.limits.attribute_bytes;
        if !is_full || self.is_making_room() {
            return;
        }
        let greediest = if totals.paths > self.limits.paths {
            self.greediest(|rib, source| {
                let counts = rib.shared.sources[source].received;
                u64::from(counts.ipv4) + u64::from(counts.ipv6)
            })
        } else {
            let held = self.attribute_bytes_by_source();
            self.greediest(|_, source| held.get(usize::from(source.0)).copied().unwrap_or(0))
        };
        let Some(peer) = greediest.and_then(|id| self.peers.get_mut(id).map(|peer| (id, peer))) else {
            return;
        };
        let (id, peer) = peer;
        let (paths, octets) = (totals.paths, totals.attribute_bytes);
        error!(peer = %peer.settings.name, paths, octets, "the routing table is full: the peer with the largest share goes");
        match peer.session.as_mut() {
            Some(session) => {
                session.is_over_limit = true;
                self.outputs.push_back(Output::OutOfResources(id));
            }
            // Away, and its routes kept for its return.
            None => self.drop_retained(id),
        }
    }

    /// Somebody's routes are on their way out: what that makes of the table decides about the next one.
    fn is_making_room(&self) -> bool {
        let is_ending = |session: &SessionState| session.is_over_limit;
        !self.purge.is_idle()
            || self
                .peers
                .iter()
                .any(|(_, peer)| peer.session.as_ref().is_some_and(is_ending))
    }

    /// A peer has another limit: what it has announced already counts.
    pub(super) fn limit_changed(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if let (Some(source), Some(session)) = (peer.source, peer.session.as_mut()) {
            session.near_limit = FamilySet::EMPTY;
            self.check_prefix_limit(id, source);
        }
    }

    fn check_prefix_limit(&mut self, id: PeerId, source: SourceId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let (Some(limit), Some(session)) = (peer.settings.max_prefixes, peer.session.as_mut()) else {
            return;
        };
        for family in session.families.iter() {
            let count = self.shared.sources[source].received[family];
            if count > limit && !session.is_over_limit {
                session.is_over_limit = true;
                self.outputs.push_back(Output::PrefixLimit(id, family, limit));
            } else if u64::from(count) * 5 > u64::from(limit) * 4 && !session.near_limit.contains(family) {
                session.near_limit.insert(family);
                warn!(peer = %peer.settings.name, %family, count, limit, "the peer is close to its prefix limit");
            }
        }
    }

    /// The peer with the largest share.
    fn greediest(&self, share: impl Fn(&Rib, SourceId) -> u64) -> Option<PeerId> {
        let shares = self
            .peers
            .iter()
            .filter_map(|(id, peer)| Some((share(self, peer.source?), id)));
        shares.max().map(|(_, id)| id)
    }

    /// What each source's paths hold of the attributes: a set that many share is split among them. One pass over the
    /// table, and only when the limit is exceeded.
    fn attribute_bytes_by_source(&self) -> Vec<u64> {
        let mut held = Vec::new();
        self.ipv4.add_attribute_bytes(&self.shared, &mut held);
        self.ipv6.add_attribute_bytes(&self.shared, &mut held);
        held
    }
}
