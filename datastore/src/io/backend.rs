//! What a back-end is to the task: something that delivers [`StoreEvent`]s until it is told to end.

use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backend::StoreEvent;
use crate::io::etcd::{self, EtcdConfig};
use crate::io::file;

/// A source of Calico's objects.
///
/// What it sends keeps to the order that [`StoreEvent`] promises: a snapshot, a mark that it is complete, then
/// changes in order; and a source that cannot be reached is a status, never a deletion.
pub trait Backend: Send + 'static {
    /// Delivers what concerns `node` until cancelled, or until nobody receives any more.
    fn run(
        self,
        node: String,
        events: mpsc::Sender<StoreEvent>,
        cancel: CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}

impl Backend for EtcdConfig {
    fn run(
        self,
        node: String,
        events: mpsc::Sender<StoreEvent>,
        cancel: CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        etcd::run(self, node, events, cancel)
    }
}

/// A folder of manifests, or one file. Both hold every node's objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifests(pub PathBuf);

impl Backend for Manifests {
    fn run(
        self,
        _node: String,
        events: mpsc::Sender<StoreEvent>,
        cancel: CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        file::run(self.0, events, cancel)
    }
}
