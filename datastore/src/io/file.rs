//! The embedded datastore: a folder of manifests, watched.
//!
//! A file that is broken leaves what it said last in force and is reported by name; a file that is gone takes its
//! objects with it. An object that several files describe is the last file's, in name order; when that file lets
//! go of it, the one before counts again.

mod folder;
mod scan;

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::RecursiveMode;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::folder::Folder;
pub use self::scan::FolderError;
use self::scan::{Known, Scanned, scan};
use super::folder_watch::FolderWatch;
use crate::backend::{StoreEvent, StoreStatus};

/// A file found empty is looked at again after this long: writers that do not rename empty a file before they fill it.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// Delivers the manifests of a folder, or of one file, and every change of them, until cancelled.
pub async fn run(path: PathBuf, events: mpsc::Sender<StoreEvent>, cancel: CancellationToken) {
    let follower = Follower {
        path,
        events,
        folder: Folder::default(),
        is_first: true,
        is_connected: false,
        complaint: None,
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        // The receiver is gone: nobody wants to know any more.
        _ = follower.follow() => {}
    }
}

/// Everything that a folder, or a file, holds now, as one snapshot.
///
/// # Errors
/// When the folder itself cannot be read. Broken files in it are events.
pub fn read_once(path: &Path) -> Result<Vec<StoreEvent>, FolderError> {
    let mut folder = Folder::default();
    let mut events = vec![StoreEvent::Begin];
    let scanned = scan(path, &Known::default())?;
    events.extend(folder.take(scanned, true));
    events.push(StoreEvent::SnapshotDone { revision: 0 });
    Ok(events)
}

struct Follower {
    path: PathBuf,
    events: mpsc::Sender<StoreEvent>,
    folder: Folder,
    /// Nothing has been delivered yet.
    is_first: bool,
    is_connected: bool,
    /// What was last reported as wrong.
    complaint: Option<String>,
}

impl Follower {
    async fn follow(mut self) -> Result<(), SendError<StoreEvent>> {
        // Watching starts before reading, so that no change falls between the two.
        let mut watch = FolderWatch::new(self.watched(), RecursiveMode::NonRecursive);
        loop {
            match self.scan().await {
                Ok(scanned) => self.deliver(scanned).await?,
                Err(reason) => self.complain(reason).await?,
            }
            if self.folder.has_suspects() {
                let _ = tokio::time::timeout(SECOND_LOOK, watch.changed()).await;
            } else {
                watch.changed().await;
            }
        }
    }

    /// The folder to watch: that of a lone file, too.
    fn watched(&self) -> PathBuf {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        match self.path.is_file() {
            true => parent.unwrap_or(Path::new(".")).to_owned(),
            false => self.path.clone(),
        }
    }

    /// Reads and parses off the runtime's thread: sessions must not wait for a large folder.
    async fn scan(&self) -> Result<Vec<Scanned>, String> {
        let (path, known) = (self.path.clone(), self.folder.known());
        match tokio::task::spawn_blocking(move || scan(&path, &known)).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err(format!("reading {} failed unexpectedly", self.path.display())),
        }
    }

    async fn deliver(&mut self, scanned: Vec<Scanned>) -> Result<(), SendError<StoreEvent>> {
        if !std::mem::replace(&mut self.is_connected, true) {
            self.complaint = None;
            let endpoint = self.path.display().to_string();
            let status = StoreStatus::Connected { endpoint };
            self.events.send(StoreEvent::Status(status)).await?;
        }
        let is_first = std::mem::take(&mut self.is_first);
        let changes = self.folder.take(scanned, is_first);
        if is_first {
            self.events.send(StoreEvent::Begin).await?;
        }
        let is_news = !changes.is_empty();
        for change in changes {
            self.events.send(change).await?;
        }
        let revision = 0;
        if is_first {
            self.events.send(StoreEvent::SnapshotDone { revision }).await?;
        } else if is_news {
            self.events.send(StoreEvent::Settled { revision }).await?;
        }
        Ok(())
    }

    async fn complain(&mut self, reason: String) -> Result<(), SendError<StoreEvent>> {
        self.is_connected = false;
        if self.complaint.as_ref() == Some(&reason) {
            return Ok(());
        }
        warn!("{reason}; waiting for it, what was read before stays in force");
        self.complaint = Some(reason.clone());
        self.events
            .send(StoreEvent::Status(StoreStatus::Lost { reason }))
            .await
    }
}
