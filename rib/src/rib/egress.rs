//! Who is told: update groups, and frames for sessions that can take them.

use std::collections::VecDeque;

use bytes::Bytes;
use pipit_bgp::{Family, FamilyMap, PeerId};

use crate::adj_rib_out::{EgressKey, FrameSink};
use crate::family_rib::Move;
use crate::peer::{PeerState, PeerTable, SessionState};
use crate::rib::{Output, Rib};

/// Collects a family's frames for the task, and notes whose they are.
struct Frames<'a> {
    family: Family,
    outputs: &'a mut VecDeque<Output>,
    peers: &'a mut PeerTable,
}

impl FrameSink for Frames<'_> {
    fn frame(&mut self, peer: PeerId, bytes: Bytes) {
        if let Some(session) = self.peers.session_mut(peer) {
            session.in_flight.push_back(self.family);
        }
        self.outputs.push_back(Output::Frame(peer, bytes));
    }

    fn give_up(&mut self, peer: PeerId) {
        if let Some(session) = self
            .peers
            .session_mut(peer)
            .filter(|session| !session.is_over_limit)
        {
            session.is_over_limit = true;
            self.outputs.push_back(Output::Stuck(peer));
        }
    }
}

impl Rib {
    /// Sends what is due to peers that can take it. The task calls this when it has no further input at hand, so
    /// that what arrives together leaves together.
    pub fn flush(&mut self) {
        self.purge();
        self.refresh_learn_rules();
        self.take_fib_events();
        if std::mem::take(&mut self.is_reevaluation_due) {
            self.reevaluate_all();
        }
        self.apply_regroup();
        let holds = self.recovery.holds_end_of_rib();
        let mut frames = Frames {
            family: Family::Ipv4Unicast,
            outputs: &mut self.outputs,
            peers: &mut self.peers,
        };
        self.ipv4.flush(&self.shared, holds, &mut frames);
        frames.family = Family::Ipv6Unicast;
        self.ipv6.flush(&self.shared, holds, &mut frames);
        let is_reaping = self.ipv4.reap() | self.ipv6.reap();
        self.has_backlog = is_reaping || !self.purge.is_idle() || self.has_fib_backlog;
    }

    /// Puts a peer into the update groups that its settings and session ask for, at the next flush at the latest:
    /// peers that change together stay together, and are then told only what differs.
    pub(super) fn regroup(&mut self, id: PeerId) {
        if self.peers.get(id).is_some_and(|peer| peer.session.is_some()) {
            self.to_regroup.push(id);
        }
    }

    pub(super) fn regroup_all(&mut self) {
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
            let negotiated = &session.negotiated;
            let restart = negotiated.graceful_restart.as_ref();
            // One that restarts itself has nothing of ours that it could keep, and may wait for us to end first.
            let is_restarting = restart.is_some_and(|restart| restart.restarting);
            for family in Family::ALL {
                let key = self.egress_key(family, peer, session);
                moves[family].push(Move {
                    peer: id,
                    source,
                    from: session.groups[family],
                    waits_for_recovery: negotiated.keeps_our_routes && !is_restarting,
                    key,
                });
            }
        }
        let ipv4 = self.ipv4.regroup(&self.shared, moves.ipv4);
        let ipv6 = self.ipv6.regroup(&self.shared, moves.ipv6);
        for (family, joined) in [(Family::Ipv4Unicast, ipv4), (Family::Ipv6Unicast, ipv6)] {
            for (id, group) in joined {
                if let Some(session) = self.peers.session_mut(id) {
                    session.groups[family] = group;
                }
            }
        }
    }

    /// What decides what a peer is told of a family; `None` where its session does not carry it.
    fn egress_key(&self, family: Family, peer: &PeerState, session: &SessionState) -> Option<EgressKey> {
        session.carries(family).then(|| {
            let own = self.shared.own_next_hop(family, &session.negotiated);
            EgressKey::new(family, &peer.settings, &session.negotiated, own)
        })
    }

    /// Peers that are in another group than their settings and session ask for, and wait for no flush that moves them.
    pub(crate) fn verify_groups(&self, faults: &mut Vec<String>) {
        for (id, peer) in self.peers.iter() {
            let Some(session) = &peer.session else { continue };
            for family in Family::ALL {
                let (group, key) = (session.groups[family], self.egress_key(family, peer, session));
                let is_placed = match family {
                    Family::Ipv4Unicast => self.ipv4.is_placed(id, group, key.as_ref()),
                    Family::Ipv6Unicast => self.ipv6.is_placed(id, group, key.as_ref()),
                };
                if !is_placed && !self.to_regroup.contains(&id) {
                    faults.push(format!(
                        "{}: is not told the {family} routes that it should be",
                        peer.settings.name
                    ));
                }
            }
        }
    }

    pub(super) fn leave_groups(&mut self, id: PeerId) {
        let Some(session) = self.peers.session_mut(id) else {
            return;
        };
        let groups = std::mem::take(&mut session.groups);
        self.ipv4.leave(groups.ipv4, id);
        self.ipv6.leave(groups.ipv6, id);
    }
}
