//! What BFD's verdict means for the session (RFC 5882 §4, RFC 9384).
//!
//! - Only the loss of a path that was up counts: a peer without BFD keeps its session, and so does one whose operator
//!   turns BFD off (AdminDown, RFC 5882 §4.2).
//! - The Established session ends with Cease / BFD Down and its routes go at once, whatever graceful restart says:
//!   packets to them are lost. A peer that would keep our routes over a NOTIFICATION is told by a Hard Reset.
//! - A graceful restart that is under way goes on. Our BFD shares the daemon's fate, and so may the peer's: its loss
//!   is then part of the restart (RFC 5882 §4.3.2, C bit clear). The same holds for a session that has come back
//!   already, until BFD has vouched for it.

use std::time::Instant;

use crate::bfd::Loss;
use crate::session::collision::Direction;
use crate::session::connection::Connection;
use crate::session::{ErrorCode, Notification, Session};

impl Session {
    /// BFD lost the path to the peer.
    pub fn handle_path_lost(&mut self, now: Instant, loss: Loss) {
        let Some(direction) = self.established() else {
            return;
        };
        if !self.was_vouched_for(direction, loss.heard_up) {
            return;
        }
        let cause = Notification::new(ErrorCode::BFD_DOWN);
        let reason = format!("sent: {cause}: {}", loss.diagnostic);
        let words = if self.has_notification_bit(direction) {
            Notification::hard_reset(&cause)
        } else {
            cause
        };
        self.fail(now, direction, Some(&words), reason);
    }

    /// Whether the path was up when, or after, the session was established.
    fn was_vouched_for(&self, direction: Direction, heard_up: Instant) -> bool {
        self.connection(direction)
            .and_then(|connection: &Connection| connection.established_at)
            .is_some_and(|at| at <= heard_up)
    }
}
