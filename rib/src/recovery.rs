//! When restart recovery is over, ours and that of peers (RFC 4724 §4).
//!
//! Ours ends when every expected peer has said End-of-RIB, or has not come up within [`PATIENCE`]. A peer that is up
//! but still sending is waited for longer, one that is itself restarting not at all.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use pipit_bgp::session::output::Negotiated;
use pipit_bgp::{Family, PeerId};

/// How long a peer that does not come up is waited for: longer than the retry of any peer that is alive.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long one that is up may take to send everything.
const TRANSFER: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    own: Option<Own>,
    /// Peers whose stale routes go at a time.
    retained: HashMap<PeerId, Instant>,
    /// Families of peers whose long-lived stale routes go at a time (RFC 9494 §4.2). A session that comes and goes
    /// again without End-of-RIB in between does not put it off.
    long_lived: HashMap<(PeerId, Family), Instant>,
}

#[derive(Debug)]
struct Own {
    began: Instant,
    /// Expected and not up yet.
    absent: HashSet<PeerId>,
    /// Up, End-of-RIB not yet in.
    sending: HashSet<PeerId>,
}

impl Recovery {
    pub(crate) fn begin(&mut self, now: Instant, peers: impl IntoIterator<Item = PeerId>) {
        self.own = Some(Own {
            began: now,
            absent: peers.into_iter().collect(),
            sending: HashSet::new(),
        });
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.own.is_some()
    }

    pub(crate) fn up(&mut self, id: PeerId, negotiated: &Negotiated) {
        if let Some(own) = &mut self.own {
            own.absent.remove(&id);
            // RFC 4724 §4.1: two that restart must not wait for each other; who knows no End-of-RIB never says it.
            if negotiated
                .graceful_restart
                .as_ref()
                .is_some_and(|restart| !restart.restarting)
            {
                own.sending.insert(id);
            }
        }
    }

    pub(crate) fn down(&mut self, id: PeerId) {
        if let Some(own) = &mut self.own
            && own.sending.remove(&id)
        {
            own.absent.insert(id);
        }
    }

    /// The peer has said End-of-RIB for a family.
    pub(crate) fn end_of_rib(&mut self, id: PeerId, family: Family) {
        self.long_lived.remove(&(id, family));
    }

    /// The peer has said End-of-RIB for every family.
    pub(crate) fn complete(&mut self, id: PeerId) {
        self.retained.remove(&id);
        self.long_lived.retain(|(of, _), _| *of != id);
        if let Some(own) = &mut self.own {
            own.sending.remove(&id);
        }
    }

    pub(crate) fn forget(&mut self, id: PeerId) {
        self.complete(id);
        if let Some(own) = &mut self.own {
            own.absent.remove(&id);
        }
    }

    pub(crate) fn retain_until(&mut self, id: PeerId, deadline: Instant) {
        self.retained.insert(id, deadline);
    }

    pub(crate) fn retain_long_lived(&mut self, id: PeerId, family: Family, deadline: Instant) {
        self.long_lived.entry((id, family)).or_insert(deadline);
    }

    pub(crate) fn is_long_lived(&self, id: PeerId, family: Family) -> bool {
        self.long_lived.contains_key(&(id, family))
    }

    /// Families whose long-lived stale time is over.
    pub(crate) fn expired_long_lived(&mut self, now: Instant) -> Vec<(PeerId, Family)> {
        self.long_lived
            .extract_if(|_, at| *at <= now)
            .map(|(key, _)| key)
            .collect()
    }

    /// Peers whose restart time is over.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<PeerId> {
        self.retained
            .extract_if(|_, at| *at <= now)
            .map(|(id, _)| id)
            .collect()
    }

    /// Whether our own recovery has just ended.
    pub(crate) fn check(&mut self, now: Instant) -> bool {
        let is_over = self.own.as_ref().is_some_and(|own| {
            (own.absent.is_empty() || now >= own.began + PATIENCE)
                && (own.sending.is_empty() || now >= own.began + TRANSFER)
        });
        if is_over {
            self.own = None;
        }
        is_over
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let own = self.own.as_ref().map(|own| {
            let patience = (!own.absent.is_empty()).then(|| own.began + PATIENCE);
            let transfer = (!own.sending.is_empty()).then(|| own.began + TRANSFER);
            patience.into_iter().chain(transfer).max().unwrap_or(own.began)
        });
        self.retained
            .values()
            .chain(self.long_lived.values())
            .copied()
            .chain(own)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_peer_delays_recovery_by_seconds_and_a_sending_one_until_it_is_done() {
        let start = Instant::now();
        let mut recovery = Recovery::default();
        recovery.begin(start, [PeerId(1), PeerId(2)]);
        assert!(!recovery.check(start));
        recovery.forget(PeerId(1));
        assert!(!recovery.check(start + Duration::from_secs(11)));
        assert_eq!(recovery.next_deadline(), Some(start + PATIENCE));
        assert!(recovery.check(start + PATIENCE));
        assert!(!recovery.is_under_way());
        assert!(!recovery.check(start + PATIENCE), "says so once");
    }

    #[test]
    fn with_nobody_to_wait_for_it_is_over_at_once() {
        let now = Instant::now();
        let mut recovery = Recovery::default();
        recovery.begin(now, []);
        assert!(recovery.check(now));
    }
}
