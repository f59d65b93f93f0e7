//! Message types and error codes (IANA "BGP Parameters").

use std::fmt;

/// Message types (RFC 4271 §4.1, RFC 2918).
pub mod message {
    /// RFC 4271 §4.2.
    pub const OPEN: u8 = 1;
    /// RFC 4271 §4.3.
    pub const UPDATE: u8 = 2;
    /// RFC 4271 §4.5.
    pub const NOTIFICATION: u8 = 3;
    /// RFC 4271 §4.4.
    pub const KEEPALIVE: u8 = 4;
    /// RFC 2918 §3.
    pub const ROUTE_REFRESH: u8 = 5;
}

/// A NOTIFICATION's error code and subcode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ErrorCode {
    /// Error code (RFC 4271 §4.5).
    pub code: u8,
    /// Subcode, by code.
    pub subcode: u8,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = ($code:literal, $subcode:literal), $text:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: ErrorCode = ErrorCode { code: $code, subcode: $subcode };)*

            fn text(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// RFC 4271 §6.1.
    NOT_SYNCHRONIZED = (1, 1), "connection not synchronized";
    /// RFC 4271 §6.1.
    BAD_MESSAGE_LENGTH = (1, 2), "bad message length";
    /// RFC 4271 §6.1.
    BAD_MESSAGE_TYPE = (1, 3), "bad message type";
    /// RFC 4271 §6.2.
    OPEN_UNSPECIFIC = (2, 0), "malformed OPEN";
    /// RFC 4271 §6.2.
    UNSUPPORTED_VERSION = (2, 1), "unsupported version number";
    /// RFC 4271 §6.2.
    BAD_PEER_AS = (2, 2), "bad peer AS";
    /// RFC 4271 §6.2, RFC 6286.
    BAD_BGP_IDENTIFIER = (2, 3), "bad BGP identifier";
    /// RFC 4271 §6.2.
    UNSUPPORTED_OPTIONAL_PARAMETER = (2, 4), "unsupported optional parameter";
    /// RFC 4271 §6.2.
    UNACCEPTABLE_HOLD_TIME = (2, 6), "unacceptable hold time";
    /// RFC 5492 §5.
    UNSUPPORTED_CAPABILITY = (2, 7), "unsupported capability";
    /// RFC 9234 §4.2.
    ROLE_MISMATCH = (2, 11), "role mismatch";
    /// RFC 4271 §6.5.
    HOLD_TIMER_EXPIRED = (4, 0), "hold timer expired";
    /// RFC 4271 §6.6, RFC 6608 §3: in a state that has no subcode.
    FSM_UNSPECIFIC = (5, 0), "finite state machine error";
    /// RFC 6608 §3.
    UNEXPECTED_IN_OPEN_SENT = (5, 1), "unexpected message in OpenSent";
    /// RFC 6608 §3.
    UNEXPECTED_IN_OPEN_CONFIRM = (5, 2), "unexpected message in OpenConfirm";
    /// RFC 6608 §3.
    UNEXPECTED_IN_ESTABLISHED = (5, 3), "unexpected message in Established";
    /// RFC 4486.
    MAX_PREFIXES = (6, 1), "maximum number of prefixes reached";
    /// RFC 4486.
    ADMINISTRATIVE_SHUTDOWN = (6, 2), "administrative shutdown";
    /// RFC 4486.
    PEER_DECONFIGURED = (6, 3), "peer de-configured";
    /// RFC 4486.
    ADMINISTRATIVE_RESET = (6, 4), "administrative reset";
    /// RFC 4486.
    CONNECTION_REJECTED = (6, 5), "connection rejected";
    /// RFC 4486.
    OTHER_CONFIGURATION_CHANGE = (6, 6), "other configuration change";
    /// RFC 4486, RFC 4271 §6.8.
    COLLISION_RESOLUTION = (6, 7), "connection collision resolution";
    /// RFC 4486.
    OUT_OF_RESOURCES = (6, 8), "out of resources";
    /// RFC 8538 §3.
    HARD_RESET = (6, 9), "hard reset";
    /// RFC 9384 §3.
    BFD_DOWN = (6, 10), "BFD down";
    /// RFC 7313 §5.
    INVALID_REFRESH_LENGTH = (7, 1), "invalid ROUTE-REFRESH length";
    /// RFC 9687 §3.
    SEND_HOLD_TIMER_EXPIRED = (8, 0), "send hold timer expired";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.text(), self.code) {
            (Some(text), _) => f.write_str(text),
            (None, 3) => write!(f, "UPDATE message error, subcode {}", self.subcode),
            (None, _) => write!(f, "error {}/{}", self.code, self.subcode),
        }
    }
}
