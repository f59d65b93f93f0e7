//! When what is due: hold, keepalive and send hold timers, and their jitter.

use std::time::{Duration, Instant};

use crate::session::collision::Direction;
use crate::session::connection::{Connection, Phase};
use crate::session::dial::Dial;
use crate::session::{Action, Sending, Session};
use crate::wire::header;
use crate::wire::iana::ErrorCode;
use crate::wire::notification::Notification;

/// HoldTimer while the peer's OPEN is awaited (RFC 4271 §8.2.2 suggests 4 minutes).
pub(super) const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);
/// Shortest send hold time (RFC 9687 §4).
const SEND_HOLD_MIN: Duration = Duration::from_secs(480);
/// Grace for a peer whose octets are here and not read yet.
pub(super) const UNREAD_GRACE: Duration = Duration::from_secs(1);
/// Longest that any timer runs; whatever is configured beyond cannot overflow the clock.
const TIMER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Beats of [`Session::keep_beat`] in one keepalive interval.
const KEEPALIVE_BEATS: u128 = 16;

impl Session {
    /// The socket took all of our bytes, some (what is left waits), or none: stops, starts anew or starts the send
    /// hold timer (RFC 9687). A configured time of zero means no timer.
    pub fn handle_sending(&mut self, now: Instant, direction: Direction, sending: Sending) {
        let configured = self.config.send_hold;
        let Some(connection) = self.slot(direction) else {
            return;
        };
        let hold_time = connection
            .negotiated()
            .map_or(Duration::ZERO, |negotiated| negotiated.hold_time);
        let send_hold = configured.unwrap_or((hold_time * 2).max(SEND_HOLD_MIN));
        let deadline = (!send_hold.is_zero()).then(|| later(now, send_hold));
        connection.send_hold_at = match sending {
            Sending::Done => None,
            Sending::Progress => deadline,
            Sending::Stuck => connection.send_hold_at.or(deadline),
        };
    }

    /// Whether the peer would be let go now for being silent.
    pub fn is_hold_due(&self, now: Instant, direction: Direction) -> bool {
        self.connection(direction)
            .and_then(|connection| connection.hold_at)
            .is_some_and(|at| at <= now)
    }

    /// The peer is not silent: its octets wait to be read, by us.
    pub fn handle_unread(&mut self, now: Instant, direction: Direction) {
        if self.is_hold_due(now, direction)
            && let Some(connection) = self.slot(direction)
        {
            connection.hold_at = Some(now + UNREAD_GRACE);
        }
    }

    /// Lets due timers act.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.dial {
            Dial::Connecting(at) if at <= now => {
                self.actions.push_back(Action::CancelDial);
                self.handle_dial_failed(now, "timed out");
            }
            Dial::Retry(at) | Dial::IdleHold(at) if at <= now => self.dial_now(now),
            Dial::Shut(at) if at <= now => {
                self.dial = Dial::Off;
                self.dial_at(now);
            }
            Dial::Off | Dial::Connecting(_) | Dial::Retry(_) | Dial::IdleHold(_) | Dial::Shut(_) => {}
        }
        for direction in [Direction::Outgoing, Direction::Incoming] {
            self.connection_timeout(now, direction);
        }
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dial = match self.dial {
            Dial::Off => None,
            Dial::Connecting(at) | Dial::Retry(at) | Dial::IdleHold(at) | Dial::Shut(at) => Some(at),
        };
        let timers = [&self.outgoing, &self.incoming]
            .into_iter()
            .flatten()
            .filter_map(Connection::next_timer);
        timers.chain(dial).min()
    }

    pub(super) fn connection_timeout(&mut self, now: Instant, direction: Direction) {
        let Some(connection) = self.connection(direction) else {
            return;
        };
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if matches!(connection.phase, Phase::DelayOpen(at) if at <= now) {
            return self.send_open(now, direction);
        }
        if is_due(connection.hold_at) {
            let notification = Notification::new(ErrorCode::HOLD_TIMER_EXPIRED);
            return self.expire(now, direction, &notification);
        }
        if is_due(connection.send_hold_at) {
            let notification = Notification::new(ErrorCode::SEND_HOLD_TIMER_EXPIRED);
            return self.expire(now, direction, &notification);
        }
        if is_due(connection.keepalive_at) {
            let hold_time = connection
                .negotiated()
                .map_or(Duration::ZERO, |negotiated| negotiated.hold_time);
            let next = self.next_keepalive(now, hold_time);
            if let Some(connection) = self.slot(direction) {
                connection.keepalive_at = next;
            }
            self.actions
                .push_back(Action::Send(direction, header::keepalive()));
        }
    }

    /// When the next KEEPALIVE is due: with jitter, and then on a beat, which is never later.
    pub(super) fn next_keepalive(&mut self, now: Instant, hold_time: Duration) -> Option<Instant> {
        if hold_time.is_zero() {
            return None;
        }
        let third = hold_time / 3;
        let interval = self
            .config
            .keepalive
            .filter(|wanted| !wanted.is_zero())
            .map_or(third, |wanted| wanted.min(third));
        let at = now + self.jittered(interval);
        let past_beat = self.beat.map_or(0, |origin| {
            let tick = interval.as_nanos() / KEEPALIVE_BEATS;
            at.saturating_duration_since(origin).as_nanos() % tick.max(1)
        });
        Some(at - Duration::from_nanos(past_beat as u64))
    }

    pub(super) fn rearm_keepalives(&mut self, now: Instant) {
        for direction in [Direction::Outgoing, Direction::Incoming] {
            let Some(hold_time) = self
                .connection(direction)
                .and_then(Connection::negotiated)
                .map(|n| n.hold_time)
            else {
                continue;
            };
            let next = self.next_keepalive(now, hold_time);
            if let Some(connection) = self.slot(direction) {
                connection.keepalive_at = next;
            }
        }
    }

    /// 75 to 100 % of a time (RFC 4271 §10).
    pub(super) fn jittered(&mut self, time: Duration) -> Duration {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        time.min(TIMER_MAX) * (768 + (self.jitter % 256) as u32) / 1024
    }
}

/// A time from now, within what the clock can hold.
pub(super) fn later(now: Instant, wait: Duration) -> Instant {
    now + wait.min(TIMER_MAX)
}

pub(super) fn restart_hold_timer(connection: &mut Connection, now: Instant) {
    let hold_time = connection
        .negotiated()
        .map_or(Duration::ZERO, |negotiated| negotiated.hold_time);
    connection.hold_at = hold_deadline(now, hold_time);
}

/// RFC 4271 §4.2: a hold time of zero means no timer.
pub(super) fn hold_deadline(now: Instant, hold_time: Duration) -> Option<Instant> {
    (!hold_time.is_zero()).then(|| now + hold_time)
}
