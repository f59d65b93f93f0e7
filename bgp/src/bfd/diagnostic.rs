//! Why a session last changed its state.

use std::fmt;

/// Diagnostic code (RFC 5880 §4.1, IANA "BFD Diagnostic Codes").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Diagnostic {
    /// Nothing went wrong yet.
    #[default]
    None,
    /// No packet for a Detection Time.
    DetectionTimeExpired,
    /// We do not use echo packets; a peer may.
    EchoFailed,
    /// The other side said Down or AdminDown.
    NeighborDown,
    /// The forwarding plane was reset.
    ForwardingPlaneReset,
    /// The path is known to be down by other means.
    PathDown,
    /// A path that this one is joined to is down.
    ConcatenatedPathDown,
    /// An operator wants it so.
    AdministrativelyDown,
    /// As [`Self::ConcatenatedPathDown`], in the other direction.
    ReverseConcatenatedPathDown,
    /// A code of 9 to 31, kept as it came.
    Other(u8),
}

impl Diagnostic {
    /// From the lower five bits of the first octet.
    pub(crate) fn from_bits(octet: u8) -> Diagnostic {
        match octet & 0x1f {
            0 => Diagnostic::None,
            1 => Diagnostic::DetectionTimeExpired,
            2 => Diagnostic::EchoFailed,
            3 => Diagnostic::NeighborDown,
            4 => Diagnostic::ForwardingPlaneReset,
            5 => Diagnostic::PathDown,
            6 => Diagnostic::ConcatenatedPathDown,
            7 => Diagnostic::AdministrativelyDown,
            8 => Diagnostic::ReverseConcatenatedPathDown,
            other => Diagnostic::Other(other),
        }
    }

    pub(crate) fn bits(self) -> u8 {
        match self {
            Diagnostic::None => 0,
            Diagnostic::DetectionTimeExpired => 1,
            Diagnostic::EchoFailed => 2,
            Diagnostic::NeighborDown => 3,
            Diagnostic::ForwardingPlaneReset => 4,
            Diagnostic::PathDown => 5,
            Diagnostic::ConcatenatedPathDown => 6,
            Diagnostic::AdministrativelyDown => 7,
            Diagnostic::ReverseConcatenatedPathDown => 8,
            Diagnostic::Other(code) => code & 0x1f,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Diagnostic::None => "no diagnostic",
            Diagnostic::DetectionTimeExpired => "control detection time expired",
            Diagnostic::EchoFailed => "echo function failed",
            Diagnostic::NeighborDown => "neighbor signaled session down",
            Diagnostic::ForwardingPlaneReset => "forwarding plane reset",
            Diagnostic::PathDown => "path down",
            Diagnostic::ConcatenatedPathDown => "concatenated path down",
            Diagnostic::AdministrativelyDown => "administratively down",
            Diagnostic::ReverseConcatenatedPathDown => "reverse concatenated path down",
            Diagnostic::Other(code) => return write!(f, "diagnostic {code}"),
        })
    }
}
