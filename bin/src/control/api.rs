//! What the control server asks of the daemon.

use std::future::Future;

use ipnet::IpNet;
use pipit_rib::Drain;

use crate::control::protocol::{
    DaemonStatus, Drained, ErrorReason, FibDiff, FibItem, FibSync, PeerItem, ProblemItem, Reset, RouteItem,
    Verified,
};
use crate::control::query::{FibQuery, RouteQuery};

/// Answers for the daemon. A value is a handle (channel ends), cloned for every request.
///
/// **Invariant:** no answer holds state of the daemon beyond the call. A client may read as slowly as it likes; the
/// next page is asked for only when it has taken the one before.
pub trait ControlApi: Clone + Send + Sync + 'static {
    /// The daemon as a whole.
    fn status(&self) -> impl Future<Output = Result<DaemonStatus, ApiError>> + Send;

    /// All peers, in order of their names.
    fn peers(&self) -> impl Future<Output = Result<Vec<PeerItem>, ApiError>> + Send;

    /// What the configuration asks for and cannot be honoured, in order of the resources.
    fn problems(&self) -> impl Future<Output = Result<Vec<ProblemItem>, ApiError>> + Send;

    /// Drains the node, or ends it: see [`Drained`].
    fn drain(&self, drain: Drain) -> impl Future<Output = Result<Drained, ApiError>> + Send;

    /// Ends a peer's session so that it begins anew, or tries a peer that waits: see [`Reset`].
    fn reset(&self, name: String) -> impl Future<Output = Result<Reset, ApiError>> + Send;

    /// Computes the tables anew and compares: see [`Verified`].
    fn verify(&self) -> impl Future<Output = Result<Verified, ApiError>> + Send;

    /// Acts on deletions that are held back; how many there were.
    fn release(&self) -> impl Future<Output = Result<usize, ApiError>> + Send;

    /// What the desired state is computed from, in lines; passwords in disguise.
    fn inputs(&self) -> impl Future<Output = Result<Vec<String>, ApiError>> + Send;

    /// One page of the paths that `query.selection` selects; its other conditions may be left to the caller.
    ///
    /// See [`PageRequest`] and [`Page`] for order and size.
    fn routes(
        &self,
        query: &RouteQuery,
        page: PageRequest,
    ) -> impl Future<Output = Result<Page<RouteItem>, ApiError>> + Send;

    /// One page of this node's kernel routes, desired and actual.
    fn fib(
        &self,
        query: &FibQuery,
        page: PageRequest,
    ) -> impl Future<Output = Result<Page<FibItem>, ApiError>> + Send;

    /// Where the kernel differs from what it should hold, by a fresh look at it. Changes nothing.
    fn fib_diff(&self) -> impl Future<Output = Result<FibDiff, ApiError>> + Send;

    /// Puts right what differs.
    fn fib_sync(&self) -> impl Future<Output = Result<FibSync, ApiError>> + Send;
}

/// Which part of a long list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRequest {
    /// Start after this prefix; `None`: at the beginning. IPv4 comes before IPv6.
    pub after: Option<IpNet>,
    /// About how many items. All items of one prefix stand on one page, so a page may be longer.
    pub limit: usize,
}

/// Part of a long list.
///
/// A page may hold few items, or none, and still not be the last: that is how an owner bounds the work of a question
/// that selects little of a large table.
#[derive(Clone, PartialEq, Debug)]
pub struct Page<T> {
    /// The items, in order of their prefixes.
    pub items: Vec<T>,
    /// What the next [`PageRequest::after`] must be; `None` after the last page.
    pub next: Option<IpNet>,
}

/// Why the daemon cannot answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApiError {
    /// The owner of the state is not there: the daemon is starting or stopping.
    #[error("{owner} does not answer: pipitd is starting or stopping")]
    Unavailable {
        /// Which task.
        owner: &'static str,
    },
    /// There is no such thing.
    #[error("no {what} named {name}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// The name asked for.
        name: String,
    },
}

impl ApiError {
    /// The class of the error on the wire.
    pub fn reason(&self) -> ErrorReason {
        match self {
            ApiError::Unavailable { .. } => ErrorReason::Unavailable,
            ApiError::NotFound { .. } => ErrorReason::NotFound,
        }
    }
}
