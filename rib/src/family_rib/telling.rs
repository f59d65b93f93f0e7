//! What the update groups are told of a prefix, and how encoding sees it.

use std::sync::Arc;

use ipnet::IpNet;
use pipit_bgp::NextHop;
use pipit_bgp::wire::attr::AttrEdit;
use pipit_bgp::wire::update::Nlri;

use crate::adj_rib_out::{ChunkSource, EgressKey, Outgoing, Paths, UpdateGroup};
use crate::attrs::AttrId;
use crate::export::{self, Announcement, Exported, NotSent, PRIORITY_BASE};
use crate::family_rib::FamilyRib;
use crate::family_rib::choice::candidate;
use crate::fib::{FibPrefix, Reachability};
use crate::rib::{Drain, Shared, interface_of};
use crate::source::SourceId;
use crate::table::{Path, PathId, PrefixId, PrefixTable};

/// What about a prefix is new.
#[derive(Clone, Copy)]
pub(super) enum Changed {
    /// At most the answer of a policy.
    Nothing,
    /// One path has other attributes.
    Path(PathId),
    /// Another path is the best one; one may have other attributes as well.
    Best(Option<PathId>),
}

impl Changed {
    pub(super) fn path(self) -> Option<PathId> {
        match self {
            Changed::Nothing => None,
            Changed::Path(path) => Some(path),
            Changed::Best(path) => path,
        }
    }
}

/// Runs export policy for a prefix and one group.
pub(super) fn tell_group<P: FibPrefix>(
    table: &PrefixTable<P>,
    shared: &Shared,
    group: &mut UpdateGroup,
    id: PrefixId,
    changed: Changed,
) {
    let key = Arc::clone(group.key());
    let prefix: IpNet = table.prefix(id).into();
    let outgoing = |path: &Path| {
        let announcement = decide(shared, &key, prefix, path).ok()?;
        Some(Outgoing {
            announcement,
            source: path.source,
        })
    };
    match group.paths() {
        Paths::Best => {
            let best = table.best(id);
            let is_changed = match changed {
                Changed::Nothing => false,
                Changed::Path(path) => best == Some(path),
                Changed::Best(_) => true,
            };
            group.set(id.0, best.and_then(|best| outgoing(table.path(best))), is_changed);
        }
        Paths::All => {
            let mut tell = |path_id: PathId, path: &Path, is_changed| {
                let is_usable = path.is_candidate() && candidate(shared, prefix, path_id, path).is_some();
                let announced = if is_usable { outgoing(path) } else { None };
                group.set(path_id.0, announced, is_changed);
            };
            match changed.path() {
                // What is said of one path depends on no other.
                Some(path_id) => tell(path_id, table.path(path_id), true),
                None => table
                    .paths(id)
                    .for_each(|(path_id, path)| tell(path_id, path, false)),
            }
        }
    }
}

/// Whether and how a path goes to a group.
pub(crate) fn decide(
    shared: &Shared,
    key: &EgressKey,
    prefix: IpNet,
    path: &Path,
) -> Result<Announcement, NotSent> {
    if shared.drain == Drain::Withdrawn {
        return Err(NotSent::Withdrawn);
    }
    let set = &shared.attrs[path.attrs];
    let reachability = &shared.next_hops[set.next_hop()].reachability;
    let route = Exported {
        prefix,
        attrs: set.bytes(),
        facts: set.facts(),
        next_hop: shared.next_hops[set.next_hop()].next_hop,
        source_id: path.source,
        source: &shared.sources[path.source],
        is_reachable: path.source.is_own() || reachability.is_way(),
        is_by_us: *reachability == Reachability::Own,
        kernel_metric: (path.source == SourceId::KERNEL)
            .then(|| PRIORITY_BASE.saturating_sub(set.facts().local_pref.unwrap_or(PRIORITY_BASE))),
        is_leaving: shared.drain == Drain::Marked || shared.policy[key.family].export.graceful_shutdown,
        is_via_gateway: shared.next_hops[set.next_hop()].is_via_gateway == Some(true),
        interface: if path.source == SourceId::LOCAL {
            None
        } else {
            interface_of(shared, set.next_hop())
        },
    };
    export::decide(
        &route,
        key,
        &shared.policy[key.family].export,
        shared.node.cluster_id,
    )
}

pub(super) fn nlri_of<P: FibPrefix>(table: &PrefixTable<P>, paths: Paths, item: u32) -> Nlri<P> {
    match paths {
        Paths::Best => Nlri {
            prefix: table.prefix(PrefixId(item)),
            path_id: 0,
        },
        // Zero is what peers without ADD-PATH have.
        Paths::All => Nlri {
            prefix: table.prefix(table.prefix_of(PathId(item))),
            path_id: item + 1,
        },
    }
}

impl<P: FibPrefix> FamilyRib<P> {
    /// Whether and how a path goes to peers with this key.
    pub(crate) fn decide(
        &self,
        shared: &Shared,
        key: &EgressKey,
        prefix: IpNet,
        path: PathId,
    ) -> Result<Announcement, NotSent> {
        decide(shared, key, prefix, self.table.path(path))
    }
}

/// The tables as encoding sees them.
pub(super) struct TableView<'a, P> {
    pub(super) table: &'a PrefixTable<P>,
    pub(super) shared: &'a Shared,
    pub(super) paths: Paths,
}

impl<P: FibPrefix> ChunkSource<P> for TableView<'_, P> {
    fn nlri(&self, item: u32) -> Nlri<P> {
        nlri_of(self.table, self.paths, item)
    }

    fn attrs(&self, item: u32) -> AttrId {
        let path = match self.paths {
            // An announced prefix has a best path: `set` is called whenever that changes.
            Paths::Best => self.table.best(PrefixId(item)).unwrap_or(PathId(0)),
            Paths::All => PathId(item),
        };
        self.table.path(path).attrs
    }

    fn outgoing(&self, announcement: &Announcement, attrs: AttrId, source: SourceId) -> (AttrEdit, NextHop) {
        let next_hop = self.shared.next_hops[self.shared.attrs[attrs].next_hop()].next_hop;
        export::complete(announcement, &self.shared.sources[source], next_hop)
    }

    fn bytes(&self, attrs: AttrId) -> &[u8] {
        self.shared.attrs[attrs].bytes()
    }
}
