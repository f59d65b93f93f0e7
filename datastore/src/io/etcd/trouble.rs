//! Why etcd cannot be used right now.

use std::error::Error as StdError;
use std::path::PathBuf;

use etcd_client::Error;

/// Why etcd cannot be used right now; the text is for people and says what to do where that is known.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A certificate, a key or the password's file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file that should be a certificate or key is something else.
    #[error("{path} holds no PEM block")]
    NotPem {
        /// The file.
        path: PathBuf,
    },
    /// An https endpoint and nothing to check its certificate against.
    #[error("no CA certificate given, and none found on this system (--etcd-ca-cert, ETCD_CA_CERT_FILE)")]
    NoRoots,
    /// No connection, or it broke.
    #[error("not reachable: {cause}")]
    Unreachable {
        /// The innermost cause known.
        cause: String,
    },
    /// No answer within five seconds.
    #[error("no answer within {} s", super::connection::CALL_TIMEOUT.as_secs())]
    Timeout,
    /// The watch fell silent, and the server does not say how far it is.
    #[error("the watch fell silent")]
    Stalled,
    /// User or password are not right.
    #[error("user or password are wrong (--etcd-username, ETCD_PASSWORD)")]
    LoginRefused,
    /// etcd wants a user.
    #[error("a user is required (--etcd-username, ETCD_PASSWORD)")]
    LoginMissing,
    /// etcd has no users.
    #[error("authentication is not enabled")]
    LoginOff,
    /// The user has no rights.
    #[error("the user may not read /calico/ (etcdctl role grant-permission)")]
    Forbidden,
    /// The user may only read.
    #[error("the user may not write CalicoNodeStatus objects (etcdctl role grant-permission)")]
    ReadOnly,
    /// The cluster has no leader.
    #[error("the cluster has no leader")]
    NoLeader,
    /// What was asked for has been forgotten.
    #[error("history was compacted")]
    Compacted,
    /// An answer is larger than we take at once.
    #[error("an answer is too large")]
    TooLarge,
    /// etcd's history is not the one that was read before.
    #[error("this is another history: restored from a backup, or another cluster")]
    OtherHistory,
    /// The watch was ended.
    #[error("the watch ended: {reason}")]
    Ended {
        /// The server's words.
        reason: String,
    },
    /// Any other refusal.
    #[error("refused: {message}")]
    Refused {
        /// The server's words.
        message: String,
    },
    /// An object that was to be written is no JSON object.
    #[error("the object is not JSON")]
    NotJson,
    /// Nobody listens any more.
    #[error("the daemon stops")]
    ReceiverGone,
}

impl Trouble {
    /// Whether it makes no sense to go on where the watches stood: everything has to be listed.
    pub(super) fn is_place_lost(&self) -> bool {
        match self {
            Trouble::Compacted | Trouble::TooLarge | Trouble::OtherHistory => true,
            Trouble::File { .. }
            | Trouble::NotPem { .. }
            | Trouble::NoRoots
            | Trouble::Unreachable { .. }
            | Trouble::Timeout
            | Trouble::Stalled
            | Trouble::LoginRefused
            | Trouble::LoginMissing
            | Trouble::LoginOff
            | Trouble::Forbidden
            | Trouble::ReadOnly
            | Trouble::NoLeader
            | Trouble::Ended { .. }
            | Trouble::Refused { .. }
            | Trouble::NotJson
            | Trouble::ReceiverGone => false,
        }
    }

    /// Whether the endpoint did not answer, so that another one is to be preferred.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Trouble::Unreachable { .. } | Trouble::Timeout)
    }

    /// From a gRPC status: its code (by number, as gRPC assigns them) and words.
    fn of_status(code: i32, message: &str, cause: impl FnOnce() -> String) -> Trouble {
        let says = |words: &str| message.contains(words);
        match code {
            _ if says("no leader") || says("leader changed") => Trouble::NoLeader,
            _ if says("authentication is not enabled") => Trouble::LoginOff,
            _ if says("has been compacted") => Trouble::Compacted,
            code::INVALID_ARGUMENT if says("authentication failed") => Trouble::LoginRefused,
            code::INVALID_ARGUMENT if says("user name is empty") => Trouble::LoginMissing,
            code::UNAUTHENTICATED => Trouble::LoginRefused,
            code::PERMISSION_DENIED => Trouble::Forbidden,
            code::OUT_OF_RANGE if says("message length too large") => Trouble::TooLarge,
            code::OUT_OF_RANGE if says("future revision") => Trouble::OtherHistory,
            code::DEADLINE_EXCEEDED => Trouble::Timeout,
            // A connection that breaks shows as any of these.
            code::CANCELLED | code::UNKNOWN | code::INTERNAL | code::UNAVAILABLE => {
                Trouble::Unreachable { cause: cause() }
            }
            _ => Trouble::Refused {
                message: message.to_owned(),
            },
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        match error {
            Error::GRpcStatus(status) => {
                Trouble::of_status(status.code().into(), status.message(), || innermost(&status))
            }
            Error::TransportError(error) => Trouble::Unreachable {
                cause: innermost(&error),
            },
            Error::IoError(error) => Trouble::Unreachable {
                cause: error.to_string(),
            },
            other => Trouble::Refused {
                message: other.to_string(),
            },
        }
    }
}

/// The words of the last cause in the chain: `connection refused` rather than `transport error`.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    let text = error.to_string();
    // rustls ends with the address of its manual.
    text.split(": https://").next().unwrap_or_default().to_owned()
}

/// gRPC's status codes that mean something to us.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}
