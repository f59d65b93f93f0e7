//! One session: the state machine of RFC 5880 §6.8 without I/O.
//!
//! The caller feeds it packets that belong to it and the time, sends what [`Session::poll_transmit`] gives, hears
//! what [`Session::poll_event`] says, and calls [`Session::handle_timeout`] no later than [`Session::poll_timeout`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::bfd::packet::{Flags, Packet};
use crate::bfd::timing::{Intervals, Jitter};
use crate::bfd::{Diagnostic, State};
use crate::session::config::Bfd;

/// What the owner of a session must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// State or timers are not what they were.
    Changed,
    /// The session was Up and the path is lost. Not said when the peer's operator ended BFD (RFC 5882 §4.2).
    Lost(Loss),
}

/// How a path was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// We heard nothing, or the peer says that it does not hear us.
    pub diagnostic: Diagnostic,
    /// When the peer was last heard while the session was Up. What began later was never vouched for by BFD.
    pub heard_up: Instant,
}

/// What the peer last said of itself; all of it is forgotten after a Detection Time of silence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Remote {
    discriminator: u32,
    state: State,
    diagnostic: Diagnostic,
    multiplier: u8,
    min_tx: u32,
    min_rx: u32,
    wants_silence: bool,
}

impl Remote {
    /// RFC 5880 §6.8.1.
    const UNKNOWN: Remote = Remote {
        discriminator: 0,
        state: State::Down,
        diagnostic: Diagnostic::None,
        multiplier: 0,
        min_tx: 0,
        min_rx: 1,
        wants_silence: false,
    };
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    config: Bfd,
    discriminator: u32,
    state: State,
    diagnostic: Diagnostic,
    remote: Remote,
    /// What our packets say.
    advertised: Intervals,
    /// What we act by: behind `advertised` while a Poll Sequence runs.
    in_force: Intervals,
    is_polling: bool,
    last_sent: Option<Instant>,
    last_received: Option<Instant>,
    heard_up: Option<Instant>,
    /// `None`: no periodic packets.
    transmit_at: Option<Instant>,
    jitter: Jitter,
    flaps: u64,
    packets: VecDeque<Packet>,
    events: VecDeque<Event>,
}

impl Session {
    /// A session in state Down that takes the active role: it speaks first. `seed` spreads the packets of many.
    pub fn new(now: Instant, config: Bfd, discriminator: u32, seed: u64) -> Session {
        let intervals = Intervals::wanted(config, false);
        Session {
            config,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::None,
            remote: Remote::UNKNOWN,
            advertised: intervals,
            in_force: intervals,
            is_polling: false,
            last_sent: None,
            last_received: None,
            heard_up: None,
            transmit_at: Some(now),
            jitter: Jitter::new(seed),
            flaps: 0,
            packets: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// bfd.SessionState.
    pub fn state(&self) -> State {
        self.state
    }

    /// bfd.RemoteSessionState.
    pub fn remote_state(&self) -> State {
        self.remote.state
    }

    /// bfd.LocalDiag.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// The diagnostic that the peer last sent.
    pub fn remote_diagnostic(&self) -> Diagnostic {
        self.remote.diagnostic
    }

    /// bfd.RemoteDiscr; zero while it is unknown.
    pub fn remote_discriminator(&self) -> u32 {
        self.remote.discriminator
    }

    /// How often an Up session was lost.
    pub fn flaps(&self) -> u64 {
        self.flaps
    }

    /// Interval between our packets before jitter; `None`: none are sent unasked (RFC 5880 §6.8.7).
    pub fn tx_interval(&self) -> Option<Duration> {
        let is_asked_for_silence = self.remote.wants_silence
            && self.state == State::Up
            && self.remote.state == State::Up
            && !self.is_polling;
        let is_silent = self.remote.min_rx == 0 || is_asked_for_silence;
        (!is_silent).then(|| from_micros(self.in_force.tx.max(self.remote.min_rx)))
    }

    /// The longest interval between the peer's packets; `None` while it is unknown.
    pub fn rx_interval(&self) -> Option<Duration> {
        (self.remote.multiplier > 0).then(|| from_micros(self.in_force.rx.max(self.remote.min_tx)))
    }

    /// Silence that ends the session (RFC 5880 §6.8.4); `None` while it is unknown.
    pub fn detection_time(&self) -> Option<Duration> {
        Some(self.rx_interval()? * u32::from(self.remote.multiplier))
    }

    /// How long a session that ends has to say so: a Detection Time of the peer's (RFC 5880 §6.8.16).
    pub fn farewell_time(&self) -> Option<Duration> {
        Some(self.tx_interval()? * u32::from(self.config.multiplier.max(1)))
    }

    /// Runs with other timers from now on. The session stays; the peer is told by a Poll Sequence.
    pub fn change(&mut self, now: Instant, config: Bfd) {
        if config == self.config {
            return;
        }
        self.config = config;
        self.advertise(now);
        self.events.push_back(Event::Changed);
    }

    /// Ends the session for administrative reasons: the peer hears so, and concludes nothing about the path.
    pub fn admin_down(&mut self, now: Instant) {
        self.enter(now, State::AdminDown, Diagnostic::AdministrativelyDown);
    }

    /// A packet for this session (RFC 5880 §6.8.6, from the point on at which nothing can be wrong with it any more).
    pub fn handle_packet(&mut self, now: Instant, packet: &Packet) {
        let before = self.remote;
        self.remote = Remote {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            multiplier: packet.detect_multiplier,
            min_tx: packet.desired_min_tx,
            min_rx: packet.required_min_rx,
            wants_silence: packet.flags.contains(Flags::DEMAND),
        };
        if self.state == State::AdminDown {
            return;
        }
        self.last_received = Some(now);
        if packet.flags.contains(Flags::FINAL) && self.is_polling {
            self.is_polling = false;
            self.in_force = self.advertised;
            self.advertise(now);
            self.events.push_back(Event::Changed);
        }
        if let Some((state, diagnostic)) = next(self.state, packet.state) {
            self.enter(now, state, diagnostic.unwrap_or(self.diagnostic));
        }
        if self.state == State::Up {
            self.heard_up = Some(now);
        }
        if packet.flags.contains(Flags::POLL) {
            let answer = self.packet(Flags::FINAL);
            self.packets.push_back(answer);
        }
        if before != self.remote {
            self.events.push_back(Event::Changed);
            self.schedule(now);
        }
    }

    /// Lets due timers act.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.detect_at().is_some_and(|at| at <= now) {
            self.remote = Remote::UNKNOWN;
            match self.state {
                State::Init | State::Up => self.enter(now, State::Down, Diagnostic::DetectionTimeExpired),
                State::Down | State::AdminDown => self.events.push_back(Event::Changed),
            }
            self.schedule(now);
        }
        if self.transmit_at.is_some_and(|at| at <= now) {
            self.transmit(now);
        }
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.transmit_at, self.detect_at()].into_iter().flatten().min()
    }

    /// The next packet to send, at once.
    pub fn poll_transmit(&mut self) -> Option<Packet> {
        self.packets.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn detect_at(&self) -> Option<Instant> {
        // A peer that is forgotten has no multiplier, and so no Detection Time.
        Some(self.last_received? + self.detection_time()?)
    }

    fn enter(&mut self, now: Instant, state: State, diagnostic: Diagnostic) {
        let old = std::mem::replace(&mut self.state, state);
        self.diagnostic = diagnostic;
        if old == State::Up && state == State::Down {
            self.flaps += 1;
            // RFC 5882 §4.2: that an operator ends BFD is no news of the path.
            if self.remote.state != State::AdminDown {
                let heard_up = self.heard_up.unwrap_or(now);
                self.events.push_back(Event::Lost(Loss { diagnostic, heard_up }));
            }
        }
        if matches!(state, State::Down | State::AdminDown) {
            self.is_polling = false;
        }
        self.advertise(now);
        self.events.push_back(Event::Changed);
        // The other side shall know before the next interval is over (RFC 5880 §6.8.7).
        self.schedule(now);
        if self.transmit_at.is_some() {
            self.transmit(now);
        }
    }

    /// Puts what is wanted into our packets, unless the peer is just being asked whether it knows of something else:
    /// its answer would not tell which.
    fn advertise(&mut self, now: Instant) {
        let wanted = Intervals::wanted(self.config, self.state == State::Up);
        if self.is_polling || (wanted == self.advertised && wanted == self.in_force) {
            return;
        }
        self.advertised = wanted;
        match self.state {
            State::Init | State::Up => {
                self.is_polling = true;
                self.in_force = self.in_force.until_known(wanted);
            }
            State::Down | State::AdminDown => self.in_force = wanted,
        }
        self.schedule(now);
    }

    fn transmit(&mut self, now: Instant) {
        let flags = if self.is_polling { Flags::POLL } else { Flags::NONE };
        let packet = self.packet(flags);
        self.packets.push_back(packet);
        self.last_sent = Some(now);
        self.schedule(now);
    }

    /// Sets the time of the next periodic packet by what is known now; never later than it already was, unless the
    /// interval grew.
    fn schedule(&mut self, now: Instant) {
        self.transmit_at = self.tx_interval().map(|interval| match self.last_sent {
            Some(sent) => (sent + self.jitter.apply(interval, self.config.multiplier)).max(now),
            None => now,
        });
    }

    fn packet(&self, flags: Flags) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            flags,
            detect_multiplier: self.config.multiplier.max(1),
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: self.advertised.tx,
            required_min_rx: self.advertised.rx,
            required_min_echo_rx: 0,
        }
    }
}

/// RFC 5880 §6.2, §6.8.6: the state that a packet leads to, and the diagnostic where it changes; `None`: no change.
fn next(ours: State, theirs: State) -> Option<(State, Option<Diagnostic>)> {
    use State::{AdminDown, Down, Init, Up};
    match (ours, theirs) {
        (AdminDown, AdminDown | Down | Init | Up) => None,
        (Down, AdminDown | Up) => None,
        (Down, Down) => Some((Init, None)),
        (Down, Init) => Some((Up, None)),
        (Init, AdminDown) => Some((Down, Some(Diagnostic::NeighborDown))),
        (Init, Down) => None,
        (Init, Init | Up) => Some((Up, None)),
        (Up, AdminDown | Down) => Some((Down, Some(Diagnostic::NeighborDown))),
        (Up, Init | Up) => None,
    }
}

fn from_micros(micros: u32) -> Duration {
    Duration::from_micros(u64::from(micros))
}

#[cfg(test)]
mod tests;
