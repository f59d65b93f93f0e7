//! Where paths come from: this node itself, or one session of a peer.

use std::net::IpAddr;

use pipit_bgp::{Asn, FamilyMap, PeerId, RouterId};

/// Names a source of paths.
///
/// A peer keeps its source over a graceful restart and gets a fresh one after a hard end, so that clearing away the
/// old paths can take its time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SourceId(pub(crate) u16);

impl SourceId {
    /// Routes that this node originates by configuration: blocks, service ranges.
    pub(crate) const LOCAL: SourceId = SourceId(0);
    /// Routes of other programs in this node's kernel.
    pub(crate) const KERNEL: SourceId = SourceId(1);
    /// Networks that this node's interfaces are connected to.
    pub(crate) const CONNECTED: SourceId = SourceId(2);
    /// This node itself, in all its ways.
    pub(crate) const OWN: [SourceId; 3] = [SourceId::LOCAL, SourceId::KERNEL, SourceId::CONNECTED];

    /// Whether it is this node itself, in one way or another.
    pub(crate) fn is_own(self) -> bool {
        SourceId::OWN.contains(&self)
    }
}

/// What choosing and exporting must know of a source.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The peer; `None` for [`SourceId::OWN`].
    pub(crate) peer: Option<PeerId>,
    /// The peer's router id; ours for local routes.
    pub(crate) router_id: RouterId,
    /// The peer's address; unspecified for local routes.
    pub(crate) address: IpAddr,
    /// The AS we present to the peer.
    pub(crate) local_as: Asn,
    /// eBGP.
    pub(crate) is_external: bool,
    /// A route reflection client of ours.
    pub(crate) is_client: bool,
    /// Counts the starts of sessions and refreshes: a path from another one is stale.
    pub(crate) generation: FamilyMap<u8>,
    /// Live paths by family, dead and rejected ones not counted in `accepted`.
    pub(crate) received: FamilyMap<u32>,
    /// Of those, the ones that policy accepted.
    pub(crate) accepted: FamilyMap<u32>,
    /// The session ended for good; its paths are being cleared away.
    pub(crate) is_closing: bool,
}

/// All sources in use.
#[derive(Debug)]
pub(crate) struct SourceTable {
    entries: Vec<Option<Source>>,
}

impl SourceTable {
    /// A table that knows this node.
    pub(crate) fn new(router_id: RouterId, local_as: Asn) -> Self {
        let own = Source {
            peer: None,
            router_id,
            address: IpAddr::from([0, 0, 0, 0]),
            local_as,
            is_external: false,
            is_client: false,
            generation: FamilyMap::default(),
            received: FamilyMap::default(),
            accepted: FamilyMap::default(),
            is_closing: false,
        };
        SourceTable {
            entries: vec![Some(own); SourceId::OWN.len()],
        }
    }

    /// Enters a source; `None` when 65,536 are in use.
    pub(crate) fn insert(&mut self, source: Source) -> Option<SourceId> {
        if let Some(at) = self.entries.iter().position(Option::is_none) {
            self.entries[at] = Some(source);
            return u16::try_from(at).ok().map(SourceId);
        }
        let at = u16::try_from(self.entries.len()).ok()?;
        self.entries.push(Some(source));
        Some(SourceId(at))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        let numbered = (0..).map(SourceId).zip(&self.entries);
        numbered.filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
    }

    /// Forgets a source. **Invariant:** no path names it any more.
    pub(crate) fn remove(&mut self, id: SourceId) {
        self.entries[usize::from(id.0)] = None;
    }
}

impl std::ops::Index<SourceId> for SourceTable {
    type Output = Source;

    #[expect(clippy::expect_used, reason = "a source outlives every path that names it")]
    fn index(&self, id: SourceId) -> &Source {
        self.entries[usize::from(id.0)]
            .as_ref()
            .expect("source of a path")
    }
}

impl std::ops::IndexMut<SourceId> for SourceTable {
    #[expect(clippy::expect_used, reason = "a source outlives every path that names it")]
    fn index_mut(&mut self, id: SourceId) -> &mut Source {
        self.entries[usize::from(id.0)]
            .as_mut()
            .expect("source of a path")
    }
}
