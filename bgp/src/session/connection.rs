//! One TCP connection of a session, from OPEN on.

use std::net::IpAddr;
use std::time::Instant;

use crate::session::output::Negotiated;
use crate::wire::open::Open;

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Ours is held back until theirs is in, or this is over: RFC 4271's DelayOpenTimer. In its words a dial that got
    /// here is still in Connect, and a peer that dialled us finds us in Active.
    DelayOpen(Instant),
    /// Our OPEN is out.
    OpenSent,
    /// Theirs is in, and suits; their KEEPALIVE is awaited.
    OpenConfirm(Box<Negotiated>),
    /// Routes flow.
    Established(Box<Negotiated>),
}

/// A connection and its timers.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) phase: Phase,
    pub(crate) local_address: IpAddr,
    /// Their OPEN, once it is in.
    pub(crate) theirs: Option<Open>,
    /// Their KEEPALIVE came in OpenConfirm, but a connection of theirs that would win a collision is still waiting
    /// for its OPEN: becoming Established now would cross their choice, and both connections would go.
    pub(crate) is_confirmed: bool,
    /// When it became Established.
    pub(crate) established_at: Option<Instant>,
    /// HoldTimer; `None`: not running.
    pub(crate) hold_at: Option<Instant>,
    /// KeepaliveTimer.
    pub(crate) keepalive_at: Option<Instant>,
    /// SendHoldTimer (RFC 9687): runs while the socket takes nothing.
    pub(crate) send_hold_at: Option<Instant>,
}

impl Connection {
    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        match &self.phase {
            Phase::DelayOpen(_) | Phase::OpenSent => None,
            Phase::OpenConfirm(negotiated) | Phase::Established(negotiated) => Some(negotiated),
        }
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established(_))
    }

    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let open_at = match self.phase {
            Phase::DelayOpen(at) => Some(at),
            Phase::OpenSent | Phase::OpenConfirm(_) | Phase::Established(_) => None,
        };
        [open_at, self.hold_at, self.keepalive_at, self.send_hold_at]
            .into_iter()
            .flatten()
            .min()
    }
}
