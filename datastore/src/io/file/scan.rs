//! One look at a folder: which manifests there are, and what those that changed say.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::key::Key;
use crate::manifest::{self, ManifestItem};

/// A manifest larger than this is refused: it is something else that got into the folder.
const FILE_MAX: u64 = 256 << 20;

/// Why a folder cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

/// Fingerprints of what was read before, by path.
pub(super) type Known = BTreeMap<PathBuf, u64>;

/// An object of a file: key, content, origin.
pub(super) type Object = (Key, Value, String);

/// One file of the folder.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Its path.
    pub path: PathBuf,
    /// What it holds.
    pub content: Content,
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum Content {
    /// The same as before.
    Same,
    /// Not a single octet.
    Empty,
    /// It cannot be read as text; why.
    Unreadable(String),
    /// Objects, and what in it is none.
    Read {
        /// Of its text.
        fingerprint: u64,
        /// In the order of the text.
        objects: Vec<Object>,
        /// Origin and reason.
        complaints: Vec<(String, String)>,
    },
}

/// Looks at every manifest of a folder in name order, or at the one file; parses what is not known.
pub(super) fn scan(path: &Path, known: &Known) -> Result<Vec<Scanned>, FolderError> {
    let paths = manifests_in(path).map_err(|source| FolderError {
        path: path.to_owned(),
        source,
    })?;
    let look = |path: PathBuf| {
        let content = read(&path, known.get(&path).copied());
        match content {
            // Gone since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some((path, Content::Unreadable(error.to_string()))),
            Ok(content) => Some((path, content)),
        }
    };
    let scanned = paths.into_iter().filter_map(look);
    Ok(scanned.map(|(path, content)| Scanned { path, content }).collect())
}

/// The name of a file in messages.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn read(path: &Path, known: Option<u64>) -> io::Result<Content> {
    let len = std::fs::metadata(path)?.len();
    if len > FILE_MAX {
        return Ok(Content::Unreadable(format!("{len} octets are too many")));
    }
    let text = std::fs::read_to_string(path)?;
    if text.is_empty() {
        return Ok(Content::Empty);
    }
    let fingerprint = fingerprint(&text);
    if known == Some(fingerprint) {
        return Ok(Content::Same);
    }
    let mut objects = Vec::new();
    let mut complaints = Vec::new();
    for item in manifest::read(&text, &name_of(path)) {
        match item {
            ManifestItem::Object { key, value, origin } => objects.push((key, value, origin)),
            ManifestItem::Unreadable { origin, error } => complaints.push((origin, error.to_string())),
        }
    }
    Ok(Content::Read {
        fingerprint,
        objects,
        complaints,
    })
}

fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn manifests_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    if std::fs::metadata(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let extensions = HashSet::from(["yaml", "yml", "json"]);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        // Through a symbolic link, as ConfigMaps have them, it is still a file.
        if extension.is_some_and(|extension| extensions.contains(extension)) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
