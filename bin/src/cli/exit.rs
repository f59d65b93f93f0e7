//! Exit codes: a promise to scripts.

use std::io;
use std::process::ExitCode;

use pipit_datastore::desired::NoPlan;

use crate::cli::resources::ResourcesError;
use crate::control::client::ClientError;
use crate::control::protocol::ErrorReason;
use crate::daemon::config::ConfigError;

/// How `pipit` ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Any failure that has no code of its own; a negative answer of `pipit check`.
    Failed = 1,
    /// The command line makes no sense; clap uses the same code.
    Usage = 2,
    /// No daemon answered.
    NotReached = 3,
    /// What was asked for by name does not exist.
    NotFound = 4,
    /// The socket's permissions say no.
    Refused = 5,
    /// Some peer is down (`--check`).
    Degraded = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The daemon did not answer, or not well.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The daemon sent an item that is not understood.
    #[error("an item of the answer cannot be read ({0}); is pipitd of this version?")]
    Item(serde_json::Error),
    /// The arguments contradict each other, or are none of what the command takes.
    #[error("{0}")]
    Usage(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The resources to plan with cannot be had.
    #[error(transparent)]
    Resources(#[from] ResourcesError),
    /// The resources do not make a plan.
    #[error(transparent)]
    NoPlan(#[from] NoPlan),
    /// The flags or the environment contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The runtime cannot start.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

impl CliError {
    /// The exit code that tells this error to a script.
    ///
    /// Nobody is left to read when the pipe is closed: `pipit routes | head` has done what it was asked.
    pub fn exit(&self) -> Exit {
        match self {
            CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            CliError::Client(error) => match error {
                ClientError::NotReached { .. } | ClientError::Silent { .. } => Exit::NotReached,
                ClientError::NotAllowed { .. } => Exit::Refused,
                ClientError::Refused {
                    reason: ErrorReason::NotFound,
                    ..
                } => Exit::NotFound,
                ClientError::Refused {
                    reason: ErrorReason::Unavailable,
                    ..
                } => Exit::NotReached,
                ClientError::Refused {
                    reason: ErrorReason::BadRequest | ErrorReason::Internal,
                    ..
                }
                | ClientError::CutOff { .. }
                | ClientError::Unreadable { .. } => Exit::Failed,
            },
            CliError::Usage(_) | CliError::Config(_) => Exit::Usage,
            CliError::NotFound(_) => Exit::NotFound,
            // No such node is a plain failure for `pipit plan`: plan-contract.md §1.
            CliError::Output(_)
            | CliError::Item(_)
            | CliError::Resources(_)
            | CliError::NoPlan(_)
            | CliError::Runtime(_) => Exit::Failed,
        }
    }

    /// What the person can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            CliError::Client(ClientError::NotReached { .. }) => Some(
                "Is the daemon running on this node? Start it (systemctl start pipitd, or pipitd --node-name NAME),\n\
                 or say where its socket is: --socket PATH, or PIPIT_SOCKET.",
            ),
            CliError::Client(ClientError::NotAllowed { .. }) => {
                Some("Run pipit as root, or as a member of the group that owns the socket.")
            }
            CliError::Usage(_) => Some("Try --help."),
            _ => None,
        }
    }
}
