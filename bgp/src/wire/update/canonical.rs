//! Received attributes to canonical bytes (see `wire::attr::AttrView`).

use std::borrow::Cow;
use std::collections::HashSet;

use smallvec::SmallVec;

use crate::asn::Asn;
use crate::wire::attr::RawAttr;
use crate::wire::attr::as4;
use crate::wire::attr::code::{self, OPTIONAL, PARTIAL, TRANSITIVE, VALUE_MAX, put};
use crate::wire::attr::validate;
use crate::wire::update::decode::Attributes;

/// With four octets an AS the path no longer fits into an attribute. Only extended messages (RFC 8654) of 2-octet
/// speakers can do that.
pub(crate) struct PathTooLong;

/// Appends the canonical form: sorted by type, numbers in four octets, AS4 attributes folded in, flags normalised.
pub(crate) fn write(
    mut found: Attributes<'_>,
    four_octet_as: bool,
    out: &mut Vec<u8>,
) -> Result<(), PathTooLong> {
    if !found.list.is_sorted_by_key(|attr| attr.code) {
        found.list.sort_unstable_by_key(|attr| attr.code);
    }
    if !four_octet_as {
        forget_stale_as4(&mut found);
    }
    for attr in &found.list {
        match attr.code {
            code::AS_PATH if !four_octet_as => {
                let path = as4::merge(attr.value, found.as4_path);
                if path.len() > VALUE_MAX {
                    return Err(PathTooLong);
                }
                put(out, TRANSITIVE, attr.code, &path);
            }
            code::AGGREGATOR if !four_octet_as => {
                let widened = [&[0, 0], attr.value].concat();
                put(
                    out,
                    flags(*attr),
                    attr.code,
                    found.as4_aggregator.unwrap_or(&widened),
                );
            }
            code::LARGE_COMMUNITIES => put(out, flags(*attr), attr.code, &distinct_large(attr.value)),
            _ => put(out, flags(*attr), attr.code, attr.value),
        }
    }
    Ok(())
}

/// RFC 6793 §4.2.3: where AGGREGATOR names a real AS, a 2-octet speaker has aggregated since, and both AS4 attributes
/// are out of date.
fn forget_stale_as4(found: &mut Attributes<'_>) {
    let aggregator = found.list.iter().find(|attr| attr.code == code::AGGREGATOR);
    let trans = Asn::TRANS.to_two_octets().to_be_bytes();
    if found.as4_aggregator.is_some() && aggregator.is_some_and(|attr| !attr.value.starts_with(&trans)) {
        (found.as4_path, found.as4_aggregator) = (None, None);
    }
}

/// Unused bits go, and Partial where it must not be.
fn flags(attr: RawAttr<'_>) -> u8 {
    let kind = attr.flags & (OPTIONAL | TRANSITIVE);
    match (kind == OPTIONAL | TRANSITIVE, validate::is_known(attr.code)) {
        (false, _) => kind,
        (true, true) => kind | attr.flags & PARTIAL,
        // RFC 4271 §5: who passes on what he does not know says so.
        (true, false) => kind | PARTIAL,
    }
}

/// RFC 8092 §2: a value that stands there twice is silently left out; the first of each keeps its place.
fn distinct_large(value: &[u8]) -> Cow<'_, [u8]> {
    let mut sorted: SmallVec<[&[u8]; 16]> = value.chunks_exact(12).collect();
    sorted.sort_unstable();
    if sorted.windows(2).all(|pair| pair[0] != pair[1]) {
        return Cow::Borrowed(value);
    }
    let mut met = HashSet::new();
    Cow::Owned(
        value
            .chunks_exact(12)
            .filter(|community| met.insert(*community))
            .flatten()
            .copied()
            .collect(),
    )
}
