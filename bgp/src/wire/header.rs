//! The message header (RFC 4271 §4.1): sixteen octets of ones, length, type.

use bytes::Bytes;

use crate::wire::iana::{ErrorCode, message};
use crate::wire::notification::Notification;

/// Octets of a header.
pub const LEN: usize = 19;
/// Longest message without RFC 8654.
pub const MAX_LEN: usize = 4096;
/// Longest message with RFC 8654.
pub const EXTENDED_MAX_LEN: usize = 65_535;

/// A checked header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Length of the whole message in octets.
    pub len: usize,
    /// Message type, one of `iana::message`.
    pub kind: u8,
}

/// Reads a header; `None` until all of it is there. `is_extended`: RFC 8654 was negotiated.
///
/// # Errors
/// Message Header Error (RFC 4271 §6.1); the session ends.
pub fn decode(bytes: &[u8], is_extended: bool) -> Result<Option<Header>, Notification> {
    let marker = &bytes[..bytes.len().min(16)];
    if marker.iter().any(|&octet| octet != 0xff) {
        return Err(Notification::new(ErrorCode::NOT_SYNCHRONIZED));
    }
    let Some(&[high, low, kind]) = bytes.get(16..LEN).and_then(|rest| rest.first_chunk()) else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    // RFC 8654 §4: OPEN and KEEPALIVE never grow.
    let extended_max = if is_extended { EXTENDED_MAX_LEN } else { MAX_LEN };
    let (min, max) = match kind {
        message::OPEN => (LEN + 10, MAX_LEN),
        message::UPDATE => (LEN + 4, extended_max),
        message::NOTIFICATION => (LEN + 2, extended_max),
        message::KEEPALIVE => (LEN, LEN),
        message::ROUTE_REFRESH => (LEN, extended_max),
        _ if (LEN..=extended_max).contains(&len) => {
            return Err(Notification::with(ErrorCode::BAD_MESSAGE_TYPE, [kind]));
        }
        _ => (LEN, extended_max),
    };
    if !(min..=max).contains(&len) {
        return Err(Notification::with(ErrorCode::BAD_MESSAGE_LENGTH, [high, low]));
    }
    Ok(Some(Header { len, kind }))
}

/// A whole message.
///
/// **Invariant:** `body` fits into [`EXTENDED_MAX_LEN`]; callers keep to the negotiated limit.
pub fn message(kind: u8, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(LEN + body.len());
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&((LEN + body.len()) as u16).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    out.into()
}

/// KEEPALIVE (RFC 4271 §4.4).
pub fn keepalive() -> Bytes {
    message(message::KEEPALIVE, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: u16, kind: u8) -> Vec<u8> {
        [&[0xff; 16][..], &len.to_be_bytes(), &[kind]].concat()
    }

    #[test]
    fn rfc4271_6_1_marker_length_and_type_are_checked() {
        let error = |bytes: &[u8]| decode(bytes, false).unwrap_err();
        assert_eq!(error(&[0xff, 0xff, 0]).error, ErrorCode::NOT_SYNCHRONIZED);
        assert_eq!(decode(&[0xff; 18], false), Ok(None));
        assert_eq!(decode(&keepalive(), false), Ok(Some(Header { len: 19, kind: 4 })));
        for (len, kind) in [(18, 4), (20, 4), (28, 1), (4097, 2), (22, 2), (20, 3), (18, 9)] {
            let bytes = header(len, kind);
            assert_eq!(
                error(&bytes),
                Notification::with(ErrorCode::BAD_MESSAGE_LENGTH, len.to_be_bytes()),
                "{len} {kind}"
            );
        }
        assert_eq!(
            error(&header(19, 9)),
            Notification::with(ErrorCode::BAD_MESSAGE_TYPE, [9])
        );
        assert_eq!(
            error(&header(19, 0)),
            Notification::with(ErrorCode::BAD_MESSAGE_TYPE, [0])
        );
    }

    #[test]
    fn rfc8654_4_only_update_notification_and_refresh_grow() {
        assert!(decode(&header(65_535, 2), true).is_ok());
        assert!(decode(&header(4097, 1), true).is_err());
    }
}
