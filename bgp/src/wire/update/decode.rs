//! UPDATE bytes to routes, with the error handling of RFC 7606.

use std::net::Ipv4Addr;
use std::ops::Range;

use serde::Serialize;
use smallvec::SmallVec;

use crate::family::{Family, FamilySet};
use crate::next_hop::NextHop;
use crate::wire::attr::as_path::{AsPathView, be32};
use crate::wire::attr::code::{self, EXTENDED_LENGTH, OPTIONAL, TRANSITIVE};
use crate::wire::attr::validate::{self, AttrContext, Defect, Treatment};
use crate::wire::attr::{AttrFacts, RawAttr, as4};
use crate::wire::update::canonical::{self, PathTooLong};
use crate::wire::update::mp_reach::{self, MpNlri, Multiprotocol, Unreadable};
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
    /// NOTIFICATION data: the attribute at fault where RFC 4271 §6.3 wants it, else empty.
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
    /// In the order met; an attribute type that occurs again and again is named once.
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

/// The attributes of one UPDATE, before their canonical form.
#[derive(Default)]
pub(crate) struct Attributes<'a> {
    /// What the canonical form is made of, each type at most once.
    pub(crate) list: SmallVec<[RawAttr<'a>; 16]>,
    pub(crate) as4_path: Option<&'a [u8]>,
    pub(crate) as4_aggregator: Option<&'a [u8]>,
    reach: Option<MpNlri<'a>>,
    unreach: Option<MpNlri<'a>>,
    next_hop: Option<Ipv4Addr>,
    /// Something else than MP_UNREACH_NLRI was met.
    has_others: bool,
    /// MP_REACH_NLRI has prefixes, be its family in use or not.
    has_reach: bool,
}

/// Prefixes to announce, as they stand in the batch.
struct Section {
    family: Family,
    next_hop: Option<NextHop>,
    nlri: Range<u32>,
}

fn decode_into(
    body: &[u8],
    options: &DecodeOptions,
    batch: &mut UpdateBatch,
) -> Result<UpdateOutcome, UpdateError> {
    let (withdrawn, rest) = counted(body).ok_or_else(malformed_list)?;
    let (attributes, announced) = counted(rest).ok_or_else(malformed_list)?;
    let mut outcome = UpdateOutcome::default();
    let ipv4 = Family::Ipv4Unicast;
    if withdrawn.is_empty() && attributes.is_empty() && announced.is_empty() {
        if options.families.contains(ipv4) {
            batch.items.push(BatchItem::EndOfRib(ipv4));
        }
        return Ok(outcome);
    }
    let gone = push_nlri(batch, ipv4, withdrawn, options).map_err(|_| bad_network())?;
    push_withdraw(batch, ipv4, gone);
    let found = collect(attributes, options, &mut outcome)?;
    if outcome.is_withdraw() && found.has_others && announced.is_empty() && !found.has_reach {
        // RFC 7606 §5.2: nobody can tell which routes the malformed attributes were meant for.
        return Err(malformed_list());
    }
    if let Some(unreach) = found.unreach {
        let is_alone = withdrawn.is_empty() && announced.is_empty() && !found.has_others;
        if is_alone && unreach.nlri.is_empty() && outcome.incidents.is_empty() {
            batch.items.push(BatchItem::EndOfRib(unreach.family));
        }
        let gone = push_mp_nlri(batch, &unreach, options)?;
        push_withdraw(batch, unreach.family, gone);
    }
    let sections = push_announced(batch, &found, announced, options)?;
    if !sections.is_empty() {
        announce(batch, found, sections, options, &mut outcome);
    }
    Ok(outcome)
}

/// A field that two octets count, and what follows it.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(len)))
}

/// Parses a field of prefixes into the batch. Those of a family that is not in use are checked and forgotten.
fn push_nlri(
    batch: &mut UpdateBatch,
    family: Family,
    field: &[u8],
    options: &DecodeOptions,
) -> Result<Range<u32>, BadNlri> {
    let has_path_ids = options.add_path.contains(family);
    let is_used = options.families.contains(family);
    match family {
        Family::Ipv4Unicast => nlri::append(field, has_path_ids, is_used, &mut batch.ipv4),
        Family::Ipv6Unicast => nlri::append(field, has_path_ids, is_used, &mut batch.ipv6),
    }
}

fn push_mp_nlri(
    batch: &mut UpdateBatch,
    section: &MpNlri<'_>,
    options: &DecodeOptions,
) -> Result<Range<u32>, UpdateError> {
    push_nlri(batch, section.family, section.nlri, options).map_err(|_| {
        optional_error(
            section.attribute,
            "a prefix of a multiprotocol attribute does not parse",
        )
    })
}

fn push_withdraw(batch: &mut UpdateBatch, family: Family, nlri: Range<u32>) {
    if !nlri.is_empty() {
        batch.items.push(BatchItem::Withdraw { family, nlri });
    }
}

/// Parses all announced prefixes; sections without any are left out.
fn push_announced(
    batch: &mut UpdateBatch,
    found: &Attributes<'_>,
    announced: &[u8],
    options: &DecodeOptions,
) -> Result<SmallVec<[Section; 2]>, UpdateError> {
    let family = Family::Ipv4Unicast;
    let mut sections: SmallVec<[Section; 2]> = SmallVec::new();
    sections.push(Section {
        family,
        next_hop: found.next_hop.map(NextHop::V4),
        nlri: push_nlri(batch, family, announced, options).map_err(|_| bad_network())?,
    });
    if let Some(reach) = found.reach {
        sections.push(Section {
            family: reach.family,
            next_hop: reach.next_hop,
            nlri: push_mp_nlri(batch, &reach, options)?,
        });
    }
    sections.retain(|section| !section.nlri.is_empty());
    Ok(sections)
}

/// Announces the sections, or withdraws them when something demands it.
fn announce(
    batch: &mut UpdateBatch,
    found: Attributes<'_>,
    sections: SmallVec<[Section; 2]>,
    options: &DecodeOptions,
    outcome: &mut UpdateOutcome,
) {
    if !outcome.is_withdraw() {
        check_complete(&found, &sections, outcome);
    }
    let start = batch.attr_bytes.len();
    if !outcome.is_withdraw()
        && let Err(PathTooLong) = canonical::write(found, options.four_octet_as, &mut batch.attr_bytes)
    {
        batch.attr_bytes.truncate(start);
        outcome.note(code::AS_PATH, Defect::Length, Treatment::TreatAsWithdraw);
    }
    let facts = AttrFacts::read(&batch.attr_bytes[start..]);
    let attrs = start as u32..batch.attr_bytes.len() as u32;
    let is_withdraw = outcome.is_withdraw();
    let items = sections.into_iter().map(
        |Section {
             family,
             next_hop,
             nlri,
         }| {
            let next_hop = next_hop.filter(|_| !is_withdraw);
            next_hop.map_or(
                BatchItem::Withdraw {
                    family,
                    nlri: nlri.clone(),
                },
                |next_hop| BatchItem::Announce {
                    family,
                    next_hop,
                    facts,
                    attrs: attrs.clone(),
                    nlri,
                },
            )
        },
    );
    batch.items.extend(items);
}

/// RFC 7606 §3 d: what must stand beside announced prefixes; RFC 4271 §6.3: a next hop that can be one.
///
/// NEXT_HOP counts only for prefixes of the classic field; beside MP_REACH_NLRI alone it is ignored (RFC 4760 §3).
fn check_complete(found: &Attributes<'_>, sections: &[Section], outcome: &mut UpdateOutcome) {
    for wanted in [code::ORIGIN, code::AS_PATH] {
        if !found.list.iter().any(|attr| attr.code == wanted) {
            outcome.note(wanted, Defect::Missing, Treatment::TreatAsWithdraw);
        }
    }
    for section in sections {
        match section.next_hop {
            None => outcome.note(code::NEXT_HOP, Defect::Missing, Treatment::TreatAsWithdraw),
            Some(next_hop) if !mp_reach::is_host(next_hop) => {
                let is_classic = found.next_hop.map(NextHop::V4) == Some(next_hop);
                let code = if is_classic {
                    code::NEXT_HOP
                } else {
                    code::MP_REACH_NLRI
                };
                outcome.note(code, Defect::Value, Treatment::TreatAsWithdraw);
            }
            Some(_) => {}
        }
    }
}

/// A set of attribute types.
#[derive(Default)]
struct Types([u64; 4]);

impl Types {
    /// Adds a type. Says whether it is new.
    fn insert(&mut self, code: u8) -> bool {
        let (word, bit) = (usize::from(code / 64), 1u64 << (code % 64));
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
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
    let (mut met, mut repeated) = (Types::default(), Types::default());
    while !rest.is_empty() {
        let Some((attr, after)) = split_attribute(rest) else {
            overrun(rest, outcome)?;
            found.has_others = true;
            break;
        };
        let whole = &rest[..rest.len() - after.len()];
        rest = after;
        found.has_others |= attr.code != code::MP_UNREACH_NLRI;
        let is_multiprotocol = matches!(attr.code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI);
        match (met.insert(attr.code), is_multiprotocol) {
            (true, true) => keep_multiprotocol(attr, whole, options, &mut found, outcome)?,
            (true, false) => match validate::check(attr.flags, attr.code, attr.value, context) {
                Ok(()) => keep(attr, &mut found, outcome),
                Err((_, Treatment::Reset)) => return Err(unrecognized(whole)),
                Err((defect, treatment)) => outcome.note(attr.code, defect, treatment),
            },
            // RFC 7606 §3 g.
            (false, true) => return Err(malformed_list()),
            (false, false) => {
                if repeated.insert(attr.code) {
                    outcome.note(attr.code, Defect::Duplicate, Treatment::Discard);
                }
            }
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

/// An attribute that runs past the end. RFC 7606 §4: the total length is trusted, so prefixes behind it can still be
/// found; those inside a cut multiprotocol attribute cannot (§3 j).
fn overrun(rest: &[u8], outcome: &mut UpdateOutcome) -> Result<(), UpdateError> {
    let code = rest.get(1).copied().unwrap_or_default();
    if matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
        return Err(malformed_list());
    }
    outcome.note(code, Defect::Overrun, Treatment::TreatAsWithdraw);
    Ok(())
}

/// Files MP_REACH_NLRI or MP_UNREACH_NLRI.
fn keep_multiprotocol<'a>(
    attr: RawAttr<'a>,
    whole: &'a [u8],
    options: &DecodeOptions,
    found: &mut Attributes<'a>,
    outcome: &mut UpdateOutcome,
) -> Result<(), UpdateError> {
    if attr.flags & (OPTIONAL | TRANSITIVE) != OPTIONAL {
        outcome.note(attr.code, Defect::Flags, Treatment::TreatAsWithdraw);
    }
    let unreadable = |Unreadable| optional_error(whole, "multiprotocol attribute does not parse");
    if attr.code == code::MP_UNREACH_NLRI {
        if let Multiprotocol::Used(nlri) =
            mp_reach::unreach(whole, attr.value, options).map_err(unreadable)?
        {
            found.unreach = Some(nlri);
        }
        return Ok(());
    }
    match mp_reach::reach(whole, attr.value, options).map_err(unreadable)? {
        Multiprotocol::Used(nlri) => {
            found.has_reach = !nlri.nlri.is_empty();
            found.reach = Some(nlri);
        }
        Multiprotocol::Ignored { has_nlri } => found.has_reach = has_nlri,
    }
    Ok(())
}

/// Files a well-formed attribute.
fn keep<'a>(attr: RawAttr<'a>, found: &mut Attributes<'a>, outcome: &mut UpdateOutcome) {
    match attr.code {
        code::NEXT_HOP => found.next_hop = Some(Ipv4Addr::from(be32(attr.value))),
        code::AS4_PATH => {
            let mut segments = AsPathView::new(attr.value).segments();
            if segments.any(|segment| as4::is_confederation(segment.kind)) {
                // Only these segments are left out (RFC 6793 §6), when the paths are merged.
                outcome.note(attr.code, Defect::Value, Treatment::Discard);
            }
            found.as4_path = Some(attr.value);
        }
        code::AS4_AGGREGATOR => found.as4_aggregator = Some(attr.value),
        // RFC 4271 §5: what is unknown and not transitive is dropped quietly.
        _ if !validate::is_known(attr.code) && attr.flags & TRANSITIVE == 0 => {}
        _ => found.list.push(attr),
    }
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

fn unrecognized(attribute: &[u8]) -> UpdateError {
    UpdateError {
        subcode: UNRECOGNIZED_WELL_KNOWN,
        data: attribute.to_vec(),
        reason: "unrecognised well-known attribute",
    }
}

fn optional_error(attribute: &[u8], reason: &'static str) -> UpdateError {
    UpdateError {
        subcode: OPTIONAL_ATTRIBUTE_ERROR,
        data: attribute.to_vec(),
        reason,
    }
}

#[cfg(test)]
mod tests;
