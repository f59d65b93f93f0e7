//! A session that is given another configuration: what it takes to get there.

use std::time::Instant;

use crate::session::Session;
use crate::session::Stop;
use crate::session::config::{GracefulRestart, PeerConfig};
use crate::session::dial::Dial;
use crate::wire::iana::ErrorCode;
use crate::wire::notification::Notification;

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

/// What becomes of a peer's routes while its session starts again because of us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meanwhile {
    /// They stay where both sides can do so (RFC 8538).
    Keep,
    /// They go: they are another speaker's, or nobody vouches for them.
    Forget,
}

impl Meanwhile {
    pub(super) fn between(old: &PeerConfig, new: &PeerConfig) -> Meanwhile {
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

impl Session {
    /// What it would take to run with another configuration.
    pub fn classify(&self, new: &PeerConfig) -> ChangeClass {
        classify(&self.config, new)
    }

    /// Runs with another configuration from now on; resets the session only where that is unavoidable.
    pub fn change(&mut self, now: Instant, new: PeerConfig) {
        let mut reasons = reset_reasons(&self.config, &new);
        // What was sent on a connection that is not up yet may be lost for its TTL, and waits long to be sent again.
        if self.config.ttl_security != new.ttl_security && !self.is_established() {
            reasons.push("TTL security");
        }
        let class = match (reasons.is_empty(), self.config == new) {
            (false, _) => ChangeClass::Reset,
            (true, false) => ChangeClass::Live,
            (true, true) => ChangeClass::None,
        };
        if class == ChangeClass::Reset {
            let words = Notification::new(ErrorCode::OTHER_CONFIGURATION_CHANGE);
            self.stop_and(&Stop::Notify(words), Meanwhile::between(&self.config, &new));
        }
        let is_elsewhere = self.config.port != new.port;
        self.config = new;
        (self.idle_hold, self.retry_wait) = (self.config.idle_hold, self.config.first_retry);
        match class {
            ChangeClass::None => {}
            ChangeClass::Reset => {
                self.last_error = Some(format!("configuration changed: {}", reasons.join(", ")));
                self.start(now);
            }
            ChangeClass::Live => {
                if self.config.passive && !matches!(self.dial, Dial::Off | Dial::Shut(_)) {
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
}

/// What it takes to get from one configuration to another.
pub(super) fn classify(old: &PeerConfig, new: &PeerConfig) -> ChangeClass {
    if old == new {
        ChangeClass::None
    } else if reset_reasons(old, new).is_empty() {
        ChangeClass::Live
    } else {
        ChangeClass::Reset
    }
}

/// The changes that need a new connection or a new OPEN, in an operator's words. Taken apart without `..`: a new field
/// must be placed.
pub(super) fn reset_reasons(old: &PeerConfig, new: &PeerConfig) -> Vec<&'static str> {
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
        password,
        role,
        graceful_restart,
        // A standing connection takes it up: no message says anything of it (RFC 5082).
        ttl_security: _,
        // None of these is on the wire before the next OPEN, if at all.
        name: _,
        port: _,
        passive: _,
        keepalive: _,
        first_retry: _,
        connect_retry: _,
        idle_hold: _,
        delay_open: _,
        send_hold: _,
        bfd: _,
    } = new;
    // A new restart time may wait for the next OPEN; whether there is graceful restart at all may not.
    let same_restart =
        std::mem::discriminant(graceful_restart) == std::mem::discriminant(&old.graceful_restart);
    let rows = [
        (*address == old.address, "address"),
        (*interface == old.interface, "interface"),
        (*remote_as == old.remote_as, "AS"),
        (*local_as == old.local_as, "local AS"),
        (*router_id == old.router_id, "router id"),
        (*source == old.source, "source address"),
        (*held == old.held, "held"),
        (*families == old.families, "families"),
        (*hold_time == old.hold_time, "hold time"),
        (*add_path == old.add_path, "ADD-PATH"),
        (*extended_next_hop == old.extended_next_hop, "extended next hop"),
        (*password == old.password, "password"),
        (*role == old.role, "role"),
        (same_restart, "graceful restart"),
    ];
    rows.into_iter()
        .filter(|(is_same, _)| !is_same)
        .map(|(_, name)| name)
        .collect()
}
