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
}

impl Setup {
    /// Whether the session runs over IPv4; its one family is that of its addresses.
    pub fn is_ipv4(&self) -> bool {
        self.own.is_ipv4()
    }
}
