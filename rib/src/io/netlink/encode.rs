//! Batches of route changes: many messages in one datagram, one acknowledgement, errors matched by sequence number.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr};

use crate::fib::{FibOp, FibOpKind, FibRefusal, KernelAction, KernelHop};

/// Messages in one datagram. Measured: beyond 64 nothing is gained.
const PER_DATAGRAM: usize = 64;
/// Octets read at a time.
const READ_LEN: usize = 32 << 10;

/// Carries out operations in order; the refused ones come back.
pub(super) fn apply(
    socket: &Socket,
    sequence: &mut u32,
    protocol: u8,
    table: u32,
    ops: &[FibOp],
) -> io::Result<Vec<FibRefusal>> {
    let mut refusals = Vec::new();
    let mut bytes = Vec::new();
    for (chunk_at, chunk) in ops.chunks(PER_DATAGRAM).enumerate() {
        bytes.clear();
        let first = sequence.wrapping_add(1);
        for (at, op) in chunk.iter().enumerate() {
            *sequence = sequence.wrapping_add(1);
            let is_last = at + 1 == chunk.len();
            append(
                &mut bytes,
                *sequence,
                is_last,
                route_message(op, protocol, table),
                op.kind,
            );
        }
        socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        let base = chunk_at * PER_DATAGRAM;
        collect(socket, first, *sequence, base, &mut refusals)?;
    }
    Ok(refusals)
}

fn append(bytes: &mut Vec<u8>, sequence: u32, wants_ack: bool, route: RouteMessage, kind: FibOpKind) {
    let mut header = NetlinkHeader::default();
    let ack = if wants_ack { NLM_F_ACK } else { 0 };
    header.sequence_number = sequence;
    let inner = match kind {
        FibOpKind::Create => {
            header.flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | ack;
            RouteNetlinkMessage::NewRoute(route)
        }
        FibOpKind::Replace => {
            header.flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE | ack;
            RouteNetlinkMessage::NewRoute(route)
        }
        FibOpKind::Delete => {
            header.flags = NLM_F_REQUEST | ack;
            RouteNetlinkMessage::DelRoute(route)
        }
    };
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(inner));
    message.finalize();
    let start = bytes.len();
    bytes.resize((start + message.buffer_len()).next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..]);
}

/// Reads until the last message is answered. Errors of earlier ones come before, unasked.
fn collect(
    socket: &Socket,
    first: u32,
    last: u32,
    base: usize,
    refusals: &mut Vec<FibRefusal>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_LEN);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut rest = buffer.as_slice();
        while let Some(len) = rest.first_chunk().map(|&len| u32::from_ne_bytes(len) as usize) {
            let Some(answer) = rest.get(..len).filter(|answer| answer.len() >= 20) else {
                break;
            };
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            // struct nlmsghdr { len, type, flags, seq, pid }, struct nlmsgerr { error, … }
            let word = |at: usize| {
                answer
                    .get(at..at + 4)
                    .and_then(|w| w.first_chunk())
                    .map(|&w| u32::from_ne_bytes(w))
            };
            let (Some(sequence), Some(error)) = (word(8), word(16)) else {
                break;
            };
            let at = sequence.wrapping_sub(first) as usize;
            if at > last.wrapping_sub(first) as usize {
                continue;
            }
            let errno = (error as i32).wrapping_neg();
            if errno != 0 {
                refusals.push(FibRefusal { at: base + at, errno });
            }
            if sequence == last {
                return Ok(());
            }
        }
    }
}

fn route_message(op: &FibOp, protocol: u8, table: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = match op.prefix {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    header.destination_prefix_length = op.prefix.prefix_len();
    header.protocol = RouteProtocol::from(protocol);
    header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    header.scope = RouteScope::Universe;
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(address(op.prefix.addr())));
    if table > u32::from(u8::MAX) {
        attributes.push(RouteAttribute::Table(table));
    }
    if op.route.metric != 0 {
        attributes.push(RouteAttribute::Priority(op.route.metric));
    }
    match &op.route.action {
        KernelAction::Blackhole => header.kind = RouteType::BlackHole,
        KernelAction::Other(kind) => header.kind = RouteType::from(*kind),
        KernelAction::Unicast(hops) => {
            header.kind = RouteType::Unicast;
            match hops.as_slice() {
                [hop] => {
                    if hop.is_onlink {
                        header.flags |= RouteFlags::from_bits_retain(RouteNextHopFlags::Onlink.bits().into());
                    }
                    attributes.extend(gateway(op.prefix, hop));
                    attributes.push(RouteAttribute::Oif(hop.device));
                }
                hops => {
                    let list = hops.iter().map(|hop| multipath_hop(op.prefix, hop)).collect();
                    attributes.push(RouteAttribute::MultiPath(list));
                }
            }
        }
    }
    message
}

fn multipath_hop(prefix: IpNet, hop: &KernelHop) -> RouteNextHop {
    let mut next_hop = RouteNextHop::default();
    next_hop.interface_index = hop.device;
    // The kernel counts from zero.
    next_hop.hops = hop.weight.saturating_sub(1);
    if hop.is_onlink {
        next_hop.flags = RouteNextHopFlags::Onlink;
    }
    next_hop.attributes = gateway(prefix, hop).into_iter().collect();
    next_hop
}

/// RTA_VIA where the gateway is of the other family (RFC 8950), RTA_GATEWAY otherwise.
fn gateway(prefix: IpNet, hop: &KernelHop) -> Option<RouteAttribute> {
    match (prefix, hop.gateway?) {
        (IpNet::V4(_), IpAddr::V6(via)) => Some(RouteAttribute::Via(RouteVia::Inet6(via))),
        (_, gateway) => Some(RouteAttribute::Gateway(address(gateway))),
    }
}

fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}
