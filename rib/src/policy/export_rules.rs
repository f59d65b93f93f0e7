//! Calico's built-in export policy of one family, as data. `export` applies it.

use ipnet::IpNet;

use crate::policy::{Community, Glob, NetSet};

/// What a node exports once a session's own filters have not decided (behaviour contract §5.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportRules {
    /// Route priority (Linux metric) of normal routes; a lower one is elevated.
    pub normal_priority: u32,
    /// Pools with `disableBGPExport`: nothing inside leaves.
    pub disabled_pools: NetSet,
    /// Routes over these interfaces do not go to iBGP peers.
    pub reject_interfaces_ibgp: Vec<Glob>,
    /// Routes over these interfaces go to nobody.
    pub reject_interfaces: Vec<Glob>,
    /// Communities added to every route inside a prefix.
    pub communities: Vec<(IpNet, Vec<Community>)>,
    /// Own blocks: announced themselves, what is beneath is not, unless elevated.
    pub aggregates: NetSet,
    /// Service ranges and addresses that this node advertises.
    pub services: NetSet,
    /// On a reflector: service ranges that others advertise.
    pub reflected_services: NetSet,
    /// Pools: what is inside leaves.
    pub pools: NetSet,
    /// The node is drained: announcements carry GRACEFUL_SHUTDOWN (RFC 8326).
    pub graceful_shutdown: bool,
}

impl Default for ExportRules {
    fn default() -> Self {
        ExportRules {
            normal_priority: 1024,
            disabled_pools: NetSet::default(),
            reject_interfaces_ibgp: Vec::new(),
            reject_interfaces: Vec::new(),
            communities: Vec::new(),
            aggregates: NetSet::default(),
            services: NetSet::default(),
            reflected_services: NetSet::default(),
            pools: NetSet::default(),
            graceful_shutdown: false,
        }
    }
}

/// Whose service a service route is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceOrigin {
    /// This node advertises it.
    Own,
    /// Others do; this reflector hands it on.
    Reflected,
}
