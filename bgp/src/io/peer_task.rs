//! The loop that feeds one session: two connections at most, one timer, commands, and credit towards the RIB.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{mpsc, watch};

use crate::bfd::Loss;
use crate::io::linger::Lingering;
use crate::io::message::{PeerBody, PeerMessage};
use crate::io::outbox::{Outbox, Written};
use crate::io::read_buffer::{self, READ_LEN};
use crate::io::socket;
use crate::peer_id::PeerId;
use crate::session::collision::Direction;
use crate::session::config::PeerConfig;
use crate::session::counts::{MessageCounts, SentCounts};
use crate::session::output::Negotiated;
use crate::session::query::{NegotiatedView, SessionView, State};
use crate::session::{Action, Connected, Resumption, Session, Stop};
use crate::wire::notification::Notification;
use crate::wire::update::UpdateBatch;

/// What the speaker tells a peer's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// A connection from the peer's address.
    Accepted(TcpStream),
    /// Another configuration.
    Change(Box<PeerConfig>),
    /// End the session with this and start again.
    Reset(Notification, String),
    /// BFD lost the path to the peer.
    PathLost(Loss),
    /// End the session and the task.
    Stop(Stop),
    /// Try an idle peer now.
    Retry,
    /// Stop setting the Restart State bit.
    RecoveryDone,
    /// Panic, as a defect would.
    #[cfg(test)]
    Panic,
}

struct Connection {
    socket: OwnedReadHalf,
    /// The beginning of a message, the rest of which has not come.
    received: Bytes,
    outbox: Arc<Outbox>,
}

/// What can be seen of a task from outside.
pub(crate) struct Watched {
    view: watch::Receiver<SessionView>,
    sent: Arc<SentCounts>,
}

/// See the module.
pub(crate) struct PeerTask {
    id: PeerId,
    session: Session,
    outgoing: Option<Connection>,
    incoming: Option<Connection>,
    dial: Option<Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>>,
    lingering: Lingering,
    /// Messages for the RIB that wait for room in its channel, oldest first. Reading stops while there are any.
    to_rib: VecDeque<PeerBody>,
    routes: mpsc::Sender<PeerMessage>,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<SessionView>,
    since: u64,
    was_established: bool,
    sent: Arc<SentCounts>,
    octets_received: u64,
}

enum Event {
    Command(Option<Command>),
    Dialled(io::Result<TcpStream>),
    Readable(Direction),
    Writable(Direction),
    Permit(Result<(), ()>),
    Timer,
}

impl Watched {
    pub(crate) fn view(&self) -> SessionView {
        SessionView {
            sent: self.sent.totals(),
            ..self.view.borrow().clone()
        }
    }
}

impl PeerTask {
    pub(crate) fn new(
        id: PeerId,
        config: PeerConfig,
        resumption: Resumption,
        beat: Instant,
        routes: mpsc::Sender<PeerMessage>,
        commands: mpsc::Receiver<Command>,
    ) -> (Self, Watched) {
        let mut session = Session::new(
            config,
            resumption,
            0x9e37_79b9_7f4a_7c15u64.wrapping_mul(u64::from(id.0) + 1),
        );
        session.keep_beat(beat);
        let since = now_secs();
        let (view, watched) = watch::channel(view_of(&session, since));
        let sent = Arc::<SentCounts>::default();
        let watched = Watched {
            view: watched,
            sent: sent.clone(),
        };
        let task = PeerTask {
            id,
            session,
            outgoing: None,
            incoming: None,
            dial: None,
            lingering: Lingering::default(),
            to_rib: VecDeque::new(),
            routes,
            commands,
            view,
            since,
            was_established: false,
            sent,
            octets_received: 0,
        };
        (task, watched)
    }

    /// Runs until told to stop. `start_in`: nothing is dialled before.
    ///
    /// Boxed: a future holds its arguments beside what becomes of them.
    pub(crate) async fn run(mut self: Box<Self>, start_in: Duration) -> PeerId {
        self.session.start_in(Instant::now(), start_in);
        loop {
            self.carry_out();
            self.publish();
            let event = self.next_event().await;
            let now = Instant::now();
            match event {
                Event::Command(Some(Command::Stop(how))) => {
                    self.session.stop(&how);
                    self.carry_out();
                    self.publish();
                    self.farewell().await;
                    return self.id;
                }
                Event::Command(Some(command)) => self.handle_command(now, command),
                Event::Command(None) => return self.id,
                Event::Dialled(result) => self.handle_dialled(now, result),
                Event::Readable(direction) => {
                    if self.handle_readable(now, direction) {
                        // The others, and the RIB, have their turn before the next: decoded, routes take several times
                        // the room that they have in the socket.
                        tokio::task::yield_now().await;
                    }
                }
                Event::Writable(direction) => self.write(now, direction),
                Event::Permit(Ok(())) => {}
                // Without a RIB there is nothing to run for.
                Event::Permit(Err(())) => return self.id,
                Event::Timer => {
                    self.excuse_unread(now);
                    self.session.handle_timeout(now);
                }
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let timer = self.session.poll_timeout();
        let has_backlog = !self.to_rib.is_empty();
        let PeerTask {
            id,
            outgoing,
            incoming,
            dial,
            to_rib,
            routes,
            commands,
            ..
        } = self;
        let timer = async {
            match timer {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        let dialled = async {
            match dial {
                Some(future) => future.await,
                None => pending().await,
            }
        };
        let permit = async {
            if !has_backlog {
                return pending().await;
            }
            match routes.reserve().await {
                Ok(permit) => {
                    if let Some(body) = to_rib.pop_front() {
                        permit.send(PeerMessage { peer: *id, body });
                    }
                    Ok(())
                }
                Err(_) => Err(()),
            }
        };
        tokio::select! {
            biased;
            () = timer => Event::Timer,
            command = commands.recv() => Event::Command(command),
            result = permit => Event::Permit(result),
            result = dialled => Event::Dialled(result),
            event = socket_event(outgoing.as_ref(), Direction::Outgoing, has_backlog) => event,
            event = socket_event(incoming.as_ref(), Direction::Incoming, has_backlog) => event,
        }
    }

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Accepted(stream) => self.handle_accepted(now, stream),
            Command::Change(config) => self.handle_change(now, *config),
            Command::Reset(notification, reason) => self.session.reset(now, &notification, reason),
            Command::PathLost(loss) => self.session.handle_path_lost(now, loss),
            Command::Retry => self.session.retry(now),
            Command::RecoveryDone => self.session.recovery_done(),
            Command::Stop(_) => {}
            #[cfg(test)]
            Command::Panic => panic!("asked for by a test"),
        }
    }

    /// A session that stays takes up another TTL security on its connections. What is said on one that ends has the
    /// TTL that a peer may check already, which would sit on the dead connection for minutes.
    fn handle_change(&mut self, now: Instant, config: PeerConfig) {
        let is_other_ttl = self.session.config().ttl_security != config.ttl_security;
        if is_other_ttl && config.ttl_security.is_some() {
            self.on_connections(|stream| socket::raise_ttl(stream, config.address));
        }
        self.session.change(now, config);
        if is_other_ttl && self.session.is_established() {
            self.on_connections(|stream| socket::change_ttl(stream, self.session.config()));
        }
    }

    fn on_connections(&self, change: impl Fn(&TcpStream) -> io::Result<()>) {
        for connection in [&self.outgoing, &self.incoming].into_iter().flatten() {
            if let Err(error) = change(connection.socket.as_ref()) {
                tracing::debug!(peer = %self.session.config().name, %error, "TTL not changed");
            }
        }
    }

    fn handle_accepted(&mut self, now: Instant, stream: TcpStream) {
        let config = self.session.config();
        let local = match stream.local_addr() {
            Ok(local) => local.ip(),
            Err(_) => return,
        };
        // A connection to another of our addresses is not the one that is configured.
        let is_ours = config.source.is_none_or(|source| source == local);
        if !is_ours || !self.session.accepts() || socket::adopt(&stream, config).is_err() {
            tracing::debug!(peer = %config.name, %local, "connection refused");
            return;
        }
        self.take(now, Direction::Incoming, stream, local);
    }

    /// Gives a connection to the session. What the session closes while it takes it is the old one in its place.
    fn take(&mut self, now: Instant, direction: Direction, stream: TcpStream, local: IpAddr) {
        match self.session.handle_connected(now, direction, local) {
            Connected::Taken => {
                if self.connection(direction).is_some() {
                    self.carry_out_until_close(direction);
                }
                let connection = Some(Connection::new(stream, self.sent.clone()));
                match direction {
                    Direction::Outgoing => self.outgoing = connection,
                    Direction::Incoming => self.incoming = connection,
                }
                self.carry_out();
            }
            Connected::Refused(notification) => {
                tracing::debug!(peer = %self.session.config().name, %notification, "connection refused");
                self.lingering.close(stream, vec![notification.encode()]);
                self.carry_out();
            }
        }
    }

    fn handle_dialled(&mut self, now: Instant, result: io::Result<TcpStream>) {
        self.dial = None;
        let connected = result.and_then(|stream| Ok((stream.local_addr()?.ip(), stream)));
        match connected {
            Ok((local, stream)) => self.take(now, Direction::Outgoing, stream, local),
            Err(error) => self.session.handle_dial_failed(now, &error.to_string()),
        }
    }

    /// Reads once. Says whether the socket may hold more.
    fn handle_readable(&mut self, now: Instant, direction: Direction) -> bool {
        let mut batch = UpdateBatch::default();
        let PeerTask {
            session,
            outgoing,
            incoming,
            octets_received,
            ..
        } = self;
        let connection = match direction {
            Direction::Outgoing => outgoing,
            Direction::Incoming => incoming,
        };
        let Some(connection) = connection else {
            return false;
        };
        let result = read_buffer::read(
            &mut connection.socket,
            &mut connection.received,
            |len, received| {
                *octets_received += len as u64;
                session.handle_bytes(now, direction, received, &mut batch);
            },
        );
        let is_full = matches!(result, Ok(READ_LEN));
        match result {
            Ok(0) => {
                let error = connection.outbox.take_error();
                session.handle_closed(now, direction, error.as_deref());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self
                .session
                .handle_closed(now, direction, Some(&error.to_string())),
        }
        // One read may hold the KEEPALIVE that makes the session Established, routes, and its end: the RIB must hear
        // of them in this order.
        while let Some(action) = self.session.poll_action() {
            if matches!(action, Action::Down(_)) && !batch.is_empty() {
                self.tell_rib(PeerBody::Routes(std::mem::take(&mut batch)));
            }
            self.act(action);
        }
        if !batch.is_empty() {
            self.tell_rib(PeerBody::Routes(batch));
        }
        is_full
    }

    /// Writes what the socket takes, and tells the session and the RIB what became of it.
    fn write(&mut self, now: Instant, direction: Direction) {
        let written = self.connection(direction).and_then(|c| c.outbox.write());
        if let Some(Written { drained, sending }) = written {
            self.session.handle_sending(now, direction, sending);
            (0..drained).for_each(|_| self.tell_rib(PeerBody::Drained));
        }
    }

    /// A peer is not silent while we have not read what it sent: the RIB had no room, or this machine no time.
    fn excuse_unread(&mut self, now: Instant) {
        for direction in [Direction::Outgoing, Direction::Incoming] {
            if self.session.is_hold_due(now, direction)
                && self.connection(direction).is_some_and(|c| c.has_unread())
            {
                self.session.handle_unread(now, direction);
            }
        }
    }

    /// Does what the session says.
    fn carry_out(&mut self) {
        while let Some(action) = self.session.poll_action() {
            self.act(action);
        }
    }

    fn carry_out_until_close(&mut self, direction: Direction) {
        while let Some(action) = self.session.poll_action() {
            let is_close = matches!(action, Action::Close(closed) if closed == direction);
            self.act(action);
            if is_close {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial => {
                let config = self.session.config().clone();
                self.dial = Some(Box::pin(async move { socket::dial(&config).await }));
            }
            Action::CancelDial => self.dial = None,
            Action::Send(direction, bytes) => {
                if let Some(connection) = self.connection(direction) {
                    connection.outbox.push_urgent(bytes);
                    self.write(Instant::now(), direction);
                }
            }
            Action::Close(direction) => {
                let closed = match direction {
                    Direction::Outgoing => self.outgoing.take(),
                    Direction::Incoming => self.incoming.take(),
                };
                if let Some((stream, unsent)) = closed.and_then(Connection::into_last_words) {
                    self.lingering.close(stream, unsent);
                }
            }
            Action::Up(direction, negotiated) => {
                if let Some(connection) = self.connection(direction) {
                    let frames = connection.outbox.open();
                    self.tell_rib(PeerBody::Up { negotiated, frames });
                }
            }
            Action::Down(end) => {
                for connection in [&self.outgoing, &self.incoming].into_iter().flatten() {
                    connection.outbox.end();
                }
                self.tell_rib(PeerBody::Down(end));
            }
        }
    }

    fn tell_rib(&mut self, body: PeerBody) {
        if self.to_rib.is_empty() {
            match self.routes.try_reserve() {
                Ok(permit) => permit.send(PeerMessage { peer: self.id, body }),
                Err(_) => self.to_rib.push_back(body),
            }
        } else {
            self.to_rib.push_back(body);
        }
    }

    /// Delivers what is left to say, to the RIB and to the peer.
    async fn farewell(&mut self) {
        for body in std::mem::take(&mut self.to_rib) {
            if self
                .routes
                .send(PeerMessage { peer: self.id, body })
                .await
                .is_err()
            {
                break;
            }
        }
        self.lingering.finish().await;
    }

    fn connection(&mut self, direction: Direction) -> Option<&mut Connection> {
        match direction {
            Direction::Outgoing => self.outgoing.as_mut(),
            Direction::Incoming => self.incoming.as_mut(),
        }
    }

    fn publish(&mut self) {
        let is_established = self.session.state() == State::Established;
        if is_established != self.was_established {
            self.was_established = is_established;
            self.since = now_secs();
        }
        let (session, since) = (&self.session, self.since);
        let received = MessageCounts {
            octets: self.octets_received,
            ..session.received()
        };
        self.view.send_if_modified(|view| {
            let is_same = view.state == session.state()
                && view.since == since
                && view.flaps == session.flaps()
                && view.last_error.as_deref() == session.last_error()
                && view.last_error_sent.as_deref() == session.last_error_sent()
                && view.last_error_received.as_deref() == session.last_error_received()
                && view.port == session.config().port
                && view.is_passive == session.config().passive
                && view.name == session.config().name;
            // Counters change all the time: they are brought up to date, and nobody is woken for them.
            view.received = received;
            if !is_same {
                *view = SessionView {
                    received,
                    ..view_of(session, since)
                };
            }
            !is_same
        });
    }
}

impl Connection {
    fn new(stream: TcpStream, sent: Arc<SentCounts>) -> Self {
        let (socket, write_half) = stream.into_split();
        Connection {
            socket,
            received: Bytes::new(),
            outbox: Outbox::new(write_half, sent),
        }
    }

    /// Whether the kernel holds octets, or the end, that we have not read.
    fn has_unread(&self) -> bool {
        SockRef::from(self.socket.as_ref())
            .peek(&mut [MaybeUninit::uninit()])
            .is_ok()
    }

    /// The socket, and what must still be written to it.
    fn into_last_words(self) -> Option<(TcpStream, Vec<Bytes>)> {
        let (write_half, unsent) = self.outbox.close();
        let stream = self.socket.reunite(write_half?).ok()?;
        Some((stream, unsent))
    }
}

async fn socket_event(connection: Option<&Connection>, direction: Direction, has_backlog: bool) -> Event {
    let Some(Connection { socket, outbox, .. }) = connection else {
        return pending().await;
    };
    let ready = async {
        let interest = match (has_backlog, outbox.wants_write()) {
            (true, false) => return pending().await,
            (true, true) => Interest::WRITABLE,
            (false, false) => Interest::READABLE,
            (false, true) => Interest::READABLE | Interest::WRITABLE,
        };
        socket.ready(interest).await
    };
    tokio::select! {
        biased;
        () = outbox.left() => Event::Writable(direction),
        ready = ready => match ready {
            Ok(ready) if ready.is_writable() && outbox.wants_write() => Event::Writable(direction),
            Ok(_) | Err(_) => Event::Readable(direction),
        },
    }
}

fn now_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

fn view_of(session: &Session, since: u64) -> SessionView {
    let config = session.config();
    SessionView {
        name: config.name.clone(),
        address: config.address,
        port: config.port,
        local_as: config.local_as,
        remote_as: config.remote_as,
        state: session.state(),
        since,
        last_error: session.last_error().map(str::to_owned),
        held: config.held.map(|reason| reason.to_string()),
        is_passive: config.passive,
        flaps: session.flaps(),
        last_error_sent: session.last_error_sent().map(str::to_owned),
        last_error_received: session.last_error_received().map(str::to_owned),
        received: session.received(),
        negotiated: session.negotiated().map(negotiated_view),
        // `Watched` knows.
        sent: MessageCounts::default(),
        // The speaker knows.
        bfd: None,
    }
}

fn negotiated_view(negotiated: &Negotiated) -> NegotiatedView {
    let capabilities = [
        ("4-octet-as", negotiated.four_octet_as),
        ("route-refresh", negotiated.route_refresh),
        ("enhanced-route-refresh", negotiated.enhanced_refresh),
        ("graceful-restart", negotiated.graceful_restart.is_some()),
        (
            "long-lived-graceful-restart",
            negotiated
                .graceful_restart
                .as_ref()
                .is_some_and(|restart| restart.knows_long_lived),
        ),
        ("add-path-send", !negotiated.add_path_send.is_empty()),
        ("add-path-receive", !negotiated.add_path_receive.is_empty()),
        ("extended-message", negotiated.max_message_len > 4096),
        ("extended-next-hop", negotiated.extended_next_hop),
    ];
    NegotiatedView {
        router_id: negotiated.remote_router_id.to_string(),
        hold_time_secs: negotiated.hold_time.as_secs(),
        families: negotiated
            .families
            .iter()
            .map(|family| family.to_string())
            .collect(),
        capabilities: capabilities
            .into_iter()
            .filter(|(_, is_on)| *is_on)
            .map(|(name, _)| name)
            .collect(),
        hostname: negotiated.hostname.clone(),
        software: negotiated.software.clone(),
    }
}
