//! Dumps: when one is wanted, and what a complete one changes.

use tracing::info;

use crate::fib::plan::Surroundings;
use crate::fib::{Fib, FibEvent};

/// Where we are with the kernel's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dump {
    /// Asked for; whether another one is needed after it. The first one is asked for by the caller.
    Awaited { again: bool },
    /// Under way; whether another one is needed after it.
    Running { again: bool },
    /// Complete, and events since have kept it true.
    Done,
}

impl Fib {
    pub(super) fn begin_dump(&mut self) {
        let again = match self.dump {
            Dump::Awaited { again } => {
                self.counts.dumps += u64::from(self.is_loaded);
                again
            }
            Dump::Running { .. } | Dump::Done => false,
        };
        self.dump = Dump::Running { again };
        self.topology.begin_dump();
        self.shapes.objects.begin_dump();
        self.ipv4.begin_dump();
        self.ipv6.begin_dump();
    }

    pub(super) fn end_dump(&mut self) {
        let Dump::Running { again } = self.dump else {
            return;
        };
        self.dump = Dump::Done;
        if self.topology.end_dump() && self.is_loaded {
            self.events.push_back(FibEvent::AddressesChanged);
        }
        self.shapes.objects.end_dump();
        self.learner.touch_all(&self.topology);
        self.stir.all = true;
        let lost = self.ipv4.end_dump() + self.ipv6.end_dump();
        if lost > 0 {
            self.counts.repaired += lost as u64;
            info!(lost, "routes of ours were missing in the kernel");
        }
        if !self.is_loaded {
            self.is_loaded = true;
            let adopted = self.ipv4.actual_count() + self.ipv6.actual_count();
            self.events.push_back(FibEvent::Loaded { adopted });
        }
        let around = Surroundings {
            shapes: &self.shapes,
            topology: &self.topology,
            may_sweep: self.may_sweep,
            is_dumping: false,
        };
        self.is_puzzled |=
            self.ipv4.retry_free(self.is_puzzled, &around) | self.ipv6.retry_free(self.is_puzzled, &around);
        if again {
            self.wants_dump();
        }
    }

    pub(super) fn wants_dump(&mut self) {
        match &mut self.dump {
            // It will begin later than what made it necessary.
            Dump::Awaited { .. } => {}
            Dump::Running { again } => *again = true,
            Dump::Done => {
                self.dump = Dump::Awaited { again: false };
                self.events.push_back(FibEvent::WantsDump);
            }
        }
    }

    /// The loss is reported before what is still queued, so a dump that is asked for may have begun before it.
    pub(super) fn handle_overrun(&mut self) {
        match &mut self.dump {
            Dump::Awaited { again } => *again = true,
            Dump::Running { .. } | Dump::Done => self.wants_dump(),
        }
    }
}
