//! Whether a path goes to a peer, and if not, why.

use ipnet::IpNet;
use pipit_bgp::PeerId;

use crate::adj_rib_out::EgressKey;
use crate::export::NotSent;
use crate::family_rib::FamilyRib;
use crate::fib::FibPrefix;
use crate::rib::Rib;
use crate::table::PathId;

impl Rib {
    /// The peer of this name.
    pub(super) fn peer_named(&self, name: &str) -> Option<PeerId> {
        self.peers
            .iter()
            .find(|(_, peer)| peer.settings.name == name)
            .map(|(id, _)| id)
    }

    /// `announced`, or why not. Asked of the rules, not of what was sent: a peer may be about to hear of it.
    pub(super) fn announced_to<P: FibPrefix>(
        &self,
        to: PeerId,
        family: &FamilyRib<P>,
        prefix: P,
        path_id: PathId,
        is_best: bool,
    ) -> String {
        let Some(peer) = self.peers.get(to) else {
            return "no such peer".into();
        };
        let Some(session) = &peer.session else {
            return "the session is not established".into();
        };
        if !session.carries(P::FAMILY) {
            return format!("the session does not carry {}", P::FAMILY);
        }
        let path = family.table.path(path_id);
        if !path.is_candidate() {
            return "refused on import".into();
        }
        if Some(path.source) == peer.source {
            return "it came from this peer".into();
        }
        let own = self.shared.own_next_hop(P::FAMILY, &session.negotiated);
        let key = EgressKey::new(P::FAMILY, &peer.settings, &session.negotiated, own);
        if !is_best && !key.all_paths {
            return "another path is better, and the peer takes one only".into();
        }
        let prefix: IpNet = prefix.into();
        match family.decide(&self.shared, &key, prefix, path_id) {
            Ok(_) => "announced".into(),
            Err(NotSent::Filter(at)) => {
                let filter = key.filters.get(usize::from(at.filter));
                let name = filter.map_or("", |filter| filter.name.as_str());
                format!("rejected by rule {} of filter {name}", at.rule + 1)
            }
            Err(reason) => reason.to_string(),
        }
    }
}
