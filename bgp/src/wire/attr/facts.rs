//! The few facts of an attribute set that choosing and loop checks need, read once at decode time.

use crate::asn::Asn;
use crate::router_id::RouterId;

/// What the decision process (RFC 4271 §9.1.2) and the import checks ask of an attribute set.
///
/// Everything else stays in the canonical bytes and is read on demand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AttrFacts {
    /// LOCAL_PREF; `None` when absent (eBGP).
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC; `None` when absent.
    pub med: Option<u32>,
    /// Length of the AS path as RFC 4271 §9.1.2.2 a) counts it: a set is one, confederation segments are none.
    pub as_path_len: u16,
    /// The neighbouring AS: the first of the path when it starts with a sequence (RFC 4271 §9.1.2.2 c);
    /// `None` for an empty path or one that starts with a set.
    pub neighbor_as: Option<Asn>,
    /// ORIGINATOR_ID; `None` when absent.
    pub originator_id: Option<RouterId>,
    /// Number of cluster ids in CLUSTER_LIST.
    pub cluster_list_len: u8,
    /// ORIGIN.
    pub origin: Origin,
    /// Well-known communities that the engine obeys.
    pub marks: Marks,
}

/// ORIGIN (RFC 4271 §5.1.1); lower is preferred.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp = 0,
    /// Learned by EGP.
    Egp = 1,
    /// By some other means.
    Incomplete = 2,
}

/// A set of the well-known communities that change what the engine does with a route.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Marks(u8);

impl Marks {
    /// NO_EXPORT (RFC 1997): stays within the AS.
    pub const NO_EXPORT: Marks = Marks(1);
    /// NO_ADVERTISE (RFC 1997): goes to nobody.
    pub const NO_ADVERTISE: Marks = Marks(2);
    /// NO_EXPORT_SUBCONFED (RFC 1997): as NO_EXPORT where there are no confederations.
    pub const NO_EXPORT_SUBCONFED: Marks = Marks(4);
    /// GRACEFUL_SHUTDOWN (RFC 8326): least preferred.
    pub const GRACEFUL_SHUTDOWN: Marks = Marks(8);
    /// LLGR_STALE (RFC 9494): less preferred than anything fresh.
    pub const LLGR_STALE: Marks = Marks(16);
    /// NO_LLGR (RFC 9494): not to be kept beyond the restart time.
    pub const NO_LLGR: Marks = Marks(32);
    /// BLACKHOLE (RFC 7999).
    pub const BLACKHOLE: Marks = Marks(64);

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Marks) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds `other`.
    pub fn insert(&mut self, other: Marks) {
        self.0 |= other.0;
    }
}
