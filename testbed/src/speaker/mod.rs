//! The daemons of the nodes.

mod bird;
mod pipit;

pub use bird::Bird;
pub use pipit::{Pipit, Source, client, program};
