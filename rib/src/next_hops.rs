//! The next hops that paths use, each with what the kernel's routes say of it.
//!
//! This node's own routes have a way out instead of a next hop; those entries name the interface, and nobody tracks
//! them.
//!
//! **Invariant:** an entry lives while an attribute set holds a count of it; the FIB is asked to track exactly the
//! addresses that are here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use pipit_bgp::NextHop;

use crate::fib::Reachability;

/// Names a next hop in the [`NextHopTable`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct NextHopId(pub(crate) u32);

/// Some next hops, asked for each path of a table.
#[derive(Debug, Default)]
pub(crate) struct NextHopSet(Vec<bool>);

impl NextHopSet {
    pub(crate) fn insert(&mut self, NextHopId(at): NextHopId) {
        let at = at as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, false);
        }
        self.0[at] = true;
    }

    pub(crate) fn contains(&self, NextHopId(at): NextHopId) -> bool {
        self.0.get(at as usize).is_some_and(|&is_in| is_in)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One next hop.
#[derive(Clone, Debug)]
pub(crate) struct TrackedNextHop {
    pub(crate) next_hop: NextHop,
    pub(crate) reachability: Reachability,
    /// `Some` for the way out of a route that another program of this node wrote: whether it leads to a gateway.
    pub(crate) is_via_gateway: Option<bool>,
    count: u32,
}

/// The way out of another program's route: its interface, and whether a gateway is behind it.
type OwnWay = (Option<Box<str>>, bool);

/// The next hop as it is to be resolved. A link-local address alone says nothing of its link (RFC 4007 §6); the peer's
/// own address does, since nobody else can have meant it.
pub(crate) fn on_the_link_of(peer: IpAddr, next_hop: NextHop) -> NextHop {
    match (next_hop, peer) {
        (NextHop::V6 { global, .. }, IpAddr::V6(peer))
            if global.is_unicast_link_local() && !peer.is_unicast_link_local() =>
        {
            NextHop::V6 {
                global: peer,
                link_local: Some(global),
            }
        }
        _ => next_hop,
    }
}

/// All next hops in use.
#[derive(Debug, Default)]
pub(crate) struct NextHopTable {
    entries: Vec<TrackedNextHop>,
    free: Vec<u32>,
    index: HashMap<NextHop, NextHopId, foldhash::fast::RandomState>,
    last: Option<(NextHop, NextHopId)>,
    own: HashMap<OwnWay, NextHopId, foldhash::fast::RandomState>,
}

impl NextHopTable {
    /// The id of a next hop, if somebody uses it.
    pub(crate) fn find(&mut self, next_hop: NextHop) -> Option<NextHopId> {
        // Consecutive announcements of one peer nearly always share their next hop.
        if let Some((last, id)) = self.last
            && last == next_hop
        {
            return Some(id);
        }
        let id = *self.index.get(&next_hop)?;
        self.last = Some((next_hop, id));
        Some(id)
    }

    /// Enters a next hop that [`Self::find`] does not know. It holds no count yet: see [`Self::retain`].
    pub(crate) fn insert(&mut self, next_hop: NextHop, reachability: Reachability) -> NextHopId {
        let id = self.enter(TrackedNextHop {
            next_hop,
            reachability,
            is_via_gateway: None,
            count: 0,
        });
        self.index.insert(next_hop, id);
        self.last = Some((next_hop, id));
        id
    }

    /// The way out of another program's route, entered if it is new.
    pub(crate) fn own(&mut self, interface: Option<&str>, is_via_gateway: bool) -> NextHopId {
        let way = (interface.map(Box::from), is_via_gateway);
        if let Some(&id) = self.own.get(&way) {
            return id;
        }
        let id = self.enter(TrackedNextHop {
            next_hop: IpAddr::from(Ipv4Addr::UNSPECIFIED).into(),
            reachability: Reachability::Reachable {
                metric: 0,
                interface: interface.unwrap_or_default().to_owned(),
            },
            is_via_gateway: Some(is_via_gateway),
            count: 0,
        });
        self.own.insert(way, id);
        id
    }

    fn enter(&mut self, entry: TrackedNextHop) -> NextHopId {
        match self.free.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                NextHopId(at)
            }
            None => {
                self.entries.push(entry);
                NextHopId((self.entries.len() - 1) as u32)
            }
        }
    }

    /// Takes one count.
    pub(crate) fn retain(&mut self, id: NextHopId) {
        self.entries[id.0 as usize].count += 1;
    }

    /// Gives one count back; the next hop itself, if it was tracked, when that was the last.
    pub(crate) fn release(&mut self, id: NextHopId) -> Option<NextHop> {
        let entry = &mut self.entries[id.0 as usize];
        entry.count -= 1;
        if entry.count > 0 {
            return None;
        }
        let (next_hop, is_own) = (entry.next_hop, entry.is_via_gateway.is_some());
        self.free.push(id.0);
        if is_own {
            self.own.retain(|_, own| *own != id);
            return None;
        }
        self.index.remove(&next_hop);
        self.last = None;
        Some(next_hop)
    }

    /// Whether some next hop has this address.
    pub(crate) fn uses(&self, address: std::net::IpAddr) -> bool {
        self.index.keys().any(|next_hop| next_hop.address() == address)
    }

    /// Notes what the kernel's routes now say of a next hop's address; the ids whose entry changed.
    pub(crate) fn set_reachability(
        &mut self,
        address: std::net::IpAddr,
        reachability: &Reachability,
    ) -> Vec<NextHopId> {
        let ids: Vec<NextHopId> = self
            .index
            .iter()
            .filter(|(next_hop, _)| next_hop.address() == address)
            .map(|(_, &id)| id)
            .collect();
        ids.into_iter()
            .filter(|id| {
                let entry = &mut self.entries[id.0 as usize];
                let changed = entry.reachability != *reachability;
                entry.reachability = reachability.clone();
                changed
            })
            .collect()
    }
}

impl std::ops::Index<NextHopId> for NextHopTable {
    type Output = TrackedNextHop;

    fn index(&self, id: NextHopId) -> &TrackedNextHop {
        &self.entries[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4007_6_a_link_local_next_hop_is_on_the_link_of_the_peer_that_sent_it() {
        let v6 = |global: &str, link_local: Option<&str>| NextHop::V6 {
            global: global.parse().unwrap(),
            link_local: link_local.map(|text| text.parse().unwrap()),
        };
        for (peer, sent, expected) in [
            ("fd00:1::2", v6("fe80::9", None), v6("fd00:1::2", Some("fe80::9"))),
            (
                "fd00:1::2",
                v6("fe80::9", Some("fe80::9")),
                v6("fd00:1::2", Some("fe80::9")),
            ),
            (
                "fd00:1::2",
                v6("fd00::9", Some("fe80::9")),
                v6("fd00::9", Some("fe80::9")),
            ),
            ("fd00:1::2", v6("fd00::9", None), v6("fd00::9", None)),
            ("10.0.0.2", v6("fe80::9", None), v6("fe80::9", None)),
            ("fe80::2", v6("fe80::9", None), v6("fe80::9", None)),
        ] {
            assert_eq!(on_the_link_of(peer.parse().unwrap(), sent), expected, "{sent:?}");
        }
    }
}
