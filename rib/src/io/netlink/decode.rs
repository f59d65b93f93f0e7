//! Netlink messages to [`KernelEvent`]s.
//!
//! Routes are read in place: a restart reads a whole table, and building `netlink-packet-route`'s messages for it
//! costs six times as much. Nothing here trusts a length: what does not fit is left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::NlasIterator;
use netlink_packet_route::link::LinkFlags;
use smallvec::SmallVec;

use crate::fib::{Arrival, KernelAction, KernelEvent, KernelHop, KernelRoute, ObjectContent, Table};
use crate::io::netlink::MAIN;

/// Length of struct nlmsghdr.
const HEADER_LEN: usize = 16;
/// Length of struct rtmsg.
const ROUTE_HEADER_LEN: usize = 12;
/// Length of struct ifinfomsg.
const LINK_HEADER_LEN: usize = 16;
/// Length of struct ifaddrmsg.
const ADDRESS_HEADER_LEN: usize = 8;
/// Length of struct nhmsg.
const OBJECT_HEADER_LEN: usize = 8;
/// Nexthop objects and their attributes (linux/nexthop.h); an object's number in a route.
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
/// Length of struct nexthop_grp.
const MEMBER_LEN: usize = 8;
const RTA_NH_ID: u16 = 30;
/// Length of struct rtnexthop.
const NEXT_HOP_LEN: usize = 8;
/// NLMSG_DONE and NLMSG_ERROR.
const DONE: u16 = 3;
const ERROR: u16 = 2;
/// NLM_F_REPLACE and its neighbours of a notification, NLM_F_MULTI and NLM_F_DUMP_INTR of a dump's part.
const REPLACE: u16 = 0x100;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const MULTI: u16 = 2;
const DUMP_INTERRUPTED: u16 = 0x10;
/// RTM_F_CLONED: a cached copy of another route.
const CLONED: u32 = 0x200;
/// RTNH_F_ONLINK.
const ONLINK: u8 = 4;
/// RTA_VIA: a gateway of another family.
const RTA_VIA: u16 = 18;
/// The preference of a router (RFC 4191); 0, medium, is what the kernel says of all others.
const RTA_PREF: u16 = 20;
/// RTA_ENCAP: a header to be put before the packet.
const RTA_ENCAP: u16 = 22;

/// One message of a datagram.
pub(super) struct Message<'a> {
    kind: u16,
    flags: u16,
    pub(super) sequence: u32,
    pub(super) port: u32,
    body: &'a [u8],
}

/// Splits a datagram. Stops at a message that is longer than what is left.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::try_from(word(rest, 0)?).ok()?;
        let message = rest.get(..len)?;
        let body = message.get(HEADER_LEN..)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: half(message, 4)?,
            flags: half(message, 6)?,
            sequence: word(message, 8)?,
            port: word(message, 12)?,
            body,
        })
    })
}

impl Message<'_> {
    /// The last message of a dump.
    pub(super) fn is_done(&self) -> bool {
        self.kind == DONE
    }

    /// The table changed while it was dumped.
    pub(super) fn is_interrupted(&self) -> bool {
        self.flags & DUMP_INTERRUPTED != 0
    }

    /// The errno of an answer; zero: success. `None`: it is not an answer.
    pub(super) fn error(&self) -> Option<i32> {
        // A dump that fails half-way says so in its last message.
        if self.kind != ERROR && self.kind != DONE {
            return None;
        }
        word(self.body, 0).map(|error| (error as i32).wrapping_neg())
    }

    /// IPv4 says EXCL of a route that has its prefix and metric to itself, and APPEND of one that follows others.
    fn arrival(&self, prefix: IpNet) -> Arrival {
        match self.flags {
            flags if flags & MULTI != 0 => Arrival::Shown,
            flags if flags & REPLACE != 0 => Arrival::Replacement,
            flags if prefix.addr().is_ipv4() && flags & (EXCL | CREATE | APPEND) == CREATE => {
                Arrival::AddedFirst
            }
            _ => Arrival::Added,
        }
    }

    /// What the message means for the FIB, if anything. `ours`: the table that we write to.
    pub(super) fn event(&self, ours: u32) -> Option<KernelEvent> {
        match self.kind {
            libc::RTM_NEWROUTE => {
                let (table, prefix, protocol, route) = route(self.body, ours)?;
                Some(KernelEvent::Route {
                    table,
                    prefix,
                    protocol,
                    route,
                    how: self.arrival(prefix),
                })
            }
            libc::RTM_DELROUTE => {
                let (table, prefix, protocol, route) = route(self.body, ours)?;
                Some(KernelEvent::RouteGone {
                    table,
                    prefix,
                    protocol,
                    route,
                })
            }
            libc::RTM_NEWLINK => link(self.body),
            libc::RTM_DELLINK => link_index(self.body).map(|index| KernelEvent::LinkGone { index }),
            RTM_NEWNEXTHOP => object(self.body),
            RTM_DELNEXTHOP => object_id(self.body).map(|id| KernelEvent::ObjectGone { id }),
            libc::RTM_NEWADDR => {
                let (device, address, net) = interface_address(self.body)?;
                Some(KernelEvent::Address {
                    device,
                    address,
                    net,
                    is_tentative: is_tentative(self.body),
                })
            }
            libc::RTM_DELADDR => {
                let (device, address, net) = interface_address(self.body)?;
                Some(KernelEvent::AddressGone { device, address, net })
            }
            _ => None,
        }
    }
}

/// The index of a link. `None` for messages of bridges about their ports, which have the same types.
fn link_index(body: &[u8]) -> Option<u32> {
    (body.first() == Some(&(libc::AF_UNSPEC as u8))).then_some(())?;
    word(body, 4)
}

fn link(body: &[u8]) -> Option<KernelEvent> {
    let index = link_index(body)?;
    let flags = LinkFlags::from_bits_retain(word(body, 8)?);
    let name = attributes(body.get(LINK_HEADER_LEN..)?)
        .find(|(kind, _)| *kind == libc::IFLA_IFNAME)
        .and_then(|(_, value)| std::ffi::CStr::from_bytes_until_nul(value).ok())?;
    Some(KernelEvent::Link {
        index,
        name: name.to_string_lossy().into_owned(),
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::LowerUp),
    })
}

/// A nexthop object: a gateway on a device, a group, or what pipit never writes (blackholes, FDB entries, groups with
/// buckets).
fn object(body: &[u8]) -> Option<KernelEvent> {
    let (&protocol, flags) = (body.get(2)?, word(body, 4)?);
    let (mut id, mut device, mut gateway, mut group, mut kind) = (None, None, None, None, 0);
    for (attribute, value) in attributes(body.get(OBJECT_HEADER_LEN..)?) {
        match attribute {
            NHA_ID => id = Some(word(value, 0)?),
            NHA_OIF => device = Some(word(value, 0)?),
            NHA_GATEWAY => gateway = Some(address(value)?),
            NHA_GROUP => group = Some(members(value)?),
            NHA_GROUP_TYPE => kind = half(value, 0)?,
            _ => {}
        }
    }
    let content = match (group, device) {
        (Some(members), _) if kind == 0 => ObjectContent::Group(members),
        (None, Some(device)) => ObjectContent::Hop(KernelHop {
            gateway,
            device,
            is_onlink: flags as u8 & ONLINK != 0,
            weight: 1,
        }),
        _ => ObjectContent::Other,
    };
    Some(KernelEvent::Object {
        id: id?,
        protocol,
        content,
    })
}

fn members(value: &[u8]) -> Option<SmallVec<[(u32, u8); 2]>> {
    value
        .chunks_exact(MEMBER_LEN)
        // The kernel counts weights from zero.
        .map(|member| Some((word(member, 0)?, member.get(4)?.saturating_add(1))))
        .collect()
}

/// The number of a nexthop object.
fn object_id(body: &[u8]) -> Option<u32> {
    let (_, value) = attributes(body.get(OBJECT_HEADER_LEN..)?).find(|(kind, _)| *kind == NHA_ID)?;
    word(value, 0)
}

/// Device, address, and the network on the link.
fn interface_address(body: &[u8]) -> Option<(u32, IpAddr, IpNet)> {
    let &[_family, len, _flags, _scope, ..] = body else {
        return None;
    };
    let device = word(body, 4)?;
    let (mut local, mut peer) = (None, None);
    for (kind, value) in attributes(body.get(ADDRESS_HEADER_LEN..)?) {
        match kind {
            libc::IFA_LOCAL => local = Some(address(value)?),
            libc::IFA_ADDRESS => peer = Some(address(value)?),
            _ => {}
        }
    }
    // Without a peer of its own IPv6 leaves IFA_LOCAL out, and IPv4 says the same address twice.
    let peer = peer.or(local)?;
    let net = IpNet::new(peer, len).ok()?.trunc();
    Some((device, local.unwrap_or(peer), net))
}

/// Whether nothing can be sent from an address: duplicate address detection is under way and not ahead of its end
/// (RFC 4429), or has failed.
fn is_tentative(body: &[u8]) -> bool {
    let wide = attributes(body.get(ADDRESS_HEADER_LEN..).unwrap_or_default())
        .find(|(kind, _)| *kind == libc::IFA_FLAGS)
        .and_then(|(_, value)| word(value, 0));
    let flags = wide.or(body.get(2).map(|&flags| flags.into())).unwrap_or(0);
    let is_set = |flag: u32| flags & flag != 0;
    is_set(libc::IFA_F_DADFAILED) || (is_set(libc::IFA_F_TENTATIVE) && !is_set(libc::IFA_F_OPTIMISTIC))
}

/// `None` for routes that do not concern the FIB: other tables, cached clones, routes for some kinds of service or
/// some sources only.
fn route(body: &[u8], ours: u32) -> Option<(Table, IpNet, u8, KernelRoute)> {
    let &[family, len, source_len, tos, in_table, protocol, scope, kind, ..] = body else {
        return None;
    };
    let flags = word(body, 8)?;
    if source_len != 0 || tos != 0 || flags & CLONED != 0 {
        return None;
    }
    let is_ipv6 = match i32::from(family) {
        libc::AF_INET => false,
        libc::AF_INET6 => true,
        _ => return None,
    };
    let mut parts = Parts {
        in_table: u32::from(in_table),
        ..Parts::default()
    };
    for (kind, value) in attributes(body.get(ROUTE_HEADER_LEN..)?) {
        parts.read(kind, value)?;
    }
    let table = match parts.in_table {
        table if table == ours => Table::Ours,
        MAIN => Table::Main,
        _ => return None,
    };
    let (metric, source, object, has_more) = (parts.metric, parts.source, parts.object, parts.has_more);
    let destination = parts.destination;
    let action = match kind {
        libc::RTN_UNICAST => {
            KernelAction::Unicast(parts.hops(flags, !is_ipv6 && scope < libc::RT_SCOPE_LINK))
        }
        libc::RTN_BLACKHOLE => KernelAction::Blackhole,
        other => KernelAction::Other(other),
    };
    let any = if is_ipv6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let prefix = IpNet::new(destination.unwrap_or(any), len).ok()?;
    let route = KernelRoute {
        action,
        metric,
        source,
        object,
        has_more,
    };
    Some((table, prefix.trunc(), protocol, route))
}

/// What a route's attributes say.
#[derive(Default)]
struct Parts {
    in_table: u32,
    destination: Option<IpAddr>,
    metric: u32,
    source: Option<IpAddr>,
    object: Option<u32>,
    device: u32,
    gateway: Option<IpAddr>,
    multipath: SmallVec<[KernelHop; 1]>,
    has_more: bool,
}

impl Parts {
    fn read(&mut self, kind: u16, value: &[u8]) -> Option<()> {
        match kind {
            libc::RTA_DST => self.destination = Some(address(value)?),
            libc::RTA_TABLE => self.in_table = word(value, 0)?,
            libc::RTA_PRIORITY => self.metric = word(value, 0)?,
            RTA_NH_ID => self.object = Some(word(value, 0)?),
            libc::RTA_PREFSRC => self.source = Some(address(value)?),
            libc::RTA_OIF => self.device = word(value, 0)?,
            libc::RTA_GATEWAY => self.gateway = Some(address(value)?),
            RTA_VIA => self.gateway = Some(via(value)?),
            libc::RTA_MULTIPATH => (self.multipath, self.has_more) = multipath(value, self.has_more)?,
            _ => self.has_more |= is_more(kind, value),
        }
        Some(())
    }

    /// The next hops in the order in which `Shapes` has them. `is_wide`: of an IPv4 route on the link whose scope is
    /// wider than the link the kernel takes no gateway, unless that is said to be on the link.
    fn hops(self, flags: u32, is_wide: bool) -> SmallVec<[KernelHop; 1]> {
        let mut hops = self.multipath;
        if hops.is_empty() {
            hops.push(KernelHop {
                gateway: self.gateway,
                device: self.device,
                // The header carries the single next hop's flags in its lowest octet.
                is_onlink: flags as u8 & ONLINK != 0,
                weight: 1,
            });
        }
        for hop in &mut hops {
            hop.is_onlink |= is_wide && hop.gateway.is_none();
        }
        hops.sort_unstable();
        hops
    }
}

/// Whether an attribute is one that pipit never writes, and says something: the kernel adds some to each IPv6 route.
fn is_more(kind: u16, value: &[u8]) -> bool {
    match kind {
        libc::RTA_METRICS => attributes(value).next().is_some(),
        libc::RTA_FLOW | RTA_ENCAP => true,
        RTA_PREF => value.first().is_some_and(|&preference| preference != 0),
        // struct rta_cacheinfo: users 4, last use 4, expiry 4 …
        libc::RTA_CACHEINFO => word(value, 8).is_some_and(|expiry| expiry != 0),
        _ => false,
    }
}

fn multipath(mut rest: &[u8], mut has_more: bool) -> Option<(SmallVec<[KernelHop; 1]>, bool)> {
    let mut hops = SmallVec::new();
    while let Some(len) = half(rest, 0).map(usize::from) {
        let hop = rest.get(..len)?;
        let mut gateway = None;
        for (kind, value) in attributes(hop.get(NEXT_HOP_LEN..)?) {
            match kind {
                libc::RTA_GATEWAY => gateway = Some(address(value)?),
                RTA_VIA => gateway = Some(via(value)?),
                _ => has_more |= is_more(kind, value),
            }
        }
        hops.push(KernelHop {
            gateway,
            device: word(hop, 4)?,
            is_onlink: hop.get(2)? & ONLINK != 0,
            // The kernel counts from zero.
            weight: hop.get(3)?.saturating_add(1),
        });
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some((hops, has_more))
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, len) = (attribute.kind(), attribute.value_length());
        Some((kind, attribute.into_inner().get(4..4 + len)?))
    })
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => value.first_chunk().map(|&octets: &[u8; 4]| octets.into()),
        16 => value.first_chunk().map(|&octets: &[u8; 16]| octets.into()),
        _ => None,
    }
}

/// struct rtvia: the family in two octets, the address.
fn via(value: &[u8]) -> Option<IpAddr> {
    address(value.get(2..)?)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let octets: &[u8; 2] = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*octets))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let octets: &[u8; 4] = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests;
