//! NOTIFICATION (RFC 4271 §4.5).

use std::fmt;

use bytes::Bytes;

use crate::wire::header;
use crate::wire::iana::{ErrorCode, message};

/// Why a session ends, as told to the other side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// Code and subcode.
    pub error: ErrorCode,
    /// Diagnostic data, by code.
    pub data: Vec<u8>,
}

/// Longest shutdown communication that is shown (RFC 9003 §2).
const SHUTDOWN_TEXT_MAX: usize = 255;

impl Notification {
    /// Without data.
    pub fn new(error: ErrorCode) -> Self {
        Notification {
            error,
            data: Vec::new(),
        }
    }

    /// With data.
    pub fn with(error: ErrorCode, data: impl Into<Vec<u8>>) -> Self {
        Notification {
            error,
            data: data.into(),
        }
    }

    /// A Hard Reset for this reason (RFC 8538 §3.1): the whole of it travels as data.
    pub fn hard_reset(reason: &Notification) -> Self {
        let data = [&[reason.error.code, reason.error.subcode][..], &reason.data].concat();
        Notification::with(ErrorCode::HARD_RESET, data)
    }

    /// The reason that a Hard Reset carries; `None` for anything else, and when there is none.
    pub fn hard_reset_reason(&self) -> Option<Notification> {
        // One within another says nothing more, and must not be followed down.
        Notification::decode(&self.data).filter(|inner| self.is_hard_reset() && !inner.is_hard_reset())
    }

    /// Reads a body; `None` when it is shorter than code and subcode.
    pub fn decode(body: &[u8]) -> Option<Notification> {
        let (&[code, subcode], data) = body.split_first_chunk()?;
        Some(Notification {
            error: ErrorCode { code, subcode },
            data: data.to_vec(),
        })
    }

    /// The whole message. Data that does not fit is cut.
    pub fn encode(&self) -> Bytes {
        let data = &self.data[..self.data.len().min(header::MAX_LEN - header::LEN - 2)];
        let body = [&[self.error.code, self.error.subcode], data].concat();
        header::message(message::NOTIFICATION, &body)
    }

    /// The peer's words (RFC 9003): UTF-8 behind a length octet, only with administrative shutdown and reset.
    /// `None` when there are none or they are not well-formed.
    pub fn shutdown_text(&self) -> Option<&str> {
        let says = [
            ErrorCode::ADMINISTRATIVE_SHUTDOWN,
            ErrorCode::ADMINISTRATIVE_RESET,
        ];
        let (&len, text) = self.data.split_first().filter(|_| says.contains(&self.error))?;
        let text = text
            .get(..usize::from(len))
            .filter(|text| text.len() <= SHUTDOWN_TEXT_MAX)?;
        std::str::from_utf8(text).ok().filter(|text| !text.is_empty())
    }

    /// Whether the sender asks to forget its routes at once although both sides keep them over a NOTIFICATION
    /// (RFC 8538 §3.1).
    pub fn is_hard_reset(&self) -> bool {
        self.error == ErrorCode::HARD_RESET
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorCode { code, subcode } = self.error;
        write!(f, "{} ({code}/{subcode})", self.error)?;
        match (self.shutdown_text(), self.hard_reset_reason()) {
            (Some(text), _) => write!(f, ": {}", text.escape_debug()),
            (None, Some(reason)) => write!(f, ": {reason}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9003_shutdown_text_is_read_and_an_overlong_one_is_not() {
        let text = Notification::with(ErrorCode::ADMINISTRATIVE_SHUTDOWN, [&[2][..], b"hi"].concat());
        assert_eq!(text.to_string(), "administrative shutdown (6/2): hi");
        assert_eq!(Notification::decode(&text.encode()[19..]), Some(text));
        // CVE-2019-16159: the length runs past the message.
        let cut = Notification::with(ErrorCode::ADMINISTRATIVE_SHUTDOWN, [200, b'x']);
        assert_eq!(cut.shutdown_text(), None);
        assert_eq!(Notification::decode(&[6]), None);
    }

    #[test]
    fn rfc8538_3_1_a_hard_reset_carries_its_reason() {
        let reason = Notification::with(ErrorCode::PEER_DECONFIGURED, *b"x");
        let hard = Notification::hard_reset(&reason);
        assert_eq!(hard.encode()[19..], [6, 9, 6, 3, b'x']);
        assert_eq!(hard.hard_reset_reason(), Some(reason));
        assert_eq!(hard.to_string(), "hard reset (6/9): peer de-configured (6/3)");
        assert_eq!(
            Notification::new(ErrorCode::HARD_RESET).to_string(),
            "hard reset (6/9)"
        );
        let nested = Notification::hard_reset(&hard);
        assert_eq!(nested.to_string(), "hard reset (6/9)");
    }
}
