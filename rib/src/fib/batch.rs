//! Batches of changes: what is handed out, and what became of it.

use ipnet::{Ipv4Net, Ipv6Net};
use tracing::debug;

use crate::fib::dump::Dump;
use crate::fib::errno::{self, Remedy};
use crate::fib::family_fib::Outcome;
use crate::fib::kernel::{Authored, FibOp, FibOpKind, FibRefusal, ObjectOp};
use crate::fib::plan::{Planned, Refusal, Surroundings};
use crate::fib::{Fib, FibPrefix};

/// Operations in one batch: large enough to amortise the round trip, small enough to react.
pub(super) const BATCH: usize = 512;
/// Batches that may be under way: one that the kernel works on, and the next, so that it need not wait for us.
const MAX_IN_FLIGHT: usize = 2;

/// What the kernel has been asked for at once.
#[derive(Debug)]
pub(super) enum Batch {
    Routes(Vec<InFlight>),
    Objects(Vec<ObjectOp>),
}

/// A change that the kernel has been asked for and has not answered.
#[derive(Debug)]
pub(super) enum InFlight {
    V4(Planned<Ipv4Net>),
    V6(Planned<Ipv6Net>),
}

impl Fib {
    /// The next operations; the caller answers each batch with [`Self::handle_result`], in the order of batches. At
    /// most two batches and one dump are under way at any time: channels that hold so much never block. Where
    /// routes lead through nexthop objects, [`Self::poll_work`] has these as well.
    pub fn poll_batch(&mut self) -> Option<Vec<FibOp>> {
        let is_full = self.in_flight.len() >= MAX_IN_FLIGHT;
        if self.dump != Dump::Done || is_full || self.do_objects_come_first() {
            return None;
        }
        let around = Surroundings {
            shapes: &self.shapes,
            topology: &self.topology,
            may_sweep: self.may_sweep,
            is_dumping: false,
        };
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        // A long list of one family does not keep the other waiting.
        self.ipv6.collect(BATCH / 2, &around, &mut ipv6);
        self.ipv4
            .collect(BATCH.saturating_sub(ipv6.len()), &around, &mut ipv4);
        self.ipv6
            .collect(BATCH.saturating_sub(ipv4.len()), &around, &mut ipv6);
        if ipv4.is_empty() && ipv6.is_empty() {
            self.forget_former_protocols();
            return None;
        }
        let ops: Vec<FibOp> = ipv4
            .iter()
            .map(|planned| self.op(planned))
            .chain(ipv6.iter().map(|planned| self.op(planned)))
            .collect();
        self.counts.written += ops.len() as u64;
        let batch = ipv4.into_iter().map(InFlight::V4);
        let batch = batch.chain(ipv6.into_iter().map(InFlight::V6)).collect();
        self.in_flight.push_back(Batch::Routes(batch));
        Some(ops)
    }

    /// Looks for the reason. Whether the kernel refuses a route for long while it has ways that are not wanted any more,
    /// of which nobody knows how they end: a refusal that passes is not repeated.
    fn refused<P: FibPrefix>(&mut self, planned: &Planned<P>, errno: i32) -> Option<Refusal> {
        self.reconsider_gateways(planned.route, errno);
        let is_for_its_way = errno::remedy(planned.kind, errno) == Remedy::WaitForWay;
        if !planned.is_retry || planned.kind == FibOpKind::Delete || !is_for_its_way {
            return None;
        }
        let actual = P::family_ref(self).actual(planned.prefix)?;
        let rest = self.shapes.rest_of(actual, planned.route);
        let lasting = Refusal::Lasting {
            errno,
            wanted: planned.route,
            rest,
        };
        (rest != Some(actual)).then_some(lasting)
    }

    fn op<P: FibPrefix>(&self, planned: &Planned<P>) -> FibOp {
        let Authored { protocol, route } = self.shapes.authored(planned.route).clone();
        FibOp {
            prefix: planned.prefix.into(),
            kind: planned.kind,
            protocol,
            route,
        }
    }

    /// What became of the oldest batch. Refusals are in the order of the operations.
    pub fn handle_result(&mut self, refusals: &[FibRefusal]) {
        let batch = match self.in_flight.pop_front() {
            Some(Batch::Routes(batch)) => batch,
            Some(Batch::Objects(ops)) => return self.objects_answered(&ops, refusals),
            None => return,
        };
        let mut refusals = refusals.iter().peekable();
        let mut is_ambiguous = false;
        for (at, planned) in batch.into_iter().enumerate() {
            let errno = refusals
                .next_if(|refusal| refusal.at == at)
                .map(|refusal| refusal.errno);
            let mut lasting = None;
            if let Some(errno) = errno {
                self.counts.refused += 1;
                debug!(errno, ?planned, "the kernel refused a change");
                lasting = match &planned {
                    InFlight::V4(planned) => self.refused(planned, errno),
                    InFlight::V6(planned) => self.refused(planned, errno),
                };
            }
            let around = Surroundings {
                shapes: &self.shapes,
                topology: &self.topology,
                may_sweep: self.may_sweep,
                is_dumping: false,
            };
            let outcome = match planned {
                InFlight::V4(planned) => self.ipv4.handle_result(planned, errno, lasting, &around),
                InFlight::V6(planned) => self.ipv6.handle_result(planned, errno, lasting, &around),
            };
            is_ambiguous |= outcome == Outcome::Ambiguous;
        }
        if is_ambiguous {
            debug!("the kernel has routes that we do not know of");
            self.wants_dump();
        } else {
            self.is_puzzled = false;
        }
    }
}
