//! One update group: its journal, what it last said of each item, and its members.

mod moving;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use pipit_bgp::wire::update::{Nlri, encode_end_of_rib, encode_withdraw};
use pipit_bgp::{PeerId, Prefix};

use crate::adj_rib_out::announcements::{AnnouncementId, Announcements};
use crate::adj_rib_out::chunk::{Chunk, ChunkSource, Item, cut};
use crate::adj_rib_out::egress::EgressKey;
use crate::adj_rib_out::journal::{Journal, Position};
use crate::export::Announcement;
use crate::rib::CREDIT;
use crate::source::SourceId;

/// Names an update group of one family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct GroupId(pub(crate) u16);

/// What an item of the group is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Paths {
    /// A prefix: its best path is announced.
    Best,
    /// A path: each is announced under an identifier of its own (RFC 7911).
    All,
}

/// What a group last said of an item.
#[derive(Clone, Copy, Debug)]
struct Said {
    announcement: AnnouncementId,
    /// Who the route came from: that peer is not told. After a withdrawal, who it had come from.
    source: SourceId,
    /// The route has come from several sources since it was first announced, so each of them may know it from
    /// another and must be told when its own takes over.
    had_other_source: bool,
    /// It is in [`UpdateGroup::withdrawn`]; it may be announced again since.
    is_in_withdrawn: bool,
}

const UNSAID: Said = Said {
    announcement: AnnouncementId::NONE,
    source: SourceId::LOCAL,
    had_other_source: false,
    is_in_withdrawn: false,
};

/// What a group is to say of an item from now on.
pub(crate) struct Outgoing {
    pub(crate) announcement: Announcement,
    pub(crate) source: SourceId,
}

/// A member's share of the group.
#[derive(Debug)]
struct Member {
    peer: PeerId,
    /// The peer's own paths, which it is not told.
    source: SourceId,
    position: Position,
    credit: u8,
    /// End-of-RIB (or, in a refresh, EoRR) is due once this position is reached; `None`: said.
    feed_end: Option<Position>,
    /// End-of-RIB waits for the end of our own restart.
    waits_for_recovery: bool,
    /// BoRR is due before anything else.
    owes_begin: bool,
    /// The feed answers a ROUTE-REFRESH of a peer that wants it framed (RFC 7313).
    is_framed: bool,
    /// Items that it is to be told of before it reads on, in order: see `moving`.
    owed: Vec<u32>,
}

/// Takes the frames that [`UpdateGroup::poll`] makes.
pub(crate) trait FrameSink {
    fn frame(&mut self, peer: PeerId, bytes: Bytes);
    /// The peer reads so little that what must be remembered for it alone is too much.
    fn give_up(&mut self, peer: PeerId);
}

/// Chunks kept for members that are a little behind; who is further behind gets chunks of its own.
const CHUNKS_KEPT: usize = 16;

/// Withdrawn items that are remembered for the slowest member, whatever the size of the table.
const REMEMBERED: u32 = 65_536;

/// See `adj_rib_out`.
#[derive(Debug)]
pub(crate) struct UpdateGroup {
    key: Arc<EgressKey>,
    journal: Journal,
    said: Vec<Said>,
    announcements: Announcements,
    members: Vec<Member>,
    chunks: VecDeque<Chunk>,
    announced: u32,
    /// The most that were ever announced at once.
    peak: u32,
    announced_from: Vec<u32>,
    /// A member may have something to send: worth a poll.
    is_ready: bool,
    /// Items that were withdrawn and wait for all members to know, each once, those withdrawn first in front.
    withdrawn: VecDeque<u32>,
    /// Some member is owed items.
    is_owing: bool,
}

impl UpdateGroup {
    pub(crate) fn new(key: Arc<EgressKey>) -> Self {
        UpdateGroup {
            key,
            journal: Journal::default(),
            said: Vec::new(),
            announcements: Announcements::default(),
            members: Vec::new(),
            chunks: VecDeque::new(),
            announced: 0,
            peak: 0,
            announced_from: Vec::new(),
            is_ready: false,
            withdrawn: VecDeque::new(),
            is_owing: false,
        }
    }

    pub(crate) fn key(&self) -> &Arc<EgressKey> {
        &self.key
    }

    pub(crate) fn paths(&self) -> Paths {
        if self.key.all_paths {
            Paths::All
        } else {
            Paths::Best
        }
    }

    /// Changes what the members are told from now on; the caller says the new state of every item with
    /// [`Self::set`]. Positions and what was said stay, so only differences are sent.
    pub(crate) fn set_key(&mut self, key: Arc<EgressKey>) {
        self.key = key;
        self.chunks.clear();
    }

    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// One past the highest item that something was said of.
    pub(crate) fn items(&self) -> u32 {
        self.said.len() as u32
    }

    /// A source is gone: what was once said of its routes is nobody's from now on.
    pub(crate) fn forget_sources(&mut self, sources: &HashSet<SourceId>) {
        self.said
            .iter_mut()
            .filter(|said| sources.contains(&said.source))
            .for_each(|said| said.source = SourceId::LOCAL);
        self.chunks.clear();
    }

    /// What is wrong with the group's sums and its members' positions.
    pub(crate) fn verify(&self, faults: &mut Vec<String>) {
        let mut from: HashMap<SourceId, u32> = HashMap::new();
        for item in 0..self.items() {
            if let Some((_, source)) = self.said(item) {
                *from.entry(source).or_default() += 1;
            }
        }
        let total: u32 = from.values().sum();
        if total != self.announced {
            faults.push(format!(
                "a group counts {} announcements and makes {total}",
                self.announced
            ));
        }
        for (at, &counted) in self.announced_from.iter().enumerate() {
            let found = from.get(&SourceId(at as u16)).copied().unwrap_or(0);
            if counted != found {
                faults.push(format!(
                    "a group counts {counted} announcements of source {at} and makes {found}"
                ));
            }
        }
        if self.withdrawn.len() > self.said.len() {
            let count = self.withdrawn.len();
            faults.push(format!(
                "a group remembers {count} withdrawals of {} items",
                self.said.len()
            ));
        }
        for member in &self.members {
            if member.position > self.journal.end() {
                faults.push(format!("{} has read past the journal's end", member.peer));
            }
        }
    }

    pub(crate) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub(crate) fn has_member(&self, peer: PeerId) -> bool {
        self.members.iter().any(|member| member.peer == peer)
    }

    /// Says what the group is to announce for an item from now on; `None`: nothing. Unless `is_changed`, saying the
    /// same again has no effect; with it (the path has other attributes now) the item is announced anew.
    pub(crate) fn set(&mut self, item: u32, outgoing: Option<Outgoing>, is_changed: bool) {
        let said = self.said.get(item as usize).copied().unwrap_or(UNSAID);
        let was_announced = said.announcement != AnnouncementId::NONE;
        let Some(Outgoing { announcement, source }) = outgoing else {
            if was_announced {
                self.count(said.source, -1);
                let said = &mut self.said[item as usize];
                said.announcement = AnnouncementId::NONE;
                if !std::mem::replace(&mut said.is_in_withdrawn, true) {
                    self.withdrawn.push_back(item);
                }
                self.journal.record(item);
                self.is_ready = true;
            }
            return;
        };
        let said_now = &self.said;
        let used = || said_now.iter().map(|said| said.announcement);
        let Some(announcement) = self.announcements.id(announcement, used) else {
            tracing::error!(family = %self.key.family, "more ways to announce routes than a group can hold: a route is withdrawn");
            return self.set(item, None, false);
        };
        if was_announced && !is_changed && said.announcement == announcement && said.source == source {
            return;
        }
        if item as usize >= self.said.len() {
            self.said.resize(item as usize + 1, UNSAID);
        }
        // A withdrawal that not everybody has read yet still counts as having known the route.
        let was_known = was_announced || self.journal.position(item).is_some();
        let had_other_source = was_known && (said.had_other_source || said.source != source);
        if was_announced {
            self.count(said.source, -1);
        }
        self.count(source, 1);
        self.said[item as usize] = Said {
            announcement,
            source,
            had_other_source,
            is_in_withdrawn: said.is_in_withdrawn,
        };
        self.journal.record(item);
        self.is_ready = true;
    }

    /// Whether some member may still have to hear of an item.
    pub(crate) fn remembers(&self, item: u32) -> bool {
        self.journal.position(item).is_some() || (self.is_owing && self.owes(item))
    }

    /// Takes a peer in. Its feed starts at once: everything that is announced, then End-of-RIB.
    pub(crate) fn join(&mut self, peer: PeerId, source: SourceId, waits_for_recovery: bool) {
        let feed_end = Some(self.journal.end());
        self.members.push(Member {
            peer,
            source,
            position: 0,
            credit: CREDIT,
            feed_end,
            waits_for_recovery,
            owes_begin: false,
            is_framed: false,
            owed: Vec::new(),
        });
        self.is_ready = true;
    }

    /// Lets a peer go.
    pub(crate) fn leave(&mut self, peer: PeerId) {
        self.members.retain(|member| member.peer != peer);
        self.is_ready = true;
    }

    /// A peer asks for everything again (RFC 2918), framed by BoRR and EoRR if `is_framed` (RFC 7313).
    pub(crate) fn refresh(&mut self, peer: PeerId, is_framed: bool) {
        let end = self.journal.end();
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == peer) {
            // RFC 7313 §4: no BoRR before the first feed's End-of-RIB; whoever asks meanwhile gets that feed anew.
            let is_first_feed = member.feed_end.is_some() && !member.is_framed;
            let is_framed = is_framed && !is_first_feed;
            member.owes_begin = is_framed;
            (member.position, member.feed_end, member.is_framed) = (0, Some(end), is_framed);
            self.is_ready = true;
        }
    }

    /// A peer can take one frame more.
    pub(crate) fn grant(&mut self, peer: PeerId) {
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == peer) {
            member.credit = (member.credit + 1).min(CREDIT);
            self.is_ready = true;
        }
    }

    /// How many prefixes (or paths) a peer is told, once it has read everything.
    pub(crate) fn announced_to(&self, source: SourceId) -> u32 {
        self.announced
            - self
                .announced_from
                .get(usize::from(source.0))
                .copied()
                .unwrap_or(0)
    }

    /// What is announced for an item, and from whom.
    pub(crate) fn said(&self, item: u32) -> Option<(&Announcement, SourceId)> {
        let said = self.said.get(item as usize)?;
        let announcement = self.announcements.get(said.announcement)?;
        Some((announcement, said.source))
    }

    /// Hands each member that has credit its next frames. `holds_end_of_rib`: this node is itself still learning
    /// what it lost in a restart, so nobody who keeps what it said before is told that it has said everything, or what it
    /// makes of others' routes (RFC 4724 §4.1).
    pub(crate) fn poll<P: Prefix>(
        &mut self,
        source: &impl ChunkSource<P>,
        holds_end_of_rib: bool,
        sink: &mut impl FrameSink,
    ) {
        if !self.is_ready {
            return;
        }
        self.is_ready = false;
        for at in 0..self.members.len() {
            while self.members[at].credit > 0 && self.advance(at, source, holds_end_of_rib, sink) {}
        }
        self.tidy();
        if self.withdrawn.len() > REMEMBERED.max(2 * self.peak) as usize {
            let least = self.members.iter().map(|member| member.position).min();
            let slowest = self
                .members
                .iter()
                .filter(|member| Some(member.position) == least);
            slowest.for_each(|member| sink.give_up(member.peer));
        }
    }

    /// Lets [`Self::poll`] send the End-of-RIBs that it held back, each after everything that is known by now: what was
    /// learned while it waited is what it waited for.
    pub(crate) fn release_end_of_rib(&mut self) {
        let end = self.journal.end();
        let waiting = |member: &&mut Member| member.waits_for_recovery && !member.is_framed;
        for member in self.members.iter_mut().filter(waiting) {
            member.feed_end = member.feed_end.map(|_| end);
        }
        self.is_ready = true;
    }

    /// One frame for one member; false when it has everything.
    fn advance<P: Prefix>(
        &mut self,
        at: usize,
        source: &impl ChunkSource<P>,
        holds_end_of_rib: bool,
        sink: &mut impl FrameSink,
    ) -> bool {
        let Member {
            peer,
            source: own,
            position,
            feed_end,
            waits_for_recovery,
            is_framed,
            ..
        } = self.members[at];
        if std::mem::take(&mut self.members[at].owes_begin) {
            self.members[at].credit -= 1;
            sink.frame(
                peer,
                pipit_bgp::wire::route_refresh::begin_of_refresh(self.key.family),
            );
            return true;
        }
        if !self.members[at].owed.is_empty() {
            self.pay(at, source, sink);
            return true;
        }
        if let Some(end) = feed_end
            && position >= end
            && (is_framed || !(holds_end_of_rib && waits_for_recovery))
        {
            let bytes = if is_framed {
                pipit_bgp::wire::route_refresh::end_of_refresh(self.key.family)
            } else {
                let mut bytes = Vec::new();
                encode_end_of_rib(&mut bytes, self.key.family);
                bytes.into()
            };
            let member = &mut self.members[at];
            member.feed_end = None;
            member.credit -= 1;
            sink.frame(peer, bytes);
            return true;
        }
        // RFC 4724 §4.1: nobody who keeps what we said before is told a choice that was made among the first to speak.
        let end = if holds_end_of_rib && waits_for_recovery && !is_framed {
            self.end_of_own(position)
        } else {
            self.journal.end()
        };
        if position >= end {
            return false;
        }
        let is_next = |chunk: &Chunk| chunk.from == position && chunk.to <= end;
        let chunk = match self.chunks.iter().position(is_next) {
            Some(found) => &self.chunks[found],
            None => {
                let chunk = self.cut(position, end, source);
                if self.chunks.len() == CHUNKS_KEPT {
                    self.chunks.pop_front();
                }
                self.chunks.push_back(chunk);
                &self.chunks[self.chunks.len() - 1]
            }
        };
        let to = chunk.to;
        let bytes = chunk.bytes_for(own);
        let member = &mut self.members[at];
        member.position = to;
        if !bytes.is_empty() {
            member.credit -= 1;
            sink.frame(peer, bytes);
        }
        true
    }

    /// How far the journal speaks of own routes only.
    fn end_of_own(&self, from: Position) -> Position {
        let is_learned = |(item, _): &(u32, Position)| !self.said[*item as usize].source.is_own();
        let learned = self.journal.read(from).find(is_learned);
        learned.map_or(self.journal.end(), |(_, after)| after - 1)
    }

    fn cut<P: Prefix>(&self, from: Position, end: Position, source: &impl ChunkSource<P>) -> Chunk {
        let items = self.journal.read(from).take_while(|(_, after)| *after <= end);
        let items = items.map(|(item, after)| {
            let said = self.said[item as usize];
            let announcement = self.announcements.get(said.announcement);
            (
                Item {
                    item,
                    announcement,
                    source: said.source,
                    had_other_source: said.had_other_source,
                },
                after,
            )
        });
        cut(from, end, items, &self.key, source)
    }

    /// Forgets what every member has read and nobody will ask for again.
    fn tidy(&mut self) {
        let read_by_all = self
            .members
            .iter()
            .map(|member| member.position)
            .min()
            .unwrap_or(self.journal.end());
        self.is_owing = self.members.iter().any(|member| !member.owed.is_empty());
        self.chunks.retain(|chunk| chunk.from >= read_by_all);
        while let Some(&item) = self.withdrawn.front() {
            let said = &mut self.said[item as usize];
            if said.announcement == AnnouncementId::NONE
                && let Some(position) = self.journal.position(item)
            {
                // What comes behind was withdrawn later, at least for the first time.
                if position >= read_by_all {
                    break;
                }
                self.journal.forget(item);
                *said = UNSAID;
            }
            said.is_in_withdrawn = false;
            self.withdrawn.pop_front();
        }
        if self.withdrawn.is_empty() {
            self.withdrawn = VecDeque::new();
        }
        if self.journal.wants_compaction() {
            self.chunks.clear();
            let positions = self
                .members
                .iter_mut()
                .flat_map(|member| [Some(&mut member.position), member.feed_end.as_mut()]);
            self.journal.compact(positions.flatten());
        }
    }

    fn count(&mut self, source: SourceId, change: i32) {
        let at = usize::from(source.0);
        if at >= self.announced_from.len() {
            self.announced_from.resize(at + 1, 0);
        }
        self.announced = self.announced.wrapping_add_signed(change);
        self.peak = self.peak.max(self.announced);
        self.announced_from[at] = self.announced_from[at].wrapping_add_signed(change);
    }
}

/// The withdrawals that a peer needs of routes that it announces itself now, but may know from others.
pub(crate) fn withdraw_for_source<P: Prefix>(key: &EgressKey, nlri: &[Nlri<P>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_withdraw(&mut bytes, &key.encode, nlri);
    bytes
}
