//! What is wrong with an attribute, and what that costs: RFC 7606 as a table.
//!
//! | attribute | malformed when | treatment |
//! |---|---|---|
//! | any known but AIGP | Optional or Transitive bit wrong (§3 c) | treat-as-withdraw |
//! | any | second of its type (§3 g) | first counts; MP_REACH, MP_UNREACH: reset (3/1) |
//! | any but MP_REACH, MP_UNREACH | runs past the attributes' end (§4) | treat-as-withdraw |
//! | any | treat-as-withdraw, and no reachable NLRI beside it (§5.2) | reset (3/1) |
//! | ORIGIN | length not 1, value above 2 (§7.1) | treat-as-withdraw |
//! | AS_PATH | segment type, empty or cut segment (§7.2), AS 0 (RFC 7607), confederation segment (RFC 5065) | treat-as-withdraw |
//! | AS_PATH | with four octets an AS longer than an attribute can be (from a 2-octet speaker) | treat-as-withdraw |
//! | NEXT_HOP | length not 4 (§7.3) | treat-as-withdraw |
//! | NEXT_HOP, next hop of MP_REACH | not a unicast host address, and prefixes that would use it | treat-as-withdraw |
//! | MULTI_EXIT_DISC | length not 4 (§7.4) | treat-as-withdraw |
//! | LOCAL_PREF | length not 4: from eBGP (§7.5) / from iBGP | discard / treat-as-withdraw |
//! | ATOMIC_AGGREGATE | length not 0 (§7.6) | discard |
//! | AGGREGATOR | length not 6 or 8 by AS size (§7.7), AS 0 (RFC 7607) | discard |
//! | COMMUNITIES | length not a positive multiple of 4 (§7.8) | treat-as-withdraw |
//! | ORIGINATOR_ID | from eBGP (§7.9) / length not 4 | discard / treat-as-withdraw |
//! | CLUSTER_LIST | from eBGP (§7.10) / length not a positive multiple of 4 | discard / treat-as-withdraw |
//! | MP_REACH | shorter than 5 octets (§5.3); family in use: next hop length (§7.11), NLRI (§5.3) | reset (3/9) |
//! | MP_UNREACH | shorter than 3 octets (§5.3); family in use: NLRI (§5.3) | reset (3/9) |
//! | MP_REACH, MP_UNREACH | runs past the attributes' end: its NLRI cannot be found (§3 j) | reset (3/1) |
//! | MP_REACH, MP_UNREACH | family not in use (RFC 4760 §6) | passed over |
//! | EXTENDED COMMUNITIES | length not a positive multiple of 8 (§7.14) | treat-as-withdraw |
//! | IPv6 EXT. COMMUNITIES | length not a positive multiple of 20 (§7.15) | treat-as-withdraw |
//! | LARGE_COMMUNITIES | length not a positive multiple of 12 (RFC 8092 §6) | treat-as-withdraw |
//! | LARGE_COMMUNITIES | a value stands there twice (RFC 8092 §2) | the second is left out |
//! | AS4_PATH, AS4_AGGREGATOR | malformed (RFC 6793 §6), or from a 4-octet speaker | discard |
//! | AS4_PATH | confederation segment (RFC 6793 §6) | the segment is left out |
//! | AIGP | from eBGP (RFC 7311 §3.1: off there by default); Transitive bit, a TLV cut or too long (§3) | discard |
//! | OTC | length not 4 (RFC 9234 §5) | treat-as-withdraw |
//! | ORIGIN, AS_PATH, next hop | missing beside NLRI (§3 d) | treat-as-withdraw |
//! | well-known, unknown type | RFC 4271 §6.3 | reset (3/2) |
//! | optional transitive, unknown | never | carried as it is, Partial set |
//! | optional non-transitive, unknown | never | dropped |
//!
//! A well-formed LOCAL_PREF from eBGP passes: whether it counts is a setting, and the RIB's import knows it.
//!
//! Where RFC 7606 leaves the choice between "AFI/SAFI disable" and "session reset" (§5.3, §7.11) pipit resets: Calico
//! runs one session a family, so nothing is gained by a half-alive one.

use serde::Serialize;

use crate::wire::attr::as_path::{AS_CONFED_SEQUENCE, AS_CONFED_SET, AS_SEQUENCE, AS_SET, be32};
use crate::wire::attr::code::{self, OPTIONAL, TRANSITIVE};

/// What a malformed attribute costs, mildest first (RFC 7606 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// The attribute is left out.
    Discard,
    /// The UPDATE's routes are withdrawn.
    TreatAsWithdraw,
    /// The session ends with this UPDATE Message Error.
    Reset,
}

/// What is wrong with an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// Optional or Transitive bit.
    #[error("flags do not fit the type")]
    Flags,
    /// Length.
    #[error("length does not fit the type")]
    Length,
    /// Value.
    #[error("value out of range")]
    Value,
    /// Not meant for eBGP.
    #[error("not valid from an external peer")]
    External,
    /// Second of its type.
    #[error("occurs twice")]
    Duplicate,
    /// Ends beyond the message's attributes.
    #[error("runs past the end")]
    Overrun,
    /// Must be there.
    #[error("missing")]
    Missing,
    /// Only meant for 2-octet speakers.
    #[error("not valid between 4-octet speakers")]
    NotForFourOctet,
    /// Well-known, and not known here.
    #[error("well-known but unrecognised")]
    Unrecognized,
}

/// What the checks must know of the session.
#[derive(Clone, Copy, Debug)]
pub struct AttrContext {
    /// The peer is in another AS.
    pub is_external: bool,
    /// AS numbers travel in four octets.
    pub four_octet_as: bool,
}

/// Nothing is wrong, or this and it costs that.
pub type Checked = Result<(), (Defect, Treatment)>;

/// One row: which flags a type has, and what else can be wrong with it.
struct Row {
    code: u8,
    flags: u8,
    /// What other flags cost.
    flags_treatment: Treatment,
    check: fn(&[u8], AttrContext) -> Checked,
}

const WELL_KNOWN: u8 = TRANSITIVE;
const NON_TRANSITIVE: u8 = OPTIONAL;
const CARRIED: u8 = OPTIONAL | TRANSITIVE;

static TABLE: [Row; 17] = [
    Row {
        code: code::ORIGIN,
        flags: WELL_KNOWN,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: origin,
    },
    Row {
        code: code::AS_PATH,
        flags: WELL_KNOWN,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: as_path,
    },
    Row {
        code: code::NEXT_HOP,
        flags: WELL_KNOWN,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, _| length(v.len() == 4, Treatment::TreatAsWithdraw),
    },
    Row {
        code: code::MULTI_EXIT_DISC,
        flags: NON_TRANSITIVE,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, _| length(v.len() == 4, Treatment::TreatAsWithdraw),
    },
    Row {
        code: code::LOCAL_PREF,
        flags: WELL_KNOWN,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, c| match v.len() {
            4 => Ok(()),
            _ => internal(c, length(false, Treatment::TreatAsWithdraw)),
        },
    },
    Row {
        code: code::ATOMIC_AGGREGATE,
        flags: WELL_KNOWN,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, _| length(v.is_empty(), Treatment::Discard),
    },
    Row {
        code: code::AGGREGATOR,
        flags: CARRIED,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: aggregator,
    },
    Row {
        code: code::COMMUNITIES,
        flags: CARRIED,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, _| multiple(v, 4),
    },
    Row {
        code: code::ORIGINATOR_ID,
        flags: NON_TRANSITIVE,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, c| internal(c, length(v.len() == 4, Treatment::TreatAsWithdraw)),
    },
    Row {
        code: code::CLUSTER_LIST,
        flags: NON_TRANSITIVE,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, c| internal(c, multiple(v, 4)),
    },
    Row {
        code: code::EXTENDED_COMMUNITIES,
        flags: CARRIED,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, _| multiple(v, 8),
    },
    Row {
        code: code::AS4_PATH,
        flags: CARRIED,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: as4_path,
    },
    Row {
        code: code::AS4_AGGREGATOR,
        flags: CARRIED,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: as4_aggregator,
    },
    Row {
        code: code::IPV6_EXTENDED_COMMUNITIES,
        flags: CARRIED,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, _| multiple(v, 20),
    },
    Row {
        code: code::AIGP,
        flags: NON_TRANSITIVE,
        flags_treatment: Treatment::Discard,
        check: |v, c| internal(c, aigp(v)),
    },
    Row {
        code: code::LARGE_COMMUNITIES,
        flags: CARRIED,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, _| multiple(v, 12),
    },
    Row {
        code: code::OTC,
        flags: CARRIED,
        flags_treatment: Treatment::TreatAsWithdraw,
        check: |v, _| length(v.len() == 4, Treatment::TreatAsWithdraw),
    },
];

/// The rows by type code: one load an attribute instead of a search.
static ROWS: [Option<&Row>; 256] = {
    let mut rows = [None; 256];
    let mut at = 0;
    while at < TABLE.len() {
        rows[TABLE[at].code as usize] = Some(&TABLE[at]);
        at += 1;
    }
    rows
};

/// Whether pipit knows an attribute type (MP_REACH and MP_UNREACH, which `update::decode` reads itself, aside).
pub fn is_known(code: u8) -> bool {
    ROWS[usize::from(code)].is_some()
}

/// Checks one attribute. An unknown type passes unless it claims to be well-known.
pub fn check(flags: u8, code: u8, value: &[u8], context: AttrContext) -> Checked {
    match ROWS[usize::from(code)] {
        Some(row) if flags & (OPTIONAL | TRANSITIVE) != row.flags => {
            Err((Defect::Flags, row.flags_treatment))
        }
        Some(row) => (row.check)(value, context),
        None if flags & OPTIONAL != 0 => Ok(()),
        None => Err((Defect::Unrecognized, Treatment::Reset)),
    }
}

fn length(fits: bool, treatment: Treatment) -> Checked {
    if fits {
        Ok(())
    } else {
        Err((Defect::Length, treatment))
    }
}

fn multiple(value: &[u8], unit: usize) -> Checked {
    length(
        !value.is_empty() && value.len().is_multiple_of(unit),
        Treatment::TreatAsWithdraw,
    )
}

/// What an external peer sends of these is left out before anything else is looked at.
fn internal(context: AttrContext, result: Checked) -> Checked {
    if context.is_external {
        Err((Defect::External, Treatment::Discard))
    } else {
        result
    }
}

fn origin(value: &[u8], _: AttrContext) -> Checked {
    match value {
        [0..=2] => Ok(()),
        [_] => Err((Defect::Value, Treatment::TreatAsWithdraw)),
        _ => Err((Defect::Length, Treatment::TreatAsWithdraw)),
    }
}

fn as_path(value: &[u8], context: AttrContext) -> Checked {
    let width = if context.four_octet_as { 4 } else { 2 };
    path_segments(value, width, &[AS_SET, AS_SEQUENCE]).map_err(|defect| (defect, Treatment::TreatAsWithdraw))
}

fn as4_path(value: &[u8], context: AttrContext) -> Checked {
    if context.four_octet_as {
        return Err((Defect::NotForFourOctet, Treatment::Discard));
    }
    length(!value.is_empty(), Treatment::Discard)?;
    let kinds = [AS_SET, AS_SEQUENCE, AS_CONFED_SEQUENCE, AS_CONFED_SET];
    path_segments(value, 4, &kinds).map_err(|defect| (defect, Treatment::Discard))
}

fn path_segments(mut value: &[u8], width: usize, kinds: &[u8]) -> Result<(), Defect> {
    while let [kind, count, rest @ ..] = value {
        if !kinds.contains(kind) {
            return Err(Defect::Value);
        }
        let Some((members, after)) = rest.split_at_checked(usize::from(*count) * width) else {
            return Err(Defect::Length);
        };
        if members.is_empty() {
            return Err(Defect::Length);
        }
        if members
            .chunks_exact(width)
            .any(|asn| asn.iter().all(|&octet| octet == 0))
        {
            return Err(Defect::Value);
        }
        value = after;
    }
    if value.is_empty() {
        Ok(())
    } else {
        Err(Defect::Length)
    }
}

fn aggregator(value: &[u8], context: AttrContext) -> Checked {
    let width = if context.four_octet_as { 4 } else { 2 };
    length(value.len() == width + 4, Treatment::Discard)?;
    let is_zero = value.iter().take(width).all(|&octet| octet == 0);
    if is_zero {
        Err((Defect::Value, Treatment::Discard))
    } else {
        Ok(())
    }
}

fn as4_aggregator(value: &[u8], context: AttrContext) -> Checked {
    if context.four_octet_as {
        return Err((Defect::NotForFourOctet, Treatment::Discard));
    }
    length(value.len() == 8, Treatment::Discard)?;
    if be32(value) == 0 {
        Err((Defect::Value, Treatment::Discard))
    } else {
        Ok(())
    }
}

fn aigp(mut value: &[u8]) -> Checked {
    length(!value.is_empty(), Treatment::Discard)?;
    while let [kind, high, low, ..] = value {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let is_cut = len < 3 || len > value.len() || (*kind == 1 && len != 11);
        length(!is_cut, Treatment::Discard)?;
        value = &value[len..];
    }
    length(value.is_empty(), Treatment::Discard)
}
