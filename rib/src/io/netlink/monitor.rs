//! The thread that listens: notifications and dumps, in the order in which the kernel tells them.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::fib::KernelEvent;
use crate::io::netlink::dump::{DumpReader, DumpStarter};
use crate::io::netlink::{Report, decode};

/// Multicast groups: links, addresses and routes of IPv4, of IPv6 (linux/rtnetlink.h, RTNLGRP_*).
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// Octets read at a time; a dump's parts are at most 32 KiB.
const READ_LEN: usize = 64 << 10;
/// Events handed on together.
const BURST: usize = 512;

/// Joins the groups. What happens from here on is not missed.
pub(super) fn subscribe(dumps: &DumpStarter) -> io::Result<()> {
    GROUPS
        .iter()
        .try_for_each(|&group| dumps.endpoint.socket.add_membership(group))
}

/// Hands on what happens until nobody listens.
pub(super) fn listen(dumps: &Arc<DumpStarter>, table: u32, to_rib: &mpsc::Sender<Report>) {
    let mut reader = DumpReader::new(Arc::clone(dumps));
    let mut buffer = Vec::with_capacity(READ_LEN);
    let mut events = Vec::new();
    loop {
        let wait = if events.is_empty() { 0 } else { libc::MSG_DONTWAIT };
        buffer.clear();
        let result = dumps.endpoint.socket.recv(&mut buffer, wait);
        let is_drained = match result {
            Ok(_) => match take_in(&buffer, table, &mut reader, &mut events) {
                Ok(()) => false,
                Err(error) => {
                    error!(%error, "the kernel's routes cannot be asked for any more");
                    return;
                }
            },
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => true,
                Some(libc::EINTR) => continue,
                Some(libc::ENOBUFS) => {
                    warn!("the kernel's notifications overran; dumping the tables");
                    events.push(KernelEvent::Overrun);
                    false
                }
                _ => {
                    error!(%error, "the kernel's notifications cannot be read any more");
                    return;
                }
            },
        };
        if (is_drained || events.len() >= BURST)
            && to_rib
                .blocking_send(Report::Events(std::mem::take(&mut events)))
                .is_err()
        {
            return;
        }
    }
}

fn take_in(
    bytes: &[u8],
    table: u32,
    reader: &mut DumpReader,
    events: &mut Vec<KernelEvent>,
) -> io::Result<()> {
    for message in decode::messages(bytes) {
        reader.follow(&message, events)?;
        events.extend(message.event(table));
    }
    Ok(())
}
