//! The thread that listens: notifications and dumps, in the order in which the kernel tells them.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::fib::KernelEvent;
use crate::io::netlink::answers::{Answer, Answered};
use crate::io::netlink::dump::{DumpReader, DumpStarter};
use crate::io::netlink::{Report, decode};

/// Multicast groups: links, addresses and routes of IPv4, of IPv6, nexthop objects (linux/rtnetlink.h, RTNLGRP_*).
const GROUPS: [u32; 6] = [1, 5, 7, 9, 11, 32];
/// Octets read at a time; a dump's parts are at most 32 KiB.
const READ_LEN: usize = 64 << 10;
/// Events handed on together.
const BURST: usize = 512;
/// Events that come in quick succession are handed on together, after so long: each of them would wake the RIB.
const GATHER: Duration = Duration::from_millis(1);
/// A flood is over when nothing was lost for so long.
const CALM: Duration = Duration::from_millis(100);
/// A flood that does not end is dumped all the same.
const LONGEST_FLOOD: Duration = Duration::from_secs(2);

/// Joins the groups. What happens from here on is not missed.
pub(super) fn subscribe(dumps: &DumpStarter) -> io::Result<()> {
    GROUPS
        .iter()
        .try_for_each(|&group| dumps.endpoint.socket.add_membership(group))
}

/// See the module.
pub(super) struct Monitor {
    dumps: Arc<DumpStarter>,
    table: u32,
    reader: DumpReader,
    answered: Answered,
    to_rib: mpsc::Sender<Report>,
    events: Vec<KernelEvent>,
    overrun: Option<Overrun>,
    handed_on: Option<Instant>,
    is_gathering: bool,
}

/// The socket was full, and the kernel dropped what it had to say.
#[derive(Clone, Copy)]
struct Overrun {
    first: Instant,
    last: Instant,
}

/// Why there is nothing more to listen to.
enum End {
    /// Nobody wants to hear.
    Unheard,
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Failed(error)
    }
}

impl Monitor {
    pub(super) fn new(
        dumps: Arc<DumpStarter>,
        table: u32,
        answered: Answered,
        to_rib: mpsc::Sender<Report>,
    ) -> Self {
        Monitor {
            reader: DumpReader::new(Arc::clone(&dumps)),
            dumps,
            table,
            answered,
            to_rib,
            events: Vec::new(),
            overrun: None,
            handed_on: None,
            is_gathering: false,
        }
    }

    /// Hands on what happens until nobody listens.
    pub(super) fn listen(mut self) {
        let mut buffer = Vec::with_capacity(READ_LEN);
        loop {
            match self.step(&mut buffer) {
                Ok(()) => {}
                Err(End::Unheard) => return,
                Err(End::Failed(error)) => {
                    error!(%error, "the kernel's routes cannot be followed any more");
                    return;
                }
            }
        }
    }

    /// Reads one datagram, or finds that there is none.
    fn step(&mut self, buffer: &mut Vec<u8>) -> Result<(), End> {
        let may_wait = self.events.is_empty() && self.overrun.is_none();
        buffer.clear();
        let flags = if may_wait { 0 } else { libc::MSG_DONTWAIT };
        match self.dumps.endpoint.socket.recv(buffer, flags) {
            Ok(_) => self.take_in(buffer)?,
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => return self.drained(),
                Some(libc::EINTR) => {}
                Some(libc::ENOBUFS) => self.note_overrun(),
                _ => return Err(error.into()),
            },
        }
        if self.events.len() >= BURST {
            self.hand_on()?;
        }
        Ok(())
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), End> {
        for message in decode::messages(bytes) {
            if message.port == self.dumps.endpoint.port {
                if let Some(marker) = Answered::marker(&message) {
                    while let Some(answer) = self.answered.up_to(marker) {
                        self.hand_on_answer(answer)?;
                    }
                    continue;
                }
                if self.reader.begins(&message) {
                    // The writer had these before it asked for the dump; their markers are lost.
                    self.hand_on_answers()?;
                }
            }
            self.reader.follow(&message, &mut self.events)?;
            self.events.extend(message.event(self.table));
        }
        Ok(())
    }

    /// What is queued is still good; the kernel adds nothing to it until all of it is read.
    fn note_overrun(&mut self) {
        let now = Instant::now();
        let first = self.overrun.map_or(now, |overrun| overrun.first);
        self.overrun = Some(Overrun { first, last: now });
    }

    /// Nothing is queued. After an overrun the dump waits for the flood to be over, or it would have to be repeated:
    /// what the kernel wants to say during it may be lost again.
    fn drained(&mut self) -> Result<(), End> {
        if let Some(overrun) = self.overrun {
            self.hand_on_answers()?;
            if overrun.last.elapsed() < CALM && overrun.first.elapsed() < LONGEST_FLOOD {
                self.hand_on()?;
                thread::sleep(CALM / 4);
                return Ok(());
            }
            self.overrun = None;
            warn!("the kernel's notifications overran; dumping the tables");
            self.events.push(KernelEvent::Overrun);
        }
        let is_busy = self.handed_on.is_some_and(|at| at.elapsed() < GATHER);
        if is_busy && !std::mem::replace(&mut self.is_gathering, true) {
            thread::sleep(GATHER);
            return Ok(());
        }
        self.hand_on()
    }

    /// Answers whose markers may be lost.
    fn hand_on_answers(&mut self) -> Result<(), End> {
        while let Some(answer) = self.answered.next() {
            self.hand_on_answer(answer)?;
        }
        Ok(())
    }

    fn hand_on_answer(&mut self, answer: Answer) -> Result<(), End> {
        self.hand_on()?;
        self.report(Report::Applied(answer.refusals))?;
        if answer.is_incomplete {
            self.events.push(KernelEvent::Overrun);
        }
        Ok(())
    }

    fn hand_on(&mut self) -> Result<(), End> {
        if self.events.is_empty() {
            return Ok(());
        }
        self.handed_on = Some(Instant::now());
        self.is_gathering = false;
        let events = std::mem::take(&mut self.events);
        self.report(Report::Events(events))
    }

    fn report(&self, report: Report) -> Result<(), End> {
        self.to_rib.blocking_send(report).map_err(|_| End::Unheard)
    }
}
