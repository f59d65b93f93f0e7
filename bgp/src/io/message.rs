//! What peer tasks send to the task that owns the routes, and how that task sends back.

use crate::family::Family;
pub use crate::io::outbox::{FrameSender, Sent, Unsent};
use crate::peer_id::PeerId;
use crate::session::output::{Negotiated, SessionEnd};
use crate::wire::update::UpdateBatch;

/// How many frames of a family may wait for a peer's socket to take one: the credit of one peer.
///
/// Two keep the socket busy while the next frame is made; the newest state of everything else stays in the RIB.
pub const FRAME_CREDIT: usize = 2;

/// How many frames may wait in all: the credit of every family.
pub const FRAME_ROOM: usize = FRAME_CREDIT * Family::ALL.len();

/// One message from a peer's task, over one bounded channel shared by all peers.
#[derive(Debug)]
pub struct PeerMessage {
    /// Whose task.
    pub peer: PeerId,
    /// What happened.
    pub body: PeerBody,
}

/// See [`PeerMessage`].
#[derive(Debug)]
pub enum PeerBody {
    /// Established.
    Up {
        /// What was negotiated.
        negotiated: Box<Negotiated>,
        /// Where this session's UPDATEs go, [`FRAME_ROOM`] frames ahead of the socket.
        frames: FrameSender,
    },
    /// The peer sent routes.
    Routes(UpdateBatch),
    /// A frame that waited was taken by the socket: there is room for another.
    Drained,
    /// The session ended. Nothing of it comes after this.
    Down(SessionEnd),
}
