//! Single hop or multihop.

use std::fmt;

use serde::Serialize;

/// What a session watches, and with it the port that its packets go to.
///
/// Each side has to use the same, and nothing in BGP or BFD agrees on it: BIRD derives it from its configuration (iBGP,
/// and eBGP with `multihop`, is multihop), FRR looks for the peer in its subnets. We begin with what the network
/// suggests and follow the peer: see [`crate::bfd::Sessions`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// The peer is on a link of ours. Nothing that was forwarded counts (RFC 5881 §5, GTSM).
    SingleHop,
    /// Routers may lie between (RFC 5883).
    Multihop,
}

impl Path {
    /// Both, for tables.
    pub const ALL: [Path; 2] = [Path::SingleHop, Path::Multihop];

    /// Destination port (RFC 5881 §4, RFC 5883 §5).
    pub fn port(self) -> u16 {
        match self {
            Path::SingleHop => 3784,
            Path::Multihop => 4784,
        }
    }

    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Path::SingleHop => "single-hop",
            Path::Multihop => "multihop",
        }
    }

    /// The other one.
    pub fn other(self) -> Path {
        match self {
            Path::SingleHop => Path::Multihop,
            Path::Multihop => Path::SingleHop,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
