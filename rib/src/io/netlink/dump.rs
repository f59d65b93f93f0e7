//! Dumps of links, addresses and routes, asked for by the writer and read by the monitor.
//!
//! Answers come on the socket that also carries notifications, so the kernel itself puts parts of the dump and changes
//! in order: what is read later is newer. With two sockets, a change could overtake an older part that contradicts it.

use std::io;
use std::sync::Arc;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use tracing::{debug, warn};

use crate::fib::KernelEvent;
use crate::io::netlink::MAIN;
use crate::io::netlink::decode::Message;
use crate::io::netlink::socket::Endpoint;

/// Dumps that the kernel interrupted before one is taken as it is. What changed meanwhile is notified as well.
const TRIES: u32 = 5;

/// A part of a dump.
#[derive(Clone, Copy)]
enum Stage {
    Links,
    Addresses,
    /// Nexthop objects.
    Objects,
    /// Routes of one family in one table.
    Routes(AddressFamily, u32),
}

/// The parts in order: links first, since all others name them, and objects before the routes through them. The number is the request's sequence.
fn stages(table: u32) -> Vec<Stage> {
    let mut tables = vec![MAIN];
    if table != MAIN {
        tables.push(table);
    }
    let routes = tables.into_iter().flat_map(routes);
    [Stage::Links, Stage::Addresses, Stage::Objects]
        .into_iter()
        .chain(routes)
        .collect()
}

fn routes(table: u32) -> [Stage; 2] {
    [AddressFamily::Inet, AddressFamily::Inet6].map(|family| Stage::Routes(family, table))
}

/// Asks for dumps on the monitor's socket.
pub(super) struct DumpStarter {
    pub(super) endpoint: Endpoint,
    stages: Vec<Stage>,
}

impl DumpStarter {
    pub(super) fn new(endpoint: Endpoint, table: u32) -> Self {
        DumpStarter {
            endpoint,
            stages: stages(table),
        }
    }

    /// For the routes of one table alone.
    pub(super) fn of_routes(endpoint: Endpoint, table: u32) -> Self {
        DumpStarter {
            endpoint,
            stages: routes(table).into(),
        }
    }

    /// Asks for the first part; [`DumpReader`] asks for the others.
    pub(super) fn start(&self) -> io::Result<()> {
        self.request(0)
    }

    fn request(&self, stage: usize) -> io::Result<()> {
        let Some(of) = self.stages.get(stage) else {
            return Ok(());
        };
        let inner = match of {
            Stage::Links => {
                let mut links = LinkMessage::default();
                let without_counters = vec![LinkExtentMask::SkipStats];
                links.attributes.push(LinkAttribute::ExtMask(without_counters));
                RouteNetlinkMessage::GetLink(links)
            }
            Stage::Addresses => RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            Stage::Objects => return self.endpoint.send(&objects_request(sequence_of(stage))),
            Stage::Routes(family, table) => {
                let mut routes = RouteMessage::default();
                routes.header.address_family = *family;
                match u8::try_from(*table) {
                    Ok(table) => routes.header.table = table,
                    Err(_) => routes.attributes.push(RouteAttribute::Table(*table)),
                }
                RouteNetlinkMessage::GetRoute(routes)
            }
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = sequence_of(stage);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(inner));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.endpoint.send(&bytes)
    }
}

/// struct nlmsghdr, then struct nhmsg of eight octets: all objects of all families.
fn objects_request(sequence: u32) -> [u8; 24] {
    const RTM_GETNEXTHOP: u16 = 106;
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&24_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&RTM_GETNEXTHOP.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes
}

fn sequence_of(stage: usize) -> u32 {
    stage as u32 + 1
}

/// Follows a dump through its stages.
pub(super) struct DumpReader {
    starter: Arc<DumpStarter>,
    stage: Option<usize>,
    tries: u32,
    is_interrupted: bool,
    wants_another: bool,
}

impl DumpReader {
    pub(super) fn new(starter: Arc<DumpStarter>) -> Self {
        DumpReader {
            starter,
            stage: None,
            tries: 0,
            is_interrupted: false,
            wants_another: false,
        }
    }

    /// Whether a message is the first of a dump.
    pub(super) fn begins(&self, message: &Message<'_>) -> bool {
        self.stage.is_none() && message.sequence == sequence_of(0)
    }

    /// Looks at a message before its event is taken: it may begin or end a dump.
    pub(super) fn follow(&mut self, message: &Message<'_>, events: &mut Vec<KernelEvent>) -> io::Result<()> {
        let is_answer = message.port == self.starter.endpoint.port && message.sequence != 0;
        if !is_answer {
            return Ok(());
        }
        let errno = message.error().unwrap_or(0);
        if errno == libc::EBUSY {
            debug!("a dump is under way already; another one follows");
            self.wants_another = true;
            return Ok(());
        }
        let stage = match self.stage {
            Some(stage) => stage,
            None if message.sequence == sequence_of(0) => {
                events.push(KernelEvent::DumpBegin);
                self.stage = Some(0);
                0
            }
            None => return Ok(()),
        };
        if message.sequence != sequence_of(stage) {
            return Ok(());
        }
        self.is_interrupted |= message.is_interrupted();
        match (errno, message.is_done()) {
            // A table of its own does not exist before its first route; old kernels know no objects.
            (libc::ENOENT | libc::EOPNOTSUPP, _) | (0, true) => self.end_stage(stage, events),
            (0, false) => Ok(()),
            (errno, _) => {
                warn!(errno, "a part of the dump failed");
                self.is_interrupted = true;
                self.end_stage(stage, events)
            }
        }
    }

    fn end_stage(&mut self, stage: usize, events: &mut Vec<KernelEvent>) -> io::Result<()> {
        if stage + 1 < self.starter.stages.len() {
            self.stage = Some(stage + 1);
            return self.starter.request(stage + 1);
        }
        self.stage = None;
        if std::mem::take(&mut self.is_interrupted) && self.tries < TRIES {
            self.tries += 1;
            return self.starter.start();
        }
        self.tries = 0;
        events.push(KernelEvent::DumpEnd);
        if std::mem::take(&mut self.wants_another) {
            return self.starter.start();
        }
        Ok(())
    }
}
