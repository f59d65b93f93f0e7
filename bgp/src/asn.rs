//! Autonomous system numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An autonomous system number, 4 octets (RFC 6793).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Asn(pub u32);

impl Asn {
    /// Stands for a 4-octet AS where only two octets fit (RFC 6793 §9).
    pub const TRANS: Asn = Asn(23456);

    /// The number in two octets, or [`Asn::TRANS`] when it does not fit.
    pub fn to_two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23456)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is neither a decimal number nor `high.low`, each within its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("AS number is not 0 to 4294967295, plain or as high.low")]
pub struct ParseAsnError;

/// Accepts plain decimals and the dotted form of RFC 5396 (`1.10` is 65546).
impl FromStr for Asn {
    type Err = ParseAsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            None => text.parse().map(Asn).map_err(|_| ParseAsnError),
            Some((high, low)) => {
                let high: u16 = high.parse().map_err(|_| ParseAsnError)?;
                let low: u16 = low.parse().map_err(|_| ParseAsnError)?;
                Ok(Asn(u32::from(high) << 16 | u32::from(low)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5396_plain_and_dotted_text() {
        assert_eq!("64512".parse(), Ok(Asn(64512)));
        assert_eq!("1.10".parse(), Ok(Asn(65546)));
        assert_eq!("4294967295".parse(), Ok(Asn(u32::MAX)));
        for bad in ["", "x", "4294967296", "1.65536", "1.2.3", "-1"] {
            assert_eq!(bad.parse::<Asn>(), Err(ParseAsnError), "{bad}");
        }
    }

    #[test]
    fn rfc6793_a_wide_number_is_as_trans_in_two_octets() {
        assert_eq!(Asn(65535).to_two_octets(), 65535);
        assert_eq!(Asn(65536).to_two_octets(), 23456);
    }
}
