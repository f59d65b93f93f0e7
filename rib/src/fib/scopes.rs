//! The links of neighbours that are known by a link-local address (RFC 4007 §6).
//!
//! Every interface has fe80::/64, so the kernel's routes do not say which one a link-local next hop is on. It is, where
//! a peer has that address, the peer's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use pipit_bgp::PeerId;

use crate::fib::Fib;

/// By peer: its link-local address, and the name of the interface.
#[derive(Debug, Default)]
pub(crate) struct Scopes(BTreeMap<PeerId, (Ipv6Addr, String)>);

impl Scopes {
    /// Whether a peer has this address.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.of(address).next().is_some()
    }

    /// Whether the address may be on this link: that of a peer which has it, else any.
    pub(crate) fn allow(&self, address: IpAddr, link: &str) -> bool {
        !self.knows(address) || self.of(address).any(|interface| interface == link)
    }

    fn of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        self.0
            .values()
            .filter(move |(of, _)| *of == address)
            .map(|(_, interface)| interface.as_str())
    }
}

impl Fib {
    /// A peer is on this interface; that counts only where its address is link-local. Says whether that is new.
    pub(crate) fn set_link(&mut self, id: PeerId, address: IpAddr, interface: Option<String>) -> bool {
        let scope = match (address, interface) {
            (IpAddr::V6(address), Some(interface)) if address.is_unicast_link_local() => {
                Some((address, interface))
            }
            _ => None,
        };
        let Scopes(scopes) = self.topology.scopes_mut();
        let old = match &scope {
            Some(scope) => scopes.insert(id, scope.clone()),
            None => scopes.remove(&id),
        };
        if old == scope {
            return false;
        }
        for (address, _) in old.into_iter().chain(scope) {
            self.stir_net(IpAddr::from(address).into());
        }
        self.resolve_again();
        true
    }

    /// The peer is gone.
    pub(crate) fn forget_link(&mut self, id: PeerId) {
        self.set_link(id, Ipv6Addr::UNSPECIFIED.into(), None);
    }
}
