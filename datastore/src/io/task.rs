//! From a back-end's events to desired states: one owner of the cache, the newest state wins.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backend::{StoreEvent, StoreStatus};
use crate::cache::{Cache, Changed};
use crate::desired::{DesiredState, Environment, NoPlan, Planner};
use crate::io::etcd::{self, EtcdConfig};
use crate::io::file;

/// Events that may wait.
const EVENTS: usize = 1024;
/// A lone change acts at once; under a burst, changes are taken together for this long,
const QUIET: Duration = Duration::from_millis(4);
/// but never longer than this.
const PATIENCE: Duration = Duration::from_millis(250);

/// Where Calico's resources are.
#[derive(Clone, Debug)]
pub enum Source {
    /// etcd v3.
    Etcd(EtcdConfig),
    /// A folder of manifests, or one file.
    File(std::path::PathBuf),
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
    /// Whether a complete snapshot has been read.
    pub is_in_sync: bool,
    /// Revision of the newest state.
    pub revision: i64,
    /// Places in the datastore that cannot be read, with the reason.
    pub unreadable: Vec<(String, String)>,
}

/// Follows the datastore until cancelled. The receiver always holds the newest state.
pub fn spawn(
    source: Source,
    node: String,
    environment: watch::Receiver<Environment>,
    cancel: CancellationToken,
) -> watch::Receiver<StoreState> {
    let (sender, receiver) = watch::channel(StoreState::default());
    let (events, received) = mpsc::channel(EVENTS);
    match source {
        Source::Etcd(config) => drop(tokio::spawn(etcd::run(
            config,
            node.clone(),
            events,
            cancel.clone(),
        ))),
        Source::File(path) => drop(tokio::spawn(file::run(path, events, cancel.clone()))),
    }
    let planner = Planner::new(node.clone(), environment.borrow().clone());
    let task = Task {
        node,
        cache: Cache::new(),
        planner,
        sender,
        received,
        environment,
        complaint: None,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = task.run() => {}
        }
    });
    receiver
}

struct Task {
    node: String,
    cache: Cache,
    planner: Planner,
    sender: watch::Sender<StoreState>,
    received: mpsc::Receiver<StoreEvent>,
    environment: watch::Receiver<Environment>,
    complaint: Option<String>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let mut changed = Changed::NOTHING;
            let mut is_environment_new = false;
            tokio::select! {
                event = self.received.recv() => match event {
                    Some(event) => changed = self.handle(event),
                    None => return,
                },
                result = self.environment.changed() => {
                    if result.is_err() {
                        return;
                    }
                    is_environment_new = true;
                }
            }
            changed = self.gather(changed).await;
            if is_environment_new {
                let environment = self.environment.borrow_and_update().clone();
                self.planner.set_environment(environment);
            }
            self.publish(changed.concerns_plan() || is_environment_new);
        }
    }

    /// Takes what else arrives within a moment.
    async fn gather(&mut self, mut changed: Changed) -> Changed {
        let limit = Instant::now() + PATIENCE;
        while Instant::now() < limit {
            match tokio::time::timeout(QUIET, self.received.recv()).await {
                Ok(Some(event)) => changed = changed.and(self.handle(event)),
                Ok(None) | Err(_) => break,
            }
        }
        changed
    }

    fn handle(&mut self, event: StoreEvent) -> Changed {
        self.cache.handle(event)
    }

    fn publish(&mut self, is_plan_affected: bool) {
        let was_waiting = self.sender.borrow().desired.is_none() || self.complaint.is_some();
        let plan = (is_plan_affected || was_waiting).then(|| self.planner.plan(&self.cache));
        let mut new = self.sender.borrow().clone();
        new.status = self.cache.status().cloned();
        new.is_in_sync = self.cache.is_complete();
        new.revision = self.cache.revision();
        new.unreadable = self
            .cache
            .unreadable_origins()
            .map(|(origin, why)| (origin.to_owned(), why.to_owned()))
            .collect();
        match plan {
            None => {}
            Some(Ok(desired)) => {
                if self.complaint.take().is_some() {
                    info!(node = %self.node, "the node's configuration is there");
                }
                new.waiting = None;
                let is_same = new.desired.as_deref() == Some(&desired);
                if !is_same {
                    report(new.desired.as_deref(), &desired);
                    new.desired = Some(Arc::new(desired));
                }
            }
            // What the node did before stays as it is (C206).
            Some(Err(reason)) => self.wait(&mut new, &reason),
        }
        self.sender.send_replace(new);
    }

    fn wait(&mut self, new: &mut StoreState, reason: &NoPlan) {
        let text = match reason {
            NoPlan::NotReady => "the first complete read of the datastore".to_owned(),
            other => format!("{other}; waiting for it"),
        };
        if self.complaint.as_ref() != Some(&text) {
            if !matches!(reason, NoPlan::NotReady) {
                warn!("{text}");
            }
            self.complaint = Some(text.clone());
        }
        new.waiting = Some(text);
    }
}

/// Logs problems that are new.
fn report(old: Option<&DesiredState>, new: &DesiredState) {
    let known = old.map(|state| state.problems.as_slice()).unwrap_or_default();
    for problem in new.problems.iter().filter(|problem| !known.contains(problem)) {
        warn!(resource = %problem.resource, field = %problem.field, "{}", problem.message);
    }
}
