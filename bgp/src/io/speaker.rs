//! Owns the peers' tasks and the listening sockets.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tracing::{debug, error, warn};

use crate::family::{Family, FamilyMap};
use crate::io::bfd::BfdPeers;
use crate::io::listener::{self, Accepted};
use crate::io::message::{PeerBody, PeerMessage};
use crate::io::peer_task::{Command, PeerTask, Watched};
use crate::io::{socket, tcp_md5};
use crate::peer_id::PeerId;
use crate::session::config::PeerConfig;
use crate::session::output::SessionEnd;
use crate::session::query::SessionView;
use crate::session::{Resumption, Stop};
use crate::wire::iana::ErrorCode;
use crate::wire::notification::Notification;

/// Commands that wait for the speaker.
const COMMANDS: usize = 256;
/// Commands that wait for one peer's task; connections beyond are refused.
const PEER_COMMANDS: usize = 16;
/// Connections that wait to be handed to their peer.
const ACCEPTED: usize = 256;
/// How long peers' tasks have for their last words.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum SpeakerCommand {
    Listen(FamilyMap<Option<SocketAddr>>),
    Add(PeerId, Box<PeerConfig>),
    Change(PeerId, Box<PeerConfig>),
    Remove(PeerId),
    Reset(PeerId, Notification, String),
    Retry(PeerId),
    Resume(Resumption),
    RecoveryDone,
    Sessions(oneshot::Sender<Vec<(PeerId, SessionView)>>),
    ListenErrors(oneshot::Sender<Vec<String>>),
    Shutdown(Stop, oneshot::Sender<()>),
    #[cfg(test)]
    Panic(PeerId),
}

/// The way to speak to the speaker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpeakerHandle(mpsc::Sender<SpeakerCommand>);

impl SpeakerHandle {
    /// Listens on these addresses from now on, and on no others. Standing connections stay.
    pub async fn set_listen(&self, addresses: FamilyMap<Option<SocketAddr>>) {
        self.send(SpeakerCommand::Listen(addresses)).await;
    }

    /// Adds a peer and starts its session.
    pub async fn add_peer(&self, id: PeerId, config: PeerConfig) {
        self.send(SpeakerCommand::Add(id, Box::new(config))).await;
    }

    /// Changes a peer; its session is reset only where the change demands it (`Session::classify`).
    pub async fn change_peer(&self, id: PeerId, config: PeerConfig) {
        self.send(SpeakerCommand::Change(id, Box::new(config))).await;
    }

    /// Removes a peer; it is told so (Cease, RFC 4486).
    pub async fn remove_peer(&self, id: PeerId) {
        self.send(SpeakerCommand::Remove(id)).await;
    }

    /// Ends a peer's session with a NOTIFICATION; it starts again by itself.
    pub async fn reset_peer(&self, id: PeerId, notification: Notification, reason: String) {
        self.send(SpeakerCommand::Reset(id, notification, reason)).await;
    }

    /// Tries a peer that waits after an error now: the cause is gone.
    pub async fn retry_peer(&self, id: PeerId) {
        self.send(SpeakerCommand::Retry(id)).await;
    }

    /// This is a restart after all, as far as peers that are added from now on are told.
    pub async fn resume(&self, resumption: Resumption) {
        self.send(SpeakerCommand::Resume(resumption)).await;
    }

    /// Restart recovery is over: no further OPEN says that we are restarting (RFC 4724 §4.1).
    pub async fn recovery_done(&self) {
        self.send(SpeakerCommand::RecoveryDone).await;
    }

    /// How the sessions are.
    pub async fn sessions(&self) -> Vec<(PeerId, SessionView)> {
        let (reply, answer) = oneshot::channel();
        self.send(SpeakerCommand::Sessions(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// Addresses on which the speaker should listen and cannot, each with the reason.
    pub async fn listen_errors(&self) -> Vec<String> {
        let (reply, answer) = oneshot::channel();
        self.send(SpeakerCommand::ListenErrors(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// Ends all sessions; done when the peers have been told.
    pub async fn shutdown(&self, how: Stop) {
        let (reply, done) = oneshot::channel();
        self.send(SpeakerCommand::Shutdown(how, reply)).await;
        // A speaker that is gone has nothing left to end.
        let _ = done.await;
    }

    async fn send(&self, command: SpeakerCommand) {
        // The speaker only ends after Shutdown; a command that comes later has nothing to act on.
        let _ = self.0.send(command).await;
    }
}

struct Peer {
    config: PeerConfig,
    commands: mpsc::Sender<Command>,
    watched: Watched,
    /// A key is asked for and the listening socket does not have it: what comes in would be unsigned.
    lacks_key: bool,
}

struct Listening {
    address: SocketAddr,
    task: AbortHandle,
    /// `None` while the address is not ours.
    socket: Option<Arc<Socket>>,
    error: Option<String>,
}

/// See the module.
pub struct Speaker {
    resumption: Resumption,
    /// Where the sessions' common beat is counted from.
    started: Instant,
    peers: BTreeMap<PeerId, Peer>,
    /// Several where a link-local address stands for neighbours on several interfaces; the newest last.
    by_address: HashMap<IpAddr, Vec<PeerId>>,
    listening: FamilyMap<Option<Listening>>,
    tasks: JoinSet<PeerId>,
    task_ids: HashMap<tokio::task::Id, PeerId>,
    listeners: JoinSet<()>,
    routes: mpsc::Sender<PeerMessage>,
    bfd: BfdPeers,
    accepted: (mpsc::Sender<Accepted>, mpsc::Receiver<Accepted>),
}

impl Speaker {
    /// Starts the speaker. `resumption` holds until [`SpeakerHandle::recovery_done`].
    pub fn spawn(resumption: Resumption, routes: mpsc::Sender<PeerMessage>) -> SpeakerHandle {
        let (sender, commands) = mpsc::channel(COMMANDS);
        tokio::spawn(Speaker::new(resumption, routes).run(commands));
        SpeakerHandle(sender)
    }

    fn new(resumption: Resumption, routes: mpsc::Sender<PeerMessage>) -> Self {
        Speaker {
            resumption,
            started: Instant::now(),
            peers: BTreeMap::new(),
            by_address: HashMap::new(),
            listening: FamilyMap::default(),
            tasks: JoinSet::new(),
            task_ids: HashMap::new(),
            listeners: JoinSet::new(),
            routes,
            bfd: BfdPeers::new(),
            accepted: mpsc::channel(ACCEPTED),
        }
    }

    async fn run(mut self, mut commands: mpsc::Receiver<SpeakerCommand>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(SpeakerCommand::Shutdown(how, reply)) => {
                        self.shutdown(&how).await;
                        // The caller may have stopped waiting.
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => self.handle(command).await,
                    None => return,
                },
                Some(accepted) = self.accepted.1.recv() => self.handle_accepted(accepted),
                lost = self.bfd.lost() => self.tell(lost.peer, Command::PathLost(lost.loss)).await,
                Some(ended) = self.tasks.join_next_with_id() => self.handle_ended(ended).await,
            }
        }
    }

    async fn handle(&mut self, command: SpeakerCommand) {
        match command {
            SpeakerCommand::Listen(addresses) => {
                for family in Family::ALL {
                    self.listen(family, addresses[family]);
                }
            }
            SpeakerCommand::Add(id, config) => self.add(id, *config),
            SpeakerCommand::Change(id, config) => self.change(id, *config).await,
            SpeakerCommand::Remove(id) => self.remove(id).await,
            SpeakerCommand::Reset(id, notification, reason) => {
                self.tell(id, Command::Reset(notification, reason)).await;
            }
            SpeakerCommand::Retry(id) => self.tell(id, Command::Retry).await,
            SpeakerCommand::Resume(resumption) => self.resumption = resumption,
            SpeakerCommand::RecoveryDone => {
                self.resumption = Resumption::None;
                for id in self.peers.keys().copied().collect::<Vec<_>>() {
                    self.tell(id, Command::RecoveryDone).await;
                }
            }
            SpeakerCommand::Sessions(reply) => {
                let sessions = self
                    .peers
                    .iter()
                    .map(|(&id, peer)| (id, self.view(id, peer)))
                    .collect();
                // A query whose asker has gone needs no answer.
                let _ = reply.send(sessions);
            }
            SpeakerCommand::ListenErrors(reply) => {
                let listeners = Family::ALL
                    .into_iter()
                    .filter_map(|family| self.listening[family].as_ref());
                let listen_errors = listeners
                    .filter_map(|listening| listening.error.clone())
                    .collect();
                let _ = reply.send(listen_errors);
            }
            SpeakerCommand::Shutdown(..) => {}
            #[cfg(test)]
            SpeakerCommand::Panic(id) => self.tell(id, Command::Panic).await,
        }
    }

    fn view(&self, id: PeerId, peer: &Peer) -> SessionView {
        let bfd = self.bfd.view(id);
        SessionView {
            bfd,
            ..peer.watched.view()
        }
    }

    fn listen(&mut self, family: Family, address: Option<SocketAddr>) {
        if self.listening[family].as_ref().map(|listening| listening.address) == address {
            return;
        }
        if let Some(old) = self.listening[family].take() {
            old.task.abort();
        }
        if let Some(address) = address {
            let task = self
                .listeners
                .spawn(listener::run(address, self.accepted.0.clone()));
            self.listening[family] = Some(Listening {
                address,
                task,
                socket: None,
                error: None,
            });
        }
    }

    fn add(&mut self, id: PeerId, config: PeerConfig) {
        self.learn_address(id, &config);
        self.bfd.set(id, &config);
        self.start_task(id, config, Duration::ZERO);
    }

    fn start_task(&mut self, id: PeerId, config: PeerConfig, start_in: Duration) {
        let (commands, received) = mpsc::channel(PEER_COMMANDS);
        let (task, watched) = PeerTask::new(
            id,
            config.clone(),
            self.resumption,
            self.started,
            self.routes.clone(),
            received,
        );
        let handle = self.tasks.spawn(Box::new(task).run(start_in));
        self.task_ids.insert(handle.id(), id);
        let lacks_key = !self.set_listener_key(&config);
        self.peers.insert(
            id,
            Peer {
                config,
                commands,
                watched,
                lacks_key,
            },
        );
    }

    async fn change(&mut self, id: PeerId, config: PeerConfig) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let old = std::mem::replace(&mut peer.config, config.clone());
        if old.address != config.address {
            self.forget_address(id, &old);
            self.learn_address(id, &config);
        }
        self.bfd.set(id, &config);
        let lacks_key = if config.password.is_none() && old.password.is_none() {
            false
        } else {
            !self.set_listener_key(&config)
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.lacks_key = lacks_key;
        }
        self.tell(id, Command::Change(Box::new(config))).await;
    }

    async fn remove(&mut self, id: PeerId) {
        self.tell(
            id,
            Command::Stop(Stop::Notify(Notification::new(ErrorCode::PEER_DECONFIGURED))),
        )
        .await;
        self.bfd.remove(id);
        if let Some(peer) = self.peers.remove(&id) {
            self.forget_address(id, &peer.config);
        }
    }

    fn learn_address(&mut self, id: PeerId, config: &PeerConfig) {
        let sharers = self.by_address.entry(config.address).or_default();
        let rival = sharers.iter().find(|other| {
            let other = self.peers.get(other).filter(|_| **other != id);
            other.is_some_and(|other| other.config.interface == config.interface)
        });
        if let Some(other) = rival {
            warn!(peer = %config.name, address = %config.address, %other, "two peers with one address: connections go to the newer");
        }
        sharers.push(id);
    }

    /// A peer no longer has this address: its connections and its key go to another peer that has it, or to nobody.
    fn forget_address(&mut self, id: PeerId, config: &PeerConfig) {
        let Some(sharers) = self.by_address.get_mut(&config.address) else {
            return;
        };
        sharers.retain(|other| *other != id);
        let heir = sharers.last().copied();
        if heir.is_none() {
            self.by_address.remove(&config.address);
        }
        match heir.and_then(|heir| self.peers.get(&heir)) {
            Some(heir) => {
                let config = heir.config.clone();
                self.set_listener_key(&config);
            }
            None if config.password.is_some() => {
                self.set_listener_key(&PeerConfig {
                    password: None,
                    ..config.clone()
                });
            }
            None => {}
        }
    }

    /// Whose connection it is that comes from an address: of several peers that of the interface it came over.
    fn peer_at(&self, from: SocketAddr) -> Option<&Peer> {
        let sharers = self.by_address.get(&from.ip())?.iter().rev();
        let mut sharers = sharers.filter_map(|id| self.peers.get(id));
        match from {
            SocketAddr::V6(from) if from.scope_id() != 0 => sharers.find(|peer| {
                let interface = peer.config.interface.as_deref();
                interface.is_none_or(|name| {
                    socket::interface_index(name).is_ok_and(|index| index == from.scope_id())
                })
            }),
            SocketAddr::V4(_) | SocketAddr::V6(_) => sharers.next(),
        }
    }

    async fn tell(&self, id: PeerId, command: Command) {
        if let Some(peer) = self.peers.get(&id) {
            // A task that has just ended is seen, and replaced, by `handle_ended`.
            let _ = peer.commands.send(command).await;
        }
    }

    fn handle_accepted(&mut self, accepted: Accepted) {
        match accepted {
            Accepted::Bound(address, socket, answer) => {
                let family = Family::of(address.ip());
                if let Some(listening) = self.listening[family].as_mut().filter(|l| l.address == address) {
                    listening.socket = Some(socket);
                    self.set_listener_keys(family);
                    // A listener that is gone by now needs no answer.
                    let _ = answer.send(());
                }
            }
            Accepted::Listening(address) => {
                let family = Family::of(address.ip());
                if let Some(listening) = self.listening[family].as_mut().filter(|l| l.address == address) {
                    listening.error = None;
                }
            }
            Accepted::Failed(address, reason) => {
                let family = Family::of(address.ip());
                if let Some(listening) = self.listening[family].as_mut().filter(|l| l.address == address) {
                    (listening.socket, listening.error) = (None, Some(reason));
                }
            }
            Accepted::Connection(address, stream) => self.hand_over(address, stream),
        }
    }

    /// Gives a connection to its peer. A stranger's, or one too many, is closed at once: nothing is kept for it.
    fn hand_over(&mut self, address: SocketAddr, stream: TcpStream) {
        match self.peer_at(address) {
            Some(peer) if peer.lacks_key => {
                debug!(peer = %peer.config.name, "connection refused: it would be unsigned");
            }
            Some(peer) => {
                if peer.commands.try_send(Command::Accepted(stream)).is_err() {
                    debug!(peer = %peer.config.name, "too many connections at once");
                }
            }
            None => debug!(%address, "connection from an address that is no peer's"),
        }
    }

    fn set_listener_keys(&mut self, family: Family) {
        let keyed: Vec<(PeerId, PeerConfig)> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.config.password.is_some() && Family::of(peer.config.address) == family)
            .map(|(&id, peer)| (id, peer.config.clone()))
            .collect();
        for (id, config) in keyed {
            let lacks_key = !self.set_listener_key(&config);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.lacks_key = lacks_key;
            }
        }
    }

    /// Gives a peer's key to the listening socket, or takes it away from there. Whether that is done; without a
    /// listening socket there is nothing to do yet.
    fn set_listener_key(&self, config: &PeerConfig) -> bool {
        let family = Family::of(config.address);
        let Some(socket) = self.listening[family]
            .as_ref()
            .and_then(|listening| listening.socket.as_ref())
        else {
            return true;
        };
        match tcp_md5::set_key(socket.as_ref(), config.address, config.password.as_ref()) {
            Ok(()) => true,
            Err(cause) => {
                error!(peer = %config.name, error = %cause, "cannot set the TCP MD5 key: the peer cannot dial in \
                       (raise net.core.optmem_max when this says out of memory)");
                false
            }
        }
    }

    /// A peer's task ended: as told, or by a panic, which costs that peer its session and nobody else anything.
    async fn handle_ended(&mut self, ended: Result<(tokio::task::Id, PeerId), JoinError>) {
        match ended {
            Ok((task, _)) => {
                self.task_ids.remove(&task);
            }
            Err(failure) => {
                let Some(id) = self.task_ids.remove(&failure.id()) else {
                    return;
                };
                let Some(config) = self.peers.get(&id).map(|peer| peer.config.clone()) else {
                    return;
                };
                error!(peer = %config.name, error = %failure, "the peer's task failed; its session starts again");
                let end = SessionEnd {
                    reason: "internal error".into(),
                    retain: crate::FamilySet::EMPTY,
                    restart_time: Duration::ZERO,
                    long_lived: FamilyMap::default(),
                };
                // The RIB outlives the speaker but while the daemon stops.
                let _ = self
                    .routes
                    .send(PeerMessage {
                        peer: id,
                        body: PeerBody::Down(end),
                    })
                    .await;
                let wait = config.idle_hold;
                self.start_task(id, config, wait);
            }
        }
    }

    async fn shutdown(&mut self, how: &Stop) {
        self.listeners.abort_all();
        for peer in self.peers.values() {
            // A task that is gone needs no telling.
            let _ = peer.commands.send(Command::Stop(how.clone())).await;
        }
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all_ended).await.is_err() {
            warn!("some peers did not take their last message");
        }
        self.bfd.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
