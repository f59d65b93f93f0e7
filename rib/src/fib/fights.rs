//! Somebody else keeps changing our routes: how often, and when to put them back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use ipnet::IpNet;

/// Repairs of one prefix that follow at once.
const AT_ONCE: u32 = 3;
/// A prefix left in peace for so long starts over.
const PEACE: Duration = Duration::from_secs(30);
/// The first wait; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Prefixes remembered. More at once is a flush, and not aimed at one of them.
const MOST: usize = 1 << 16;

#[derive(Debug)]
struct Fight {
    count: u32,
    last: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fights {
    fights: HashMap<IpNet, Fight, foldhash::fast::RandomState>,
    waiting: BinaryHeap<Reverse<(Instant, IpNet)>>,
    tidied: Option<Instant>,
}

impl Fights {
    /// A route was changed by somebody else; whether to put it back at once. Otherwise [`Self::due`] names it.
    pub(crate) fn repair_at_once(&mut self, prefix: IpNet, now: Instant) -> bool {
        if self.fights.len() >= MOST && !self.fights.contains_key(&prefix) {
            return true;
        }
        let fight = self.fights.entry(prefix).or_insert(Fight { count: 0, last: now });
        if now.saturating_duration_since(fight.last) > PEACE {
            fight.count = 0;
        }
        fight.count += 1;
        fight.last = now;
        let Some(excess) = fight.count.checked_sub(AT_ONCE + 1) else {
            return true;
        };
        let wait = (FIRST_WAIT * 2_u32.saturating_pow(excess.min(16))).min(LONGEST_WAIT);
        self.waiting.push(Reverse((now + wait, prefix)));
        false
    }

    /// Prefixes whose wait is over.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<IpNet> {
        let mut due = Vec::new();
        while let Some(&Reverse((at, prefix))) = self.waiting.peek()
            && at <= now
        {
            self.waiting.pop();
            due.push(prefix);
        }
        let is_tidy = self
            .tidied
            .is_some_and(|at| now.saturating_duration_since(at) < PEACE);
        if !is_tidy {
            self.tidied = Some(now);
            self.fights
                .retain(|_, fight| now.saturating_duration_since(fight.last) <= PEACE);
        }
        due
    }

    /// Prefixes that wait, which from now on do not.
    pub(crate) fn give_up_waiting(&mut self) -> Vec<IpNet> {
        self.fights.clear();
        self.waiting.drain().map(|Reverse((_, prefix))| prefix).collect()
    }

    /// When the next wait is over.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|&Reverse((at, _))| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_repairs_are_immediate_and_a_fighter_waits_longer_and_longer() {
        let prefix = "10.0.0.0/24".parse().unwrap();
        let mut fights = Fights::default();
        let mut now = Instant::now();
        let start = now;
        for _ in 0..AT_ONCE {
            assert!(fights.repair_at_once(prefix, now));
        }
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert!(!fights.repair_at_once(prefix, now));
            let due = fights.next_due().unwrap();
            assert!(fights.due(due - Duration::from_millis(1)).is_empty());
            assert_eq!(fights.due(due), [prefix]);
            waits.push(due - now);
            now = due;
        }
        assert!(waits.is_sorted() && waits[0] == FIRST_WAIT && waits[9] == LONGEST_WAIT);
        assert!(now - start < Duration::from_secs(60));
        let other = "10.0.1.0/24".parse().unwrap();
        assert!(
            fights.repair_at_once(other, now),
            "another prefix is not concerned"
        );
        now += PEACE + Duration::from_secs(1);
        assert!(
            fights.repair_at_once(prefix, now),
            "peace lets bygones be bygones"
        );
    }
}
