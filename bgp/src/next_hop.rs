//! The NEXT_HOP of a path.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a path's traffic goes: NEXT_HOP (RFC 4271 §5.1.3) or that of MP_REACH_NLRI (RFC 4760 §3, RFC 2545 §3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NextHop {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, with the link-local one that may come beside it. Used for IPv6 routes, and for IPv4
    /// routes where RFC 8950 is negotiated. A peer that sends only a link-local address has it as `global`.
    V6 {
        /// Global address.
        global: Ipv6Addr,
        /// Link-local address of the same router; `None` when the peer sent 16 octets.
        link_local: Option<Ipv6Addr>,
    },
}

impl NextHop {
    /// The address by which the path is resolved and shown (the global one).
    pub fn address(self) -> IpAddr {
        match self {
            NextHop::V4(address) => IpAddr::V4(address),
            NextHop::V6 { global, .. } => IpAddr::V6(global),
        }
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => NextHop::V4(address),
            IpAddr::V6(global) => NextHop::V6 {
                global,
                link_local: None,
            },
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}
