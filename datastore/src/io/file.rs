//! The embedded datastore: a folder of manifests, watched.
//!
//! A file that is broken leaves what it said last in force and is reported by name; a file that is gone takes its
//! objects with it. An object that several files describe is the last file's, in name order; when that file lets
//! go of it, the one before counts again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::backend::{StoreEvent, StoreStatus};
use crate::key::Key;
use crate::manifest::{self, ManifestItem};

/// A folder is read once nothing has happened in it for this long,
const QUIET: Duration = Duration::from_millis(10);
/// or this long after the first thing happened.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often a folder that does not exist is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Why a folder cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct FolderError {
    path: PathBuf,
    source: std::io::Error,
}

/// Delivers the manifests of a folder, or of one file, and every change of them, until cancelled.
pub async fn run(path: PathBuf, events: mpsc::Sender<StoreEvent>, cancel: CancellationToken) {
    tokio::select! {
        () = cancel.cancelled() => {}
        // The receiver is gone: nobody wants to know any more.
        _ = follow(path, &events) => {}
    }
}

/// Everything that a folder, or a file, holds now, as one snapshot.
///
/// # Errors
/// When the folder itself cannot be read. Broken files in it are events.
pub fn read_once(path: &Path) -> Result<Vec<StoreEvent>, FolderError> {
    let mut folder = Folder::new(path.to_owned());
    let changes = folder.read()?;
    let mut events = vec![StoreEvent::Begin];
    events.extend(changes);
    events.push(StoreEvent::SnapshotDone { revision: 0 });
    Ok(events)
}

async fn follow(
    path: PathBuf,
    events: &mpsc::Sender<StoreEvent>,
) -> Result<(), mpsc::error::SendError<StoreEvent>> {
    let mut folder = Folder::new(path.clone());
    let mut is_first = true;
    let mut complaint = String::new();
    loop {
        let (wake, mut woken) = mpsc::channel(1);
        // Watching starts before reading, so that no change falls between the two.
        let watcher = watch(&path, wake);
        match folder.read() {
            Ok(changes) => {
                if is_first || !complaint.is_empty() {
                    complaint.clear();
                    let endpoint = path.display().to_string();
                    events
                        .send(StoreEvent::Status(StoreStatus::Connected { endpoint }))
                        .await?;
                }
                deliver(events, changes, std::mem::take(&mut is_first)).await?;
            }
            Err(error) => {
                complain(events, &mut complaint, error.to_string()).await?;
            }
        }
        let Ok(_watcher) = watcher else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        while settled(&mut woken).await {
            match folder.read() {
                Ok(changes) if complaint.is_empty() => deliver(events, changes, false).await?,
                Ok(changes) => {
                    complaint.clear();
                    let endpoint = path.display().to_string();
                    events
                        .send(StoreEvent::Status(StoreStatus::Connected { endpoint }))
                        .await?;
                    deliver(events, changes, std::mem::take(&mut is_first)).await?;
                }
                Err(error) => {
                    complain(events, &mut complaint, error.to_string()).await?;
                    // The folder itself is gone: its watch is, too.
                    tokio::time::sleep(LOOK).await;
                    break;
                }
            }
        }
    }
}

async fn complain(
    events: &mpsc::Sender<StoreEvent>,
    complaint: &mut String,
    reason: String,
) -> Result<(), mpsc::error::SendError<StoreEvent>> {
    if *complaint != reason {
        warn!("{reason}; waiting for it, what was read before stays in force");
        complaint.clone_from(&reason);
        events
            .send(StoreEvent::Status(StoreStatus::Lost { reason }))
            .await?;
    }
    Ok(())
}

async fn deliver(
    events: &mpsc::Sender<StoreEvent>,
    changes: Vec<StoreEvent>,
    is_first: bool,
) -> Result<(), mpsc::error::SendError<StoreEvent>> {
    if is_first {
        events.send(StoreEvent::Begin).await?;
    }
    let is_empty = changes.is_empty();
    for change in changes {
        events.send(change).await?;
    }
    match (is_first, is_empty) {
        (true, _) => events.send(StoreEvent::SnapshotDone { revision: 0 }).await,
        (false, false) => events.send(StoreEvent::Settled { revision: 0 }).await,
        (false, true) => Ok(()),
    }
}

/// Watches the folder, never a file: editors and ConfigMaps put new files in the old ones' place.
fn watch(path: &Path, wake: mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_read = event.as_ref().is_ok_and(|event| event.kind.is_access());
        if !is_read {
            // A wake-up that finds one waiting already adds nothing.
            let _ = wake.try_send(());
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Waits until something has happened and is over; false when the watch has ended.
async fn settled(woken: &mut mpsc::Receiver<()>) -> bool {
    if woken.recv().await.is_none() {
        return false;
    }
    let patience = tokio::time::Instant::now() + PATIENCE;
    while let Ok(Some(())) = tokio::time::timeout(QUIET, woken.recv()).await {
        if tokio::time::Instant::now() >= patience {
            break;
        }
    }
    true
}

/// What the folder said last.
struct Folder {
    path: PathBuf,
    files: BTreeMap<PathBuf, FileState>,
    /// What has been delivered.
    objects: BTreeMap<Key, (Value, String)>,
    complaints: BTreeMap<String, (Option<Key>, String)>,
}

#[derive(Default)]
struct FileState {
    text: String,
    objects: Vec<(Key, Value, String)>,
    complaints: Vec<(String, String)>,
}

impl Folder {
    fn new(path: PathBuf) -> Self {
        Folder {
            path,
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
            complaints: BTreeMap::new(),
        }
    }

    /// Reads what changed; the difference to what was delivered before.
    fn read(&mut self) -> Result<Vec<StoreEvent>, FolderError> {
        let paths = manifests_in(&self.path).map_err(|source| FolderError {
            path: self.path.clone(),
            source,
        })?;
        self.files.retain(|path, _| paths.contains(path));
        for path in paths {
            let state = self.files.entry(path.clone()).or_default();
            match std::fs::read_to_string(&path) {
                Ok(text) if text == state.text && !text.is_empty() => {}
                Ok(text) => state.take(text, &file_name(&path)),
                // Gone since it was listed, or not text: what it said stays until the next look says otherwise.
                Err(error) => state.complaints = vec![(file_name(&path), error.to_string())],
            }
        }
        Ok(self.difference())
    }

    fn difference(&mut self) -> Vec<StoreEvent> {
        let mut events = Vec::new();
        let mut objects = BTreeMap::new();
        let mut complaints = BTreeMap::new();
        for state in self.files.values() {
            for (key, value, origin) in &state.objects {
                objects.insert(key.clone(), (value.clone(), origin.clone()));
            }
            for (origin, error) in &state.complaints {
                complaints.insert(origin.clone(), (None, error.clone()));
            }
        }
        for (key, (value, origin)) in &objects {
            if self.objects.get(key).map(|(known, _)| known) != Some(value) {
                debug!(%key, %origin, "read");
                events.push(StoreEvent::Put {
                    key: key.clone(),
                    value: value.clone(),
                    origin: origin.clone(),
                });
            }
        }
        let gone = self.objects.keys().filter(|key| !objects.contains_key(key));
        events.extend(gone.map(|key| StoreEvent::Delete { key: key.clone() }));
        for (origin, (key, error)) in &complaints {
            if self.complaints.get(origin).map(|(_, known)| known) != Some(error) {
                warn!(%origin, %error, "cannot be read; what it said before stays in force");
                let (key, origin, error) = (key.clone(), origin.clone(), error.clone());
                events.push(StoreEvent::Unreadable { key, origin, error });
            }
        }
        let mended = self
            .complaints
            .keys()
            .filter(|origin| !complaints.contains_key(*origin));
        events.extend(mended.map(|origin| StoreEvent::Readable {
            origin: origin.clone(),
        }));
        (self.objects, self.complaints) = (objects, complaints);
        events
    }
}

impl FileState {
    fn take(&mut self, text: String, origin: &str) {
        let mut objects = Vec::new();
        let mut complaints = Vec::new();
        for item in manifest::read(&text, origin) {
            match item {
                ManifestItem::Object { key, value, origin } => objects.push((key, value, origin)),
                ManifestItem::Unreadable { origin, error } => complaints.push((origin, error.to_string())),
            }
        }
        if !complaints.is_empty() {
            // Which object the broken part was cannot be told, so nothing that the file said before is given up.
            let mut kept = std::mem::take(&mut self.objects);
            kept.retain(|(key, ..)| !objects.iter().any(|(known, ..)| known == key));
            kept.append(&mut objects);
            objects = kept;
        }
        *self = FileState {
            text,
            objects,
            complaints,
        };
    }
}

/// The manifests of a folder in name order, or the one file.
fn manifests_in(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if std::fs::metadata(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let is_manifest = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"));
        // Through a symbolic link, as ConfigMaps have them, it is still a file.
        if is_manifest && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
