//! Who may speak on a socket: TCP MD5 signatures (RFC 2385), by peer address, and the TTL of packets (RFC 5082).
//!
//! No library offers these options, so this file talks to the kernel itself: the only `unsafe` of the project.
#![expect(
    unsafe_code,
    reason = "TCP_MD5SIG, IP_MINTTL and TCP_SAVED_SYN have no safe wrapper"
)]

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::SockAddr;

use crate::session::config::Secret;

const KEY_MAX: usize = Secret::LEN_MAX;

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
    match set_option(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &option) {
        // Removing a key that is not there is what the caller wants.
        Err(error) if key.is_none() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
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
    set_option(socket, level, name, &libc::c_int::from(min_ttl))
}

/// Has connections that a listening socket takes remember how they began, for [`syn_ttl`].
pub(crate) fn save_syn(socket: &impl AsRawFd) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, &(1 as libc::c_int))
}

/// TTL or hop limit of the packet by which a peer opened a connection; `None` when the kernel did not keep it (SYN
/// cookies) or has told it before.
pub(crate) fn syn_ttl(socket: &impl AsRawFd, peer: IpAddr) -> io::Result<Option<u8>> {
    let mut headers = [0u8; 256];
    let mut len = headers.len() as libc::socklen_t;
    // SAFETY: the descriptor is open while `socket` is borrowed; `len` is the length of `headers`, and the kernel
    // writes no more than it says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            headers.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let at = match peer {
        // RFC 791 §3.1, RFC 8200 §3.
        IpAddr::V4(_) => 8,
        IpAddr::V6(_) => 7,
    };
    Ok(headers[..(len as usize).min(headers.len())].get(at).copied())
}

fn set_option<T>(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the descriptor is open while `socket` is borrowed; pointer and length describe `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
