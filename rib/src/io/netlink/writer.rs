//! The thread that writes: batches of route changes, one acknowledgement for many.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use crate::fib::{FibOp, FibRefusal, ObjectOp};
use crate::io::netlink::answers::Answering;
use crate::io::netlink::dump::DumpStarter;
use crate::io::netlink::encode::Encoder;
use crate::io::netlink::socket::Endpoint;
use crate::io::netlink::{Request, decode};

/// Messages in one datagram. Measured: between 64 and 512 all is the same.
const PER_DATAGRAM: usize = 256;
/// Octets read at a time; answers are far shorter.
const READ_LEN: usize = 32 << 10;
/// Tries of a change that fails for want of memory or the like.
const TRIES: u32 = 4;
/// The wait before the second try; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// Adds one change to a datagram.
type Append<T> = fn(&mut Encoder, u32, bool, &T);

/// Writes on its own socket, whose notifications the monitor does not get.
pub(super) struct Writer {
    endpoint: Endpoint,
    encoder: Encoder,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(endpoint: Endpoint, table: u32) -> Self {
        Writer {
            endpoint,
            encoder: Encoder::new(table),
            sequence: 0,
            buffer: Vec::with_capacity(READ_LEN),
        }
    }

    /// Serves requests until nobody is left to ask or to be told.
    pub(super) fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        dumps: &Arc<DumpStarter>,
        mut answering: Answering,
    ) {
        while let Some(request) = requests.blocking_recv() {
            let is_heard = match request {
                Request::Dump => match dumps.start() {
                    Ok(()) => true,
                    Err(error) => {
                        error!(%error, "the kernel's routes cannot be asked for");
                        false
                    }
                },
                Request::Apply(ops) => {
                    let append: Append<FibOp> = Encoder::append;
                    self.carry_out(&ops, append, dumps, &mut answering)
                }
                Request::ApplyObjects(ops) => {
                    let append: Append<ObjectOp> = Encoder::append_object;
                    self.carry_out(&ops, append, dumps, &mut answering)
                }
            };
            if !is_heard {
                return;
            }
        }
    }

    fn carry_out<T: Clone>(
        &mut self,
        ops: &[T],
        append: Append<T>,
        dumps: &DumpStarter,
        answering: &mut Answering,
    ) -> bool {
        let mut refusals = Vec::new();
        let result = self.apply(ops, append, &mut refusals);
        self.try_again(ops, append, &mut refusals);
        // The batch is answered whatever happened: the FIB waits for it.
        if let Err(error) = &result {
            warn!(%error, "answers of the kernel were lost; dumping the tables");
        }
        let sent = answering.send(&dumps.endpoint, refusals, result.is_err());
        if let Err(error) = &sent {
            debug!(%error, "nobody takes the kernel's answers any more");
        }
        sent.is_ok()
    }

    fn apply<T>(&mut self, ops: &[T], append: Append<T>, refusals: &mut Vec<FibRefusal>) -> io::Result<()> {
        for (chunk_at, chunk) in ops.chunks(PER_DATAGRAM).enumerate() {
            let first = self.sequence.wrapping_add(1);
            self.encoder.clear();
            for (at, op) in chunk.iter().enumerate() {
                self.sequence = self.sequence.wrapping_add(1);
                let is_last = at + 1 == chunk.len();
                append(&mut self.encoder, self.sequence, is_last, op);
            }
            self.endpoint.send(self.encoder.bytes())?;
            self.collect(first, chunk_at * PER_DATAGRAM, refusals)?;
        }
        Ok(())
    }

    /// Reads until the last message is answered. Errors of earlier ones come before, unasked.
    fn collect(&mut self, first: u32, base: usize, refusals: &mut Vec<FibRefusal>) -> io::Result<()> {
        let count = self.sequence.wrapping_sub(first) as usize;
        loop {
            self.buffer.clear();
            match self.endpoint.socket.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for answer in decode::messages(&self.buffer) {
                let Some(errno) = answer.error() else { continue };
                // Left over from a batch whose answers were lost.
                let at = answer.sequence.wrapping_sub(first) as usize;
                if at > count {
                    continue;
                }
                if errno != 0 {
                    refusals.push(FibRefusal { at: base + at, errno });
                }
                if at == count {
                    return Ok(());
                }
            }
        }
    }

    /// Repeats what failed for a reason that passes by itself. All else is for the FIB to judge.
    fn try_again<T: Clone>(&mut self, ops: &[T], append: Append<T>, refusals: &mut Vec<FibRefusal>) {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            let (again, others): (Vec<_>, Vec<_>) =
                refusals.drain(..).partition(|refusal| is_passing(refusal.errno));
            *refusals = others;
            if again.is_empty() {
                return;
            }
            thread::sleep(wait);
            wait *= 2;
            let repeated: Vec<T> = again.iter().map(|refusal| ops[refusal.at].clone()).collect();
            let mut refused = Vec::new();
            if self.apply(&repeated, append, &mut refused).is_err() {
                refusals.extend(again);
                break;
            }
            refusals.extend(refused.into_iter().map(|refusal| FibRefusal {
                at: again[refusal.at].at,
                errno: refusal.errno,
            }));
        }
        refusals.sort_unstable_by_key(|refusal| refusal.at);
    }
}

fn is_passing(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN | libc::EBUSY | libc::EINTR
    )
}
