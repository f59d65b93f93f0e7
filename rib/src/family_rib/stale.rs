//! Routes kept beyond the restart time of the peer that announced them (RFC 9494).
//!
//! Being long-lived stale is said by a community, so that is how a path is marked: choosing, policy and encoding see
//! it in the attributes, as they do for routes that were stale when they came.

use pipit_bgp::wire::attr::{AttrEdit, Marks};

use crate::attrs::AttrId;
use crate::family_rib::FamilyRib;
use crate::fib::FibPrefix;
use crate::import;
use crate::rib::Shared;
use crate::source::SourceId;
use crate::table::{PathFlags, PathId};

/// LLGR_STALE (RFC 9494 §5).
const LLGR_STALE: u32 = 0xffff_0006;

impl<P: FibPrefix> FamilyRib<P> {
    /// The restart time of a source is over: its paths of an earlier generation become the last choice; those that
    /// must not be kept longer (NO_LLGR) go.
    pub(crate) fn begin_long_lived(&mut self, shared: &mut Shared, source: SourceId) {
        let generation = shared.sources[source].generation[P::FAMILY];
        for at in 0..self.table.path_slots() {
            let Some((path_id, path)) = self.table.path_at(at) else {
                continue;
            };
            let is_done = path.flags.contains(PathFlags::DEAD) || path.flags.contains(PathFlags::LLGR_STALE);
            if path.source != source || path.generation == generation || is_done {
                continue;
            }
            if shared.attrs[path.received].facts().marks.contains(Marks::NO_LLGR) {
                self.remove_path(shared, path_id);
            } else {
                self.mark_long_lived(shared, path_id);
            }
        }
        self.settle(shared);
    }

    fn mark_long_lived(&mut self, shared: &mut Shared, path_id: PathId) {
        let attrs = self.table.path(path_id).attrs;
        let marked = marked(shared, attrs);
        let path = self.table.path_mut(path_id);
        path.attrs = marked;
        path.flags.set(PathFlags::LLGR_STALE, true);
        let id = self.table.prefix_of(path_id);
        self.reselect_for(shared, id, path_id);
    }
}

/// The set with the community; a count of `attrs` becomes one of it.
pub(super) fn marked(shared: &mut Shared, attrs: AttrId) -> AttrId {
    let edit = AttrEdit {
        add_communities: [LLGR_STALE].into_iter().collect(),
        ..AttrEdit::default()
    };
    let marked = import::edited(shared, attrs, &edit);
    shared.release(attrs);
    marked
}
