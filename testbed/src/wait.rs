//! Waiting for a condition instead of for a time.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(20);

/// Looks at `observe` until `is_right` says so, and returns what it saw and how long that took.
///
/// # Panics
/// When the deadline passes; the message holds what was seen last.
#[track_caller]
pub fn until<T: Debug>(
    what: &str,
    deadline: Duration,
    mut observe: impl FnMut() -> T,
    is_right: impl Fn(&T) -> bool,
) -> (T, Duration) {
    let start = Instant::now();
    loop {
        let seen = observe();
        let elapsed = start.elapsed();
        if is_right(&seen) {
            return (seen, elapsed);
        }
        assert!(
            elapsed < deadline,
            "{what}: not within {deadline:?}; last seen: {seen:#?}"
        );
        std::thread::sleep(STEP);
    }
}

/// [`until`] for what equals a value.
///
/// # Panics
/// As [`until`], with the value that was expected.
#[track_caller]
pub fn until_eq<T: Debug + PartialEq>(
    what: &str,
    deadline: Duration,
    observe: impl FnMut() -> T,
    expected: &T,
) -> Duration {
    let what = format!("{what}, expected {expected:#?}");
    until(&what, deadline, observe, |seen| seen == expected).1
}
