//! From OpenConfirm to Established, with one connection or with two.

use std::time::{Duration, Instant};

use tracing::info;

use crate::session::collision::{self, Direction};
use crate::session::connection::Phase;
use crate::session::dial::Dial;
use crate::session::timers::restart_hold_timer;
use crate::session::{Action, Session};
use crate::wire::iana::ErrorCode;
use crate::wire::notification::Notification;

/// How long a connection waits for the OPEN on another that would win.
const COLLISION_WAIT: Duration = Duration::from_secs(5);

impl Session {
    /// Their KEEPALIVE came: Established, unless the peer will prefer the other connection.
    pub(super) fn establish(&mut self, now: Instant, direction: Direction) {
        let is_rivalled = self.connection(direction.opposite()).is_some();
        if is_rivalled && self.collision_loser(direction) == Some(direction) {
            self.defer(now, direction);
        } else {
            self.choose(now, direction);
        }
    }

    /// This connection is Established; another there is closes.
    pub(super) fn choose(&mut self, now: Instant, direction: Direction) {
        let other = direction.opposite();
        if self.connection(other).is_some() {
            self.send_notification(other, &Notification::new(ErrorCode::COLLISION_RESOLUTION));
            self.drop_connection(other);
        }
        self.set_dial(Dial::Off);
        let Some(connection) = self.slot(direction) else {
            return;
        };
        restart_hold_timer(connection, now);
        let negotiated = match std::mem::replace(&mut connection.phase, Phase::OpenSent) {
            Phase::OpenConfirm(negotiated) | Phase::Established(negotiated) => negotiated,
            Phase::DelayOpen(_) | Phase::OpenSent => return,
        };
        connection.phase = Phase::Established(negotiated.clone());
        connection.established_at = Some(now);
        (self.idle_hold, self.retry_wait) = (self.config.idle_hold, self.config.first_retry);
        self.last_error = None;
        info!(peer = %self.config.name, address = %self.config.address, "session established");
        self.actions.push_back(Action::Up(direction, negotiated));
    }

    /// Waits for the OPEN on the other connection, which the peer will prefer, but not for long.
    pub(super) fn defer(&mut self, now: Instant, direction: Direction) {
        let was_confirmed = self
            .slot(direction)
            .as_mut()
            .is_some_and(|connection| std::mem::replace(&mut connection.is_confirmed, true));
        if was_confirmed {
            return;
        }
        if let Some(other) = self.slot(direction.opposite()) {
            let limit = now + COLLISION_WAIT;
            other.hold_at = Some(other.hold_at.map_or(limit, |at| at.min(limit)));
        }
    }

    /// The other connection is gone: one that waited for it goes on.
    pub(super) fn resume(&mut self, now: Instant, direction: Direction) {
        if self
            .connection(direction)
            .is_some_and(|c| c.is_confirmed && !c.is_established())
        {
            self.establish(now, direction);
        }
    }

    /// Which connection goes, by the OPEN that came on `direction`; `None` until one has come.
    pub(super) fn collision_loser(&self, direction: Direction) -> Option<Direction> {
        let connection = self.connection(direction)?;
        let theirs = (
            connection.theirs.as_ref()?.router_id,
            connection.negotiated()?.remote_as,
        );
        Some(collision::loser(
            (self.config.router_id, self.config.local_as),
            theirs,
        ))
    }

    /// Whether a second connection beside an Established one means that the peer has restarted, rather than that its
    /// own dial crossed ours.
    pub(super) fn is_restarted_peer(
        &self,
        now: Instant,
        established: Direction,
        direction: Direction,
    ) -> bool {
        let restarts = self.negotiated().is_some_and(|negotiated| {
            negotiated
                .graceful_restart
                .as_ref()
                .is_some_and(|restart| !restart.families.is_empty())
        });
        let since = self
            .connection(established)
            .and_then(|connection| connection.established_at);
        let is_settled = since.is_some_and(|at| now > at + COLLISION_WAIT);
        restarts && is_settled && direction == Direction::Incoming
    }
}
