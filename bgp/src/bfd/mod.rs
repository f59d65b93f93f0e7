//! BFD (RFC 5880, 5881, 5883): whether the path to a peer carries packets, asked several times a second.
//!
//! Asynchronous mode, single hop and multihop; no echo, no demand mode of ours (a peer's is honoured), no
//! authentication. [`Packet`] is the bytes, [`Session`] the machine of one session, [`Sessions`] all of them by
//! discriminator and address. Nothing here waits, sends or looks at a clock: packets and `now` go in, packets and
//! [`Event`]s come out. `crate::io::bfd` has the sockets.

mod diagnostic;
mod packet;
mod path;
mod query;
mod session;
mod sessions;
mod state;
mod timing;

pub use diagnostic::Diagnostic;
pub use packet::{Discard, Flags, Packet};
pub use path::Path;
pub use query::BfdView;
pub use session::{Event, Loss, Session};
pub use sessions::{Action, Arrival, Sessions, Target};
pub use state::State;
