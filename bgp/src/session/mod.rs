//! The session of one peer: RFC 4271 §8 as a machine without I/O.
//!
//! The caller feeds it with `handle_*`, carries out what [`Session::poll_action`] says until that is `None`, and
//! calls [`Session::handle_timeout`] no later than [`Session::poll_timeout`]. Up to two connections exist at a time,
//! one dialled and one accepted, until `collision` has chosen.

mod bfd;
mod change;
pub mod collision;
pub mod config;
mod connection;
pub mod counts;
mod dial;
mod ending;
mod establish;
mod negotiate;
pub mod output;
pub mod query;
mod receive;
mod timers;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use crate::session::change::ChangeClass;
use crate::session::change::Meanwhile;
use crate::session::collision::Direction;
use crate::session::config::PeerConfig;
use crate::session::connection::{Connection, Phase};
use crate::session::counts::MessageCounts;
use crate::session::dial::Dial;
use crate::session::ending::Ending;
pub use crate::session::negotiate::Resumption;
use crate::session::output::{Negotiated, SessionEnd};
use crate::session::query::State;
use crate::session::timers::{OPEN_HOLD_TIME, later};
use crate::wire::header;
use crate::wire::iana::ErrorCode;
use crate::wire::notification::Notification;

/// Something that the caller has to do, in order.
#[derive(Debug)]
pub enum Action {
    /// Open a connection to the peer.
    Dial,
    /// Give up a dial that has not succeeded yet.
    CancelDial,
    /// Send a message on a connection, before anything less urgent.
    Send(Direction, Bytes),
    /// Close a connection once everything before is sent.
    Close(Direction),
    /// The session is Established on this connection; routes flow from now on.
    Up(Direction, Box<Negotiated>),
    /// The session is no longer Established.
    Down(SessionEnd),
}

/// What becomes of a connection that stands.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Connected {
    /// The session uses it.
    Taken,
    /// It is to be closed; nothing else changes.
    Refused(Notification),
}

/// How far the writing of what a session sent has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sending {
    /// Nothing is left.
    Done,
    /// Something was taken, something is left.
    Progress,
    /// Something is left, and nothing was taken.
    Stuck,
}

/// How the daemon stops a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The peer shall keep our routes: the connection ends without a word (RFC 4724). A peer that does not do
    /// graceful restart gets an administrative shutdown.
    Restart,
    /// The peer shall forget our routes, and is told this.
    Notify(Notification),
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    config: PeerConfig,
    is_restarting: bool,
    /// There was a daemon before: a peer that comes late may still keep its routes.
    has_come_back: bool,
    is_started: bool,
    dial: Dial,
    outgoing: Option<Connection>,
    incoming: Option<Connection>,
    idle_hold: Duration,
    retry_wait: Duration,
    jitter: u64,
    /// Where common beats are counted from; `None`: this session keeps its own time.
    beat: Option<Instant>,
    actions: VecDeque<Action>,
    last_error: Option<String>,
    last_error_sent: Option<String>,
    last_error_received: Option<String>,
    received: MessageCounts,
    flaps: u64,
    /// Until when further malformed UPDATEs are not worth a line each.
    quiet_until: Option<Instant>,
}

impl Session {
    /// A session that does nothing until [`Self::start`]. `seed` spreads the timers of many sessions.
    pub fn new(config: PeerConfig, resumption: Resumption, seed: u64) -> Self {
        let (idle_hold, retry_wait) = (config.idle_hold, config.first_retry);
        Session {
            config,
            is_restarting: resumption == Resumption::Restart,
            has_come_back: resumption != Resumption::None,
            is_started: false,
            dial: Dial::Off,
            outgoing: None,
            incoming: None,
            idle_hold,
            retry_wait,
            jitter: seed | 1,
            beat: None,
            actions: VecDeque::new(),
            last_error: None,
            last_error_sent: None,
            last_error_received: None,
            received: MessageCounts::default(),
            flaps: 0,
            quiet_until: None,
        }
    }

    /// Sessions that are given the same origin send KEEPALIVEs of one interval at common beats, a sixteenth of it
    /// apart: one wake-up of the machine serves many sessions.
    pub fn keep_beat(&mut self, origin: Instant) {
        self.beat = Some(origin);
    }

    /// The configuration in force.
    pub fn config(&self) -> &PeerConfig {
        &self.config
    }

    /// RFC 4271's name for where the session is.
    pub fn state(&self) -> State {
        let furthest = [(State::Connect, &self.outgoing), (State::Active, &self.incoming)]
            .into_iter()
            .filter_map(|(before, connection)| Some((before, connection.as_ref()?)))
            .map(|(before, connection)| match connection.phase {
                Phase::DelayOpen(_) => before,
                Phase::OpenSent => State::OpenSent,
                Phase::OpenConfirm(_) => State::OpenConfirm,
                Phase::Established(_) => State::Established,
            });
        furthest.max().unwrap_or(match self.dial {
            _ if !self.is_started => State::Idle,
            Dial::Connecting(_) => State::Connect,
            Dial::Off | Dial::Retry(_) => State::Active,
            Dial::IdleHold(_) | Dial::Shut(_) => State::Idle,
        })
    }

    /// Why the last session or attempt ended.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// The last NOTIFICATION sent, in words; collisions do not count.
    pub fn last_error_sent(&self) -> Option<&str> {
        self.last_error_sent.as_deref()
    }

    /// The last NOTIFICATION received, in words; collisions do not count.
    pub fn last_error_received(&self) -> Option<&str> {
        self.last_error_received.as_deref()
    }

    /// Messages taken from the peer; their octets are the caller's to count.
    pub fn received(&self) -> MessageCounts {
        self.received
    }

    /// How often an Established session has ended.
    pub fn flaps(&self) -> u64 {
        self.flaps
    }

    /// What the Established session negotiated.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        let established = self.established()?;
        self.connection(established)?.negotiated()
    }

    /// ManualStart, AutomaticStart. A held peer stays Idle.
    pub fn start(&mut self, now: Instant) {
        self.start_in(now, Duration::ZERO);
    }

    /// As [`Self::start`], but dials only after a while: the session's task has failed, and might at once again. What
    /// the peer dials is taken.
    pub fn start_in(&mut self, now: Instant, wait: Duration) {
        if self.is_started {
            return;
        }
        match self.config.held {
            Some(reason) => self.last_error = Some(reason.to_string()),
            None => {
                self.is_started = true;
                if wait.is_zero() || self.config.passive {
                    self.dial_at(now);
                } else {
                    self.dial = Dial::IdleHold(later(now, wait));
                }
            }
        }
    }

    /// ManualStop. Nothing is dialled or accepted until [`Self::start`].
    pub fn stop(&mut self, how: &Stop) {
        self.stop_and(how, Meanwhile::Forget);
    }

    /// From the next OPEN on, peers are not told that we are restarting.
    pub fn recovery_done(&mut self) {
        self.is_restarting = false;
    }

    /// Whether a connection from the peer would be taken.
    pub fn accepts(&self) -> bool {
        self.is_started && !matches!(self.dial, Dial::Shut(_))
    }

    /// TcpConnectionConfirmed, Tcp_CR_Acked: a connection stands. One that is taken replaces what stood in its place,
    /// which the actions close first; one that is refused is the caller's to close, after these last words.
    pub fn handle_connected(
        &mut self,
        now: Instant,
        direction: Direction,
        local_address: IpAddr,
    ) -> Connected {
        if direction == Direction::Outgoing {
            self.dial = Dial::Off;
        }
        if !self.accepts() {
            return Connected::Refused(Notification::new(ErrorCode::CONNECTION_REJECTED));
        }
        if let Some(established) = self.established() {
            if !self.is_restarted_peer(now, established, direction) {
                // Should the peer's host have forgotten the old connection, this makes it say so at once.
                self.actions
                    .push_back(Action::Send(established, header::keepalive()));
                return Connected::Refused(Notification::new(ErrorCode::COLLISION_RESOLUTION));
            }
            // RFC 4724 §5: the peer has restarted and we have not noticed yet.
            let retain = self.retainable(established);
            self.end(
                now,
                established,
                "the peer opened a new connection".into(),
                retain,
                Ending::Lost,
            );
        } else if self.connection(direction).is_some() {
            // A peer that dials twice means the newer connection; a stale one would hold it off for minutes.
            self.send_notification(direction, &Notification::new(ErrorCode::COLLISION_RESOLUTION));
            self.drop_connection(direction);
        }
        if direction == Direction::Incoming && matches!(self.dial, Dial::Retry(_) | Dial::IdleHold(_)) {
            // The peer is there: what it opened will do, unless no OPEN comes on it.
            let wait = self.jittered(self.config.connect_retry);
            self.dial = Dial::Retry(later(now, wait));
        }
        let delay = self.config.delay_open;
        *self.slot(direction) = Some(Connection {
            phase: Phase::DelayOpen(later(now, delay)),
            local_address,
            theirs: None,
            is_confirmed: false,
            established_at: None,
            hold_at: None,
            keepalive_at: None,
            send_hold_at: None,
        });
        if delay.is_zero() {
            self.send_open(now, direction);
        }
        Connected::Taken
    }

    /// Sends our OPEN, at once or when DelayOpenTimer is over: OpenSent.
    fn send_open(&mut self, now: Instant, direction: Direction) {
        let open = negotiate::our_open(&self.config, self.resumption()).encode();
        if let Some(connection) = self.slot(direction) {
            connection.phase = Phase::OpenSent;
            connection.hold_at = Some(now + OPEN_HOLD_TIME);
        }
        self.actions.push_back(Action::Send(direction, open));
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What our next OPEN says of before (RFC 4724 §3). Whatever happens to a session, the kernel keeps forwarding
    /// for it, so a peer that is seen again shall not forget our routes first (RFC 8538 §4).
    fn resumption(&self) -> Resumption {
        if self.is_restarting {
            Resumption::Restart
        } else if self.has_come_back || self.flaps > 0 {
            Resumption::Forwarding
        } else {
            Resumption::None
        }
    }

    fn has_their_open(&self) -> bool {
        [&self.outgoing, &self.incoming]
            .into_iter()
            .flatten()
            .any(|connection| connection.theirs.is_some())
    }

    fn is_unconnected(&self) -> bool {
        self.outgoing.is_none() && self.incoming.is_none()
    }

    pub(crate) fn is_established(&self) -> bool {
        self.established().is_some()
    }

    fn established(&self) -> Option<Direction> {
        [Direction::Outgoing, Direction::Incoming]
            .into_iter()
            .find(|&direction| self.connection(direction).is_some_and(Connection::is_established))
    }

    fn connection(&self, direction: Direction) -> Option<&Connection> {
        match direction {
            Direction::Outgoing => self.outgoing.as_ref(),
            Direction::Incoming => self.incoming.as_ref(),
        }
    }

    fn slot(&mut self, direction: Direction) -> &mut Option<Connection> {
        match direction {
            Direction::Outgoing => &mut self.outgoing,
            Direction::Incoming => &mut self.incoming,
        }
    }
}

#[cfg(test)]
mod tests;
