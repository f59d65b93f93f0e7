//! BGPPeer: sessions that an operator asked for.

use std::net::IpAddr;

use pipit_bgp::{Asn, Family};
use serde::Serialize;
use serde_json::Value;

use super::Resource;
use super::annotations::PeerExtensions;
use super::fields::{Fields, Parsed, Problems};
use super::scalar::{self, Read, ScalarError, show};
use crate::selector::Selector;

/// A readable BGPPeer.
#[derive(Clone, PartialEq, Debug)]
pub struct BgpPeer {
    /// Which nodes have the sessions.
    pub local: LocalNodes,
    /// With whom.
    pub remote: RemotePeers,
    /// `asNumber`; zero counts as missing.
    pub asn: Option<Asn>,
    /// `localASNumber`.
    pub local_asn: Option<Asn>,
    /// `keepOriginalNextHop`.
    pub keeps_original_next_hop: bool,
    /// `nextHopMode`, `None` when it is not set.
    pub next_hop_mode: Option<NextHopMode>,
    /// `password.secretKeyRef`.
    pub password: Option<SecretRef>,
    /// `sourceAddress`: false for None, where the kernel chooses.
    pub uses_node_ip: bool,
    /// `maxRestartTime` in seconds.
    pub restart_secs: Option<u64>,
    /// `keepaliveTime` in seconds.
    pub keepalive_secs: Option<u64>,
    /// `numAllowedLocalASNumbers`; zero: none.
    pub allowed_local_as: u32,
    /// `ttlSecurity`; zero counts as missing.
    pub ttl_security_hops: Option<u8>,
    /// `reachableBy`.
    pub reachable_by: Option<IpAddr>,
    /// `filters`, in order.
    pub filters: Vec<String>,
    /// Whether `reversePeering` is Auto.
    pub is_reversed: bool,
    /// `pipit.io/` annotations.
    pub extensions: PeerExtensions,
}

/// Which nodes have a BGPPeer's sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalNodes {
    /// Neither `node` nor `nodeSelector`: every node.
    Global,
    /// `node`.
    Named(String),
    /// `nodeSelector`, as written; matches no node when it does not parse.
    Selected(String),
}

/// With whom a BGPPeer makes sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RemotePeers {
    /// `peerIP`.
    Address(PeerAddress),
    /// `peerSelector`, as written; matches no node when it does not parse.
    Selected(String),
    /// `localWorkloadSelector`: which workloads, Felix decides.
    LocalWorkloads,
}

impl RemotePeers {
    /// The field that says it.
    pub fn field(&self) -> &'static str {
        match self {
            RemotePeers::Address(_) => "spec.peerIP",
            RemotePeers::Selected(_) => "spec.peerSelector",
            RemotePeers::LocalWorkloads => "spec.localWorkloadSelector",
        }
    }
}

/// `peerIP`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerAddress {
    /// The neighbour.
    pub address: IpAddr,
    /// Port, when the text has one.
    pub port: Option<u16>,
    /// Interface of a link-local address (`fe80::1%eth0`); Calico has no such thing.
    pub interface: Option<String>,
}

/// `nextHopMode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NextHopMode {
    /// As the protocol has it.
    #[default]
    Auto,
    /// Ourselves, always.
    #[serde(rename = "self")]
    SelfAddress,
    /// Unchanged, also to eBGP.
    Keep,
}

impl NextHopMode {
    /// As plans show it.
    pub fn word(self) -> &'static str {
        match self {
            NextHopMode::Auto => "auto",
            NextHopMode::SelfAddress => "self",
            NextHopMode::Keep => "keep",
        }
    }
}

/// Names a value in a Kubernetes Secret. Shown as `SECRET/KEY`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SecretRef {
    /// The Secret.
    pub name: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.name, self.key)
    }
}

impl Serialize for SecretRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Resource for BgpPeer {
    fn parse(value: &Value) -> Parsed<Self> {
        let mut fatal = Problems::default();
        let mut harmless = Problems::default();
        let root = Fields::root(value, "no session is made from this BGPPeer");
        let spec = root.object("spec", &mut fatal);
        let local = local_nodes(&spec, &mut fatal, &mut harmless);
        let remote = remote_peers(&spec, &mut fatal, &mut harmless);
        let reachable_by = reachable_by(&spec, remote.as_ref(), &mut fatal);
        let p = &mut fatal;
        let defaulting = spec.with_consequence("its default counts");
        let peer = BgpPeer {
            local,
            // Without one the object is not readable, but its other fields are still looked at.
            remote: remote.unwrap_or(RemotePeers::LocalWorkloads),
            asn: spec.read("asNumber", p, scalar::asn).flatten(),
            local_asn: spec.read("localASNumber", p, scalar::asn).flatten(),
            keeps_original_next_hop: spec
                .read("keepOriginalNextHop", p, scalar::boolean)
                .unwrap_or(false),
            next_hop_mode: defaulting.read("nextHopMode", &mut harmless, next_hop_mode),
            password: secret_ref(&spec, "password", p),
            uses_node_ip: defaulting
                .read("sourceAddress", &mut harmless, source_address)
                .unwrap_or(true),
            restart_secs: spec.read("maxRestartTime", p, scalar::seconds),
            keepalive_secs: spec.read("keepaliveTime", p, scalar::seconds),
            allowed_local_as: spec
                .read("numAllowedLocalASNumbers", p, scalar::number(0..=0x7fff_ffff))
                .unwrap_or(0),
            ttl_security_hops: spec
                .read("ttlSecurity", p, scalar::number(0..=255))
                .filter(|hops| *hops > 0),
            reachable_by,
            filters: spec.scalars("filters", p, scalar::text),
            is_reversed: defaulting
                .read("reversePeering", &mut harmless, reverse_peering)
                .unwrap_or(true),
            extensions: PeerExtensions::read(&root, &mut harmless),
        };
        let is_readable = fatal.len() == 0;
        fatal.0.append(&mut harmless.0);
        Parsed {
            object: is_readable.then_some(peer),
            problems: fatal.0,
        }
    }
}

/// `nodeSelector` counts before `node`, as in confd; validation forbids both.
fn local_nodes(spec: &Fields<'_>, fatal: &mut Problems, harmless: &mut Problems) -> LocalNodes {
    if let Some(text) = spec.read("nodeSelector", fatal, scalar::text) {
        check_selector(spec, "nodeSelector", &text, harmless);
        return LocalNodes::Selected(text);
    }
    match spec.read("node", fatal, scalar::text) {
        Some(name) => LocalNodes::Named(name),
        None => LocalNodes::Global,
    }
}

/// `None`: not readable, or nothing is said, which is reported as an unreadable `peerIP`.
fn remote_peers(spec: &Fields<'_>, fatal: &mut Problems, harmless: &mut Problems) -> Option<RemotePeers> {
    if let Some(text) = spec.read("peerSelector", fatal, scalar::text) {
        check_selector(spec, "peerSelector", &text, harmless);
        return Some(RemotePeers::Selected(text));
    }
    if spec.value("localWorkloadSelector").is_some() {
        return Some(RemotePeers::LocalWorkloads);
    }
    if spec.value("peerIP").is_none() {
        let message = "peerIP, peerSelector and localWorkloadSelector are all missing; no session is made";
        fatal.add(spec.path("peerIP"), message);
        return None;
    }
    spec.read("peerIP", fatal, peer_address).map(RemotePeers::Address)
}

fn check_selector(spec: &Fields<'_>, name: &str, text: &str, problems: &mut Problems) {
    if let Err(error) = text.parse::<Selector>() {
        problems.add(spec.path(name), format!("{error}; the selector matches no node"));
    }
}

/// With `peerSelector` the gateway serves the sessions of its own family; with `peerIP` it must be of that family.
fn reachable_by(spec: &Fields<'_>, remote: Option<&RemotePeers>, problems: &mut Problems) -> Option<IpAddr> {
    let wanted = match remote {
        Some(RemotePeers::Address(peer)) => Some(Family::of(peer.address)),
        _ => None,
    };
    spec.read("reachableBy", problems, |value| {
        let gateway = scalar::address(value)?;
        match wanted.filter(|family| *family != Family::of(gateway)) {
            Some(family) => Err(ScalarError::WrongFamily {
                found: show(value),
                family,
            }),
            None => Ok(gateway),
        }
    })
}

/// `IP`, `IPv4:port`, `[IPv6]:port`; a link-local address may have `%interface`.
fn peer_address(value: &Value) -> Read<PeerAddress> {
    value
        .as_str()
        .and_then(parse_peer_address)
        .ok_or_else(|| ScalarError::NotAnAddress { found: show(value) })
}

fn parse_peer_address(text: &str) -> Option<PeerAddress> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once("]:")?;
            (host, Some(port))
        }
        None if text.matches(':').count() == 1 => {
            let (host, port) = text.split_once(':')?;
            (host, Some(port))
        }
        None => (text, None),
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
    };
    let (host, interface) = match host.split_once('%') {
        Some((host, interface)) if !interface.is_empty() => (host, Some(interface.to_owned())),
        Some(_) => return None,
        None => (host, None),
    };
    let address = host.parse::<IpAddr>().ok()?.to_canonical();
    let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    (interface.is_none() || is_link_local).then_some(PeerAddress {
        address,
        port,
        interface,
    })
}

/// `{secretKeyRef: {name, key}}`. A reference without a name or key is kept: a session that asks for a password
/// must not run without one.
pub(crate) fn secret_ref(spec: &Fields<'_>, name: &str, problems: &mut Problems) -> Option<SecretRef> {
    let reference = spec.object(name, problems).object("secretKeyRef", problems);
    if reference.is_empty() {
        return None;
    }
    Some(SecretRef {
        name: reference.read("name", problems, scalar::text).unwrap_or_default(),
        key: reference.read("key", problems, scalar::text).unwrap_or_default(),
    })
}

fn next_hop_mode(value: &Value) -> Read<NextHopMode> {
    scalar::word(
        "Auto, Self, Keep",
        &[
            ("Auto", NextHopMode::Auto),
            ("Self", NextHopMode::SelfAddress),
            ("Keep", NextHopMode::Keep),
        ],
    )(value)
}

fn source_address(value: &Value) -> Read<bool> {
    scalar::word("UseNodeIP, None", &[("UseNodeIP", true), ("None", false)])(value)
}

fn reverse_peering(value: &Value) -> Read<bool> {
    scalar::word("Auto, Manual", &[("Auto", true), ("Manual", false)])(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(spec: Value) -> (Option<BgpPeer>, Vec<String>) {
        let parsed = BgpPeer::parse(&json!({"spec": spec}));
        let fields = parsed.problems.into_iter().map(|problem| problem.field).collect();
        (parsed.object, fields)
    }

    #[test]
    fn c051_forms_of_peer_ip() {
        for (text, address, port) in [
            ("10.0.0.1", "10.0.0.1", None),
            ("10.0.0.1:1790", "10.0.0.1", Some(1790)),
            ("fd00::1", "fd00::1", None),
            ("[fd00::1]:1179", "fd00::1", Some(1179)),
        ] {
            let parsed = parse_peer_address(text).unwrap();
            assert_eq!(
                (parsed.address.to_string().as_str(), parsed.port),
                (address, port)
            );
        }
        let scoped = parse_peer_address("[fe80::1%eth0]:179").unwrap();
        assert_eq!(scoped.interface.as_deref(), Some("eth0"));
        for bad in [
            "10.0.0.1:0",
            "10.0.0.1:x",
            "10.0.0.1:",
            "10.0.0.1:70000",
            "[fd00::1]",
            "fd00::1%eth0",
            "tor",
            "10.0.0.1/32",
            "10.0.0.1:+1",
            "[10.0.0.1",
            "fe80::1%",
        ] {
            assert_eq!(parse_peer_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_unreadable_field_takes_the_sessions_away_and_names_itself() {
        for (field, value) in [
            ("peerIP", json!("x")),
            ("asNumber", json!("x")),
            ("localASNumber", json!(-1)),
            ("maxRestartTime", json!("2")),
            ("keepaliveTime", json!(10)),
            ("reachableBy", json!("x")),
            ("reachableBy", json!("fd00::1")),
            ("ttlSecurity", json!(256)),
            ("numAllowedLocalASNumbers", json!(-1)),
        ] {
            let mut spec = json!({"peerIP": "10.0.0.1", "asNumber": 64512});
            spec[field] = value;
            assert_eq!(fields(spec), (None, vec![format!("spec.{field}")]));
        }
        assert_eq!(
            fields(json!({"asNumber": 1})),
            (None, vec!["spec.peerIP".to_owned()])
        );
    }

    #[test]
    fn c014_unknown_enum_values_and_fields_are_tolerated() {
        let (peer, problems) = fields(
            json!({"peerIP": "10.0.0.1", "nextHopMode": "Far", "sourceAddress": "Loopback",
            "reversePeering": "Sometimes", "newField": {"x": 1}}),
        );
        let peer = peer.unwrap();
        assert_eq!(
            problems,
            ["spec.nextHopMode", "spec.sourceAddress", "spec.reversePeering"]
        );
        assert!(peer.uses_node_ip && peer.is_reversed && peer.next_hop_mode.is_none());
    }

    #[test]
    fn c026_an_empty_selector_is_not_set() {
        let (peer, problems) = fields(json!({"peerIP": "10.0.0.1", "nodeSelector": "", "peerSelector": ""}));
        assert_eq!((peer.unwrap().local, problems), (LocalNodes::Global, vec![]));
    }

    #[test]
    fn a_password_without_a_key_is_still_asked_for() {
        let (peer, _) = fields(json!({"peerIP": "10.0.0.1", "password": {"secretKeyRef": {"name": "s"}}}));
        assert_eq!(peer.unwrap().password.unwrap().to_string(), "s/");
        let (peer, _) = fields(json!({"peerIP": "10.0.0.1", "password": {}}));
        assert_eq!(peer.unwrap().password, None);
    }
}
