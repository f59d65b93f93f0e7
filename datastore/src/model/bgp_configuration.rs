//! BGPConfiguration: `default` for the cluster, `node.<name>` for one node.

use ipnet::IpNet;
use pipit_bgp::{Asn, FamilyMap};
use serde::Serialize;
use serde_json::Value;

use super::Resource;
use super::annotations::ClusterExtensions;
use super::bgp_peer::{SecretRef, secret_ref};
use super::community::Community;
use super::fields::{Fields, Parsed, Problems};
use super::scalar::{self, Read, ScalarError, show};

/// Largest route priority: `2147483647 - priority` must be a positive LOCAL_PREF.
pub(crate) const MAX_PRIORITY: u64 = 2_147_483_646;

/// A BGPConfiguration. `None` and empty: not said, the default counts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BgpConfiguration {
    /// `logSeverityScreen`.
    pub log_severity: Option<LogSeverity>,
    /// `nodeToNodeMeshEnabled`; default true.
    pub is_mesh_enabled: Option<bool>,
    /// `asNumber`; default 64512.
    pub asn: Option<Asn>,
    /// Readable entries of `serviceClusterIPs`, masked.
    pub service_cluster_ips: Vec<IpNet>,
    /// Readable entries of `serviceExternalIPs`, masked.
    pub service_external_ips: Vec<IpNet>,
    /// Readable entries of `serviceLoadBalancerIPs`, masked.
    pub service_load_balancer_ips: Vec<IpNet>,
    /// `serviceLoadBalancerAggregation`; default true (Enabled).
    pub is_load_balancer_aggregated: Option<bool>,
    /// `prefixAdvertisements` with the names of `communities` resolved.
    pub prefix_advertisements: Vec<PrefixAdvertisement>,
    /// Whether there is any entry in `prefixAdvertisements`, readable or not: then a node's list replaces the
    /// cluster's.
    pub has_prefix_advertisements: bool,
    /// `listenPort`; default 179.
    pub listen_port: Option<u16>,
    /// `nodeMeshPassword`.
    pub mesh_password: Option<SecretRef>,
    /// `nodeMeshMaxRestartTime` in seconds.
    pub mesh_restart_secs: Option<u64>,
    /// `bindMode`; default None.
    pub bind_mode: Option<BindMode>,
    /// `ignoredInterfaces`.
    pub ignored_interfaces: Vec<String>,
    /// `programClusterRoutes`; default EnabledNoEncapOnly.
    pub program_cluster_routes: Option<ProgramClusterRoutes>,
    /// `ipv4NormalRoutePriority`, `ipv6NormalRoutePriority`; default 1024.
    pub normal_priority: FamilyMap<Option<u32>>,
    /// `pipit.io/` annotations.
    pub extensions: ClusterExtensions,
}

/// One entry of `prefixAdvertisements`.
#[derive(Clone, PartialEq, Debug)]
pub struct PrefixAdvertisement {
    /// Routes inside get the communities. Masked.
    pub cidr: IpNet,
    /// Those that could be resolved.
    pub communities: Vec<Community>,
}

/// A name that `prefixAdvertisements` of the same object may use.
#[derive(Clone, PartialEq, Debug)]
pub struct CommunitySource {
    /// `communities[].name`.
    pub name: String,
    /// `communities[].value`.
    pub value: Community,
}

/// `logSeverityScreen`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSeverity {
    /// Everything.
    Trace,
    /// Everything that helps to find an error.
    Debug,
    /// State changes.
    #[default]
    Info,
    /// What needs attention.
    Warning,
    /// What failed.
    Error,
    /// What ends the program.
    Fatal,
}

/// `bindMode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BindMode {
    /// Listen on all addresses.
    None,
    /// Listen on the node's address only.
    NodeIp,
}

/// `programClusterRoutes`: which pools' remote routes pipit writes to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ProgramClusterRoutes {
    /// Those of IPIP and of unencapsulated pools.
    Enabled,
    /// None.
    Disabled,
    /// Those of IPIP pools.
    EnabledIpipOnly,
    /// Those of unencapsulated pools.
    #[default]
    EnabledNoEncapOnly,
}

impl ProgramClusterRoutes {
    /// Whether pipit installs routes of IPIP pools.
    pub fn includes_ipip(self) -> bool {
        match self {
            ProgramClusterRoutes::Enabled | ProgramClusterRoutes::EnabledIpipOnly => true,
            ProgramClusterRoutes::Disabled | ProgramClusterRoutes::EnabledNoEncapOnly => false,
        }
    }

    /// Whether pipit installs routes of unencapsulated pools.
    pub fn includes_no_encap(self) -> bool {
        match self {
            ProgramClusterRoutes::Enabled | ProgramClusterRoutes::EnabledNoEncapOnly => true,
            ProgramClusterRoutes::Disabled | ProgramClusterRoutes::EnabledIpipOnly => false,
        }
    }
}

impl Resource for BgpConfiguration {
    fn parse(value: &Value) -> Parsed<Self> {
        let mut problems = Problems::default();
        let root = Fields::root(value, "its default counts");
        let spec = root.object("spec", &mut problems);
        let names = communities(&spec);
        let priority = scalar::number::<u32>(1..=MAX_PRIORITY);
        let p = &mut problems;
        let configuration = BgpConfiguration {
            log_severity: spec.read("logSeverityScreen", p, log_severity),
            is_mesh_enabled: spec.read("nodeToNodeMeshEnabled", p, scalar::boolean),
            asn: spec.read("asNumber", p, scalar::asn).flatten(),
            service_cluster_ips: service_list(&spec, "serviceClusterIPs", p),
            service_external_ips: service_list(&spec, "serviceExternalIPs", p),
            service_load_balancer_ips: service_list(&spec, "serviceLoadBalancerIPs", p),
            is_load_balancer_aggregated: spec.read("serviceLoadBalancerAggregation", p, aggregation),
            prefix_advertisements: prefix_advertisements(&spec, &names, p),
            has_prefix_advertisements: spec
                .value("prefixAdvertisements")
                .and_then(Value::as_array)
                .is_some_and(|entries| !entries.is_empty()),
            listen_port: spec.read("listenPort", p, scalar::number(1..=65_535)),
            mesh_password: secret_ref(&spec, "nodeMeshPassword", p),
            mesh_restart_secs: spec.read("nodeMeshMaxRestartTime", p, scalar::seconds),
            bind_mode: spec.read("bindMode", p, bind_mode),
            ignored_interfaces: spec.scalars("ignoredInterfaces", p, scalar::text),
            program_cluster_routes: spec.read("programClusterRoutes", p, program_cluster_routes),
            normal_priority: FamilyMap {
                ipv4: spec.read("ipv4NormalRoutePriority", p, &priority),
                ipv6: spec.read("ipv6NormalRoutePriority", p, &priority),
            },
            extensions: ClusterExtensions::read(&root, p),
        };
        Parsed {
            object: Some(configuration),
            problems: problems.0,
        }
    }
}

fn log_severity(value: &Value) -> Read<LogSeverity> {
    const ALLOWED: &str = "Trace, Debug, Info, Warning, Error, Fatal";
    match scalar::text(value)?.to_ascii_lowercase().as_str() {
        "trace" => Ok(LogSeverity::Trace),
        "debug" => Ok(LogSeverity::Debug),
        "info" => Ok(LogSeverity::Info),
        "warning" => Ok(LogSeverity::Warning),
        "error" => Ok(LogSeverity::Error),
        "fatal" => Ok(LogSeverity::Fatal),
        _ => Err(ScalarError::UnknownValue {
            found: show(value),
            allowed: ALLOWED,
        }),
    }
}

fn aggregation(value: &Value) -> Read<bool> {
    scalar::word("Enabled, Disabled", &[("Enabled", true), ("Disabled", false)])(value)
}

fn bind_mode(value: &Value) -> Read<BindMode> {
    scalar::word(
        "None, NodeIP",
        &[("None", BindMode::None), ("NodeIP", BindMode::NodeIp)],
    )(value)
}

fn program_cluster_routes(value: &Value) -> Read<ProgramClusterRoutes> {
    scalar::word(
        "Enabled, Disabled, EnabledIPIPOnly, EnabledNoEncapOnly",
        &[
            ("Enabled", ProgramClusterRoutes::Enabled),
            ("Disabled", ProgramClusterRoutes::Disabled),
            ("EnabledIPIPOnly", ProgramClusterRoutes::EnabledIpipOnly),
            ("EnabledNoEncapOnly", ProgramClusterRoutes::EnabledNoEncapOnly),
        ],
    )(value)
}

/// `[{cidr}, {}, …]`: empty entries are legal and mean nothing.
fn service_list(spec: &Fields<'_>, name: &str, problems: &mut Problems) -> Vec<IpNet> {
    let spec = spec.with_consequence("the entry counts as absent");
    spec.list(name, problems)
        .into_iter()
        .filter_map(|(path, item)| {
            let entry = spec.item(path, item, problems);
            Some(entry.read("cidr", problems, scalar::prefix)?.trunc())
        })
        .collect()
}

/// Named communities. One with an unreadable value is no name: who uses it is told.
fn communities(spec: &Fields<'_>) -> Vec<CommunitySource> {
    let mut ignored = Problems::default();
    let mut names = Vec::new();
    for (path, item) in spec.list("communities", &mut ignored) {
        let entry = spec.item(path, item, &mut ignored);
        let name = entry.read("name", &mut ignored, scalar::text);
        let value = entry.read("value", &mut ignored, super::community::community);
        if let (Some(name), Some(value)) = (name, value) {
            names.push(CommunitySource { name, value });
        }
    }
    names
}

fn prefix_advertisements(
    spec: &Fields<'_>,
    names: &[CommunitySource],
    problems: &mut Problems,
) -> Vec<PrefixAdvertisement> {
    let spec = spec.with_consequence("the entry counts as absent");
    let mut advertisements = Vec::new();
    for (path, item) in spec.list("prefixAdvertisements", problems) {
        let entry = spec.item(path, item, problems);
        let Some(cidr) = entry.read("cidr", problems, scalar::prefix) else {
            continue;
        };
        let mut communities = Vec::new();
        for (_, item) in entry.list("communities", problems) {
            match resolve(item, names) {
                Ok(community) => communities.push(community),
                Err(found) => problems.add(
                    entry.path("communities"),
                    format!(
                        "{found} is neither a community nor the name of one in this object; it is left out"
                    ),
                ),
            }
        }
        advertisements.push(PrefixAdvertisement {
            cidr: cidr.trunc(),
            communities,
        });
    }
    advertisements
}

fn resolve(item: &Value, names: &[CommunitySource]) -> Result<Community, String> {
    if let Ok(community) = super::community::community(item) {
        return Ok(community);
    }
    scalar::text(item)
        .ok()
        .and_then(|text| names.iter().find(|source| source.name == text))
        .map(|source| source.value)
        .ok_or_else(|| show(item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(spec: Value) -> (BgpConfiguration, Vec<String>) {
        let parsed = BgpConfiguration::parse(&json!({"spec": spec}));
        let fields = parsed.problems.into_iter().map(|problem| problem.field).collect();
        (parsed.object.unwrap(), fields)
    }

    #[test]
    fn an_unreadable_scalar_goes_to_its_default_and_nothing_else() {
        let (configuration, problems) = parse(
            json!({"listenPort": 70000, "asNumber": "x", "bindMode": "Some",
            "logSeverityScreen": "DEBUG", "nodeMeshMaxRestartTime": 5, "ipv6NormalRoutePriority": 0,
            "ipv4NormalRoutePriority": 512, "programClusterRoutes": "Always", "nodeToNodeMeshEnabled": "no"}),
        );
        assert_eq!(
            problems,
            [
                "spec.nodeToNodeMeshEnabled",
                "spec.asNumber",
                "spec.listenPort",
                "spec.nodeMeshMaxRestartTime",
                "spec.bindMode",
                "spec.programClusterRoutes",
                "spec.ipv6NormalRoutePriority"
            ]
        );
        assert_eq!(
            configuration,
            BgpConfiguration {
                log_severity: Some(LogSeverity::Debug),
                normal_priority: FamilyMap {
                    ipv4: Some(512),
                    ipv6: None
                },
                ..BgpConfiguration::default()
            }
        );
    }

    #[test]
    fn c197_empty_entries_mean_nothing_and_a_bad_one_costs_only_itself() {
        let (configuration, problems) = parse(json!({"serviceClusterIPs": [{"cidr": "10.96.1.0/12"}, {}],
            "serviceExternalIPs": [{"cidr": "x"}, {"cidr": "198.51.100.7/32"}]}));
        assert_eq!(problems, ["spec.serviceExternalIPs[0].cidr"]);
        assert_eq!(
            configuration.service_cluster_ips,
            ["10.96.0.0/12".parse().unwrap()]
        );
        assert_eq!(
            configuration.service_external_ips,
            ["198.51.100.7/32".parse().unwrap()]
        );
    }

    #[test]
    fn c124_names_resolve_in_the_same_object_and_undefined_ones_are_reported() {
        let (configuration, problems) = parse(json!({
            "communities": [{"name": "edge", "value": "64512:300"}, {"name": "bad", "value": "x"}],
            "prefixAdvertisements": [{"cidr": "10.0.0.1/8", "communities": ["edge", "64512:1:2", "none", "bad"]},
                                     {"cidr": "nowhere", "communities": ["edge"]}]}));
        assert_eq!(
            problems,
            [
                "spec.prefixAdvertisements[0].communities",
                "spec.prefixAdvertisements[0].communities",
                "spec.prefixAdvertisements[1].cidr"
            ]
        );
        assert_eq!(
            configuration.prefix_advertisements,
            [PrefixAdvertisement {
                cidr: "10.0.0.0/8".parse().unwrap(),
                communities: vec![Community::Standard(64512, 300), Community::Large(64512, 1, 2)],
            }]
        );
    }
}
