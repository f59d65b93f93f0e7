//! Router and cluster identifiers.

use std::fmt;
use std::net::{AddrParseError, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A BGP Identifier: four octets, compared as an unsigned number (RFC 6286 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RouterId(pub Ipv4Addr);

/// A route reflector's CLUSTER_ID: four octets (RFC 4456 §7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub Ipv4Addr);

macro_rules! four_octet_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = AddrParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }

        impl From<u32> for $name {
            fn from(number: u32) -> Self {
                $name(Ipv4Addr::from(number))
            }
        }

        impl From<$name> for u32 {
            fn from(id: $name) -> u32 {
                id.0.into()
            }
        }
    };
}

four_octet_id!(RouterId);
four_octet_id!(ClusterId);
