//! BFD's sockets and its thread.
//!
//! ```text
//! speaker ─ what every peer should have (watch) ─► thread: Sessions, timers, UDP sockets
//!    ▲                                                 │
//!    └── losses, each once ── views (watch) ───────────┘
//! ```
//!
//! A thread and not a task (`docs/adr/0021-bfd.md`): with three packets of 50 ms a session is gone after 150 ms, which a single
//! thread that is loading a table cannot promise to answer within. The thread starts with the first peer that wants
//! BFD; without one, no port is taken.

mod link;
mod on_link;
mod port;
mod runner;

use std::collections::BTreeMap;
use std::future::pending;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::error;

use crate::bfd::{BfdView, Loss};
use crate::peer_id::PeerId;
use crate::session::config::{Bfd, PeerConfig};

/// Losses that wait for the speaker. More wait in the thread, at most one a peer and detection.
const LOSSES: usize = 256;
/// How long the last words of all sessions may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a peer should have.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    name: String,
    address: IpAddr,
    interface: Option<String>,
    source: Option<IpAddr>,
    hops: Option<u8>,
    timers: Bfd,
}

/// `None`: BFD was on and is off; the peer may still have it on.
type WantedPeers = BTreeMap<PeerId, Option<Wanted>>;
type Views = BTreeMap<PeerId, BfdView>;

/// The path to a peer is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathLost {
    pub(crate) peer: PeerId,
    pub(crate) loss: Loss,
}

/// The speaker's end.
#[derive(Debug)]
pub(crate) struct BfdPeers {
    wanted: watch::Sender<WantedPeers>,
    thread: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    views: watch::Receiver<Views>,
    losses: mpsc::Receiver<PathLost>,
}

impl BfdPeers {
    pub(crate) fn new() -> BfdPeers {
        BfdPeers {
            wanted: watch::Sender::default(),
            thread: None,
        }
    }

    /// A peer was added or changed: it has BFD as its configuration says.
    pub(crate) fn set(&mut self, id: PeerId, config: &PeerConfig) {
        let wanted = wanted(config);
        let is_wanted = wanted.is_some();
        self.wanted.send_if_modified(|peers| {
            let old = peers.get(&id).cloned();
            match (&old, wanted) {
                (_, Some(wanted)) => peers.insert(id, Some(wanted)),
                (Some(_), None) if config.held.is_none() => peers.insert(id, None),
                (_, None) => peers.remove(&id),
            };
            old.as_ref() != peers.get(&id)
        });
        if is_wanted && self.thread.is_none() {
            self.thread = Thread::start(self.wanted.subscribe());
        }
    }

    /// A peer is gone.
    pub(crate) fn remove(&mut self, id: PeerId) {
        self.wanted.send_if_modified(|peers| peers.remove(&id).is_some());
    }

    /// How a peer's BFD session is; `None` without one.
    pub(crate) fn view(&self, id: PeerId) -> Option<BfdView> {
        self.thread.as_ref()?.views.borrow().get(&id).cloned()
    }

    /// The next lost path. Cancel safe.
    pub(crate) async fn lost(&mut self) -> PathLost {
        loop {
            let Some(thread) = &mut self.thread else {
                return pending().await;
            };
            match thread.losses.recv().await {
                Some(lost) => return lost,
                None => {
                    error!("the BFD thread ended; it starts again when a peer with BFD is configured");
                    self.thread = None;
                }
            }
        }
    }

    /// Tells all peers that BFD ends and means nothing, once the BGP sessions are closed: BIRD 2.0 ends a session that
    /// stands over an AdminDown, and would forget our routes while we restart.
    pub(crate) async fn shutdown(&mut self) {
        let Some(mut thread) = self.thread.take() else {
            return;
        };
        // The thread ends when nobody can want anything any more, and its channel with it.
        self.wanted = watch::Sender::default();
        let ended = async { while thread.losses.recv().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, ended).await.is_err() {
            error!("the BFD thread did not end in time");
        }
    }
}

/// A held peer has no session to watch over.
fn wanted(config: &PeerConfig) -> Option<Wanted> {
    let timers = config.bfd.filter(|_| config.held.is_none())?;
    Some(Wanted {
        name: config.name.clone(),
        address: config.address,
        interface: config.interface.clone(),
        source: config.source,
        hops: config.ttl_security,
        timers,
    })
}

impl Thread {
    fn start(wanted: watch::Receiver<WantedPeers>) -> Option<Thread> {
        let (views, viewed) = watch::channel(Views::new());
        let (losing, losses) = mpsc::channel(LOSSES);
        let started = thread::Builder::new()
            .name("bfd".into())
            .spawn(move || runner::run(wanted, views, losing));
        match started {
            Ok(_) => Some(Thread {
                views: viewed,
                losses,
            }),
            Err(cause) => {
                error!(error = %cause, "cannot start the BFD thread");
                None
            }
        }
    }
}
