//! Desired state to commands: what changed, and nothing else, goes to the speaker and the RIB.
//!
//! Each event of the datastore comes through here, and a node may have ten thousand sessions: those that were not
//! computed anew are passed over by their pointers, or all at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use pipit_bgp::io::SpeakerHandle;
use pipit_bgp::session::Resumption;
use pipit_bgp::session::config::PeerConfig;
use pipit_bgp::{Family, FamilyMap, PeerId};
use pipit_datastore::desired::{DesiredState, Session, SessionSource};
use pipit_datastore::diff::{SessionStep, session_steps};
use pipit_datastore::lower;
use pipit_rib::io::task::{Command, RibHandle};
use pipit_rib::{FamilyPolicy, NodeSettings, PeerSettings};
use tokio::sync::watch;
use tracing::info;

/// Why a peer exists, for queries.
#[derive(Clone, Debug)]
pub struct PeerOrigin {
    /// Mesh, BGPPeer for all nodes, for some, or for a workload.
    pub source: SessionSource,
    /// The resource.
    pub resource: Arc<str>,
    /// Families that it offers.
    pub families: Vec<Family>,
    /// Interface of a link-local address.
    pub interface: Option<String>,
}

/// All peers in force.
pub type Origins = Arc<BTreeMap<PeerId, PeerOrigin>>;

struct Peer {
    id: PeerId,
    config: PeerConfig,
    settings: PeerSettings,
}

/// The sessions that are to be looked at.
#[derive(Default)]
struct Steps<'s> {
    /// Names that no session has any more.
    gone: Vec<&'s str>,
    /// New ones, and those of which something may be another one.
    touched: Vec<&'s Session>,
}

impl<'s> Steps<'s> {
    fn between(old: Option<&'s DesiredState>, new: &'s DesiredState) -> Steps<'s> {
        let is_other_node = old.is_none_or(|old| old.router_id != new.router_id);
        let has_other_filters = Family::ALL.into_iter().any(|family| {
            let rules = |state: &'s DesiredState| &state.family(family).carried_filters;
            old.is_none_or(|old| rules(old) != rules(new))
        });
        let is_touched = |session: &Session| is_other_node || has_other_filters && session.has_filters();
        let mut steps = Steps::default();
        for family in Family::ALL {
            let before = old.map(|old| &old.family(family).peers);
            let after = &new.family(family).peers;
            if !is_other_node && !has_other_filters && before.is_some_and(|before| Arc::ptr_eq(before, after))
            {
                continue;
            }
            let before = before.map(|before| before.as_slice());
            for step in session_steps(before.unwrap_or_default(), after) {
                match step {
                    SessionStep::Same(session) if !is_touched(session) => {}
                    SessionStep::Same(session)
                    | SessionStep::Changed(_, session)
                    | SessionStep::Added(session) => steps.touched.push(session),
                    SessionStep::Removed(session) => steps.gone.push(&session.name),
                }
            }
        }
        steps
    }
}

/// What is in force, and the way to change it.
pub struct Reconciler {
    speaker: SpeakerHandle,
    rib: RibHandle,
    origins: watch::Sender<Origins>,
    node: Option<NodeSettings>,
    policy: FamilyMap<Option<FamilyPolicy>>,
    originated: BTreeMap<IpNet, bool>,
    host_routes: BTreeMap<IpAddr, IpAddr>,
    listen: FamilyMap<Option<SocketAddr>>,
    peers: BTreeMap<String, Peer>,
    next_id: u32,
    is_configured: bool,
    /// What the command line says, which wins.
    route_protocol: Option<u8>,
}

impl Reconciler {
    /// Nothing is in force yet.
    pub fn new(
        speaker: SpeakerHandle,
        rib: RibHandle,
        route_protocol: Option<u8>,
    ) -> (Self, watch::Receiver<Origins>) {
        let (origins, watched) = watch::channel(Origins::default());
        let reconciler = Reconciler {
            speaker,
            rib,
            origins,
            node: None,
            policy: FamilyMap::default(),
            originated: BTreeMap::new(),
            host_routes: BTreeMap::new(),
            listen: FamilyMap::default(),
            peers: BTreeMap::new(),
            next_id: 1,
            is_configured: false,
            route_protocol,
        };
        (reconciler, watched)
    }

    /// Makes a desired state be in force in place of the last one that was.
    pub async fn apply(&mut self, old: Option<&DesiredState>, state: &DesiredState) {
        let steps = Steps::between(old, state);
        self.apply_node(state).await;
        // Policy before routes and peers: nothing is announced or written by rules that no longer hold.
        self.apply_policy(state).await;
        self.rename_peers(&steps);
        let removed = self.remove_peers(&steps).await;
        self.apply_originated(state).await;
        self.apply_host_routes(state).await;
        let added = self.set_peers(state, &steps).await;
        if !std::mem::replace(&mut self.is_configured, true) {
            let expected = self
                .peers
                .values()
                .filter(|peer| peer.config.held.is_none())
                .map(|peer| peer.id)
                .collect();
            let is_doubtful = !state.problems.is_empty();
            self.rib
                .send(Command::Configured {
                    peers: expected,
                    is_doubtful,
                })
                .await;
            info!(node = %state.node, router_id = %state.router_id, peers = self.peers.len(), "configured");
        }
        let listen = lower::listen(state);
        if listen != self.listen {
            self.listen = listen;
            self.speaker.set_listen(listen).await;
        }
        // The RIB knows a peer before its session can speak.
        for (id, config) in added {
            self.speaker.add_peer(id, config).await;
        }
        self.publish(&steps, &removed);
    }

    async fn apply_node(&mut self, state: &DesiredState) {
        let mut node = lower::node_settings(state);
        node.route_protocol = self.route_protocol.unwrap_or(node.route_protocol);
        if self.node.is_none() && self.rib.adopts(node.route_protocol).await {
            info!(
                protocol = node.route_protocol,
                "the kernel has routes of an earlier run: this is a restart"
            );
            self.speaker.resume(Resumption::Forwarding).await;
        }
        if self.node.as_ref() != Some(&node) {
            self.node = Some(node.clone());
            self.rib.send(Command::Node(node)).await;
        }
    }

    async fn apply_policy(&mut self, state: &DesiredState) {
        for family in Family::ALL {
            let policy = lower::family_policy(state, family);
            if self.policy[family].as_ref() != Some(&policy) {
                self.policy[family] = Some(policy.clone());
                self.rib.send(Command::Policy(family, Box::new(policy))).await;
            }
        }
    }

    async fn apply_originated(&mut self, state: &DesiredState) {
        let wanted = lower::originated(state);
        // New ones first: a route that changes its kind is never gone in between.
        for (&net, &is_in_kernel) in &wanted {
            if self.originated.get(&net) != Some(&is_in_kernel) {
                info!(prefix = %net, "originating");
                self.rib.send(Command::Originate(net, is_in_kernel)).await;
            }
        }
        for (&net, &is_in_kernel) in &self.originated {
            if wanted.get(&net) != Some(&is_in_kernel) {
                info!(prefix = %net, "no longer originating");
                self.rib.send(Command::Withdraw(net, is_in_kernel)).await;
            }
        }
        self.originated = wanted;
    }

    async fn apply_host_routes(&mut self, state: &DesiredState) {
        let wanted = lower::host_routes(state);
        if self.host_routes != wanted {
            self.host_routes.clone_from(&wanted);
            self.rib.send(Command::HostRoutes(wanted)).await;
        }
    }

    /// A neighbour whose session has another name now (a port that became known, a BGPPeer in place of the mesh) is
    /// the same peer: its session goes on.
    fn rename_peers(&mut self, steps: &Steps<'_>) {
        let mut gone: BTreeMap<(IpAddr, Option<String>), Vec<&str>> = BTreeMap::new();
        for name in steps.gone.iter().rev() {
            if let Some(peer) = self.peers.get(*name) {
                let neighbour = (peer.config.address, peer.config.interface.clone());
                gone.entry(neighbour).or_default().push(name);
            }
        }
        if gone.is_empty() {
            return;
        }
        for session in &steps.touched {
            if self.peers.contains_key(&session.name) {
                continue;
            }
            let neighbour = (session.address, session.interface.as_deref().map(str::to_owned));
            let old = gone.get_mut(&neighbour).and_then(Vec::pop);
            if let Some((old, peer)) = old.and_then(|old| self.peers.remove_entry(old)) {
                info!(peer = %session.name, was = %old, "peer renamed");
                self.peers.insert(session.name.clone(), peer);
            }
        }
    }

    async fn remove_peers(&mut self, steps: &Steps<'_>) -> Vec<PeerId> {
        let mut removed = Vec::new();
        for name in &steps.gone {
            if let Some(peer) = self.peers.remove(*name) {
                info!(peer = %name, "peer removed");
                self.speaker.remove_peer(peer.id).await;
                self.rib.send(Command::RemovePeer(peer.id)).await;
                removed.push(peer.id);
            }
        }
        removed
    }

    /// Changes known peers; those that are new to the RIB are left for the speaker.
    async fn set_peers(&mut self, state: &DesiredState, steps: &Steps<'_>) -> Vec<(PeerId, PeerConfig)> {
        let mut added = Vec::new();
        for session in &steps.touched {
            let config = session.peer_config(state.router_id);
            let settings = lower::peer_settings(state, session);
            match self.peers.get_mut(&session.name) {
                Some(peer) => {
                    if peer.settings != settings {
                        let has_other_limit = peer.settings.max_prefixes != settings.max_prefixes;
                        peer.settings = settings.clone();
                        self.rib.send(Command::SetPeer(peer.id, Box::new(settings))).await;
                        // A peer that waits because of the old limit need not any longer.
                        if has_other_limit {
                            self.speaker.retry_peer(peer.id).await;
                        }
                    }
                    if peer.config != config {
                        peer.config = config.clone();
                        info!(peer = %session.name, "peer changed");
                        self.speaker.change_peer(peer.id, config).await;
                    }
                }
                None => {
                    let id = PeerId(self.next_id);
                    self.next_id += 1;
                    info!(peer = %session.name, address = %session.address, "peer added");
                    self.rib
                        .send(Command::SetPeer(id, Box::new(settings.clone())))
                        .await;
                    added.push((id, config.clone()));
                    self.peers
                        .insert(session.name.clone(), Peer { id, config, settings });
                }
            }
        }
        added
    }

    fn publish(&self, steps: &Steps<'_>, removed: &[PeerId]) {
        if steps.touched.is_empty() && removed.is_empty() {
            return;
        }
        let origin = |session: &Session| PeerOrigin {
            source: session.source,
            resource: Arc::clone(&session.resource),
            families: session.families().iter().collect(),
            interface: session.interface.as_deref().map(str::to_owned),
        };
        self.origins.send_modify(|origins| {
            let origins = Arc::make_mut(origins);
            for id in removed {
                origins.remove(id);
            }
            let touched = steps.touched.iter();
            origins.extend(
                touched.filter_map(|session| Some((self.peers.get(&session.name)?.id, origin(session)))),
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipit_datastore::backend::StoreEvent;
    use pipit_datastore::cache::Cache;
    use pipit_datastore::desired::{Environment, Planner};
    use pipit_datastore::manifest::{self, ManifestItem};
    use pipit_datastore::plan::cache_of;

    /// A mesh of three nodes, and a ToR for which there is a filter.
    const CLUSTER: [(&str, &str, &str); 5] = [
        (
            "Node",
            "n1",
            "{bgp: {ipv4Address: 10.0.0.1/24, ipv6Address: 'fd00::1/64'}}",
        ),
        (
            "Node",
            "n2",
            "{bgp: {ipv4Address: 10.0.0.2/24, ipv6Address: 'fd00::2/64'}}",
        ),
        ("Node", "n3", "{bgp: {ipv4Address: 10.0.0.3/24}}"),
        (
            "BGPPeer",
            "tor",
            "{peerIP: 10.0.0.9, asNumber: 65001, filters: [f]}",
        ),
        ("BGPFilter", "f", "{importV4: [{action: Accept}]}"),
    ];

    fn items((kind, name, spec): (&str, &str, &str)) -> Vec<ManifestItem> {
        let head = format!("apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: {name}}}");
        manifest::read(&format!("{{{head}, spec: {spec}}}"), "test.yaml")
    }

    /// What an event after the first plan has looked at: sessions touched, and names gone.
    fn after(event: (&str, &str, &str)) -> (Vec<String>, Vec<String>) {
        let mut cache: Cache = cache_of(CLUSTER.into_iter().flat_map(items)).unwrap();
        let mut planner = Planner::new("n1", Environment::default());
        let before = planner.plan(&cache).unwrap();
        assert_eq!(
            Steps::between(None, &before).touched.len(),
            4,
            "all, at the start"
        );
        for item in items(event) {
            let ManifestItem::Object { key, value, origin } = item else {
                panic!("{item:?}");
            };
            cache.handle(StoreEvent::Put { key, value, origin });
        }
        let after = planner.plan(&cache).unwrap();
        let steps = Steps::between(Some(&before), &after);
        let touched = steps.touched.iter().map(|session| session.name.clone());
        (
            touched.collect(),
            steps.gone.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn an_event_touches_only_the_sessions_that_it_may_concern() {
        let tor = "Global_10_0_0_9";
        let block = (
            "BlockAffinity",
            "b",
            "{node: n1, cidr: 10.65.0.0/26, state: confirmed}",
        );
        assert_eq!(after(block), (vec![], vec![]));
        let pool = ("IPPool", "pods", "{cidr: 10.65.0.0/16}");
        assert_eq!(after(pool), (vec![], vec![]));
        let filter = ("BGPFilter", "f", "{importV4: [{action: Reject}]}");
        assert_eq!(after(filter), (vec![tor.into()], vec![]));
        let moved = (
            "Node",
            "n2",
            "{bgp: {ipv4Address: 10.0.0.4/24, ipv6Address: 'fd00::2/64'}}",
        );
        let (touched, gone) = after(moved);
        assert!(
            touched.contains(&"Mesh_10_0_0_4".to_owned()) && !touched.contains(&"Mesh_10_0_0_3".to_owned())
        );
        assert_eq!(gone, ["Mesh_10_0_0_2"]);
        let renumbered = (
            "Node",
            "n1",
            "{bgp: {ipv4Address: 10.0.0.7/24, ipv6Address: 'fd00::1/64'}}",
        );
        assert_eq!(after(renumbered).0.len(), 4, "another router id");
    }
}
