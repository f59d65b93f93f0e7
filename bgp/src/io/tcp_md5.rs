//! TCP MD5 signatures (RFC 2385): keys of one socket, by peer address.
//!
//! No library offers the option, so this file talks to the kernel itself: the only `unsafe` of the project.
#![expect(unsafe_code, reason = "setsockopt(TCP_MD5SIG) has no safe wrapper")]

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::SockAddr;

use crate::session::config::Secret;

/// `TCP_MD5SIG_MAXKEYLEN` (linux/tcp.h).
pub(crate) const KEY_MAX: usize = 80;

/// `struct tcp_md5sig` (linux/tcp.h).
#[repr(C)]
struct TcpMd5Sig {
    address: libc::sockaddr_storage,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    if_index: i32,
    key: [u8; KEY_MAX],
}

/// Sets the key for connections with a peer, or removes it with `None`.
///
/// # Errors
/// A key longer than [`KEY_MAX`], or the kernel's refusal (`ENOMEM` when `net.core.optmem_max` is used up).
pub(crate) fn set_key(socket: &impl AsRawFd, peer: IpAddr, key: Option<&Secret>) -> io::Result<()> {
    let bytes = key.map(Secret::expose).unwrap_or_default();
    if bytes.len() > KEY_MAX {
        let reason = format!("TCP MD5 key of {} octets is longer than {KEY_MAX}", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    // SAFETY: all fields of `TcpMd5Sig` are plain integers and arrays of them, for which zero is a valid value.
    let mut option: TcpMd5Sig = unsafe { std::mem::zeroed() };
    let address = SockAddr::from(SocketAddr::new(peer, 0));
    // SAFETY: `address` holds `len` valid octets, no more than a `sockaddr_storage`, and the two do not overlap.
    unsafe {
        let source = address.as_ptr().cast::<u8>();
        let target = std::ptr::from_mut(&mut option.address).cast::<u8>();
        std::ptr::copy_nonoverlapping(source, target, address.len() as usize);
    }
    option.key_len = bytes.len() as u16;
    option.key[..bytes.len()].copy_from_slice(bytes);
    // SAFETY: the descriptor is open while `socket` is borrowed; the pointer and the length describe `option`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG,
            std::ptr::from_ref(&option).cast(),
            size_of::<TcpMd5Sig>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // Removing a key that is not there is what the caller wants.
            error if key.is_none() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            error => Err(error),
        },
    }
}

/// Lets only packets in that came over few hops: `IP_MINTTL`, `IPV6_MINHOPCOUNT` (RFC 5082).
pub(crate) fn set_min_ttl(socket: &impl AsRawFd, peer: IpAddr, min_ttl: u8) -> io::Result<()> {
    /// `IPV6_MINHOPCOUNT` (linux/in6.h), which the libc crate does not name.
    const IPV6_MINHOPCOUNT: libc::c_int = 73;
    let (level, name) = match peer {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MINTTL),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT),
    };
    let value = libc::c_int::from(min_ttl);
    // SAFETY: the descriptor is open while `socket` is borrowed; the pointer and the length describe `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
