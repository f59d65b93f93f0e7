//! Where packets come in: one socket for each family and kind of path.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::bfd::{Arrival, Path};
use crate::family::Family;

/// Longer datagrams are cut: what counts of a packet is in front.
const PACKET: usize = 256;
/// Packets taken before timers have their turn again.
const AT_ONCE: usize = 1024;

/// What came of reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Drained {
    /// Nothing is left.
    Empty,
    /// Perhaps something is.
    Enough,
}

/// One port of one family.
#[derive(Debug)]
pub(super) struct Port {
    path: Path,
    socket: UdpSocket,
}

impl Port {
    /// Takes the port on all addresses.
    ///
    /// # Errors
    /// `AddrInUse` when another BFD daemon has it.
    pub(super) fn open(family: Family, path: Path) -> io::Result<Port> {
        let (domain, any): (Domain, IpAddr) = match family {
            Family::Ipv4Unicast => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
            Family::Ipv6Unicast => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        match family {
            Family::Ipv4Unicast => setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?,
            Family::Ipv6Unicast => {
                socket.set_only_v6(true)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            }
        }
        let address = SocketAddr::new(any, path.port());
        socket
            .bind(&address.into())
            .map_err(|cause| io::Error::new(cause.kind(), format!("UDP port {}: {cause}", path.port())))?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Port { path, socket })
    }

    /// Waits until there may be something to read. What comes after this returns is waited for anew.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.socket.readable().await?;
        // Reading goes past the runtime: it shall also find what came since the runtime last looked.
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        match self.socket.try_io(Interest::READABLE, nothing) {
            Err(cause) if cause.kind() != io::ErrorKind::WouldBlock => Err(cause),
            _ => Ok(()),
        }
    }

    /// Reads what is there, without waiting.
    pub(super) fn drain(&self, mut take: impl FnMut(Arrival, &[u8])) -> Drained {
        let mut octets = [0; PACKET];
        for _ in 0..AT_ONCE {
            match self.receive(&mut octets) {
                Ok((len, Some(arrival))) => take(arrival, &octets[..len]),
                // Without an address or a TTL nothing can be said of a packet.
                Ok((_, None)) => {}
                Err(Errno::EINTR) => {}
                // EAGAIN. Any other error is of the network, about an earlier packet, and gone by being told.
                Err(_) => return Drained::Empty,
            }
        }
        Drained::Enough
    }

    fn receive(&self, octets: &mut [u8]) -> Result<(usize, Option<Arrival>), Errno> {
        let mut slices = [IoSliceMut::new(octets)];
        let mut control = nix::cmsg_space!(libc::c_int, libc::c_int);
        let message = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let ttl = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                u8::try_from(ttl).ok()
            }
            _ => None,
        });
        let arrival = message
            .address
            .and_then(sender)
            .zip(ttl)
            .map(|((from, scope), ttl)| Arrival {
                from,
                scope,
                path: self.path,
                ttl,
            });
        Ok((message.bytes, arrival))
    }
}

/// A sender, with its interface where it is link-local.
fn sender(address: SockaddrStorage) -> Option<(IpAddr, u32)> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some((v4.ip().into(), 0));
    }
    let v6 = SocketAddrV6::from(*address.as_sockaddr_in6()?);
    let scope = if v6.ip().is_unicast_link_local() {
        v6.scope_id()
    } else {
        0
    };
    Some(((*v6.ip()).into(), scope))
}
