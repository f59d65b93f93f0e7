//! The thread: what is wanted against what runs, sockets, timers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use super::link::Link;
use super::on_link::is_on_link;
use super::port::{Drained, Port};
use super::{PathLost, Views, Wanted, WantedPeers};
use crate::bfd::{Action, BfdView, Loss, Packet, Path, Sessions, State, Target};
use crate::family::{Family, FamilyMap};
use crate::peer_id::PeerId;

/// How soon what could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Copies of the last packets. Nobody waits for answers, so one that is lost is not noticed.
const LAST_WORDS: usize = 3;

/// Runs until nobody wants anything any more.
pub(super) fn run(
    wanted: watch::Receiver<WantedPeers>,
    views: watch::Sender<Views>,
    losses: mpsc::Sender<PathLost>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(Runner::new(wanted, views, losses).run()),
        Err(cause) => error!(error = %cause, "cannot run BFD"),
    }
}

struct Runner {
    wanted: watch::Receiver<WantedPeers>,
    views: watch::Sender<Views>,
    losses: mpsc::Sender<PathLost>,
    /// Losses for which there was no room, oldest first.
    unsaid: VecDeque<PathLost>,
    sessions: Sessions,
    /// What runs, as it was wanted.
    actual: BTreeMap<PeerId, Wanted>,
    /// By discriminator, with the peer; also of sessions that only say that they end.
    links: HashMap<u32, (PeerId, Link)>,
    keys: BTreeMap<PeerId, u32>,
    /// Peers for whose sake alone a session may go on.
    released: BTreeSet<PeerId>,
    ports: FamilyMap<Option<[Port; 2]>>,
    /// What keeps a peer's packets from being sent, for its view.
    errors: BTreeMap<PeerId, String>,
    /// What keeps a family's packets from being received.
    port_errors: FamilyMap<Option<String>>,
    /// When to try again what could not be opened.
    retry_at: Option<Instant>,
}

enum Event {
    Wanted(bool),
    Packets,
    Unsaid(bool),
    Timer,
}

impl Runner {
    fn new(
        wanted: watch::Receiver<WantedPeers>,
        views: watch::Sender<Views>,
        losses: mpsc::Sender<PathLost>,
    ) -> Runner {
        Runner {
            wanted,
            views,
            losses,
            unsaid: VecDeque::new(),
            sessions: Sessions::default(),
            actual: BTreeMap::new(),
            links: HashMap::new(),
            keys: BTreeMap::new(),
            released: BTreeSet::new(),
            ports: FamilyMap::default(),
            errors: BTreeMap::new(),
            port_errors: FamilyMap::default(),
            retry_at: None,
        }
    }

    async fn run(mut self) {
        self.reconcile();
        let mut drained = Drained::Empty;
        loop {
            match self.next_event(drained).await {
                Event::Wanted(true) => self.reconcile(),
                Event::Wanted(false) => return self.say_farewell(),
                Event::Packets | Event::Unsaid(true) => {}
                // Without a speaker there is nobody to watch for.
                Event::Unsaid(false) => return self.say_farewell(),
                Event::Timer => {
                    if self.retry_at.is_some_and(|at| at <= Instant::now()) {
                        self.reconcile();
                    }
                }
            }
            // Packets before timers, whatever woke us: a peer is not silent while we have not listened.
            drained = self.receive();
            if drained == Drained::Empty {
                self.sessions.handle_timeout(Instant::now());
            }
            self.carry_out();
        }
    }

    async fn next_event(&mut self, drained: Drained) -> Event {
        let timer = [self.sessions.poll_timeout(), self.retry_at]
            .into_iter()
            .flatten()
            .min();
        let timer = async {
            match timer {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        let (unsaid, losses) = (&mut self.unsaid, &self.losses);
        let say = async {
            if unsaid.is_empty() {
                return pending().await;
            }
            match losses.reserve().await {
                Ok(permit) => {
                    if let Some(lost) = unsaid.pop_front() {
                        permit.send(lost);
                    }
                    true
                }
                Err(_) => false,
            }
        };
        let ports = &self.ports;
        let packets = async {
            if drained == Drained::Enough {
                return tokio::task::yield_now().await;
            }
            let [v4, v6] = Family::ALL.map(|family| ports[family].as_ref());
            tokio::select! {
                () = ready(v4) => {}
                () = ready(v6) => {}
            }
        };
        tokio::select! {
            changed = self.wanted.changed() => Event::Wanted(changed.is_ok()),
            has_speaker = say => Event::Unsaid(has_speaker),
            () = packets => Event::Packets,
            () = timer => Event::Timer,
        }
    }

    fn receive(&mut self) -> Drained {
        let mut drained = Drained::Empty;
        for family in Family::ALL {
            let sessions = &mut self.sessions;
            for port in self.ports[family].iter().flatten() {
                let result = port.drain(|arrival, octets| {
                    let taken = sessions.handle_packet(Instant::now(), arrival, octets);
                    if let Err(reason) = taken {
                        debug!(from = %arrival.from, path = %arrival.path, %reason, "BFD packet discarded");
                    }
                });
                if result == Drained::Enough {
                    drained = Drained::Enough;
                }
            }
        }
        drained
    }

    /// Makes what runs what is wanted, as far as that is possible now.
    fn reconcile(&mut self) {
        self.retry_at = None;
        let wanted = self.wanted.borrow_and_update().clone();
        let now = Instant::now();
        let known = self.actual.keys().chain(self.errors.keys());
        for id in known.copied().collect::<BTreeSet<_>>() {
            match wanted.get(&id) {
                Some(Some(_)) => {}
                Some(None) => self.release(now, id),
                None => self.stop(now, id),
            }
        }
        let wanted: BTreeMap<PeerId, Wanted> = wanted
            .into_iter()
            .filter_map(|(id, wanted)| Some((id, wanted?)))
            .collect();
        self.open_ports(&wanted);
        for (&id, wanted) in &wanted {
            let is_actual = self.actual.get(&id) == Some(wanted) && !self.released.contains(&id);
            if !is_actual || self.needs_link(id) {
                self.start(now, id, wanted);
            }
        }
        self.carry_out();
    }

    fn release(&mut self, now: Instant, id: PeerId) {
        if self.released.insert(id) {
            self.sessions.release(now, id);
        }
        self.errors.remove(&id);
        self.views.send_if_modified(|views| views.remove(&id).is_some());
    }

    fn stop(&mut self, now: Instant, id: PeerId) {
        self.sessions.remove(now, id);
        self.actual.remove(&id);
        self.keys.remove(&id);
        self.released.remove(&id);
        self.errors.remove(&id);
        self.views.send_if_modified(|views| views.remove(&id).is_some());
    }

    /// A link that broke is only replaced once its session knows: until then silence is what it should see.
    fn needs_link(&self, id: PeerId) -> bool {
        self.errors.contains_key(&id) && self.sessions.view(id).is_none_or(|view| view.state != State::Up)
    }

    fn start(&mut self, now: Instant, id: PeerId, wanted: &Wanted) {
        let keeps_link = self.keys.contains_key(&id)
            && self.actual.get(&id).is_some_and(|old| {
                (old.address, &old.interface, old.source)
                    == (wanted.address, &wanted.interface, wanted.source)
            });
        let link = if keeps_link && !self.needs_link(id) {
            None
        } else {
            match Link::open(wanted) {
                Ok(link) => Some(link),
                Err(cause) => return self.fail(id, wanted, &cause),
            }
        };
        let standing = self.keys.get(&id).and_then(|key| self.links.get(key));
        let scope = link
            .as_ref()
            .or(standing.map(|(_, link)| link))
            .map_or(0, Link::scope);
        let target = Target {
            address: wanted.address,
            scope,
            path: path(wanted),
            hops: wanted.hops,
        };
        let key = self.sessions.set(now, id, target, wanted.timers);
        if let Some(link) = link {
            self.links.insert(key, (id, link));
        }
        self.keys.insert(id, key);
        self.released.remove(&id);
        self.actual.insert(id, wanted.clone());
        self.errors.remove(&id);
        self.publish(id);
    }

    /// What cannot be started is tried again.
    fn fail(&mut self, id: PeerId, wanted: &Wanted, cause: &io::Error) {
        self.retry();
        let error = cause.to_string();
        if self.errors.get(&id) != Some(&error) {
            warn!(peer = %wanted.name, error, "BFD cannot run");
        }
        self.note(id, Some(error));
    }

    fn retry(&mut self) {
        self.retry_at = Some(Instant::now() + RETRY);
    }

    /// Takes the ports of families that peers have, and lets go of others.
    fn open_ports(&mut self, wanted: &BTreeMap<PeerId, Wanted>) {
        for family in Family::ALL {
            let peers = wanted
                .iter()
                .filter(|(_, wanted)| Family::of(wanted.address) == family);
            let peers: Vec<PeerId> = peers.map(|(id, _)| *id).collect();
            if peers.is_empty() && !self.sessions.listens(family) {
                self.ports[family] = None;
                self.port_errors[family] = None;
            } else if self.ports[family].is_none() {
                self.open_port(family);
                peers.into_iter().for_each(|id| self.publish(id));
            }
        }
    }

    fn open_port(&mut self, family: Family) {
        let [single, multi] = Path::ALL.map(|path| Port::open(family, path));
        let error = match single.and_then(|single| Ok([single, multi?])) {
            Ok(ports) => {
                self.ports[family] = Some(ports);
                None
            }
            Err(cause) => {
                self.retry();
                Some(cause.to_string())
            }
        };
        if let Some(error) = error.as_ref().filter(|_| self.port_errors[family] != error) {
            warn!(%family, error, "BFD cannot receive");
        }
        self.port_errors[family] = error;
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.sessions.poll_action() {
            match action {
                Action::Transmit(key, path, packet) => self.transmit(key, path, &packet),
                Action::Changed(id) => self.publish(id),
                Action::Lost(id, loss) => self.lost(id, loss),
                Action::Ended(key) => self.forget(key),
            }
        }
    }

    fn transmit(&mut self, key: u32, path: Path, packet: &Packet) {
        let Some((id, link)) = self.links.get(&key) else {
            return;
        };
        let (id, error) = (*id, link.send(path, packet).err());
        let is_watched = self.keys.get(&id) == Some(&key) && !self.released.contains(&id);
        if !is_watched {
            return;
        }
        if error.is_some() {
            self.retry();
        }
        self.note(id, error.map(|cause| format!("send: {cause}")));
    }

    fn forget(&mut self, key: u32) {
        let Some((id, _)) = self.links.remove(&key) else {
            return;
        };
        if self.keys.get(&id) == Some(&key) {
            self.keys.remove(&id);
            self.actual.remove(&id);
            self.released.remove(&id);
            // Perhaps nobody needs its port any more.
            self.retry();
        }
    }

    fn lost(&mut self, peer: PeerId, loss: Loss) {
        if let Some(wanted) = self.actual.get(&peer) {
            info!(peer = %wanted.name, reason = %loss.diagnostic, "BFD session lost");
        }
        let lost = PathLost { peer, loss };
        if !self.unsaid.is_empty() || self.losses.try_send(lost).is_err() {
            self.unsaid.push_back(lost);
        }
    }

    fn note(&mut self, id: PeerId, error: Option<String>) {
        if self.errors.get(&id) == error.as_ref() {
            return;
        }
        match error {
            Some(error) => self.errors.insert(id, error),
            None => self.errors.remove(&id),
        };
        self.publish(id);
    }

    fn publish(&self, id: PeerId) {
        let family = self.actual.get(&id).map(|wanted| Family::of(wanted.address));
        let port_error = family.and_then(|family| self.port_errors[family].clone());
        let error = self.errors.get(&id).cloned().or(port_error);
        let view = match (self.sessions.view(id), error) {
            (Some(view), error) => BfdView { error, ..view },
            (None, Some(error)) => BfdView::not_started(Path::SingleHop, error),
            (None, None) => return,
        };
        self.views.send_if_modified(|views| {
            let is_news = views.get(&id) != Some(&view);
            if is_news {
                views.insert(id, view);
            }
            is_news
        });
    }

    /// AdminDown to everybody: no conclusion shall be drawn from our silence (RFC 5882 §4.2).
    fn say_farewell(mut self) {
        self.sessions.remove_all(Instant::now());
        while let Some(action) = self.sessions.poll_action() {
            if let Action::Transmit(key, path, packet) = action
                && let Some((_, link)) = self.links.get(&key)
            {
                for _ in 0..LAST_WORDS {
                    // A peer that does not hear it takes our end for a loss; there is nothing more to be done.
                    let _ = link.send(path, &packet);
                }
            }
        }
    }
}

/// What the network suggests; [`Sessions`] follows the peer where it differs.
fn path(wanted: &Wanted) -> Path {
    match wanted.hops {
        Some(0 | 1) => Path::SingleHop,
        Some(_) => Path::Multihop,
        None if is_on_link(wanted.address) => Path::SingleHop,
        None => Path::Multihop,
    }
}

/// Never for what is not open.
async fn ready(ports: Option<&[Port; 2]>) {
    let Some([single, multi]) = ports else {
        return pending().await;
    };
    // An error is one of the runtime's end; reading tells all others.
    tokio::select! {
        _ = single.ready() => {}
        _ = multi.ready() => {}
    }
}
