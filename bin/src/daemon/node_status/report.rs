//! The status of a CalicoNodeStatus object, in Calico's words. Pure: facts in, JSON out.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use pipit_bgp::{Family, FamilyMap};
use pipit_datastore::model::StatusClass;
use serde_json::{Map, Value, json};

use crate::control::protocol::{DaemonStatus, PeerItem, PeerKind, PeerState, RouteItem};

/// What there is to say about this node.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The daemon.
    pub daemon: DaemonStatus,
    /// When the configuration last changed.
    pub reconfigured: Option<Timestamp>,
    /// Families of which the node has an address.
    pub enabled: FamilyMap<bool>,
    /// Whether peers that have not spoken yet are still waited for after a restart.
    pub is_recovering: bool,
    /// All peers; needed for every class but `Agent`.
    pub peers: Vec<PeerItem>,
    /// Paths; needed for `Routes`.
    pub routes: Vec<RouteItem>,
    /// How packets leave, where that is known.
    pub exits: Exits,
}

/// How packets leave.
#[derive(Clone, Debug, Default)]
pub struct Exits {
    /// Of the path in use to a prefix, as it is in the kernel.
    pub of_prefix: HashMap<IpNet, Exit>,
    /// Of any path with this BGP next hop, and of a learned route to this address.
    pub of_address: HashMap<IpAddr, Exit>,
}

/// How packets leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Gateway; `None`: there is none.
    pub gateway: Option<IpAddr>,
    /// Device, or `blackhole`.
    pub interface: String,
}

/// The status without `lastUpdated`: what was asked for, and nothing else.
pub fn status(classes: &[StatusClass], facts: &Facts) -> Map<String, Value> {
    let mut status = Map::new();
    if classes.contains(&StatusClass::Agent) {
        let agent = json!({
            "birdV4": agent(facts, Family::Ipv4Unicast),
            "birdV6": agent(facts, Family::Ipv6Unicast),
        });
        status.insert("agent".to_owned(), agent);
    }
    if classes.contains(&StatusClass::Bgp) {
        status.insert("bgp".to_owned(), bgp(&facts.peers));
    }
    if classes.contains(&StatusClass::Routes) {
        status.insert("routes".to_owned(), routes(facts));
    }
    status
}

/// Whether a stored status says the same, whenever it was written.
pub fn says_the_same(stored: Option<&Value>, new: &Map<String, Value>) -> bool {
    let Some(Value::Object(stored)) = stored else {
        return false;
    };
    let beside_the_time =
        |map: &Map<String, Value>| map.iter().filter(|(name, _)| *name != "lastUpdated").count();
    beside_the_time(stored) == beside_the_time(new)
        && new
            .iter()
            .filter(|(name, _)| *name != "lastUpdated")
            .all(|(name, value)| stored.get(name) == Some(value))
}

fn agent(facts: &Facts, family: Family) -> Value {
    // As with Calico, where BIRD of a family runs only if the node has an address of it.
    if !facts.enabled[family] {
        return json!({ "state": "NotReady" });
    }
    let mut agent = Map::new();
    let state = if facts.is_recovering { "NotReady" } else { "Ready" };
    agent.insert("state".to_owned(), state.into());
    let version = format!("pipit {}", facts.daemon.version);
    agent.insert("version".to_owned(), version.into());
    if let Some(router_id) = facts.daemon.router_id {
        agent.insert("routerID".to_owned(), router_id.to_string().into());
    }
    agent.insert("lastBootTime".to_owned(), text(facts.daemon.started).into());
    if let Some(reconfigured) = facts.reconfigured {
        agent.insert("lastReconfigurationTime".to_owned(), text(reconfigured).into());
    }
    Value::Object(agent)
}

fn bgp(peers: &[PeerItem]) -> Value {
    let of = |family: Family| {
        let of_family = move |peer: &&PeerItem| Family::of(peer.address) == family;
        peers.iter().filter(of_family)
    };
    let established = |family| {
        of(family)
            .filter(|peer| peer.state == PeerState::Established)
            .count()
    };
    let count = |family| of(family).count();
    let list = |family| of(family).map(peer).collect::<Vec<Value>>();
    let (v4, v6) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
    let mut bgp = json!({
        "numberEstablishedV4": established(v4),
        "numberNotEstablishedV4": count(v4) - established(v4),
        "numberEstablishedV6": established(v6),
        "numberNotEstablishedV6": count(v6) - established(v6),
    });
    for (name, list) in [("peersV4", list(v4)), ("peersV6", list(v6))] {
        if !list.is_empty() {
            bgp[name] = list.into();
        }
    }
    bgp
}

fn peer(peer: &PeerItem) -> Value {
    json!({
        "peerIP": peer.address,
        "type": peer_type(peer.kind),
        "state": peer.state.name(),
        "since": text(peer.since),
    })
}

/// Calico has no word for a workload's session: it is one of this node alone.
fn peer_type(kind: PeerKind) -> &'static str {
    match kind {
        PeerKind::Mesh => "NodeMesh",
        PeerKind::Node | PeerKind::LocalWorkload => "NodePeer",
        PeerKind::Global => "GlobalPeer",
    }
}

fn routes(facts: &Facts) -> Value {
    let peers: HashMap<&str, &PeerItem> = facts
        .peers
        .iter()
        .map(|peer| (peer.name.as_str(), peer))
        .collect();
    let mut lists: FamilyMap<Vec<Value>> = FamilyMap::default();
    for item in &facts.routes {
        lists[item.family].push(route(item, peers.get(item.peer.as_str()).copied(), &facts.exits));
    }
    let mut routes = Map::new();
    for (name, list) in [("routesV4", lists.ipv4), ("routesV6", lists.ipv6)] {
        if !list.is_empty() {
            routes.insert(name.to_owned(), list.into());
        }
    }
    Value::Object(routes)
}

fn route(item: &RouteItem, peer: Option<&PeerItem>, exits: &Exits) -> Value {
    let destination = item.prefix.addr();
    let of_address = || match item.next_hop {
        Some(next_hop) => exits.of_address.get(&next_hop),
        None if is_learned(item) => exits.of_address.get(&destination),
        None => None,
    };
    let exit = match item.best {
        true => exits.of_prefix.get(&item.prefix).or_else(of_address),
        false => of_address(),
    };
    let gateway = exit.and_then(|exit| exit.gateway).or(item.next_hop);
    // What is on the link is its own gateway: none.
    let gateway = gateway.filter(|gateway| !is_learned(item) || *gateway != destination);
    let interface = match (exit, item.next_hop) {
        (Some(exit), _) => exit.interface.clone(),
        // A route that nothing leads to, and one of our own that the kernel does not have: a service's range.
        (None, Some(_)) => "unreachable".to_owned(),
        (None, None) => "blackhole".to_owned(),
    };
    let mut learned_from = Map::new();
    learned_from.insert("sourceType".to_owned(), source_type(item, peer).into());
    if let Some(peer) = peer {
        learned_from.insert("peerIP".to_owned(), json!(peer.address));
    }
    json!({
        "type": if item.best { "FIB" } else { "RIB" },
        "destination": item.prefix,
        "gateway": gateway.map_or_else(|| "N/A".to_owned(), |gateway| gateway.to_string()),
        "interface": interface,
        "learnedFrom": learned_from,
    })
}

/// A route of another program on this node, or a connected network.
pub fn is_learned(item: &RouteItem) -> bool {
    matches!(item.peer.as_str(), "kernel" | "direct")
}

fn source_type(item: &RouteItem, peer: Option<&PeerItem>) -> &'static str {
    match (peer.map(|peer| peer.kind), item.peer.as_str()) {
        (Some(PeerKind::Mesh), _) => "NodeMesh",
        (Some(PeerKind::Node | PeerKind::Global | PeerKind::LocalWorkload), _) => "BGPPeer",
        (None, "kernel") => "Kernel",
        (None, "direct") => "Direct",
        // Of a peer that has gone since its routes were read.
        (None, _) if item.next_hop.is_some() => "BGPPeer",
        (None, _) => "Static",
    }
}

/// BIRD's long form of a time.
fn text(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

#[cfg(test)]
mod tests;
