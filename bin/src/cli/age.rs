//! Ages, as tables show them.

use jiff::Timestamp;

/// The time from `since` to `now` in its two largest units: `45s`, `5m30s`, `3h12m`, `3d4h`, `412d`.
///
/// A `since` in the future, which a clock that was set back makes, is `0s`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    of_secs(now.duration_since(since).as_secs().max(0))
}

/// An age in seconds.
pub(crate) fn age_of_secs(secs: u64) -> String {
    of_secs(i64::try_from(secs).unwrap_or(i64::MAX))
}

fn of_secs(secs: i64) -> String {
    let (mins, hours, days) = (secs / 60, secs / 3600, secs / 86400);
    match () {
        () if mins < 1 => format!("{secs}s"),
        () if hours < 1 => pair(mins, "m", secs % 60, "s"),
        () if days < 1 => pair(hours, "h", mins % 60, "m"),
        () if days < 100 => pair(days, "d", hours % 24, "h"),
        () => format!("{days}d"),
    }
}

fn pair(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_largest_units() {
        let check = |secs: i64, expected: &str| {
            let now = Timestamp::from_second(1_800_000_000).unwrap();
            let since = Timestamp::from_second(1_800_000_000 - secs).unwrap();
            assert_eq!(age(since, now), expected, "{secs}");
        };
        check(0, "0s");
        check(-5, "0s");
        check(59, "59s");
        check(60, "1m");
        check(330, "5m30s");
        check(3 * 3600 + 12 * 60 + 59, "3h12m");
        check(3 * 86400 + 4 * 3600, "3d4h");
        check(412 * 86400 + 7 * 3600, "412d");
    }
}
