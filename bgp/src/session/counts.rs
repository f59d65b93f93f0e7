//! How many messages of each type went which way.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::wire::header;
use crate::wire::iana::message;

/// Messages and octets in one direction, over all connections since the peer was configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MessageCounts {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
    /// Octets, those of messages that were cut short included.
    pub octets: u64,
}

impl MessageCounts {
    /// Counts one message; a type that does not exist counts nowhere.
    pub fn count(&mut self, kind: u8) {
        let counter = match kind {
            message::OPEN => &mut self.open,
            message::UPDATE => &mut self.update,
            message::NOTIFICATION => &mut self.notification,
            message::KEEPALIVE => &mut self.keepalive,
            message::ROUTE_REFRESH => &mut self.route_refresh,
            _ => return,
        };
        *counter += 1;
    }

    /// Counts the messages of a frame: whole ones, one behind the other, as our own encoder makes them.
    pub fn count_frame(&mut self, mut frame: &[u8]) {
        while let Some(&[high, low, kind]) = frame.get(header::LEN - 3..header::LEN) {
            self.count(kind);
            let len = usize::from(u16::from_be_bytes([high, low])).max(header::LEN);
            frame = frame.get(len..).unwrap_or_default();
        }
    }
}

/// [`MessageCounts`] of what a peer is sent, where more than one task sends.
#[derive(Debug, Default)]
pub struct SentCounts {
    open: AtomicU64,
    update: AtomicU64,
    notification: AtomicU64,
    keepalive: AtomicU64,
    route_refresh: AtomicU64,
    octets: AtomicU64,
}

impl SentCounts {
    /// As [`MessageCounts::count_frame`].
    pub fn count_frame(&self, frame: &[u8]) {
        let mut counts = MessageCounts::default();
        counts.count_frame(frame);
        let counted = [
            (&self.open, counts.open),
            (&self.update, counts.update),
            (&self.notification, counts.notification),
            (&self.keepalive, counts.keepalive),
            (&self.route_refresh, counts.route_refresh),
        ];
        for (counter, count) in counted.into_iter().filter(|(_, count)| *count > 0) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Counts what a socket took.
    pub fn count_octets(&self, len: usize) {
        self.octets.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn totals(&self) -> MessageCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MessageCounts {
            open: of(&self.open),
            update: of(&self.update),
            notification: of(&self.notification),
            keepalive: of(&self.keepalive),
            route_refresh: of(&self.route_refresh),
            octets: of(&self.octets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_a_frame_counts_by_its_type() {
        let frame = [
            header::message(message::UPDATE, &[0; 4]),
            header::keepalive(),
            header::message(message::UPDATE, &[0; 700]),
            header::message(message::ROUTE_REFRESH, &[0; 4]),
        ]
        .concat();
        let mut counts = MessageCounts::default();
        counts.count_frame(&frame);
        let expected = MessageCounts {
            update: 2,
            keepalive: 1,
            route_refresh: 1,
            ..MessageCounts::default()
        };
        assert_eq!(counts, expected);
        let sent = SentCounts::default();
        sent.count_frame(&frame);
        sent.count_octets(frame.len());
        let octets = frame.len() as u64;
        assert_eq!(sent.totals(), MessageCounts { octets, ..expected });
        // What is no whole header counts for nothing, and a length of zero ends as well.
        counts.count_frame(&[0; 18]);
        assert_eq!(counts, expected);
        counts.count_frame(&[0; 40]);
        assert_eq!(counts, expected);
    }
}
