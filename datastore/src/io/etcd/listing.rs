//! Everything at one revision, in pages.

use etcd_client::{Client, GetOptions, KeyValue};

use super::connection::call;
use super::object::is_anothers_request;
use super::trouble::Trouble;

/// Keys in one answer.
const PAGE: i64 = 500;
/// Octets of one answer that are taken: room for a page of ordinary objects, or a few of the largest that etcd
/// stores. An answer that is larger is asked for in smaller pages.
pub(super) const ANSWER_MAX: usize = 16 << 20;

/// A consistent listing.
pub(super) struct Listing {
    /// Which cluster answered.
    pub cluster_id: u64,
    /// The term of Raft in which it did.
    pub raft_term: u64,
    /// The revision of all of it.
    pub revision: i64,
    /// The objects as they came: as JSON values, those of a large cluster would be several times as large.
    pub objects: Vec<KeyValue>,
}

/// Lists what concerns a node of every prefix, at one revision: the first answer's.
pub(super) async fn list(client: &mut Client, prefixes: &[String], node: &str) -> Result<Listing, Trouble> {
    let mut kv = client.kv_client().max_decoding_message_size(ANSWER_MAX);
    let mut listing = Listing {
        cluster_id: 0,
        raft_term: 0,
        revision: 0,
        objects: Vec::new(),
    };
    let mut page = PAGE;
    for prefix in prefixes {
        let end = end_of(prefix);
        let mut from = prefix.clone().into_bytes();
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(page)
                .with_revision(listing.revision);
            let mut answer = match call(kv.get(from.clone(), Some(options))).await {
                Err(Trouble::TooLarge) if page > 1 => {
                    page = (page / 4).max(1);
                    continue;
                }
                answer => answer?,
            };
            if let Some(header) = answer.header() {
                listing.cluster_id = header.cluster_id();
                listing.raft_term = header.raft_term();
                if listing.revision == 0 {
                    listing.revision = header.revision();
                }
            }
            let is_more = answer.more();
            let objects = answer.take_kvs();
            let last = objects.last().map(|last| last.key().to_vec());
            let concerns_us = |kv: &KeyValue| !is_anothers_request(kv.key(), kv.value(), node);
            listing.objects.extend(objects.into_iter().filter(concerns_us));
            match last {
                Some(last) if is_more => {
                    from = last;
                    from.push(0);
                }
                _ => break,
            }
        }
    }
    Ok(listing)
}

/// The first key after all that begin with a prefix that ends in `/`.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
