//! A stretch of a group's journal as encoded UPDATEs, shared by all members that stand at its start.

use bytes::Bytes;
use pipit_bgp::wire::attr::AttrEdit;
use pipit_bgp::wire::update::{EncodeError, Nlri, encode_announce, encode_withdraw};
use pipit_bgp::{NextHop, Prefix};
use tracing::warn;

use crate::adj_rib_out::egress::EgressKey;
use crate::adj_rib_out::group::withdraw_for_source;
use crate::adj_rib_out::journal::Position;
use crate::attrs::AttrId;
use crate::export::Announcement;
use crate::source::SourceId;

/// Items encoded at once: enough to find routes that share attributes, little enough to keep the RIB responsive.
const ITEMS_PER_CHUNK: usize = 4096;

/// Octets after which a chunk ends. A slow peer's socket takes about that much at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// One item of the journal, as the group last said it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) item: u32,
    /// `None`: withdrawn.
    pub(crate) announcement: Option<&'a Announcement>,
    pub(crate) source: SourceId,
    pub(crate) had_other_source: bool,
}

/// Looks up what a chunk needs of the tables.
pub(crate) trait ChunkSource<P: Prefix> {
    /// The prefix and the path identifier of an item, also of one that is withdrawn.
    fn nlri(&self, item: u32) -> Nlri<P>;
    /// The attributes of an announced item.
    fn attrs(&self, item: u32) -> AttrId;
    /// Makes the edit and the next hop that an announcement means for routes with these attributes of this source.
    fn outgoing(&self, announcement: &Announcement, attrs: AttrId, source: SourceId) -> (AttrEdit, NextHop);
    /// The canonical bytes of an attribute set.
    fn bytes(&self, attrs: AttrId) -> &[u8];
}

/// A run of UPDATEs that concern routes of one source.
#[derive(Debug)]
struct Segment {
    source: SourceId,
    end: usize,
    /// What that source's own peer gets in place of the run.
    instead: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) from: Position,
    pub(crate) to: Position,
    bytes: Bytes,
    segments: Vec<Segment>,
}

impl Chunk {
    /// The chunk as a peer gets it: without the routes that came from itself.
    pub(crate) fn bytes_for(&self, own: SourceId) -> Bytes {
        if self.segments.iter().all(|segment| segment.source != own) {
            return self.bytes.clone();
        }
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut start = 0;
        for segment in &self.segments {
            if segment.source == own {
                bytes.extend_from_slice(&segment.instead);
            } else {
                bytes.extend_from_slice(&self.bytes[start..segment.end]);
            }
            start = segment.end;
        }
        bytes.into()
    }
}

/// Encodes journal items from `from` on until the chunk is full or the journal ends at `end`.
pub(crate) fn cut<'a, P: Prefix>(
    from: Position,
    end: Position,
    items: impl Iterator<Item = (Item<'a>, Position)>,
    key: &EgressKey,
    source: &impl ChunkSource<P>,
) -> Chunk {
    let mut batch: Vec<Item<'a>> = Vec::new();
    let mut to = end;
    let mut size_estimate = 0;
    for (item, after) in items {
        batch.push(item);
        size_estimate += usize::from(P::MAX_LEN / 8) + 1;
        if batch.len() == ITEMS_PER_CHUNK || size_estimate >= CHUNK_BYTES {
            to = after;
            break;
        }
    }
    // Withdrawals first, then runs of equal source, announcement and attributes: one set of UPDATEs each.
    let sort_key = |item: &Item<'a>| {
        let announced = item
            .announcement
            .map(|announcement| (std::ptr::from_ref(announcement) as usize, source.attrs(item.item)));
        (announced.is_some(), item.source, announced, item.had_other_source)
    };
    batch.sort_by_cached_key(sort_key);
    let mut bytes = Vec::new();
    let mut segments: Vec<Segment> = Vec::new();
    let mut nlri = Vec::new();
    let mut rest = batch.as_slice();
    while let Some(first) = rest.first() {
        let wanted = sort_key(first);
        let len = rest.iter().take_while(|item| sort_key(item) == wanted).count();
        let (run, after) = rest.split_at(len);
        rest = after;
        nlri.clear();
        nlri.extend(run.iter().map(|item| source.nlri(item.item)));
        match first.announcement {
            None => encode_withdraw(&mut bytes, &key.encode, &nlri),
            Some(announcement) => encode_run(&mut bytes, key, source, announcement, first, &nlri),
        }
        let instead = if first.had_other_source {
            withdraw_for_source(key, &nlri)
        } else {
            Vec::new()
        };
        match segments.last_mut() {
            Some(last) if last.source == first.source && instead.is_empty() && last.instead.is_empty() => {
                last.end = bytes.len();
            }
            _ => segments.push(Segment {
                source: first.source,
                end: bytes.len(),
                instead,
            }),
        }
    }
    Chunk {
        from,
        to,
        bytes: bytes.into(),
        segments,
    }
}

fn encode_run<P: Prefix>(
    bytes: &mut Vec<u8>,
    key: &EgressKey,
    source: &impl ChunkSource<P>,
    announcement: &Announcement,
    first: &Item<'_>,
    nlri: &[Nlri<P>],
) {
    let attrs = source.attrs(first.item);
    let (edit, next_hop) = source.outgoing(announcement, attrs, first.source);
    let mut canonical = Vec::new();
    edit.apply(source.bytes(attrs), &mut canonical);
    let before = bytes.len();
    if let Err(error @ EncodeError::TooLong { .. }) =
        encode_announce(bytes, &key.encode, &canonical, next_hop, nlri)
    {
        // RFC 8654 §4: what cannot be sent is not sent, and a peer that knew an older version must forget it.
        warn!(%error, routes = nlri.len(), "attributes do not fit into a message; withdrawn instead");
        bytes.truncate(before);
        encode_withdraw(bytes, &key.encode, nlri);
    }
}
