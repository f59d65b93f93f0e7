//! MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760 §3, §4).
//!
//! ```text
//! MP_REACH:   AFI (2) | SAFI (1) | next hop length (1) | next hop | reserved (1) | prefixes
//! MP_UNREACH: AFI (2) | SAFI (1) | prefixes
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use crate::family::Family;
use crate::next_hop::NextHop;
use crate::wire::attr::code::{self, EXTENDED_LENGTH, OPTIONAL};
use crate::wire::update::DecodeOptions;

/// Reachable or unreachable prefixes of a family that is in use.
#[derive(Clone, Copy)]
pub(crate) struct MpNlri<'a> {
    pub(crate) family: Family,
    /// `None` for unreachable prefixes.
    pub(crate) next_hop: Option<NextHop>,
    /// The field of prefixes, not parsed yet.
    pub(crate) nlri: &'a [u8],
    /// The whole attribute, for a NOTIFICATION.
    pub(crate) attribute: &'a [u8],
}

/// What an attribute says.
pub(crate) enum Multiprotocol<'a> {
    /// Prefixes of a family in use.
    Used(MpNlri<'a>),
    /// A family that is not (RFC 4760 §6: ignored); whether it has prefixes.
    Ignored { has_nlri: bool },
}

/// The prefixes cannot be found (RFC 7606 §5.3, §7.11).
pub(crate) struct Unreadable;

/// Reads MP_REACH_NLRI. Of a family that is not in use nothing but its name is looked at.
pub(crate) fn reach<'a>(
    attribute: &'a [u8],
    value: &'a [u8],
    options: &DecodeOptions,
) -> Result<Multiprotocol<'a>, Unreadable> {
    let (&[high, low, safi, next_hop_len, _], _) = value.split_first_chunk().ok_or(Unreadable)?;
    let next_hop_len = usize::from(next_hop_len);
    let Some(family) = family_in_use(high, low, safi, options) else {
        let has_nlri = value.len() > 5 + next_hop_len;
        return Ok(Multiprotocol::Ignored { has_nlri });
    };
    let (octets, rest) = value[4..].split_at_checked(next_hop_len).ok_or(Unreadable)?;
    let (_reserved, nlri) = rest.split_first().ok_or(Unreadable)?;
    let next_hop = match (family, octets) {
        (Family::Ipv4Unicast, &[a, b, c, d]) => NextHop::V4([a, b, c, d].into()),
        (Family::Ipv4Unicast, _) if !options.extended_next_hop => return Err(Unreadable),
        (Family::Ipv4Unicast | Family::Ipv6Unicast, _) => ipv6_next_hop(octets).ok_or(Unreadable)?,
    };
    Ok(Multiprotocol::Used(MpNlri {
        family,
        next_hop: Some(next_hop),
        nlri,
        attribute,
    }))
}

/// Reads MP_UNREACH_NLRI, likewise.
pub(crate) fn unreach<'a>(
    attribute: &'a [u8],
    value: &'a [u8],
    options: &DecodeOptions,
) -> Result<Multiprotocol<'a>, Unreadable> {
    let (&[high, low, safi], nlri) = value.split_first_chunk().ok_or(Unreadable)?;
    Ok(match family_in_use(high, low, safi, options) {
        None => Multiprotocol::Ignored {
            has_nlri: !nlri.is_empty(),
        },
        Some(family) => Multiprotocol::Used(MpNlri {
            family,
            next_hop: None,
            nlri,
            attribute,
        }),
    })
}

fn family_in_use(high: u8, low: u8, safi: u8, options: &DecodeOptions) -> Option<Family> {
    Family::from_afi_safi(u16::from_be_bytes([high, low]), safi)
        .filter(|&family| options.families.contains(family))
}

/// Sixteen octets, or thirty-two with a link-local address (RFC 2545 §3, RFC 8950 §3).
fn ipv6_next_hop(octets: &[u8]) -> Option<NextHop> {
    let (&global, rest) = octets.split_first_chunk::<16>()?;
    let global = Ipv6Addr::from(global);
    let second = match rest {
        [] => None,
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(rest).ok()?)),
    };
    // Some speakers without a global address put an unspecified one in its place.
    let link_local = second.filter(|address| address.is_unicast_link_local());
    Some(match (global.is_unspecified(), link_local) {
        (true, Some(link_local)) => NextHop::V6 {
            global: link_local,
            link_local: None,
        },
        _ => NextHop::V6 { global, link_local },
    })
}

/// Whether an address can be that of a router (RFC 4271 §6.3: a valid IP host address). Whose it is, the RIB asks.
pub(crate) fn is_host(next_hop: NextHop) -> bool {
    match next_hop {
        NextHop::V4(address) => is_host_v4(address),
        NextHop::V6 { global, .. } => match global.to_ipv4_mapped() {
            Some(address) => is_host_v4(address),
            None => !global.is_unspecified() && !global.is_loopback() && !global.is_multicast(),
        },
    }
}

fn is_host_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && !address.is_loopback() && !address.is_multicast() && !address.is_broadcast()
}

/// A next hop as MP_REACH_NLRI carries it; an IPv4 one for IPv6 prefixes is mapped (RFC 4291 §2.5.5.2).
pub(crate) fn next_hop_octets(next_hop: NextHop) -> SmallVec<[u8; 32]> {
    match next_hop {
        NextHop::V4(address) => SmallVec::from_slice(&address.to_ipv6_mapped().octets()),
        NextHop::V6 { global, link_local } => {
            let mut octets = SmallVec::from_slice(&global.octets());
            octets.extend(link_local.iter().flat_map(|address| address.octets()));
            octets
        }
    }
}

/// Octets that [`write_unreach`] writes before the prefixes.
pub(crate) const UNREACH_OVERHEAD: usize = 4 + 3;

/// Octets that [`write_reach`] writes before the prefixes.
pub(crate) fn reach_overhead(next_hop: &[u8]) -> usize {
    4 + 4 + next_hop.len() + 1
}

/// Writes MP_REACH_NLRI up to its prefixes. Says where the length is that the caller fills in.
pub(crate) fn write_reach(family: Family, next_hop: &[u8], out: &mut Vec<u8>) -> usize {
    let len_at = write_head(code::MP_REACH_NLRI, family, out);
    out.push(next_hop.len() as u8);
    out.extend_from_slice(next_hop);
    out.push(0);
    len_at
}

/// Writes MP_UNREACH_NLRI up to its prefixes, likewise.
pub(crate) fn write_unreach(family: Family, out: &mut Vec<u8>) -> usize {
    write_head(code::MP_UNREACH_NLRI, family, out)
}

fn write_head(code: u8, family: Family, out: &mut Vec<u8>) -> usize {
    // The length is known only after the prefixes, hence the two-octet form always.
    out.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, code]);
    let len_at = out.len();
    let [high, low] = family.afi().to_be_bytes();
    out.extend_from_slice(&[0, 0, high, low, family.safi()]);
    len_at
}
