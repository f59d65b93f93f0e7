//! BGP communities in Calico's text.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::scalar::{Read, ScalarError, show};
use crate::yaml::scalar_text;

/// A community: two parts are a standard one (RFC 1997), three a large one (RFC 8092).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Community {
    /// `n:n`, 16 bits each.
    Standard(u16, u16),
    /// `n:n:n`, 32 bits each.
    Large(u32, u32, u32),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Community::Standard(high, low) => write!(f, "{high}:{low}"),
            Community::Large(global, one, two) => write!(f, "{global}:{one}:{two}"),
        }
    }
}

impl Serialize for Community {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is neither `n:n` nor `n:n:n` with numbers in range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("community is not n:n (16 bits each) or n:n:n (32 bits each)")]
pub struct ParseCommunityError;

impl FromStr for Community {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn part<T: FromStr>(digits: &str) -> Result<T, ParseCommunityError> {
            match digits.bytes().all(|byte| byte.is_ascii_digit()) {
                true => digits.parse().map_err(|_| ParseCommunityError),
                false => Err(ParseCommunityError),
            }
        }
        match text.split(':').collect::<Vec<_>>()[..] {
            [high, low] => Ok(Community::Standard(part(high)?, part(low)?)),
            [global, one, two] => Ok(Community::Large(part(global)?, part(one)?, part(two)?)),
            _ => Err(ParseCommunityError),
        }
    }
}

pub(crate) fn community(value: &Value) -> Read<Community> {
    scalar_text(value)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ScalarError::NotACommunity { found: show(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c125_two_parts_are_standard_three_are_large() {
        assert_eq!("064512:100".parse(), Ok(Community::Standard(64512, 100)));
        assert_eq!("64512:300:100".parse(), Ok(Community::Large(64512, 300, 100)));
        assert_eq!("0100:0:7".parse::<Community>().unwrap().to_string(), "100:0:7");
        for bad in [
            "",
            "1",
            "65536:1",
            "1:2:3:4",
            "+1:2",
            "a:b",
            "1:",
            "1:2:4294967296",
            "edge",
        ] {
            assert_eq!(bad.parse::<Community>(), Err(ParseCommunityError), "{bad}");
        }
    }
}
