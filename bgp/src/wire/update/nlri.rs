//! Prefixes on the wire (RFC 4271 §4.3, RFC 7911 §3).

use std::ops::Range;

use crate::prefix::Prefix;
use crate::wire::update::Nlri;

/// A prefix list that does not parse: a length beyond the family's, or a cut entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadNlri;

/// Reads a whole field of prefixes and says where they are in `out`. Without `is_used` they are checked only.
pub(crate) fn append<P: Prefix>(
    field: &[u8],
    has_path_ids: bool,
    is_used: bool,
    out: &mut Vec<Nlri<P>>,
) -> Result<Range<u32>, BadNlri> {
    let start = out.len();
    decode(field, has_path_ids, out)?;
    if !is_used {
        out.truncate(start);
    }
    Ok(start as u32..out.len() as u32)
}

/// Bits beyond a prefix's length are ignored (RFC 4271 §4.3).
fn decode<P: Prefix>(mut field: &[u8], has_path_ids: bool, out: &mut Vec<Nlri<P>>) -> Result<(), BadNlri> {
    while !field.is_empty() {
        let mut path_id = 0;
        if has_path_ids {
            let (id, rest) = field.split_first_chunk::<4>().ok_or(BadNlri)?;
            (path_id, field) = (u32::from_be_bytes(*id), rest);
        }
        let (&len, rest) = field.split_first().ok_or(BadNlri)?;
        if len > P::MAX_LEN {
            return Err(BadNlri);
        }
        let width = usize::from(len.div_ceil(8));
        let (bytes, rest) = rest.split_at_checked(width).ok_or(BadNlri)?;
        field = rest;
        let mut octets = [0; 16];
        octets[..width].copy_from_slice(bytes);
        out.push(Nlri {
            prefix: P::from_octets(octets, len).ok_or(BadNlri)?,
            path_id,
        });
    }
    Ok(())
}

/// Writes one prefix.
pub(crate) fn encode<P: Prefix>(nlri: &Nlri<P>, has_path_ids: bool, out: &mut Vec<u8>) {
    if has_path_ids {
        out.extend_from_slice(&nlri.path_id.to_be_bytes());
    }
    let len = nlri.prefix.bits();
    out.push(len);
    out.extend_from_slice(&nlri.prefix.octets()[..usize::from(len.div_ceil(8))]);
}

/// Octets that [`encode`] writes.
pub(crate) fn encoded_len<P: Prefix>(nlri: &Nlri<P>, has_path_ids: bool) -> usize {
    1 + usize::from(nlri.prefix.bits().div_ceil(8)) + if has_path_ids { 4 } else { 0 }
}

/// The most that [`encode`] can write for a prefix of this family.
pub(crate) fn encoded_len_max<P: Prefix>(has_path_ids: bool) -> usize {
    1 + usize::from(P::MAX_LEN / 8) + if has_path_ids { 4 } else { 0 }
}
