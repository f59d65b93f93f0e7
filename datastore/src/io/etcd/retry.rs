//! Which endpoint is next, and when: pure.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// Shortest and longest wait before another attempt.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A connection that lasted this long was a good one: the next failure starts from the beginning.
const GOOD: Duration = Duration::from_secs(5);

/// Every endpoint is tried once without waiting; then each attempt waits twice as long as the one before.
#[derive(Debug)]
pub(super) struct Retry {
    endpoints: usize,
    endpoint: usize,
    failures: usize,
    connected: Option<Instant>,
}

impl Retry {
    pub(super) fn new(endpoints: usize) -> Retry {
        Retry {
            endpoints: endpoints.max(1),
            endpoint: 0,
            failures: 0,
            connected: None,
        }
    }

    /// The endpoint to use.
    pub(super) fn endpoint(&self) -> usize {
        self.endpoint
    }

    /// Whether no endpoint is left that has not failed since the last good connection.
    pub(super) fn is_exhausted(&self) -> bool {
        self.failures >= self.endpoints
    }

    /// The session works.
    pub(super) fn connected(&mut self, now: Instant) {
        self.connected.get_or_insert(now);
    }

    /// The endpoint failed: how long to wait before the next one.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        let wait = self.again(now);
        self.endpoint = (self.endpoint + 1) % self.endpoints;
        wait
    }

    /// The session failed, but not by the endpoint's fault.
    pub(super) fn again(&mut self, now: Instant) -> Duration {
        // A server that takes every session and ends it at once must not be asked without a pause.
        if self.connected.take().is_some_and(|since| now - since >= GOOD) {
            self.failures = 0;
        }
        self.failures += 1;
        match self.failures.checked_sub(self.endpoints + 1) {
            None => Duration::ZERO,
            Some(waits) => {
                let factor = 1_u32 << waits.min(10);
                jittered((BACK_OFF.0 * factor).min(BACK_OFF.1))
            }
        }
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
            assert_eq!(retry.next(now), Duration::ZERO);
        }
        assert_eq!(tried, [0, 1, 2]);
        assert!(retry.is_exhausted());
        let mut limit = BACK_OFF.0;
        for _ in 0..20 {
            let wait = retry.next(now);
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
            retry.next(now);
        }
        retry.connected(now);
        assert!(retry.next(now) > Duration::from_millis(700));
        retry.connected(now);
        assert_eq!(retry.next(now + GOOD), Duration::ZERO);
    }
}
