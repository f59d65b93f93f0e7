//! The driver under test, and what it delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use pipit_datastore::backend::{StoreEvent, StoreStatus};
use pipit_datastore::io::etcd::{self, EtcdConfig};
use pipit_datastore::key::Key;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::server::PATIENCE;

/// The driver's events, one by one.
pub(crate) struct Driver {
    events: mpsc::Receiver<StoreEvent>,
    _cancel: DropGuard,
}

pub(crate) type Objects = BTreeMap<Key, Value>;

pub(crate) fn config(endpoints: &[String]) -> EtcdConfig {
    EtcdConfig {
        endpoints: endpoints.to_vec(),
        ..EtcdConfig::default()
    }
}

impl Driver {
    pub(crate) fn of(url: String) -> Driver {
        Driver::with(config(&[url]))
    }

    /// Acts for `node-1`.
    pub(crate) fn with(config: EtcdConfig) -> Driver {
        let (sender, events) = mpsc::channel(16);
        let cancel = CancellationToken::new();
        tokio::spawn(etcd::run(config, "node-1".into(), sender, cancel.clone()));
        Driver {
            events,
            _cancel: cancel.drop_guard(),
        }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> StoreEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event
            .expect("the driver delivers nothing")
            .expect("the driver ended")
    }

    /// The next event, of which more patience is asked than usual.
    async fn next_within(&mut self, patience: Duration) -> StoreEvent {
        let event = tokio::time::timeout(patience, self.events.recv()).await;
        event.unwrap().unwrap()
    }

    /// [`Driver::lost`] with other patience.
    pub(crate) async fn lost_after(&mut self, patience: Duration) -> String {
        match self.next_within(patience).await {
            StoreEvent::Status(StoreStatus::Lost { reason }) => reason,
            other => panic!("not the end of the connection: {other:?}"),
        }
    }

    /// The objects of a snapshot that takes a minute.
    pub(crate) async fn patient_snapshot(&mut self) -> Objects {
        let mut objects = Objects::new();
        loop {
            match self.next_within(Duration::from_secs(60)).await {
                StoreEvent::Put { key, value, .. } => drop(objects.insert(key, value)),
                StoreEvent::SnapshotDone { .. } => return objects,
                StoreEvent::Begin => {}
                other => panic!("in a snapshot: {other:?}"),
            }
        }
    }

    /// Waits until the change that was not heard of arrives.
    pub(crate) async fn connected_or_change(&mut self) {
        loop {
            match self.next().await {
                StoreEvent::Put { .. } => return,
                StoreEvent::Status(_) | StoreEvent::Settled { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next event that is not about the connection.
    pub(crate) async fn next_change(&mut self) -> StoreEvent {
        loop {
            match self.next().await {
                StoreEvent::Status(_) => {}
                event => return event,
            }
        }
    }

    /// A whole snapshot, which must come next: its objects and revision.
    pub(crate) async fn snapshot(&mut self) -> (Objects, i64) {
        assert_eq!(self.next_change().await, StoreEvent::Begin);
        let mut objects = Objects::new();
        loop {
            match self.next_change().await {
                StoreEvent::Put { key, value, .. } => assert_eq!(objects.insert(key, value), None),
                StoreEvent::SnapshotDone { revision } => return (objects, revision),
                other => panic!("in a snapshot: {other:?}"),
            }
        }
    }

    /// One change and the mark behind it.
    pub(crate) async fn change(&mut self) -> StoreEvent {
        let change = self.next_change().await;
        let mark = self.next_change().await;
        assert!(
            matches!(mark, StoreEvent::Settled { .. }),
            "{change:?}, then {mark:?}"
        );
        change
    }

    /// Waits until the connection is reported lost: the reason. Nothing else may come before.
    pub(crate) async fn lost(&mut self) -> String {
        match self.next().await {
            StoreEvent::Status(StoreStatus::Lost { reason }) => reason,
            other => panic!("not the end of the connection: {other:?}"),
        }
    }

    /// Waits until the connection is reported as made: the endpoint. Reports of trouble may come before.
    pub(crate) async fn connected(&mut self) -> String {
        loop {
            match self.next().await {
                StoreEvent::Status(StoreStatus::Connected { endpoint }) => return endpoint,
                StoreEvent::Status(StoreStatus::Lost { .. }) => {}
                other => panic!("not the connection: {other:?}"),
            }
        }
    }
}
