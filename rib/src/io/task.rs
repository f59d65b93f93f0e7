//! The loop around the [`Rib`]: what it is told, what it is asked, what it wants done.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::Instant;

use ipnet::IpNet;
use pipit_bgp::io::SpeakerHandle;
use pipit_bgp::io::message::{FrameSender, PeerBody, PeerMessage, Sent};
use pipit_bgp::wire::iana::ErrorCode;
use pipit_bgp::wire::notification::Notification;
use pipit_bgp::{Family, FamilyMap, PeerId};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

use crate::fib::{FibCounts, FibDifference, FibHopView, FibView};
use crate::io::audit::{AuditReply, Audits};
use crate::io::netlink::{Report, Request};
use crate::peer::PeerSettings;
use crate::query::{Listings, PeerCounts, RouteFilter, RouteView, Totals};
use crate::rib::{Drain, FamilyPolicy, NodeSettings, Output, Rib};
use crate::verify::Verification;

/// Messages taken at once before peers and the kernel get their share.
const BURST: usize = 64;
/// Frames written at once, for the same reason: about a millisecond.
const WRITES: usize = 128;
/// Commands that may wait: all of them act in one turn.
const COMMANDS: usize = BURST;
/// Paths of one prefix that are told of when many prefixes are asked about.
const PATHS_MAX: usize = 64;

/// What the daemon says to the RIB.
#[derive(Debug)]
pub enum Command {
    /// Settings of the node.
    Node(NodeSettings),
    /// Policy of a family.
    Policy(Family, Box<FamilyPolicy>),
    /// Originate a route; with a blackhole in the kernel or without.
    Originate(IpNet, bool),
    /// No longer originate it.
    Withdraw(IpNet, bool),
    /// The static routes to peers behind a gateway: peer, gateway.
    HostRoutes(BTreeMap<IpAddr, IpAddr>),
    /// Add or change a peer.
    SetPeer(PeerId, Box<PeerSettings>),
    /// Forget a peer.
    RemovePeer(PeerId),
    /// The number that kernel routes will have is known now: are there routes of an earlier life that have it, and were
    /// taken for another program's?
    Adopt(u8, oneshot::Sender<bool>),
    /// The first complete configuration is in force: recovery begins.
    Configured {
        /// These are expected.
        peers: Vec<PeerId>,
        /// Not everything could be read: there may be more.
        is_doubtful: bool,
    },
    /// A question.
    Query(Query),
    /// Drain the node, or end that (RFC 8326).
    Drain(Drain),
    /// End, and leave the kernel as it is.
    End(oneshot::Sender<()>),
}

/// Counts of every peer, and totals.
pub type Counts = (Vec<(PeerId, FamilyMap<PeerCounts>)>, Totals);
/// Items, and where the next page starts.
pub type Page<T> = (Vec<T>, Option<IpNet>);

/// What the RIB is asked. Who has stopped waiting is not answered.
#[derive(Debug)]
pub enum Query {
    /// Counts by peer, and totals.
    Peers(oneshot::Sender<Counts>),
    /// A page of routes; with a peer's name, whether they go there.
    Routes(
        RouteFilter,
        Option<String>,
        Option<IpNet>,
        usize,
        oneshot::Sender<Page<RouteView>>,
    ),
    /// What is wrong with the tables: see [`Rib::verify`].
    Verify(oneshot::Sender<Vec<String>>),
    /// A fresh look at the kernel: what differs.
    FibDiff(AuditReply),
    /// Put right what differs; answered when all is written.
    FibSync(oneshot::Sender<()>),
    /// What was done to the kernel's routes so far.
    FibCounts(oneshot::Sender<FibCounts>),
    /// Kernel routes that others are in the way of or that the kernel refuses, at most so many; why there are no
    /// nexthop objects where there should be.
    FibTroubles(usize, oneshot::Sender<(Vec<FibView>, Option<String>)>),
    /// A page of the kernel's routes.
    Fib(Option<IpNet>, usize, oneshot::Sender<Page<FibView>>),
    /// How next hops are reached, in their order.
    Ways(Vec<IpAddr>, oneshot::Sender<Vec<Option<FibHopView>>>),
    /// All paths of these prefixes.
    Paths(Vec<IpNet>, oneshot::Sender<Vec<RouteView>>),
    /// Which addresses an interface of this host has, in their order.
    Own(Vec<IpAddr>, oneshot::Sender<Vec<bool>>),
    /// Whether routes of an earlier life are still kept for peers that have not spoken yet.
    IsRecovering(oneshot::Sender<bool>),
}

/// The way to speak to the RIB's task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RibHandle {
    commands: mpsc::Sender<Command>,
    route_protocol: watch::Receiver<Option<u8>>,
}

impl RibHandle {
    /// Says something; waits while too much has been said already.
    pub async fn send(&self, command: Command) {
        // The task ends only with the daemon.
        let _ = self.commands.send(command).await;
    }

    /// Ends the task. Afterwards nothing that becomes of sessions reaches the kernel any more.
    pub async fn end(&self) {
        let (reply, done) = oneshot::channel();
        self.send(Command::End(reply)).await;
        // A task that is gone already has ended, too.
        let _ = done.await;
    }

    /// Whether the kernel has routes of an earlier life with this number that were taken for another program's until
    /// now. If so, this is a restart. To be asked before [`Command::Node`] says the number.
    pub async fn adopts(&self, protocol: u8) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Adopt(protocol, reply)).await;
        answer.await.unwrap_or(false)
    }

    /// Counts by peer, and totals.
    pub async fn peers(&self) -> Counts {
        self.ask(Query::Peers).await.unwrap_or_default()
    }

    /// A page of routes: see [`Rib::routes`]. `None` when the RIB is gone.
    pub async fn routes(
        &self,
        filter: RouteFilter,
        to: Option<String>,
        after: Option<IpNet>,
        limit: usize,
    ) -> Option<Page<RouteView>> {
        self.ask(|reply| Query::Routes(filter, to, after, limit, reply))
            .await
    }

    /// Drains the node, or ends that: see [`Rib::set_drain`].
    pub async fn drain(&self, drain: Drain) {
        self.send(Command::Drain(drain)).await;
    }

    /// What is wrong with the tables; looked for step by step. `None` when the RIB is gone.
    pub async fn verify(&self) -> Option<Vec<String>> {
        self.ask(Query::Verify).await
    }

    /// A page of the kernel's routes: see [`crate::fib::Fib::query`]. `None` when the RIB is gone.
    pub async fn fib(&self, after: Option<IpNet>, limit: usize) -> Option<Page<FibView>> {
        self.ask(|reply| Query::Fib(after, limit, reply)).await
    }

    /// How each next hop is reached: see [`crate::fib::Fib::way`]. `None` when the RIB is gone.
    pub async fn ways(&self, next_hops: Vec<IpAddr>) -> Option<Vec<Option<FibHopView>>> {
        self.ask(|reply| Query::Ways(next_hops, reply)).await
    }

    /// Paths of these prefixes, at most so many of each, in one turn of the RIB.
    pub async fn paths(&self, prefixes: Vec<IpNet>) -> Vec<RouteView> {
        self.ask(|reply| Query::Paths(prefixes, reply))
            .await
            .unwrap_or_default()
    }

    /// Those of these addresses that no interface of this host has.
    pub async fn foreign_addresses(&self, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let asked = addresses.clone();
        let own = self.ask(|reply| Query::Own(asked, reply)).await;
        let answers = addresses.into_iter().zip(own.unwrap_or_default());
        answers
            .filter(|(_, is_own)| !is_own)
            .map(|(address, _)| address)
            .collect()
    }

    /// See [`Rib::is_recovering`]. `None` when the RIB is gone.
    pub async fn is_recovering(&self) -> Option<bool> {
        self.ask(Query::IsRecovering).await
    }

    /// Where the kernel differs from what it should hold, by a fresh look; `None` when that cannot be had.
    pub async fn fib_diff(&self) -> Option<Vec<FibDifference>> {
        self.ask(Query::FibDiff).await
    }

    /// Has what differs put right, and waits for it; `None` when the RIB is gone.
    pub async fn fib_sync(&self) -> Option<()> {
        self.ask(Query::FibSync).await
    }

    /// Kernel routes that others are in the way of or that the kernel refuses, at most so many; and what is wrong with
    /// nexthop objects.
    pub async fn fib_troubles(&self, limit: usize) -> (Vec<FibView>, Option<String>) {
        self.ask(|reply| Query::FibTroubles(limit, reply))
            .await
            .unwrap_or_default()
    }

    /// What was done to the kernel's routes so far.
    pub async fn fib_counts(&self) -> FibCounts {
        self.ask(Query::FibCounts).await.unwrap_or_default()
    }

    /// The protocol number of all kernel routes of ours, as it changes: see [`crate::fib::Fib::protocol`].
    pub fn route_protocol(&self) -> watch::Receiver<Option<u8>> {
        self.route_protocol.clone()
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Query(question(reply))).await;
        answer.await.ok()
    }
}

/// The RIB's channels and neighbours.
pub struct RibTask {
    rib: Rib,
    commands: mpsc::Receiver<Command>,
    routes: mpsc::Receiver<PeerMessage>,
    speaker: SpeakerHandle,
    kernel: mpsc::Sender<Request>,
    reports: mpsc::Receiver<Report>,
    frames: HashMap<PeerId, FrameSender>,
    /// Peers have taken what they were sent and could be sent more.
    has_room: bool,
    is_restart: bool,
    listings: Listings,
    verifications: VecDeque<(Verification, oneshot::Sender<Vec<String>>)>,
    audits: Audits,
    route_protocol: watch::Sender<Option<u8>>,
}

impl RibTask {
    /// Puts a RIB to work, in front of a kernel table. `reports` has delivered the first dump already (`is_restart`:
    /// it held routes of ours).
    pub fn spawn(
        rib: Rib,
        is_restart: bool,
        routes: mpsc::Receiver<PeerMessage>,
        speaker: SpeakerHandle,
        (kernel, reports, table): (mpsc::Sender<Request>, mpsc::Receiver<Report>, u32),
    ) -> RibHandle {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let (route_protocol, watched) = watch::channel(None);
        let frames = HashMap::new();
        let task = RibTask {
            rib,
            commands,
            routes,
            speaker,
            kernel,
            reports,
            frames,
            has_room: false,
            is_restart,
            listings: Listings::default(),
            verifications: VecDeque::new(),
            audits: Audits::new(table),
            route_protocol,
        };
        tokio::spawn(task.run());
        RibHandle {
            commands: sender,
            route_protocol: watched,
        }
    }

    async fn run(mut self) {
        let mut burst = Vec::with_capacity(BURST);
        loop {
            let deadline = self.rib.poll_timeout();
            let has_backlog = self.rib.has_backlog() || !self.verifications.is_empty();
            let has_room = self.has_room;
            let timer = async {
                match deadline {
                    _ if has_room => {}
                    _ if has_backlog => tokio::task::yield_now().await,
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let mut first = None;
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => first = Some(command),
                    None => return,
                },
                Some(report) = self.reports.recv() => self.handle_reports(report),
                count = self.routes.recv_many(&mut burst, BURST) => {
                    if count == 0 {
                        return;
                    }
                }
                part = self.audits.part() => self.audits.take(self.rib.fib_ref(), part),
                () = timer => self.rib.handle_timeout(Instant::now()),
            }
            // Whatever else happened: who asks while a thousand peers converge does not wait for his turn among them.
            // And before what peers say: a session may be up before this task had time to hear of the peer.
            if let ControlFlow::Break(done) = self.handle_commands(first) {
                drop(self);
                // Whoever asked may have gone as well.
                let _ = done.send(());
                return;
            }
            burst.drain(..).for_each(|message| self.handle_peer(message));
            self.has_room = false;
            self.rib.flush();
            self.carry_out().await;
            self.audits.answer_repairs(self.rib.fib_ref());
            self.tell_route_protocol();
            self.verify();
            if self.has_room {
                // What the others have by now goes into the next frames, instead of into frames of its own.
                tokio::task::yield_now().await;
            }
        }
    }

    fn tell_route_protocol(&self) {
        let protocol = self.rib.fib_ref().protocol();
        self.route_protocol
            .send_if_modified(|told| std::mem::replace(told, protocol) != protocol);
    }

    /// Does a step of the oldest verification that was asked for.
    fn verify(&mut self) {
        if let Some((verification, _)) = self.verifications.front_mut()
            && verification.step(&self.rib)
            && let Some((verification, reply)) = self.verifications.pop_front()
        {
            // Who has stopped waiting is not answered.
            let _ = reply.send(verification.into_faults());
        }
    }

    /// What was said together acts together.
    fn handle_commands(&mut self, first: Option<Command>) -> ControlFlow<oneshot::Sender<()>> {
        if let Some(command) = first {
            self.handle_command(command)?;
        }
        for _ in 0..BURST {
            match self.commands.try_recv() {
                Ok(command) => self.handle_command(command)?,
                Err(_) => break,
            }
        }
        ControlFlow::Continue(())
    }

    fn handle_command(&mut self, command: Command) -> ControlFlow<oneshot::Sender<()>> {
        match command {
            Command::End(done) => return ControlFlow::Break(done),
            Command::Node(settings) => self.rib.set_node(settings),
            Command::Policy(family, policy) => self.rib.set_policy(family, *policy),
            Command::Originate(net, is_in_kernel) => self.rib.originate(net, is_in_kernel),
            Command::Withdraw(net, is_in_kernel) => self.rib.withdraw(net, is_in_kernel),
            Command::HostRoutes(routes) => self.rib.set_host_routes(Instant::now(), routes),
            Command::SetPeer(id, settings) => self.rib.set_peer(id, *settings),
            Command::RemovePeer(id) => {
                self.frames.remove(&id);
                self.rib.remove_peer(id);
            }
            Command::Adopt(protocol, reply) => {
                let is_adopted = self.rib.fib_ref().is_carried_by_others(protocol);
                self.is_restart |= is_adopted;
                // Who asked waits for the answer.
                let _ = reply.send(is_adopted);
            }
            Command::Configured { peers, is_doubtful } => {
                let is_doubtful = self.is_restart && (is_doubtful || peers.is_empty());
                let expected = if self.is_restart { peers } else { Vec::new() };
                self.rib.begin_recovery(Instant::now(), expected, is_doubtful);
            }
            Command::Drain(drain) => self.rib.set_drain(drain),
            Command::Query(query) => self.answer(query),
        }
        ControlFlow::Continue(())
    }

    fn answer(&mut self, query: Query) {
        // A client that hung up needs no answer.
        match query {
            Query::Peers(reply) => drop(reply.send((self.rib.peer_counts(), self.rib.totals()))),
            Query::Routes(filter, to, after, limit, reply) => drop(reply.send(self.rib.routes(
                &mut self.listings,
                &filter,
                to.as_deref(),
                after,
                limit,
            ))),
            Query::Verify(reply) => self.verifications.push_back((Verification::default(), reply)),
            Query::Fib(after, limit, reply) => {
                drop(reply.send(self.rib.fib_page(&mut self.listings, after, limit)))
            }
            Query::Ways(next_hops, reply) => {
                let fib = self.rib.fib_ref();
                drop(reply.send(next_hops.into_iter().map(|hop| fib.way(hop)).collect()))
            }
            Query::Paths(prefixes, reply) => {
                let mut views = Vec::new();
                for prefix in prefixes {
                    let filter = RouteFilter::Exact(prefix);
                    let (of_prefix, _) = self
                        .rib
                        .routes(&mut self.listings, &filter, None, None, PATHS_MAX);
                    views.extend(of_prefix);
                }
                drop(reply.send(views))
            }
            Query::Own(addresses, reply) => {
                let fib = self.rib.fib_ref();
                drop(reply.send(addresses.into_iter().map(|address| fib.is_own(address)).collect()))
            }
            Query::IsRecovering(reply) => drop(reply.send(self.rib.is_recovering())),
            Query::FibDiff(reply) => self.audits.ask(self.rib.fib_ref(), reply),
            Query::FibSync(reply) => self.audits.repair(self.rib.fib(), reply),
            Query::FibCounts(reply) => drop(reply.send(self.rib.fib_ref().counts())),
            Query::FibTroubles(limit, reply) => {
                let fib = self.rib.fib_ref();
                drop(reply.send((fib.troubles(limit), fib.object_trouble())))
            }
        }
    }

    fn handle_reports(&mut self, first: Report) {
        self.handle_report(first);
        for _ in 0..BURST {
            match self.reports.try_recv() {
                Ok(report) => self.handle_report(report),
                Err(_) => return,
            }
        }
    }

    fn handle_report(&mut self, report: Report) {
        match report {
            Report::Events(events) => self.rib.handle_kernel(Instant::now(), events),
            Report::Applied(refusals) => {
                let fib = self.rib.fib();
                fib.handle_result(&refusals);
                // Waits for what the kernel refused are counted from here.
                fib.handle_timeout(Instant::now());
            }
        }
    }

    fn handle_peer(&mut self, PeerMessage { peer, body }: PeerMessage) {
        let now = Instant::now();
        match body {
            PeerBody::Up { negotiated, frames } => {
                self.frames.insert(peer, frames);
                self.rib.handle_up(now, peer, negotiated);
            }
            PeerBody::Routes(batch) => self.rib.handle_routes(now, peer, &batch),
            PeerBody::Drained => self.rib.handle_drained(peer),
            PeerBody::Down(end) => {
                self.frames.remove(&peer);
                self.rib.handle_down(now, peer, &end);
            }
        }
    }

    /// Ends a session for want of room.
    fn end_session(&self, peer: PeerId, error: ErrorCode, reason: &str) {
        let reason = reason.to_owned();
        let notification = Notification::new(error);
        // The speaker may itself be waiting for room in our channel.
        let speaker = self.speaker.clone();
        tokio::spawn(async move { speaker.reset_peer(peer, notification, reason).await });
    }

    async fn carry_out(&mut self) {
        let mut written = 0;
        while let Some(output) = self.rib.poll_output() {
            match output {
                Output::Frame(peer, bytes) => {
                    let Some(frames) = self.frames.get(&peer) else {
                        continue;
                    };
                    match frames.send(bytes) {
                        Ok(Sent::Taken) => {
                            self.rib.handle_drained(peer);
                            self.has_room = true;
                            written += 1;
                            if written % WRITES == 0 {
                                tokio::task::yield_now().await;
                            }
                        }
                        Ok(Sent::Waits) => {}
                        Err(error) => debug!(%peer, %error, "a frame found no taker"),
                    }
                }
                Output::PrefixLimit(peer, family, limit) => {
                    warn!(%peer, %family, limit, "prefix limit exceeded");
                    let reason = format!("more than {limit} {family} prefixes");
                    // RFC 4486 §4: which family, and how many would have been taken.
                    let [high, low] = family.afi().to_be_bytes();
                    let data = [&[high, low, family.safi()][..], &limit.to_be_bytes()].concat();
                    let notification = Notification::with(ErrorCode::MAX_PREFIXES, data);
                    // The speaker may itself be waiting for room in our channel.
                    let speaker = self.speaker.clone();
                    tokio::spawn(async move { speaker.reset_peer(peer, notification, reason).await });
                }
                Output::OutOfResources(peer) => {
                    self.end_session(peer, ErrorCode::OUT_OF_RESOURCES, "the routing table is full");
                }
                Output::Stuck(peer) => {
                    warn!(%peer, "the peer does not read what it is told");
                    // RFC 9687 §4, ahead of its time. It may come back at once: then it starts with the newest state.
                    let error = ErrorCode::SEND_HOLD_TIMER_EXPIRED;
                    self.end_session(peer, error, "it does not read what it is told");
                }
                Output::Dump => drop(self.kernel.send(Request::Dump).await),
                Output::RecoveryDone => {
                    let speaker = self.speaker.clone();
                    tokio::spawn(async move { speaker.recovery_done().await });
                }
                Output::Loaded(_) => {}
            }
        }
        while let Some(work) = self.rib.fib().poll_work() {
            if self.kernel.send(work.into()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
