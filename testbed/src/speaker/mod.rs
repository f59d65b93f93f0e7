//! The daemons of the nodes.

mod bird;
mod frr;
mod gobgp;
mod openbgpd;
mod pipit;
mod setup;

pub use bird::Bird;
pub use frr::Frr;
pub use gobgp::Gobgp;
pub use openbgpd::Openbgpd;
pub use pipit::{Pipit, Source, client, program};
pub use setup::{Options, Setup};
