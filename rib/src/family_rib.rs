//! One family's routes: the table, and the update groups that are told of it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use pipit_bgp::wire::attr::AttrEdit;
use pipit_bgp::wire::update::{Nlri, encode_withdraw};
use pipit_bgp::{NextHop, PeerId};
use smallvec::SmallVec;

use crate::adj_rib_out::{ChunkSource, EgressKey, FrameSink, GroupId, Outgoing, Paths, UpdateGroup};
use crate::attrs::AttrId;
use crate::best_path::{self, Candidate, DEFAULT_LOCAL_PREF, Preference, Selection};
use crate::export::{self, Announcement, Exported, NotSent, PRIORITY_BASE};
use crate::fib::{FibAction, FibPrefix, FibTarget, Hop, Reachability, Tunnel};
use crate::import::{self, SetVerdict};
use crate::next_hops::NextHopId;
use crate::peer::PeerSettings;
use crate::policy::PoolAction;
use crate::rib::{Shared, interface_of};
use crate::source::SourceId;
use crate::table::{Path, PathFlags, PathId, PrefixId, PrefixTable};

/// See the module.
#[derive(Debug)]
pub(crate) struct FamilyRib<P> {
    pub(crate) table: PrefixTable<P>,
    groups: Vec<Option<UpdateGroup>>,
    /// Withdrawn paths, and prefixes without a path, that some peer may still have to hear of.
    dead_paths: Vec<PathId>,
    empty_prefixes: Vec<PrefixId>,
}

/// A peer on its way from one update group to another.
pub(crate) struct Move {
    pub(crate) peer: PeerId,
    pub(crate) source: SourceId,
    pub(crate) credit: u8,
    pub(crate) from: Option<GroupId>,
    /// What it is to be told; `None`: nothing.
    pub(crate) key: Option<EgressKey>,
}

impl<P> Default for FamilyRib<P> {
    fn default() -> Self {
        FamilyRib {
            table: PrefixTable::default(),
            groups: Vec::new(),
            dead_paths: Vec::new(),
            empty_prefixes: Vec::new(),
        }
    }
}

impl<P: FibPrefix> FamilyRib<P> {
    /// A source announces a route. `import` is `None` for this node's own.
    pub(crate) fn announce(
        &mut self,
        shared: &mut Shared,
        source: SourceId,
        nlri: Nlri<P>,
        received: AttrId,
        import: Option<(&PeerSettings, &SetVerdict)>,
    ) {
        let effective = effective(shared, nlri.prefix.into(), received, import);
        let (attrs, is_rejected) = match effective {
            Some(attrs) => (attrs, false),
            None => {
                shared.attrs.retain(received);
                (received, true)
            }
        };
        shared.attrs.retain(received);
        let generation = shared.sources[source].generation[P::FAMILY];
        let id = self.table.find_or_insert(nlri.prefix);
        let known = self.table.path_from(id, source, nlri.path_id);
        let path_id = match known {
            Some(path_id) => {
                let old = *self.table.path(path_id);
                let was_dead = old.flags.contains(PathFlags::DEAD);
                if was_dead {
                    self.table.revive_path(path_id);
                    self.dead_paths.retain(|&dead| dead != path_id);
                }
                let path = self.table.path_mut(path_id);
                (path.received, path.attrs, path.generation) = (received, attrs, generation);
                path.flags = PathFlags::default();
                path.flags.set(PathFlags::REJECTED, is_rejected);
                if !was_dead {
                    shared.release(old.received);
                    shared.release(old.attrs);
                    count(shared, source, P::FAMILY, -1, old.flags);
                    let is_same = old.attrs == attrs && old.flags == path.flags;
                    if is_same {
                        count(shared, source, P::FAMILY, 1, old.flags);
                        return;
                    }
                }
                path_id
            }
            None => {
                let path_id = self.table.add_path(id, source, nlri.path_id, received, attrs);
                let path = self.table.path_mut(path_id);
                path.generation = generation;
                path.flags.set(PathFlags::REJECTED, is_rejected);
                path_id
            }
        };
        let flags = self.table.path(path_id).flags;
        count(shared, source, P::FAMILY, 1, flags);
        self.reselect(shared, id, Some(path_id));
    }

    /// A source takes a route back.
    pub(crate) fn withdraw(&mut self, shared: &mut Shared, source: SourceId, nlri: Nlri<P>) {
        let Some(id) = self.table.find(nlri.prefix) else {
            return;
        };
        if let Some(path_id) = self.table.path_from(id, source, nlri.path_id) {
            self.remove_path(shared, path_id);
        }
    }

    /// Chooses anew among the paths of every prefix that has one via these next hops.
    pub(crate) fn reselect_via(&mut self, shared: &mut Shared, next_hops: &[NextHopId]) {
        for at in 0..self.table.path_slots() {
            let Some((_, path)) = self.table.path_at(at) else {
                continue;
            };
            if path.is_candidate() && next_hops.contains(&shared.attrs[path.attrs].next_hop()) {
                let id = self.table.prefix_of(PathId(at));
                self.reselect(shared, id, None);
            }
        }
    }

    /// Asks export and kernel policy again for everything; only what comes out differently moves.
    pub(crate) fn reevaluate(&mut self, shared: &mut Shared) {
        for at in 0..self.table.prefix_slots() {
            if let Some(id) = self.table.prefix_at(at) {
                self.reselect(shared, id, None);
            }
        }
    }

    /// Asks import again, from the routes as received, for the sources that have settings here.
    pub(crate) fn reimport<'s>(
        &mut self,
        shared: &mut Shared,
        settings_of: impl Fn(SourceId) -> Option<&'s PeerSettings>,
    ) {
        for at in 0..self.table.path_slots() {
            let Some((path_id, path)) = self.table.path_at(at) else {
                continue;
            };
            let source = path.source;
            let Some(settings) = settings_of(source).filter(|_| !path.flags.contains(PathFlags::DEAD)) else {
                continue;
            };
            let old = *path;
            let prefix = self.table.prefix(self.table.prefix_of(path_id)).into();
            let verdict = import::for_set(shared, settings, old.received);
            let effective = effective(shared, prefix, old.received, Some((settings, &verdict)));
            verdict.release(shared);
            let attrs = effective.unwrap_or_else(|| {
                shared.attrs.retain(old.received);
                old.received
            });
            let path = self.table.path_mut(path_id);
            path.attrs = attrs;
            path.flags.set(PathFlags::REJECTED, effective.is_none());
            let new_flags = path.flags;
            shared.release(old.attrs);
            count(shared, source, P::FAMILY, -1, old.flags);
            count(shared, source, P::FAMILY, 1, new_flags);
            if attrs != old.attrs || new_flags != old.flags {
                let id = self.table.prefix_of(path_id);
                self.reselect(shared, id, Some(path_id));
            }
        }
    }

    /// Removes every path of a source.
    pub(crate) fn remove_source(&mut self, shared: &mut Shared, source: SourceId) {
        self.remove_paths(shared, |path, _| path.source == source);
    }

    /// Removes the paths of a source that are of an earlier generation.
    pub(crate) fn sweep_source(&mut self, shared: &mut Shared, source: SourceId) {
        let generation = shared.sources[source].generation[P::FAMILY];
        self.remove_paths(shared, |path, _| {
            path.source == source && path.generation != generation
        });
    }

    /// Forgets a source whose paths are gone, so that its number can be used again.
    pub(crate) fn forget_source(&mut self, source: SourceId) {
        self.groups
            .iter_mut()
            .flatten()
            .for_each(|group| group.forget_source(source));
    }

    /// A peer may take frames again.
    pub(crate) fn grant(&mut self, group: Option<GroupId>, peer: PeerId, credit: u8) {
        if let Some(group) = self.group_mut(group) {
            group.grant(peer, credit);
        }
    }

    /// A peer asks for everything again.
    pub(crate) fn refresh(&mut self, group: Option<GroupId>, peer: PeerId, is_framed: bool) {
        if let Some(group) = self.group_mut(group) {
            group.refresh(peer, is_framed);
        }
    }

    /// A peer is told nothing more.
    pub(crate) fn leave(&mut self, group: Option<GroupId>, peer: PeerId) {
        let Some(id) = group else { return };
        if let Some(entry) = self.groups.get_mut(usize::from(id.0))
            && let Some(group) = entry
        {
            group.leave(peer);
            if !group.has_members() {
                *entry = None;
            }
        }
    }

    /// Moves peers between update groups; where each of them is afterwards.
    pub(crate) fn regroup(
        &mut self,
        shared: &Shared,
        moves: Vec<Move>,
        sink: &mut impl FrameSink,
    ) -> Vec<(PeerId, Option<GroupId>)> {
        self.rekey(shared, &moves);
        let mut joined = Vec::new();
        for Move {
            peer,
            source,
            credit,
            from,
            key,
        } in moves
        {
            let current = from.filter(|&id| self.group(id).map(|group| &**group.key()) == key.as_ref());
            if current.is_some() || (from.is_none() && key.is_none()) {
                joined.push((peer, current));
                continue;
            }
            let to = key.map(|key| self.group_for(shared, key));
            if let Some(from) = from {
                self.withdraw_difference(peer, source, from, to, sink);
                self.leave(Some(from), peer);
            }
            if let Some(group) = self.group_mut(to) {
                group.join(peer, source, credit);
            }
            joined.push((peer, to));
        }
        joined
    }

    /// Hands frames to peers that can take them.
    pub(crate) fn flush(&mut self, shared: &Shared, holds_end_of_rib: bool, sink: &mut impl FrameSink) {
        let table = &self.table;
        for group in self.groups.iter_mut().flatten() {
            let view = TableView {
                table,
                shared,
                paths: group.paths(),
            };
            group.poll(&view, holds_end_of_rib, sink);
        }
    }

    /// End-of-RIBs that were held back may go.
    pub(crate) fn release_end_of_rib(&mut self) {
        self.groups
            .iter_mut()
            .flatten()
            .for_each(UpdateGroup::release_end_of_rib);
    }

    /// Frees what nobody has to hear of any more.
    pub(crate) fn reap(&mut self) {
        let (table, groups) = (&mut self.table, &self.groups);
        let remembers = |paths, item| {
            groups
                .iter()
                .flatten()
                .any(|group: &UpdateGroup| group.paths() == paths && group.remembers(item))
        };
        let empty_prefixes = &mut self.empty_prefixes;
        self.dead_paths.retain(|&path_id| {
            if remembers(Paths::All, path_id.0) {
                return true;
            }
            let id = table.prefix_of(path_id);
            table.free_path(path_id);
            empty_prefixes.push(id);
            false
        });
        self.empty_prefixes.retain(|&id| {
            // It may have got a path again, or be waiting for a dead one.
            if table.paths(id).next().is_some() {
                return false;
            }
            if remembers(Paths::Best, id.0) {
                return true;
            }
            table.free_prefix_if_empty(id);
            false
        });
    }

    /// How many routes a peer is told.
    pub(crate) fn announced_to(&self, group: Option<GroupId>, source: SourceId) -> u32 {
        group
            .and_then(|id| self.group(id))
            .map_or(0, |group| group.announced_to(source))
    }

    /// All prefixes that a path leads to, in no order.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        (0..self.table.prefix_slots()).filter_map(|slot| {
            let id = self.table.prefix_at(slot)?;
            let is_live = self
                .table
                .paths(id)
                .any(|(_, path)| !path.flags.contains(PathFlags::DEAD));
            is_live.then(|| self.table.prefix(id).into())
        })
    }

    /// The choice among the paths of a prefix as it stands.
    pub(crate) fn selection(&self, shared: &Shared, id: PrefixId) -> Option<Selection> {
        let candidates = self.candidates(shared, id);
        best_path::select(&candidates, shared.node.max_paths)
    }

    fn group(&self, id: GroupId) -> Option<&UpdateGroup> {
        self.groups.get(usize::from(id.0))?.as_ref()
    }

    fn group_mut(&mut self, id: Option<GroupId>) -> Option<&mut UpdateGroup> {
        self.groups.get_mut(usize::from(id?.0))?.as_mut()
    }

    /// Where all members of a group change alike, the group itself changes: they are told the difference.
    fn rekey(&mut self, shared: &Shared, moves: &[Move]) {
        for at in 0..self.groups.len() {
            let from = GroupId(at as u16);
            let Some(group) = &self.groups[at] else { continue };
            let mut leaving = moves.iter().filter(|m| m.from == Some(from));
            let Some(key) = leaving.next().and_then(|m| m.key.as_ref()) else {
                continue;
            };
            let count = 1 + leaving.clone().count();
            let is_common = leaving.all(|m| m.key.as_ref() == Some(key)) && count == group.member_count();
            let is_taken = self.groups.iter().flatten().any(|other| **other.key() == *key);
            // What was sent in another encoding, or under other path identifiers, cannot be built upon.
            if is_common
                && !is_taken
                && group.key().encode == key.encode
                && group.key().all_paths == key.all_paths
            {
                if let Some(group) = &mut self.groups[at] {
                    group.set_key(Arc::new(key.clone()));
                }
                self.fill_group(shared, at);
            }
        }
    }

    fn group_for(&mut self, shared: &Shared, key: EgressKey) -> GroupId {
        if let Some(at) = self
            .groups
            .iter()
            .position(|g| g.as_ref().is_some_and(|g| **g.key() == key))
        {
            return GroupId(at as u16);
        }
        let group = Some(UpdateGroup::new(Arc::new(key)));
        let at = match self.groups.iter().position(Option::is_none) {
            Some(at) => {
                self.groups[at] = group;
                at
            }
            None => {
                self.groups.push(group);
                self.groups.len() - 1
            }
        };
        self.fill_group(shared, at);
        GroupId(at as u16)
    }

    /// Says to one group what it is to announce, for every prefix.
    fn fill_group(&mut self, shared: &Shared, at: usize) {
        let Some(group) = &mut self.groups[at] else { return };
        for slot in 0..self.table.prefix_slots() {
            if let Some(id) = self.table.prefix_at(slot) {
                tell_group(&self.table, shared, group, id, Changed::Nothing);
            }
        }
    }

    /// What a peer was told in its old group and is not told in its new one.
    fn withdraw_difference(
        &self,
        peer: PeerId,
        source: SourceId,
        from: GroupId,
        to: Option<GroupId>,
        sink: &mut impl FrameSink,
    ) {
        let Some(old) = self.group(from) else { return };
        let new = to.and_then(|to| self.group(to));
        let is_told = |group: &UpdateGroup, item| group.said(item).is_some_and(|(_, from)| from != source);
        let view = |item| nlri_of(&self.table, old.paths(), item);
        let gone: Vec<Nlri<P>> = (0..old.items())
            .filter(|&item| is_told(old, item) && !new.is_some_and(|new| is_told(new, item)))
            .map(view)
            .collect();
        if !gone.is_empty() {
            let mut bytes = Vec::new();
            encode_withdraw(&mut bytes, &old.key().encode, &gone);
            sink.frame(peer, bytes.into());
        }
    }

    fn remove_paths(&mut self, shared: &mut Shared, wanted: impl Fn(&Path, &Shared) -> bool) {
        for at in 0..self.table.path_slots() {
            if let Some((path_id, path)) = self.table.path_at(at)
                && wanted(path, shared)
            {
                self.remove_path(shared, path_id);
            }
        }
    }

    fn remove_path(&mut self, shared: &mut Shared, path_id: PathId) {
        let path = *self.table.path(path_id);
        if path.flags.contains(PathFlags::DEAD) {
            return;
        }
        let id = self.table.prefix_of(path_id);
        self.table.kill_path(path_id);
        count(shared, path.source, P::FAMILY, -1, path.flags);
        self.reselect(shared, id, None);
        shared.release(path.received);
        shared.release(path.attrs);
        self.dead_paths.push(path_id);
    }

    /// Chooses the best path of a prefix and tells everybody whom the outcome concerns. `changed`: a path that has
    /// other attributes than before.
    fn reselect(&mut self, shared: &mut Shared, id: PrefixId, changed: Option<PathId>) {
        let selection = self.selection(shared, id);
        let target = selection
            .as_ref()
            .and_then(|selection| self.fib_target(shared, id, selection));
        let best = selection.map(|selection| selection.best);
        let old = self.table.best(id);
        self.table.set_best(id, best);
        let changed = match changed {
            Some(path) => Changed::Path(path),
            None => Changed::Nothing,
        };
        let changed = if old == best {
            changed
        } else {
            Changed::Best(changed.path())
        };
        for group in self.groups.iter_mut().flatten() {
            tell_group(&self.table, shared, group, id, changed);
        }
        shared.fib.set(self.table.prefix(id), target);
    }

    fn candidates<'a>(&self, shared: &'a Shared, id: PrefixId) -> SmallVec<[Candidate<'a>; 4]> {
        let prefix: IpNet = self.table.prefix(id).into();
        let paths = self.table.paths(id).filter(|(_, path)| path.is_candidate());
        paths
            .filter_map(|(path_id, path)| candidate(shared, prefix, path_id, path))
            .collect()
    }

    /// What the kernel should do with a prefix (behaviour contract §6.2).
    fn fib_target(&self, shared: &Shared, id: PrefixId, selection: &Selection) -> Option<FibTarget> {
        let prefix: IpNet = self.table.prefix(id).into();
        let rules = &shared.policy[P::FAMILY].kernel;
        let best = self.table.path(selection.best);
        if rules.skip_services.covers(prefix) {
            return None;
        }
        let action = rules.action(prefix);
        if best.source == SourceId::LOCAL {
            // A host route's blackhole would swallow the pod itself.
            let is_block = best.remote_id == 0 && prefix.prefix_len() < P::MAX_LEN;
            let target = FibTarget {
                action: FibAction::Blackhole,
                metric: 0,
            };
            return (is_block && action != PoolAction::Skip).then_some(target);
        }
        let tunnel = match action {
            PoolAction::Skip => return None,
            PoolAction::Install => Tunnel::None,
            PoolAction::TunnelAlways => Tunnel::IpipAlways,
            PoolAction::TunnelCrossSubnet { own_subnet } => Tunnel::IpipCrossSubnet(own_subnet),
        };
        let hops: SmallVec<[Hop; 1]> = selection
            .multipath
            .iter()
            .map(|&path| shared.next_hops[shared.attrs[self.table.path(path).attrs].next_hop()].next_hop)
            .filter(|next_hop| !rules.wireguard_next_hops.contains(&next_hop.address()))
            .map(|next_hop| hop(next_hop, tunnel))
            .collect();
        let local_pref = shared.attrs[best.attrs]
            .facts()
            .local_pref
            .unwrap_or(DEFAULT_LOCAL_PREF);
        let metric = PRIORITY_BASE.saturating_sub(local_pref);
        (!hops.is_empty()).then_some(FibTarget {
            action: FibAction::Via(hops),
            metric,
        })
    }
}

/// What about a prefix is new.
#[derive(Clone, Copy)]
enum Changed {
    /// At most the answer of a policy.
    Nothing,
    /// One path has other attributes.
    Path(PathId),
    /// Another path is the best one; one may have other attributes as well.
    Best(Option<PathId>),
}

impl Changed {
    fn path(self) -> Option<PathId> {
        match self {
            Changed::Nothing => None,
            Changed::Path(path) => Some(path),
            Changed::Best(path) => path,
        }
    }
}

/// Runs export policy for a prefix and one group.
fn tell_group<P: FibPrefix>(
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
            for (path_id, path) in table.paths(id) {
                let is_usable = path.is_candidate() && candidate(shared, prefix, path_id, path).is_some();
                let announced = if is_usable { outgoing(path) } else { None };
                group.set(path_id.0, announced, changed.path() == Some(path_id));
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
    let set = &shared.attrs[path.attrs];
    let route = Exported {
        prefix,
        attrs: set.bytes(),
        facts: set.facts(),
        next_hop: shared.next_hops[set.next_hop()].next_hop,
        source_id: path.source,
        source: &shared.sources[path.source],
        is_reachable: path.source == SourceId::LOCAL
            || shared.next_hops[set.next_hop()].reachability != Reachability::Unreachable,
        kernel_metric: None,
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
        shared.node.cluster_id.is_some(),
    )
}

/// A path as the decision process sees it; `None` when its source is gone.
fn candidate<'a>(shared: &'a Shared, prefix: IpNet, path_id: PathId, path: &Path) -> Option<Candidate<'a>> {
    let source = &shared.sources[path.source];
    let set = &shared.attrs[path.attrs];
    let facts = set.facts();
    let is_own = path.source == SourceId::LOCAL;
    let next_hop = &shared.next_hops[set.next_hop()];
    let (is_reachable, igp_metric) = match (&next_hop.reachability, is_own) {
        (_, true) => (true, 0),
        (Reachability::Reachable { metric, .. }, false) => (true, *metric),
        (Reachability::Unreachable, false) => (false, u32::MAX),
    };
    if source.is_closing {
        return None;
    }
    let rules = &shared.policy[pipit_bgp::Family::of(prefix.addr())].export;
    let preference = if is_own {
        Preference::Local
    } else if facts
        .local_pref
        .is_some_and(|value| value > PRIORITY_BASE.saturating_sub(rules.normal_priority))
    {
        Preference::Elevated
    } else {
        Preference::Bgp
    };
    let is_relayed = !is_own && !source.is_external && facts.originator_id.is_none();
    let is_second_hand =
        is_relayed && next_hop.next_hop.address() != source.address && rules.pools.covers(prefix);
    Some(Candidate {
        path: path_id,
        is_reachable,
        preference,
        is_second_hand,
        is_llgr_stale: path.flags.contains(PathFlags::LLGR_STALE)
            || facts.marks.contains(pipit_bgp::wire::attr::Marks::LLGR_STALE),
        facts,
        is_external: source.is_external,
        igp_metric,
        originator: facts.originator_id.unwrap_or(source.router_id).into(),
        peer_address: source.address,
        remote_id: path.remote_id,
    })
}

/// The attributes that a route has after import; `None` when it is refused. The caller holds a count.
fn effective(
    shared: &mut Shared,
    prefix: IpNet,
    received: AttrId,
    import: Option<(&PeerSettings, &SetVerdict)>,
) -> Option<AttrId> {
    let (settings, verdict) = match import {
        None => {
            shared.attrs.retain(received);
            return Some(received);
        }
        Some((_, SetVerdict::Rejected)) => return None,
        Some((settings, verdict)) => (settings, verdict),
    };
    let SetVerdict::Accepted { edit, attrs } = verdict else {
        return None;
    };
    let set = &shared.attrs[*attrs];
    let interface = interface_of(shared, set.next_hop());
    match import::filter(settings, prefix, set.bytes(), set.facts(), interface, edit) {
        Err(_) => None,
        Ok(None) => {
            shared.attrs.retain(*attrs);
            Some(*attrs)
        }
        Ok(Some(edit)) => Some(import::edited(shared, received, &edit)),
    }
}

fn count(shared: &mut Shared, source: SourceId, family: pipit_bgp::Family, change: i32, flags: PathFlags) {
    let entry = &mut shared.sources[source];
    entry.received[family] = entry.received[family].wrapping_add_signed(change);
    if !flags.contains(PathFlags::REJECTED) {
        entry.accepted[family] = entry.accepted[family].wrapping_add_signed(change);
    }
}

fn hop(next_hop: NextHop, tunnel: Tunnel) -> Hop {
    let link_local = match next_hop {
        NextHop::V6 { link_local, .. } => link_local,
        NextHop::V4(_) => None,
    };
    let address: IpAddr = next_hop.address();
    Hop {
        next_hop: address,
        link_local,
        weight: 1,
        tunnel,
    }
}

fn nlri_of<P: FibPrefix>(table: &PrefixTable<P>, paths: Paths, item: u32) -> Nlri<P> {
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

/// The tables as encoding sees them.
struct TableView<'a, P> {
    table: &'a PrefixTable<P>,
    shared: &'a Shared,
    paths: Paths,
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

    fn outgoing(
        &self,
        key: &EgressKey,
        announcement: &Announcement,
        attrs: AttrId,
        source: SourceId,
    ) -> (AttrEdit, NextHop) {
        let next_hop = self.shared.next_hops[self.shared.attrs[attrs].next_hop()].next_hop;
        export::complete(
            announcement,
            key,
            &self.shared.sources[source],
            self.shared.node.cluster_id,
            next_hop,
        )
    }

    fn bytes(&self, attrs: AttrId) -> &[u8] {
        self.shared.attrs[attrs].bytes()
    }
}
