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
        let address = scoped(source, config.interface.as_deref(), 0)?;
        socket
            .bind(&address.into())
            .map_err(|error| io::Error::new(error.kind(), format!("source address {source}: {error}")))?;
    }
    TcpSocket::from_std_stream(socket.into())
        .connect(target(config, config.port)?)
        .await
}

/// Makes an accepted connection a peer's.
///
/// # Errors
/// A connection that came over too many hops, and whatever the kernel says.
pub(crate) fn adopt(stream: &TcpStream, config: &PeerConfig) -> io::Result<()> {
    if let Some(hops) = config.ttl_security {
        let min_ttl = min_ttl(hops);
        // The check that `prepare` asks for comes too late for octets that have come already. They cannot come from
        // further away than the connection did.
        if let Some(ttl) = tcp_md5::syn_ttl(stream, config.address)?.filter(|ttl| *ttl < min_ttl) {
            let reason = format!("TTL {ttl} is less than {min_ttl}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
    }
    if let Some(key) = &config.password {
        // It has the listener's already, unless it is older than that.
        tcp_md5::set_key(stream, config.address, Some(key))?;
    }
    prepare(SockRef::from(stream), config)
}

/// Takes an address for listening. Connections are refused until [`listen`].
///
/// # Errors
/// `AddrInUse` when another daemon has the port, `PermissionDenied` for a port below 1024 without the capability.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Socket> {
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
    tcp_md5::save_syn(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Listens for peers.
///
/// # Errors
/// `AddrInUse` when another daemon began to listen after [`bind`].
pub(crate) fn listen(socket: &Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    // Registered only now: a socket that does not listen counts as closed, and stays so for the runtime.
    TcpListener::from_std(socket.try_clone()?.into())
}

/// The least TTL of packets that came over at most so many hops (RFC 5082 §3).
fn min_ttl(hops: u8) -> u8 {
    (256 - u16::from(hops.max(1))) as u8
}

/// What is still to be said on a connection passes the peer's check, if it has begun to check (RFC 5082 §3).
///
/// # Errors
/// Whatever the kernel says.
pub(crate) fn raise_ttl(stream: &TcpStream, peer: IpAddr) -> io::Result<()> {
    let socket = SockRef::from(stream);
    match peer {
        IpAddr::V4(_) => socket.set_ttl_v4(TTL_GTSM),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(TTL_GTSM),
    }
}

/// Has a standing connection send, and insist on, the TTL that is configured now.
///
/// # Errors
/// Whatever the kernel says.
pub(crate) fn change_ttl(stream: &TcpStream, config: &PeerConfig) -> io::Result<()> {
    set_ttl(&SockRef::from(stream), config)?;
    match config.ttl_security {
        Some(_) => Ok(()),
        None => tcp_md5::set_min_ttl(stream, config.address, 0),
    }
}

fn prepare(socket: SockRef<'_>, config: &PeerConfig) -> io::Result<()> {
    set_ttl(&socket, config)?;
    match config.address {
        IpAddr::V4(_) => socket.set_tos_v4(TOS_CS6)?,
        IpAddr::V6(_) => socket.set_tclass_v6(TOS_CS6)?,
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

fn set_ttl(socket: &Socket, config: &PeerConfig) -> io::Result<()> {
    let ttl = if config.ttl_security.is_some() {
        TTL_GTSM
    } else {
        TTL_MULTIHOP
    };
    match config.address {
        IpAddr::V4(_) => socket.set_ttl_v4(ttl)?,
        IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl)?,
    }
    match config.ttl_security {
        Some(hops) => tcp_md5::set_min_ttl(socket, config.address, min_ttl(hops)),
        None => Ok(()),
    }
}

fn target(config: &PeerConfig, port: u16) -> io::Result<SocketAddr> {
    scoped(config.address, config.interface.as_deref(), port)
}

/// Link-local addresses mean something only together with their interface.
pub(crate) fn scoped(address: IpAddr, interface: Option<&str>, port: u16) -> io::Result<SocketAddr> {
    match (address, interface) {
        (IpAddr::V6(address), Some(interface)) if address.is_unicast_link_local() => {
            let scope = interface_index(interface)?;
            Ok(SocketAddrV6::new(address, port, 0, scope).into())
        }
        (address, _) => Ok(SocketAddr::new(address, port)),
    }
}

/// The index by which the kernel knows an interface now.
///
/// # Errors
/// There is no such interface.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    let path = format!("/sys/class/net/{name}/ifindex");
    let text = std::fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("interface {name}: {error}")))?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("interface {name}: no index")))
}
