//! Whether the tables are what they should be: what is kept up step by step is computed anew and compared.
//!
//! For tests after histories, and for an operator who doubts (`pipit debug verify`). It changes nothing.

use std::collections::HashMap;

use crate::rib::Rib;

/// Prefixes that one step of [`Verification`] looks at: well below a millisecond each.
const STEP: u32 = 1024;

/// A verification under way, done step by step so that it holds nobody up.
#[derive(Debug, Default)]
pub struct Verification {
    next: u32,
    faults: Vec<String>,
}

impl Rib {
    /// All that is wrong; empty: nothing.
    pub fn verify(&self) -> Vec<String> {
        let mut verification = Verification::default();
        while !verification.step(self) {}
        verification.faults
    }
}

impl Verification {
    /// Looks at the next prefixes. `true`: all has been looked at, the sums included, which takes one longer step.
    pub fn step(&mut self, rib: &Rib) -> bool {
        let (from, to) = (self.next, self.next + STEP);
        rib.ipv4.verify_prefixes(&rib.shared, from, to, &mut self.faults);
        rib.ipv6.verify_prefixes(&rib.shared, from, to, &mut self.faults);
        self.next = to;
        let is_done = to >= rib.ipv4.table.prefix_slots().max(rib.ipv6.table.prefix_slots());
        if is_done {
            self.verify_sums(rib);
        }
        is_done
    }

    /// What was found.
    pub fn into_faults(self) -> Vec<String> {
        self.faults
    }

    fn verify_sums(&mut self, rib: &Rib) {
        rib.ipv4.verify_sums(&rib.shared, &mut self.faults);
        rib.ipv6.verify_sums(&rib.shared, &mut self.faults);
        rib.verify_groups(&mut self.faults);
        let mut uses = HashMap::new();
        rib.ipv4.count_attrs(&mut uses);
        rib.ipv6.count_attrs(&mut uses);
        for (id, count) in rib.shared.attrs.counts() {
            let used = uses.remove(&id).unwrap_or(0);
            if used != count {
                self.faults
                    .push(format!("{id:?}: counted {count} uses, there are {used}"));
            }
        }
        self.faults.extend(
            uses.keys()
                .map(|id| format!("{id:?} is used, and was given back")),
        );
    }
}
