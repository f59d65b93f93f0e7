//! The connections being served, and which one goes when there are too many.

use std::collections::VecDeque;
use std::future::Future;

use tokio::task::AbortHandle;

/// Connections served at once. Interactive use needs a few; each costs some tens of kilobytes.
pub(crate) const MAX_CONNECTIONS: usize = 64;

/// The tasks that serve connections, oldest first.
///
/// A client that stops reading (a pager left open, a stopped job) keeps its connection. Rather than by a time-out,
/// which would cut off the reader of a pager, they are bounded in number: the oldest makes room for a new one, so
/// nobody can lock the others out. Dropping the set ends them all.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    tasks: VecDeque<AbortHandle>,
}

impl Connections {
    /// Serves one more connection on a task of its own.
    pub(crate) fn spawn(&mut self, serve: impl Future<Output = ()> + Send + 'static) {
        self.tasks.retain(|task| !task.is_finished());
        if self.tasks.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.tasks.pop_front()
        {
            tracing::warn!(
                limit = MAX_CONNECTIONS,
                "too many control connections, the oldest is closed"
            );
            oldest.abort();
        }
        self.tasks.push_back(tokio::spawn(serve).abort_handle());
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
