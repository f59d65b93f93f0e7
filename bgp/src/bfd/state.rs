//! The states of a session.

use std::fmt;

use serde::Serialize;

/// Session state (RFC 5880 §4.1 `Sta`, §6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum State {
    /// Held down by an operator: says nothing about the path.
    AdminDown = 0,
    /// No packets, or the other side does not hear ours.
    Down = 1,
    /// We hear the other side; it has not said that it hears us.
    Init = 2,
    /// Both hear each other.
    Up = 3,
}

impl State {
    /// From the upper two bits of the second octet.
    pub(crate) fn from_bits(octet: u8) -> State {
        match octet >> 6 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        }
    }

    pub(crate) fn bits(self) -> u8 {
        (self as u8) << 6
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::AdminDown => "AdminDown",
            State::Down => "Down",
            State::Init => "Init",
            State::Up => "Up",
        })
    }
}
