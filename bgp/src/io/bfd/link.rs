//! Where a session's packets go out.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::Wanted;
use crate::bfd::{Packet, Path};
use crate::io::socket::scoped;

/// RFC 5881 §4: the source ports of BFD.
const FIRST_PORT: u16 = 49_152;
const PORTS: u64 = 16_384;
/// Ports that are tried before a session gives up for now.
const TRIES: u64 = 64;
/// RFC 5881 §5. Multihop as well: a peer may count hops from here.
const TTL: u32 = 255;
/// Network control, as for BGP.
const TOS_CS6: u32 = 0xc0;

/// A session's socket. It keeps its port for as long as it lives (RFC 5881 §4).
#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    peer: SocketAddr,
}

impl Link {
    /// # Errors
    /// `AddrNotAvailable` while the source address is not ours, `NotFound` while the interface is not there.
    pub(super) fn open(wanted: &Wanted) -> io::Result<Link> {
        let interface = wanted.interface.as_deref();
        let peer = scoped(wanted.address, interface, 0)?;
        let any: IpAddr = match wanted.address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let source = wanted.source.unwrap_or(any);
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        match peer {
            SocketAddr::V4(_) => {
                socket.set_ttl_v4(TTL)?;
                socket.set_tos_v4(TOS_CS6)?;
            }
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_unicast_hops_v6(TTL)?;
                socket.set_tclass_v6(TOS_CS6)?;
            }
        }
        bind(&socket, |port| scoped(source, interface, port))
            .map_err(|cause| io::Error::new(cause.kind(), format!("source address {source}: {cause}")))?;
        Ok(Link { socket, peer })
    }

    /// Interface index of a link-local peer; zero otherwise.
    pub(super) fn scope(&self) -> u32 {
        match self.peer {
            SocketAddr::V6(peer) => peer.scope_id(),
            SocketAddr::V4(_) => 0,
        }
    }

    /// # Errors
    /// The kernel's. A packet that is not sent is like one that is lost.
    pub(super) fn send(&self, path: Path, packet: &Packet) -> io::Result<()> {
        let mut peer = self.peer;
        peer.set_port(path.port());
        match self.socket.send_to(&packet.encode(), &peer.into()) {
            // Too many packets wait for the link already.
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result.map(drop),
        }
    }
}

/// Binds to a port of BFD's range that is free.
fn bind(socket: &Socket, address: impl Fn(u16) -> io::Result<SocketAddr>) -> io::Result<()> {
    let start = RandomState::new().hash_one(0);
    let mut last = io::ErrorKind::AddrInUse.into();
    for offset in 0..TRIES {
        let port = FIRST_PORT + (start.wrapping_add(offset) % PORTS) as u16;
        match socket.bind(&address(port)?.into()) {
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => last = cause,
            result => return result,
        }
    }
    Err(last)
}
