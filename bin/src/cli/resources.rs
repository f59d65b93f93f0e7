//! Calico's resources for the commands that need no daemon: from files, or from etcd.

use std::io;
use std::path::{Path, PathBuf};

use pipit_datastore::backend::{StoreEvent, StoreStatus};
use pipit_datastore::cache::Cache;
use pipit_datastore::desired::Environment;
use pipit_datastore::io::secrets;
use pipit_datastore::manifest::{self, ManifestItem};
use pipit_datastore::plan::{self, PlanError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::daemon::config::EtcdConfig;
use crate::daemon::machine;

/// Events of the etcd driver that may wait.
const EVENTS: usize = 1024;

/// Resources that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ResourcesError {
    /// A path cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file is no manifest.
    #[error(transparent)]
    Manifest(#[from] PlanError),
    /// etcd does not answer, or refuses.
    #[error("{reason}")]
    Etcd {
        /// The driver's words.
        reason: String,
    },
    /// No runtime for the driver.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// The resources of a file, or of the `*.yaml`, `*.yml` and `*.json` files of a folder, in name order.
///
/// Stricter than the daemon, which keeps running on what it can read: a file that is no manifest is an error.
pub fn from_path(path: &Path) -> Result<Cache, ResourcesError> {
    after_path(Cache::new(), path)
}

/// [`from_path`] in a daemon that had the resources of `cache` before: what cannot be read stays as it was.
pub fn after_path(cache: Cache, path: &Path) -> Result<Cache, ResourcesError> {
    let files = files_of(path).map_err(|source| ResourcesError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut manifests: Vec<Vec<ManifestItem>> = Vec::with_capacity(files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|source| ResourcesError::Read {
            path: file.clone(),
            source,
        })?;
        manifests.push(manifest::read(&text, &file.display().to_string()));
    }
    Ok(plan::succeed(cache, manifest::merge(manifests))?)
}

/// The resources in etcd now, in place of those of `cache`; what cannot be read stays as it was. Of block affinities,
/// only those of `node`.
pub fn after_etcd(cache: Cache, config: &EtcdConfig, node: &str) -> Result<Cache, ResourcesError> {
    let driver = config.to_driver();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ResourcesError::Runtime)?;
    runtime.block_on(async {
        let (events, received) = mpsc::channel(EVENTS);
        let cancel = CancellationToken::new();
        let _cancelled_at_the_end = cancel.clone().drop_guard();
        drop(tokio::spawn(pipit_datastore::io::etcd::run(
            driver,
            node.to_owned(),
            events,
            cancel,
        )));
        first_snapshot(cache, received).await
    })
}

/// Unlike the daemon, which waits for its datastore, a command that cannot reach it says so.
async fn first_snapshot(
    mut cache: Cache,
    mut events: mpsc::Receiver<StoreEvent>,
) -> Result<Cache, ResourcesError> {
    while let Some(event) = events.recv().await {
        if let StoreEvent::Status(StoreStatus::Lost { reason }) = event {
            return Err(ResourcesError::Etcd { reason });
        }
        let is_whole = matches!(event, StoreEvent::SnapshotDone { .. });
        cache.handle(event);
        if is_whole {
            return Ok(cache);
        }
    }
    Err(ResourcesError::Etcd {
        reason: "the etcd driver ended before its first snapshot".to_owned(),
    })
}

/// Variables and Felix's files of this machine, and the passwords of a folder, as the daemon would have them.
pub fn environment(secrets_dir: Option<&Path>) -> Result<Environment, ResourcesError> {
    let mut environment = machine::environment();
    if let Some(folder) = secrets_dir {
        environment.secrets = secrets::read_once(folder).map_err(|source| ResourcesError::Read {
            path: folder.to_owned(),
            source,
        })?;
    }
    Ok(environment)
}

fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let is_manifest = file
            .extension()
            .is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json");
        if is_manifest && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
