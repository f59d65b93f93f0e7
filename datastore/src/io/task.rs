//! From a back-end's events to desired states: one owner of the cache, the newest state wins.

mod keeper;
mod state;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backend::{StoreEvent, StoreStatus};
use crate::cache::{Cache, Changed, Kind};
use crate::desired::{DesiredState, Environment, NoPlan, Planner, Problem};
use crate::guard::Guard;
use crate::inputs::Inputs;
use crate::io::backend::Backend;
use crate::key::Key;
use crate::model::MassWithdrawalGuard;
use crate::record::Record;

pub use state::{HeldDeletion, Options, Staleness, StoreState};

use keeper::Keeper;

/// Events that may wait.
const EVENTS: usize = 1024;
/// Requests that may wait.
const REQUESTS: usize = 8;
/// A lone change acts at once; under a burst, changes are taken together until there is none for this long,
const QUIET: Duration = Duration::from_millis(4);
/// but never longer than this: what is left of a quarter of a second is for acting on it.
const PATIENCE: Duration = Duration::from_millis(200);
/// A source that neither answers nor refuses counts as away after this long: the state on disk is used.
const SILENCE: Duration = Duration::from_secs(5);
/// Problems that are logged at once. One accident may be thousands.
const LOGGED: usize = 50;
/// A state on disk that was the newest this long ago still says what should be there. Kubernetes takes longer to give
/// a lost node's blocks to others: to hold on to those would be wrong.
const RECENT: Duration = Duration::from_secs(300);

enum Request {
    Release(oneshot::Sender<usize>),
    Inputs(oneshot::Sender<Box<Inputs>>),
}

/// The running task.
#[derive(Clone, Debug)]
pub struct Store {
    /// Always holds the newest state.
    pub state: watch::Receiver<StoreState>,
    requests: mpsc::Sender<Request>,
}

impl Store {
    /// Says that deletions which are held back are meant so; how many there were. `None` when the task has ended.
    pub async fn release_held(&self) -> Option<usize> {
        self.ask(Request::Release).await
    }

    /// What the desired state is computed from. `None` when the task has ended.
    pub async fn inputs(&self) -> Option<Box<Inputs>> {
        self.ask(Request::Inputs).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// Follows a back-end until cancelled.
pub fn spawn(
    backend: impl Backend,
    node: String,
    environment: watch::Receiver<Environment>,
    options: Options,
    cancel: CancellationToken,
) -> Store {
    let (sender, state) = watch::channel(StoreState::default());
    let (events, received) = mpsc::channel(EVENTS);
    let (requests, asked) = mpsc::channel(REQUESTS);
    tokio::spawn(backend.run(node.clone(), events, cancel.clone()));
    let planner = Planner::new(node.clone(), environment.borrow().clone());
    let task = Task {
        record: Record::new(node.clone()),
        node,
        cache: Cache::new(),
        hold: options.hold,
        guard: Guard::new(options.hold),
        planner,
        sender,
        received,
        environment,
        asked,
        disk_at: options.snapshot.is_some().then(|| Instant::now() + SILENCE),
        recalled: None,
        keeper: options.snapshot.map(Keeper::new),
        source: Source::Unread,
        is_receiving: false,
        stale: None,
        complaint: None,
    };
    tokio::spawn(task.run(cancel));
    Store { state, requests }
}

/// Where what is in force comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// Nothing is in force.
    Unread,
    /// The state on disk.
    Disk,
    /// The back-end.
    Backend,
}

struct Task {
    node: String,
    cache: Cache,
    record: Record,
    /// What the operator asked for; an annotation may switch the guard off as well.
    hold: Option<Duration>,
    guard: Guard,
    planner: Planner,
    sender: watch::Sender<StoreState>,
    received: mpsc::Receiver<StoreEvent>,
    environment: watch::Receiver<Environment>,
    asked: mpsc::Receiver<Request>,
    keeper: Option<Keeper>,
    /// When the state on disk is put in force unless there is a better one by then.
    disk_at: Option<Instant>,
    /// The state on disk, which nothing is planned from yet: what it was to a cache without anything, and when it was
    /// last known to be the newest.
    recalled: Option<(Changed, SystemTime)>,
    source: Source,
    /// Between `Begin` and `SnapshotDone`.
    is_receiving: bool,
    stale: Option<Staleness>,
    complaint: Option<String>,
}

impl Task {
    async fn run(mut self, cancel: CancellationToken) {
        self.recall().await;
        loop {
            let mut changed = Changed::NOTHING;
            let mut is_environment_new = false;
            let held_until = self.guard.poll_timeout().map(Instant::from_std);
            tokio::select! {
                () = cancel.cancelled() => break,
                event = self.received.recv() => match event {
                    Some(event) => changed = self.handle(event),
                    None => break,
                },
                result = self.environment.changed() => {
                    if result.is_err() {
                        break;
                    }
                    is_environment_new = true;
                }
                () = until(held_until) => changed = self.let_go(Guard::handle_timeout),
                Some(request) = self.asked.recv() => changed = self.answer(request),
                () = until(self.disk_at.filter(|_| !self.is_receiving)) => changed = self.use_disk(),
                () = ready(&mut self.keeper) => {
                    if let Some(keeper) = &mut self.keeper {
                        keeper.act(&self.record, self.cache.revision());
                    }
                    continue;
                }
            }
            changed = self.gather(changed).await;
            changed = changed.and(self.let_go(Guard::judge));
            // Before anything is planned: from what the guard held for a moment only, nothing may follow.
            changed = changed.and(self.set_guard());
            if is_environment_new {
                let environment = self.environment.borrow_and_update().clone();
                self.planner.set_environment(environment);
            }
            self.publish(changed, is_environment_new);
            self.keep();
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.finish(self.record, self.cache.revision());
        }
    }

    /// Takes what else arrives within a moment. A change does not wait for what changes nothing (heartbeats of nodes,
    /// answers of other nodes), however much of it there is.
    async fn gather(&mut self, mut changed: Changed) -> Changed {
        let start = Instant::now();
        let mut quiet = start + QUIET;
        let mut has_news = changed.concerns_plan() || self.guard.pending() > 0;
        loop {
            let until = quiet.min(start + PATIENCE);
            // Asked for here, because an event at hand comes before the time.
            if Instant::now() >= until {
                return changed;
            }
            let Ok(Some(event)) = tokio::time::timeout_at(until, self.received.recv()).await else {
                return changed;
            };
            let pending = self.guard.pending();
            let new = self.handle(event);
            let is_news = new.concerns_plan() || self.guard.pending() > pending;
            if is_news || !has_news {
                quiet = Instant::now() + QUIET;
            }
            has_news |= is_news;
            changed = changed.and(new);
        }
    }

    fn handle(&mut self, event: StoreEvent) -> Changed {
        let mut changed = Changed::NOTHING;
        match &event {
            StoreEvent::Begin => self.is_receiving = true,
            StoreEvent::SnapshotDone { .. } => {
                if let Some((recalled, confirmed)) = self.recalled.take() {
                    changed = recalled;
                    // Who wants deletions held for longer wants them remembered for as long. A clock that was set
                    // back says nothing: then absence is no deletion.
                    let recent = RECENT.max(self.guard.hold().unwrap_or_default());
                    if confirmed.elapsed().is_ok_and(|age| age > recent) {
                        self.guard.forget();
                    }
                }
                self.is_receiving = false;
                self.source = Source::Backend;
                self.disk_at = None;
                self.stale = None;
            }
            StoreEvent::Status(StoreStatus::Lost { .. }) => self.lost(),
            StoreEvent::Status(StoreStatus::Connected { .. }) if self.source == Source::Backend => {
                self.stale = None;
            }
            _ => {}
        }
        let events = self.guard.handle(Instant::now().into_std(), event);
        changed.and(self.take(events))
    }

    fn lost(&mut self) {
        match self.source {
            Source::Backend => drop(self.stale.get_or_insert_with(Staleness::from_now)),
            // The source says that it is away: no need to wait for its silence.
            Source::Unread if self.disk_at.is_some() => self.disk_at = Some(Instant::now()),
            Source::Unread | Source::Disk => {}
        }
    }

    /// Reads the state on disk. What the back-end says first is a difference to it: what most of is missing is held
    /// back, and an object that cannot be read stays at its last good version, as if this run were the one before.
    async fn recall(&mut self) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let Some(loaded) = keeper.load(&self.node).await else {
            return;
        };
        let mut recalled = Changed::NOTHING;
        for event in loaded.record.events(loaded.revision) {
            let events = self.guard.handle(Instant::now().into_std(), event);
            recalled = recalled.and(self.take(events));
        }
        recalled = recalled.and(self.set_guard());
        self.recalled = Some((recalled, loaded.confirmed));
    }

    /// Puts the state on disk in force.
    fn use_disk(&mut self) -> Changed {
        self.disk_at = None;
        let Some((recalled, confirmed)) = self.recalled.take() else {
            return Changed::NOTHING;
        };
        warn!(
            objects = self.record.len(),
            revision = self.cache.revision(),
            "the datastore is away; the last good state on disk is in force"
        );
        self.source = Source::Disk;
        self.stale = Some(Staleness::since(confirmed));
        recalled
    }

    /// What the guard held back and does not any more.
    fn let_go(&mut self, ask: fn(&mut Guard, std::time::Instant) -> Vec<StoreEvent>) -> Changed {
        let was_held = self.guard.held_count();
        let events = ask(&mut self.guard, Instant::now().into_std());
        // A crash must not bring back what has been let go at last.
        if self.guard.held_count() < was_held
            && let Some(keeper) = &mut self.keeper
        {
            keeper.hurry();
        }
        self.take(events)
    }

    fn take(&mut self, events: Vec<StoreEvent>) -> Changed {
        let mut changed = Changed::NOTHING;
        for event in events {
            let note = self.record.note(&event);
            changed = changed.and(self.cache.handle(event));
            self.record.take(note, &self.cache);
        }
        changed
    }

    fn answer(&mut self, request: Request) -> Changed {
        // Who has stopped waiting is not answered.
        match request {
            Request::Release(reply) => {
                let held = self.guard.held_count();
                let changed = self.let_go(Guard::release);
                let _ = reply.send(held);
                changed
            }
            Request::Inputs(reply) => {
                let secrets = self.cache.secrets();
                drop(
                    reply.send(Box::new(Inputs {
                        record: self.record.clone(),
                        revision: self.cache.revision(),
                        secrets: secrets
                            .map(|(name, secret)| (name.clone(), secret.clone()))
                            .collect(),
                        environment: self.planner.environment().clone(),
                    })),
                );
                Changed::NOTHING
            }
        }
    }

    /// The annotation may switch the guard off, and what it holds goes then.
    fn set_guard(&mut self) -> Changed {
        let annotations = self.cache.configuration("default");
        let annotation = annotations.map(|default| default.extensions.mass_withdrawal_guard);
        let hold = self.hold.filter(|_| annotation != Some(MassWithdrawalGuard::Off));
        if hold == self.guard.hold() {
            return Changed::NOTHING;
        }
        self.guard.set_hold(hold);
        match hold {
            Some(_) => Changed::NOTHING,
            None => self.let_go(Guard::release),
        }
    }

    /// Sees to it that what is in force gets to disk.
    fn keep(&mut self) {
        if self.source != Source::Backend {
            return;
        }
        // What is held back is not the newest either: a daemon that restarts again and again holds it no longer than
        // it remembers.
        let is_newest = self.stale.is_none() && !self.is_receiving && self.guard.held_count() == 0;
        if let Some(keeper) = &mut self.keeper {
            keeper.see(&self.record, is_newest);
        }
    }

    fn publish(&mut self, changed: Changed, is_environment_new: bool) {
        let is_plan_affected = changed.concerns_plan() || is_environment_new;
        let was_waiting = self.sender.borrow().desired.is_none() || self.complaint.is_some();
        let plan = (is_plan_affected || was_waiting).then(|| match self.source {
            Source::Unread => Err(NoPlan::NotReady),
            Source::Disk | Source::Backend => self.planner.plan(&self.cache),
        });
        let mut new = self.sender.borrow().clone();
        new.status = self.cache.status().cloned();
        new.is_in_sync = self.source == Source::Backend;
        new.is_from_disk = self.source == Source::Disk;
        new.stale = self.stale;
        new.revision = match self.source {
            Source::Unread => 0,
            Source::Disk | Source::Backend => self.cache.revision(),
        };
        new.unreadable = self
            .cache
            .unreadable_origins()
            .map(|(origin, why)| (origin.to_owned(), why.to_owned()))
            .collect();
        new.hold = self.guard.hold();
        let (now, clock) = (std::time::Instant::now(), SystemTime::now());
        let held = self.guard.held().into_iter().map(|(key, until)| HeldDeletion {
            resource: key.to_string(),
            until: clock + until.saturating_duration_since(now),
        });
        new.held = held.collect();
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
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits until the keeper has something to do; without one, for ever.
async fn ready(keeper: &mut Option<Keeper>) {
    match keeper {
        Some(keeper) => keeper.ready().await,
        None => std::future::pending().await,
    }
}

/// Logs problems that are new. There may be thousands, when most of a cluster is held back.
fn report(old: Option<&DesiredState>, new: &DesiredState) {
    fn all(state: &DesiredState) -> impl Iterator<Item = &Problem> {
        state.problems.iter().chain(&state.clashes)
    }
    let known: BTreeSet<_> = old.into_iter().flat_map(all).collect();
    let mut unknown = all(new).filter(|problem| !known.contains(problem));
    for problem in unknown.by_ref().take(LOGGED) {
        warn!(resource = %problem.resource, field = %problem.field, "{}", problem.message);
    }
    let more = unknown.count();
    if more > 0 {
        warn!(more, "other problems, as `pipit status -o json` has them");
    }
}

#[cfg(test)]
mod tests;
