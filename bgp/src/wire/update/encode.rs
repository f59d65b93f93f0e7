//! Routes to UPDATE bytes: one attribute set and many prefixes to as few messages as fit.

use smallvec::SmallVec;

use crate::family::{Family, FamilySet};
use crate::next_hop::NextHop;
use crate::prefix::Prefix;
use crate::wire::attr::code::{self, OPTIONAL, TRANSITIVE, VALUE_MAX, put};
use crate::wire::attr::{AttrView, RawAttr, as4};
use crate::wire::header;
use crate::wire::iana::message;
use crate::wire::update::{Nlri, mp_reach, nlri};

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
    /// The attributes leave no room for the family's longest prefix. The rule does not look at the prefixes at hand:
    /// whether a set can be sent must not depend on how the RIB grouped its routes.
    #[error("attributes of {attributes_len} octets do not fit into a message of {max_message_len}")]
    TooLong {
        /// Octets of the attributes.
        attributes_len: usize,
        /// What the session allows.
        max_message_len: u16,
    },
}

/// Octets of the two length fields, all that an UPDATE must have (RFC 4271 §4.3).
const LENGTHS: usize = 4;

/// Appends the UPDATEs that announce `prefixes` with these canonical attributes and this next hop. IPv4 prefixes
/// with an IPv4 next hop go into the classic fields, all others into MP_REACH_NLRI.
///
/// # Errors
/// When the attributes leave no room. Nothing has been appended then.
pub fn encode_announce<P: Prefix>(
    out: &mut Vec<u8>,
    options: &EncodeOptions,
    attrs: &[u8],
    next_hop: NextHop,
    prefixes: &[Nlri<P>],
) -> Result<(), EncodeError> {
    let has_path_ids = options.add_path.contains(P::FAMILY);
    let (classic, multiprotocol) = match next_hop {
        NextHop::V4(address) if P::FAMILY == Family::Ipv4Unicast => (Some(address.octets()), None),
        NextHop::V4(_) | NextHop::V6 { .. } => (None, Some(mp_reach::next_hop_octets(next_hop))),
    };
    let mut attributes = Vec::with_capacity(attrs.len() + 16);
    write_attributes(attrs, options.four_octet_as, classic, &mut attributes);
    let mp_len = multiprotocol.as_deref().map_or(0, mp_reach::reach_overhead);
    let fixed = header::LEN + LENGTHS + attributes.len() + mp_len;
    let max = usize::from(options.max_message_len);
    // A set that editing has cut is beyond any message as it stands, even where two octets an AS make it shorter.
    let is_cut = attrs.len() > VALUE_MAX;
    if is_cut || fixed + nlri::encoded_len_max::<P>(has_path_ids) > max {
        return Err(EncodeError::TooLong {
            attributes_len: attributes.len().max(attrs.len()) + mp_len,
            max_message_len: options.max_message_len,
        });
    }
    for_each_message(out, prefixes, max - fixed, has_path_ids, |out, now| {
        out.extend_from_slice(&[0, 0]);
        counted(out, |out| {
            if let Some(next_hop) = &multiprotocol {
                let len_at = mp_reach::write_reach(P::FAMILY, next_hop, out);
                write_nlri(out, now, has_path_ids);
                close(out, len_at);
            }
            out.extend_from_slice(&attributes);
        });
        if multiprotocol.is_none() {
            write_nlri(out, now, has_path_ids);
        }
    });
    Ok(())
}

/// Appends the UPDATEs that withdraw `prefixes`: IPv4 in the classic field, IPv6 in MP_UNREACH_NLRI.
pub fn encode_withdraw<P: Prefix>(out: &mut Vec<u8>, options: &EncodeOptions, prefixes: &[Nlri<P>]) {
    let has_path_ids = options.add_path.contains(P::FAMILY);
    let mp_len = match P::FAMILY {
        Family::Ipv4Unicast => 0,
        Family::Ipv6Unicast => mp_reach::UNREACH_OVERHEAD,
    };
    let room = usize::from(options.max_message_len).saturating_sub(header::LEN + LENGTHS + mp_len);
    for_each_message(out, prefixes, room, has_path_ids, |out, now| match P::FAMILY {
        Family::Ipv4Unicast => {
            counted(out, |out| write_nlri(out, now, has_path_ids));
            out.extend_from_slice(&[0, 0]);
        }
        Family::Ipv6Unicast => {
            out.extend_from_slice(&[0, 0]);
            counted(out, |out| {
                let len_at = mp_reach::write_unreach(P::FAMILY, out);
                write_nlri(out, now, has_path_ids);
                close(out, len_at);
            });
        }
    });
}

/// Appends End-of-RIB of a family (RFC 4724 §2).
pub fn encode_end_of_rib(out: &mut Vec<u8>, family: Family) {
    write_message(out, |out| {
        out.extend_from_slice(&[0, 0]);
        counted(out, |out| match family {
            Family::Ipv4Unicast => {}
            Family::Ipv6Unicast => {
                let [high, low] = family.afi().to_be_bytes();
                put(out, OPTIONAL, code::MP_UNREACH_NLRI, &[high, low, family.safi()]);
            }
        });
    });
}

/// Writes one message after the other, each with as many of the prefixes as fit into `room`.
fn for_each_message<P: Prefix>(
    out: &mut Vec<u8>,
    mut prefixes: &[Nlri<P>],
    room: usize,
    has_path_ids: bool,
    mut write: impl FnMut(&mut Vec<u8>, &[Nlri<P>]),
) {
    while !prefixes.is_empty() {
        let (now, later) = prefixes.split_at(fitting(prefixes, room, has_path_ids));
        prefixes = later;
        write_message(out, |out| write(out, now));
    }
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

fn write_nlri<P: Prefix>(out: &mut Vec<u8>, prefixes: &[Nlri<P>], has_path_ids: bool) {
    prefixes
        .iter()
        .for_each(|prefix| nlri::encode(prefix, has_path_ids, out));
}

/// Writes an UPDATE's header around what `write` appends.
fn write_message(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&[0, 0, message::UPDATE]);
    write(out);
    let len = (out.len() - start) as u16;
    out[start + 16..start + 18].copy_from_slice(&len.to_be_bytes());
}

/// Puts two octets before what `write` appends that count it.
fn counted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let len_at = out.len();
    out.extend_from_slice(&[0, 0]);
    write(out);
    close(out, len_at);
}

/// Fills the two-octet count at `len_at` with the number of octets behind it.
fn close(out: &mut [u8], len_at: usize) {
    let len = (out.len() - len_at - 2) as u16;
    out[len_at..len_at + 2].copy_from_slice(&len.to_be_bytes());
}

/// Canonical attributes as this session takes them, in order of their type (RFC 4271 §5), NEXT_HOP and for an old
/// peer the AS4 attributes (RFC 6793 §4.2.2) in their places.
fn write_attributes(attrs: &[u8], four_octet_as: bool, next_hop: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let mut inserted: SmallVec<[RawAttr<'_>; 3]> = SmallVec::new();
    if let Some(octets) = &next_hop {
        inserted.push(RawAttr {
            flags: TRANSITIVE,
            code: code::NEXT_HOP,
            value: octets,
        });
    }
    let mut narrow = Vec::new();
    for attr in AttrView::new(attrs).iter() {
        put_inserted(&mut inserted, attr.code, out);
        let mut insert = |code| {
            inserted.push(RawAttr {
                flags: OPTIONAL | TRANSITIVE,
                code,
                value: attr.value,
            });
        };
        match attr.code {
            code::AS_PATH if !four_octet_as => {
                narrow.clear();
                if as4::narrow_path(attr.value, &mut narrow) {
                    insert(code::AS4_PATH);
                }
                put(out, attr.flags, attr.code, &narrow);
            }
            code::AGGREGATOR if !four_octet_as => {
                let (octets, is_lossy) = as4::narrow_aggregator(attr.value);
                if is_lossy {
                    insert(code::AS4_AGGREGATOR);
                }
                put(out, attr.flags, attr.code, &octets);
            }
            _ => put(out, attr.flags, attr.code, attr.value),
        }
    }
    put_inserted(&mut inserted, u8::MAX, out);
}

/// Writes what belongs before an attribute of type `before`; the list is in order.
fn put_inserted(inserted: &mut SmallVec<[RawAttr<'_>; 3]>, before: u8, out: &mut Vec<u8>) {
    while let Some(attr) = inserted.first().copied().filter(|attr| attr.code < before) {
        put(out, attr.flags, attr.code, attr.value);
        inserted.remove(0);
    }
}
