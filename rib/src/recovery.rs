//! When restart recovery is over, ours and that of peers (RFC 4724 §4).
//!
//! Ours has two ends. We say End-of-RIB when every expected peer has said it, or has not come up within [`SILENCE`]:
//! a peer that is up and sending is waited for longer. One that is itself restarting is told at once, or the two would
//! wait for each other. Kernel routes of the earlier run are left alone until later, when all have sent what they have
//! or after [`PATIENCE`]: a whole rack that starts at once forgets nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pipit_bgp::session::output::PeerRestart;
use pipit_bgp::{Family, PeerId};

/// How long our End-of-RIB waits for a peer that does not come up: longer than the five seconds after which pipit, and
/// Calico's BIRD, dial again.
const SILENCE: Duration = Duration::from_secs(6);
/// How long the sweep does: longer than the retry of any peer that is alive.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long one that is up may say nothing before it counts as one that has said everything.
const QUIET: Duration = Duration::from_secs(10);
/// How long it may take to send everything.
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
    /// Expected and not up.
    absent: HashMap<PeerId, Wait>,
    /// Up, End-of-RIB not yet in.
    sending: HashMap<PeerId, Sending>,
    is_announced: bool,
    /// The sweep is not before: what was heard so far may not be all that there is.
    no_sweep_before: Instant,
    /// When [`Recovery::poll`] looked last.
    looked: Instant,
}

/// Until when a peer keeps us from each of the two steps.
#[derive(Clone, Copy, Debug)]
struct Wait {
    announce: Instant,
    sweep: Instant,
}

/// A peer whose End-of-RIB is waited for, and how long.
#[derive(Clone, Copy, Debug)]
struct Sending {
    kind: Sender,
    wait: Wait,
}

/// What is known of the End-of-RIB of a peer that is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sender {
    /// Comes when it has sent its table.
    Steady,
    /// Comes when its own restart is over.
    Restarting,
    /// It did not offer graceful restart, and may never say it.
    Unmarked,
}

/// What is to be done now that recovery has got so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Peers are told End-of-RIB.
    Announce,
    /// Kernel routes of the earlier run that nobody asked for go.
    Sweep,
}

impl Own {
    /// How long a peer of this kind is waited for that was heard now.
    fn wait(&self, kind: Sender, now: Instant) -> Wait {
        let quiet = (now + QUIET).min(self.began + TRANSFER);
        match kind {
            Sender::Steady => Wait {
                announce: quiet,
                sweep: quiet,
            },
            Sender::Restarting => Wait {
                announce: quiet,
                sweep: self.began + TRANSFER,
            },
            Sender::Unmarked => Wait {
                announce: now,
                sweep: quiet.max(self.began + PATIENCE),
            },
        }
    }

    fn waits(&self) -> impl Iterator<Item = Wait> {
        let sending = self.sending.values().map(|sending| sending.wait);
        self.absent.values().copied().chain(sending)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let until = |wait: Wait| match self.is_announced {
            true => wait.sweep,
            false => wait.announce,
        };
        let all = self.waits().map(until).chain([self.no_sweep_before]);
        all.filter(|at| *at > self.looked).min()
    }
}

impl Recovery {
    /// Begins to wait for these peers. `is_doubtful`: there may be more, which what is known so far does not say.
    pub(crate) fn begin(&mut self, now: Instant, peers: impl IntoIterator<Item = PeerId>, is_doubtful: bool) {
        let wait = Wait {
            announce: now + SILENCE,
            sweep: now + PATIENCE,
        };
        self.own = Some(Own {
            began: now,
            absent: peers.into_iter().map(|peer| (peer, wait)).collect(),
            sending: HashMap::new(),
            is_announced: false,
            no_sweep_before: if is_doubtful { wait.sweep } else { now },
            looked: now,
        });
    }

    /// Whether kernel routes of the earlier run still stay.
    pub(crate) fn is_under_way(&self) -> bool {
        self.own.is_some()
    }

    /// Whether End-of-RIB is held back.
    pub(crate) fn holds_end_of_rib(&self) -> bool {
        self.own.as_ref().is_some_and(|own| !own.is_announced)
    }

    pub(crate) fn up(&mut self, now: Instant, id: PeerId, restart: Option<&PeerRestart>) {
        if let Some(own) = &mut self.own {
            own.absent.remove(&id);
            let kind = match restart {
                None => Sender::Unmarked,
                Some(restart) if restart.restarting => Sender::Restarting,
                Some(_) => Sender::Steady,
            };
            if kind == Sender::Restarting {
                // Its End-of-RIB may come before it has heard from others that restart, whose routes it passes on.
                own.no_sweep_before = own.no_sweep_before.max(own.began + PATIENCE);
            }
            let wait = own.wait(kind, now);
            own.sending.insert(id, Sending { kind, wait });
        }
    }

    /// The peer has sent routes.
    pub(crate) fn heard(&mut self, now: Instant, id: PeerId) {
        if let Some(own) = &mut self.own
            && let Some(Sending { kind, .. }) = own.sending.get(&id).copied()
        {
            let wait = own.wait(kind, now);
            own.sending.insert(id, Sending { kind, wait });
        }
    }

    /// The session ended before End-of-RIB: the peer has the time of one that is late, from now on.
    pub(crate) fn down(&mut self, now: Instant, id: PeerId) {
        if let Some(own) = &mut self.own
            && own.sending.remove(&id).is_some()
        {
            let announce = (now + SILENCE).min(own.began + TRANSFER);
            let sweep = announce.max(own.began + PATIENCE);
            own.absent.insert(id, Wait { announce, sweep });
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

    /// What our own recovery has just come to; to be asked until it says nothing. `has_adopted`: there is something
    /// that a sweep would take away or change.
    pub(crate) fn poll(&mut self, now: Instant, has_adopted: bool) -> Option<Step> {
        let own = self.own.as_mut()?;
        own.looked = now;
        own.absent.retain(|_, wait| now < wait.sweep);
        own.sending.retain(|_, sending| now < sending.wait.sweep);
        if !own.is_announced && own.waits().all(|wait| wait.announce <= now) {
            own.is_announced = true;
            return Some(Step::Announce);
        }
        let may_sweep = own.no_sweep_before <= now || !has_adopted;
        let is_over = own.is_announced && own.waits().next().is_none() && may_sweep;
        is_over.then(|| {
            self.own = None;
            Step::Sweep
        })
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.retained
            .values()
            .chain(self.long_lived.values())
            .copied()
            .chain(self.own.as_ref().and_then(Own::next_deadline))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restart(restarting: bool) -> PeerRestart {
        PeerRestart {
            restarting,
            ..PeerRestart::default()
        }
    }

    fn recovery(peers: u32) -> (Instant, Recovery) {
        let (now, mut recovery) = (Instant::now(), Recovery::default());
        recovery.begin(now, (0..peers).map(PeerId), false);
        (now, recovery)
    }

    fn steps(recovery: &mut Recovery, now: Instant) -> Vec<Step> {
        std::iter::from_fn(|| recovery.poll(now, true)).collect()
    }

    #[test]
    fn a_dead_peer_delays_recovery_by_seconds_and_a_sending_one_until_it_is_done() {
        let (start, mut recovery) = recovery(2);
        assert_eq!(steps(&mut recovery, start), []);
        recovery.forget(PeerId(0));
        assert_eq!(recovery.next_deadline(), Some(start + SILENCE));
        assert_eq!(steps(&mut recovery, start + SILENCE), [Step::Announce]);
        assert_eq!(recovery.next_deadline(), Some(start + PATIENCE));
        assert_eq!(steps(&mut recovery, start + Duration::from_secs(11)), []);
        assert_eq!(steps(&mut recovery, start + PATIENCE), [Step::Sweep]);
        assert!(!recovery.is_under_way());
        assert_eq!(steps(&mut recovery, start + PATIENCE), [], "says so once");
    }

    #[test]
    fn with_nobody_to_wait_for_it_is_over_at_once() {
        let (now, mut recovery) = recovery(0);
        assert_eq!(steps(&mut recovery, now), [Step::Announce, Step::Sweep]);
    }

    #[test]
    fn what_may_not_be_all_is_not_swept_at_once() {
        let (now, mut recovery) = (Instant::now(), Recovery::default());
        recovery.begin(now, [], true);
        assert_eq!(steps(&mut recovery, now), [Step::Announce]);
        assert_eq!(recovery.next_deadline(), Some(now + PATIENCE));
        assert_eq!(steps(&mut recovery, now + PATIENCE), [Step::Sweep]);
        recovery.begin(now, [], true);
        assert_eq!(recovery.poll(now, false), Some(Step::Announce));
        assert_eq!(
            recovery.poll(now, false),
            Some(Step::Sweep),
            "there is nothing to sweep"
        );
    }

    #[test]
    fn rfc4724_4_1_steady_peers_hear_the_end_when_those_that_restart_have_sent_their_routes() {
        let (now, mut recovery) = recovery(2);
        recovery.up(now, PeerId(0), Some(&restart(false)));
        recovery.up(now, PeerId(1), Some(&restart(true)));
        recovery.complete(PeerId(0));
        assert_eq!(steps(&mut recovery, now), []);
        recovery.complete(PeerId(1));
        assert_eq!(steps(&mut recovery, now), [Step::Announce]);
        // It may have heard less than there is when it said so: what others that restart send comes later.
        assert!(!recovery.holds_end_of_rib() && recovery.is_under_way());
        assert_eq!(recovery.next_deadline(), Some(now + PATIENCE));
        assert_eq!(steps(&mut recovery, now + PATIENCE), [Step::Sweep]);
    }

    #[test]
    fn a_session_that_flaps_is_waited_for_anew() {
        let (start, mut recovery) = recovery(1);
        recovery.up(start, PeerId(0), Some(&restart(false)));
        let now = start + PATIENCE + Duration::from_secs(1);
        recovery.heard(now, PeerId(0));
        recovery.down(now, PeerId(0));
        assert_eq!(steps(&mut recovery, now), []);
        assert_eq!(recovery.next_deadline(), Some(now + SILENCE));
        recovery.up(now + SILENCE / 2, PeerId(0), Some(&restart(false)));
        assert_eq!(steps(&mut recovery, now + SILENCE), []);
        recovery.complete(PeerId(0));
        assert_eq!(steps(&mut recovery, now + SILENCE), [Step::Announce, Step::Sweep]);
        // One that never comes back is given up.
        recovery.begin(start, [PeerId(0)], false);
        recovery.up(start, PeerId(0), None);
        recovery.down(start, PeerId(0));
        assert_eq!(steps(&mut recovery, start + SILENCE), [Step::Announce]);
        assert_eq!(steps(&mut recovery, start + PATIENCE), [Step::Sweep]);
    }

    #[test]
    fn a_peer_without_graceful_restart_has_some_seconds_to_send_its_routes_and_more_while_it_does() {
        let (now, mut recovery) = recovery(1);
        recovery.up(now, PeerId(0), None);
        assert_eq!(steps(&mut recovery, now), [Step::Announce]);
        assert_eq!(recovery.next_deadline(), Some(now + PATIENCE));
        recovery.heard(now + QUIET, PeerId(0));
        assert_eq!(steps(&mut recovery, now + PATIENCE), []);
        assert_eq!(recovery.next_deadline(), Some(now + 2 * QUIET));
        assert_eq!(steps(&mut recovery, now + 2 * QUIET), [Step::Sweep]);
    }

    #[test]
    fn a_restarting_peer_that_never_ends_is_given_up() {
        let (now, mut recovery) = recovery(1);
        recovery.up(now, PeerId(0), Some(&restart(true)));
        assert_eq!(recovery.next_deadline(), Some(now + QUIET));
        assert_eq!(steps(&mut recovery, now + QUIET), [Step::Announce]);
        assert_eq!(steps(&mut recovery, now + PATIENCE), []);
        assert_eq!(recovery.next_deadline(), Some(now + TRANSFER));
        assert_eq!(steps(&mut recovery, now + TRANSFER), [Step::Sweep]);
        assert_eq!(recovery.next_deadline(), None);
    }

    #[test]
    fn a_peer_that_never_says_end_of_rib_has_said_everything_when_it_is_quiet() {
        let (now, mut recovery) = recovery(1);
        recovery.up(now, PeerId(0), Some(&restart(false)));
        recovery.heard(now + QUIET / 2, PeerId(0));
        assert_eq!(steps(&mut recovery, now + QUIET), []);
        let end = now + QUIET / 2 + QUIET;
        assert_eq!(recovery.next_deadline(), Some(end));
        assert_eq!(steps(&mut recovery, end), [Step::Announce, Step::Sweep]);
        // One that goes on for ever is not waited for as long.
        recovery.begin(now, [PeerId(0)], false);
        recovery.up(now, PeerId(0), Some(&restart(false)));
        recovery.heard(now + TRANSFER, PeerId(0));
        assert_eq!(steps(&mut recovery, now + TRANSFER).len(), 2);
    }
}
