//! Notices that something happened in a folder, also one that comes, goes and is swapped for another.
//!
//! Never a file is watched but the folder: editors rename a new file into the old one's place, and Kubernetes swaps
//! a symbolic link beside the files. The folder's parent is watched, too, for the folder itself may be a link, and
//! while there is no folder the nearest one above it that exists.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

/// A folder is looked at once nothing has happened in it for this long,
const QUIET: Duration = Duration::from_millis(10);
/// or this long after the first thing happened.
const PATIENCE: Duration = Duration::from_millis(100);
/// Without a watch (the kernel's limit of watches is reached) a folder is looked at this often,
const LOOK: Duration = Duration::from_secs(1);
/// and with one, so that a change the kernel did not tell of, as on network file systems, is found in the end.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

/// A watch on one folder.
pub(super) struct FolderWatch {
    folder: PathBuf,
    mode: RecursiveMode,
    armed: Option<Armed>,
    /// Why there is no watch, so that it is logged once.
    complaint: Option<String>,
}

struct Armed {
    /// Kept for its life: the watch ends with it.
    _watcher: RecommendedWatcher,
    woken: mpsc::Receiver<()>,
    /// Device and inode of the folder that is watched; `None` while there is none.
    identity: Option<(u64, u64)>,
}

impl FolderWatch {
    /// Watches a folder; with `RecursiveMode::Recursive` those in it, too. Changes from now on count.
    pub(super) fn new(folder: PathBuf, mode: RecursiveMode) -> FolderWatch {
        let mut watch = FolderWatch {
            folder,
            mode,
            armed: None,
            complaint: None,
        };
        watch.arm();
        watch
    }

    /// Waits until something has happened and it is quiet again. May also return when nothing has happened.
    ///
    /// What is read after it returns is covered: a change that comes while reading makes the next call return.
    pub(super) async fn changed(&mut self) {
        match &mut self.armed {
            Some(armed) => armed.settled().await,
            None => tokio::time::sleep(LOOK).await,
        }
        let is_same = self
            .armed
            .as_ref()
            .is_some_and(|armed| armed.identity.is_some() && armed.identity == identity(&self.folder));
        if !is_same {
            self.arm();
        }
    }

    fn arm(&mut self) {
        self.armed = match Armed::new(&self.folder, self.mode) {
            Ok(armed) => {
                self.complaint = None;
                Some(armed)
            }
            Err(error) => {
                let error = error.to_string();
                if self.complaint.as_ref() != Some(&error) {
                    warn!(folder = %self.folder.display(), %error, "cannot be watched; looking every second");
                    self.complaint = Some(error);
                }
                None
            }
        };
    }
}

impl Armed {
    fn new(folder: &Path, mode: RecursiveMode) -> notify::Result<Armed> {
        let (wake, woken) = mpsc::channel(1);
        let itself = folder.to_owned();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !concerns(&event, &itself)) {
                return;
            }
            // One wake-up that waits to be taken is as good as many.
            let _ = wake.try_send(());
        })?;
        let above = nearest_existing(folder.parent());
        watcher.watch(&above, RecursiveMode::NonRecursive)?;
        // Looked at before the watch is set: should the folder change in between, the next look sees another one.
        let identity = identity(folder);
        if identity.is_some() {
            watcher.watch(folder, mode)?;
        }
        Ok(Armed {
            _watcher: watcher,
            woken,
            identity,
        })
    }

    async fn settled(&mut self) {
        if !matches!(timeout(LOOK_ANYWAY, self.woken.recv()).await, Ok(Some(()))) {
            return;
        }
        let limit = Instant::now() + PATIENCE;
        loop {
            let quiet = limit.min(Instant::now() + QUIET);
            match timeout_at(quiet, self.woken.recv()).await {
                Ok(Some(())) if Instant::now() < limit => {}
                _ => return,
            }
        }
    }
}

/// Whether an event can mean a change of what the folder holds. Our own reading must not count.
fn concerns(event: &Event, folder: &Path) -> bool {
    let is_change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    };
    // Of the folder above, only the way to this one matters. No path: the kernel lost count.
    let is_near = |path: &PathBuf| path.starts_with(folder) || folder.starts_with(path);
    is_change && (event.paths.is_empty() || event.paths.iter().any(is_near))
}

fn nearest_existing(folder: Option<&Path>) -> PathBuf {
    let above = folder.into_iter().flat_map(Path::ancestors);
    above
        .filter(|path| !path.as_os_str().is_empty())
        .find(|path| path.is_dir())
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(folder).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing here takes longer unless it is broken; below [`LOOK_ANYWAY`], which must not be what helps.
    const LIMIT: Duration = Duration::from_secs(10);

    async fn is_noticed(watch: &mut FolderWatch) {
        timeout(LIMIT, watch.changed()).await.expect("not noticed");
    }

    #[tokio::test]
    async fn files_written_renamed_and_removed_are_noticed() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.yaml");
        let mut watch = FolderWatch::new(root.path().to_owned(), RecursiveMode::NonRecursive);
        std::fs::write(&file, "a").unwrap();
        is_noticed(&mut watch).await;
        std::fs::write(root.path().join(".a.yaml.tmp"), "b").unwrap();
        std::fs::rename(root.path().join(".a.yaml.tmp"), &file).unwrap();
        is_noticed(&mut watch).await;
        std::fs::remove_file(&file).unwrap();
        is_noticed(&mut watch).await;
    }

    #[tokio::test]
    async fn reading_is_no_change() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), "a").unwrap();
        let (folder, other) = (root.path().to_owned(), root.path().join("b"));
        let armed = Armed::new(&folder, RecursiveMode::NonRecursive).unwrap();
        let mut armed = armed;
        std::fs::read(folder.join("a")).unwrap();
        std::fs::read_dir(&folder).unwrap().for_each(drop);
        assert!(armed.woken.try_recv().is_err());
        // The kernel tells in order: had reading counted, it would have been told by now.
        std::fs::write(other, "b").unwrap();
        armed.settled().await;
        assert!(armed.woken.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_folder_that_comes_and_is_swapped_for_another_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("above/folder");
        let mut watch = FolderWatch::new(folder.clone(), RecursiveMode::NonRecursive);
        std::fs::create_dir_all(&folder).unwrap();
        while identity(&folder) != watch.armed.as_ref().unwrap().identity {
            is_noticed(&mut watch).await;
        }
        std::fs::write(folder.join("a"), "a").unwrap();
        is_noticed(&mut watch).await;
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let mut watch = FolderWatch::new(link.clone(), RecursiveMode::NonRecursive);
        let (other, new) = (root.path().join("other"), root.path().join("new"));
        std::fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, &new).unwrap();
        std::fs::rename(&new, &link).unwrap();
        is_noticed(&mut watch).await;
        std::fs::write(other.join("b"), "b").unwrap();
        is_noticed(&mut watch).await;
    }
}
