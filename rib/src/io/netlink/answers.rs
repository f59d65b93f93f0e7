//! What became of batches, told in the kernel's order.
//!
//! The writer's answers and the monitor's notifications come over two sockets, and either may be read late. A link that
//! went down before a route was written would then seem to have gone down after it. So the writer puts a marker on the
//! monitor's socket when a batch is answered: a request that does nothing, whose acknowledgement the kernel queues
//! behind all that it said before. The batch's result is handed on when the marker is read.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::fib::FibRefusal;
use crate::io::netlink::REQUESTS;
use crate::io::netlink::decode::Message;
use crate::io::netlink::socket::Endpoint;

/// Sequence numbers of markers have this bit; those of dumps do not.
const MARKER: u32 = 1 << 31;
/// NLMSG_NOOP.
const NOOP: u16 = 1;
/// Tries to send a marker while the kernel is short of memory, and the wait between two.
const TRIES: u32 = 100;
const WAIT: Duration = Duration::from_millis(10);

/// What became of one batch.
#[derive(Debug)]
pub(super) struct Answer {
    number: u32,
    /// Operations that were refused.
    pub(super) refusals: Vec<FibRefusal>,
    /// Some answers of the kernel were lost.
    pub(super) is_incomplete: bool,
}

/// The writer's end.
pub(super) struct Answering {
    sender: SyncSender<Answer>,
    next: u32,
}

/// The monitor's end.
pub(super) struct Answered {
    receiver: Receiver<Answer>,
    /// Taken from the channel, and its marker not read yet.
    ahead: Option<Answer>,
}

/// Both ends. There are never more answers on their way than batches.
pub(super) fn channel() -> (Answering, Answered) {
    let (sender, receiver) = sync_channel(REQUESTS);
    (
        Answering { sender, next: 0 },
        Answered {
            receiver,
            ahead: None,
        },
    )
}

impl Answering {
    /// Puts an answer on its way. `monitor`: the socket that its marker goes to.
    pub(super) fn send(
        &mut self,
        monitor: &Endpoint,
        refusals: Vec<FibRefusal>,
        is_incomplete: bool,
    ) -> io::Result<()> {
        let number = self.next & !MARKER;
        self.next = self.next.wrapping_add(1);
        let answer = Answer {
            number,
            refusals,
            is_incomplete,
        };
        // First the answer: whoever reads the marker finds it.
        self.sender
            .send(answer)
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let marker = marker(number);
        for _ in 1..TRIES {
            match monitor.send(&marker) {
                Ok(()) => return Ok(()),
                Err(_) => thread::sleep(WAIT),
            }
        }
        monitor.send(&marker)
    }
}

impl Answered {
    /// Whether a message is a marker; its number.
    pub(super) fn marker(message: &Message<'_>) -> Option<u32> {
        (message.error().is_some() && message.sequence & MARKER != 0).then_some(message.sequence & !MARKER)
    }

    /// The oldest answer whose marker is this one or an earlier one.
    pub(super) fn up_to(&mut self, marker: u32) -> Option<Answer> {
        let answer = self.next()?;
        // Numbers wrap around.
        let is_later = answer.number.wrapping_sub(marker) & !MARKER;
        if is_later == 0 || is_later > MARKER / 2 {
            return Some(answer);
        }
        self.ahead = Some(answer);
        None
    }

    /// The oldest answer, marker or not: markers may be lost when the socket overruns.
    pub(super) fn next(&mut self) -> Option<Answer> {
        self.ahead.take().or_else(|| self.receiver.try_recv().ok())
    }
}

/// struct nlmsghdr: length 4, type 2, flags 2, sequence 4, port 4.
fn marker(number: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    bytes[..4].copy_from_slice(&16_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&NOOP.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[8..12].copy_from_slice(&(MARKER | number).to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::netlink::decode;

    #[test]
    fn an_answer_waits_for_its_marker() {
        let endpoint = Endpoint::open().unwrap();
        let (mut answering, mut answered) = channel();
        let mut buffer = Vec::with_capacity(4096);
        for _ in 0..2 {
            answering.send(&endpoint, Vec::new(), false).unwrap();
        }
        let mut seen = Vec::new();
        while seen.len() < 2 {
            buffer.clear();
            endpoint.socket.recv(&mut buffer, 0).unwrap();
            for message in decode::messages(&buffer) {
                let number = Answered::marker(&message).expect("an acknowledgement");
                seen.push(number);
                assert_eq!(answered.up_to(number).map(|answer| answer.number), Some(number));
                assert!(
                    answered.up_to(number).is_none(),
                    "the second one's marker is not read yet"
                );
            }
        }
        assert_eq!(seen, [0, 1]);
    }

    #[test]
    fn a_lost_marker_is_made_good_by_the_next_also_where_numbers_wrap() {
        let endpoint = Endpoint::open().unwrap();
        let (mut answering, mut answered) = channel();
        answering.next = MARKER - 1;
        answering.send(&endpoint, Vec::new(), true).unwrap();
        answering.send(&endpoint, Vec::new(), false).unwrap();
        let numbers: Vec<u32> = std::iter::from_fn(|| answered.up_to(0))
            .map(|answer| answer.number)
            .collect();
        assert_eq!(numbers, [MARKER - 1, 0]);
    }
}
