//! What every back-end delivers: a snapshot, then ordered changes, and marks between the two.

use serde_json::Value;

use crate::key::Key;

/// One step of a back-end's stream.
///
/// The order is `Begin`, any number of `Put`s, `SnapshotDone`, then `Put` and `Delete` as things change. A back-end
/// that has lost its place (etcd compaction, a restored backup) starts again with `Begin`: what is not `Put` again
/// before `SnapshotDone` is gone. **Invariant:** nothing is acted on between `Begin` and `SnapshotDone`, and the
/// absence of events means no change: a back-end that cannot reach its source sends `Status`, never `Delete`.
#[derive(Clone, PartialEq, Debug)]
pub enum StoreEvent {
    /// A snapshot starts.
    Begin,
    /// The object exists, with this content.
    Put {
        /// Which object.
        key: Key,
        /// Its content; an empty IPAM value is `Value::Null`.
        value: Value,
        /// Where it was read, for messages: an etcd key, or `file.yaml, document 3`.
        origin: String,
    },
    /// Something is there that cannot be read as an object. If `key` is known its last good version stays in
    /// force; the first-seen one counts as absent.
    Unreadable {
        /// The object, when that much could be read.
        key: Option<Key>,
        /// Where.
        origin: String,
        /// Why, in one line, never the value itself.
        error: String,
    },
    /// An origin that was [`StoreEvent::Unreadable`] without a key can be read again, or is gone.
    Readable {
        /// Where.
        origin: String,
    },
    /// The object no longer exists.
    Delete {
        /// Which object.
        key: Key,
    },
    /// The snapshot is complete.
    SnapshotDone {
        /// etcd's revision; zero for files.
        revision: i64,
    },
    /// All changes up to here have been delivered: act now rather than wait for more.
    Settled {
        /// etcd's revision; zero for files.
        revision: i64,
    },
    /// The connection to the source changed.
    Status(StoreStatus),
}

/// Whether the back-end can see its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreStatus {
    /// It can.
    Connected {
        /// The endpoint or directory in use.
        endpoint: String,
    },
    /// It cannot, for this reason; it is trying again. What was read stays in force.
    Lost {
        /// One line for people.
        reason: String,
    },
}
