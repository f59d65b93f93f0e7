//! pipit's BGP speaker.
//!
//! `wire` turns bytes into messages and back, `session` is the state machine of one peer (events and the time go
//! in, actions come out), `bfd` watches the paths to peers in the same way, `io` feeds both from sockets. Nothing here
//! stores a route.

mod asn;
pub mod bfd;
mod family;
#[cfg(feature = "io")]
pub mod io;
mod next_hop;
mod peer_id;
mod prefix;
mod router_id;
pub mod session;
pub mod wire;

pub use asn::{Asn, ParseAsnError};
pub use family::{Family, FamilyMap, FamilySet};
pub use next_hop::NextHop;
pub use peer_id::PeerId;
pub use prefix::Prefix;
pub use router_id::{ClusterId, RouterId};
