//! BFD Control packets (RFC 5880 §4.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//! |                       My Discriminator                        |
//! |                      Your Discriminator                       |
//! |                    Desired Min TX Interval                    |
//! |                   Required Min RX Interval                    |
//! |                 Required Min Echo RX Interval                 |
//! ```

use crate::bfd::{Diagnostic, State};

/// Octets of a packet without authentication.
pub(crate) const LEN: usize = 24;
/// Octets of the shortest one with authentication: RFC 5880 §6.8.6.
const LEN_AUTHENTICATED: usize = 26;
const VERSION: u8 = 1;

/// The bits of the second octet that a packet of ours may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u8);

impl Flags {
    /// None of them.
    pub const NONE: Flags = Flags(0);
    /// P: asks for a packet with F.
    pub const POLL: Flags = Flags(0x20);
    /// F: answers P.
    pub const FINAL: Flags = Flags(0x10);
    /// C: outlives a restart of the control plane. Ours does not (RFC 5882 §4.3).
    pub const INDEPENDENT: Flags = Flags(0x08);
    /// D: wants no periodic packets.
    pub const DEMAND: Flags = Flags(0x02);

    /// Whether all bits of `other` are here.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// The A bit: an Authentication Section follows.
const AUTHENTICATED: u8 = 0x04;
/// The M bit: reserved for point to multipoint.
const MULTIPOINT: u8 = 0x01;

/// A control packet that may be believed as far as it alone can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Why the sender's state last changed.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// P, F, C and D.
    pub flags: Flags,
    /// Packets that may be lost; never zero.
    pub detect_multiplier: u8,
    /// The sender's discriminator; never zero.
    pub my_discriminator: u32,
    /// The receiver's; zero while the sender does not know it.
    pub your_discriminator: u32,
    /// The interval that the sender would like to send at, in microseconds, before jitter.
    pub desired_min_tx: u32,
    /// The shortest interval that the sender can receive at, in microseconds; zero: send nothing.
    pub required_min_rx: u32,
    /// The same for echo packets, zero: does not return them.
    pub required_min_echo_rx: u32,
}

/// Why a packet is not looked at: RFC 5880 §6.8.6, RFC 5881 §5, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Discard {
    /// RFC 5881 §5: it came over a router.
    #[error("TTL {ttl} is less than {least}")]
    Ttl {
        /// As received.
        ttl: u8,
        /// What it must have been.
        least: u8,
    },
    /// The version is not 1.
    #[error("version {0} is not 1")]
    Version(u8),
    /// The Length field is too small for what the packet says it holds.
    #[error("length field says {0} octets")]
    TooShort(u8),
    /// The Length field says more than came.
    #[error("length field says {length} octets, {received} came")]
    Truncated {
        /// The Length field.
        length: u8,
        /// Octets received.
        received: usize,
    },
    /// Detect Mult is zero.
    #[error("detect multiplier is zero")]
    Multiplier,
    /// M is set.
    #[error("multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("my discriminator is zero")]
    MyDiscriminator,
    /// Your Discriminator is no session's.
    #[error("no session has discriminator {0:#010x}")]
    UnknownDiscriminator(u32),
    /// Your Discriminator is zero in a state in which the sender knows it.
    #[error("your discriminator is zero in state {0}")]
    YourDiscriminator(State),
    /// There is no session with the sender.
    #[error("no session with the sender")]
    UnknownSender,
    /// It came on the port of the other kind of session.
    #[error("the session is not on this port")]
    WrongPort,
    /// A is set, and we use no authentication.
    #[error("the peer authenticates its packets, which is not supported")]
    Authenticated,
    /// Our side is administratively down.
    #[error("the session is administratively down")]
    AdminDown,
}

impl Packet {
    /// Reads a packet, with those checks of RFC 5880 §6.8.6 that need no session.
    ///
    /// # Errors
    /// Why it is to be discarded. There is nobody to tell.
    pub fn decode(octets: &[u8]) -> Result<Packet, Discard> {
        let Some((fixed, _)) = octets.split_first_chunk::<LEN>() else {
            // The Length field of what is shorter is either too small or too large; what else it says is moot.
            let length = octets.get(3).copied().unwrap_or(0);
            return Err(Discard::Truncated {
                length,
                received: octets.len(),
            });
        };
        let [first, second, detect_multiplier, length, ..] = *fixed;
        let is_authenticated = second & AUTHENTICATED != 0;
        let least = if is_authenticated { LEN_AUTHENTICATED } else { LEN };
        let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let (my_discriminator, your_discriminator) = (word(4), word(8));
        let state = State::from_bits(second);
        let checks = [
            (first >> 5 != VERSION, Discard::Version(first >> 5)),
            (usize::from(length) < least, Discard::TooShort(length)),
            (
                usize::from(length) > octets.len(),
                Discard::Truncated {
                    length,
                    received: octets.len(),
                },
            ),
            (detect_multiplier == 0, Discard::Multiplier),
            (second & MULTIPOINT != 0, Discard::Multipoint),
            (my_discriminator == 0, Discard::MyDiscriminator),
            (
                your_discriminator == 0 && !matches!(state, State::Down | State::AdminDown),
                Discard::YourDiscriminator(state),
            ),
            (is_authenticated, Discard::Authenticated),
        ];
        if let Some((_, reason)) = checks.into_iter().find(|(is_violated, _)| *is_violated) {
            return Err(reason);
        }
        Ok(Packet {
            diagnostic: Diagnostic::from_bits(first),
            state,
            flags: Flags(second & (Flags::POLL | Flags::FINAL | Flags::INDEPENDENT | Flags::DEMAND).0),
            detect_multiplier,
            my_discriminator,
            your_discriminator,
            desired_min_tx: word(12),
            required_min_rx: word(16),
            required_min_echo_rx: word(20),
        })
    }

    /// The packet's octets.
    pub fn encode(&self) -> [u8; LEN] {
        let mut octets = [0; LEN];
        octets[0] = VERSION << 5 | self.diagnostic.bits();
        octets[1] = self.state.bits() | self.flags.0;
        octets[2] = self.detect_multiplier;
        octets[3] = LEN as u8;
        let words = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (place, word) in octets[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        octets
    }
}

#[cfg(test)]
mod tests;
