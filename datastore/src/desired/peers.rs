//! BGPPeers to sessions, each with why it exists, and the mesh for the neighbours that are left.
//!
//! Candidates come in the order of precedence: global BGPPeers, those for some nodes, reverse peering; within a
//! class by name. The first one for an address and port gets the session, the mesh gets what is left.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use pipit_bgp::session::config::Secret;
use pipit_bgp::{Asn, ClusterId, Family, FamilyMap};

use super::HostRoute;
use super::context::Context;
use super::mesh::{self, Mesh};
use super::neighbours::{Class, Neighbour, NeighbourKind, Neighbours, Slot};
use super::problems::{Problem, ProblemSet};
use super::session::{Held, Session, SessionSource};
use crate::model::{BgpPeer, NextHopMode, PeerExtensions, PeerType, SecretRef};

/// The sessions of both families, and what comes with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    /// By name.
    pub(super) peers: FamilyMap<Arc<Vec<Arc<Session>>>>,
    pub(super) host_routes: FamilyMap<Vec<HostRoute>>,
    pub(super) problems: ProblemSet,
    pub(super) clashes: Vec<Problem>,
}

/// Computes all sessions of the node.
pub(super) fn sessions(context: &Context<'_>, mesh: &Mesh) -> Sessions {
    Builder::with_peers(context).finish(mesh)
}

/// The problems of [`sessions`] alone, for which no mesh has to be made.
pub(super) fn problems(context: &Context<'_>) -> ProblemSet {
    let mut builder = Builder::with_peers(context);
    for family in Family::ALL {
        builder.mesh_problems(family);
    }
    builder.problems
}

/// What all sessions of one BGPPeer and family have in common.
struct Shared {
    resource: Arc<str>,
    extensions: Arc<PeerExtensions>,
    filters: Filters,
    /// Of the other family, if the sessions carry it.
    other_filters: Filters,
    password_ref: Option<Arc<SecretRef>>,
    password: Option<Arc<Secret>>,
}

/// A BGPPeer's filters in one family.
#[derive(Default)]
struct Filters {
    /// Those with rules for it, in the BGPPeer's order.
    import: Arc<[String]>,
    export: Arc<[String]>,
    /// Whether one of them cannot be read.
    has_invalid: bool,
}

struct Builder<'c> {
    context: &'c Context<'c>,
    addresses: FamilyMap<Option<IpAddr>>,
    local_asn: Asn,
    /// Who has each slot: the class and name of a BGPPeer.
    slots: HashMap<Slot, (Class, &'c str)>,
    /// BGPPeers with a session to an address, with the field that asks for it.
    by_address: HashMap<IpAddr, Vec<(&'c str, &'static str)>>,
    neighbours: Neighbours<'c>,
    sessions: FamilyMap<Vec<Arc<Session>>>,
    host_routes: FamilyMap<BTreeMap<IpNet, IpAddr>>,
    problems: ProblemSet,
}

impl<'c> Builder<'c> {
    fn new(context: &'c Context<'c>) -> Self {
        Builder {
            context,
            addresses: context.addresses(),
            local_asn: context.local_asn(),
            slots: HashMap::new(),
            by_address: HashMap::new(),
            neighbours: Neighbours::new(context),
            sessions: FamilyMap::default(),
            host_routes: FamilyMap::default(),
            problems: ProblemSet::default(),
        }
    }

    /// The sessions of all BGPPeers.
    fn with_peers(context: &'c Context<'c>) -> Self {
        let mut builder = Builder::new(context);
        for class in [Class::Global, Class::Node, Class::Reverse] {
            for (name, peer) in context.cache.peers() {
                builder.peer(class, name, peer);
            }
        }
        builder
    }

    /// Makes the sessions of one BGPPeer that belong to a class.
    fn peer(&mut self, class: Class, name: &'c str, peer: &'c BgpPeer) {
        let neighbours = match class {
            Class::Reverse => self.neighbours.reverse(peer),
            Class::Global | Class::Node if self.neighbours.class_of(peer) == Some(class) => {
                self.neighbours.of_class(class, name, peer)
            }
            Class::Global | Class::Node => return,
        };
        let mut shared: FamilyMap<Option<Shared>> = FamilyMap::default();
        for neighbour in neighbours {
            if !self.take_slot(class, name, peer, &neighbour) {
                continue;
            }
            let family = Family::of(neighbour.slot.address);
            if shared[family].is_none() {
                shared[family] = Some(self.shared(class, name, peer, family, neighbour.kind));
            }
            if let Some(shared) = &shared[family] {
                self.session(class, peer, neighbour, shared);
            }
        }
    }

    /// Whether the neighbour's session is this BGPPeer's to make. Says so when another one was first.
    fn take_slot(&mut self, class: Class, name: &'c str, peer: &BgpPeer, neighbour: &Neighbour) -> bool {
        let address = neighbour.slot.address;
        match self.addresses[Family::of(address)] {
            None => return false,
            Some(own) if own == address => return false,
            Some(_) => {}
        }
        match self.slots.entry(neighbour.slot.clone()) {
            Entry::Vacant(slot) => {
                slot.insert((class, name));
                let asks = (name, peer.remote.field());
                let askers = self.by_address.entry(address).or_default();
                if !askers.contains(&asks) {
                    askers.push(asks);
                }
                true
            }
            Entry::Occupied(slot) => {
                let (_, first) = *slot.get();
                // A reverse session that an operator also configured himself is what he meant.
                if first != name && class != Class::Reverse {
                    let message =
                        format!("BGPPeer/{first} already makes the session with {address}; that one counts");
                    self.problems
                        .add(format!("BGPPeer/{name}"), peer.remote.field(), message);
                }
                false
            }
        }
    }

    fn shared(
        &mut self,
        class: Class,
        name: &str,
        peer: &BgpPeer,
        family: Family,
        kind: NeighbourKind,
    ) -> Shared {
        let resource = format!("BGPPeer/{name}");
        let filters = self.filters(&resource, peer, family);
        let is_carried = |family: &Family| {
            let carried = peer.extensions.families;
            carried.is_some_and(|families| families.contains(*family))
        };
        let mut others = Family::ALL.into_iter().filter(|other| *other != family);
        let other_filters = match others.find(is_carried) {
            Some(other) => self.filters(&resource, peer, other),
            None => Filters::default(),
        };
        let password_ref = peer
            .password
            .as_ref()
            .filter(|_| kind != NeighbourKind::LocalWorkload);
        let password = password_ref.and_then(|reference| self.context.password(reference));
        if let (Some(reference), None) = (password_ref, &password) {
            self.report_password(&resource, "spec.password", reference);
        }
        // The AS of a node is always known, that of an address or a workload only from here.
        if peer.asn.is_none() && kind != NeighbourKind::Node {
            let message = "the neighbour's AS is missing; the session is held";
            self.problems.add(&resource, "spec.asNumber", message);
        }
        Shared {
            resource: resource.into(),
            extensions: Arc::new(match class {
                Class::Reverse => peer.extensions.mirrored(),
                Class::Global | Class::Node => peer.extensions.clone(),
            }),
            filters,
            other_filters,
            password_ref: password_ref.cloned().map(Arc::new),
            password,
        }
    }

    fn filters(&mut self, resource: &str, peer: &BgpPeer, family: Family) -> Filters {
        let (mut import, mut export) = (Vec::new(), Vec::new());
        let mut has_invalid = false;
        for name in &peer.filters {
            let Some(stored) = self.context.cache.filter(name) else {
                let message = format!("there is no BGPFilter {name}; the name is skipped");
                self.problems.add(resource, "spec.filters", message);
                continue;
            };
            let filter = stored.object.as_ref();
            match filter.and_then(|filter| filter.rules[family].as_ref()) {
                None => has_invalid = true,
                Some(rules) => {
                    if !rules.import.is_empty() {
                        import.push(name.clone());
                    }
                    if !rules.export.is_empty() {
                        export.push(name.clone());
                    }
                }
            }
        }
        Filters {
            import: import.into(),
            export: export.into(),
            has_invalid,
        }
    }

    fn report_password(&mut self, resource: &str, field: &str, reference: &SecretRef) {
        let trouble = self.context.password_trouble(reference);
        let message = format!("{trouble}; sessions that need it are held");
        self.problems.add(resource, field, message);
    }

    fn session(&mut self, class: Class, peer: &BgpPeer, neighbour: Neighbour, shared: &Shared) {
        let Slot {
            address,
            interface,
            port,
        } = neighbour.slot;
        let family = Family::of(address);
        let is_address = neighbour.kind == NeighbourKind::Address;
        let is_workload = neighbour.kind == NeighbourKind::LocalWorkload;
        let source = match class {
            _ if is_workload => SessionSource::LocalWorkload,
            Class::Global => SessionSource::Global,
            Class::Node | Class::Reverse => SessionSource::Node,
        };
        let local_asn = match neighbour.kind {
            NeighbourKind::Node => self.local_asn,
            _ => peer.local_asn.unwrap_or(self.local_asn),
        };
        let peer_type = match neighbour.asn == Some(local_asn) {
            true => PeerType::Internal,
            false => PeerType::External,
        };
        let held = [
            (neighbour.asn.is_none(), Held::AsnMissing),
            (
                shared.filters.has_invalid || shared.other_filters.has_invalid,
                Held::FilterInvalid,
            ),
            (
                shared.password_ref.is_some() && shared.password.is_none(),
                Held::PasswordMissing,
            ),
        ];
        if let Some(via) = peer
            .reachable_by
            .filter(|via| !is_workload && Family::of(*via) == family)
        {
            self.host_routes[family]
                .entry(IpNet::from(address))
                .or_insert(via);
        }
        let uses_node_ip = peer.uses_node_ip && !is_workload && interface.is_none();
        let session = Session {
            name: Session::name(source, &address.to_string(), interface.as_deref(), port),
            source,
            resource: shared.resource.clone(),
            address,
            port,
            asn: neighbour.asn,
            local_asn,
            peer_type,
            source_address: self.addresses[family].filter(|_| uses_node_ip),
            passive: neighbour.passive,
            route_reflector_client: self.is_client(peer_type, neighbour.cluster_id),
            next_hop: match is_workload {
                true => NextHopMode::Auto,
                false => next_hop(peer, peer_type),
            },
            authenticated: shared.password.is_some(),
            password_ref: shared.password_ref.clone(),
            ttl_security_hops: peer.ttl_security_hops.filter(|_| !is_workload),
            graceful_restart_secs: peer.restart_secs.filter(|_| !is_workload),
            keepalive_secs: peer.keepalive_secs.filter(|_| !is_workload),
            allowed_local_as: if is_address { peer.allowed_local_as } else { 0 },
            import_filters: shared.filters.import.clone(),
            export_filters: shared.filters.export.clone(),
            other_import_filters: shared.other_filters.import.clone(),
            other_export_filters: shared.other_filters.export.clone(),
            held: held
                .into_iter()
                .find_map(|(is_held, reason)| is_held.then_some(reason)),
            interface,
            password: shared.password.clone(),
            extensions: shared.extensions.clone(),
        };
        self.sessions[family].push(Arc::new(session));
    }

    /// On a reflector: iBGP, and not known to be a reflector of the same cluster.
    fn is_client(&self, peer_type: PeerType, cluster_id: Option<ClusterId>) -> bool {
        self.context
            .cluster_id()
            .is_some_and(|ours| peer_type == PeerType::Internal && cluster_id != Some(ours))
    }

    /// The sessions of a family by name: the mesh has those neighbours with which no BGPPeer makes a session.
    fn with_mesh(&mut self, family: Family, mesh: &Mesh) -> Arc<Vec<Arc<Session>>> {
        let mesh_sessions = &mesh.sessions[family];
        let mut sessions = std::mem::take(&mut self.sessions[family]);
        if sessions.is_empty() {
            self.report_missing_password(mesh.missing_password(), mesh_sessions.len());
            return mesh_sessions.clone();
        }
        sessions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut left = Vec::with_capacity(mesh_sessions.len());
        for session in mesh_sessions.iter() {
            if !self.is_taken_from_mesh(session.address) {
                left.push(session.clone());
            }
        }
        self.report_missing_password(mesh.missing_password(), left.len());
        Arc::new(mesh::merge(left, sessions))
    }

    /// What [`Builder::with_mesh`] reports.
    fn mesh_problems(&mut self, family: Family) {
        let Some(own) = self.addresses[family].filter(|_| mesh::is_on(self.context)) else {
            return;
        };
        let mut left = 0;
        for (address, _, _) in mesh::others(self.context, family, own) {
            left += usize::from(!self.is_taken_from_mesh(address));
        }
        let reference = self.context.cluster.mesh_password.as_ref();
        let missing = reference.filter(|reference| self.context.password(reference).is_none());
        self.report_missing_password(missing, left);
    }

    /// Whether a BGPPeer makes the session with a neighbour in the mesh, which is then reported.
    fn is_taken_from_mesh(&mut self, address: IpAddr) -> bool {
        let Some(askers) = self.by_address.get(&address) else {
            return false;
        };
        for (peer, field) in askers {
            let message = format!("its session with {address} takes the place of the mesh session");
            self.problems.add(format!("BGPPeer/{peer}"), *field, message);
        }
        true
    }

    /// Only a password that some session needs is missed.
    fn report_missing_password(&mut self, missing: Option<&SecretRef>, session_count: usize) {
        if let Some(reference) = missing.filter(|_| session_count > 0) {
            self.report_password("BGPConfiguration/default", "spec.nodeMeshPassword", reference);
        }
    }

    fn finish(mut self, mesh: &Mesh) -> Sessions {
        let ipv4 = self.with_mesh(Family::Ipv4Unicast, mesh);
        let ipv6 = self.with_mesh(Family::Ipv6Unicast, mesh);
        let routes = |routes: BTreeMap<IpNet, IpAddr>| {
            let route = |(prefix, via)| HostRoute { prefix, via };
            routes.into_iter().map(route).collect()
        };
        Sessions {
            peers: FamilyMap { ipv4, ipv6 },
            host_routes: FamilyMap {
                ipv4: routes(self.host_routes.ipv4),
                ipv6: routes(self.host_routes.ipv6),
            },
            problems: self.problems,
            clashes: mesh.clashes.clone(),
        }
    }
}

/// `keepOriginalNextHop` is the old form: eBGP only, and nothing beside `nextHopMode`.
fn next_hop(peer: &BgpPeer, peer_type: PeerType) -> NextHopMode {
    match peer.next_hop_mode {
        Some(mode) => mode,
        None if peer.keeps_original_next_hop && peer_type == PeerType::External => NextHopMode::Keep,
        None => NextHopMode::Auto,
    }
}
