//! What a foreign speaker is to do, in no speaker's words.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// One session of a foreign speaker, and what it announces there.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its own address on the session.
    pub own: IpAddr,
    /// pipit's address.
    pub peer: IpAddr,
    /// Its AS.
    pub asn: u32,
    /// pipit's AS.
    pub peer_asn: u32,
    /// Its router id.
    pub router_id: Ipv4Addr,
    /// What it originates, with its own address as next hop.
    pub announces: Vec<IpNet>,
    /// Further sessions, by address and AS, without any of the options.
    pub others: Vec<(IpAddr, u32)>,
    /// What is special about the session with pipit.
    pub options: Options,
}

/// Options of a session that every speaker has some words for.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    /// TCP MD5 key (RFC 2385).
    pub password: Option<&'static str>,
    /// Packets leave with TTL 255 and are taken with no other (RFC 5082).
    pub ttl_security: bool,
    /// Several paths for a prefix, both ways (RFC 7911).
    pub add_path: bool,
    /// Routes are kept over restarts, its own and pipit's (RFC 4724).
    pub graceful_restart: bool,
    /// It does not say that it knows 4-octet AS numbers (RFC 6793).
    pub two_octet_as: bool,
}

impl Options {
    /// A line of configuration, if the option is set.
    pub(super) fn line(is_set: bool, line: &str) -> String {
        if is_set {
            format!("{line}\n")
        } else {
            String::new()
        }
    }
}

impl Setup {
    /// Whether the session runs over IPv4; its one family is that of its addresses.
    pub fn is_ipv4(&self) -> bool {
        self.own.is_ipv4()
    }
}
