//! The handle by which tasks speak of one peer.

use std::fmt;

/// Names one configured peer for its whole life in this process.
///
/// **Invariant:** never reused, so a message that arrives late for a removed peer meets nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerId(pub u32);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer#{}", self.0)
    }
}
