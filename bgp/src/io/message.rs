//! What peer tasks send to the task that owns the routes, and how that task sends back.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::family::Family;
use crate::peer_id::PeerId;
use crate::session::output::{Negotiated, SessionEnd};
use crate::wire::update::UpdateBatch;

/// How many frames of a family a peer task holds before it has written one: the credit of one peer.
///
/// Two keep the socket busy while the next frame is made; the newest state of everything else stays in the RIB.
pub const FRAME_CREDIT: usize = 2;

/// Room in the channel for frames: the credit of every family.
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
    /// Established. `frames` takes encoded UPDATEs (whole messages, any number in one `Bytes`); its capacity is
    /// [`FRAME_ROOM`]. It closes when the session ends.
    Up {
        /// What was negotiated.
        negotiated: Box<Negotiated>,
        /// Where this session's UPDATEs go.
        frames: mpsc::Sender<Bytes>,
    },
    /// The peer sent routes.
    Routes(UpdateBatch),
    /// A frame was taken from the channel and written to the socket: there is room for another.
    Drained,
    /// The session ended. Nothing of it comes after this.
    Down(SessionEnd),
}
