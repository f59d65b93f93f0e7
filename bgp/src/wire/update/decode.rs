//! UPDATE bytes to routes, with the error handling of RFC 7606.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use smallvec::SmallVec;

use crate::asn::Asn;
use crate::family::{Family, FamilySet};
use crate::next_hop::NextHop;
use crate::wire::attr::as_path::{AS_SEQUENCE, AS_SET, be32};
use crate::wire::attr::code::{self, EXTENDED_LENGTH, OPTIONAL, PARTIAL, TRANSITIVE, put};
use crate::wire::attr::validate::{self, AttrContext, Defect, Treatment};
use crate::wire::attr::{AttrFacts, RawAttr};
use crate::wire::update::nlri::{self, BadNlri};
use crate::wire::update::{BatchItem, UpdateBatch};

/// What decoding must know of the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeOptions {
    /// AS numbers travel in four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Families whose prefixes carry path identifiers (RFC 7911).
    pub add_path: FamilySet,
    /// Negotiated families; routes of others are passed over (RFC 4760 §6).
    pub families: FamilySet,
    /// IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer is in another AS.
    pub is_external: bool,
}

/// An UPDATE for which the session must end: UPDATE Message Error (RFC 4271 §6.3) with this subcode and data.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("UPDATE message error, subcode {subcode}: {reason}")]
pub struct UpdateError {
    /// NOTIFICATION subcode.
    pub subcode: u8,
    /// NOTIFICATION data.
    pub data: Vec<u8>,
    /// For people.
    pub reason: &'static str,
}

/// RFC 4271 §6.3 subcodes in use.
const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
const UNRECOGNIZED_WELL_KNOWN: u8 = 2;
const OPTIONAL_ATTRIBUTE_ERROR: u8 = 9;
const INVALID_NETWORK_FIELD: u8 = 10;

/// One attribute that was not as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Incident {
    /// Attribute type code.
    pub code: u8,
    /// What was wrong.
    pub defect: Defect,
    /// What it cost.
    pub treatment: Treatment,
}

/// What RFC 7606 had to mend; empty for a well-formed UPDATE.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UpdateOutcome {
    /// In the order met.
    pub incidents: SmallVec<[Incident; 1]>,
}

impl UpdateOutcome {
    /// Whether the routes were treated as withdrawn.
    pub fn is_withdraw(&self) -> bool {
        self.incidents
            .iter()
            .any(|incident| incident.treatment == Treatment::TreatAsWithdraw)
    }

    fn note(&mut self, code: u8, defect: Defect, treatment: Treatment) {
        self.incidents.push(Incident {
            code,
            defect,
            treatment,
        });
    }
}

/// Decodes an UPDATE without its header and appends its routes to a batch.
///
/// # Errors
/// The session ends with the error; the batch is then as it was before.
pub fn decode(
    body: &[u8],
    options: &DecodeOptions,
    batch: &mut UpdateBatch,
) -> Result<UpdateOutcome, UpdateError> {
    let mark = (
        batch.items.len(),
        batch.attr_bytes.len(),
        batch.ipv4.len(),
        batch.ipv6.len(),
    );
    let result = decode_into(body, options, batch);
    if result.is_err() {
        batch.items.truncate(mark.0);
        batch.attr_bytes.truncate(mark.1);
        batch.ipv4.truncate(mark.2);
        batch.ipv6.truncate(mark.3);
    }
    result
}

/// MP_REACH_NLRI or MP_UNREACH_NLRI of a family that is in use.
#[derive(Clone, Copy)]
struct MpNlri<'a> {
    family: Family,
    next_hop: Option<NextHop>,
    nlri: &'a [u8],
}

/// The attributes of one UPDATE, before their canonical form.
#[derive(Default)]
struct Attributes<'a> {
    list: SmallVec<[RawAttr<'a>; 16]>,
    reach: Option<MpNlri<'a>>,
    unreach: Option<MpNlri<'a>>,
    next_hop: Option<Ipv4Addr>,
    as4_path: Option<&'a [u8]>,
    as4_aggregator: Option<&'a [u8]>,
}

fn decode_into(
    body: &[u8],
    options: &DecodeOptions,
    batch: &mut UpdateBatch,
) -> Result<UpdateOutcome, UpdateError> {
    let (withdrawn, rest) = counted(body).ok_or_else(malformed_list)?;
    let (attributes, announced) = counted(rest).ok_or_else(malformed_list)?;
    if withdrawn.is_empty() && announced.is_empty() && attributes.is_empty() {
        batch.items.push(BatchItem::EndOfRib(Family::Ipv4Unicast));
        return Ok(UpdateOutcome::default());
    }
    let mut outcome = UpdateOutcome::default();
    let ipv4 = Family::Ipv4Unicast;
    let carries_ipv4 = options.families.contains(ipv4);
    if !withdrawn.is_empty() {
        let at = push_nlri(batch, ipv4, withdrawn, options).map_err(|_| bad_network())?;
        if carries_ipv4 {
            batch.items.push(BatchItem::Withdraw {
                family: ipv4,
                nlri: at,
            });
        }
    }
    let found = collect(attributes, options, &mut outcome)?;
    if let Some(MpNlri { family, nlri, .. }) = found.unreach {
        if nlri.is_empty() && found.list.is_empty() && found.reach.is_none() && announced.is_empty() {
            batch.items.push(BatchItem::EndOfRib(family));
        } else {
            let at =
                push_nlri(batch, family, nlri, options).map_err(|_| optional_error("MP_UNREACH_NLRI"))?;
            batch.items.push(BatchItem::Withdraw { family, nlri: at });
        }
    }
    let classic = (!announced.is_empty()).then_some(MpNlri {
        family: ipv4,
        next_hop: found.next_hop.map(NextHop::V4),
        nlri: announced,
    });
    let mut sections: SmallVec<[(MpNlri<'_>, std::ops::Range<u32>); 2]> = SmallVec::new();
    if let Some(section) = classic {
        let at = push_nlri(batch, ipv4, section.nlri, options).map_err(|_| bad_network())?;
        if carries_ipv4 {
            sections.push((section, at));
        }
    }
    if let Some(section) = found.reach {
        let at = push_nlri(batch, section.family, section.nlri, options)
            .map_err(|_| optional_error("MP_REACH_NLRI"))?;
        sections.push((section, at));
    }
    sections.retain(|(_, at)| at.start < at.end);
    if sections.is_empty() {
        return Ok(outcome);
    }
    mandatory(&found, &sections, &mut outcome);
    if outcome.is_withdraw() {
        let withdraws = sections.into_iter().map(|(s, nlri)| BatchItem::Withdraw {
            family: s.family,
            nlri,
        });
        batch.items.extend(withdraws);
        return Ok(outcome);
    }
    let start = batch.attr_bytes.len() as u32;
    canonical(found, options, &mut batch.attr_bytes);
    let attrs = start..batch.attr_bytes.len() as u32;
    let facts = AttrFacts::read(&batch.attr_bytes[start as usize..]);
    for (section, nlri) in sections {
        if let Some(next_hop) = section.next_hop {
            let (family, attrs) = (section.family, attrs.clone());
            batch.items.push(BatchItem::Announce {
                family,
                next_hop,
                facts,
                attrs,
                nlri,
            });
        }
    }
    Ok(outcome)
}

/// A field that two octets count, and what follows it.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(len)))
}

fn push_nlri(
    batch: &mut UpdateBatch,
    family: Family,
    field: &[u8],
    options: &DecodeOptions,
) -> Result<std::ops::Range<u32>, BadNlri> {
    let has_path_ids = options.add_path.contains(family);
    match family {
        Family::Ipv4Unicast => {
            let start = batch.ipv4.len() as u32;
            nlri::decode(field, has_path_ids, &mut batch.ipv4)?;
            Ok(start..batch.ipv4.len() as u32)
        }
        Family::Ipv6Unicast => {
            let start = batch.ipv6.len() as u32;
            nlri::decode(field, has_path_ids, &mut batch.ipv6)?;
            Ok(start..batch.ipv6.len() as u32)
        }
    }
}

/// Splits the attributes, checks each, and sets apart what is not part of the canonical form.
fn collect<'a>(
    mut rest: &'a [u8],
    options: &DecodeOptions,
    outcome: &mut UpdateOutcome,
) -> Result<Attributes<'a>, UpdateError> {
    let context = AttrContext {
        is_external: options.is_external,
        four_octet_as: options.four_octet_as,
    };
    let mut found = Attributes::default();
    let mut seen = [0u64; 4];
    while !rest.is_empty() {
        let Some((attr, after)) = split_attribute(rest) else {
            // RFC 7606 §4: the total length is trusted, so the NLRI behind it can still be found.
            let code = rest.get(1).copied().unwrap_or_default();
            outcome.note(code, Defect::Overrun, Treatment::TreatAsWithdraw);
            break;
        };
        let whole = &rest[..rest.len() - after.len()];
        rest = after;
        let (word, bit) = (usize::from(attr.code / 64), 1u64 << (attr.code % 64));
        let is_second = seen[word] & bit != 0;
        seen[word] |= bit;
        match attr.code {
            code::MP_REACH_NLRI | code::MP_UNREACH_NLRI if is_second => return Err(malformed_list()),
            code::MP_REACH_NLRI => {
                multiprotocol_flags(attr, outcome);
                found.reach = mp_reach(attr.value, options, outcome)?;
            }
            code::MP_UNREACH_NLRI => {
                multiprotocol_flags(attr, outcome);
                found.unreach = mp_unreach(attr.value, options)?;
            }
            _ if is_second => outcome.note(attr.code, Defect::Duplicate, Treatment::Discard),
            _ => match validate::check(attr.flags, attr.code, attr.value, context) {
                Ok(()) => keep(attr, &mut found, outcome),
                Err((_, Treatment::Reset)) => {
                    let data = whole.to_vec();
                    let reason = "unrecognised well-known attribute";
                    return Err(UpdateError {
                        subcode: UNRECOGNIZED_WELL_KNOWN,
                        data,
                        reason,
                    });
                }
                Err((defect, treatment)) => outcome.note(attr.code, defect, treatment),
            },
        }
    }
    Ok(found)
}

fn split_attribute(bytes: &[u8]) -> Option<(RawAttr<'_>, &[u8])> {
    let (&[flags, code], rest) = bytes.split_first_chunk()?;
    let (len, rest) = if flags & EXTENDED_LENGTH != 0 {
        let (&len, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_be_bytes(len)), rest)
    } else {
        let (&len, rest) = rest.split_first()?;
        (usize::from(len), rest)
    };
    let (value, rest) = rest.split_at_checked(len)?;
    Some((RawAttr { flags, code, value }, rest))
}

fn multiprotocol_flags(attr: RawAttr<'_>, outcome: &mut UpdateOutcome) {
    if attr.flags & (OPTIONAL | TRANSITIVE) != OPTIONAL {
        outcome.note(attr.code, Defect::Flags, Treatment::TreatAsWithdraw);
    }
}

/// Files a well-formed attribute.
fn keep<'a>(attr: RawAttr<'a>, found: &mut Attributes<'a>, outcome: &mut UpdateOutcome) {
    match attr.code {
        code::NEXT_HOP => {
            let address = Ipv4Addr::from(be32(attr.value));
            if is_host_v4(address) {
                found.next_hop = Some(address);
            } else {
                outcome.note(attr.code, Defect::Value, Treatment::TreatAsWithdraw);
            }
        }
        code::AS4_PATH => found.as4_path = Some(attr.value),
        code::AS4_AGGREGATOR => found.as4_aggregator = Some(attr.value),
        // RFC 4271 §5: what is unknown and not transitive is dropped quietly.
        _ if !validate::is_known(attr.code) && attr.flags & TRANSITIVE == 0 => {}
        _ => found.list.push(attr),
    }
}

/// A unicast host address that can be a next hop (RFC 4271 §6.3, RFC 6890).
fn is_host_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && !address.is_loopback() && !address.is_multicast() && !address.is_broadcast()
}

fn is_host_v6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

/// `None` for a family that is not in use (RFC 4760 §6: ignored).
fn mp_reach<'a>(
    value: &'a [u8],
    options: &DecodeOptions,
    outcome: &mut UpdateOutcome,
) -> Result<Option<MpNlri<'a>>, UpdateError> {
    let error = || optional_error("MP_REACH_NLRI");
    let (&[afi_high, afi_low, safi, next_hop_len], rest) = value.split_first_chunk().ok_or_else(error)?;
    let (next_hop, rest) = rest
        .split_at_checked(usize::from(next_hop_len))
        .ok_or_else(error)?;
    let (_reserved, nlri) = rest.split_first().ok_or_else(error)?;
    let family = Family::from_afi_safi(u16::from_be_bytes([afi_high, afi_low]), safi);
    let Some(family) = family.filter(|&family| options.families.contains(family)) else {
        return Ok(None);
    };
    let is_ipv6_allowed = family == Family::Ipv6Unicast || options.extended_next_hop;
    let next_hop = match *next_hop {
        [a, b, c, d] if family == Family::Ipv4Unicast => NextHop::V4([a, b, c, d].into()),
        _ if !is_ipv6_allowed => return Err(error()),
        _ => ipv6_next_hop(next_hop).ok_or_else(error)?,
    };
    let is_host = match next_hop {
        NextHop::V4(address) => is_host_v4(address),
        NextHop::V6 { global, .. } => is_host_v6(global),
    };
    if !is_host {
        outcome.note(code::MP_REACH_NLRI, Defect::Value, Treatment::TreatAsWithdraw);
    }
    Ok(Some(MpNlri {
        family,
        next_hop: Some(next_hop),
        nlri,
    }))
}

fn ipv6_next_hop(octets: &[u8]) -> Option<NextHop> {
    let (&global, rest) = octets.split_first_chunk::<16>()?;
    let global = Ipv6Addr::from(global);
    let second = match rest {
        [] => None,
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(rest).ok()?)),
    };
    // RFC 2545 §3: the second address is link-local; some speakers put an unspecified one in the first's place.
    let link_local = second.filter(|address| address.is_unicast_link_local());
    Some(match (global.is_unspecified(), link_local) {
        (true, Some(link_local)) => NextHop::V6 {
            global: link_local,
            link_local: None,
        },
        _ => NextHop::V6 { global, link_local },
    })
}

fn mp_unreach<'a>(value: &'a [u8], options: &DecodeOptions) -> Result<Option<MpNlri<'a>>, UpdateError> {
    let (&[high, low, safi], nlri) = value
        .split_first_chunk()
        .ok_or_else(|| optional_error("MP_UNREACH_NLRI"))?;
    let family = Family::from_afi_safi(u16::from_be_bytes([high, low]), safi);
    Ok(family
        .filter(|&family| options.families.contains(family))
        .map(|family| MpNlri {
            family,
            next_hop: None,
            nlri,
        }))
}

/// RFC 7606 §3 d: what must stand beside announced prefixes.
fn mandatory(
    found: &Attributes<'_>,
    sections: &[(MpNlri<'_>, std::ops::Range<u32>)],
    outcome: &mut UpdateOutcome,
) {
    if outcome.is_withdraw() {
        return;
    }
    for wanted in [code::ORIGIN, code::AS_PATH] {
        if !found.list.iter().any(|attr| attr.code == wanted) {
            outcome.note(wanted, Defect::Missing, Treatment::TreatAsWithdraw);
        }
    }
    if sections.iter().any(|(section, _)| section.next_hop.is_none()) {
        outcome.note(code::NEXT_HOP, Defect::Missing, Treatment::TreatAsWithdraw);
    }
}

/// Writes the canonical form (see `wire::attr::AttrView`).
fn canonical(mut found: Attributes<'_>, options: &DecodeOptions, out: &mut Vec<u8>) {
    if !found.list.is_sorted_by_key(|attr| attr.code) {
        found.list.sort_by_key(|attr| attr.code);
    }
    let mut as4_path = found.as4_path;
    let aggregator = found.list.iter().find(|attr| attr.code == code::AGGREGATOR);
    if let (false, Some(attr), Some(_)) = (options.four_octet_as, aggregator, found.as4_aggregator)
        && attr.value.get(..2) != Some(&Asn::TRANS.to_two_octets().to_be_bytes()[..])
    {
        // RFC 6793 §4.2.3: a 2-octet speaker has aggregated since; both AS4 attributes are out of date.
        (as4_path, found.as4_aggregator) = (None, None);
    }
    for attr in &found.list {
        match attr.code {
            code::AS_PATH if !options.four_octet_as => {
                put(out, TRANSITIVE, attr.code, &merged_path(attr.value, as4_path));
            }
            code::AGGREGATOR if !options.four_octet_as => {
                let flags = OPTIONAL | TRANSITIVE | attr.flags & PARTIAL;
                match found.as4_aggregator {
                    Some(wide) => put(out, flags, attr.code, wide),
                    None => put(out, flags, attr.code, &[&[0, 0], attr.value].concat()),
                }
            }
            _ => put(out, canonical_flags(*attr), attr.code, attr.value),
        }
    }
}

fn canonical_flags(attr: RawAttr<'_>) -> u8 {
    let kind = attr.flags & (OPTIONAL | TRANSITIVE);
    match (kind == OPTIONAL | TRANSITIVE, validate::is_known(attr.code)) {
        (false, _) => kind,
        (true, true) => kind | attr.flags & PARTIAL,
        // RFC 4271 §5: who passes on what he does not know says so.
        (true, false) => kind | PARTIAL,
    }
}

/// The 4-octet path that a 2-octet AS_PATH and an AS4_PATH mean together (RFC 6793 §4.2.3).
fn merged_path(narrow: &[u8], as4_path: Option<&[u8]>) -> Vec<u8> {
    let widened = widen(narrow);
    let Some(wide) = as4_path else { return widened };
    let (narrow_len, wide_len) = (path_len(&widened), path_len(wide));
    if wide_len > narrow_len {
        return widened;
    }
    let mut merged = Vec::with_capacity(widened.len());
    let mut missing = narrow_len - wide_len;
    let mut rest = widened.as_slice();
    while let ([kind, count, after @ ..], 1..) = (rest, missing) {
        let (members, after) = after.split_at(usize::from(*count) * 4);
        let taken = if *kind == AS_SEQUENCE {
            missing.min(usize::from(*count))
        } else {
            usize::from(*count)
        };
        merged.extend_from_slice(&[*kind, taken as u8]);
        merged.extend_from_slice(&members[..taken * 4]);
        missing -= if *kind == AS_SEQUENCE { taken } else { 1 };
        rest = after;
    }
    // The two parts' adjoining sequences are one.
    let mut tail = Vec::new();
    match (wide, merged_is_one_sequence(&merged)) {
        ([AS_SEQUENCE, ..], Some(prefix)) => {
            crate::wire::attr::as_path::prepend(wide, &prefix, &mut tail);
            tail
        }
        _ => {
            merged.extend_from_slice(wide);
            merged
        }
    }
}

fn merged_is_one_sequence(path: &[u8]) -> Option<Vec<Asn>> {
    match path {
        [AS_SEQUENCE, count, members @ ..] if members.len() == usize::from(*count) * 4 => {
            Some(members.chunks_exact(4).map(|octets| Asn(be32(octets))).collect())
        }
        _ => None,
    }
}

fn widen(mut narrow: &[u8]) -> Vec<u8> {
    let mut wide = Vec::with_capacity(narrow.len() * 2);
    while let [kind, count, rest @ ..] = narrow {
        let (members, after) = rest.split_at(usize::from(*count) * 2);
        wide.extend_from_slice(&[*kind, *count]);
        members
            .chunks_exact(2)
            .for_each(|asn| wide.extend_from_slice(&[0, 0, asn[0], asn[1]]));
        narrow = after;
    }
    wide
}

fn path_len(mut path: &[u8]) -> usize {
    let mut len = 0;
    while let [kind, count, rest @ ..] = path {
        len += if *kind == AS_SET { 1 } else { usize::from(*count) };
        path = &rest[usize::from(*count) * 4..];
    }
    len
}

fn malformed_list() -> UpdateError {
    UpdateError {
        subcode: MALFORMED_ATTRIBUTE_LIST,
        data: Vec::new(),
        reason: "malformed attribute list",
    }
}

fn bad_network() -> UpdateError {
    UpdateError {
        subcode: INVALID_NETWORK_FIELD,
        data: Vec::new(),
        reason: "a prefix does not parse",
    }
}

fn optional_error(attribute: &'static str) -> UpdateError {
    UpdateError {
        subcode: OPTIONAL_ATTRIBUTE_ERROR,
        data: Vec::new(),
        reason: attribute,
    }
}

#[cfg(test)]
mod tests;
