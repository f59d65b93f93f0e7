//! State that both families share.

use std::net::IpAddr;

use pipit_bgp::session::output::Negotiated;
use pipit_bgp::wire::attr::AttrFacts;
use pipit_bgp::{Family, FamilyMap, NextHop};

use crate::attrs::{AttrId, AttrTable, Released};
use crate::fib::{Fib, Reachability};
use crate::next_hops::{NextHopId, NextHopTable};
use crate::rib::{Drain, FamilyPolicy, NodeSettings};
use crate::source::SourceTable;

/// State that both families share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: NodeSettings,
    pub(crate) policy: FamilyMap<FamilyPolicy>,
    /// Drained by command.
    pub(crate) drain: Drain,
    pub(crate) attrs: AttrTable,
    pub(crate) next_hops: NextHopTable,
    pub(crate) sources: SourceTable,
    pub(crate) fib: Fib,
}

impl Shared {
    /// Our address as a next hop of a family on one session: the session's own end if it is of that family, or else the
    /// node's BGP address, or one on the same interface.
    pub(crate) fn own_next_hop(&self, family: Family, negotiated: &Negotiated) -> Option<IpAddr> {
        let local = negotiated.local_address;
        if Family::of(local) == family || (family == Family::Ipv4Unicast && negotiated.extended_next_hop) {
            return Some(local);
        }
        self.node.addresses[family].or_else(|| self.fib.address_beside(local, family))
    }

    /// Enters an attribute set; the caller holds a count.
    pub(crate) fn intern(&mut self, bytes: &[u8], facts: &AttrFacts, next_hop: NextHop) -> AttrId {
        let next_hop = match self.next_hops.find(next_hop) {
            Some(id) => id,
            None => {
                let reachability = self.fib.track(next_hop.address());
                self.next_hops.insert(next_hop, reachability)
            }
        };
        self.intern_at(bytes, facts, next_hop)
    }

    /// As [`Self::intern`], for a next hop that is known already.
    pub(crate) fn intern_at(&mut self, bytes: &[u8], facts: &AttrFacts, next_hop: NextHopId) -> AttrId {
        let (id, is_new) = self.attrs.intern(bytes, next_hop, facts);
        if is_new {
            self.next_hops.retain(next_hop);
        }
        id
    }

    /// Gives a count of an attribute set back.
    pub(crate) fn release(&mut self, id: AttrId) {
        if let Released::Gone(next_hop) = self.attrs.release(id)
            && let Some(next_hop) = self.next_hops.release(next_hop)
            && !self.next_hops.uses(next_hop.address())
        {
            self.fib.untrack(next_hop.address());
        }
    }
}

/// The interface by which a next hop is reached, for policy.
pub(crate) fn interface_of(shared: &Shared, next_hop: NextHopId) -> Option<&str> {
    match &shared.next_hops[next_hop].reachability {
        Reachability::Reachable { interface, .. } if !interface.is_empty() => Some(interface),
        _ => None,
    }
}
