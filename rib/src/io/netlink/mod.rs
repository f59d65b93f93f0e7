//! The kernel's side of the FIB: two threads, one that writes, one that listens.
//!
//! ```text
//! RIB task ─ Request ─► writer ─ route changes, 256 to a datagram ─► kernel
//!    ▲                     └── a marker for each answer, requests for dumps ─┐
//!    │                                           on the monitor's socket    ▼
//!    └──── Report ───── monitor: notifications, answers, dumps: in the kernel's order
//! ```
//!
//! Threads and not tasks, since a batch of five hundred routes keeps the kernel busy for a millisecond, in which
//! keepalives should go out. Both ends are bounded; a listener that is not heard overruns in the kernel, which is
//! noticed and mended by a dump. The monitor's socket drops notifications of the writer's changes in the kernel.

mod answers;
mod decode;
mod dump;
mod encode;
mod monitor;
mod reading;
mod socket;
mod writer;

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;

pub(crate) use reading::read_table;

use crate::fib::{FibOp, FibRefusal, FibWork, KernelEvent, ObjectOp};
use crate::io::netlink::dump::DumpStarter;
use crate::io::netlink::monitor::Monitor;
use crate::io::netlink::socket::Endpoint;
use crate::io::netlink::writer::Writer;

/// RT_TABLE_MAIN.
pub const MAIN: u32 = 254;
/// Requests that may wait. The FIB has at most two batches and one dump under way, so sending never blocks.
const REQUESTS: usize = 4;
/// Reports that may wait: few, since each holds hundreds of events.
const REPORTS: usize = 16;

/// What the RIB asks of the kernel.
#[derive(Debug)]
pub enum Request {
    /// Show everything.
    Dump,
    /// Write these, in order.
    Apply(Vec<FibOp>),
    /// Write these nexthop objects, in order.
    ApplyObjects(Vec<ObjectOp>),
}

impl From<FibWork> for Request {
    fn from(work: FibWork) -> Self {
        match work {
            FibWork::Routes(ops) => Request::Apply(ops),
            FibWork::Objects(ops) => Request::ApplyObjects(ops),
        }
    }
}

/// What the kernel's side reports.
#[derive(Debug)]
pub enum Report {
    /// Things that are, or changed.
    Events(Vec<KernelEvent>),
    /// The oldest batch was carried out but for these, in the order of its operations. What the kernel said before
    /// it answered has been reported; what is reported from now on happened afterwards.
    Applied(Vec<FibRefusal>),
}

/// Why the kernel's tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A socket or thread could not be made.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The process may read routes but not write them.
    #[error("no permission to change routes: needs CAP_NET_ADMIN in its network namespace")]
    Permission,
}

/// Starts both threads, in the network namespace of the caller. `table` is the one to write to; of others, only the
/// main one is listened to.
/// Nothing is reported before the first [`Request::Dump`] but changes.
///
/// # Errors
/// When the sockets cannot be opened or routes may not be written.
pub fn spawn(table: u32) -> Result<(mpsc::Sender<Request>, mpsc::Receiver<Report>), NetlinkError> {
    let (request, requests) = mpsc::channel(REQUESTS);
    let (report, reports) = mpsc::channel(REPORTS);
    let writer = Endpoint::open().map_err(NetlinkError::Socket)?;
    writer.check_permission()?;
    let monitor = Endpoint::open().map_err(NetlinkError::Socket)?;
    monitor.ignore_port(writer.port).map_err(NetlinkError::Socket)?;
    let dumps = Arc::new(DumpStarter::new(monitor, table));
    // Listening starts before the first dump, so nothing falls between the two.
    monitor::subscribe(&dumps).map_err(NetlinkError::Socket)?;
    let (answering, answered) = answers::channel();
    let heard = Arc::clone(&dumps);
    let monitor = Monitor::new(heard, table, answered, report);
    start("netlink-monitor", move || monitor.listen())?;
    let writer = Writer::new(writer, table);
    start("netlink-writer", move || writer.run(requests, &dumps, answering))?;
    Ok((request, reports))
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), NetlinkError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(NetlinkError::Socket)
}
