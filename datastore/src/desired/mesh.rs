//! The node-to-node mesh: a session with every other node that is no reflector.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use pipit_bgp::session::config::Secret;
use pipit_bgp::{Asn, Family, FamilyMap};

use super::context::Context;
use super::problems::Problem;
use super::session::{Held, Session, SessionSource};
use crate::model::{NextHopMode, Node, PeerExtensions, PeerType, SecretRef};

/// What a BGPConfiguration says about mesh sessions. One for all, so that comparing two plans compares pointers.
static NO_EXTENSIONS: LazyLock<Arc<PeerExtensions>> = LazyLock::new(Arc::default);

/// All mesh sessions, also those that a BGPPeer takes the place of: those depend on more than the mesh does, and in
/// a large cluster the mesh should not be computed anew with every BGPPeer.
#[derive(Clone, Debug, Default)]
pub(super) struct Mesh {
    /// By name.
    pub(super) sessions: FamilyMap<Arc<Vec<Arc<Session>>>>,
    /// Nodes without a session of their own because others have their address.
    pub(super) clashes: Vec<Problem>,
    neighbours: FamilyMap<Neighbours>,
    shared: Option<Shared>,
}

/// What the sessions of a family are made of.
type Neighbours = HashMap<IpAddr, Neighbour, foldhash::fast::RandomState>;

/// What all mesh sessions have in common.
#[derive(Clone, PartialEq, Debug)]
struct Shared {
    resource: Arc<str>,
    own: FamilyMap<Option<IpAddr>>,
    local_asn: Asn,
    restart_secs: Option<u64>,
    password_ref: Option<Arc<SecretRef>>,
    password: Option<Arc<Secret>>,
    no_filters: Arc<[String]>,
}

/// What differs from one mesh session to another besides the address.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Neighbour {
    asn: Option<Asn>,
    port: Option<u16>,
}

impl Mesh {
    /// The password that is asked for and not at hand.
    pub(super) fn missing_password(&self) -> Option<&SecretRef> {
        let shared = self.shared.as_ref()?;
        let reference = shared.password_ref.as_deref();
        reference.filter(|_| shared.password.is_none())
    }
}

/// Computes the mesh; reflectors have none. What is as it was in `last` is taken from there.
pub(super) fn mesh(context: &Context<'_>, last: Option<Mesh>) -> Mesh {
    if !is_on(context) {
        return Mesh::default();
    }
    let reference = context.cluster.mesh_password.as_ref();
    let shared = Shared {
        resource: "BGPConfiguration/default".into(),
        own: context.addresses(),
        local_asn: context.local_asn(),
        restart_secs: context.cluster.mesh_restart_secs,
        password_ref: reference.cloned().map(Arc::new),
        password: reference.and_then(|reference| context.password(reference)),
        no_filters: Arc::default(),
    };
    let last = last
        .filter(|last| last.shared.as_ref() == Some(&shared))
        .unwrap_or_default();
    let mut mesh = Mesh {
        shared: Some(shared.clone()),
        ..last
    };
    mesh.clashes.clear();
    for family in Family::ALL {
        let wanted = neighbours(context, family, shared.own[family], &mut mesh.clashes);
        if wanted != mesh.neighbours[family] {
            mesh.sessions[family] = Arc::new(sessions(&wanted, family, &shared, &mesh));
            mesh.neighbours[family] = wanted;
        }
    }
    mesh
}

/// The sessions of a family by name. Those of `last`, which are in order, are kept where nothing changed: to name
/// and sort thousands of them again would take most of the time after an event.
fn sessions(wanted: &Neighbours, family: Family, shared: &Shared, last: &Mesh) -> Vec<Arc<Session>> {
    let had = &last.neighbours[family];
    let is_same = |address: &IpAddr| had.get(address) == wanted.get(address);
    let kept: Vec<_> = last.sessions[family]
        .iter()
        .filter(|session| is_same(&session.address))
        .cloned()
        .collect();
    let Some(own) = shared.own[family] else {
        return kept;
    };
    let own_text = own.to_string();
    let mut sessions: Vec<_> = wanted
        .iter()
        .filter(|(address, _)| !is_same(address))
        .map(|(&address, &neighbour)| Arc::new(session(address, neighbour, (own, &own_text), shared)))
        .collect();
    sessions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    merge(kept, sessions)
}

/// Brings two lists in the order of names together. The second is usually short.
pub(super) fn merge(long: Vec<Arc<Session>>, short: Vec<Arc<Session>>) -> Vec<Arc<Session>> {
    if long.is_empty() {
        return short;
    }
    let mut merged = Vec::with_capacity(long.len() + short.len());
    let mut rest = &long[..];
    for session in short {
        let (before, behind) = rest.split_at(rest.partition_point(|other| other.name < session.name));
        merged.extend_from_slice(before);
        merged.push(session);
        rest = behind;
    }
    merged.extend_from_slice(rest);
    merged
}

/// Whether the node takes part.
pub(super) fn is_on(context: &Context<'_>) -> bool {
    context.cluster.is_mesh_enabled.unwrap_or(true) && context.cluster_id().is_none()
}

/// The other nodes in the mesh, with their addresses. Two of them may have the same.
pub(super) fn others<'c>(
    context: &Context<'c>,
    family: Family,
    own: IpAddr,
) -> impl Iterator<Item = (IpAddr, &'c str, &'c Node)> {
    context.cache.nodes().filter_map(move |(name, node)| {
        let address = node.addresses[family]?.addr();
        let is_other = address != own && node.cluster_id.is_none();
        is_other.then_some((address, &**name, node))
    })
}

fn neighbours(
    context: &Context<'_>,
    family: Family,
    own: Option<IpAddr>,
    clashes: &mut Vec<Problem>,
) -> Neighbours {
    let mut neighbours = Neighbours::default();
    let Some(own) = own else {
        return neighbours;
    };
    let mut shadowed = Vec::new();
    for (address, name, node) in others(context, family, own) {
        match neighbours.entry(address) {
            Entry::Vacant(entry) => {
                entry.insert(Neighbour {
                    asn: Some(context.asn_of(node)),
                    port: context.listen_port_of(name),
                });
            }
            // Of two nodes with one address the alphabetically first has the session.
            Entry::Occupied(_) => shadowed.push((address, name)),
        }
    }
    clashes.extend(clashes_of(context, family, own, &shadowed));
    neighbours
}

/// Nodes that have the address of this one or, `shadowed`, of one that comes first.
fn clashes_of(
    context: &Context<'_>,
    family: Family,
    own: IpAddr,
    shadowed: &[(IpAddr, &str)],
) -> Vec<Problem> {
    let clash = |name: &str, message| Problem {
        resource: format!("Node/{name}"),
        field: match family {
            Family::Ipv4Unicast => "spec.bgp.ipv4Address".to_owned(),
            Family::Ipv6Unicast => "spec.bgp.ipv6Address".to_owned(),
        },
        message,
    };
    let of_this_node = context.cache.nodes().filter_map(|(name, node)| {
        let is_ours = node.addresses[family]?.addr() == own && **name != *context.name;
        let message = || format!("it has this node's address {own}: there is no session with it");
        is_ours.then(|| clash(name, message()))
    });
    let mut clashes: Vec<_> = of_this_node.collect();
    if !shadowed.is_empty() {
        let mut first = HashMap::new();
        for (address, name, _) in others(context, family, own) {
            first.entry(address).or_insert(name);
        }
        clashes.extend(shadowed.iter().filter_map(|(address, name)| {
            let first = first.get(address)?;
            let message = format!("it has the address {address} of Node/{first}, whose session it is");
            Some(clash(name, message))
        }));
    }
    clashes
}

fn session(
    address: IpAddr,
    Neighbour { asn, port }: Neighbour,
    (own, own_text): (IpAddr, &str),
    shared: &Shared,
) -> Session {
    let text = address.to_string();
    let is_unauthenticated = shared.password_ref.is_some() && shared.password.is_none();
    Session {
        name: Session::name(SessionSource::Mesh, &text, None, None),
        source: SessionSource::Mesh,
        resource: shared.resource.clone(),
        address,
        port,
        asn,
        local_asn: shared.local_asn,
        peer_type: match asn == Some(shared.local_asn) {
            true => PeerType::Internal,
            false => PeerType::External,
        },
        source_address: Some(own),
        // Text, not number: the BIRD at the other end compares like this, and one of the two must dial.
        passive: text.as_str() > own_text,
        route_reflector_client: false,
        next_hop: NextHopMode::Auto,
        authenticated: shared.password.is_some(),
        password_ref: shared.password_ref.clone(),
        ttl_security_hops: None,
        graceful_restart_secs: shared.restart_secs,
        keepalive_secs: None,
        allowed_local_as: 0,
        import_filters: shared.no_filters.clone(),
        export_filters: shared.no_filters.clone(),
        other_import_filters: shared.no_filters.clone(),
        other_export_filters: shared.no_filters.clone(),
        held: is_unauthenticated.then_some(Held::PasswordMissing),
        interface: None,
        password: shared.password.clone(),
        extensions: NO_EXTENSIONS.clone(),
    }
}
