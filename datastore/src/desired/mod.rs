//! From the cached resources to everything that one node should do.
//!
//! [`desired`] is pure and total: the same input gives the same output, an odd object costs only itself and is
//! reported. [`Planner`] gives the same answers and keeps what cannot have changed since the last one. `pipit plan`
//! and `pipitd` both use it, so that what the plan prints is what the daemon applies. What the fields mean stands
//! in `plan-contract.md`; the order of fields here is the order of its JSON.

mod communities;
mod context;
mod environment;
mod filters;
mod mesh;
mod neighbours;
mod notes;
mod originate;
mod peers;
mod pools;
mod problems;
mod services;
mod session;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use pipit_bgp::{Asn, ClusterId, Family, RouterId};
use serde::Serialize;

pub use environment::Environment;
pub use problems::Problem;
pub use session::{Held, Session, SessionSource};

use crate::cache::{Cache, MeshInputs, SessionInputs};
use crate::model::{
    BlockState, ClusterExtensions, Community, FilterRules, LogSeverity, NodeExtensions, PeerType,
};
use context::Context;
use filters::Filters;
use mesh::Mesh;
use peers::Sessions;
use problems::ProblemSet;

/// Everything that one node should do.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DesiredState {
    /// The node.
    pub node: String,
    /// Its BGP Identifier, the same in both families.
    pub router_id: RouterId,
    /// Its AS.
    pub local_asn: Asn,
    /// `Some` on a route reflector.
    pub cluster_id: Option<ClusterId>,
    /// How much to log.
    pub log_severity: LogSeverity,
    /// Data that cannot be honoured, by resource and field.
    pub problems: Vec<Problem>,
    /// Nodes of the mesh that have the address of another one: no single object is at fault, so the plan's contract
    /// has these as notes.
    #[serde(skip)]
    pub clashes: Vec<Problem>,
    /// What is worth telling and no problem.
    pub notes: Vec<String>,
    /// IPv4.
    pub ipv4: FamilyState,
    /// IPv6.
    pub ipv6: FamilyState,
    /// `pipit.io/` annotations of the node.
    #[serde(skip)]
    pub node_extensions: NodeExtensions,
    /// `pipit.io/` annotations of the BGPConfiguration `default`.
    #[serde(skip)]
    pub cluster_extensions: ClusterExtensions,
}

/// What concerns one family.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FamilyState {
    /// Whether the node has an address of the family; otherwise it has no sessions.
    pub enabled: bool,
    /// The node's own address; `None` exactly when not enabled.
    #[serde(skip)]
    pub address: Option<IpAddr>,
    /// Where connections are taken.
    pub listen: Option<Listen>,
    /// Priority of normal routes; LOCAL_PREF is 2147483647 less it.
    pub normal_priority: u32,
    /// Sessions by name.
    pub peers: Arc<Vec<Arc<Session>>>,
    /// BGPFilters with a rule for this family.
    pub filters: Arc<BTreeMap<String, FilterRules>>,
    /// The same, also while the family is not enabled: a session over the other family may carry this one's routes
    /// (`pipit.io/families`).
    #[serde(skip)]
    pub carried_filters: Arc<BTreeMap<String, FilterRules>>,
    /// Communities to add on export.
    pub communities: Vec<CommunityRule>,
    /// Export policy after a session's filters; the first rule that decides wins.
    pub export: Vec<ExportRule>,
    /// Own blocks: announced, and nothing beneath them unless elevated.
    pub aggregates: Vec<Aggregate>,
    /// Static routes that the node originates.
    pub blackholes: Vec<IpNet>,
    /// Static routes to neighbours behind a gateway.
    pub host_routes: Vec<HostRoute>,
    /// Which routes are written to the kernel.
    pub kernel: Kernel,
    /// Globs of interfaces that are not used as directly connected networks.
    pub ignored_interfaces: Vec<String>,
}

/// Where connections are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Listen {
    /// `None`: on all addresses.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// Communities for the routes inside a prefix.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CommunityRule {
    /// The prefix itself and all inside it.
    pub cidr: IpNet,
    /// In the order of their text, none twice.
    pub add: Vec<Community>,
}

/// One rule of the built-in export policy.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum ExportRule {
    /// Inside a pool with `disableBGPExport`: refused.
    RejectDisabledPool {
        /// The pool.
        cidr: IpNet,
    },
    /// Leaving by one of these interfaces: refused.
    RejectInterfaces {
        /// Globs.
        interfaces: Vec<&'static str>,
        /// Only on such sessions; `None`: on all.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer_type: Option<PeerType>,
    },
    /// `communities` are added.
    AddCommunities,
    /// `aggregates` decide.
    Aggregate,
    /// Inside a service range or address that this node advertises: accepted.
    AcceptService {
        /// The range or address.
        cidr: IpNet,
    },
    /// On a reflector, inside a range that others advertise: accepted.
    AcceptReflectedService {
        /// The range or address.
        cidr: IpNet,
    },
    /// Inside a pool: accepted.
    AcceptPool {
        /// The pool.
        cidr: IpNet,
    },
    /// All else is refused.
    Reject,
}

/// A block of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Aggregate {
    /// The block.
    pub block: IpNet,
    /// How far the node owns it.
    pub state: BlockState,
}

/// A static route to a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct HostRoute {
    /// The neighbour as a host prefix.
    pub prefix: IpNet,
    /// The gateway, which must be directly connected.
    pub via: IpAddr,
}

/// Which routes are written to the kernel, in the order in which it is decided.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Kernel {
    /// Inside: not written.
    pub skip_services: Vec<IpNet>,
    /// With such a next hop: not written.
    pub wireguard_next_hops: Vec<IpAddr>,
    /// The most specific pool that contains the route decides.
    pub pools: Vec<PoolRule>,
    /// All other routes.
    pub otherwise: Otherwise,
}

/// What becomes of the routes of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PoolRule {
    /// The pool.
    pub cidr: IpNet,
    /// What is done with its routes.
    #[serde(flatten)]
    pub action: PoolAction,
}

/// What is done with the routes of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum PoolAction {
    /// Felix writes them.
    Skip,
    /// Written.
    Install,
    /// Written, through the IPIP tunnel.
    InstallTunnelAlways,
    /// Written, through the IPIP tunnel unless the BGP next hop is in the subnet.
    InstallTunnelCrossSubnet {
        /// The node's subnet.
        own_subnet: IpNet,
    },
}

/// What becomes of routes that no pool contains.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// Written.
    Install,
}

/// Why there is no plan for a node. What it did before stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoPlan {
    /// The first snapshot is not complete.
    #[error("the datastore has not been read completely yet")]
    NotReady,
    /// There is no such Node.
    #[error("there is no Node {node}")]
    NoSuchNode {
        /// The name that was looked for.
        node: String,
    },
    /// The node's own object cannot be read.
    #[error("Node {node} is not readable: {reason}")]
    NodeUnreadable {
        /// Its name.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// CALICO_ROUTER_ID is nonsense.
    #[error("CALICO_ROUTER_ID `{text}` is neither `hash` nor an IPv4 address")]
    RouterIdUnreadable {
        /// Its value.
        text: String,
    },
}

impl DesiredState {
    /// What concerns a family.
    pub fn family(&self, family: Family) -> &FamilyState {
        match family {
            Family::Ipv4Unicast => &self.ipv4,
            Family::Ipv6Unicast => &self.ipv6,
        }
    }

    /// The sessions of both families.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        let all = self.ipv4.peers.iter().chain(self.ipv6.peers.iter());
        all.map(Arc::as_ref)
    }
}

/// Computes everything that `node` should do.
///
/// # Errors
///
/// There is no plan: no complete snapshot yet, no such node, or its own settings are not readable.
pub fn desired(cache: &Cache, node: &str, environment: &Environment) -> Result<DesiredState, NoPlan> {
    Planner::new(node, environment.clone()).plan(cache)
}

/// What the objects say about themselves, whoever has them and whether there is any node: what can be known of a
/// folder of resources that belong to a cluster described elsewhere. Of block affinities only those of `node`; `None`:
/// of all nodes.
pub fn object_problems(cache: &Cache, node: Option<&str>) -> Vec<Problem> {
    let mut problems = ProblemSet::default();
    problems.add_unreadable(cache, node);
    pools::pools(cache, &mut problems);
    for (origin, error) in cache.unreadable_origins() {
        problems.add(origin, "", error);
    }
    problems.into_sorted()
}

/// The problems of [`desired`] that only this node has, beside those of [`object_problems`]. To look for them on every
/// node of a large cluster, nobody has to make every node's mesh.
///
/// # Errors
///
/// As for [`desired`].
pub fn node_problems(cache: &Cache, node: &str, environment: &Environment) -> Result<Vec<Problem>, NoPlan> {
    let context = Context::new(cache, node, environment)?;
    context.router_id()?;
    let mut problems = peers::problems(&context);
    add_idle_annotations(&context, &mut problems);
    Ok(problems.into_sorted())
}

/// [`desired`] for one node again and again: sessions are computed anew only when something
/// they depend on changed.
#[derive(Clone, Debug)]
pub struct Planner {
    node: String,
    environment: Environment,
    mesh: Option<(MeshInputs, Mesh)>,
    sessions: Option<(SessionInputs, Sessions)>,
    /// With the version that they are of.
    filters: Option<(u64, Filters)>,
}

impl Planner {
    /// A planner for a node.
    pub fn new(node: impl Into<String>, environment: Environment) -> Planner {
        Planner {
            node: node.into(),
            environment,
            mesh: None,
            sessions: None,
            filters: None,
        }
    }

    /// The node's environment is another one now: a secret or an endpoint-status file changed.
    pub fn set_environment(&mut self, environment: Environment) {
        if self.environment != environment {
            self.environment = environment;
            self.mesh = None;
            self.sessions = None;
        }
    }

    /// The environment in force.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Computes the desired state.
    ///
    /// # Errors
    ///
    /// As for [`desired`].
    pub fn plan(&mut self, cache: &Cache) -> Result<DesiredState, NoPlan> {
        if !cache.is_complete() {
            return Err(NoPlan::NotReady);
        }
        let context = Context::new(cache, &self.node, &self.environment)?;
        let router_id = context.router_id()?;
        let inputs = cache.session_inputs();
        if self.sessions.as_ref().is_none_or(|(last, _)| *last != inputs) {
            let mesh = match self.mesh.take() {
                Some((last, mesh)) if last == inputs.mesh => mesh,
                last => mesh::mesh(&context, last.map(|(_, mesh)| mesh)),
            };
            self.sessions = Some((inputs, peers::sessions(&context, &mesh)));
            self.mesh = Some((inputs.mesh, mesh));
        }
        let version = cache.filters_version();
        if self.filters.as_ref().is_none_or(|(last, _)| *last != version) {
            self.filters = Some((version, filters::filters(cache)));
        }
        let (_, sessions) = self.sessions.get_or_insert_with(Default::default);
        let (_, filters) = self.filters.get_or_insert_with(Default::default);
        Ok(assemble(&context, router_id, sessions, filters))
    }
}

fn assemble(
    context: &Context<'_>,
    router_id: RouterId,
    sessions: &Sessions,
    filters: &Filters,
) -> DesiredState {
    let mut problems = ProblemSet::default();
    problems.add_unreadable(context.cache, Some(context.name));
    problems.extend(&sessions.problems);
    add_idle_annotations(context, &mut problems);
    let services = services::service_routes(context);
    let pools = pools::pools(context.cache, &mut problems);
    let aggregates = originate::aggregates(context);
    let communities = communities::communities(context);
    let family = |family: Family| {
        let enabled = context.address(family).is_some();
        let all_filters = Arc::clone(&filters[family]);
        FamilyState {
            enabled,
            address: context.address(family),
            listen: enabled.then(|| Listen {
                address: context
                    .address(family)
                    .filter(|_| context.listens_on_own_address_only()),
                port: context.listen_port(),
            }),
            normal_priority: context.normal_priority(family),
            peers: sessions.peers[family].clone(),
            filters: if enabled {
                Arc::clone(&all_filters)
            } else {
                Arc::default()
            },
            carried_filters: all_filters,
            communities: communities[family].clone(),
            export: pools::export_rules(context, family, &pools, &services),
            blackholes: originate::blackholes(family, &aggregates[family], &services),
            aggregates: aggregates[family].clone(),
            host_routes: sessions.host_routes[family].clone(),
            kernel: pools::kernel(context, family, &pools, &services),
            ignored_interfaces: ignored_interfaces(context),
        }
    };
    let mut state = DesiredState {
        node: context.name.to_owned(),
        router_id,
        local_asn: context.local_asn(),
        cluster_id: context.cluster_id(),
        log_severity: context.log_severity(),
        problems: problems.into_sorted(),
        clashes: sessions.clashes.clone(),
        notes: Vec::new(),
        ipv4: family(Family::Ipv4Unicast),
        ipv6: family(Family::Ipv6Unicast),
        node_extensions: context.node.extensions.clone(),
        cluster_extensions: context.cluster.extensions.clone(),
    };
    state.notes = notes::notes(context, &state);
    state
}

fn add_idle_annotations(context: &Context<'_>, problems: &mut ProblemSet) {
    for annotation in context.idle_annotations() {
        let resource = format!("BGPConfiguration/node.{}", context.name);
        let message = "it counts on the BGPConfiguration `default` only; the annotation is passed over";
        problems.add(resource, format!("metadata.annotations[{annotation}]"), message);
    }
}

/// The operator's globs, then those of interfaces that are Calico's and kube-proxy's.
fn ignored_interfaces(context: &Context<'_>) -> Vec<String> {
    let built_in = ["cali*", "kube-ipvs*"].map(str::to_owned);
    let configured = &context.cluster.ignored_interfaces;
    configured.iter().cloned().chain(built_in).collect()
}
