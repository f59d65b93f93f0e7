//! What is wrong with an attribute, and what that costs: RFC 7606 as a table.
//!
//! | attribute | malformed when | treatment |
//! |---|---|---|
//! | any known | Optional or Transitive bit wrong (§3 c) | treat-as-withdraw |
//! | any | second of its type (§3 g) | first counts; MP_REACH, MP_UNREACH: reset |
//! | any | runs past the attributes' end (§4) | treat-as-withdraw |
//! | ORIGIN | length not 1, value above 2 (§7.1) | treat-as-withdraw |
//! | AS_PATH | segment type, empty or cut segment (§7.2), AS 0 (RFC 7607), confederation segment (RFC 5065) | treat-as-withdraw |
//! | NEXT_HOP | length not 4 (§7.3), not a unicast host address | treat-as-withdraw |
//! | MULTI_EXIT_DISC | length not 4 (§7.4) | treat-as-withdraw |
//! | LOCAL_PREF | from eBGP (§7.5) / length not 4 | discard / treat-as-withdraw |
//! | ATOMIC_AGGREGATE | length not 0 (§7.6) | discard |
//! | AGGREGATOR | length not 6 or 8 by AS size (§7.7), AS 0 (RFC 7607) | discard |
//! | COMMUNITIES | length not a positive multiple of 4 (§7.8) | treat-as-withdraw |
//! | ORIGINATOR_ID | from eBGP (§7.9) / length not 4 | discard / treat-as-withdraw |
//! | CLUSTER_LIST | from eBGP (§7.10) / length not a positive multiple of 4 | discard / treat-as-withdraw |
//! | MP_REACH, MP_UNREACH | cut, next hop length, NLRI (§5.3, §7.11) | reset |
//! | EXTENDED COMMUNITIES | length not a positive multiple of 8 (§7.14) | treat-as-withdraw |
//! | IPv6 EXT. COMMUNITIES | length not a positive multiple of 20 (§7.15) | treat-as-withdraw |
//! | LARGE_COMMUNITIES | length not a positive multiple of 12 (RFC 8092 §6) | treat-as-withdraw |
//! | AS4_PATH, AS4_AGGREGATOR | malformed (RFC 6793 §6), or from a 4-octet speaker | discard |
//! | AIGP | a TLV shorter than its header or past the end (RFC 7311 §3) | discard |
//! | OTC | length not 4 (RFC 9234 §5) | treat-as-withdraw |
//! | ORIGIN, AS_PATH, next hop | missing beside NLRI (§3 d) | treat-as-withdraw |
//! | well-known, unknown type | RFC 4271 §6.3 | reset (3/2) |
//! | optional transitive, unknown | never | carried as it is, Partial set |
//! | optional non-transitive, unknown | never | dropped |

use serde::Serialize;

use crate::wire::attr::as_path::{AS_SEQUENCE, AS_SET, be32};
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
    check: fn(&[u8], AttrContext) -> Checked,
}

const WELL_KNOWN: u8 = TRANSITIVE;
const NON_TRANSITIVE: u8 = OPTIONAL;
const CARRIED: u8 = OPTIONAL | TRANSITIVE;

const TABLE: [Row; 17] = [
    Row {
        code: code::ORIGIN,
        flags: WELL_KNOWN,
        check: origin,
    },
    Row {
        code: code::AS_PATH,
        flags: WELL_KNOWN,
        check: as_path,
    },
    Row {
        code: code::NEXT_HOP,
        flags: WELL_KNOWN,
        check: |v, _| length(v.len() == 4, Treatment::TreatAsWithdraw),
    },
    Row {
        code: code::MULTI_EXIT_DISC,
        flags: NON_TRANSITIVE,
        check: |v, _| length(v.len() == 4, Treatment::TreatAsWithdraw),
    },
    Row {
        code: code::LOCAL_PREF,
        flags: WELL_KNOWN,
        check: |v, c| internal(c, length(v.len() == 4, Treatment::TreatAsWithdraw)),
    },
    Row {
        code: code::ATOMIC_AGGREGATE,
        flags: WELL_KNOWN,
        check: |v, _| length(v.is_empty(), Treatment::Discard),
    },
    Row {
        code: code::AGGREGATOR,
        flags: CARRIED,
        check: aggregator,
    },
    Row {
        code: code::COMMUNITIES,
        flags: CARRIED,
        check: |v, _| multiple(v, 4),
    },
    Row {
        code: code::ORIGINATOR_ID,
        flags: NON_TRANSITIVE,
        check: |v, c| internal(c, length(v.len() == 4, Treatment::TreatAsWithdraw)),
    },
    Row {
        code: code::CLUSTER_LIST,
        flags: NON_TRANSITIVE,
        check: |v, c| internal(c, multiple(v, 4)),
    },
    Row {
        code: code::EXTENDED_COMMUNITIES,
        flags: CARRIED,
        check: |v, _| multiple(v, 8),
    },
    Row {
        code: code::AS4_PATH,
        flags: CARRIED,
        check: as4_path,
    },
    Row {
        code: code::AS4_AGGREGATOR,
        flags: CARRIED,
        check: as4_aggregator,
    },
    Row {
        code: code::IPV6_EXTENDED_COMMUNITIES,
        flags: CARRIED,
        check: |v, _| multiple(v, 20),
    },
    Row {
        code: code::AIGP,
        flags: NON_TRANSITIVE,
        check: aigp,
    },
    Row {
        code: code::LARGE_COMMUNITIES,
        flags: CARRIED,
        check: |v, _| multiple(v, 12),
    },
    Row {
        code: code::OTC,
        flags: CARRIED,
        check: |v, _| length(v.len() == 4, Treatment::TreatAsWithdraw),
    },
];

/// Whether pipit knows an attribute type (MP_REACH and MP_UNREACH, which `update::decode` reads itself, aside).
pub fn is_known(code: u8) -> bool {
    TABLE.iter().any(|row| row.code == code)
}

/// Checks one attribute. An unknown type passes unless it claims to be well-known.
pub fn check(flags: u8, code: u8, value: &[u8], context: AttrContext) -> Checked {
    let Some(row) = TABLE.iter().find(|row| row.code == code) else {
        let is_optional = flags & OPTIONAL != 0;
        return if is_optional {
            Ok(())
        } else {
            Err((Defect::Unrecognized, Treatment::Reset))
        };
    };
    if flags & (OPTIONAL | TRANSITIVE) != row.flags {
        return Err((Defect::Flags, Treatment::TreatAsWithdraw));
    }
    (row.check)(value, context)
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
    path_segments(value, width).map_err(|defect| (defect, Treatment::TreatAsWithdraw))
}

fn as4_path(value: &[u8], context: AttrContext) -> Checked {
    if context.four_octet_as {
        return Err((Defect::NotForFourOctet, Treatment::Discard));
    }
    length(!value.is_empty(), Treatment::Discard)?;
    path_segments(value, 4).map_err(|defect| (defect, Treatment::Discard))
}

fn path_segments(mut value: &[u8], width: usize) -> Result<(), Defect> {
    while let [kind, count, rest @ ..] = value {
        if !matches!(*kind, AS_SET | AS_SEQUENCE) {
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

fn aigp(mut value: &[u8], _: AttrContext) -> Checked {
    length(!value.is_empty(), Treatment::Discard)?;
    while let [kind, high, low, ..] = value {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let is_cut = len < 3 || len > value.len() || (*kind == 1 && len != 11);
        length(!is_cut, Treatment::Discard)?;
        value = &value[len..];
    }
    length(value.is_empty(), Treatment::Discard)
}
