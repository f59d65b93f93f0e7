//! Intervals: what is asked for, what is in force, and jitter.

use std::time::Duration;

use crate::session::config::Bfd;

/// The interval that a session keeps to while it is not Up (RFC 5880 §6.8.3).
const SLOW: u32 = 1_000_000;
/// Nobody is asked to send, and nothing is sent, more often than this.
const SHORTEST: Duration = Duration::from_millis(1);

/// The two intervals that a system says of itself, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Intervals {
    /// bfd.DesiredMinTxInterval.
    pub(crate) tx: u32,
    /// bfd.RequiredMinRxInterval.
    pub(crate) rx: u32,
}

impl Intervals {
    /// What a session says of itself.
    pub(crate) fn wanted(config: Bfd, is_up: bool) -> Intervals {
        let tx = micros(config.tx);
        Intervals {
            tx: if is_up { tx } else { tx.max(SLOW) },
            rx: micros(config.rx),
        }
    }

    /// What holds until the other side has said that it knows `wanted` (RFC 5880 §6.8.3): it may still go by the old
    /// ones, so we send at the more frequent and expect the less frequent of both.
    pub(crate) fn until_known(self, wanted: Intervals) -> Intervals {
        Intervals {
            tx: self.tx.min(wanted.tx),
            rx: self.rx.max(wanted.rx),
        }
    }
}

fn micros(interval: Duration) -> u32 {
    u32::try_from(interval.max(SHORTEST).as_micros()).unwrap_or(u32::MAX)
}

/// Random numbers that spread packets, and are no secret.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Jitter {
        Jitter(seed | 1)
    }

    /// 75 to 100 % of an interval; with a multiplier of 1 at most 90 %, since then no packet may be late (RFC 5880
    /// §6.8.7).
    pub(crate) fn apply(&mut self, interval: Duration, multiplier: u8) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let span = if multiplier == 1 { 150 } else { 250 };
        interval * (750 + (self.0 % (span + 1)) as u32) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5880_6_8_7_jitter_keeps_to_its_bounds_and_uses_them() {
        let interval = Duration::from_millis(1000);
        for (multiplier, most) in [(1, 900), (2, 1000), (3, 1000), (255, 1000)] {
            let mut jitter = Jitter::new(7);
            let applied: Vec<u128> = (0..10_000)
                .map(|_| jitter.apply(interval, multiplier).as_millis())
                .collect();
            assert_eq!(applied.iter().min(), Some(&750), "multiplier {multiplier}");
            assert_eq!(applied.iter().max(), Some(&most), "multiplier {multiplier}");
        }
    }

    #[test]
    fn intervals_fit_into_their_fields() {
        let config = |tx, rx| Bfd {
            tx,
            rx,
            multiplier: 3,
        };
        let day = Duration::from_secs(86_400);
        let wanted = Intervals::wanted(config(day, Duration::ZERO), true);
        assert_eq!(
            wanted,
            Intervals {
                tx: u32::MAX,
                rx: 1000
            }
        );
        let fast = config(Duration::from_millis(50), Duration::from_millis(60));
        assert_eq!(Intervals::wanted(fast, false), Intervals { tx: SLOW, rx: 60_000 });
        assert_eq!(
            Intervals::wanted(fast, true),
            Intervals {
                tx: 50_000,
                rx: 60_000
            }
        );
    }
}
