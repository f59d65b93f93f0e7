//! The session of one peer: RFC 4271 §8 as a machine without I/O.
//!
//! The caller feeds it with `handle_*`, carries out what [`Session::poll_action`] says until that is `None`, and
//! calls [`Session::handle_timeout`] no later than [`Session::poll_timeout`]. Up to two connections exist at a time,
//! one dialled and one accepted, until `collision` has chosen.

mod bfd;
pub mod collision;
pub mod config;
mod connection;
mod negotiate;
pub mod output;
pub mod query;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tracing::{debug, info, warn};

use crate::family::FamilySet;
use crate::session::collision::Direction;
use crate::session::config::{GracefulRestart, PeerConfig};
use crate::session::connection::{Connection, Phase};
use crate::session::negotiate::Resumption;
use crate::session::output::{Negotiated, SessionEnd};
use crate::session::query::State;
use crate::wire::header;
use crate::wire::iana::{ErrorCode, message};
use crate::wire::notification::Notification;
use crate::wire::open::Open;
use crate::wire::route_refresh::{self, RouteRefresh};
use crate::wire::update::{self, BatchItem, DecodeOptions, UpdateBatch};

/// HoldTimer while the peer's OPEN is awaited (RFC 4271 §8.2.2 suggests 4 minutes).
const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);
/// How long a dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection waits for the OPEN on another that would win.
const COLLISION_WAIT: Duration = Duration::from_secs(5);
/// Longest back-off.
const IDLE_HOLD_MAX: Duration = Duration::from_secs(60);
/// Shortest send hold time (RFC 9687 §4).
const SEND_HOLD_MIN: Duration = Duration::from_secs(480);
/// Grace for a peer whose octets are here and not read yet.
const UNREAD_GRACE: Duration = Duration::from_secs(1);
/// Longest that any timer runs; whatever is configured beyond cannot overflow the clock.
const TIMER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Beats of [`Session::keep_beat`] in one keepalive interval.
const KEEPALIVE_BEATS: u128 = 16;

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

/// What a change of configuration needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ChangeClass {
    /// The configurations are equal.
    None,
    /// It takes effect at once, and the session stays.
    Live,
    /// The session must start again.
    Reset,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    config: PeerConfig,
    is_restarting: bool,
    /// The daemon restarted: a peer that comes late may still keep routes of the run before.
    has_come_back: bool,
    is_started: bool,
    dial: Dial,
    outgoing: Option<Connection>,
    incoming: Option<Connection>,
    idle_hold: Duration,
    jitter: u64,
    /// Where common beats are counted from; `None`: this session keeps its own time.
    beat: Option<Instant>,
    actions: VecDeque<Action>,
    last_error: Option<String>,
    flaps: u64,
}

/// How a connection ended, as far as the next dial is concerned. In a session's life as RFC 4271 §8.2.2 has it,
/// everything but the first goes to Idle; how long it stays there is ours to choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// Lost before the peer said anything: it is starting, or does not know us yet. Not an error (OpenSent, event
    /// 18), or a peer that merely restarts would be found late.
    Unanswered,
    /// Lost later, fell silent, or lost to the other connection: tried again soon, never more slowly.
    Lost,
    /// Ended on purpose by either side (Cease).
    Ceased,
    /// Somebody erred, and will again: tried ever more slowly.
    Error,
}

/// The dialling half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dial {
    /// Not wanted: passive, connected, or stopped.
    Off,
    /// Under way, given up at this time.
    Connecting(Instant),
    /// Next try.
    Retry(Instant),
    /// Next try, after an error: RFC 4271's IdleHoldTimer.
    IdleHold(Instant),
}

impl Session {
    /// A session that does nothing until [`Self::start`]. `seed` spreads the timers of many sessions.
    pub fn new(config: PeerConfig, is_restarting: bool, seed: u64) -> Self {
        let idle_hold = config.idle_hold;
        Session {
            config,
            is_restarting,
            has_come_back: is_restarting,
            is_started: false,
            dial: Dial::Off,
            outgoing: None,
            incoming: None,
            idle_hold,
            jitter: seed | 1,
            beat: None,
            actions: VecDeque::new(),
            last_error: None,
            flaps: 0,
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
        let furthest = [&self.outgoing, &self.incoming]
            .into_iter()
            .flatten()
            .map(|connection| match connection.phase {
                Phase::OpenSent => State::OpenSent,
                Phase::OpenConfirm(_) => State::OpenConfirm,
                Phase::Established(_) => State::Established,
            });
        furthest.max().unwrap_or(match self.dial {
            _ if !self.is_started => State::Idle,
            Dial::Connecting(_) => State::Connect,
            Dial::Off | Dial::Retry(_) => State::Active,
            Dial::IdleHold(_) => State::Idle,
        })
    }

    /// Why the last session or attempt ended.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
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

    fn stop_and(&mut self, how: &Stop, meanwhile: Meanwhile) {
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

    /// What it would take to run with another configuration.
    pub fn classify(&self, new: &PeerConfig) -> ChangeClass {
        classify(&self.config, new)
    }

    /// Runs with another configuration from now on; resets the session only where that is unavoidable.
    pub fn change(&mut self, now: Instant, new: PeerConfig) {
        let class = self.classify(&new);
        if class == ChangeClass::Reset {
            let words = Notification::new(ErrorCode::OTHER_CONFIGURATION_CHANGE);
            self.stop_and(&Stop::Notify(words), Meanwhile::between(&self.config, &new));
        }
        let is_elsewhere = self.config.port != new.port;
        self.config = new;
        self.idle_hold = self.config.idle_hold;
        match class {
            ChangeClass::None => {}
            ChangeClass::Reset => {
                self.last_error = Some("configuration changed".into());
                self.start(now);
            }
            ChangeClass::Live => {
                if self.config.passive && !matches!(self.dial, Dial::Off) {
                    self.set_dial(Dial::Off);
                } else if !self.config.passive
                    && self.is_started
                    && self.is_unconnected()
                    && (self.dial == Dial::Off || is_elsewhere)
                {
                    self.set_dial(Dial::Off);
                    self.dial_at(now);
                }
                self.rearm_keepalives(now);
            }
        }
    }

    /// From the next OPEN on, peers are not told that we are restarting.
    pub fn recovery_done(&mut self) {
        self.is_restarting = false;
    }

    /// Ends an Established session with a NOTIFICATION and starts again after the back-off.
    pub fn reset(&mut self, now: Instant, notification: &Notification, reason: String) {
        for direction in [Direction::Outgoing, Direction::Incoming] {
            if self.connection(direction).is_some() {
                self.fail(now, direction, Some(notification), reason.clone());
            }
        }
    }

    /// Whether a connection from the peer would be taken.
    pub fn accepts(&self) -> bool {
        self.is_started
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
        if !self.is_started {
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
        let connection = Connection {
            phase: Phase::OpenSent,
            local_address,
            theirs: None,
            is_confirmed: false,
            established_at: None,
            hold_at: Some(now + OPEN_HOLD_TIME),
            keepalive_at: None,
            send_hold_at: None,
        };
        *self.slot(direction) = Some(connection);
        let open = negotiate::our_open(&self.config, self.resumption());
        self.actions.push_back(Action::Send(direction, open.encode()));
        Connected::Taken
    }

    /// TcpConnectionFails while dialling.
    pub fn handle_dial_failed(&mut self, now: Instant, error: &str) {
        if !matches!(self.dial, Dial::Connecting(_)) {
            return;
        }
        self.last_error = Some(format!("connect: {error}"));
        let wait = self.jittered(self.config.connect_retry);
        self.dial = if self.has_their_open() {
            Dial::Off
        } else {
            Dial::Retry(later(now, wait))
        };
    }

    /// TcpConnectionFails of a connection that stood.
    pub fn handle_closed(&mut self, now: Instant, direction: Direction, error: Option<&str>) {
        let reason = match error {
            Some(error) => format!("connection lost: {error}"),
            None => "connection closed by the peer".into(),
        };
        self.fail(now, direction, None, reason);
    }

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

    /// Decodes what a connection received. Whole messages are taken from `bytes`; routes are appended to `batch`.
    pub fn handle_bytes(
        &mut self,
        now: Instant,
        direction: Direction,
        bytes: &mut (impl Buf + AsRef<[u8]>),
        batch: &mut UpdateBatch,
    ) {
        while let Some(connection) = self.connection(direction) {
            let is_extended = connection
                .negotiated()
                .is_some_and(|n| usize::from(n.max_message_len) > header::MAX_LEN);
            let header = match header::decode(bytes.as_ref(), is_extended) {
                Ok(Some(header)) if bytes.remaining() >= header.len => header,
                Ok(_) => return,
                Err(notification) => {
                    let reason = format!("sent: {notification}");
                    return self.fail(now, direction, Some(&notification), reason);
                }
            };
            // The message stays in the buffer while it is read; what it leaves behind is copied out.
            let taken =
                self.handle_message(now, direction, header.kind, &bytes.as_ref()[..header.len], batch);
            bytes.advance(header.len);
            if let Err(notification) = taken {
                let reason = format!("sent: {notification}");
                self.fail(now, direction, Some(&notification), reason);
            }
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
            Dial::Off | Dial::Connecting(_) | Dial::Retry(_) | Dial::IdleHold(_) => {}
        }
        for direction in [Direction::Outgoing, Direction::Incoming] {
            self.connection_timeout(now, direction);
        }
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dial = match self.dial {
            Dial::Off => None,
            Dial::Connecting(at) | Dial::Retry(at) | Dial::IdleHold(at) => Some(at),
        };
        let timers = [&self.outgoing, &self.incoming]
            .into_iter()
            .flatten()
            .filter_map(Connection::next_timer);
        timers.chain(dial).min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn handle_message(
        &mut self,
        now: Instant,
        direction: Direction,
        kind: u8,
        whole: &[u8],
        batch: &mut UpdateBatch,
    ) -> Result<(), Notification> {
        let body = &whole[header::LEN..];
        if kind == message::NOTIFICATION {
            self.handle_notification(now, direction, body);
            return Ok(());
        }
        let is_external = self.config.local_as != self.config.remote_as;
        let Some(connection) = self.slot(direction) else {
            return Ok(());
        };
        match (&connection.phase, kind) {
            (Phase::OpenSent, message::OPEN) => self.handle_open(now, direction, body),
            (Phase::OpenSent, _) => Err(Notification::with(ErrorCode::UNEXPECTED_IN_OPEN_SENT, [kind])),
            (Phase::OpenConfirm(_), message::KEEPALIVE) => {
                restart_hold_timer(connection, now);
                self.establish(now, direction);
                Ok(())
            }
            // While we wait for the other connection, the peer has chosen this one: for it this is Established.
            (Phase::OpenConfirm(_), message::UPDATE | message::ROUTE_REFRESH) if connection.is_confirmed => {
                self.choose(now, direction);
                self.handle_message(now, direction, kind, whole, batch)
            }
            (Phase::OpenConfirm(_), _) => {
                Err(Notification::with(ErrorCode::UNEXPECTED_IN_OPEN_CONFIRM, [kind]))
            }
            (Phase::Established(_), message::KEEPALIVE) => {
                restart_hold_timer(connection, now);
                Ok(())
            }
            (Phase::Established(negotiated), message::UPDATE) => {
                let options = decode_options(is_external, negotiated);
                restart_hold_timer(connection, now);
                self.handle_update(body, &options, batch)
            }
            (Phase::Established(negotiated), message::ROUTE_REFRESH) => {
                let is_enhanced = negotiated.enhanced_refresh;
                let families = negotiated.families;
                restart_hold_timer(connection, now);
                handle_refresh(whole, is_enhanced, families, batch)
            }
            (Phase::Established(_), _) => {
                Err(Notification::with(ErrorCode::UNEXPECTED_IN_ESTABLISHED, [kind]))
            }
        }
    }

    fn handle_open(&mut self, now: Instant, direction: Direction, body: &[u8]) -> Result<(), Notification> {
        let theirs = Open::decode(body)?;
        let local_address = match self.connection(direction) {
            Some(connection) => connection.local_address,
            None => return Ok(()),
        };
        let negotiated = negotiate::negotiate(&self.config, &theirs, local_address)?;
        let ours = (self.config.router_id, self.config.local_as);
        let loser = collision::loser(ours, (theirs.router_id, negotiated.remote_as));
        let other = direction.opposite();
        if self
            .connection(other)
            .is_some_and(|connection| connection.theirs.is_some())
        {
            debug!(peer = %self.config.name, ?loser, "two connections, one closes");
            self.send_notification(loser, &Notification::new(ErrorCode::COLLISION_RESOLUTION));
            self.drop_connection(loser);
            if loser == direction {
                self.resume(now, other);
                return Ok(());
            }
        }
        let keepalive_at = self.next_keepalive(now, negotiated.hold_time);
        if let Some(connection) = self.slot(direction) {
            connection.hold_at = hold_deadline(now, negotiated.hold_time);
            connection.keepalive_at = keepalive_at;
            connection.theirs = Some(theirs);
            connection.phase = Phase::OpenConfirm(Box::new(negotiated));
        }
        if matches!(self.dial, Dial::Retry(_) | Dial::IdleHold(_)) {
            self.dial = Dial::Off;
        }
        self.actions
            .push_back(Action::Send(direction, header::keepalive()));
        Ok(())
    }

    /// Their KEEPALIVE came: Established, unless the peer will prefer the other connection.
    fn establish(&mut self, now: Instant, direction: Direction) {
        let is_rivalled = self.connection(direction.opposite()).is_some();
        if is_rivalled && self.collision_loser(direction) == Some(direction) {
            self.defer(now, direction);
        } else {
            self.choose(now, direction);
        }
    }

    /// This connection is Established; another there is closes.
    fn choose(&mut self, now: Instant, direction: Direction) {
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
            Phase::OpenSent => return,
        };
        connection.phase = Phase::Established(negotiated.clone());
        connection.established_at = Some(now);
        self.idle_hold = self.config.idle_hold;
        self.last_error = None;
        info!(peer = %self.config.name, address = %self.config.address, "session established");
        self.actions.push_back(Action::Up(direction, negotiated));
    }

    /// Waits for the OPEN on the other connection, which the peer will prefer, but not for long.
    fn defer(&mut self, now: Instant, direction: Direction) {
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
    fn resume(&mut self, now: Instant, direction: Direction) {
        if self
            .connection(direction)
            .is_some_and(|c| c.is_confirmed && !c.is_established())
        {
            self.establish(now, direction);
        }
    }

    /// Which connection goes, by the OPEN that came on `direction`; `None` until one has come.
    fn collision_loser(&self, direction: Direction) -> Option<Direction> {
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

    fn handle_update(
        &mut self,
        body: &[u8],
        options: &DecodeOptions,
        batch: &mut UpdateBatch,
    ) -> Result<(), Notification> {
        match update::decode(body, options, batch) {
            Ok(outcome) => {
                if outcome.is_withdraw() {
                    warn!(peer = %self.config.name, incidents = ?outcome.incidents, "malformed UPDATE: its routes count as withdrawn");
                } else if !outcome.incidents.is_empty() {
                    debug!(peer = %self.config.name, incidents = ?outcome.incidents, "attributes left out of an UPDATE");
                }
                Ok(())
            }
            Err(error) => {
                warn!(peer = %self.config.name, %error, "malformed UPDATE");
                Err(Notification::with(
                    ErrorCode {
                        code: 3,
                        subcode: error.subcode,
                    },
                    error.data,
                ))
            }
        }
    }

    fn handle_notification(&mut self, now: Instant, direction: Direction, body: &[u8]) {
        let Some(notification) = Notification::decode(body) else {
            return;
        };
        let reason = format!("received: {notification}");
        let ending = Ending::of(notification.error);
        let retain = if notification.is_hard_reset() {
            (FamilySet::EMPTY, None)
        } else {
            self.retainable_over_notification(direction)
        };
        self.end(now, direction, reason, retain, ending);
    }

    /// Whether a second connection beside an Established one means that the peer has restarted, rather than that its
    /// own dial crossed ours.
    fn is_restarted_peer(&self, now: Instant, established: Direction, direction: Direction) -> bool {
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

    fn connection_timeout(&mut self, now: Instant, direction: Direction) {
        let Some(connection) = self.connection(direction) else {
            return;
        };
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
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

    /// The peer fell silent: for its routes that is like the loss of the connection (RFC 8538 §4), if it can take it.
    fn expire(&mut self, now: Instant, direction: Direction, notification: &Notification) {
        let retain = self.retainable_over_notification(direction);
        self.send_notification(direction, notification);
        let ending = Ending::of(notification.error);
        self.end(now, direction, format!("sent: {notification}"), retain, ending);
    }

    /// A connection fails. Without a NOTIFICATION its peer's routes may be kept (RFC 4724 §4.2).
    fn fail(
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
                ((FamilySet::EMPTY, None), Ending::of(notification.error))
            }
        };
        self.end(now, direction, reason, retain, ending);
    }

    /// RFC 8538 §4: with the N bit a NOTIFICATION is like the loss of the connection.
    fn retainable_over_notification(&self, direction: Direction) -> (FamilySet, Option<output::PeerRestart>) {
        if self.has_notification_bit(direction) {
            self.retainable(direction)
        } else {
            (FamilySet::EMPTY, None)
        }
    }

    fn has_notification_bit(&self, direction: Direction) -> bool {
        self.connection(direction)
            .and_then(Connection::negotiated)
            .and_then(|negotiated| negotiated.graceful_restart.as_ref())
            .is_some_and(|restart| restart.notification)
    }

    fn retainable(&self, direction: Direction) -> (FamilySet, Option<output::PeerRestart>) {
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

    fn end(
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
            self.dial = if self.config.passive {
                Dial::Off
            } else {
                self.next_dial(now, ending)
            };
        }
    }

    fn next_dial(&mut self, now: Instant, ending: Ending) -> Dial {
        let (retry, idle) = (self.config.connect_retry, self.config.idle_hold);
        match ending {
            Ending::Unanswered => Dial::Retry(later(now, self.jittered(retry))),
            Ending::Lost => Dial::IdleHold(later(now, idle)),
            Ending::Ceased => Dial::IdleHold(later(now, retry.max(idle))),
            Ending::Error => {
                let wait = self.idle_hold;
                self.idle_hold = wait.saturating_mul(2).min(IDLE_HOLD_MAX.max(idle));
                Dial::IdleHold(later(now, wait))
            }
        }
    }

    fn went_down(&mut self, reason: String, retain: FamilySet, restart: Option<output::PeerRestart>) {
        self.flaps += 1;
        let restart = restart.unwrap_or_default();
        self.actions.push_back(Action::Down(SessionEnd {
            reason,
            retain,
            restart_time: restart.restart_time,
            long_lived: restart.long_lived,
        }));
    }

    fn send_notification(&mut self, direction: Direction, notification: &Notification) {
        self.actions
            .push_back(Action::Send(direction, notification.encode()));
    }

    /// As [`Self::send_notification`]; to a peer that would keep our routes over it although we leave for good, as a
    /// Hard Reset (RFC 8538 §3.1).
    fn send_last_words(&mut self, direction: Direction, notification: Notification) {
        let is_for_good =
            [ErrorCode::ADMINISTRATIVE_SHUTDOWN, ErrorCode::PEER_DECONFIGURED].contains(&notification.error);
        let notification = if is_for_good && self.has_notification_bit(direction) {
            Notification::hard_reset(&notification)
        } else {
            notification
        };
        self.send_notification(direction, &notification);
    }

    /// What our next OPEN says of before (RFC 4724 §3). Whatever happens to a session, the kernel keeps forwarding
    /// for it, so a peer that is seen again shall not forget our routes first (RFC 8538 §4).
    fn resumption(&self) -> Resumption {
        if self.is_restarting {
            Resumption::Restart
        } else if self.has_come_back || self.flaps > 0 {
            Resumption::Session
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

    fn drop_connection(&mut self, direction: Direction) {
        if self.slot(direction).take().is_some() {
            self.actions.push_back(Action::Close(direction));
        }
    }

    fn dial_at(&mut self, now: Instant) {
        if !self.config.passive {
            self.dial_now(now);
        }
    }

    fn dial_now(&mut self, now: Instant) {
        self.dial = Dial::Connecting(now + DIAL_TIMEOUT);
        self.actions.push_back(Action::Dial);
    }

    fn set_dial(&mut self, dial: Dial) {
        if matches!(self.dial, Dial::Connecting(_)) {
            self.actions.push_back(Action::CancelDial);
        }
        self.dial = dial;
    }

    /// When the next KEEPALIVE is due: with jitter, and then on a beat, which is never later.
    fn next_keepalive(&mut self, now: Instant, hold_time: Duration) -> Option<Instant> {
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

    fn rearm_keepalives(&mut self, now: Instant) {
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
    fn jittered(&mut self, time: Duration) -> Duration {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        time.min(TIMER_MAX) * (768 + (self.jitter % 256) as u32) / 1024
    }

    fn is_unconnected(&self) -> bool {
        self.outgoing.is_none() && self.incoming.is_none()
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

/// What becomes of a peer's routes while its session starts again because of us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meanwhile {
    /// They stay where both sides can do so (RFC 8538).
    Keep,
    /// They go: they are another speaker's, or nobody vouches for them.
    Forget,
}

impl Meanwhile {
    fn between(old: &PeerConfig, new: &PeerConfig) -> Meanwhile {
        let is_same_peer = old.address == new.address
            && old.interface == new.interface
            && old.remote_as == new.remote_as
            && old.local_as == new.local_as
            && old.families == new.families
            && old.password == new.password
            && old.ttl_security == new.ttl_security
            && new.held.is_none()
            && new.graceful_restart != GracefulRestart::Off;
        if is_same_peer {
            Meanwhile::Keep
        } else {
            Meanwhile::Forget
        }
    }
}

impl Ending {
    fn of(error: ErrorCode) -> Ending {
        match error {
            ErrorCode::COLLISION_RESOLUTION
            | ErrorCode::HOLD_TIMER_EXPIRED
            | ErrorCode::SEND_HOLD_TIMER_EXPIRED => Ending::Lost,
            ErrorCode { code: 6, .. } => Ending::Ceased,
            ErrorCode { .. } => Ending::Error,
        }
    }
}

/// A time from now, within what the clock can hold.
fn later(now: Instant, wait: Duration) -> Instant {
    now + wait.min(TIMER_MAX)
}

fn handle_refresh(
    whole: &[u8],
    is_enhanced: bool,
    families: FamilySet,
    batch: &mut UpdateBatch,
) -> Result<(), Notification> {
    let item = match route_refresh::decode(whole, is_enhanced)? {
        Some(RouteRefresh::Request(family)) if families.contains(family) => BatchItem::RefreshRequest(family),
        Some(RouteRefresh::Begin(family)) if families.contains(family) => BatchItem::BeginOfRefresh(family),
        Some(RouteRefresh::End(family)) if families.contains(family) => BatchItem::EndOfRefresh(family),
        Some(_) | None => return Ok(()),
    };
    batch.items.push(item);
    Ok(())
}

fn decode_options(is_external: bool, negotiated: &Negotiated) -> DecodeOptions {
    DecodeOptions {
        four_octet_as: negotiated.four_octet_as,
        add_path: negotiated.add_path_receive,
        families: negotiated.families,
        extended_next_hop: negotiated.extended_next_hop,
        is_external,
    }
}

fn restart_hold_timer(connection: &mut Connection, now: Instant) {
    let hold_time = connection
        .negotiated()
        .map_or(Duration::ZERO, |negotiated| negotiated.hold_time);
    connection.hold_at = hold_deadline(now, hold_time);
}

/// RFC 4271 §4.2: a hold time of zero means no timer.
fn hold_deadline(now: Instant, hold_time: Duration) -> Option<Instant> {
    (!hold_time.is_zero()).then(|| now + hold_time)
}

/// What it takes to get from one configuration to another. Taken apart without `..`: a new field must be placed.
fn classify(old: &PeerConfig, new: &PeerConfig) -> ChangeClass {
    if old == new {
        return ChangeClass::None;
    }
    let PeerConfig {
        address,
        interface,
        remote_as,
        local_as,
        router_id,
        source,
        held,
        families,
        hold_time,
        add_path,
        extended_next_hop,
        ttl_security,
        password,
        role,
        graceful_restart,
        // None of these is on the wire before the next OPEN, if at all.
        name: _,
        port: _,
        passive: _,
        keepalive: _,
        connect_retry: _,
        idle_hold: _,
        send_hold: _,
        bfd: _,
    } = new;
    // A new restart time may wait for the next OPEN; whether there is graceful restart at all may not.
    let same_restart =
        std::mem::discriminant(graceful_restart) == std::mem::discriminant(&old.graceful_restart);
    let is_live = *address == old.address
        && *interface == old.interface
        && *remote_as == old.remote_as
        && *local_as == old.local_as
        && *router_id == old.router_id
        && *source == old.source
        && *held == old.held
        && *families == old.families
        && *hold_time == old.hold_time
        && *add_path == old.add_path
        && *extended_next_hop == old.extended_next_hop
        && *ttl_security == old.ttl_security
        && *password == old.password
        && *role == old.role
        && same_restart;
    if is_live {
        ChangeClass::Live
    } else {
        ChangeClass::Reset
    }
}

#[cfg(test)]
mod tests;
