//! When the last good state is written to disk, and the writing itself, off the task's thread.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::io::snapshot::{Loaded, SnapshotError, SnapshotFile};
use crate::record::Record;

/// A change is written after this long, with all that came meanwhile,
const QUIET: Duration = Duration::from_secs(1);
/// and this long after the one before it at the earliest.
const PAUSE: Duration = Duration::from_secs(10);
/// After a failure the next attempt waits longer.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);
/// How often a state that has not changed is marked as still the newest.
const CONFIRM: Duration = Duration::from_secs(60);
/// A disk that takes longer to read is done without.
const READING: Duration = Duration::from_secs(5);

/// Writes the record to its file, seldom and elsewhere.
pub(super) struct Keeper {
    file: Arc<SnapshotFile>,
    /// Version of the record that is on disk, or on its way.
    version: Option<u64>,
    /// Whether what is in force is the newest, and until when it was known to be.
    is_newest: bool,
    confirmed: SystemTime,
    /// When there is something to do.
    due: Option<Instant>,
    /// Not before this.
    not_before: Instant,
    work: Option<JoinHandle<io::Result<()>>>,
    complaint: Option<String>,
}

impl Keeper {
    pub(super) fn new(file: SnapshotFile) -> Keeper {
        Keeper {
            file: Arc::new(file),
            version: None,
            is_newest: false,
            confirmed: SystemTime::now(),
            due: None,
            not_before: Instant::now(),
            work: None,
            complaint: None,
        }
    }

    /// What an earlier run left for this node; what keeps it from being used is logged.
    pub(super) async fn load(&mut self, node: &str) -> Option<Loaded> {
        let (file, node) = (Arc::clone(&self.file), node.to_owned());
        let loading = tokio::task::spawn_blocking(move || file.load(&node));
        let path = self.file.path.display();
        match tokio::time::timeout(READING, loading).await {
            Ok(Ok(Ok(loaded))) => {
                self.confirmed = loaded.confirmed.min(SystemTime::now());
                return Some(loaded);
            }
            Ok(Ok(Err(SnapshotError::Absent))) => info!(%path, "there is no last good state on disk"),
            Ok(Ok(Err(error))) => warn!(%path, "the last good state on disk cannot be used: {error}"),
            // The runtime is ending.
            Ok(Err(_)) => {}
            Err(_) => warn!(%path, "the last good state on disk is not used: the disk does not answer"),
        }
        None
    }

    /// The record as it is now. What changed is written in any case, with the time until which it was the newest.
    pub(super) fn see(&mut self, record: &Record, is_newest: bool) {
        let now = Instant::now();
        if is_newest || self.is_newest {
            self.confirmed = SystemTime::now();
        }
        self.is_newest = is_newest;
        let wanted = match (self.version == Some(record.version()), is_newest) {
            (false, _) => (now + QUIET).max(self.not_before),
            (true, true) => now + CONFIRM,
            (true, false) => return self.due = None,
        };
        self.due = Some(self.due.map_or(wanted, |due| due.min(wanted)));
    }

    /// What changes now is written at once.
    pub(super) fn hurry(&mut self) {
        self.due = Some(Instant::now());
    }

    /// The task ends: what has not been written yet is, without waiting for its time.
    pub(super) fn finish(self, record: Record, revision: i64) {
        let is_newer = self.due.is_some() && self.version != Some(record.version());
        if is_newer {
            let confirmed = self.until();
            let file = self.file;
            // The runtime ends after it; nobody is left to be told.
            drop(tokio::task::spawn_blocking(move || {
                file.save(&record, revision, confirmed)
            }));
        }
    }

    /// Until when what is in force is known to be the newest.
    fn until(&self) -> SystemTime {
        match self.is_newest {
            true => SystemTime::now(),
            false => self.confirmed,
        }
    }

    /// Waits until there is something to do or to hear; for ever when there never is.
    pub(super) async fn ready(&mut self) {
        match (&mut self.work, self.due) {
            (Some(work), _) => {
                let result = work.await.unwrap_or_else(|error| Err(io::Error::other(error)));
                self.work = None;
                self.heard(result);
            }
            (None, Some(due)) => tokio::time::sleep_until(due).await,
            (None, None) => std::future::pending().await,
        }
    }

    /// Starts what is due.
    pub(super) fn act(&mut self, record: &Record, revision: i64) {
        let now = Instant::now();
        if self.work.is_some() || self.due.is_none_or(|due| due > now) {
            return;
        }
        let file = Arc::clone(&self.file);
        self.not_before = now + PAUSE;
        self.due = self.is_newest.then(|| now + CONFIRM);
        let confirmed = self.until();
        self.work = Some(if self.version == Some(record.version()) {
            tokio::task::spawn_blocking(move || file.confirm(confirmed))
        } else {
            self.version = Some(record.version());
            let record = record.clone();
            tokio::task::spawn_blocking(move || file.save(&record, revision, confirmed))
        });
    }

    fn heard(&mut self, result: io::Result<()>) {
        let path = self.file.path.display();
        let Err(error) = result else {
            if self.complaint.take().is_some() {
                info!(%path, "the last good state is on disk again");
            }
            debug!(%path, "the last good state is on disk");
            return;
        };
        self.version = None;
        self.not_before = Instant::now() + PAUSE_AFTER_FAILURE;
        self.due = Some(self.not_before);
        let complaint = error.to_string();
        if self.complaint.as_ref() != Some(&complaint) {
            warn!(%path, "the last good state cannot be kept on disk (--state-dir): {complaint}");
        }
        self.complaint = Some(complaint);
    }
}
