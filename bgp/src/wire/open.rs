//! OPEN (RFC 4271 §4.2), with extended optional parameters (RFC 9072).

use bytes::Bytes;

use crate::router_id::RouterId;
use crate::wire::capability::Capability;
use crate::wire::header;
use crate::wire::iana::{ErrorCode, message};
use crate::wire::notification::Notification;

/// An OPEN message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// My Autonomous System, two octets; AS_TRANS stands for one that does not fit.
    pub my_as: u16,
    /// Hold time offered, in seconds.
    pub hold_time: u16,
    /// BGP Identifier.
    pub router_id: RouterId,
    /// Capabilities in the order sent.
    pub capabilities: Vec<Capability>,
}

const VERSION: u8 = 4;
const PARAMETER_CAPABILITIES: u8 = 2;
/// RFC 9072 §2: marks the extended form, in place of the parameters' length and of the first type.
const EXTENDED: u8 = 255;

impl Open {
    /// Reads a body. Version and form are checked here, whether the values suit us in `session::negotiate`.
    ///
    /// # Errors
    /// OPEN Message Error (RFC 4271 §6.2); the session ends.
    pub fn decode(body: &[u8]) -> Result<Open, Notification> {
        let malformed = || Notification::new(ErrorCode::OPEN_UNSPECIFIC);
        let (&[version, as_high, as_low, hold_high, hold_low, a, b, c, d, len], parameters) =
            body.split_first_chunk().ok_or_else(malformed)?;
        if version != VERSION {
            return Err(Notification::with(ErrorCode::UNSUPPORTED_VERSION, [0, VERSION]));
        }
        let (parameters, is_extended) = match parameters {
            [EXTENDED, high, low, rest @ ..] if len != 0 => {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                (rest.get(..len).filter(|_| rest.len() == len), true)
            }
            rest => (Some(rest).filter(|rest| rest.len() == usize::from(len)), false),
        };
        let mut rest = parameters.ok_or_else(malformed)?;
        let mut capabilities = Vec::new();
        while !rest.is_empty() {
            let (kind, value, after) = parameter(rest, is_extended).ok_or_else(malformed)?;
            rest = after;
            if kind != PARAMETER_CAPABILITIES {
                return Err(Notification::new(ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER));
            }
            read_capabilities(value, &mut capabilities).ok_or_else(malformed)?;
        }
        Ok(Open {
            my_as: u16::from_be_bytes([as_high, as_low]),
            hold_time: u16::from_be_bytes([hold_high, hold_low]),
            router_id: RouterId([a, b, c, d].into()),
            capabilities,
        })
    }

    /// The whole message; the extended form only where the capabilities need it.
    pub fn encode(&self) -> Bytes {
        let mut value = Vec::new();
        self.capabilities
            .iter()
            .for_each(|capability| capability.encode(&mut value));
        let [as_high, as_low] = self.my_as.to_be_bytes();
        let [hold_high, hold_low] = self.hold_time.to_be_bytes();
        let mut body = vec![VERSION, as_high, as_low, hold_high, hold_low];
        body.extend_from_slice(&self.router_id.0.octets());
        match u8::try_from(value.len() + 2) {
            Ok(_) if value.is_empty() => body.push(0),
            Ok(len) if len < EXTENDED => {
                body.extend_from_slice(&[len, PARAMETER_CAPABILITIES, value.len() as u8]);
            }
            _ => {
                let [len_high, len_low] = ((value.len() + 3) as u16).to_be_bytes();
                let [high, low] = (value.len() as u16).to_be_bytes();
                let extended = [
                    EXTENDED,
                    EXTENDED,
                    len_high,
                    len_low,
                    PARAMETER_CAPABILITIES,
                    high,
                    low,
                ];
                body.extend_from_slice(&extended);
            }
        }
        body.extend_from_slice(&value);
        header::message(message::OPEN, &body)
    }
}

/// Type, value, and what follows.
fn parameter(bytes: &[u8], is_extended: bool) -> Option<(u8, &[u8], &[u8])> {
    let (kind, len, rest) = match bytes {
        [kind, high, low, rest @ ..] if is_extended => {
            (*kind, usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        [kind, len, rest @ ..] if !is_extended => (*kind, usize::from(*len), rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(len)?;
    Some((kind, value, rest))
}

fn read_capabilities(mut bytes: &[u8], out: &mut Vec<Capability>) -> Option<()> {
    while let [code, len, rest @ ..] = bytes {
        let (value, rest) = rest.split_at_checked(usize::from(*len))?;
        out.push(Capability::decode(*code, value));
        bytes = rest;
    }
    bytes.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asn::Asn;

    fn open(capabilities: Vec<Capability>) -> Open {
        Open {
            my_as: 23456,
            hold_time: 240,
            router_id: "10.0.0.1".parse().unwrap(),
            capabilities,
        }
    }

    #[test]
    fn rfc4271_4_2_bytes_of_an_open() {
        let message = open(vec![
            Capability::RouteRefresh,
            Capability::FourOctetAs(Asn(65_536)),
        ]);
        let bytes = message.encode();
        let expected = [
            4, 0x5b, 0xa0, 0, 240, 10, 0, 0, 1, 10, 2, 8, 2, 0, 65, 4, 0, 1, 0, 0,
        ];
        assert_eq!(bytes[19..], expected);
        assert_eq!(Open::decode(&bytes[19..]), Ok(message));
    }

    #[test]
    fn rfc9072_many_capabilities_take_the_extended_form() {
        let many = vec![
            Capability::Unknown {
                code: 200,
                value: vec![7; 250]
            };
            3
        ];
        let message = open(many);
        let bytes = message.encode();
        assert_eq!(bytes[19 + 9..19 + 11], [255, 255]);
        assert_eq!(Open::decode(&bytes[19..]), Ok(message));
        // CVE-2022-40302, CVE-2022-40318, CVE-2022-43681: every cut of it is refused, none is read past.
        for cut in 10..bytes.len() - 19 {
            assert!(Open::decode(&bytes[19..19 + cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn rfc4271_6_2_version_and_parameters_are_checked() {
        let body = |len: u8, rest: &[u8]| [&[4, 0, 1, 0, 90, 1, 1, 1, 1, len], rest].concat();
        assert_eq!(Open::decode(&body(0, &[])).map(|open| open.hold_time), Ok(90));
        let error = |bytes: &[u8]| Open::decode(bytes).unwrap_err().error;
        assert_eq!(error(&body(1, &[])), ErrorCode::OPEN_UNSPECIFIC);
        assert_eq!(error(&body(3, &[2, 9, 0])), ErrorCode::OPEN_UNSPECIFIC);
        assert_eq!(
            error(&body(2, &[1, 0])),
            ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER
        );
        let mut old = body(0, &[]);
        old[0] = 3;
        assert_eq!(
            Open::decode(&old),
            Err(Notification::with(ErrorCode::UNSUPPORTED_VERSION, [0, 4]))
        );
    }
}
