//! Peers come, change, end, and go; what becomes of their routes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipit_bgp::session::output::{Negotiated, SessionEnd};
use pipit_bgp::{Family, FamilyMap, FamilySet, PeerId, RouterId};
use tracing::{debug, info, warn};

use crate::peer::{PeerSettings, SessionState};
use crate::policy::PeerType;
use crate::rib::Rib;
use crate::source::{Source, SourceId};

/// How long a peer that has come back may take to say everything again (RFC 4724 §4.2: an upper bound).
const TRANSFER: Duration = Duration::from_secs(360);

impl Rib {
    /// Adds a peer or changes it. A change of filters, next hop or role acts on stored routes: no session moves.
    pub fn set_peer(&mut self, id: PeerId, settings: PeerSettings) {
        let settings = Arc::new(settings);
        let interface = settings.interface.clone();
        if self.shared.fib.set_link(id, settings.address, interface) {
            self.take_fib_events();
        }
        let Some(peer) = self.peers.get(id) else {
            self.is_learning_stale |= settings.has_export_filters();
            self.peers.insert(id, settings);
            return;
        };
        let (source, old) = (peer.source, Arc::clone(&peer.settings));
        if old == settings {
            return;
        }
        self.peers.change(id, Arc::clone(&settings));
        self.is_learning_stale |= old.export != settings.export;
        if let Some(source) = source {
            let entry = &mut self.shared.sources[source];
            entry.is_client = settings.is_client;
            entry.is_external = settings.peer_type() == PeerType::Ebgp;
            if is_import_changed(&old, &settings) {
                let of = |other, _| (other == source).then_some(&*settings);
                self.ipv4.reimport(&mut self.shared, of);
                self.ipv6.reimport(&mut self.shared, of);
            }
        }
        self.regroup(id);
        if old.max_prefixes != settings.max_prefixes {
            self.limit_changed(id);
        }
        // A node that becomes a reflector changes all its peers at once: one look at the table does for them.
        self.is_reevaluation_due |= old.is_client != settings.is_client;
    }

    /// Forgets a peer and its routes.
    pub fn remove_peer(&mut self, id: PeerId) {
        self.leave_groups(id);
        self.shared.fib.forget_link(id);
        if let Some(peer) = self.peers.remove(id) {
            self.is_learning_stale |= peer.settings.has_export_filters();
            if let Some(source) = peer.source {
                self.close_source(source);
            }
        }
        self.recovery.forget(id);
    }

    /// A session is Established.
    pub fn handle_up(&mut self, now: Instant, id: PeerId, negotiated: Box<Negotiated>) {
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
        self.set_router_id(source, negotiated.remote_router_id);
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let recovery = &self.recovery;
        let kept = negotiated
            .graceful_restart
            .as_ref()
            .map_or(FamilySet::EMPTY, |restart| {
                // RFC 9494 §4.2: beyond the restart time the other F bit counts.
                families
                    .iter()
                    .filter(|&family| match recovery.is_long_lived(id, family) {
                        true => restart.long_lived_forwarding.contains(family),
                        false => restart.forwarding.contains(family),
                    })
                    .collect()
            });
        let lost: FamilySet = peer
            .retained
            .iter()
            .filter(|family| !kept.contains(*family))
            .collect();
        peer.retained = peer.retained.intersection(kept);
        self.recovery.up(now, id, negotiated.graceful_restart.as_ref());
        if !peer.retained.is_empty() {
            self.recovery.retain_until(id, now + TRANSFER);
        }
        peer.session = Some(SessionState {
            negotiated,
            families,
            groups: FamilyMap::default(),
            in_flight: VecDeque::new(),
            end_of_rib: FamilySet::EMPTY,
            near_limit: FamilySet::EMPTY,
            is_over_limit: false,
        });
        for family in lost.iter() {
            self.recovery.end_of_rib(id, family);
            self.sweep(source, family);
        }
        self.regroup(id);
        self.check_recovery(now);
    }

    /// A peer may come back with another router id, and what was kept of it is its own: ORIGINATOR_ID says so.
    fn set_router_id(&mut self, source: SourceId, router_id: RouterId) {
        let entry = &mut self.shared.sources[source];
        if std::mem::replace(&mut entry.router_id, router_id) != router_id {
            self.ipv4.announce_again(&mut self.shared, source);
            self.ipv6.announce_again(&mut self.shared, source);
        }
    }

    /// A session ended.
    pub fn handle_down(&mut self, now: Instant, id: PeerId, end: &SessionEnd) {
        self.leave_groups(id);
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let session = peer.session.take();
        self.recovery.down(now, id);
        let Some(source) = peer.source else { return };
        if end.retain.is_empty() {
            self.drop_retained(id);
            self.check_recovery(now);
            return;
        }
        let restart = session.and_then(|session| session.negotiated.graceful_restart);
        let outlives = restart.is_some_and(|restart| restart.notification);
        let stale = std::mem::replace(&mut peer.retained, end.retain);
        peer.long_lived = end.long_lived;
        // RFC 4724 §4.2 has what is stale already go at once when the peer is lost again. Who knows notifications has
        // its restart time (RFC 8538 §4.1), counted from the first loss: a reflector that crashes in a loop would
        // otherwise take every route from its clients.
        let since = peer.away_since.filter(|_| !stale.is_empty());
        let is_overdue = since.is_some_and(|since| now >= since + end.restart_time);
        if since.is_none() || is_overdue {
            peer.away_since = Some(now);
        }
        debug!(peer = %peer.settings.name, restart_time = ?end.restart_time, "keeping the peer's routes as stale");
        if is_overdue || !outlives {
            for family in stale.iter() {
                match family {
                    Family::Ipv4Unicast => self.ipv4.sweep_twice_stale(&mut self.shared, source),
                    Family::Ipv6Unicast => self.ipv6.sweep_twice_stale(&mut self.shared, source),
                }
            }
        }
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

    /// The routes of a peer without a session are kept no longer.
    pub(super) fn drop_retained(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        peer.retained = FamilySet::EMPTY;
        self.recovery.complete(id);
        if let Some(source) = peer.source.take() {
            self.close_source(source);
        }
    }

    /// The time is over that a peer had for coming back, or for saying everything again since it did.
    pub(super) fn end_restart_time(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(source) = peer.source else { return };
        let is_up = peer.session.is_some();
        let may_stay = |family: &Family| !is_up && !peer.long_lived[*family].is_zero();
        let stays: FamilySet = peer.retained.iter().filter(may_stay).collect();
        let goes = peer.retained.iter().filter(|family| !may_stay(family)).collect();
        info!(peer = %peer.settings.name, kept_longer = !stays.is_empty(), "restart time is over: stale routes go");
        peer.retained = stays;
        peer.away_since = None;
        for family in stays.iter() {
            let deadline = now + peer.long_lived[family];
            self.recovery.retain_long_lived(id, family, deadline);
            match family {
                Family::Ipv4Unicast => self.ipv4.begin_long_lived(&mut self.shared, source),
                Family::Ipv6Unicast => self.ipv6.begin_long_lived(&mut self.shared, source),
            }
        }
        self.let_go(id, source, goes);
    }

    /// A family's long-lived stale time is over.
    pub(super) fn end_long_lived(&mut self, id: PeerId, family: Family) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(source) = peer.source else { return };
        info!(peer = %peer.settings.name, %family, "long-lived stale time is over: stale routes go");
        peer.retained.remove(family);
        self.let_go(id, source, FamilySet::only(family));
    }

    /// Stale routes of these families go; with the last of them the source of a peer that is away.
    fn let_go(&mut self, id: PeerId, source: SourceId, families: FamilySet) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if peer.session.is_none() && peer.retained.is_empty() {
            peer.source = None;
            self.close_source(source);
        } else {
            families.iter().for_each(|family| self.sweep(source, family));
        }
    }

    /// A peer's task has written its oldest frame.
    pub fn handle_drained(&mut self, id: PeerId) {
        let Some(session) = self.peers.session_mut(id) else {
            return;
        };
        let groups = session.groups;
        match session.in_flight.pop_front() {
            Some(Family::Ipv4Unicast) => self.ipv4.grant(groups.ipv4, id),
            Some(Family::Ipv6Unicast) => self.ipv6.grant(groups.ipv6, id),
            None => {}
        }
    }

    /// The source's paths count no more; they are cleared away slice by slice.
    pub(super) fn close_source(&mut self, source: SourceId) {
        self.shared.sources[source].is_closing = true;
        self.purge.add(source);
    }

    /// Removes what a source announced in an earlier generation and has not announced again.
    pub(super) fn sweep(&mut self, source: SourceId, family: Family) {
        match family {
            Family::Ipv4Unicast => self.ipv4.sweep_source(&mut self.shared, source),
            Family::Ipv6Unicast => self.ipv6.sweep_source(&mut self.shared, source),
        }
    }
}

fn is_import_changed(old: &PeerSettings, new: &PeerSettings) -> bool {
    old.import != new.import
        || old.allowed_local_as != new.allowed_local_as
        || old.accepts_local_pref != new.accepts_local_pref
        || old.enforces_first_as != new.enforces_first_as
        || old.role != new.role
}
