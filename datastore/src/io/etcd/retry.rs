//! Which endpoint is next, and when: pure.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// Shortest and longest wait before another attempt.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A connection that lasted this long was a good one: the next failure starts from the beginning.
const GOOD: Duration = Duration::from_secs(5);

/// Every endpoint is tried once without waiting; then each attempt waits twice as long as the one before.
///
/// Those that did not answer when they were last tried come last: one that swallows packets costs seconds, which a
/// cluster of which another member died should not wait for.
#[derive(Debug)]
pub(super) struct Retry {
    endpoints: Vec<Endpoint>,
    /// The one in use.
    current: usize,
    failures: usize,
    connected: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Endpoint {
    /// It did not answer when it was last tried.
    is_silent: bool,
    /// It was tried in this round.
    is_tried: bool,
}

impl Retry {
    pub(super) fn new(endpoints: usize) -> Retry {
        Retry {
            endpoints: vec![Endpoint::default(); endpoints.max(1)],
            current: 0,
            failures: 0,
            connected: None,
        }
    }

    /// The endpoint to use.
    pub(super) fn endpoint(&self) -> usize {
        self.current
    }

    /// Whether no endpoint is left that has not failed since the last good connection.
    pub(super) fn is_exhausted(&self) -> bool {
        self.failures >= self.endpoints.len()
    }

    /// Whether there is another endpoint that may do as well as this one.
    pub(super) fn has_others(&self) -> bool {
        self.endpoints.len() > 1 && !self.is_exhausted()
    }

    /// The session works.
    pub(super) fn connected(&mut self, now: Instant) {
        self.connected.get_or_insert(now);
    }

    /// The endpoint failed, perhaps without a word: how long to wait before the next one.
    pub(super) fn next(&mut self, now: Instant, is_silence: bool) -> Duration {
        let has_worked = self.connected.is_some();
        let wait = self.again(now);
        if let Some(endpoint) = self.endpoints.get_mut(self.current) {
            endpoint.is_silent = is_silence && !has_worked;
            endpoint.is_tried = true;
        }
        self.current = self.following();
        wait
    }

    /// The session failed, but not by the endpoint's fault.
    pub(super) fn again(&mut self, now: Instant) -> Duration {
        // A server that takes every session and ends it at once must not be asked without a pause.
        if self.connected.take().is_some_and(|since| now - since >= GOOD) {
            self.failures = 0;
            self.begin_round();
        }
        self.failures += 1;
        match self.failures.checked_sub(self.endpoints.len() + 1) {
            None => Duration::ZERO,
            Some(waits) => {
                let factor = 1_u32 << waits.min(10);
                jittered((BACK_OFF.0 * factor).min(BACK_OFF.1))
            }
        }
    }

    /// The next in turn of those that are left in this round.
    fn following(&mut self) -> usize {
        if self.endpoints.iter().all(|endpoint| endpoint.is_tried) {
            self.begin_round();
        }
        let count = self.endpoints.len();
        let in_turn = (1..=count).map(|step| (self.current + step) % count);
        let left = in_turn.filter_map(|index| Some((index, self.endpoints.get(index)?)));
        let left = left.filter(|(_, endpoint)| !endpoint.is_tried);
        // Of equals the first.
        left.min_by_key(|(_, endpoint)| endpoint.is_silent)
            .map_or(0, |(index, _)| index)
    }

    fn begin_round(&mut self) {
        self.endpoints
            .iter_mut()
            .for_each(|endpoint| endpoint.is_tried = false);
    }
}

/// Half to all of a time, at random: a thousand nodes that lost the same server come back one by one.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let thousandths = u32::try_from(random % 500).unwrap_or_default();
    wait / 2 + wait * thousandths / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_tried_at_once_then_waits_grow_to_five_seconds() {
        let now = Instant::now();
        let mut retry = Retry::new(3);
        let mut tried = Vec::new();
        for _ in 0..3 {
            assert!(!retry.is_exhausted());
            tried.push(retry.endpoint());
            assert_eq!(retry.next(now, false), Duration::ZERO);
        }
        assert_eq!(tried, [0, 1, 2]);
        assert!(retry.is_exhausted());
        let mut limit = BACK_OFF.0;
        for _ in 0..20 {
            let wait = retry.next(now, false);
            assert!(limit / 2 <= wait && wait <= limit, "{wait:?} of {limit:?}");
            limit = (limit * 2).min(BACK_OFF.1);
        }
    }

    #[test]
    fn a_session_that_ends_at_once_is_not_a_success() {
        let now = Instant::now();
        let mut retry = Retry::new(1);
        for _ in 0..5 {
            retry.connected(now);
            retry.next(now, false);
        }
        retry.connected(now);
        assert!(retry.next(now, false) > Duration::from_millis(700));
        retry.connected(now);
        assert_eq!(retry.next(now + GOOD, false), Duration::ZERO);
    }

    #[test]
    fn e3_endpoints_that_did_not_answer_are_tried_last() {
        let mut now = Instant::now();
        let mut retry = Retry::new(5);
        let mut fail = |retry: &mut Retry, is_silence: bool| {
            now += GOOD;
            retry.next(now, is_silence);
            retry.endpoint()
        };
        // The first two say nothing, the third is used and dies, as does the fourth.
        assert_eq!((fail(&mut retry, true), fail(&mut retry, true)), (1, 2));
        retry.connected(Instant::now());
        assert_eq!(fail(&mut retry, true), 3);
        retry.connected(Instant::now());
        assert_eq!(fail(&mut retry, true), 4);
        // It says that there is no leader: of those that are left, the third has worked.
        assert_eq!(fail(&mut retry, false), 2);
        assert!(!retry.is_exhausted() && retry.has_others());
        assert_eq!((fail(&mut retry, true), fail(&mut retry, true)), (0, 1));
        // A new round, from those of which nothing bad is known.
        assert_eq!(fail(&mut retry, true), 3);
        assert!(retry.is_exhausted() && !retry.has_others());
    }
}
