//! Routes to UPDATE bytes: one attribute set and many prefixes to as few messages as fit.

use crate::asn::Asn;
use crate::family::{Family, FamilySet};
use crate::next_hop::NextHop;
use crate::prefix::Prefix;
use crate::wire::attr::as_path::{AsPathView, be32};
use crate::wire::attr::code::{self, EXTENDED_LENGTH, OPTIONAL, TRANSITIVE, put};
use crate::wire::attr::{AttrView, RawAttr};
use crate::wire::update::{Nlri, nlri};

/// What encoding must know of a session. Sessions with equal options get equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EncodeOptions {
    /// AS numbers travel in four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Families whose prefixes carry path identifiers (RFC 7911).
    pub add_path: FamilySet,
    /// Largest message: 4,096, or 65,535 with RFC 8654.
    pub max_message_len: u16,
}

/// Routes that cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// The attributes leave no room for a prefix.
    #[error("attributes of {attributes_len} octets do not fit into a message of {max_message_len}")]
    TooLong {
        /// Octets of the attributes.
        attributes_len: usize,
        /// What the session allows.
        max_message_len: u16,
    },
}

const MARKER_LEN: usize = 16;
const HEADER_LEN: usize = 19;
const UPDATE: u8 = 2;
/// Longest prefix with its path identifier.
const NLRI_MAX: usize = 4 + 1 + 16;

/// Appends the UPDATEs that announce `prefixes` with these canonical attributes and this next hop. IPv4 prefixes
/// with an IPv4 next hop go into the classic fields, all others into MP_REACH_NLRI.
///
/// # Errors
/// When even one prefix does not fit beside the attributes. Nothing has been appended then.
pub fn encode_announce<P: Prefix>(
    out: &mut Vec<u8>,
    options: &EncodeOptions,
    attrs: &[u8],
    next_hop: NextHop,
    prefixes: &[Nlri<P>],
) -> Result<(), EncodeError> {
    let has_path_ids = options.add_path.contains(P::FAMILY);
    let classic_next_hop = match next_hop {
        NextHop::V4(address) if P::FAMILY == Family::Ipv4Unicast => Some(address.octets()),
        NextHop::V4(_) | NextHop::V6 { .. } => None,
    };
    let mut attributes = Vec::with_capacity(attrs.len() + 16);
    write_attributes(attrs, options.four_octet_as, classic_next_hop, &mut attributes);
    let next_hop = classic_next_hop.is_none().then(|| mp_next_hop(next_hop));
    // AFI, SAFI, next hop and the reserved octet, behind four octets of attribute header.
    let mp_len = next_hop.as_ref().map_or(0, |next_hop| 4 + 4 + next_hop.len() + 1);
    let fixed = HEADER_LEN + 4 + attributes.len() + mp_len;
    let max = usize::from(options.max_message_len);
    if fixed + NLRI_MAX > max {
        return Err(EncodeError::TooLong {
            attributes_len: attributes.len() + mp_len,
            max_message_len: options.max_message_len,
        });
    }
    let mut rest = prefixes;
    while !rest.is_empty() {
        let count = fitting(rest, max - fixed, has_path_ids);
        let (now, later) = rest.split_at(count);
        rest = later;
        let start = begin(out);
        out.extend_from_slice(&[0, 0]);
        let attributes_at = out.len();
        out.extend_from_slice(&[0, 0]);
        match &next_hop {
            Some(next_hop) => {
                let mp_at = out.len();
                out.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, code::MP_REACH_NLRI, 0, 0]);
                let [high, low] = P::FAMILY.afi().to_be_bytes();
                out.extend_from_slice(&[high, low, P::FAMILY.safi(), next_hop.len() as u8]);
                out.extend_from_slice(next_hop);
                out.push(0);
                now.iter()
                    .for_each(|prefix| nlri::encode(prefix, has_path_ids, out));
                close_u16(out, mp_at + 2);
                out.extend_from_slice(&attributes);
                close_u16(out, attributes_at);
            }
            None => {
                out.extend_from_slice(&attributes);
                close_u16(out, attributes_at);
                now.iter()
                    .for_each(|prefix| nlri::encode(prefix, has_path_ids, out));
            }
        }
        finish(out, start);
    }
    Ok(())
}

/// Appends the UPDATEs that withdraw `prefixes`: IPv4 in the classic field, IPv6 in MP_UNREACH_NLRI.
pub fn encode_withdraw<P: Prefix>(out: &mut Vec<u8>, options: &EncodeOptions, prefixes: &[Nlri<P>]) {
    let has_path_ids = options.add_path.contains(P::FAMILY);
    let room = usize::from(options.max_message_len) - HEADER_LEN - 4 - 7;
    let mut rest = prefixes;
    while !rest.is_empty() {
        let count = fitting(rest, room, has_path_ids);
        let (now, later) = rest.split_at(count);
        rest = later;
        let start = begin(out);
        match P::FAMILY {
            Family::Ipv4Unicast => {
                let at = out.len();
                out.extend_from_slice(&[0, 0]);
                now.iter()
                    .for_each(|prefix| nlri::encode(prefix, has_path_ids, out));
                close_u16(out, at);
                out.extend_from_slice(&[0, 0]);
            }
            Family::Ipv6Unicast => {
                out.extend_from_slice(&[0, 0, 0, 0]);
                let at = out.len();
                write_mp_unreach(P::FAMILY, out);
                now.iter()
                    .for_each(|prefix| nlri::encode(prefix, has_path_ids, out));
                close_u16(out, at + 2);
                close_u16(out, at - 2);
            }
        }
        finish(out, start);
    }
}

/// Appends End-of-RIB of a family (RFC 4724 §2).
pub fn encode_end_of_rib(out: &mut Vec<u8>, family: Family) {
    let start = begin(out);
    out.extend_from_slice(&[0, 0]);
    match family {
        Family::Ipv4Unicast => out.extend_from_slice(&[0, 0]),
        Family::Ipv6Unicast => {
            let [high, low] = family.afi().to_be_bytes();
            out.extend_from_slice(&[0, 6, OPTIONAL, code::MP_UNREACH_NLRI, 3, high, low, family.safi()]);
        }
    }
    finish(out, start);
}

fn write_mp_unreach(family: Family, out: &mut Vec<u8>) {
    let [high, low] = family.afi().to_be_bytes();
    out.extend_from_slice(&[
        OPTIONAL | EXTENDED_LENGTH,
        code::MP_UNREACH_NLRI,
        0,
        3,
        high,
        low,
        family.safi(),
    ]);
}

fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&[0, 0, UPDATE]);
    start
}

fn finish(out: &mut [u8], start: usize) {
    let len = (out.len() - start) as u16;
    out[start + MARKER_LEN..start + MARKER_LEN + 2].copy_from_slice(&len.to_be_bytes());
}

/// Fills the two-octet count at `at` with the number of octets behind it.
fn close_u16(out: &mut [u8], at: usize) {
    let len = (out.len() - at - 2) as u16;
    out[at..at + 2].copy_from_slice(&len.to_be_bytes());
}

/// How many of the first prefixes fit into `room` octets; at least one.
fn fitting<P: Prefix>(prefixes: &[Nlri<P>], room: usize, has_path_ids: bool) -> usize {
    let mut used = 0;
    let count = prefixes
        .iter()
        .take_while(|prefix| {
            used += nlri::encoded_len(prefix, has_path_ids);
            used <= room
        })
        .count();
    count.max(1)
}

fn mp_next_hop(next_hop: NextHop) -> Vec<u8> {
    match next_hop {
        NextHop::V4(address) => address.to_ipv6_mapped().octets().to_vec(),
        NextHop::V6 { global, link_local } => {
            let mut octets = global.octets().to_vec();
            octets.extend(link_local.iter().flat_map(|address| address.octets()));
            octets
        }
    }
}

/// Canonical attributes as this session takes them, with NEXT_HOP in its place.
fn write_attributes(attrs: &[u8], four_octet_as: bool, next_hop: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let mut next_hop = next_hop;
    let mut narrowed = Narrowed::default();
    for attr in AttrView::new(attrs).iter() {
        if attr.code > code::NEXT_HOP
            && let Some(octets) = next_hop.take()
        {
            put(out, TRANSITIVE, code::NEXT_HOP, &octets);
        }
        if four_octet_as {
            put(out, attr.flags, attr.code, attr.value);
        } else {
            narrowed.write(attr, out);
        }
    }
    if let Some(octets) = next_hop {
        put(out, TRANSITIVE, code::NEXT_HOP, &octets);
    }
    narrowed.finish(out);
}

/// What a 2-octet speaker cannot read is repeated for those behind it (RFC 6793 §4.2.2).
#[derive(Default)]
struct Narrowed {
    as4_path: Option<Vec<u8>>,
    as4_aggregator: Option<Vec<u8>>,
}

impl Narrowed {
    fn write(&mut self, attr: RawAttr<'_>, out: &mut Vec<u8>) {
        let RawAttr { flags, code, value } = attr;
        match code {
            code::AS_PATH => {
                let path = AsPathView::new(value);
                let mut narrow = Vec::with_capacity(value.len());
                for segment in path.segments() {
                    let count_at = narrow.len() + 1;
                    narrow.extend_from_slice(&[segment.kind, 0]);
                    for asn in segment.members() {
                        narrow.extend_from_slice(&asn.to_two_octets().to_be_bytes());
                        narrow[count_at] += 1;
                    }
                }
                if path.asns().any(|Asn(asn)| asn > u32::from(u16::MAX)) {
                    self.as4_path = Some(value.to_vec());
                }
                put(out, flags, code, &narrow);
            }
            code::AGGREGATOR => {
                let asn = Asn(be32(value));
                let mut narrow = asn.to_two_octets().to_be_bytes().to_vec();
                narrow.extend_from_slice(value.get(4..).unwrap_or_default());
                if asn.0 > u32::from(u16::MAX) {
                    self.as4_aggregator = Some(value.to_vec());
                }
                put(out, flags, code, &narrow);
            }
            _ => put(out, flags, code, value),
        }
    }

    fn finish(self, out: &mut Vec<u8>) {
        if let Some(path) = self.as4_path {
            put(out, OPTIONAL | TRANSITIVE, code::AS4_PATH, &path);
        }
        if let Some(aggregator) = self.as4_aggregator {
            put(out, OPTIONAL | TRANSITIVE, code::AS4_AGGREGATOR, &aggregator);
        }
    }
}
