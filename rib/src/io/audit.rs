//! `pipit fib diff` and `pipit fib sync` on the RIB's task: a dump on a socket of its own, taken in part by part.

use std::io;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::fib::{Audit, Fib, FibDifference, KernelEvent};
use crate::io::netlink;

/// Who asked for a comparison.
pub type AuditReply = oneshot::Sender<Vec<FibDifference>>;

/// Comparisons and repairs under way.
#[derive(Debug)]
pub(crate) struct Audits {
    table: u32,
    running: Option<Running>,
    /// Asked for while one was under way, which may have begun too early for them.
    next: Vec<AuditReply>,
    /// Who waits for everything to be written.
    repairs: Vec<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Running {
    parts: mpsc::Receiver<Vec<KernelEvent>>,
    audit: Audit,
    replies: Vec<AuditReply>,
}

impl Audits {
    pub(crate) fn new(table: u32) -> Self {
        Audits {
            table,
            running: None,
            next: Vec::new(),
            repairs: Vec::new(),
        }
    }

    /// Somebody wants to know what differs.
    pub(crate) fn ask(&mut self, fib: &Fib, reply: AuditReply) {
        self.next.push(reply);
        self.start(fib);
    }

    /// Somebody wants everything put right.
    pub(crate) fn repair(&mut self, fib: &mut Fib, reply: oneshot::Sender<()>) {
        fib.repair();
        self.repairs.push(reply);
    }

    /// The next part of the dump under way; never, when there is none.
    pub(crate) async fn part(&mut self) -> Option<Vec<KernelEvent>> {
        match &mut self.running {
            Some(running) => running.parts.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Takes a part in; `None`: there are no more.
    pub(crate) fn take(&mut self, fib: &Fib, part: Option<Vec<KernelEvent>>) {
        match (part, &mut self.running) {
            (Some(events), Some(running)) => running.audit.observe(fib, events),
            (None, running) => {
                if let Some(done) = running.take() {
                    let differences = done.audit.finish(fib);
                    for reply in done.replies {
                        // Whoever hung up needs no answer.
                        let _ = reply.send(differences.clone());
                    }
                }
                self.start(fib);
            }
            (Some(_), None) => {}
        }
    }

    /// Answers those who wait for everything to be written.
    pub(crate) fn answer_repairs(&mut self, fib: &Fib) {
        if !self.repairs.is_empty() && fib.is_settled() {
            for reply in self.repairs.drain(..) {
                // Whoever hung up needs no answer.
                let _ = reply.send(());
            }
        }
    }

    fn start(&mut self, fib: &Fib) {
        if self.running.is_some() || self.next.is_empty() {
            return;
        }
        match netlink::read_table(self.table) {
            Ok(parts) => {
                self.running = Some(Running {
                    parts,
                    audit: fib.audit(),
                    replies: std::mem::take(&mut self.next),
                });
            }
            Err(error) => self.fail(&error),
        }
    }

    /// The questions stay without an answer, which is one.
    fn fail(&mut self, error: &io::Error) {
        warn!(%error, "the kernel's table cannot be read for a comparison");
        self.next.clear();
    }
}
