//! What the task is told, and what it shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::backend::StoreStatus;
use crate::desired::DesiredState;
use crate::io::snapshot::SnapshotFile;
use crate::model::CalicoNodeStatus;

/// How the task goes about it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// How long mass deletions are held back; `None`: not at all.
    pub hold: Option<Duration>,
    /// Where the last good state is kept; `None`: nowhere.
    pub snapshot: Option<SnapshotFile>,
}

/// What the daemon sees of the datastore.
#[derive(Clone, Debug, Default)]
pub struct StoreState {
    /// What the node should do; the last one that could be computed. `None` until there was one.
    pub desired: Option<Arc<DesiredState>>,
    /// What is waited for; `None` when the newest state is in force.
    pub waiting: Option<String>,
    /// The connection, once it has been tried.
    pub status: Option<StoreStatus>,
    /// Whether a complete snapshot has been read from the source.
    pub is_in_sync: bool,
    /// Revision of the newest state.
    pub revision: i64,
    /// How long what is in force may not be the newest any more; `None` while it is, or when nothing is in force.
    pub stale: Option<Staleness>,
    /// Whether what is in force was read from disk: the source has not been reached since the start.
    pub is_from_disk: bool,
    /// Places in the datastore that cannot be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// How long mass deletions are held back; `None`: not at all.
    pub hold: Option<Duration>,
    /// Objects whose deletion is held back, because most of their kind vanished at once.
    pub held: Vec<HeldDeletion>,
    /// CalicoNodeStatus objects that ask this node, by name.
    pub status_requests: Arc<BTreeMap<String, CalicoNodeStatus>>,
    /// Fields of CalicoNodeStatus objects that cannot be honoured: the object, and what is wrong.
    pub status_problems: Vec<(String, String)>,
}

/// How long a state may not have been the newest. A clock that is set makes it neither older nor younger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Staleness {
    at_first: Duration,
    since: Instant,
}

impl Staleness {
    /// The state was the newest until now.
    pub(super) fn from_now() -> Staleness {
        Staleness {
            at_first: Duration::ZERO,
            since: Instant::now(),
        }
    }

    /// The state was last known to be the newest then.
    pub(super) fn since(confirmed: SystemTime) -> Staleness {
        Staleness {
            at_first: confirmed.elapsed().unwrap_or_default(),
            since: Instant::now(),
        }
    }

    /// How long that is by now.
    pub fn elapsed(&self) -> Duration {
        self.at_first + self.since.elapsed()
    }
}

/// An object whose deletion is held back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldDeletion {
    /// The object, as `BGPPeer/rack-1`.
    pub resource: String,
    /// When it will be believed.
    pub until: SystemTime,
}
