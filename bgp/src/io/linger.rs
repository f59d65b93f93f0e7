//! The end of a connection, so that what was said last arrives.
//!
//! Closing a socket while octets of the peer are unread resets the connection, and a NOTIFICATION on its way may go
//! with it. So the end is said first, and what still comes is read and dropped until the peer has ended, too.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long a peer has to take our last words and close.
const LINGER: Duration = Duration::from_secs(1);
/// Connections of one peer that may linger at a time; any beyond are closed at once.
const LINGERING_MAX: usize = 4;
/// Octets dropped at a time.
const DROP_LEN: usize = 4096;

/// The ending connections of one peer.
#[derive(Default)]
pub(crate) struct Lingering(JoinSet<()>);

impl Lingering {
    /// Ends a connection after `unsent`, in the background.
    pub(crate) fn close(&mut self, stream: TcpStream, unsent: Vec<Bytes>) {
        while self.0.try_join_next().is_some() {}
        if self.0.len() < LINGERING_MAX {
            self.0.spawn(async move {
                // Who does not take the end in time, or breaks the connection, gets the kernel's.
                let _ = tokio::time::timeout(LINGER, end(stream, unsent)).await;
            });
        }
    }

    /// Waits until all have ended.
    pub(crate) async fn finish(&mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

async fn end(mut stream: TcpStream, unsent: Vec<Bytes>) -> std::io::Result<()> {
    for bytes in unsent {
        stream.write_all(&bytes).await?;
    }
    stream.shutdown().await?;
    let mut dropped = vec![0; DROP_LEN];
    while stream.read(&mut dropped).await? > 0 {}
    Ok(())
}
