//! What is on its way to a peer over one connection.
//!
//! Its task and the RIB both write, whoever has something to say, for as long as the socket takes it: nobody waits for
//! a task to have its turn. What the socket does not take is the task's to write when there is room.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Buf, Bytes};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use crate::io::message::FRAME_ROOM;
use crate::session::Sending;
use crate::session::counts::SentCounts;
use crate::wire::header;
use crate::wire::iana::message;

/// Where the RIB sends a session's UPDATEs. Cheap to clone. By default it is that of a session that has ended.
#[derive(Clone, Debug, Default)]
pub struct FrameSender(Weak<Outbox>);

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// There is room for another.
    Taken,
    /// It waits. [`PeerBody::Drained`](crate::io::message::PeerBody::Drained) follows when it has been taken.
    Waits,
}

/// Why a frame went nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsent {
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
    /// [`FRAME_ROOM`] frames wait already.
    #[error("{FRAME_ROOM} frames wait already")]
    Full,
}

/// See the module. In a session's life, `open` comes once, then `end`; `close` takes what is left.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    /// The RIB left something that the socket did not take.
    left: Notify,
    sent: Arc<SentCounts>,
}

#[derive(Debug)]
struct Queue {
    socket: Option<OwnedWriteHalf>,
    /// Control messages: ahead of frames.
    urgent: VecDeque<Bytes>,
    /// At most [`FRAME_ROOM`].
    frames: VecDeque<Bytes>,
    /// The rest of what is partly written: comes first, whatever it was.
    writing: Bytes,
    takes_frames: bool,
    /// Why nothing can be written any more. What the peer said before, perhaps a NOTIFICATION, is still to be read,
    /// and the end behind it.
    broken: Option<String>,
}

/// What came of writing.
pub(crate) struct Written {
    /// Frames that left their place: room for as many others.
    pub(crate) drained: usize,
    pub(crate) sending: Sending,
}

impl FrameSender {
    /// Sends encoded UPDATEs: whole messages, any number.
    ///
    /// # Errors
    /// The session has ended, or the peer has [`FRAME_ROOM`] frames to take: the frame is dropped.
    pub fn send(&self, frame: Bytes) -> Result<Sent, Unsent> {
        let outbox = self.0.upgrade().ok_or(Unsent::Ended)?;
        let mut queue = outbox.lock();
        if !queue.takes_frames {
            return Err(Unsent::Ended);
        }
        if queue.frames.len() == FRAME_ROOM {
            return Err(Unsent::Full);
        }
        let is_first = !queue.has_more();
        queue.frames.push_back(frame);
        if !is_first {
            return Ok(Sent::Waits);
        }
        let written = queue.write(&outbox.sent);
        if !matches!(
            written,
            Some(Written {
                sending: Sending::Done,
                ..
            })
        ) {
            outbox.left.notify_one();
        }
        Ok(match written {
            Some(Written { drained: 1.., .. }) => Sent::Taken,
            _ => Sent::Waits,
        })
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.0.upgrade().is_none_or(|outbox| !outbox.lock().takes_frames)
    }
}

impl Outbox {
    pub(crate) fn new(socket: OwnedWriteHalf, sent: Arc<SentCounts>) -> Arc<Self> {
        Arc::new(Outbox {
            queue: Mutex::new(Queue {
                socket: Some(socket),
                urgent: VecDeque::new(),
                frames: VecDeque::new(),
                writing: Bytes::new(),
                takes_frames: false,
                broken: None,
            }),
            left: Notify::new(),
            sent,
        })
    }

    /// Lets the RIB send from now on.
    pub(crate) fn open(self: &Arc<Self>) -> FrameSender {
        self.lock().takes_frames = true;
        FrameSender(Arc::downgrade(self))
    }

    /// Takes nothing of the RIB any more, and forgets what waits.
    pub(crate) fn end(&self) {
        let mut queue = self.lock();
        queue.takes_frames = false;
        queue.frames.clear();
    }

    /// The socket, and what must still be written to it: the message that is partly written and all control messages.
    pub(crate) fn close(&self) -> (Option<OwnedWriteHalf>, Vec<Bytes>) {
        self.end();
        let mut queue = self.lock();
        let rest = Some(std::mem::take(&mut queue.writing)).filter(|rest| !rest.is_empty());
        let unsent = rest.into_iter().chain(queue.urgent.drain(..)).collect();
        (queue.socket.take(), unsent)
    }

    /// A control message, to be written ahead of the frames. A NOTIFICATION is the last thing that a connection says
    /// (RFC 4271 §6), so what waits goes nowhere, whatever room the socket has by now.
    pub(crate) fn push_urgent(&self, bytes: Bytes) {
        if bytes.get(header::LEN - 1) == Some(&message::NOTIFICATION) {
            self.end();
        }
        let mut queue = self.lock();
        // One KEEPALIVE says as much as many: a peer that does not read, and may, must not collect them.
        if queue.urgent.back() != Some(&bytes) {
            queue.urgent.push_back(bytes);
        }
    }

    /// Writes what the socket takes; `None` when it is broken.
    pub(crate) fn write(&self) -> Option<Written> {
        self.lock().write(&self.sent)
    }

    /// Whether something waits for the socket to have room.
    pub(crate) fn wants_write(&self) -> bool {
        let queue = self.lock();
        queue.broken.is_none() && queue.has_more()
    }

    /// Waits until the RIB leaves something to write.
    pub(crate) async fn left(&self) {
        self.left.notified().await;
    }

    /// Why nothing can be written any more.
    pub(crate) fn take_error(&self) -> Option<String> {
        self.lock().broken.take()
    }

    /// Nothing panics while it holds the lock, so there is nothing half done behind a poisoned one.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn has_more(&self) -> bool {
        !self.writing.is_empty() || !self.urgent.is_empty() || !self.frames.is_empty()
    }

    fn write(&mut self, sent: &SentCounts) -> Option<Written> {
        if self.broken.is_some() {
            return None;
        }
        match self.try_write(sent) {
            Ok(written) => Some(written),
            Err(error) => {
                self.broken = Some(error.to_string());
                None
            }
        }
    }

    fn try_write(&mut self, sent: &SentCounts) -> io::Result<Written> {
        let mut drained = 0;
        let mut sending = Sending::Stuck;
        let Some(socket) = &self.socket else {
            return Ok(Written { drained, sending });
        };
        loop {
            if self.writing.is_empty() {
                // Between messages of a frame would be sooner, but a frame is at most what one write takes.
                let next = self.urgent.pop_front().or_else(|| {
                    let frame = self.frames.pop_front();
                    drained += usize::from(frame.is_some());
                    frame
                });
                match next {
                    Some(bytes) => {
                        sent.count_frame(&bytes);
                        self.writing = bytes;
                    }
                    None => {
                        let sending = Sending::Done;
                        return Ok(Written { drained, sending });
                    }
                }
            }
            match socket.try_write(&self.writing) {
                Ok(len) => {
                    sent.count_octets(len);
                    self.writing.advance(len);
                    sending = Sending::Progress;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Written { drained, sending });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
