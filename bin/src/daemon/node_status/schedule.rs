//! When which CalicoNodeStatus object is answered: requests and `now` in, names out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pipit_datastore::model::CalicoNodeStatus;

/// The first wait before an answer that could not be written is tried again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest such wait.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What is asked of this node, and when each answer is due.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    request: CalicoNodeStatus,
    /// `None`: answered, and asked for once.
    due: Option<Instant>,
    failures: u32,
}

impl Schedule {
    /// Takes the requests as they are now: new and changed ones are due at once, those that are gone never again.
    pub fn set(&mut self, now: Instant, requests: &BTreeMap<String, CalicoNodeStatus>) {
        self.entries.retain(|name, _| requests.contains_key(name));
        for (name, request) in requests {
            if self
                .entries
                .get(name)
                .is_none_or(|entry| entry.request != *request)
            {
                let entry = Entry {
                    request: request.clone(),
                    due: Some(now),
                    failures: 0,
                };
                self.entries.insert(name.clone(), entry);
            }
        }
    }

    /// When the next answer is due; `None`: nothing is asked for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// What is due, in the order of names.
    pub fn due(&self, now: Instant) -> Vec<(String, CalicoNodeStatus)> {
        let is_due = |entry: &&Entry| entry.due.is_some_and(|due| due <= now);
        let named = |(name, entry): (&String, &Entry)| (name.clone(), entry.request.clone());
        self.entries
            .iter()
            .filter(|(_, entry)| is_due(entry))
            .map(named)
            .collect()
    }

    /// An answer to this request was written, or needed no writing.
    pub fn answered(&mut self, now: Instant, name: &str, request: &CalicoNodeStatus) {
        let Some(entry) = self
            .entries
            .get_mut(name)
            .filter(|entry| entry.request == *request)
        else {
            return;
        };
        entry.failures = 0;
        let period = Duration::from_secs(entry.request.update_period_secs.into());
        // Counted from when it was due, so that the period does not grow by the time that answering takes.
        entry.due = entry
            .due
            .filter(|_| !period.is_zero())
            .map(|due| (due + period).max(now));
    }

    /// The answer could not be written; it is tried again, no later than it would be due anyway.
    pub fn failed(&mut self, now: Instant, name: &str, request: &CalicoNodeStatus) {
        let Some(entry) = self
            .entries
            .get_mut(name)
            .filter(|entry| entry.request == *request)
        else {
            return;
        };
        let back_off = FIRST_RETRY * (1 << entry.failures.min(6));
        entry.failures += 1;
        let period = Duration::from_secs(entry.request.update_period_secs.into());
        let longest = match period.is_zero() {
            true => LONGEST_RETRY,
            false => LONGEST_RETRY.min(period),
        };
        entry.due = Some(now + back_off.min(longest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(period: u32) -> CalicoNodeStatus {
        CalicoNodeStatus {
            node: "n1".into(),
            classes: Vec::new(),
            update_period_secs: period,
        }
    }

    fn requests(of: &[(&str, u32)]) -> BTreeMap<String, CalicoNodeStatus> {
        of.iter()
            .map(|(name, period)| ((*name).to_owned(), request(*period)))
            .collect()
    }

    fn names(schedule: &Schedule, now: Instant) -> Vec<String> {
        schedule.due(now).into_iter().map(|(name, _)| name).collect()
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn c223_zero_is_answered_once_a_change_of_the_request_and_a_period_again_and_again() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.set(start, &requests(&[("once", 0), ("often", 10)]));
        assert_eq!(names(&schedule, start), ["often", "once"]);
        // The time that answering takes does not make periods longer.
        let later = start + secs(2);
        schedule.answered(later, "once", &request(0));
        schedule.answered(later, "often", &request(10));
        assert_eq!(schedule.poll_timeout(), Some(start + secs(10)));
        assert_eq!(names(&schedule, start + secs(10)), ["often"]);
        // The same requests again are no news.
        schedule.set(start + secs(3), &requests(&[("once", 0), ("often", 10)]));
        assert_eq!(schedule.poll_timeout(), Some(start + secs(10)));
    }

    #[test]
    fn c224_c226_a_changed_request_is_due_at_once_and_a_deleted_one_never() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.set(start, &requests(&[("a", 3600), ("b", 0)]));
        schedule.answered(start, "a", &request(3600));
        schedule.answered(start, "b", &request(0));
        let now = start + secs(5);
        schedule.set(now, &requests(&[("a", 60), ("b", 0)]));
        assert_eq!(names(&schedule, now), ["a"]);
        // An answer to what was asked before does not count for what is asked now.
        schedule.answered(now, "a", &request(3600));
        assert_eq!(names(&schedule, now), ["a"]);
        schedule.set(now, &BTreeMap::new());
        assert_eq!(schedule.poll_timeout(), None);
        schedule.failed(now, "a", &request(60));
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn what_cannot_be_written_is_tried_again_with_growing_waits_but_not_after_the_period() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.set(now, &requests(&[("once", 0)]));
        let mut waits = Vec::new();
        for _ in 0..8 {
            schedule.failed(now, "once", &request(0));
            waits.push((schedule.poll_timeout().unwrap() - now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        schedule.set(now, &requests(&[("often", 3)]));
        for _ in 0..5 {
            schedule.failed(now, "often", &request(3));
        }
        assert_eq!(schedule.poll_timeout(), Some(now + secs(3)));
    }
}
