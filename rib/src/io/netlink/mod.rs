//! The kernel's side of the FIB: two threads, one that writes and dumps, one that listens.
//!
//! Threads and not tasks, since a batch of five hundred routes keeps the kernel busy for a millisecond, in which
//! keepalives should go out. Both ends are bounded; a listener that is not heard overruns in the kernel, which is
//! noticed and mended by a dump.

mod decode;
mod encode;

use std::io;
use std::thread;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use crate::fib::{FibOp, FibRefusal, KernelEvent};

/// Multicast groups: links, addresses and routes of both families (linux/rtnetlink.h).
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// Receive buffer of the listener, in octets; the kernel takes less without CAP_NET_ADMIN.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Octets read at a time; a dump's parts are at most 32 KiB.
const READ_LEN: usize = 64 << 10;
/// ENOBUFS: notifications were lost.
const ENOBUFS: i32 = 105;

/// What the RIB asks of the kernel.
#[derive(Debug)]
pub enum Request {
    /// Show everything.
    Dump,
    /// Write these, in order.
    Apply(Vec<FibOp>),
}

/// What the kernel's side reports.
#[derive(Debug)]
pub enum Report {
    /// Things that are, or changed.
    Events(Vec<KernelEvent>),
    /// The oldest batch was carried out but for these.
    Applied(Vec<FibRefusal>),
}

/// Why the kernel's tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A socket could not be opened or bound.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[source] io::Error),
}

/// Starts both threads. `protocol` and `table` say which routes are ours.
///
/// # Errors
/// When the sockets cannot be opened.
pub fn spawn(
    protocol: u8,
    table: u32,
) -> Result<(mpsc::Sender<Request>, mpsc::Receiver<Report>), NetlinkError> {
    let (request, requests) = mpsc::channel(4);
    let (report, reports) = mpsc::channel(64);
    let (writer, own_port) = open().map_err(NetlinkError::Socket)?;
    let (monitor, _) = open().map_err(NetlinkError::Socket)?;
    // Listening starts before the first dump, so nothing falls between the two.
    for group in GROUPS {
        monitor.add_membership(group).map_err(NetlinkError::Socket)?;
    }
    if let Err(error) = monitor.set_rx_buf_sz(RECEIVE_BUFFER as i32) {
        debug!(%error, "the kernel keeps its own receive buffer size");
    }
    let to_rib = report.clone();
    thread::Builder::new()
        .name("netlink-monitor".into())
        .spawn(move || listen(&monitor, own_port, table, &to_rib))
        .map_err(NetlinkError::Socket)?;
    thread::Builder::new()
        .name("netlink-writer".into())
        .spawn(move || serve(&writer, protocol, table, requests, &report))
        .map_err(NetlinkError::Socket)?;
    Ok((request, reports))
}

fn open() -> io::Result<(Socket, u32)> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    let address = socket.bind_auto()?;
    Ok((socket, address.port_number()))
}

/// Hands on what happens in the kernel, but for what our own writer did.
fn listen(socket: &Socket, own_port: u32, table: u32, to_rib: &mpsc::Sender<Report>) {
    let mut buffer = Vec::with_capacity(READ_LEN);
    loop {
        buffer.clear();
        let events = match socket.recv(&mut buffer, 0) {
            Ok(_) => decode::events(&buffer, Some(own_port), table),
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                warn!("the kernel's notifications overran; dumping the tables");
                vec![KernelEvent::Overrun]
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                error!(%error, "the kernel's notifications cannot be read any more");
                return;
            }
        };
        if !events.is_empty() && to_rib.blocking_send(Report::Events(events)).is_err() {
            return;
        }
    }
}

fn serve(
    socket: &Socket,
    protocol: u8,
    table: u32,
    mut requests: mpsc::Receiver<Request>,
    to_rib: &mpsc::Sender<Report>,
) {
    let mut sequence = 0;
    while let Some(request) = requests.blocking_recv() {
        let report = match request {
            Request::Dump => dump(socket, &mut sequence, table).map(Report::Events),
            Request::Apply(ops) => {
                encode::apply(socket, &mut sequence, protocol, table, &ops).map(Report::Applied)
            }
        };
        let is_gone = match report {
            Ok(report) => to_rib.blocking_send(report).is_err(),
            Err(error) => {
                error!(%error, "netlink request failed");
                to_rib
                    .blocking_send(Report::Events(vec![KernelEvent::Overrun]))
                    .is_err()
            }
        };
        if is_gone {
            return;
        }
    }
}

/// Links first: routes name them.
fn dump(socket: &Socket, sequence: &mut u32, table: u32) -> io::Result<Vec<KernelEvent>> {
    let mut events = vec![KernelEvent::DumpBegin];
    dump_into(
        socket,
        sequence,
        table,
        RouteNetlinkMessage::GetLink(LinkMessage::default()),
        &mut events,
    )?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut routes = RouteMessage::default();
        routes.header.address_family = family;
        dump_into(
            socket,
            sequence,
            table,
            RouteNetlinkMessage::GetRoute(routes),
            &mut events,
        )?;
    }
    events.push(KernelEvent::DumpEnd);
    Ok(events)
}

fn dump_into(
    socket: &Socket,
    sequence: &mut u32,
    table: u32,
    request: RouteNetlinkMessage,
    events: &mut Vec<KernelEvent>,
) -> io::Result<()> {
    *sequence = sequence.wrapping_add(1);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = *sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let mut buffer = Vec::with_capacity(READ_LEN);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let (mut found, is_done) = decode::dump_part(&buffer, *sequence, table)?;
        events.append(&mut found);
        if is_done {
            return Ok(());
        }
    }
}

/// Nothing of an address but that it moved concerns the FIB.
pub(crate) fn is_address(message: &AddressMessage) -> bool {
    matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6)
}
