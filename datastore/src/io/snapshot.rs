//! The last good state on disk: what a daemon that starts while etcd is away goes by.
//!
//! A file that is replaced as a whole, so that a crash leaves the old one or the new one. Its time of modification
//! says when the state was last known to be the newest. Nothing depends on it while etcd answers: a disk that is full
//! or read-only costs a line in the log.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::record::{self, Header, Record, RecordError};

/// Octets of a file that are read or written: a hundred thousand nodes.
const LEN_MAX: u64 = 64 << 20;

/// Where the last good state is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotFile {
    /// The file.
    pub path: PathBuf,
    /// Where the objects are from. A file of which none of the sources is among these is not used.
    pub source: Vec<String>,
}

/// A state that was read from disk.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) record: Record,
    pub(super) revision: i64,
    /// When it was last known to be the newest.
    pub(super) confirmed: SystemTime,
}

/// Why there is no state to go by.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// There is no file.
    #[error("there is none yet")]
    Absent,
    /// It is a folder, a pipe or a device, of which the last two may keep a reader waiting for ever.
    #[error("it is not a regular file")]
    NotAFile,
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is larger than any that is written.
    #[error("it is larger than {} MiB", LEN_MAX >> 20)]
    TooLarge,
    /// It is no record, or a damaged one.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is about another node.
    #[error("it is about node {found}")]
    OtherNode { found: String },
    /// It is of another cluster.
    #[error("it is from {}", found.join(","))]
    OtherSource { found: Vec<String> },
}

impl SnapshotFile {
    /// What the file holds for this node.
    pub(super) fn load(&self, node: &str) -> Result<Loaded, SnapshotError> {
        let found = std::fs::metadata(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SnapshotError::Absent,
            _ => error.into(),
        })?;
        if !found.is_file() {
            return Err(SnapshotError::NotAFile);
        }
        if found.len() > LEN_MAX {
            return Err(SnapshotError::TooLarge);
        }
        let file = File::open(&self.path)?;
        let confirmed = file.metadata()?.modified()?;
        let mut bytes = Vec::new();
        file.take(LEN_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LEN_MAX {
            return Err(SnapshotError::TooLarge);
        }
        let (header, record) = record::decode(&bytes)?;
        self.check(&header, node)?;
        Ok(Loaded {
            record,
            revision: header.revision,
            confirmed,
        })
    }

    fn check(&self, header: &Header, node: &str) -> Result<(), SnapshotError> {
        let Header { node: of, source, .. } = header;
        if of != node {
            return Err(SnapshotError::OtherNode { found: of.clone() });
        }
        if !source.iter().any(|endpoint| self.source.contains(endpoint)) {
            return Err(SnapshotError::OtherSource {
                found: source.clone(),
            });
        }
        Ok(())
    }

    /// Puts a state in the file's place, which was known to be the newest until `confirmed`.
    pub(super) fn save(&self, record: &Record, revision: i64, confirmed: SystemTime) -> io::Result<()> {
        let bytes = record::encode(record, &self.source, revision);
        if bytes.len() as u64 > LEN_MAX {
            let text = format!("{} octets are more than {LEN_MAX}", bytes.len());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        // One that a crash left behind may have other rights.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&bytes)?;
        file.set_times(FileTimes::new().set_modified(confirmed))?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }

    /// The state is still the newest.
    pub(super) fn confirm(&self, now: SystemTime) -> io::Result<()> {
        let file = OpenOptions::new().append(true).open(&self.path)?;
        file.set_times(FileTimes::new().set_modified(now))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::backend::StoreEvent;
    use crate::cache::Cache;
    use crate::key::Key;

    fn record(nodes: usize) -> Record {
        let (mut record, mut cache) = (Record::new("n1"), Cache::new());
        let mut see = |event: StoreEvent| {
            let note = record.note(&event);
            cache.handle(event);
            record.take(note, &cache);
        };
        for number in 0..nodes {
            see(StoreEvent::Put {
                key: Key::Node(format!("n{number}")),
                value: serde_json::json!({"spec": {"bgp": {"ipv4Address": "10.0.0.1/24"}}}),
                origin: String::new(),
            });
        }
        record
    }

    fn file(folder: &Path, source: &str) -> SnapshotFile {
        SnapshotFile {
            path: folder.join("deep/er/n1.snapshot"),
            source: vec![source.into()],
        }
    }

    #[test]
    fn what_was_saved_is_loaded_for_the_same_node_and_cluster_only() {
        let folder = tempfile::tempdir().unwrap();
        let ours = file(folder.path(), "http://a:1");
        assert!(matches!(ours.load("n1"), Err(SnapshotError::Absent)));
        ours.save(&record(3), 41, SystemTime::now()).unwrap();
        ours.save(&record(4), 42, SystemTime::now()).unwrap();
        let loaded = ours.load("n1").unwrap();
        assert_eq!((loaded.record.len(), loaded.revision), (4, 42));
        let names: Vec<_> = std::fs::read_dir(ours.path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left beside it");
        let mode = std::fs::metadata(&ours.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(ours.load("n2"), Err(SnapshotError::OtherNode { .. })));
        let theirs = file(folder.path(), "http://b:1");
        assert!(matches!(
            theirs.load("n1"),
            Err(SnapshotError::OtherSource { .. })
        ));
        let mut moved = file(folder.path(), "http://b:1");
        moved.source.push("http://a:1".into());
        assert!(
            moved.load("n1").is_ok(),
            "an endpoint more is still the same cluster"
        );
    }

    #[test]
    fn a_damaged_or_endless_file_is_refused_and_replaced_by_the_next_state() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "http://a:1");
        file.save(&record(3), 41, SystemTime::now()).unwrap();
        std::fs::write(&file.path, "garbage").unwrap();
        assert!(matches!(
            file.load("n1"),
            Err(SnapshotError::Record(RecordError::NotOurs))
        ));
        File::create(&file.path).unwrap().set_len(LEN_MAX + 1).unwrap();
        assert!(matches!(file.load("n1"), Err(SnapshotError::TooLarge)));
        // What a crash in the middle of writing leaves does not stand in the way.
        std::fs::write(file.path.with_extension("new"), "half").unwrap();
        file.save(&record(3), 41, SystemTime::now()).unwrap();
        assert_eq!(file.load("n1").unwrap().record.len(), 3);
    }

    #[test]
    fn a_pipe_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "http://a:1");
        file.save(&record(3), 41, SystemTime::now()).unwrap();
        std::fs::remove_file(&file.path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&file.path).status();
        assert!(made.unwrap().success());
        assert!(matches!(file.load("n1"), Err(SnapshotError::NotAFile)));
        file.save(&record(3), 41, SystemTime::now()).unwrap();
        assert_eq!(file.load("n1").unwrap().record.len(), 3);
    }

    #[test]
    fn its_age_counts_from_when_it_was_last_known_to_be_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "http://a:1");
        assert!(file.confirm(SystemTime::now()).is_err(), "nothing to confirm");
        file.save(&record(1), 41, SystemTime::now()).unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.confirm(then).unwrap();
        assert_eq!(file.load("n1").unwrap().confirmed, then);
    }

    #[test]
    fn d9_a_folder_that_cannot_be_written_is_an_error_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("deep"), "a file where a folder should be").unwrap();
        assert!(
            file(folder.path(), "http://a:1")
                .save(&record(1), 1, SystemTime::now())
                .is_err()
        );
    }
}
