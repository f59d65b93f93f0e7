//! The prefixes of one family and the paths to each: adj-rib-in and loc-rib in one structure.
//!
//! Prefixes and paths live in slabs and name each other by index, so that a prefix with one path costs about forty
//! octets, hash index included, and nothing is allocated for it alone. A path that is withdrawn may have to stay
//! until every peer has been told (`adj_rib_out`); it is then [`PathFlags::DEAD`] and no longer chosen.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;
use pipit_bgp::Prefix;

use crate::attrs::AttrId;
use crate::source::SourceId;

/// Names a prefix in a [`PrefixTable`]; stable while the prefix has a path or somebody must be told of its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PrefixId(pub(crate) u32);

/// Names a path in a [`PrefixTable`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PathId(pub(crate) u32);

const NONE: u32 = u32::MAX;

/// What is known of one path beyond its attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PathFlags(u8);

impl PathFlags {
    /// Withdrawn; kept only until all peers know.
    pub(crate) const DEAD: PathFlags = PathFlags(1);
    /// Refused by import checks or policy; kept so that a changed policy needs no refresh.
    pub(crate) const REJECTED: PathFlags = PathFlags(2);
    /// Kept beyond the restart time (RFC 9494).
    pub(crate) const LLGR_STALE: PathFlags = PathFlags(4);
    /// In the list of paths to be freed; it may be live again since.
    pub(crate) const IN_DEAD_LIST: PathFlags = PathFlags(8);

    pub(crate) fn contains(self, other: PathFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// The flags of a path that has just been announced anew.
    pub(crate) fn renewed(self) -> PathFlags {
        PathFlags(self.0 & PathFlags::IN_DEAD_LIST.0)
    }

    pub(crate) fn set(&mut self, other: PathFlags, on: bool) {
        if on { self.0 |= other.0 } else { self.0 &= !other.0 }
    }
}

/// One path to one prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    prefix: u32,
    next: u32,
    /// Attributes as received.
    pub(crate) received: AttrId,
    /// Attributes after import policy.
    pub(crate) attrs: AttrId,
    /// Path identifier as received (RFC 7911).
    pub(crate) remote_id: u32,
    /// Who announced it.
    pub(crate) source: SourceId,
    /// The source's generation when it announced the path; another one now means stale.
    pub(crate) generation: u8,
    pub(crate) flags: PathFlags,
}

impl Path {
    /// Whether the path takes part in the decision process, reachability aside.
    pub(crate) fn is_candidate(&self) -> bool {
        !self.flags.contains(PathFlags::DEAD) && !self.flags.contains(PathFlags::REJECTED)
    }
}

#[derive(Clone, Copy, Debug)]
struct Node<P> {
    prefix: P,
    head: u32,
    best: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PrefixTable<P> {
    nodes: Vec<Node<P>>,
    free_nodes: Vec<u32>,
    paths: Vec<Path>,
    free_paths: Vec<u32>,
    index: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    live_paths: usize,
}

impl<P> Default for PrefixTable<P> {
    fn default() -> Self {
        PrefixTable {
            nodes: Vec::new(),
            free_nodes: Vec::new(),
            paths: Vec::new(),
            free_paths: Vec::new(),
            index: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            live_paths: 0,
        }
    }
}

impl<P: Prefix> PrefixTable<P> {
    /// The prefix's id, if the table holds it.
    pub(crate) fn find(&self, prefix: P) -> Option<PrefixId> {
        self.index
            .find(self.hash(prefix), |&at| self.nodes[at as usize].prefix == prefix)
            .map(|&at| PrefixId(at))
    }

    /// The prefix's id; enters the prefix when it is new.
    pub(crate) fn find_or_insert(&mut self, prefix: P) -> PrefixId {
        let hash = self.hash(prefix);
        let (nodes, hasher) = (&mut self.nodes, &self.hasher);
        if let Some(&at) = self.index.find(hash, |&at| nodes[at as usize].prefix == prefix) {
            return PrefixId(at);
        }
        let node = Node {
            prefix,
            head: NONE,
            best: NONE,
        };
        let at = match self.free_nodes.pop() {
            Some(at) => {
                nodes[at as usize] = node;
                at
            }
            None => {
                nodes.push(node);
                (nodes.len() - 1) as u32
            }
        };
        self.index
            .insert_unique(hash, at, |&at| hash_prefix(hasher, nodes[at as usize].prefix));
        PrefixId(at)
    }

    /// The prefix with this id.
    pub(crate) fn prefix(&self, id: PrefixId) -> P {
        self.nodes[id.0 as usize].prefix
    }

    /// The chosen path.
    pub(crate) fn best(&self, id: PrefixId) -> Option<PathId> {
        let best = self.nodes[id.0 as usize].best;
        (best != NONE).then_some(PathId(best))
    }

    /// Notes the chosen path.
    pub(crate) fn set_best(&mut self, id: PrefixId, best: Option<PathId>) {
        self.nodes[id.0 as usize].best = best.map_or(NONE, |path| path.0);
    }

    /// The paths of a prefix, dead ones too.
    pub(crate) fn paths(&self, id: PrefixId) -> impl Iterator<Item = (PathId, &Path)> {
        let mut at = self.nodes[id.0 as usize].head;
        std::iter::from_fn(move || {
            let path = self.paths.get(at as usize)?;
            let id = PathId(at);
            at = path.next;
            Some((id, path))
        })
    }

    /// The path that a source announced with this path identifier, dead or not.
    pub(crate) fn path_from(&self, id: PrefixId, source: SourceId, remote_id: u32) -> Option<PathId> {
        self.paths(id)
            .find(|(_, path)| path.source == source && path.remote_id == remote_id)
            .map(|(id, _)| id)
    }

    /// Adds a path to a prefix.
    pub(crate) fn add_path(
        &mut self,
        id: PrefixId,
        source: SourceId,
        remote_id: u32,
        received: AttrId,
        attrs: AttrId,
    ) -> PathId {
        let node = &mut self.nodes[id.0 as usize];
        let path = Path {
            prefix: id.0,
            next: node.head,
            received,
            attrs,
            remote_id,
            source,
            generation: 0,
            flags: PathFlags::default(),
        };
        let at = match self.free_paths.pop() {
            Some(at) => {
                self.paths[at as usize] = path;
                at
            }
            None => {
                self.paths.push(path);
                (self.paths.len() - 1) as u32
            }
        };
        node.head = at;
        self.live_paths += 1;
        PathId(at)
    }

    /// A path by its id.
    pub(crate) fn path(&self, id: PathId) -> &Path {
        &self.paths[id.0 as usize]
    }

    /// A path by its id.
    pub(crate) fn path_mut(&mut self, id: PathId) -> &mut Path {
        &mut self.paths[id.0 as usize]
    }

    /// The prefix that a path leads to.
    pub(crate) fn prefix_of(&self, id: PathId) -> PrefixId {
        PrefixId(self.paths[id.0 as usize].prefix)
    }

    /// Marks a path withdrawn. It stays until [`Self::free_path`].
    pub(crate) fn kill_path(&mut self, id: PathId) {
        self.paths[id.0 as usize].flags.set(PathFlags::DEAD, true);
        self.live_paths -= 1;
    }

    /// Makes a dead path live again: its source announced it once more before everybody knew of its end.
    pub(crate) fn revive_path(&mut self, id: PathId) {
        self.paths[id.0 as usize].flags.set(PathFlags::DEAD, false);
        self.live_paths += 1;
    }

    /// Takes a dead path out for good.
    pub(crate) fn free_path(&mut self, id: PathId) {
        let Path { prefix, next, .. } = self.paths[id.0 as usize];
        let head = self.nodes[prefix as usize].head;
        if head == id.0 {
            self.nodes[prefix as usize].head = next;
        } else {
            let mut at = head;
            while self.paths[at as usize].next != id.0 {
                at = self.paths[at as usize].next;
            }
            self.paths[at as usize].next = next;
        }
        self.paths[id.0 as usize].prefix = NONE;
        self.free_paths.push(id.0);
    }

    /// Takes a prefix out if no path, dead or alive, is left. Says whether it did.
    pub(crate) fn free_prefix_if_empty(&mut self, id: PrefixId) -> bool {
        let Node { prefix, head, .. } = self.nodes[id.0 as usize];
        if head != NONE {
            return false;
        }
        let hash = self.hash(prefix);
        match self.index.find_entry(hash, |&at| at == id.0) {
            Ok(entry) => {
                entry.remove();
                self.free_nodes.push(id.0);
                true
            }
            Err(_) => false,
        }
    }

    /// Number of prefixes, those that are only remembered until all peers know of their end included.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Number of live paths.
    pub(crate) fn live_paths(&self) -> usize {
        self.live_paths
    }

    /// One past the highest path index: the end of a walk by index.
    pub(crate) fn path_slots(&self) -> u32 {
        self.paths.len() as u32
    }

    /// The path at an index of such a walk; `None` for a free slot.
    pub(crate) fn path_at(&self, at: u32) -> Option<(PathId, &Path)> {
        self.paths
            .get(at as usize)
            .filter(|path| path.prefix != NONE)
            .map(|path| (PathId(at), path))
    }

    /// One past the highest prefix index.
    pub(crate) fn prefix_slots(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// The prefix at an index of a walk; `None` where no path leads to one.
    pub(crate) fn prefix_at(&self, at: u32) -> Option<PrefixId> {
        self.nodes
            .get(at as usize)
            .filter(|node| node.head != NONE)
            .map(|_| PrefixId(at))
    }

    fn hash(&self, prefix: P) -> u64 {
        hash_prefix(&self.hasher, prefix)
    }
}

/// The generic `Hash` of a prefix feeds its octets one by one; two words do the same in a third of the time.
fn hash_prefix<P: Prefix>(hasher: &foldhash::fast::RandomState, prefix: P) -> u64 {
    let mut state = hasher.build_hasher();
    let bits = u128::from_be_bytes(prefix.octets());
    state.write_u64((bits >> 64) as u64 ^ u64::from(prefix.bits()));
    if P::MAX_LEN > 64 {
        state.write_u64(bits as u64);
    }
    state.finish()
}
