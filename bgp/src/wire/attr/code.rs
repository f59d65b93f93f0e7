//! Attribute type codes and flags (IANA "BGP Path Attributes").

/// The attribute is not well-known (RFC 4271 §4.3).
pub const OPTIONAL: u8 = 0x80;
/// Passed on by those who do not know it.
pub const TRANSITIVE: u8 = 0x40;
/// Somebody on the way did not know it.
pub const PARTIAL: u8 = 0x20;
/// The length field has two octets.
pub const EXTENDED_LENGTH: u8 = 0x10;

/// RFC 4271.
pub const ORIGIN: u8 = 1;
/// RFC 4271.
pub const AS_PATH: u8 = 2;
/// RFC 4271.
pub const NEXT_HOP: u8 = 3;
/// RFC 4271.
pub const MULTI_EXIT_DISC: u8 = 4;
/// RFC 4271.
pub const LOCAL_PREF: u8 = 5;
/// RFC 4271.
pub const ATOMIC_AGGREGATE: u8 = 6;
/// RFC 4271.
pub const AGGREGATOR: u8 = 7;
/// RFC 1997.
pub const COMMUNITIES: u8 = 8;
/// RFC 4456.
pub const ORIGINATOR_ID: u8 = 9;
/// RFC 4456.
pub const CLUSTER_LIST: u8 = 10;
/// RFC 4760.
pub const MP_REACH_NLRI: u8 = 14;
/// RFC 4760.
pub const MP_UNREACH_NLRI: u8 = 15;
/// RFC 4360.
pub const EXTENDED_COMMUNITIES: u8 = 16;
/// RFC 6793.
pub const AS4_PATH: u8 = 17;
/// RFC 6793.
pub const AS4_AGGREGATOR: u8 = 18;
/// RFC 5701.
pub const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
/// RFC 7311.
pub const AIGP: u8 = 26;
/// RFC 8092.
pub const LARGE_COMMUNITIES: u8 = 32;
/// RFC 9234.
pub const OTC: u8 = 35;

/// Longest value: the extended length has two octets.
pub(crate) const VALUE_MAX: usize = u16::MAX as usize;

/// Writes one attribute; the extended length is used only where the value needs it.
///
/// A value beyond [`VALUE_MAX`], which only editing can make, is cut so that the bytes stay readable. Such a set is
/// never sent: no message has room for it, and `encode_announce` refuses it before it narrows anything.
pub(crate) fn put(out: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    let value = &value[..value.len().min(VALUE_MAX)];
    match u8::try_from(value.len()) {
        Ok(len) => out.extend_from_slice(&[flags & !EXTENDED_LENGTH, code, len]),
        Err(_) => {
            let [high, low] = (value.len() as u16).to_be_bytes();
            out.extend_from_slice(&[flags | EXTENDED_LENGTH, code, high, low]);
        }
    }
    out.extend_from_slice(value);
}
