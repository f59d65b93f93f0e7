//! `pipit.io/` annotations: what Calico's fields cannot say (`extensions.md`).

use std::time::Duration;

use ipnet::IpNet;
use pipit_bgp::session::config::{AddPath, Bfd, Role};
use pipit_bgp::{Family, FamilySet};
use serde_json::Value;

use super::fields::{Fields, Problems};
use super::scalar::{parse_duration, parse_prefix};
use crate::yaml::scalar_text;

const PREFIX: &str = "pipit.io/";
const CONSEQUENCE: &str = "the annotation is passed over";

/// What annotations of a BGPPeer say about the sessions it makes. `None`: not said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerExtensions {
    /// Never dial, or always dial.
    pub passive: Option<bool>,
    /// Hold time to offer.
    pub hold_time: Option<Duration>,
    /// First retry of a failed dial.
    pub connect_retry: Option<Duration>,
    /// First back-off after an error.
    pub idle_hold: Option<Duration>,
    /// How long a connection waits for the peer's OPEN before ours goes out (RFC 4271 §8.1.1 DelayOpenTime).
    pub delay_open: Option<Duration>,
    /// RFC 9687 send hold time.
    pub send_hold: Option<Duration>,
    /// Prefixes above which the session ends.
    pub max_prefixes: Option<u32>,
    /// Families on the one session.
    pub families: Option<FamilySet>,
    /// ADD-PATH directions.
    pub add_path: Option<AddPath>,
    /// RFC 8950.
    pub extended_next_hop: Option<bool>,
    /// Graceful restart role.
    pub graceful_restart: Option<GracefulRestartMode>,
    /// How much longer than the restart time peers are asked to keep our routes (RFC 9494).
    pub long_lived: Option<Duration>,
    /// In place of Calico's rule on a reflector.
    pub route_reflector_client: Option<bool>,
    /// RFC 9234.
    pub role: Option<Role>,
    /// BFD; the inner `None` is `off`.
    pub bfd: Option<Option<Bfd>>,
    /// Accept LOCAL_PREF on eBGP.
    pub local_preference_accept: Option<bool>,
    /// eBGP paths must begin with the neighbour's AS (RFC 4271 §6.3).
    pub enforce_first_as: Option<bool>,
    /// The readable annotations as written, for notes.
    pub said: Vec<(String, String)>,
}

/// `pipit.io/graceful-restart`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GracefulRestartMode {
    /// No capability.
    Off,
    /// Keep a restarting peer's routes only.
    Helper,
    /// Ask peers to keep ours as well.
    Restart,
}

/// What annotations of a Node say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeExtensions {
    /// Announced as static routes, besides the blocks; not written to the kernel. Sorted, masked.
    pub originate: Vec<IpNet>,
    /// False: the node is drained, its routes leave with the graceful-shutdown community (RFC 8326).
    pub usable: bool,
    /// The readable annotations as written, for notes.
    pub said: Vec<(String, String)>,
}

impl Default for NodeExtensions {
    fn default() -> Self {
        NodeExtensions {
            originate: Vec::new(),
            usable: true,
            said: Vec::new(),
        }
    }
}

/// What annotations of the BGPConfiguration `default` say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterExtensions {
    /// Most next hops of one route.
    pub max_paths: u16,
    /// Kernel protocol number of our routes.
    pub route_protocol: u8,
    /// Whether kernel routes lead through nexthop objects.
    pub nexthop_objects: bool,
    /// Whether a sudden loss of most objects is held back.
    pub mass_withdrawal_guard: MassWithdrawalGuard,
    /// The readable annotations as written, for notes.
    pub said: Vec<(String, String)>,
}

impl Default for ClusterExtensions {
    fn default() -> Self {
        ClusterExtensions {
            max_paths: 16,
            route_protocol: 12,
            nexthop_objects: false,
            mass_withdrawal_guard: MassWithdrawalGuard::On,
            said: Vec::new(),
        }
    }
}

/// `pipit.io/mass-withdrawal-guard`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MassWithdrawalGuard {
    /// Held and reported.
    On,
    /// Acted on at once.
    Off,
}

/// The annotations of ours in `metadata`, those that cannot be read reported: `set` says whether it took one.
fn each(
    root: &Fields<'_>,
    problems: &mut Problems,
    mut set: impl FnMut(&str, &str) -> Option<Outcome>,
) -> Vec<(String, String)> {
    let metadata = root.with_consequence(CONSEQUENCE).object("metadata", problems);
    let annotations = metadata.object("annotations", problems);
    let mut said = Vec::new();
    for (name, value) in annotations.entries() {
        let Some(short) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let text = scalar_text(value).unwrap_or_default();
        let field = || format!("{}[{name}]", annotations.own_path());
        match set(short, text.trim()) {
            Some(Outcome::Taken) => said.push((name.clone(), text.trim().to_owned())),
            Some(Outcome::Unreadable(wanted)) => {
                let shown = super::scalar::show(&Value::String(text.into_owned()));
                problems.add(field(), format!("{shown} is not {wanted}; {CONSEQUENCE}"));
            }
            None => problems.add(field(), format!("{}; {CONSEQUENCE}", unknown(short))),
        }
    }
    said
}

/// Reports every annotation of ours on a resource that knows none.
pub(crate) fn refuse(root: &Fields<'_>, problems: &mut Problems) {
    each(root, problems, |_, _| None);
}

/// What is wrong with an annotation that does not exist.
fn unknown(name: &str) -> &'static str {
    if name.starts_with("tcp-ao") {
        // Said by name: whoever asks for it must not believe that the session has it.
        "TCP-AO (RFC 5925) is not supported, and the session runs without it: use the BGPPeer's password (TCP MD5), \
         ttlSecurity, or both"
    } else {
        "there is no such annotation here"
    }
}

enum Outcome {
    Taken,
    /// What was wanted instead.
    Unreadable(&'static str),
}

/// Stores what was read.
fn take<T>(place: &mut Option<T>, read: Option<T>, wanted: &'static str) -> Outcome {
    match read {
        Some(value) => {
            *place = Some(value);
            Outcome::Taken
        }
        None => Outcome::Unreadable(wanted),
    }
}

const BOOLEAN: &str = "true or false";
const FROM_ONE_SECOND: &str = "a duration of at least 1s";
const STALE_TIME: &str = "off, or whole seconds from 1s to 16777215s";

impl PeerExtensions {
    pub(crate) fn read(root: &Fields<'_>, problems: &mut Problems) -> Self {
        let mut ours = PeerExtensions::default();
        let said = each(root, problems, |name, text| ours.set(name, text));
        PeerExtensions { said, ..ours }
    }

    /// For the other end of a BGPPeer that is mirrored: two ends that wait never meet, and of two roles each has its
    /// own (RFC 9234 §4.2).
    pub(crate) fn mirrored(&self) -> Self {
        PeerExtensions {
            passive: self.passive.filter(|is_passive| !is_passive),
            role: self.role.map(|role| match role {
                Role::Provider => Role::Customer,
                Role::Customer => Role::Provider,
                Role::RsServer => Role::RsClient,
                Role::RsClient => Role::RsServer,
                Role::Peer => Role::Peer,
            }),
            ..self.clone()
        }
    }

    fn set(&mut self, name: &str, text: &str) -> Option<Outcome> {
        Some(match name {
            "passive" => take(&mut self.passive, boolean(text), BOOLEAN),
            "hold-time" => take(
                &mut self.hold_time,
                hold_time(text),
                "0s, or whole seconds from 3s to 65535s",
            ),
            "connect-retry" => take(&mut self.connect_retry, from_one_second(text), FROM_ONE_SECOND),
            "idle-hold" => take(&mut self.idle_hold, from_one_second(text), FROM_ONE_SECOND),
            "delay-open" => take(
                &mut self.delay_open,
                delay_open(text),
                "a duration from 0s to 240s",
            ),
            "send-hold-time" => take(&mut self.send_hold, from_one_second(text), FROM_ONE_SECOND),
            "max-prefixes" => take(&mut self.max_prefixes, text.parse().ok(), "a number"),
            "families" => take(&mut self.families, families(text), "a list of ipv4, ipv6"),
            "add-path" => take(&mut self.add_path, add_path(text), "off, receive, send or both"),
            "extended-next-hop" => take(&mut self.extended_next_hop, boolean(text), BOOLEAN),
            "graceful-restart" => take(
                &mut self.graceful_restart,
                restart(text),
                "off, helper or restart",
            ),
            "long-lived-graceful-restart" => take(&mut self.long_lived, stale_time(text), STALE_TIME),
            "route-reflector-client" => take(&mut self.route_reflector_client, boolean(text), BOOLEAN),
            "role" => take(
                &mut self.role,
                role(text),
                "provider, customer, peer, rs-server or rs-client",
            ),
            "bfd" => take(
                &mut self.bfd,
                bfd(text),
                "off, or tx=300ms rx=300ms multiplier=3 or a part of it",
            ),
            "local-preference-accept" => take(&mut self.local_preference_accept, boolean(text), BOOLEAN),
            "enforce-first-as" => take(&mut self.enforce_first_as, boolean(text), BOOLEAN),
            _ => return None,
        })
    }
}

impl NodeExtensions {
    pub(crate) fn read(root: &Fields<'_>, problems: &mut Problems) -> Self {
        let (mut originate, mut usable) = (None, None);
        let said = each(root, problems, |name, text| {
            Some(match name {
                "originate" => take(&mut originate, prefixes(text), "a list of prefixes"),
                "usable" => take(&mut usable, boolean(text), BOOLEAN),
                _ => return None,
            })
        });
        NodeExtensions {
            originate: originate.unwrap_or_default(),
            usable: usable.unwrap_or(true),
            said,
        }
    }
}

impl ClusterExtensions {
    pub(crate) fn read(root: &Fields<'_>, problems: &mut Problems) -> Self {
        let (mut max_paths, mut route_protocol, mut guard) = (None, None, None);
        let mut nexthop_objects = None;
        let said = each(root, problems, |name, text| {
            Some(match name {
                "max-paths" => take(&mut max_paths, in_range(text, 1, 256), "a number from 1 to 256"),
                "route-protocol" => take(
                    &mut route_protocol,
                    in_range(text, 5, 255),
                    "a number from 5 to 255",
                ),
                "nexthop-objects" => take(&mut nexthop_objects, boolean(text), BOOLEAN),
                "mass-withdrawal-guard" => take(&mut guard, on_off(text), "on or off"),
                _ => return None,
            })
        });
        let defaults = ClusterExtensions::default();
        ClusterExtensions {
            max_paths: max_paths.unwrap_or(defaults.max_paths),
            route_protocol: route_protocol.unwrap_or(defaults.route_protocol),
            nexthop_objects: nexthop_objects.unwrap_or(defaults.nexthop_objects),
            mass_withdrawal_guard: guard.unwrap_or(defaults.mass_withdrawal_guard),
            said,
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    text.parse().ok()
}

/// `on`, `off`; YAML hands them over as booleans when they are not quoted.
fn on_off(text: &str) -> Option<MassWithdrawalGuard> {
    match text {
        "on" | "true" => Some(MassWithdrawalGuard::On),
        "off" | "false" => Some(MassWithdrawalGuard::Off),
        _ => None,
    }
}

/// `off`, which YAML hands over as `false` when it is not quoted.
fn is_off(text: &str) -> bool {
    matches!(text, "off" | "false")
}

fn in_range<T: TryFrom<u32>>(text: &str, min: u32, max: u32) -> Option<T> {
    let number: u32 = text.parse().ok()?;
    (min..=max)
        .contains(&number)
        .then(|| T::try_from(number).ok())
        .flatten()
}

fn hold_time(text: &str) -> Option<Duration> {
    let hold_time = parse_duration(text)?;
    let is_readable = hold_time.subsec_nanos() == 0 && matches!(hold_time.as_secs(), 0 | 3..=65_535);
    is_readable.then_some(hold_time)
}

fn from_one_second(text: &str) -> Option<Duration> {
    parse_duration(text).filter(|duration| *duration >= Duration::from_secs(1))
}

/// No longer than the peer would wait for us.
fn delay_open(text: &str) -> Option<Duration> {
    parse_duration(text).filter(|duration| *duration <= Duration::from_secs(240))
}

/// A long-lived stale time (RFC 9494 §3.1); zero is `off`.
fn stale_time(text: &str) -> Option<Duration> {
    if is_off(text) {
        return Some(Duration::ZERO);
    }
    let is_readable = |time: &Duration| time.subsec_nanos() == 0 && time.as_secs() < 1 << 24;
    from_one_second(text).filter(is_readable)
}

/// Items of a list, separated by commas or white space.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|item| !item.is_empty())
}

fn families(text: &str) -> Option<FamilySet> {
    let set: FamilySet = items(text)
        .map(|item| match item {
            "ipv4" => Some(Family::Ipv4Unicast),
            "ipv6" => Some(Family::Ipv6Unicast),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .collect();
    (!set.is_empty()).then_some(set)
}

fn prefixes(text: &str) -> Option<Vec<IpNet>> {
    let mut prefixes = items(text)
        .map(|item| parse_prefix(item).map(|net| net.trunc()))
        .collect::<Option<Vec<_>>>()?;
    prefixes.sort();
    prefixes.dedup();
    Some(prefixes)
}

fn add_path(text: &str) -> Option<AddPath> {
    match text {
        _ if is_off(text) => Some(AddPath::Off),
        "receive" => Some(AddPath::Receive),
        "send" => Some(AddPath::Send),
        "both" => Some(AddPath::Both),
        _ => None,
    }
}

fn restart(text: &str) -> Option<GracefulRestartMode> {
    match text {
        _ if is_off(text) => Some(GracefulRestartMode::Off),
        "helper" => Some(GracefulRestartMode::Helper),
        "restart" => Some(GracefulRestartMode::Restart),
        _ => None,
    }
}

fn role(text: &str) -> Option<Role> {
    match text {
        "provider" => Some(Role::Provider),
        "customer" => Some(Role::Customer),
        "peer" => Some(Role::Peer),
        "rs-server" => Some(Role::RsServer),
        "rs-client" => Some(Role::RsClient),
        _ => None,
    }
}

fn bfd(text: &str) -> Option<Option<Bfd>> {
    if is_off(text) {
        return Some(None);
    }
    let mut bfd = Bfd {
        tx: Duration::from_millis(300),
        rx: Duration::from_millis(300),
        multiplier: 3,
    };
    let interval = |text: &str| parse_duration(text).filter(|interval| *interval >= Duration::from_millis(1));
    let mut parts: Vec<_> = items(text)
        .map(|part| part.split_once('='))
        .collect::<Option<_>>()?;
    parts.sort_unstable();
    let is_twice = parts.windows(2).any(|two| two[0].0 == two[1].0);
    if parts.is_empty() || is_twice {
        return None;
    }
    for part in parts {
        match part {
            ("tx", value) => bfd.tx = interval(value)?,
            ("rx", value) => bfd.rx = interval(value)?,
            ("multiplier", value) => {
                bfd.multiplier = value.parse().ok().filter(|multiplier| *multiplier > 0)?
            }
            _ => return None,
        }
    }
    Some(Some(bfd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn peer(annotations: Value) -> (PeerExtensions, Vec<String>) {
        let value = json!({"metadata": {"annotations": annotations}});
        let mut problems = Problems::default();
        let read = PeerExtensions::read(&Fields::root(&value, ""), &mut problems);
        (
            read,
            problems.0.into_iter().map(|problem| problem.field).collect(),
        )
    }

    #[test]
    fn every_annotation_of_a_peer_is_read() {
        let (read, problems) = peer(json!({
            "pipit.io/passive": "true", "pipit.io/hold-time": "9s", "pipit.io/connect-retry": "1s",
            "pipit.io/idle-hold": "2s", "pipit.io/send-hold-time": "8m", "pipit.io/max-prefixes": "100",
            "pipit.io/families": "ipv4, ipv6", "pipit.io/add-path": "receive",
            "pipit.io/extended-next-hop": true, "pipit.io/graceful-restart": "helper",
            "pipit.io/long-lived-graceful-restart": "24h",
            "pipit.io/route-reflector-client": "false", "pipit.io/role": "rs-client",
            "pipit.io/bfd": "tx=100ms multiplier=5", "pipit.io/local-preference-accept": "true",
            "pipit.io/enforce-first-as": "true", "pipit.io/delay-open": "500ms",
            "example.com/other": "x",
        }));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(read.said.len(), 17);
        assert_eq!(
            PeerExtensions {
                said: Vec::new(),
                ..read
            },
            PeerExtensions {
                passive: Some(true),
                hold_time: Some(Duration::from_secs(9)),
                connect_retry: Some(Duration::from_secs(1)),
                idle_hold: Some(Duration::from_secs(2)),
                delay_open: Some(Duration::from_millis(500)),
                send_hold: Some(Duration::from_secs(480)),
                max_prefixes: Some(100),
                families: Some(Family::ALL.into_iter().collect()),
                add_path: Some(AddPath::Receive),
                extended_next_hop: Some(true),
                graceful_restart: Some(GracefulRestartMode::Helper),
                long_lived: Some(Duration::from_secs(86_400)),
                route_reflector_client: Some(false),
                role: Some(Role::RsClient),
                bfd: Some(Some(Bfd {
                    tx: Duration::from_millis(100),
                    rx: Duration::from_millis(300),
                    multiplier: 5
                })),
                local_preference_accept: Some(true),
                enforce_first_as: Some(true),
                said: Vec::new(),
            }
        );
    }

    #[test]
    fn unknown_and_unreadable_annotations_are_reported_by_name() {
        let (read, problems) = peer(json!({
            "pipit.io/hold-time": "2s", "pipit.io/colour": "red", "pipit.io/bfd": "tx=fast",
            "pipit.io/families": "", "pipit.io/passive": "maybe", "pipit.io/connect-retry": "10ms",
            "pipit.io/idle-hold": "", "pipit.io/delay-open": "5m",
        }));
        assert_eq!(read, PeerExtensions::default());
        assert_eq!(
            problems,
            [
                "bfd",
                "colour",
                "connect-retry",
                "delay-open",
                "families",
                "hold-time",
                "idle-hold",
                "passive"
            ]
            .map(|name| format!("metadata.annotations[pipit.io/{name}]"))
        );
    }

    #[test]
    fn a_part_of_bfd_that_is_said_twice_or_not_at_all_is_unreadable() {
        for text in ["tx=1s tx=2s", "", "tx", "tx=1s, foo=1", "multiplier=256"] {
            assert_eq!(bfd(text), None, "{text}");
        }
    }

    #[test]
    fn tcp_ao_is_refused_by_name() {
        let value = json!({"metadata": {"annotations": {"pipit.io/tcp-ao-key": "s3cret"}}});
        let mut problems = Problems::default();
        PeerExtensions::read(&Fields::root(&value, ""), &mut problems);
        let texts: Vec<String> = problems.0.iter().map(|problem| problem.message.clone()).collect();
        assert_eq!(texts.len(), 1);
        assert!(
            texts[0].starts_with("TCP-AO (RFC 5925) is not supported"),
            "{texts:?}"
        );
        assert!(!texts[0].contains("s3cret"));
    }
}
