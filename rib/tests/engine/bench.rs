//! A RIB with peers around it that read what they are sent, or do not.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipnet::{IpNet, Ipv4Net};
use pipit_bgp::session::output::{Negotiated, PeerRestart, SessionEnd};
use pipit_bgp::wire::attr::{AttrEdit, AttrView, Change, originated};
use pipit_bgp::wire::update::{
    BatchItem, DecodeOptions, EncodeOptions, Nlri, UpdateBatch, decode, encode_announce, encode_end_of_rib,
    encode_withdraw,
};
use pipit_bgp::{Asn, ClusterId, Family, FamilyMap, FamilySet, NextHop, PeerId, RouterId};
use pipit_rib::fib::{Fib, KernelAction, KernelEvent, KernelHop, KernelRoute, Table};
use pipit_rib::policy::{Action, Filter, Glob, Rule};
use pipit_rib::{CREDIT, FamilyPolicy, NextHopMode, NodeSettings, Output, PeerSettings, Rib};

pub(crate) const OWN_AS: Asn = Asn(64512);
pub(crate) const RESTART_TIME: Duration = Duration::from_secs(120);
pub(crate) const LONG_LIVED: Duration = Duration::from_secs(3600);
const HEADER_LEN: usize = 19;
const UPDATE: u8 = 2;

/// What is characteristic of a peer. It is told apart from its number alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) asn: Asn,
    pub(crate) is_client: bool,
    pub(crate) takes_all: bool,
    pub(crate) knows_long_lived: bool,
    pub(crate) keeps_our_routes: bool,
    /// Says that it has restarted itself (RFC 4724 §3).
    pub(crate) is_restarting: bool,
    /// Sends several paths to a prefix, each under an identifier of its own (RFC 7911).
    pub(crate) sends_many: bool,
    /// Takes IPv6 routes as well.
    pub(crate) is_dual: bool,
}

pub(crate) const EXTERNAL: Kind = Kind {
    asn: Asn(65001),
    is_client: false,
    takes_all: false,
    knows_long_lived: true,
    keeps_our_routes: true,
    is_restarting: false,
    sends_many: false,
    is_dual: false,
};
pub(crate) const CLIENT: Kind = Kind {
    asn: OWN_AS,
    is_client: true,
    takes_all: false,
    knows_long_lived: true,
    keeps_our_routes: true,
    is_restarting: false,
    sends_many: false,
    is_dual: false,
};

/// A route as a peer announces it. The tag is a community that tells it from all others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Route {
    pub(crate) tag: u32,
    pub(crate) local_pref: u32,
    pub(crate) path_len: u8,
    /// Added to the first AS of a path that comes from a peer in our own AS.
    pub(crate) neighbor: u32,
    pub(crate) med: Option<u32>,
    /// Path identifier, where the peer sends any.
    pub(crate) path_id: u32,
    /// Another community; zero: none.
    pub(crate) mark: u32,
    /// Octets per second; zero: no link bandwidth community.
    pub(crate) bandwidth: f32,
}

impl Route {
    pub(crate) fn tagged(tag: u32) -> Route {
        Route {
            tag,
            local_pref: 100,
            path_len: 1,
            neighbor: 0,
            med: None,
            path_id: 0,
            mark: 0,
            bandwidth: 0.0,
        }
    }
}

/// The other end of a session.
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) settings: PeerSettings,
    pub(crate) is_up: bool,
    /// Takes frames, and does not read them.
    pub(crate) is_stuck: bool,
    unread: VecDeque<Bytes>,
    /// What it was told: communities by prefix and path identifier.
    pub(crate) held: BTreeMap<(Ipv4Net, u32), Vec<u32>>,
    /// The OTC of what it was told (RFC 9234), where there is one.
    pub(crate) otc: BTreeMap<Ipv4Net, Asn>,
    pub(crate) end_of_rib: bool,
    /// How much it held when End-of-RIB came.
    pub(crate) held_at_end: usize,
    /// The attributes and next hop of what it was told last of a prefix.
    pub(crate) attrs: BTreeMap<IpNet, (Vec<u8>, NextHop)>,
    /// UPDATEs and prefixes in them since somebody last looked.
    pub(crate) told: usize,
}

pub(crate) struct Bench {
    pub(crate) rib: Rib,
    pub(crate) now: Instant,
    pub(crate) peers: BTreeMap<u32, Peer>,
    pub(crate) outputs: Vec<Output>,
}

pub(crate) fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

pub(crate) fn accept_all() -> Arc<Filter> {
    filter("accept", vec![rule(Action::Accept(Vec::new()))])
}

pub(crate) fn filter(name: &str, rules: Vec<Rule>) -> Arc<Filter> {
    Arc::new(Filter {
        name: name.into(),
        rules,
    })
}

pub(crate) fn rule(action: Action) -> Rule {
    Rule {
        conditions: Vec::new(),
        action,
    }
}

pub(crate) fn address(peer: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0100 + peer)
}

/// The first AS of a route's path.
pub(crate) fn neighbor_as(kind: Kind, route: Route) -> Asn {
    if kind.asn == OWN_AS {
        Asn(65500 + route.neighbor)
    } else {
        kind.asn
    }
}

/// The reflector's settings.
pub(crate) fn node() -> NodeSettings {
    NodeSettings {
        router_id: RouterId(Ipv4Addr::new(10, 0, 0, 1)),
        local_as: OWN_AS,
        cluster_id: Some(ClusterId(Ipv4Addr::new(10, 0, 0, 1))),
        addresses: FamilyMap::default(),
        max_paths: 16,
        route_protocol: 12,
        nexthop_objects: false,
    }
}

impl Bench {
    /// A reflector at 10.0.0.1/16 whose kernel is ready.
    pub(crate) fn new() -> Bench {
        let mut rib = Rib::new(node(), Fib::new(12));
        let now = Instant::now();
        let on_link = KernelHop {
            gateway: None,
            device: 1,
            is_onlink: false,
            weight: 1,
        };
        let kernel = vec![
            KernelEvent::DumpBegin,
            KernelEvent::Link {
                index: 1,
                name: "eth0".into(),
                is_up: true,
                has_carrier: true,
            },
            KernelEvent::Address {
                device: 1,
                address: IpAddr::from([10, 0, 0, 1]),
                net: "10.0.0.0/16".parse().unwrap(),
                is_tentative: false,
            },
            KernelEvent::Route {
                prefix: "10.0.0.0/16".parse().unwrap(),
                protocol: 2,
                table: Table::Ours,
                route: KernelRoute {
                    action: KernelAction::Unicast([on_link].into_iter().collect()),
                    metric: 0,
                    source: None,
                    object: None,
                    has_more: false,
                },
                how: pipit_rib::fib::Arrival::Added,
            },
            KernelEvent::DumpEnd,
        ];
        rib.handle_kernel(now, kernel);
        let policy = FamilyPolicy {
            // The connected network would be a route like any other.
            ignored_interfaces: vec![Glob::new("eth0")],
            ..FamilyPolicy::default()
        };
        rib.set_policy(Family::Ipv4Unicast, policy);
        rib.begin_recovery(now, [], false);
        let mut bench = Bench {
            rib,
            now,
            peers: BTreeMap::new(),
            outputs: Vec::new(),
        };
        bench.settle();
        bench
    }

    pub(crate) fn add(&mut self, id: u32, kind: Kind) {
        let settings = PeerSettings {
            name: format!("p{id}"),
            address: address(id).into(),
            interface: None,
            local_as: OWN_AS,
            remote_as: kind.asn,
            next_hop: NextHopMode::Auto,
            is_client: kind.is_client,
            allowed_local_as: 0,
            max_prefixes: None,
            accepts_local_pref: true,
            enforces_first_as: false,
            role: None,
            import: FamilyMap {
                ipv4: vec![accept_all()],
                ipv6: Vec::new(),
            },
            export: FamilyMap {
                ipv4: vec![accept_all()],
                ipv6: Vec::new(),
            },
        };
        self.rib.set_peer(PeerId(id), settings.clone());
        let peer = Peer {
            kind,
            settings,
            is_up: false,
            is_stuck: false,
            unread: VecDeque::new(),
            held: BTreeMap::new(),
            otc: BTreeMap::new(),
            attrs: BTreeMap::new(),
            end_of_rib: false,
            held_at_end: 0,
            told: 0,
        };
        self.peers.insert(id, peer);
    }

    pub(crate) fn change(&mut self, id: u32, change: impl FnOnce(&mut PeerSettings)) {
        self.change_together([(id, change)]);
    }

    /// Changes several peers before the RIB has its next turn, as one revision of the configuration does.
    pub(crate) fn change_together<F: FnOnce(&mut PeerSettings)>(
        &mut self,
        changes: impl IntoIterator<Item = (u32, F)>,
    ) {
        for (id, change) in changes {
            let peer = self.peers.get_mut(&id).unwrap();
            change(&mut peer.settings);
            self.rib.set_peer(PeerId(id), peer.settings.clone());
        }
        self.settle();
    }

    pub(crate) fn up(&mut self, id: u32) {
        self.up_as(id, RouterId(address(id)));
    }

    /// The peer comes up with this router id.
    pub(crate) fn up_as(&mut self, id: u32, remote_router_id: RouterId) {
        let peer = self.peers.get_mut(&id).unwrap();
        peer.is_up = true;
        let ipv4 = FamilySet::only(Family::Ipv4Unicast);
        let negotiated = Negotiated {
            remote_router_id,
            remote_as: peer.kind.asn,
            local_address: IpAddr::from([10, 0, 0, 1]),
            families: if peer.kind.is_dual {
                Family::ALL.into_iter().collect()
            } else {
                ipv4
            },
            hold_time: Duration::from_secs(90),
            four_octet_as: true,
            max_message_len: 4096,
            add_path_send: if peer.kind.takes_all {
                ipv4
            } else {
                FamilySet::EMPTY
            },
            add_path_receive: families(peer.kind.sends_many),
            route_refresh: true,
            enhanced_refresh: true,
            extended_next_hop: false,
            graceful_restart: Some(PeerRestart {
                restarting: peer.kind.is_restarting,
                notification: true,
                restart_time: RESTART_TIME,
                families: ipv4,
                forwarding: ipv4,
                knows_long_lived: peer.kind.knows_long_lived,
                long_lived: FamilyMap::default(),
                long_lived_forwarding: ipv4,
            }),
            keeps_our_routes: peer.kind.keeps_our_routes,
            role: None,
            hostname: None,
            software: None,
        };
        self.rib.handle_up(self.now, PeerId(id), Box::new(negotiated));
        self.settle();
    }

    /// The session ends. `long_lived`: `None` for good, otherwise the routes stay for the restart time and this.
    pub(crate) fn down(&mut self, id: u32, long_lived: Option<Duration>) {
        let peer = self.peers.get_mut(&id).unwrap();
        peer.is_up = false;
        peer.unread.clear();
        peer.held.clear();
        peer.attrs.clear();
        peer.end_of_rib = false;
        let end = SessionEnd {
            reason: "test".into(),
            retain: long_lived.map_or(FamilySet::EMPTY, |_| FamilySet::only(Family::Ipv4Unicast)),
            restart_time: RESTART_TIME,
            long_lived: FamilyMap {
                ipv4: long_lived.unwrap_or_default(),
                ipv6: Duration::ZERO,
            },
        };
        self.rib.handle_down(self.now, PeerId(id), &end);
        self.settle();
    }

    pub(crate) fn announce(&mut self, id: u32, prefix: Ipv4Net, route: Route) {
        self.announce_edited(id, prefix, route, |_| {});
    }

    /// As a reflector does it: with ORIGINATOR_ID and CLUSTER_LIST, last reflector first.
    pub(crate) fn announce_reflected(
        &mut self,
        id: u32,
        prefix: Ipv4Net,
        route: Route,
        originator: [u8; 4],
        clusters: &[[u8; 4]],
    ) {
        self.announce_edited(id, prefix, route, |attrs| {
            attrs.extend([0x80, 9, 4]);
            attrs.extend(originator);
            attrs.extend([0x80, 10, 4 * clusters.len() as u8]);
            attrs.extend(clusters.concat());
        });
    }

    /// With another peer's address as next hop, which reflectors leave as it is.
    pub(crate) fn announce_via(&mut self, id: u32, via: u32, prefix: Ipv4Net, route: Route) {
        let bytes = self.announcement(id, via, prefix, route, |_| {});
        self.receive(id, &bytes);
    }

    /// With this OTC (RFC 9234), or without one.
    pub(crate) fn announce_marked(&mut self, id: u32, prefix: Ipv4Net, route: Route, otc: Option<u32>) {
        self.announce_edited(id, prefix, route, |attrs| {
            if let Some(otc) = otc {
                attrs.extend([0xc0, 35, 4]);
                attrs.extend(otc.to_be_bytes());
            }
        });
    }

    /// The daemon has restarted, and expects these peers.
    pub(crate) fn begin_recovery(&mut self, peers: &[u32]) {
        self.rib
            .begin_recovery(self.now, peers.iter().copied().map(PeerId), false);
        self.settle();
    }

    /// The last of a peer's routes, and End-of-RIB in the same segment.
    pub(crate) fn announce_last(&mut self, id: u32, prefix: Ipv4Net, route: Route) {
        let mut bytes = self.announcement(id, id, prefix, route, |_| {});
        encode_end_of_rib(&mut bytes, Family::Ipv4Unicast);
        self.receive(id, &bytes);
    }

    fn announce_edited(&mut self, id: u32, prefix: Ipv4Net, route: Route, more: impl FnOnce(&mut Vec<u8>)) {
        let bytes = self.announcement(id, id, prefix, route, more);
        self.receive(id, &bytes);
    }

    fn announcement(
        &self,
        id: u32,
        via: u32,
        prefix: Ipv4Net,
        route: Route,
        more: impl FnOnce(&mut Vec<u8>),
    ) -> Vec<u8> {
        let kind = self.peers[&id].kind;
        let asn = neighbor_as(kind, route);
        let communities = [route.tag, route.mark];
        let edit = AttrEdit {
            prepend_as: (0..route.path_len).map(|_| asn).collect(),
            local_pref: Change::Set(route.local_pref),
            med: route.med.map_or(Change::Keep, Change::Set),
            add_communities: communities.into_iter().filter(|&c| c != 0).collect(),
            ..AttrEdit::default()
        };
        let mut attrs = Vec::new();
        edit.apply(&originated(), &mut attrs);
        more(&mut attrs);
        if route.bandwidth > 0.0 {
            attrs.extend([0xc0, 16, 8, 0x40, 0x04, 0xfc, 0x00]);
            attrs.extend(route.bandwidth.to_be_bytes());
        }
        let mut bytes = Vec::new();
        let next_hop = NextHop::from(IpAddr::from(address(via)));
        let nlri = Nlri {
            prefix,
            path_id: route.path_id,
        };
        encode_announce(&mut bytes, &options(kind.sends_many), &attrs, next_hop, &[nlri]).unwrap();
        bytes
    }

    /// The peer sends these routes in one go.
    pub(crate) fn announce_all(&mut self, id: u32, routes: impl IntoIterator<Item = (Ipv4Net, Route)>) {
        let encoded = routes
            .into_iter()
            .map(|(prefix, route)| self.announcement(id, id, prefix, route, |_| {}));
        let bytes = encoded.collect::<Vec<_>>().concat();
        self.receive(id, &bytes);
    }

    /// The peer announces paths, or takes them back (`None`), by their identifiers and in one go.
    pub(crate) fn change_all(
        &mut self,
        id: u32,
        prefix: Ipv4Net,
        changes: impl IntoIterator<Item = (u32, Option<Route>)>,
    ) {
        let mut bytes = Vec::new();
        for (path_id, route) in changes {
            match route {
                Some(route) => {
                    bytes.extend(self.announcement(id, id, prefix, Route { path_id, ..route }, |_| {}));
                }
                None => encode_withdraw(&mut bytes, &options(true), &[Nlri { prefix, path_id }]),
            }
        }
        self.receive(id, &bytes);
    }

    pub(crate) fn withdraw(&mut self, id: u32, prefix: Ipv4Net) {
        self.withdraw_path(id, prefix, 0);
    }

    pub(crate) fn withdraw_path(&mut self, id: u32, prefix: Ipv4Net, path_id: u32) {
        let mut bytes = Vec::new();
        let options = options(self.peers[&id].kind.sends_many);
        encode_withdraw(&mut bytes, &options, &[Nlri { prefix, path_id }]);
        self.receive(id, &bytes);
    }

    /// The peer takes these back in one go.
    pub(crate) fn withdraw_all(&mut self, id: u32, prefixes: impl IntoIterator<Item = Ipv4Net>) {
        let mut bytes = Vec::new();
        let all: Vec<Nlri<Ipv4Net>> = prefixes.into_iter().map(nlri).collect();
        encode_withdraw(&mut bytes, &options(false), &all);
        self.receive(id, &bytes);
    }

    pub(crate) fn end_of_rib(&mut self, id: u32) {
        let mut bytes = Vec::new();
        encode_end_of_rib(&mut bytes, Family::Ipv4Unicast);
        self.receive(id, &bytes);
    }

    /// The peer asks for everything again.
    pub(crate) fn refresh(&mut self, id: u32) {
        let batch = UpdateBatch {
            items: vec![BatchItem::RefreshRequest(Family::Ipv4Unicast)],
            ..UpdateBatch::default()
        };
        self.rib.handle_routes(self.now, PeerId(id), &batch);
        self.settle();
    }

    fn receive(&mut self, id: u32, bytes: &[u8]) {
        let mut batch = UpdateBatch::default();
        for body in updates(bytes) {
            // LOCAL_PREF over eBGP is for the settings to judge, so it must come through here.
            let options = decode_options(self.peers[&id].kind.sends_many, false);
            decode(body, &options, &mut batch).unwrap();
        }
        self.rib.handle_routes(self.now, PeerId(id), &batch);
        self.settle();
    }

    /// The body of an UPDATE that may be anything; false when it costs the session.
    pub(crate) fn receive_any(&mut self, id: u32, body: &[u8]) -> bool {
        let mut batch = UpdateBatch::default();
        let is_external = self.peers[&id].kind.asn != OWN_AS;
        let decoded = decode(body, &decode_options(false, is_external), &mut batch);
        if decoded.is_ok() {
            self.rib.handle_routes(self.now, PeerId(id), &batch);
            self.settle();
        }
        decoded.is_ok()
    }

    pub(crate) fn stick(&mut self, id: u32) {
        self.peers.get_mut(&id).unwrap().is_stuck = true;
    }

    /// The peer reads again.
    pub(crate) fn unstick(&mut self, id: u32) {
        let peer = self.peers.get_mut(&id).unwrap();
        peer.is_stuck = false;
        for bytes in std::mem::take(&mut peer.unread) {
            self.deliver(id, &bytes);
        }
        self.settle();
    }

    /// A stuck peer reads one frame.
    pub(crate) fn read_one(&mut self, id: u32) {
        let peer = self.peers.get_mut(&id).unwrap();
        let Some(bytes) = peer.unread.pop_front() else {
            return;
        };
        peer.is_stuck = false;
        self.deliver(id, &bytes);
        self.stick(id);
        self.settle();
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        self.now += time;
        self.rib.handle_timeout(self.now);
        self.settle();
    }

    /// Lets the RIB and its peers do all they can.
    pub(crate) fn settle(&mut self) {
        loop {
            self.rib.flush();
            let mut is_idle = !self.rib.has_backlog();
            while let Some(output) = self.rib.poll_output() {
                is_idle = false;
                match output {
                    Output::Frame(PeerId(id), bytes) => self.deliver(id, &bytes),
                    other => self.outputs.push(other),
                }
            }
            // The kernel takes whatever it is given.
            while self.rib.fib().poll_batch().is_some() {
                self.rib.fib().handle_result(&[]);
            }
            if is_idle {
                return;
            }
        }
    }

    fn deliver(&mut self, id: u32, bytes: &Bytes) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.is_up) else {
            return;
        };
        if peer.is_stuck {
            peer.unread.push_back(bytes.clone());
            let families = if peer.kind.is_dual { 2 } else { 1 };
            assert!(
                peer.unread.len() <= families * usize::from(CREDIT),
                "its task has no room for more"
            );
            return;
        }
        let mut batch = UpdateBatch::default();
        for body in updates(bytes) {
            decode(
                body,
                &decode_options(peer.kind.takes_all, peer.kind.asn != OWN_AS),
                &mut batch,
            )
            .unwrap();
        }
        for item in &batch.items {
            match item {
                BatchItem::Announce {
                    family: Family::Ipv6Unicast,
                    attrs,
                    nlri,
                    next_hop,
                    ..
                } => {
                    let attrs = batch.attr_bytes[attrs.start as usize..attrs.end as usize].to_vec();
                    for nlri in &batch.ipv6[nlri.start as usize..nlri.end as usize] {
                        peer.told += 1;
                        peer.attrs.insert(nlri.prefix.into(), (attrs.clone(), *next_hop));
                    }
                }
                BatchItem::Withdraw {
                    family: Family::Ipv6Unicast,
                    nlri,
                } => {
                    for nlri in &batch.ipv6[nlri.start as usize..nlri.end as usize] {
                        peer.told += 1;
                        peer.attrs.remove(&nlri.prefix.into());
                    }
                }
                BatchItem::Announce {
                    attrs,
                    nlri,
                    next_hop,
                    ..
                } => {
                    let bytes = &batch.attr_bytes[attrs.start as usize..attrs.end as usize];
                    let attrs = AttrView::new(bytes);
                    for nlri in &batch.ipv4[nlri.start as usize..nlri.end as usize] {
                        peer.told += 1;
                        peer.attrs.insert(nlri.prefix.into(), (bytes.to_vec(), *next_hop));
                        match attrs.otc() {
                            Some(otc) => drop(peer.otc.insert(nlri.prefix, otc)),
                            None => drop(peer.otc.remove(&nlri.prefix)),
                        }
                        peer.held
                            .insert((nlri.prefix, nlri.path_id), attrs.communities().collect());
                    }
                }
                BatchItem::Withdraw { nlri, .. } => {
                    for nlri in &batch.ipv4[nlri.start as usize..nlri.end as usize] {
                        peer.told += 1;
                        peer.attrs.remove(&nlri.prefix.into());
                        peer.held.remove(&(nlri.prefix, nlri.path_id));
                    }
                }
                BatchItem::EndOfRib(_) => {
                    peer.end_of_rib = true;
                    peer.held_at_end = peer.held.len();
                }
                other => panic!("an UPDATE that holds {other:?}"),
            }
        }
        self.rib.handle_drained(PeerId(id));
    }

    /// What a peer holds, by the tags of the routes.
    pub(crate) fn tags(&self, id: u32) -> BTreeMap<Ipv4Net, Vec<u32>> {
        let mut tags: BTreeMap<Ipv4Net, Vec<u32>> = BTreeMap::new();
        for ((prefix, _), communities) in &self.peers[&id].held {
            let tag = communities.iter().find(|&&c| c < 0xffff_0000).copied();
            tags.entry(*prefix).or_default().push(tag.unwrap_or(0));
        }
        tags.values_mut().for_each(|tags| tags.sort_unstable());
        tags
    }

    /// Whether everything that is kept up step by step is as it should be.
    pub(crate) fn verify(&self) {
        assert_eq!(self.rib.verify(), Vec::<String>::new());
    }

    /// The prefixes that a peer holds with this community.
    pub(crate) fn holds_with(&self, id: u32, community: u32) -> Vec<IpNet> {
        let held = &self.peers[&id].held;
        let with = held
            .iter()
            .filter(|(_, communities)| communities.contains(&community));
        with.map(|((prefix, _), _)| IpNet::from(*prefix)).collect()
    }
}

fn nlri(prefix: Ipv4Net) -> Nlri<Ipv4Net> {
    Nlri { prefix, path_id: 0 }
}

fn options(add_path: bool) -> EncodeOptions {
    EncodeOptions {
        four_octet_as: true,
        add_path: families(add_path),
        max_message_len: 4096,
    }
}

fn decode_options(add_path: bool, is_external: bool) -> DecodeOptions {
    DecodeOptions {
        four_octet_as: true,
        add_path: families(add_path),
        families: Family::ALL.into_iter().collect(),
        extended_next_hop: false,
        is_external,
    }
}

fn families(is_on: bool) -> FamilySet {
    if is_on {
        FamilySet::only(Family::Ipv4Unicast)
    } else {
        FamilySet::EMPTY
    }
}

/// The bodies of the UPDATEs in a run of messages; others (ROUTE-REFRESH) are passed over.
fn updates(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut bodies = Vec::new();
    while !bytes.is_empty() {
        let len = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
        if bytes[18] == UPDATE {
            bodies.push(&bytes[HEADER_LEN..len]);
        }
        bytes = &bytes[len..];
    }
    bodies
}
