//! Which history is followed, and how far each watch has come in it.

use etcd_client::{Client, Event, EventType, GetOptions, KeyValue, ResponseHeader};

use super::connection::call;
use super::listing::Listing;
use super::trouble::Trouble;

/// Which history is followed, and how far each watch has come in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    cluster_id: u64,
    /// The newest term of Raft known to have begun.
    raft_term: u64,
    /// The newest revision known to exist.
    pub(super) revision: i64,
    /// For each prefix, the revision its watch starts from.
    pub(super) next: Vec<i64>,
    /// The newest key that was written, and the newest that was deleted, as far as they still are.
    written: Option<Mark>,
    deleted: Option<Mark>,
}

/// Something that is true of this history and hardly of another one.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mark {
    key: Vec<u8>,
    revision: i64,
}

impl Mark {
    fn of(kv: &KeyValue) -> Mark {
        Mark {
            key: kv.key().to_vec(),
            revision: kv.mod_revision(),
        }
    }
}

impl Place {
    /// Right behind a listing.
    pub(super) fn after_listing(listing: &Listing, prefixes: usize) -> Place {
        let newest = listing.objects.iter().max_by_key(|kv| kv.mod_revision());
        Place {
            cluster_id: listing.cluster_id,
            raft_term: listing.raft_term,
            revision: listing.revision,
            next: vec![listing.revision + 1; prefixes],
            written: newest.map(Mark::of),
            deleted: None,
        }
    }

    /// Asks a server that is connected to anew whether this history is still its own.
    ///
    /// A cluster restored from a backup has the same id and may have written more since than was lost, so that its
    /// revision alone does not tell; watches that went on would miss what it wrote under numbers already seen. But
    /// its term begins anew, and what was written last is not there under its number. A listing is right for every
    /// doubt.
    pub(super) async fn check(&self, client: &mut Client) -> Result<(), Trouble> {
        let marks = [(&self.written, true), (&self.deleted, false)];
        for (mark, is_there) in marks {
            let Some(mark) = mark else { continue };
            let options = GetOptions::new().with_revision(self.revision).with_keys_only();
            let answer = call(client.get(mark.key.clone(), Some(options))).await?;
            let is_as_known = match answer.kvs().first() {
                Some(kv) => is_there && kv.mod_revision() == mark.revision,
                None => !is_there,
            };
            let is_ours = answer.header().is_none_or(|header| {
                header.cluster_id() == self.cluster_id && header.raft_term() >= self.raft_term
            });
            if !is_as_known || !is_ours {
                return Err(Trouble::OtherHistory);
            }
        }
        Ok(())
    }

    /// Takes the head of a message on the stream of watches.
    pub(super) fn note(&mut self, header: &ResponseHeader) -> Result<(), Trouble> {
        if header.cluster_id() != 0 && header.cluster_id() != self.cluster_id {
            return Err(Trouble::OtherHistory);
        }
        self.raft_term = self.raft_term.max(header.raft_term());
        Ok(())
    }

    /// Remembers what an event says of the history.
    pub(super) fn mark(&mut self, event: &Event) {
        let Some(mark) = event.kv().map(Mark::of) else {
            return;
        };
        let (new, old) = match event.event_type() {
            EventType::Put => (&mut self.written, &mut self.deleted),
            EventType::Delete => (&mut self.deleted, &mut self.written),
        };
        old.take_if(|old| old.key == mark.key);
        *new = Some(mark);
    }
}
