//! pipit's routing table: every route of this node, one owner.
//!
//! [`Rib`] takes routes from sessions and from configuration, chooses (`best_path`), tells peers (`adj_rib_out`,
//! `export`) and the kernel (`fib`). It knows no socket and no clock; `io` runs it.

mod adj_rib_out;
mod attrs;
pub mod best_path;
pub mod export;
mod family_rib;
pub mod fib;
mod host_routes;
pub mod import;
#[cfg(feature = "io")]
pub mod io;
mod learned;
mod link_bandwidth;
mod next_hops;
mod peer;
pub mod policy;
pub mod query;
mod recovery;
mod rib;
mod source;
mod table;
pub mod verify;

pub use peer::{NextHopMode, PeerSettings};
pub use rib::{CREDIT, Drain, FamilyPolicy, NodeSettings, Output, Rib, RibLimits};
