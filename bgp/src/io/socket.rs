//! Sockets as BGP wants them.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::io::tcp_md5;
use crate::session::config::PeerConfig;

/// Network control (RFC 4271 has none; every implementation marks BGP so).
const TOS_CS6: u32 = 0xc0;
/// A connection may cross this many hops where TTL security is off.
const TTL_MULTIHOP: u32 = 64;
/// RFC 5082 §3.
const TTL_GTSM: u32 = 255;
/// Unacknowledged data may stand this long before the kernel gives up.
const USER_TIMEOUT: Duration = Duration::from_secs(240);
const BACKLOG: i32 = 4096;

/// Dials a peer.
///
/// # Errors
/// Whatever the kernel says, a bad key included.
pub(crate) async fn dial(config: &PeerConfig) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target(config, 0)?),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    if let Some(key) = &config.password {
        tcp_md5::set_key(&socket, config.address, Some(key))?;
    }
    prepare(SockRef::from(&socket), config)?;
    if let Some(source) = config.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    TcpSocket::from_std_stream(socket.into())
        .connect(target(config, config.port)?)
        .await
}

/// Makes an accepted connection a peer's.
///
/// # Errors
/// Whatever the kernel says.
pub(crate) fn adopt(stream: &TcpStream, config: &PeerConfig) -> io::Result<()> {
    prepare(SockRef::from(stream), config)
}

/// Listens for peers.
///
/// # Errors
/// `AddrInUse` when another daemon has the port, `PermissionDenied` for a port below 1024 without the capability.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    match address {
        // Peers that check the TTL check that of the SYN-ACK, too.
        SocketAddr::V4(_) => socket.set_ttl_v4(TTL_GTSM)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(TTL_GTSM)?;
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn prepare(socket: SockRef<'_>, config: &PeerConfig) -> io::Result<()> {
    let ttl = if config.ttl_security.is_some() {
        TTL_GTSM
    } else {
        TTL_MULTIHOP
    };
    match config.address {
        IpAddr::V4(_) => {
            socket.set_ttl_v4(ttl)?;
            socket.set_tos_v4(TOS_CS6)?;
        }
        IpAddr::V6(_) => {
            socket.set_unicast_hops_v6(ttl)?;
            socket.set_tclass_v6(TOS_CS6)?;
        }
    }
    if let Some(hops) = config.ttl_security {
        let min_ttl = (256 - u16::from(hops.max(1))) as u8;
        tcp_md5::set_min_ttl(&*socket, config.address, min_ttl)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

fn target(config: &PeerConfig, port: u16) -> io::Result<SocketAddr> {
    match (config.address, &config.interface) {
        (IpAddr::V6(address), Some(interface)) => {
            let scope = interface_index(interface)?;
            Ok(SocketAddrV6::new(address, port, 0, scope).into())
        }
        (address, _) => Ok(SocketAddr::new(address, port)),
    }
}

fn interface_index(name: &str) -> io::Result<u32> {
    let path = format!("/sys/class/net/{name}/ifindex");
    let text = std::fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("interface {name}: {error}")))?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("interface {name}: no index")))
}
