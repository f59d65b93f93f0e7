//! Clearing away the paths of sessions that ended for good, a slice at a time: a lost peer with a million routes
//! delays nobody else's.
//!
//! The paths stopped counting when their source was closed; but the prefixes they led to choose anew only when the
//! walk comes by. Sources that close while a walk is under way are cleared by the next one, all together.

use std::mem::take;

use crate::family_rib::FamilyRib;
use crate::fib::FibPrefix;
use crate::rib::{Rib, Shared};
use crate::source::SourceId;

/// Slices during which the FIB waits for the whole, so that it sees sets of next hops change as sets: a tenth of a
/// second at most.
const HELD: u32 = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Purge {
    /// Closed before the walk began: free once it is done.
    under_way: Vec<SourceId>,
    /// Closed since.
    waiting: Vec<SourceId>,
    /// Where the walk goes on, by family; `None`: the family is done.
    ipv4: Option<u32>,
    ipv6: Option<u32>,
    /// Slices of this walk so far.
    slices: u32,
}

impl Purge {
    pub(super) fn add(&mut self, source: SourceId) {
        self.waiting.push(source);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty()
    }
}

impl Rib {
    /// Does a slice of the walk.
    pub(super) fn purge(&mut self) {
        let purge = &mut self.purge;
        if purge.is_idle() {
            return;
        }
        if purge.under_way.is_empty() {
            purge.under_way = take(&mut purge.waiting);
            (purge.ipv4, purge.ipv6) = (Some(0), Some(0));
            purge.slices = 0;
        }
        purge.slices += 1;
        step(&mut self.ipv4, &mut self.shared, &mut purge.ipv4);
        step(&mut self.ipv6, &mut self.shared, &mut purge.ipv6);
        if purge.ipv4.is_none() && purge.ipv6.is_none() {
            let gone = take(&mut purge.under_way).into_iter().collect();
            self.ipv4.forget_sources(&gone);
            self.ipv6.forget_sources(&gone);
            gone.into_iter()
                .for_each(|source| self.shared.sources.remove(source));
        }
        let is_held = !self.purge.is_idle() && self.purge.slices < HELD;
        self.shared.fib.hold_back(is_held);
    }
}

fn step<P: FibPrefix>(table: &mut FamilyRib<P>, shared: &mut Shared, at: &mut Option<u32>) {
    if let Some(from) = *at {
        *at = table.remove_closing(shared, from);
    }
}
