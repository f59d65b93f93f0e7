//! One stream with a watch for each prefix.

use etcd_client::{Client, Error, Event, WatchOptions, WatchResponse, WatchStream};

use super::connection::call;
use super::listing::{ANSWER_MAX, end_of};
use super::place::Place;
use super::trouble::Trouble;

/// What one message of the server brought.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In order; empty for a message that only says how far the watch is.
    pub events: Vec<Event>,
}

/// The open stream.
pub(super) struct Watching {
    stream: WatchStream,
    /// Watch ids, in the order of the prefixes, as far as the server has confirmed them.
    ids: Vec<i64>,
    wanted: usize,
}

impl Watching {
    /// Asks for a watch on every prefix, each from its place.
    pub(super) async fn open(
        client: &mut Client,
        prefixes: &[String],
        place: &Place,
    ) -> Result<Watching, Trouble> {
        let mut client = client.watch_client().max_decoding_message_size(ANSWER_MAX);
        let mut stream: Option<WatchStream> = None;
        for (prefix, next) in prefixes.iter().zip(&place.next) {
            let options = WatchOptions::new()
                .with_range(end_of(prefix))
                .with_start_revision(*next)
                .with_progress_notify();
            let prefix = prefix.as_str();
            match &mut stream {
                Some(stream) => call(stream.watch(prefix, Some(options))).await?,
                None => stream = Some(call(client.watch(prefix, Some(options))).await?),
            }
        }
        let stream = stream.ok_or_else(|| Trouble::Ended {
            reason: "nothing to watch".to_owned(),
        })?;
        Ok(Watching {
            stream,
            ids: Vec::with_capacity(prefixes.len()),
            wanted: prefixes.len(),
        })
    }

    /// Whether the server has confirmed every watch.
    pub(super) fn is_complete(&self) -> bool {
        self.ids.len() == self.wanted
    }

    /// Asks the server to say something.
    pub(super) async fn request_progress(&mut self) -> Result<(), Error> {
        self.stream.request_progress().await
    }

    /// The next message; moves `place` behind what it brought. Safe to be dropped while it waits.
    pub(super) async fn next(&mut self, place: &mut Place) -> Result<Batch, Trouble> {
        match self.stream.message().await? {
            Some(response) => self.take(&response, place),
            None => Err(Trouble::Ended {
                reason: "closed by the server".to_owned(),
            }),
        }
    }

    fn take(&mut self, response: &WatchResponse, place: &mut Place) -> Result<Batch, Trouble> {
        if response.canceled() {
            return Err(ended(response));
        }
        let header = response.header();
        let revision = header.map_or(0, etcd_client::ResponseHeader::revision);
        if let Some(header) = header {
            place.note(header)?;
        }
        if response.created() {
            // A member that merely lags looks the same as a restored one; a listing is right for both.
            if revision < place.revision {
                return Err(Trouble::OtherHistory);
            }
            self.ids.push(response.watch_id());
        }
        place.revision = place.revision.max(revision);
        self.advance(response, revision, place);
        response.events().iter().for_each(|event| place.mark(event));
        Ok(Batch {
            events: response.events().to_vec(),
        })
    }

    /// Moves the watch's own place. What a message that answers `request_progress` says is not used for that: etcd
    /// before 3.4.25 sends it ahead of events that it still holds (etcd issue 15220).
    fn advance(&self, response: &WatchResponse, revision: i64, place: &mut Place) {
        let watch = self.ids.iter().position(|id| *id == response.watch_id());
        let Some(next) = watch.and_then(|watch| place.next.get_mut(watch)) else {
            return;
        };
        let newest = response.events().iter().filter_map(|event| event.kv());
        match newest.map(|kv| kv.mod_revision()).max() {
            Some(newest) => *next = (*next).max(newest + 1),
            // The server's own progress message: this watch has everything up to here.
            None if !response.created() => *next = (*next).max(revision + 1),
            None => {}
        }
    }
}

fn ended(response: &WatchResponse) -> Trouble {
    let reason = response.cancel_reason();
    if response.compact_revision() != 0 {
        Trouble::Compacted
    } else if reason.contains("permission denied") {
        Trouble::Forbidden
    } else if reason.contains("no leader") {
        Trouble::NoLeader
    } else {
        Trouble::Ended {
            reason: reason.to_owned(),
        }
    }
}
