//! How connections end, what the peer is told, and what becomes of its routes meanwhile.

use std::time::Instant;

use tracing::{debug, info};

use crate::family::FamilySet;
use crate::session::change::Meanwhile;
use crate::session::collision::Direction;
use crate::session::config::GracefulRestart;
use crate::session::connection::Connection;
use crate::session::dial::Dial;
use crate::session::output::{self, SessionEnd};
use crate::session::{Action, Session, Stop};
use crate::wire::iana::ErrorCode;
use crate::wire::notification::Notification;

/// How a connection ended, as far as the next dial is concerned. In a session's life as RFC 4271 §8.2.2 has it,
/// everything but the first goes to Idle; how long it stays there is ours to choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Lost before the peer said anything: it is starting, or does not know us yet. Not an error (OpenSent, event
    /// 18), or a peer that merely restarts would be found late.
    Unanswered,
    /// Lost later, fell silent, or lost to the other connection: tried again soon, never more slowly.
    Lost,
    /// Ended on purpose by either side (Cease).
    Ceased,
    /// The peer exceeded what we take (6/1, 6/8).
    Overrun,
    /// Somebody erred, and will again: tried ever more slowly.
    Error,
}

impl Session {
    pub(super) fn stop_and(&mut self, how: &Stop, meanwhile: Meanwhile) {
        self.is_started = false;
        self.set_dial(Dial::Off);
        // A peer keeps the routes of those who said how long they take to come back (RFC 4724 §4.2).
        let keeps = matches!(self.config.graceful_restart, GracefulRestart::Restart { .. })
            && self
                .negotiated()
                .is_some_and(|negotiated| negotiated.graceful_restart.is_some());
        for direction in [Direction::Outgoing, Direction::Incoming] {
            let Some(connection) = self.connection(direction) else {
                continue;
            };
            let is_established = connection.is_established();
            let (retain, restart) = match meanwhile {
                Meanwhile::Keep => self.retainable_over_notification(direction),
                Meanwhile::Forget => (FamilySet::EMPTY, None),
            };
            match how {
                Stop::Restart if is_established && keeps => {}
                Stop::Restart => {
                    self.send_last_words(direction, Notification::new(ErrorCode::ADMINISTRATIVE_SHUTDOWN))
                }
                Stop::Notify(notification) => self.send_last_words(direction, notification.clone()),
            }
            self.drop_connection(direction);
            if is_established {
                self.went_down("stopped".into(), retain, restart);
            }
        }
    }

    /// Ends an Established session with a NOTIFICATION and starts again after the back-off.
    pub fn reset(&mut self, now: Instant, notification: &Notification, reason: String) {
        for direction in [Direction::Outgoing, Direction::Incoming] {
            if self.connection(direction).is_some() {
                self.fail(now, direction, Some(notification), reason.clone());
            }
        }
    }

    /// TcpConnectionFails of a connection that stood.
    pub fn handle_closed(&mut self, now: Instant, direction: Direction, error: Option<&str>) {
        let reason = match error {
            Some(error) => format!("connection lost: {error}"),
            None => "connection closed by the peer".into(),
        };
        self.fail(now, direction, None, reason);
    }

    /// The peer fell silent: for its routes that is like the loss of the connection (RFC 8538 §4), if it can take it.
    pub(super) fn expire(&mut self, now: Instant, direction: Direction, notification: &Notification) {
        let retain = self.retainable_over_notification(direction);
        self.send_notification(direction, notification);
        let ending = Ending::of(notification.error);
        self.end(now, direction, format!("sent: {notification}"), retain, ending);
    }

    /// A connection fails. Its peer's routes may be kept without a NOTIFICATION (RFC 4724 §4.2), and with the N bit
    /// also by whoever sends one (RFC 8538 §4).
    pub(super) fn fail(
        &mut self,
        now: Instant,
        direction: Direction,
        notification: Option<&Notification>,
        reason: String,
    ) {
        let is_unanswered = self.connection(direction).is_some_and(|c| c.theirs.is_none());
        let (retain, ending) = match notification {
            None if is_unanswered => ((FamilySet::EMPTY, None), Ending::Unanswered),
            None => (self.retainable(direction), Ending::Lost),
            Some(notification) => {
                self.send_last_words(direction, notification.clone());
                match notification.error {
                    // What was too much is not kept, whoever could keep it.
                    ErrorCode::MAX_PREFIXES | ErrorCode::OUT_OF_RESOURCES => {
                        ((FamilySet::EMPTY, None), Ending::Overrun)
                    }
                    error @ ErrorCode::HARD_RESET => ((FamilySet::EMPTY, None), Ending::of(error)),
                    error => (self.retainable_over_notification(direction), Ending::of(error)),
                }
            }
        };
        self.end(now, direction, reason, retain, ending);
    }

    /// RFC 8538 §4: with the N bit a NOTIFICATION is like the loss of the connection.
    pub(super) fn retainable_over_notification(
        &self,
        direction: Direction,
    ) -> (FamilySet, Option<output::PeerRestart>) {
        if self.has_notification_bit(direction) {
            self.retainable(direction)
        } else {
            (FamilySet::EMPTY, None)
        }
    }

    pub(super) fn has_notification_bit(&self, direction: Direction) -> bool {
        self.connection(direction)
            .and_then(Connection::negotiated)
            .and_then(|negotiated| negotiated.graceful_restart.as_ref())
            .is_some_and(|restart| restart.notification)
    }

    pub(super) fn retainable(&self, direction: Direction) -> (FamilySet, Option<output::PeerRestart>) {
        let restart = self
            .connection(direction)
            .filter(|connection| connection.is_established())
            .and_then(Connection::negotiated)
            .and_then(|negotiated| {
                negotiated
                    .graceful_restart
                    .clone()
                    .map(|r| (r, negotiated.families))
            });
        match restart {
            Some((restart, families)) => (restart.families.intersection(families), Some(restart)),
            None => (FamilySet::EMPTY, None),
        }
    }

    pub(super) fn end(
        &mut self,
        now: Instant,
        direction: Direction,
        reason: String,
        (retain, restart): (FamilySet, Option<output::PeerRestart>),
        ending: Ending,
    ) {
        let Some(connection) = self.connection(direction) else {
            return;
        };
        let was_established = connection.is_established();
        self.drop_connection(direction);
        if was_established {
            info!(peer = %self.config.name, address = %self.config.address, reason, "session down");
        } else {
            debug!(peer = %self.config.name, address = %self.config.address, reason, "connection ended");
        }
        self.last_error = Some(reason.clone());
        if was_established {
            self.went_down(reason, retain, restart);
        }
        self.resume(now, direction.opposite());
        if self.is_started && self.is_unconnected() && !matches!(self.dial, Dial::Connecting(_)) {
            self.dial = if self.config.passive && ending != Ending::Overrun {
                Dial::Off
            } else {
                self.next_dial(now, ending)
            };
        }
    }

    pub(super) fn went_down(
        &mut self,
        reason: String,
        retain: FamilySet,
        restart: Option<output::PeerRestart>,
    ) {
        self.flaps += 1;
        let restart = restart.unwrap_or_default();
        self.actions.push_back(Action::Down(SessionEnd {
            reason,
            retain,
            restart_time: restart.restart_time,
            long_lived: restart.long_lived,
        }));
    }

    pub(super) fn send_notification(&mut self, direction: Direction, notification: &Notification) {
        if notification.error != ErrorCode::COLLISION_RESOLUTION {
            self.last_error_sent = Some(notification.to_string());
        }
        self.actions
            .push_back(Action::Send(direction, notification.encode()));
    }

    /// As [`Self::send_notification`]; to a peer that would keep our routes over it although we leave for good, as a
    /// Hard Reset (RFC 8538 §3.1).
    pub(super) fn send_last_words(&mut self, direction: Direction, notification: Notification) {
        let is_for_good =
            [ErrorCode::ADMINISTRATIVE_SHUTDOWN, ErrorCode::PEER_DECONFIGURED].contains(&notification.error);
        let notification = if is_for_good && self.has_notification_bit(direction) {
            Notification::hard_reset(&notification)
        } else {
            notification
        };
        self.send_notification(direction, &notification);
    }

    pub(super) fn drop_connection(&mut self, direction: Direction) {
        if self.slot(direction).take().is_some() {
            self.actions.push_back(Action::Close(direction));
        }
    }
}

impl Ending {
    pub(super) fn of(error: ErrorCode) -> Ending {
        match error {
            ErrorCode::COLLISION_RESOLUTION
            | ErrorCode::HOLD_TIMER_EXPIRED
            | ErrorCode::SEND_HOLD_TIMER_EXPIRED => Ending::Lost,
            // RFC 4486 §4: whoever says these takes a new session at once.
            ErrorCode::ADMINISTRATIVE_RESET | ErrorCode::OTHER_CONFIGURATION_CHANGE => Ending::Lost,
            ErrorCode { code: 6, .. } => Ending::Ceased,
            ErrorCode { .. } => Ending::Error,
        }
    }
}
