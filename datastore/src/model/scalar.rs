//! Single values of a resource, as calicoctl and the API server read them.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use pipit_bgp::{Asn, Family};
use serde_json::Value;

use crate::yaml::scalar_text;

/// A value cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScalarError {
    /// Text was wanted.
    #[error("{found} is not a text")]
    NotText {
        /// The value, shortened.
        found: String,
    },
    /// An object was wanted.
    #[error("{found} is not an object")]
    NotAnObject {
        /// The value, shortened.
        found: String,
    },
    /// A list was wanted.
    #[error("{found} is not a list")]
    NotAList {
        /// The value, shortened.
        found: String,
    },
    /// `true` or `false` was wanted.
    #[error("{found} is not true or false")]
    NotABoolean {
        /// The value, shortened.
        found: String,
    },
    /// A number in a range was wanted.
    #[error("{found} is not a number from {min} to {max}")]
    NotInRange {
        /// The value, shortened.
        found: String,
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// An AS number was wanted.
    #[error("{found} is not an AS number")]
    NotAnAsn {
        /// The value, shortened.
        found: String,
    },
    /// A duration was wanted.
    #[error("{found} is not a duration such as 90s or 2m0s")]
    NotADuration {
        /// The value, shortened.
        found: String,
    },
    /// An address was wanted.
    #[error("{found} is not an address")]
    NotAnAddress {
        /// The value, shortened.
        found: String,
    },
    /// A prefix was wanted.
    #[error("{found} is not a prefix in CIDR form")]
    NotAPrefix {
        /// The value, shortened.
        found: String,
    },
    /// The address or prefix is of the other family.
    #[error("{found} is not {family}")]
    WrongFamily {
        /// The value, shortened.
        found: String,
        /// The family that was wanted.
        family: Family,
    },
    /// A community was wanted.
    #[error("{found} is not a community (n:n or n:n:n)")]
    NotACommunity {
        /// The value, shortened.
        found: String,
    },
    /// One of a few words was wanted.
    #[error("{found} is not one of {allowed}")]
    UnknownValue {
        /// The value, shortened.
        found: String,
        /// The words.
        allowed: &'static str,
    },
}

/// The outcome of reading one value.
pub(super) type Read<T> = Result<T, ScalarError>;

/// A value in a message: whole when short.
pub(crate) fn show(value: &Value) -> String {
    const MAX_LEN: usize = 60;
    let text = match value {
        Value::String(text) => format!("`{text}`"),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(MAX_LEN) {
        Some((end, _)) => format!("{}…`", &text[..end]),
        None => text,
    }
}

/// Text; booleans and numbers count as their text.
pub(crate) fn text(value: &Value) -> Read<String> {
    match scalar_text(value) {
        Some(text) => Ok(text.into_owned()),
        None => Err(ScalarError::NotText { found: show(value) }),
    }
}

pub(crate) fn boolean(value: &Value) -> Read<bool> {
    value
        .as_bool()
        .ok_or_else(|| ScalarError::NotABoolean { found: show(value) })
}

/// A whole number in a range.
pub(crate) fn number<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Read<T> {
    move |value| {
        value
            .as_u64()
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| ScalarError::NotInRange {
                found: show(value),
                min: *range.start(),
                max: *range.end(),
            })
    }
}

/// An AS as a number, as text, or dotted. Zero counts as missing.
pub(crate) fn asn(value: &Value) -> Read<Option<Asn>> {
    let asn = match value {
        Value::Number(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()).map(Asn),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match asn {
        Some(Asn(0)) => Ok(None),
        Some(asn) => Ok(Some(asn)),
        None => Err(ScalarError::NotAnAsn { found: show(value) }),
    }
}

/// A duration in Go's syntax, exactly.
pub(crate) fn duration(value: &Value) -> Read<Duration> {
    value
        .as_str()
        .and_then(parse_duration)
        .ok_or_else(|| ScalarError::NotADuration { found: show(value) })
}

/// A duration in whole seconds, half a second away from zero.
pub(crate) fn seconds(value: &Value) -> Read<u64> {
    let duration = duration(value)?;
    Ok(duration.as_secs() + u64::from(duration.subsec_millis() >= 500))
}

/// `1h30m`, `1.5s`, `300ms`, `0`: Go's `time.ParseDuration` without negative values.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(decimal_times(number, unit)?)?;
        rest = tail;
    }
    let nanos = i64::try_from(nanos).ok()?;
    Some(Duration::from_nanos(nanos.unsigned_abs()))
}

/// `number`, with an optional fraction, times `unit`.
fn decimal_times(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let parse = |digits: &str| match digits {
        "" => Some(0u128),
        _ => digits.parse::<u64>().ok().map(u128::from),
    };
    // More digits than nanoseconds can show change nothing.
    let fraction = fraction.get(..fraction.len().min(15))?;
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(parse(whole)?.checked_mul(unit)? + parse(fraction)? * unit / scale)
}

pub(crate) fn address(value: &Value) -> Read<IpAddr> {
    value
        .as_str()
        .and_then(|text| text.parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .ok_or_else(|| ScalarError::NotAnAddress { found: show(value) })
}

/// A prefix as written, host bits included.
pub(crate) fn prefix(value: &Value) -> Read<IpNet> {
    value
        .as_str()
        .and_then(parse_prefix)
        .ok_or_else(|| ScalarError::NotAPrefix { found: show(value) })
}

/// `address/length`. `IpNet`'s own parser takes octets with leading zeros, which Go and we refuse as ambiguous.
pub(crate) fn parse_prefix(text: &str) -> Option<IpNet> {
    let (address, len) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let is_plain = !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit());
    IpNet::new(address, len.parse().ok().filter(|_| is_plain)?).ok()
}

/// A prefix of one family as written.
pub(crate) fn prefix_of(family: Family) -> impl Fn(&Value) -> Read<IpNet> {
    move |value| {
        let net = prefix(value)?;
        match Family::of(net.addr()) == family {
            true => Ok(net),
            false => Err(ScalarError::WrongFamily {
                found: show(value),
                family,
            }),
        }
    }
}

/// One of a few words, as written.
pub(crate) fn word<T: Copy>(
    allowed: &'static str,
    words: &'static [(&'static str, T)],
) -> impl Fn(&Value) -> Read<T> {
    move |value| {
        value
            .as_str()
            .and_then(|text| words.iter().find(|(word, _)| *word == text))
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| ScalarError::UnknownValue {
                found: show(value),
                allowed,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn c011_as_numbers_as_number_text_and_dotted() {
        for value in [json!(65546), json!("65546"), json!("1.10")] {
            assert_eq!(asn(&value), Ok(Some(Asn(65546))), "{value}");
        }
        for zero in [json!(0), json!("0"), json!("0.0")] {
            assert_eq!(asn(&zero), Ok(None), "{zero}");
        }
        for bad in [
            json!(-1),
            json!(4294967296u64),
            json!("x"),
            json!(1.5),
            json!([]),
            json!("1.65536"),
        ] {
            assert!(asn(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn c012_durations_in_gos_syntax_rounded_to_seconds() {
        for (text, expected) in [
            ("10s", 10),
            ("2m0s", 120),
            ("1h30m", 5400),
            ("1.5s", 2),
            ("1.49s", 1),
            ("500ms", 1),
            ("499ms", 0),
            (".5m", 30),
            ("0", 0),
            ("+3s", 3),
            ("1m0.500000000000000000s", 61),
        ] {
            assert_eq!(seconds(&json!(text)), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "10",
            "s",
            "-1s",
            "1x",
            "1h-2m",
            ".s",
            "99999999999999h",
            "1 s",
        ] {
            assert!(parse_duration(bad).is_none(), "{bad}");
        }
        assert!(seconds(&json!(10)).is_err());
    }

    #[test]
    fn addresses_and_prefixes_in_any_valid_form() {
        assert_eq!(address(&json!("FD00:0:0::00A")).unwrap().to_string(), "fd00::a");
        assert_eq!(
            address(&json!("::ffff:10.0.0.1")).unwrap().to_string(),
            "10.0.0.1"
        );
        assert_eq!(prefix(&json!("5000::0/64")).unwrap().to_string(), "5000::/64");
        for bad in ["10.0.0.1", "10.0.0.0/33", "x", "010.0.0.0/8"] {
            assert!(prefix(&json!(bad)).is_err(), "{bad}");
        }
    }
}
