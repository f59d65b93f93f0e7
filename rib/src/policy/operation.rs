//! What an accepting rule changes.

use std::fmt;

use pipit_bgp::Asn;

/// A community that policy matches or adds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Community {
    /// RFC 1997: two halves of 16 bit.
    Standard(u32),
    /// RFC 8092: three numbers of 32 bit.
    Large([u32; 3]),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Community::Standard(value) => write!(f, "{}:{}", value >> 16, value & 0xffff),
            Community::Large([a, b, c]) => write!(f, "{a}:{b}:{c}"),
        }
    }
}

/// One change of a route's attributes (Calico BGPFilter `operations`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// `addCommunity`; a community that is there already is not added twice.
    AddCommunity(Community),
    /// `prependASPath`: afterwards the path starts with exactly this sequence.
    PrependAsPath(Vec<Asn>),
    /// `setPriority`, as the LOCAL_PREF that stands for it.
    SetLocalPref(u32),
}
