//! What IPv4 and IPv6 prefixes have in common.

use std::fmt::{Debug, Display};
use std::hash::Hash;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::family::Family;

/// An address prefix of one family; lets one generic function serve both.
///
/// **Invariant:** values that travel between tasks are masked: no bit is set beyond `bits`.
pub trait Prefix: Copy + Eq + Ord + Hash + Debug + Display + Into<IpNet> + Send + Sync + 'static {
    /// The family that carries such prefixes.
    const FAMILY: Family;
    /// Longest prefix length, in bits.
    const MAX_LEN: u8;

    /// The prefix length.
    fn bits(self) -> u8;
    /// The first address as octets, zero beyond [`Prefix::MAX_LEN`].
    fn octets(self) -> [u8; 16];
    /// The prefix of `len` bits that starts with `octets`; host bits are masked. `None` when `len` is too long.
    fn from_octets(octets: [u8; 16], len: u8) -> Option<Self>;
    /// The prefix when it is of this family.
    fn from_net(net: IpNet) -> Option<Self>;
}

impl Prefix for Ipv4Net {
    const FAMILY: Family = Family::Ipv4Unicast;
    const MAX_LEN: u8 = 32;

    fn bits(self) -> u8 {
        self.prefix_len()
    }

    fn octets(self) -> [u8; 16] {
        let [a, b, c, d] = self.addr().octets();
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    }

    fn from_octets(octets: [u8; 16], len: u8) -> Option<Self> {
        let [a, b, c, d, ..] = octets;
        Ipv4Net::new([a, b, c, d].into(), len).ok().map(|net| net.trunc())
    }

    fn from_net(net: IpNet) -> Option<Self> {
        match net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        }
    }
}

impl Prefix for Ipv6Net {
    const FAMILY: Family = Family::Ipv6Unicast;
    const MAX_LEN: u8 = 128;

    fn bits(self) -> u8 {
        self.prefix_len()
    }

    fn octets(self) -> [u8; 16] {
        self.addr().octets()
    }

    fn from_octets(octets: [u8; 16], len: u8) -> Option<Self> {
        Ipv6Net::new(octets.into(), len).ok().map(|net| net.trunc())
    }

    fn from_net(net: IpNet) -> Option<Self> {
        match net {
            IpNet::V6(net) => Some(net),
            IpNet::V4(_) => None,
        }
    }
}
