//! A speaker with a stand-in for the RIB, which writes down what it hears.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pipit_bgp::io::message::{FrameSender, PeerBody, PeerMessage};
use pipit_bgp::io::{Speaker, SpeakerHandle};
use pipit_bgp::session::Resumption;
use pipit_bgp::session::config::{AddPath, PeerConfig};
use pipit_bgp::session::output::{Negotiated, SessionEnd};
use pipit_bgp::session::query::{SessionView, State};
use pipit_bgp::wire::update::{BatchItem, encode_end_of_rib};
use pipit_bgp::{Asn, FamilyMap, PeerId, RouterId};
use tokio::sync::{mpsc, watch};

/// The port on which nodes listen, each on its own address.
pub(crate) const PORT: u16 = 1790;
/// Longest wait for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long something that must not come is watched for.
pub(crate) const WATCH: Duration = Duration::from_millis(1_500);

/// A speaker of its own.
pub(crate) struct Node {
    pub(crate) speaker: SpeakerHandle,
    pub(crate) address: IpAddr,
    pub(crate) heard: watch::Receiver<Heard>,
    is_busy: watch::Sender<bool>,
}

/// What the RIB heard, by peer.
#[derive(Default)]
pub(crate) struct Heard(BTreeMap<PeerId, PeerHeard>);

/// What the RIB heard of one peer.
#[derive(Default, Debug)]
pub(crate) struct PeerHeard {
    pub(crate) ups: Vec<Negotiated>,
    pub(crate) downs: Vec<SessionEnd>,
    pub(crate) ends_of_rib: usize,
    pub(crate) prefixes: usize,
    pub(crate) drained: usize,
    pub(crate) frames: Option<FrameSender>,
}

impl Heard {
    pub(crate) fn peer(&self, id: PeerId) -> &PeerHeard {
        static NOTHING: PeerHeard = PeerHeard {
            ups: Vec::new(),
            downs: Vec::new(),
            ends_of_rib: 0,
            prefixes: 0,
            drained: 0,
            frames: None,
        };
        self.0.get(&id).unwrap_or(&NOTHING)
    }
}

impl PeerHeard {
    pub(crate) fn is_up(&self) -> bool {
        self.ups.len() > self.downs.len()
    }
}

/// An address of this test's own: `test` tells tests apart, the process id runs of them at the same time.
pub(crate) fn address(test: u8, host: u8) -> IpAddr {
    let run = 10 + (std::process::id() % 240) as u8;
    Ipv4Addr::new(127, run, test, host).into()
}

impl Node {
    /// A node that listens.
    pub(crate) async fn start(test: u8, host: u8) -> Node {
        let node = Node::silent(address(test, host));
        node.listen(PORT).await;
        until("listening", async || {
            tokio::net::TcpStream::connect((node.address, PORT)).await.is_ok()
        })
        .await;
        node
    }

    /// A node that does not listen.
    pub(crate) fn silent(address: IpAddr) -> Node {
        let (routes, messages) = mpsc::channel(64);
        let (told, heard) = watch::channel(Heard::default());
        let (is_busy, business) = watch::channel(false);
        tokio::spawn(listen_like_a_rib(messages, told, business));
        Node {
            speaker: Speaker::spawn(Resumption::None, routes),
            address,
            heard,
            is_busy,
        }
    }

    pub(crate) async fn listen(&self, port: u16) {
        let mut addresses = FamilyMap::<Option<SocketAddr>>::default();
        addresses[pipit_bgp::Family::of(self.address)] = Some(SocketAddr::new(self.address, port));
        self.speaker.set_listen(addresses).await;
    }

    /// How this node would be configured to speak with that one: impatient, as tests are.
    pub(crate) fn config(&self, peer: IpAddr) -> PeerConfig {
        let id = |address: IpAddr| match address {
            IpAddr::V4(address) => RouterId(address),
            IpAddr::V6(_) => RouterId::from(7),
        };
        PeerConfig {
            source: Some(self.address),
            port: PORT,
            // Scripted UPDATEs are written without path identifiers.
            add_path: AddPath::Off,
            connect_retry: Duration::from_millis(300),
            idle_hold: Duration::from_millis(200),
            ..PeerConfig::new(
                format!("to_{peer}"),
                peer,
                Asn(64_512),
                Asn(64_512),
                id(self.address),
            )
        }
    }

    /// Whether the RIB takes nothing for now.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.is_busy.send_replace(is_busy);
    }

    /// Waits until what the RIB heard of a peer is like this.
    pub(crate) async fn hears(&self, what: &str, peer: PeerId, condition: impl Fn(&PeerHeard) -> bool) {
        let mut heard = self.heard.clone();
        let waiting = heard.wait_for(|heard| condition(heard.peer(peer)));
        let result = tokio::time::timeout(PATIENCE, waiting).await;
        let is_heard = result.is_ok_and(|heard| heard.is_ok());
        assert!(
            is_heard,
            "{}: no {what}: {:?}",
            self.address,
            self.heard.borrow().peer(peer)
        );
    }

    /// Waits until the session stands and routes have come over it.
    pub(crate) async fn is_up(&self, peer: PeerId) {
        self.hears("session", peer, |heard| heard.is_up() && heard.ends_of_rib > 0)
            .await;
    }

    /// Watches for a while that the session does not come up.
    pub(crate) async fn stays_down(&self, peer: PeerId) {
        let mut heard = self.heard.clone();
        let waiting = heard.wait_for(|heard| heard.peer(peer).is_up());
        let came_up = tokio::time::timeout(WATCH, waiting).await.is_ok();
        assert!(!came_up, "{}: a session that must not be", self.address);
    }

    pub(crate) async fn view(&self, peer: PeerId) -> SessionView {
        let sessions = self.speaker.sessions().await;
        sessions
            .into_iter()
            .find_map(|(id, view)| (id == peer).then_some(view))
            .unwrap()
    }

    /// Waits until people see the session like this.
    pub(crate) async fn shows(&self, what: &str, peer: PeerId, condition: impl Fn(&SessionView) -> bool) {
        until(what, async || condition(&self.view(peer).await)).await;
    }

    /// Where the RIB sends what this peer shall hear.
    pub(crate) fn frames(&self, peer: PeerId) -> FrameSender {
        self.heard.borrow().peer(peer).frames.clone().unwrap()
    }
}

/// Two nodes, each the other's peer 1, with settings of their own.
pub(crate) async fn pair(
    test: u8,
    left: impl FnOnce(&mut PeerConfig),
    right: impl FnOnce(&mut PeerConfig),
) -> [Node; 2] {
    let nodes = [Node::start(test, 1).await, Node::start(test, 2).await];
    let mut configs = [
        nodes[0].config(nodes[1].address),
        nodes[1].config(nodes[0].address),
    ];
    left(&mut configs[0]);
    right(&mut configs[1]);
    for (node, config) in nodes.iter().zip(configs) {
        node.speaker.add_peer(PEER, config).await;
    }
    nodes
}

/// The only peer of a node that has one.
pub(crate) const PEER: PeerId = PeerId(1);

/// Waits until both sessions of a pair stand.
pub(crate) async fn both_up(nodes: &[Node; 2]) {
    for node in nodes {
        node.is_up(PEER).await;
        let view = node.view(PEER).await;
        assert_eq!(view.state, State::Established);
    }
}

/// Waits for a condition that nobody announces.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "no {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn listen_like_a_rib(
    mut messages: mpsc::Receiver<PeerMessage>,
    told: watch::Sender<Heard>,
    mut is_busy: watch::Receiver<bool>,
) {
    loop {
        if is_busy.wait_for(|is_busy| !is_busy).await.is_err() {
            return;
        }
        let message = tokio::select! {
            message = messages.recv() => message,
            changed = is_busy.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Some(PeerMessage { peer, body }) = message else {
            return;
        };
        told.send_modify(|heard| note(heard.0.entry(peer).or_default(), body));
    }
}

fn note(heard: &mut PeerHeard, body: PeerBody) {
    match body {
        PeerBody::Up { negotiated, frames } => {
            assert!(!heard.is_up(), "Up twice");
            let mut end = Vec::new();
            negotiated
                .families
                .iter()
                .for_each(|family| encode_end_of_rib(&mut end, family));
            frames.send(end.into()).unwrap();
            heard.frames = Some(frames);
            heard.ups.push(*negotiated);
        }
        PeerBody::Routes(batch) => {
            assert!(heard.is_up(), "routes without a session");
            heard.prefixes += batch.prefix_count();
            let ends = batch
                .items
                .iter()
                .filter(|item| matches!(item, BatchItem::EndOfRib(_)));
            heard.ends_of_rib += ends.count();
        }
        PeerBody::Drained => heard.drained += 1,
        PeerBody::Down(end) => {
            assert!(heard.is_up(), "Down without Up");
            heard.frames = None;
            heard.ends_of_rib = 0;
            heard.downs.push(end);
        }
    }
}
