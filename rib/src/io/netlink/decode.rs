//! Netlink messages to [`KernelEvent`]s.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use smallvec::SmallVec;
use tracing::debug;

use crate::fib::{KernelAction, KernelEvent, KernelHop, KernelRoute};
use crate::io::netlink::is_address;

/// Events of one datagram of notifications; those that our own writer's port caused are left out.
pub(super) fn events(bytes: &[u8], own_port: Option<u32>, table: u32) -> Vec<KernelEvent> {
    let mut events = Vec::new();
    for message in messages(bytes) {
        if Some(message.header.port_number) != own_port
            && let NetlinkPayload::InnerMessage(inner) = message.payload
        {
            events.extend(event(inner, table));
        }
    }
    events
}

/// One part of a dump's answer, and whether it was the last.
pub(super) fn dump_part(bytes: &[u8], sequence: u32, table: u32) -> io::Result<(Vec<KernelEvent>, bool)> {
    let mut events = Vec::new();
    for message in messages(bytes).filter(|message| message.header.sequence_number == sequence) {
        match message.payload {
            NetlinkPayload::Done(_) => return Ok((events, true)),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            NetlinkPayload::InnerMessage(inner) => events.extend(event(inner, table)),
            _ => {}
        }
    }
    Ok((events, false))
}

fn messages(bytes: &[u8]) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        loop {
            let len = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
            let message = rest.get(..len).filter(|message| message.len() >= 16)?;
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            match NetlinkMessage::deserialize(message) {
                Ok(message) => return Some(message),
                // An attribute of a newer kernel: that object is not understood, others are.
                Err(error) => debug!(%error, "a netlink message cannot be read"),
            }
        }
    })
}

fn event(message: RouteNetlinkMessage, table: u32) -> Option<KernelEvent> {
    match message {
        RouteNetlinkMessage::NewLink(link) => Some(link_event(link)),
        RouteNetlinkMessage::DelLink(link) => Some(KernelEvent::LinkGone {
            index: link.header.index,
        }),
        RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
            is_address(&address).then_some(KernelEvent::AddressChanged)
        }
        RouteNetlinkMessage::NewRoute(route) => {
            let (prefix, protocol, route) = read_route(route, table)?;
            Some(KernelEvent::Route {
                prefix,
                protocol,
                route,
            })
        }
        RouteNetlinkMessage::DelRoute(route) => {
            let (prefix, protocol, route) = read_route(route, table)?;
            Some(KernelEvent::RouteGone {
                prefix,
                protocol,
                route,
            })
        }
        _ => None,
    }
}

fn link_event(link: LinkMessage) -> KernelEvent {
    let name = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    });
    KernelEvent::Link {
        index: link.header.index,
        name: name.unwrap_or_default(),
        is_up: link.header.flags.contains(LinkFlags::Up),
    }
}

/// `None` for routes that do not concern the FIB: other tables, cached clones, TOS routes, multicast.
fn read_route(message: RouteMessage, table: u32) -> Option<(IpNet, u8, KernelRoute)> {
    let header = message.header;
    let (any, max_len): (IpAddr, u8) = match header.address_family {
        AddressFamily::Inet => (IpAddr::from([0u8; 4]), 32),
        AddressFamily::Inet6 => (IpAddr::from([0u8; 16]), 128),
        _ => return None,
    };
    if header.tos != 0
        || header.flags.contains(RouteFlags::Cloned)
        || header.destination_prefix_length > max_len
    {
        return None;
    }
    let mut address = any;
    let mut metric = 0;
    let mut in_table = u32::from(header.table);
    let mut single = KernelHop {
        gateway: None,
        device: 0,
        is_onlink: is_onlink(header.flags),
        weight: 1,
    };
    let mut hops: SmallVec<[KernelHop; 1]> = SmallVec::new();
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(destination) => address = ip(destination)?,
            RouteAttribute::Priority(priority) => metric = priority,
            RouteAttribute::Table(number) => in_table = number,
            RouteAttribute::Oif(index) => single.device = index,
            RouteAttribute::Gateway(gateway) => single.gateway = ip(gateway),
            RouteAttribute::Via(via) => single.gateway = via_ip(via),
            RouteAttribute::MultiPath(list) => {
                for hop in list {
                    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                        RouteAttribute::Gateway(gateway) => ip(gateway.clone()),
                        RouteAttribute::Via(via) => via_ip(via.clone()),
                        _ => None,
                    });
                    hops.push(KernelHop {
                        gateway,
                        device: hop.interface_index,
                        is_onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
                        weight: hop.hops.saturating_add(1),
                    });
                }
            }
            _ => {}
        }
    }
    if in_table != table {
        return None;
    }
    let action = match header.kind {
        RouteType::Unicast => {
            if hops.is_empty() {
                hops.push(single);
            }
            hops.sort_unstable();
            KernelAction::Unicast(hops)
        }
        RouteType::BlackHole => KernelAction::Blackhole,
        RouteType::Multicast => return None,
        other => KernelAction::Other(other.into()),
    };
    let prefix = IpNet::new(address, header.destination_prefix_length)
        .ok()?
        .trunc();
    Some((prefix, header.protocol.into(), KernelRoute { action, metric }))
}

fn is_onlink(flags: RouteFlags) -> bool {
    // The header carries the single next hop's RTNH_F_ flags in its lowest octet.
    flags.bits() & u32::from(RouteNextHopFlags::Onlink.bits()) != 0
}

fn ip(address: RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(address.into()),
        RouteAddress::Inet6(address) => Some(address.into()),
        _ => None,
    }
}

fn via_ip(via: RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(address) => Some(address.into()),
        RouteVia::Inet6(address) => Some(address.into()),
        _ => None,
    }
}
