//! All sessions: which one a packet belongs to, which path each watches, when the next timer is due.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Instant;

use crate::bfd::{BfdView, Diagnostic, Discard, Event, Loss, Packet, Path, Session, State};
use crate::family::Family;
use crate::peer_id::PeerId;
use crate::session::config::Bfd;

/// What single hop packets must arrive with (RFC 5881 §5).
const TTL: u8 = 255;
/// Packets without an answer after which the other path is tried: the peer may wait for us to speak first.
const PROBES: u32 = 5;

/// Where a session's peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The peer.
    pub address: IpAddr,
    /// Interface index of a link-local address; zero otherwise.
    pub scope: u32,
    /// The path to begin with, or the only one.
    pub path: Path,
    /// Most hops of a path that the operator has fixed (GTSM); `None`: follow the peer.
    pub hops: Option<u8>,
}

/// How a packet came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Its sender.
    pub from: IpAddr,
    /// Interface index of a link-local sender; zero otherwise.
    pub scope: u32,
    /// By the port that it came to.
    pub path: Path,
    /// TTL or hop limit as received.
    pub ttl: u8,
}

/// Something that the caller has to do, in order. Sessions are named by our discriminator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send a packet.
    Transmit(u32, Path, Packet),
    /// The view of a peer's session has changed.
    Changed(PeerId),
    /// A path is lost.
    Lost(PeerId, Loss),
    /// A session has said that it ends, long enough: forget it.
    Ended(u32),
}

/// Who wants a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// We watch the path to a peer.
    Watch(PeerId),
    /// We do not any more; the peer does. See [`Sessions::release`].
    Courtesy(PeerId),
    /// Nobody: it only says that it ends.
    Farewell,
}

impl Purpose {
    fn watched(self) -> Option<PeerId> {
        match self {
            Purpose::Watch(peer) => Some(peer),
            Purpose::Courtesy(_) | Purpose::Farewell => None,
        }
    }
}

#[derive(Debug)]
struct Entry {
    purpose: Purpose,
    target: Target,
    session: Session,
    /// Packets since anything was heard.
    unanswered: u32,
    /// When to forget it, once it ends.
    ends_at: Option<Instant>,
    /// What stands in `timers` for it.
    deadline: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Sessions {
    /// By our discriminator.
    entries: HashMap<u32, Entry>,
    by_peer: HashMap<PeerId, u32>,
    timers: BTreeSet<(Instant, u32)>,
    actions: VecDeque<Action>,
    /// Makes discriminators that nobody can guess, who does not see our packets.
    secret: RandomState,
    made: u64,
}

impl Sessions {
    /// Starts a peer's session, or changes it. Only another address makes it a new one. Its discriminator.
    pub fn set(&mut self, now: Instant, peer: PeerId, target: Target, config: Bfd) -> u32 {
        let courtesy = self.courtesy(peer);
        if let Some(key) = self.by_peer.get(&peer).copied().or(courtesy)
            && let Some(entry) = self.entries.get_mut(&key)
            && (entry.target.address, entry.target.scope) == (target.address, target.scope)
        {
            let path = match target.hops {
                Some(_) => target.path,
                None => entry.target.path,
            };
            entry.target = Target { path, ..target };
            entry.session.change(now, config);
            if entry.purpose == Purpose::Courtesy(peer) {
                entry.purpose = Purpose::Watch(peer);
                self.by_peer.insert(peer, key);
                self.actions.push_back(Action::Changed(peer));
            }
            self.settle(now, key);
            return key;
        }
        self.remove(now, peer);
        let key = self.new_discriminator();
        let entry = Entry {
            purpose: Purpose::Watch(peer),
            target,
            session: Session::new(now, config, key, self.secret.hash_one((self.made, "jitter"))),
            unanswered: 0,
            ends_at: None,
            deadline: None,
        };
        self.entries.insert(key, entry);
        self.by_peer.insert(peer, key);
        self.settle(now, key);
        self.actions.push_back(Action::Changed(peer));
        key
    }

    /// Stops watching the path to a peer that stays. While the peer watches it, it goes on hearing from us, without
    /// consequences here: some end the BGP session over an AdminDown, as if the path were lost (BIRD 2.0).
    pub fn release(&mut self, now: Instant, peer: PeerId) {
        let key = self.by_peer.get(&peer).copied();
        let entry = key.and_then(|key| self.entries.get_mut(&key));
        match entry.filter(|entry| entry.session.state() == State::Up) {
            Some(entry) => {
                entry.purpose = Purpose::Courtesy(peer);
                self.by_peer.remove(&peer);
            }
            None => self.remove(now, peer),
        }
    }

    /// Ends a peer's session. One that the peer knows of goes on saying so for a while (RFC 5880 §6.8.16).
    pub fn remove(&mut self, now: Instant, peer: PeerId) {
        let Some(key) = self.by_peer.remove(&peer).or_else(|| self.courtesy(peer)) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        entry.purpose = Purpose::Farewell;
        entry.session.admin_down(now);
        let is_known = entry.session.remote_discriminator() != 0;
        entry.ends_at = match entry.session.farewell_time() {
            Some(time) if is_known => Some(now + time),
            _ => Some(now),
        };
        self.settle(now, key);
    }

    /// The session that goes on for the peer's sake.
    fn courtesy(&self, peer: PeerId) -> Option<u32> {
        let is_courtesy = |entry: &Entry| entry.purpose == Purpose::Courtesy(peer);
        let mut entries = self.entries.iter();
        entries.find(|(_, entry)| is_courtesy(entry)).map(|(key, _)| *key)
    }

    /// Ends all sessions.
    pub fn remove_all(&mut self, now: Instant) {
        let peers = self.entries.values().filter_map(|entry| match entry.purpose {
            Purpose::Watch(peer) | Purpose::Courtesy(peer) => Some(peer),
            Purpose::Farewell => None,
        });
        for peer in peers.collect::<Vec<_>>() {
            self.remove(now, peer);
        }
    }

    /// Whether a session of this family may hear something.
    pub fn listens(&self, family: Family) -> bool {
        self.entries
            .values()
            .any(|entry| entry.purpose != Purpose::Farewell && Family::of(entry.target.address) == family)
    }

    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes a packet.
    ///
    /// # Errors
    /// Why it was discarded. Nothing has changed then.
    pub fn handle_packet(&mut self, now: Instant, arrival: Arrival, octets: &[u8]) -> Result<(), Discard> {
        if arrival.path == Path::SingleHop {
            check_ttl(arrival.ttl, TTL)?;
        }
        let packet = Packet::decode(octets)?;
        let key = self.find(arrival, &packet)?;
        let Some(entry) = self.entries.get_mut(&key) else {
            return Err(Discard::UnknownSender);
        };
        if let Some(hops) = entry.target.hops.filter(|_| entry.target.path == Path::Multihop) {
            check_ttl(arrival.ttl, TTL - hops.saturating_sub(1))?;
        }
        if entry.session.state() == State::AdminDown {
            return Err(Discard::AdminDown);
        }
        if entry.target.path != arrival.path {
            // A session that is Up stays where it is, or anybody far away could take part in a single hop one.
            if entry.target.hops.is_some() || entry.session.state() == State::Up {
                return Err(Discard::WrongPort);
            }
            entry.target.path = arrival.path;
        }
        entry.unanswered = 0;
        entry.session.handle_packet(now, &packet);
        self.settle(now, key);
        Ok(())
    }

    /// Lets due timers act.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.timers.first() {
            if at > now {
                return;
            }
            let Some(entry) = self.entries.get_mut(&key) else {
                self.timers.pop_first();
                continue;
            };
            if entry.ends_at.is_some_and(|at| at <= now) {
                self.timers.remove(&(at, key));
                self.entries.remove(&key);
                self.actions.push_back(Action::Ended(key));
                continue;
            }
            entry.session.handle_timeout(now);
            self.settle(now, key);
        }
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A peer's session as people see it.
    pub fn view(&self, peer: PeerId) -> Option<BfdView> {
        let key = *self.by_peer.get(&peer)?;
        let entry = self.entries.get(&key)?;
        let session = &entry.session;
        let micros = |time: Option<std::time::Duration>| {
            time.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        Some(BfdView {
            state: session.state(),
            remote_state: session.remote_state(),
            path: entry.target.path,
            diagnostic: text(session.diagnostic()),
            remote_diagnostic: text(session.remote_diagnostic()),
            discriminator: key,
            remote_discriminator: session.remote_discriminator(),
            tx_interval_us: micros(session.tx_interval()),
            rx_interval_us: micros(session.rx_interval()),
            detection_time_us: micros(session.detection_time()),
            flaps: session.flaps(),
            error: None,
        })
    }

    /// RFC 5880 §6.3: by our discriminator once the sender knows it, by its address (and, link-local, the interface)
    /// before.
    fn find(&self, arrival: Arrival, packet: &Packet) -> Result<u32, Discard> {
        let yours = packet.your_discriminator;
        if yours != 0 {
            return match self.entries.contains_key(&yours) {
                true => Ok(yours),
                false => Err(Discard::UnknownDiscriminator(yours)),
            };
        }
        let is_senders = |entry: &Entry| {
            entry.purpose.watched().is_some()
                && (entry.target.address, entry.target.scope) == (arrival.from, arrival.scope)
        };
        self.entries
            .iter()
            .find(|(_, entry)| is_senders(entry))
            .map(|(key, _)| *key)
            .ok_or(Discard::UnknownSender)
    }

    /// Passes on what a session says, and notes when it wants to be woken.
    fn settle(&mut self, now: Instant, key: u32) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let mut is_changed = false;
        while let Some(packet) = entry.session.poll_transmit() {
            if entry.session.remote_discriminator() == 0 && entry.target.hops.is_none() {
                if entry.unanswered == PROBES {
                    entry.unanswered = 0;
                    entry.target.path = entry.target.path.other();
                    is_changed = true;
                }
                entry.unanswered += 1;
            }
            self.actions
                .push_back(Action::Transmit(key, entry.target.path, packet));
        }
        while let Some(event) = entry.session.poll_event() {
            match (event, entry.purpose.watched()) {
                (Event::Changed, _) => is_changed = true,
                (Event::Lost(loss), Some(peer)) => self.actions.push_back(Action::Lost(peer, loss)),
                (Event::Lost(_), None) => {}
            }
        }
        if let Some(peer) = entry.purpose.watched().filter(|_| is_changed) {
            self.actions.push_back(Action::Changed(peer));
        }
        if matches!(entry.purpose, Purpose::Courtesy(_)) && entry.session.state() != State::Up {
            entry.purpose = Purpose::Farewell;
            entry.ends_at = Some(now);
        }
        let deadline = [entry.session.poll_timeout(), entry.ends_at]
            .into_iter()
            .flatten()
            .min();
        if deadline != entry.deadline {
            if let Some(old) = entry.deadline {
                self.timers.remove(&(old, key));
            }
            self.timers.extend(deadline.map(|at| (at, key)));
            entry.deadline = deadline;
        }
    }

    fn new_discriminator(&mut self) -> u32 {
        loop {
            self.made += 1;
            let key = self.secret.hash_one(self.made) as u32;
            if key != 0 && !self.entries.contains_key(&key) {
                return key;
            }
        }
    }
}

fn check_ttl(ttl: u8, least: u8) -> Result<(), Discard> {
    if ttl < least {
        return Err(Discard::Ttl { ttl, least });
    }
    Ok(())
}

fn text(diagnostic: Diagnostic) -> String {
    match diagnostic {
        Diagnostic::None => String::new(),
        diagnostic => diagnostic.to_string(),
    }
}

#[cfg(test)]
mod tests;
