//! What decoding hands to the RIB: the routes of one or more UPDATEs, in order, without an allocation a prefix.

use std::ops::Range;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::family::Family;
use crate::next_hop::NextHop;
use crate::wire::attr::AttrFacts;

/// One prefix as it stands in an UPDATE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Nlri<P> {
    /// The prefix, masked.
    pub prefix: P,
    /// Path Identifier (RFC 7911 §3); 0 where ADD-PATH is not negotiated.
    pub path_id: u32,
}

/// One step of a batch. Ranges point into the batch that holds the item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BatchItem {
    /// Prefixes announced with one set of attributes.
    Announce {
        /// Family of the prefixes.
        family: Family,
        /// Their next hop; kept apart from the attributes.
        next_hop: NextHop,
        /// What the decision process needs of the attributes.
        facts: AttrFacts,
        /// The canonical attributes, in [`UpdateBatch::attr_bytes`].
        attrs: Range<u32>,
        /// The prefixes, in the family's list.
        nlri: Range<u32>,
    },
    /// Prefixes withdrawn, or treated so (RFC 7606 §2).
    Withdraw {
        /// Family of the prefixes.
        family: Family,
        /// The prefixes, in the family's list.
        nlri: Range<u32>,
    },
    /// End-of-RIB (RFC 4724 §2).
    EndOfRib(Family),
    /// The peer wants the family's routes again (RFC 2918 §3).
    RefreshRequest(Family),
    /// The peer starts to send the family's routes again (RFC 7313 §4).
    BeginOfRefresh(Family),
    /// The peer has sent them all: what was not sent again is gone.
    EndOfRefresh(Family),
}

/// Routes of one peer, in the order in which it sent them.
///
/// The lists are shared by all items of the batch, so a batch of thousands of prefixes costs a handful of
/// allocations, and a cleared one none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UpdateBatch {
    /// What happened, in order.
    pub items: Vec<BatchItem>,
    /// Canonical attribute bytes of all announcements (see `wire::attr`).
    pub attr_bytes: Vec<u8>,
    /// IPv4 prefixes of all items.
    pub ipv4: Vec<Nlri<Ipv4Net>>,
    /// IPv6 prefixes of all items.
    pub ipv6: Vec<Nlri<Ipv6Net>>,
}

impl UpdateBatch {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many prefixes the items carry together.
    pub fn prefix_count(&self) -> usize {
        self.ipv4.len() + self.ipv6.len()
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.items.clear();
        self.attr_bytes.clear();
        self.ipv4.clear();
        self.ipv6.clear();
    }
}
