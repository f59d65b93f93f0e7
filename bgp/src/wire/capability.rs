//! Capabilities (RFC 5492): the table of what pipit offers and understands.
//!
//! | code | capability | source |
//! |---|---|---|
//! | 1 | multiprotocol | RFC 4760 §8 |
//! | 2 | route refresh | RFC 2918 §2 |
//! | 5 | extended next hop | RFC 8950 §4 |
//! | 6 | extended message | RFC 8654 §3 |
//! | 9 | role | RFC 9234 §4.1 |
//! | 64 | graceful restart | RFC 4724 §3, RFC 8538 §2 |
//! | 65 | 4-octet AS | RFC 6793 §3 |
//! | 69 | ADD-PATH | RFC 7911 §4 |
//! | 70 | enhanced route refresh | RFC 7313 §3.1 |
//! | 71 | long-lived graceful restart | RFC 9494 §3 |
//! | 73 | FQDN | draft-walton-bgp-hostname-capability |
//! | 75 | software version | draft-abraitis-bgp-version-capability |
//!
//! One that is unknown, or whose content does not parse, counts as absent: a peer is not turned away for what it
//! can do beyond us.

use crate::asn::Asn;
use crate::session::config::Role;

/// BGP Role (RFC 9234 §4.1).
pub(crate) const ROLE: u8 = 9;

/// One family of the graceful restart capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestartFamily {
    /// AFI.
    pub afi: u16,
    /// SAFI.
    pub safi: u8,
    /// Forwarding state was preserved (F bit).
    pub is_forwarding: bool,
}

/// A capability as offered in an OPEN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Capability {
    /// Routes of this AFI and SAFI.
    Multiprotocol {
        /// AFI.
        afi: u16,
        /// SAFI.
        safi: u8,
    },
    /// ROUTE-REFRESH messages.
    RouteRefresh,
    /// Next hops of another family: NLRI AFI, SAFI, next hop AFI.
    ExtendedNextHop(Vec<(u16, u16, u16)>),
    /// Messages up to 65,535 octets.
    ExtendedMessage,
    /// BGP Role.
    Role(Role),
    /// Graceful restart.
    GracefulRestart {
        /// R bit.
        is_restarting: bool,
        /// N bit (RFC 8538).
        has_notification: bool,
        /// Restart time, seconds, up to 4,095.
        restart_time: u16,
        /// Families whose routes are to be kept.
        families: Vec<RestartFamily>,
    },
    /// 4-octet AS numbers.
    FourOctetAs(Asn),
    /// AFI, SAFI, and 1 (receive), 2 (send) or 3 (both).
    AddPath(Vec<(u16, u8, u8)>),
    /// BoRR and EoRR.
    EnhancedRefresh,
    /// AFI, SAFI, forwarding preserved, stale time in seconds.
    LongLivedRestart(Vec<(u16, u8, bool, u32)>),
    /// Host name and domain name.
    Fqdn(String),
    /// Software version.
    SoftwareVersion(String),
    /// Anything else, as it came.
    Unknown {
        /// Capability code.
        code: u8,
        /// Capability value.
        value: Vec<u8>,
    },
}

impl Capability {
    /// Reads one capability. What does not parse is [`Capability::Unknown`].
    pub fn decode(code: u8, value: &[u8]) -> Capability {
        parse(code, value).unwrap_or_else(|| Capability::Unknown {
            code,
            value: value.to_vec(),
        })
    }

    /// Appends code, length and value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (code, value) = self.parts();
        out.extend_from_slice(&[code, value.len() as u8]);
        out.extend_from_slice(&value);
    }

    /// The capability's name, for people.
    pub fn name(&self) -> String {
        match self {
            Capability::Multiprotocol { afi, safi } => format!("multiprotocol {afi}/{safi}"),
            Capability::RouteRefresh => "route-refresh".into(),
            Capability::ExtendedNextHop(_) => "extended-next-hop".into(),
            Capability::ExtendedMessage => "extended-message".into(),
            Capability::Role(_) => "role".into(),
            Capability::GracefulRestart { .. } => "graceful-restart".into(),
            Capability::FourOctetAs(_) => "4-octet-as".into(),
            Capability::AddPath(_) => "add-path".into(),
            Capability::EnhancedRefresh => "enhanced-route-refresh".into(),
            Capability::LongLivedRestart(_) => "long-lived-graceful-restart".into(),
            Capability::Fqdn(_) => "fqdn".into(),
            Capability::SoftwareVersion(_) => "software-version".into(),
            Capability::Unknown { code, .. } => format!("unknown {code}"),
        }
    }

    fn parts(&self) -> (u8, Vec<u8>) {
        match self {
            Capability::Multiprotocol { afi, safi } => {
                let [high, low] = afi.to_be_bytes();
                (1, vec![high, low, 0, *safi])
            }
            Capability::RouteRefresh => (2, Vec::new()),
            Capability::ExtendedNextHop(list) => (
                5,
                list.iter()
                    .flat_map(|(a, s, n)| [*a, *s, *n])
                    .flat_map(u16::to_be_bytes)
                    .collect(),
            ),
            Capability::ExtendedMessage => (6, Vec::new()),
            Capability::Role(role) => (ROLE, vec![role_number(*role)]),
            Capability::GracefulRestart {
                is_restarting,
                has_notification,
                restart_time,
                families,
            } => {
                let flags = u16::from(*is_restarting) << 15 | u16::from(*has_notification) << 14;
                let mut value = (flags | restart_time & 0x0fff).to_be_bytes().to_vec();
                for family in families {
                    value.extend_from_slice(&family.afi.to_be_bytes());
                    value.extend_from_slice(&[family.safi, u8::from(family.is_forwarding) << 7]);
                }
                (64, value)
            }
            Capability::FourOctetAs(asn) => (65, asn.0.to_be_bytes().to_vec()),
            Capability::AddPath(list) => {
                let entry = |(afi, safi, mode): &(u16, u8, u8)| {
                    let [high, low] = afi.to_be_bytes();
                    [high, low, *safi, *mode]
                };
                (69, list.iter().flat_map(entry).collect())
            }
            Capability::EnhancedRefresh => (70, Vec::new()),
            Capability::LongLivedRestart(list) => {
                let entry = |(afi, safi, is_forwarding, secs): &(u16, u8, bool, u32)| {
                    let ([a, b], [_, c, d, e]) = (afi.to_be_bytes(), secs.to_be_bytes());
                    [a, b, *safi, u8::from(*is_forwarding) << 7, c, d, e]
                };
                (71, list.iter().flat_map(entry).collect())
            }
            Capability::Fqdn(host) => (73, [&[host.len() as u8], host.as_bytes(), &[0]].concat()),
            Capability::SoftwareVersion(text) => (75, [&[text.len() as u8], text.as_bytes()].concat()),
            Capability::Unknown { code, value } => (*code, value.clone()),
        }
    }
}

fn parse(code: u8, value: &[u8]) -> Option<Capability> {
    Some(match (code, value) {
        (1, &[high, low, _, safi]) => Capability::Multiprotocol {
            afi: u16::from_be_bytes([high, low]),
            safi,
        },
        (2, []) => Capability::RouteRefresh,
        (5, list) if list.len().is_multiple_of(6) => {
            let entry = |e: &[u8]| Some((be16(e)?, be16(e.get(2..)?)?, be16(e.get(4..)?)?));
            Capability::ExtendedNextHop(list.chunks_exact(6).map(entry).collect::<Option<_>>()?)
        }
        (6, []) => Capability::ExtendedMessage,
        (ROLE, &[number]) => Capability::Role(role_of(number)?),
        (64, [high, low, list @ ..]) if list.len().is_multiple_of(4) => {
            let flags = u16::from_be_bytes([*high, *low]);
            let family = |e: &[u8]| {
                Some(RestartFamily {
                    afi: be16(e)?,
                    safi: *e.get(2)?,
                    is_forwarding: e.get(3)? & 0x80 != 0,
                })
            };
            Capability::GracefulRestart {
                is_restarting: flags & 0x8000 != 0,
                has_notification: flags & 0x4000 != 0,
                restart_time: flags & 0x0fff,
                families: list.chunks_exact(4).map(family).collect::<Option<_>>()?,
            }
        }
        (65, &[a, b, c, d]) => Capability::FourOctetAs(Asn(u32::from_be_bytes([a, b, c, d]))),
        (69, list) if list.len().is_multiple_of(4) => {
            let entry = |e: &[u8]| Some((be16(e)?, *e.get(2)?, *e.get(3)?));
            Capability::AddPath(list.chunks_exact(4).map(entry).collect::<Option<_>>()?)
        }
        (70, []) => Capability::EnhancedRefresh,
        (71, list) if list.len().is_multiple_of(7) => {
            let entry = |e: &[u8]| match *e {
                [a, b, safi, flags, c, d, f] => Some((
                    u16::from_be_bytes([a, b]),
                    safi,
                    flags & 0x80 != 0,
                    u32::from_be_bytes([0, c, d, f]),
                )),
                _ => None,
            };
            Capability::LongLivedRestart(list.chunks_exact(7).map(entry).collect::<Option<_>>()?)
        }
        (73, [len, rest @ ..]) => Capability::Fqdn(text(rest.get(..usize::from(*len))?)?),
        (75, [len, rest @ ..]) => Capability::SoftwareVersion(text(rest.get(..usize::from(*len))?)?),
        _ => return None,
    })
}

fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|&pair| u16::from_be_bytes(pair))
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn role_number(role: Role) -> u8 {
    match role {
        Role::Provider => 0,
        Role::RsServer => 1,
        Role::RsClient => 2,
        Role::Customer => 3,
        Role::Peer => 4,
    }
}

fn role_of(number: u8) -> Option<Role> {
    Some(match number {
        0 => Role::Provider,
        1 => Role::RsServer,
        2 => Role::RsClient,
        3 => Role::Customer,
        4 => Role::Peer,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_round_trips_and_a_cut_one_is_unknown() {
        let all = [
            Capability::Multiprotocol { afi: 2, safi: 1 },
            Capability::RouteRefresh,
            Capability::ExtendedNextHop(vec![(1, 1, 2)]),
            Capability::ExtendedMessage,
            Capability::Role(Role::Peer),
            Capability::GracefulRestart {
                is_restarting: true,
                has_notification: true,
                restart_time: 120,
                families: vec![RestartFamily {
                    afi: 1,
                    safi: 1,
                    is_forwarding: true,
                }],
            },
            Capability::FourOctetAs(Asn(4_200_000_000)),
            Capability::AddPath(vec![(1, 1, 3), (2, 1, 1)]),
            Capability::EnhancedRefresh,
            Capability::LongLivedRestart(vec![(1, 1, true, 86_400)]),
            Capability::Fqdn("node-1".into()),
            Capability::SoftwareVersion("pipit 0.1".into()),
            Capability::Unknown {
                code: 200,
                value: vec![1, 2, 3],
            },
        ];
        for capability in all {
            let mut bytes = Vec::new();
            capability.encode(&mut bytes);
            let (code, value) = (bytes[0], &bytes[2..]);
            assert_eq!(Capability::decode(code, value), capability);
            // CVE-2022-36440, CVE-2023-31489, CVE-2023-41361, CVE-2025-43971: lengths that lie.
            for cut in 0..value.len() {
                let _ = Capability::decode(code, &value[..cut]);
            }
        }
        assert!(matches!(
            Capability::decode(65, &[0, 1]),
            Capability::Unknown { .. }
        ));
        assert!(matches!(
            Capability::decode(75, &[9, b'x']),
            Capability::Unknown { .. }
        ));
    }
}
