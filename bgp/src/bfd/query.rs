//! A BFD session as people see it.

use serde::Serialize;

use crate::bfd::{Path, State};

/// One BFD session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BfdView {
    /// Our state.
    pub state: State,
    /// The peer's, as it last said; Down until it says anything.
    pub remote_state: State,
    /// Single hop or multihop.
    pub path: Path,
    /// Why our state last changed; empty while nothing went wrong.
    pub diagnostic: String,
    /// The peer's diagnostic, as it last said; empty while nothing went wrong there.
    pub remote_diagnostic: String,
    /// Our discriminator.
    pub discriminator: u32,
    /// The peer's; zero while it is unknown.
    pub remote_discriminator: u32,
    /// Interval between our packets in microseconds, before jitter; zero: none are sent.
    pub tx_interval_us: u64,
    /// The longest interval between the peer's packets in microseconds; zero while it is unknown.
    pub rx_interval_us: u64,
    /// Silence after which the session is down, in microseconds; zero while it is unknown.
    pub detection_time_us: u64,
    /// How often an Up session was lost.
    pub flaps: u64,
    /// Why packets cannot be sent or received; `None` when they can.
    pub error: Option<String>,
}

impl BfdView {
    /// A session that cannot be started.
    pub fn not_started(path: Path, error: String) -> BfdView {
        BfdView {
            state: State::Down,
            remote_state: State::Down,
            path,
            diagnostic: String::new(),
            remote_diagnostic: String::new(),
            discriminator: 0,
            remote_discriminator: 0,
            tx_interval_us: 0,
            rx_interval_us: 0,
            detection_time_us: 0,
            flaps: 0,
            error: Some(error),
        }
    }
}
