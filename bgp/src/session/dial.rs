//! The dialling half of a session: RFC 4271's ConnectRetryTimer and IdleHoldTimer.

use std::time::{Duration, Instant};

use crate::session::ending::Ending;
use crate::session::timers::later;
use crate::session::{Action, Session};

/// How long a dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest back-off.
const IDLE_HOLD_MAX: Duration = Duration::from_secs(60);

/// The dialling half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dial {
    /// Not wanted: passive, connected, or stopped.
    Off,
    /// Under way, given up at this time.
    Connecting(Instant),
    /// Next try.
    Retry(Instant),
    /// Next try, after an error: RFC 4271's IdleHoldTimer.
    IdleHold(Instant),
    /// The peer sent too much: until then nothing is dialled, and nothing taken either, or what it dials would bring
    /// the same again at once.
    Shut(Instant),
}

impl Session {
    /// TcpConnectionFails while dialling.
    pub fn handle_dial_failed(&mut self, now: Instant, error: &str) {
        if !matches!(self.dial, Dial::Connecting(_)) {
            return;
        }
        self.last_error = Some(format!("connect: {error}"));
        let wait = self.jittered(self.retry_wait.min(self.config.connect_retry));
        self.retry_wait = self.retry_wait.saturating_mul(2).min(self.config.connect_retry);
        self.dial = if self.has_their_open() {
            Dial::Off
        } else {
            Dial::Retry(later(now, wait))
        };
    }

    pub(super) fn next_dial(&mut self, now: Instant, ending: Ending) -> Dial {
        let (retry, idle) = (self.config.connect_retry, self.config.idle_hold);
        match ending {
            Ending::Unanswered => Dial::Retry(later(now, self.jittered(retry))),
            Ending::Lost => Dial::IdleHold(later(now, idle)),
            Ending::Overrun => Dial::Shut(later(now, IDLE_HOLD_MAX.max(idle))),
            Ending::Ceased => Dial::IdleHold(later(now, retry.max(idle))),
            Ending::Error => {
                let wait = self.idle_hold;
                self.idle_hold = wait.saturating_mul(2).min(IDLE_HOLD_MAX.max(idle));
                Dial::IdleHold(later(now, wait))
            }
        }
    }

    /// The operator has done something about it: an idle peer is tried, or let in, now.
    pub fn retry(&mut self, now: Instant) {
        if self.is_started && matches!(self.dial, Dial::Retry(_) | Dial::IdleHold(_) | Dial::Shut(_)) {
            (self.idle_hold, self.retry_wait) = (self.config.idle_hold, self.config.first_retry);
            self.dial = Dial::Off;
            self.dial_at(now);
        }
    }

    pub(super) fn dial_at(&mut self, now: Instant) {
        if !self.config.passive {
            self.dial_now(now);
        }
    }

    pub(super) fn dial_now(&mut self, now: Instant) {
        self.dial = Dial::Connecting(now + DIAL_TIMEOUT);
        self.actions.push_back(Action::Dial);
    }

    pub(super) fn set_dial(&mut self, dial: Dial) {
        if matches!(self.dial, Dial::Connecting(_)) {
            self.actions.push_back(Action::CancelDial);
        }
        self.dial = dial;
    }
}
