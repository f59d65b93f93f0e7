//! Netlink sockets with the options that the FIB needs.
//!
//! The only `unsafe` of this crate: two socket options that no crate in use offers.

#![expect(
    unsafe_code,
    reason = "SO_RCVBUFFORCE and SO_ATTACH_FILTER have no safe wrapper in netlink-sys"
)]

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::io::netlink::NetlinkError;
use crate::io::netlink::decode;

/// Receive buffer, in octets. The kernel's usual limit of 208 KiB holds 256 notifications.
const RECEIVE_BUFFER: libc::c_int = 8 << 20;
/// Offset of nlmsg_pid in a message.
const PORT_OFFSET: u32 = 12;

/// A socket and the port that the kernel knows it by.
pub(super) struct Endpoint {
    pub(super) socket: Socket,
    pub(super) port: u32,
}

impl Endpoint {
    /// Opens a socket: strict dumps, short error messages, a receive buffer that holds a burst.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        // Without CAP_NET_ADMIN in the initial user namespace the usual limit holds; overruns are mended by dumps.
        if set_option(&socket, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER).is_err() {
            set_option(&socket, libc::SO_RCVBUF, &RECEIVE_BUFFER)?;
        }
        Ok(Endpoint { socket, port })
    }

    /// Leaves out what another socket of ours caused, in the kernel: two hundred thousand routes that we write
    /// ourselves wake nobody.
    pub(super) fn ignore_port(&self, port: u32) -> io::Result<()> {
        let statement = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        };
        // Filters load in network order, the field is in the host's.
        let port = u32::from_be_bytes(port.to_ne_bytes());
        let mut program = [
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, PORT_OFFSET, 0, 0),
            statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, port, 0, 1),
            statement(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
            statement(libc::BPF_RET | libc::BPF_K, u32::MAX, 0, 0),
        ];
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        set_option(&self.socket, libc::SO_ATTACH_FILTER, &program)
    }

    /// Whether routes may be written. Asks with a request too short to be one: the kernel looks at permission first.
    pub(super) fn check_permission(&self) -> Result<(), NetlinkError> {
        const PROBE: u32 = u32::MAX;
        let mut request = Vec::with_capacity(20);
        request.extend(20_u32.to_ne_bytes());
        request.extend(libc::RTM_DELROUTE.to_ne_bytes());
        request.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
        request.extend(PROBE.to_ne_bytes());
        request.extend(0_u32.to_ne_bytes());
        request.extend([libc::AF_INET as u8, 0, 0, 0]);
        self.send(&request).map_err(NetlinkError::Socket)?;
        let mut buffer = Vec::with_capacity(4096);
        self.socket.recv(&mut buffer, 0).map_err(NetlinkError::Socket)?;
        let is_refused = decode::messages(&buffer)
            .filter_map(|message| message.error())
            .any(|errno| errno == libc::EPERM);
        if is_refused {
            return Err(NetlinkError::Permission);
        }
        Ok(())
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0).map(drop)
    }
}

fn set_option<T>(socket: &Socket, name: libc::c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `socket` is borrowed; `value` is valid for reads of `len` octets, and
    // what it may point at (the filter program of `ignore_port`) outlives the call, in which the kernel copies it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_ref(value).cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
