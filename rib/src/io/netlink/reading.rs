//! One table read once, on a socket and a thread of its own.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;
use tracing::warn;

use crate::fib::KernelEvent;
use crate::io::netlink::decode;
use crate::io::netlink::dump::{DumpReader, DumpStarter};
use crate::io::netlink::socket::Endpoint;

/// Octets read at a time; a dump's parts are at most 32 KiB.
const READ_LEN: usize = 64 << 10;
/// Parts that may wait: each has hundreds of routes.
const PARTS: usize = 4;

/// Reads our table; the channel ends after its last part. Routes only: links and addresses are not asked for.
pub(crate) fn read_table(table: u32) -> io::Result<mpsc::Receiver<Vec<KernelEvent>>> {
    let starter = Arc::new(DumpStarter::of_routes(Endpoint::open()?, table));
    let (sender, parts) = mpsc::channel(PARTS);
    starter.start()?;
    thread::Builder::new()
        .name("netlink-audit".to_owned())
        .spawn(move || {
            if let Err(error) = read(&starter, table, &sender) {
                warn!(%error, "a comparison with the kernel's table was cut short");
            }
        })?;
    Ok(parts)
}

fn read(starter: &Arc<DumpStarter>, table: u32, to: &mpsc::Sender<Vec<KernelEvent>>) -> io::Result<()> {
    let mut reader = DumpReader::new(Arc::clone(starter));
    let mut buffer = Vec::with_capacity(READ_LEN);
    loop {
        buffer.clear();
        starter.endpoint.socket.recv(&mut buffer, 0)?;
        let mut events = Vec::new();
        for message in decode::messages(&buffer) {
            reader.follow(&message, &mut events)?;
            events.extend(message.event(table));
        }
        let is_done = events.contains(&KernelEvent::DumpEnd);
        if to.blocking_send(events).is_err() || is_done {
            return Ok(());
        }
    }
}
