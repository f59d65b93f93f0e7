//! From a back-end's events to desired states: one owner of the cache, the newest state wins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backend::{StoreEvent, StoreStatus};
use crate::cache::{Cache, Changed, Kind};
use crate::desired::{DesiredState, Environment, NoPlan, Planner};
use crate::guard::Guard;
use crate::io::backend::Backend;
use crate::key::Key;
use crate::model::CalicoNodeStatus;

/// Events that may wait.
const EVENTS: usize = 1024;
/// A lone change acts at once; under a burst, changes are taken together for this long,
const QUIET: Duration = Duration::from_millis(4);
/// but never longer than this.
const PATIENCE: Duration = Duration::from_millis(250);

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
    /// Objects whose deletion is held back, because most of their kind vanished at once.
    pub held: Vec<String>,
    /// CalicoNodeStatus objects that ask this node, by name.
    pub status_requests: Arc<BTreeMap<String, CalicoNodeStatus>>,
    /// Fields of CalicoNodeStatus objects that cannot be honoured: the object, and what is wrong.
    pub status_problems: Vec<(String, String)>,
}

/// The running task.
#[derive(Clone, Debug)]
pub struct Store {
    /// Always holds the newest state.
    pub state: watch::Receiver<StoreState>,
    release: Arc<Notify>,
}

impl Store {
    /// Says that deletions which are held back are meant so.
    pub fn release_held(&self) {
        self.release.notify_one();
    }
}

/// Follows a back-end until cancelled. The receiver always holds the newest state.
pub fn spawn(
    backend: impl Backend,
    node: String,
    environment: watch::Receiver<Environment>,
    cancel: CancellationToken,
) -> watch::Receiver<StoreState> {
    let hold = backend.guard_hold();
    spawn_guarded(backend, node, environment, hold, cancel).state
}

/// The same, with a choice for how long mass deletions are held back; `None`: not at all.
pub fn spawn_guarded(
    backend: impl Backend,
    node: String,
    environment: watch::Receiver<Environment>,
    hold: Option<Duration>,
    cancel: CancellationToken,
) -> Store {
    let (sender, state) = watch::channel(StoreState::default());
    let (events, received) = mpsc::channel(EVENTS);
    tokio::spawn(backend.run(node.clone(), events, cancel.clone()));
    let release = Arc::new(Notify::new());
    let planner = Planner::new(node.clone(), environment.borrow().clone());
    let task = Task {
        node,
        cache: Cache::new(),
        guard: hold.map(Guard::new),
        planner,
        sender,
        received,
        environment,
        release: release.clone(),
        complaint: None,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = task.run() => {}
        }
    });
    Store { state, release }
}

struct Task {
    node: String,
    cache: Cache,
    guard: Option<Guard>,
    planner: Planner,
    sender: watch::Sender<StoreState>,
    received: mpsc::Receiver<StoreEvent>,
    environment: watch::Receiver<Environment>,
    release: Arc<Notify>,
    complaint: Option<String>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let mut changed = Changed::NOTHING;
            let mut is_environment_new = false;
            let held_until = self.guard.as_ref().and_then(Guard::poll_timeout);
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
                () = until(held_until) => changed = self.let_go(Guard::handle_timeout),
                () = self.release.notified() => changed = self.let_go(Guard::release),
            }
            changed = self.gather(changed).await;
            if is_environment_new {
                let environment = self.environment.borrow_and_update().clone();
                self.planner.set_environment(environment);
            }
            self.publish(changed, is_environment_new);
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
        match &mut self.guard {
            Some(guard) => {
                let events = guard.handle(Instant::now().into_std(), event);
                self.take(events)
            }
            None => self.cache.handle(event),
        }
    }

    /// What the guard held back and does not any more.
    fn let_go(&mut self, ask: fn(&mut Guard, std::time::Instant) -> Vec<StoreEvent>) -> Changed {
        let now = Instant::now().into_std();
        let events = self.guard.as_mut().map(|guard| ask(guard, now));
        self.take(events.unwrap_or_default())
    }

    fn take(&mut self, events: Vec<StoreEvent>) -> Changed {
        events.into_iter().fold(Changed::NOTHING, |changed, event| {
            changed.and(self.cache.handle(event))
        })
    }

    fn publish(&mut self, changed: Changed, is_environment_new: bool) {
        let is_plan_affected = changed.concerns_plan() || is_environment_new;
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
        let held = self.guard.iter().flat_map(Guard::held);
        new.held = held.map(ToString::to_string).collect();
        if changed.contains(Kind::Statuses) {
            self.take_statuses(&mut new);
        }
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

    fn take_statuses(&self, new: &mut StoreState) {
        let ours = self.cache.statuses().filter_map(|(name, stored)| {
            let request = stored.object.as_ref()?;
            (request.node == self.node).then(|| (name.clone(), request.clone()))
        });
        new.status_requests = Arc::new(ours.collect());
        new.status_problems = Vec::new();
        for (name, stored) in self.cache.statuses() {
            let key = Key::CalicoNodeStatus(name.clone()).to_string();
            let fields = stored.problems.iter();
            let fields = fields.map(|problem| format!("{}: {}", problem.field, problem.message));
            let messages = fields.chain(
                stored
                    .unreadable
                    .iter()
                    .map(|why| format!("cannot be read: {why}")),
            );
            let problems = messages.map(|message| (key.clone(), message));
            new.status_problems.extend(problems);
        }
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

/// Waits until then; without a time, for ever.
async fn until(time: Option<std::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Logs problems that are new.
fn report(old: Option<&DesiredState>, new: &DesiredState) {
    let known = old.map(|state| state.problems.as_slice()).unwrap_or_default();
    for problem in new.problems.iter().filter(|problem| !known.contains(problem)) {
        warn!(resource = %problem.resource, field = %problem.field, "{}", problem.message);
    }
}
