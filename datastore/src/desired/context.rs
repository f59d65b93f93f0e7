//! The node that is planned for, and the settings that concern it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;
use pipit_bgp::session::config::Secret;
use pipit_bgp::{Asn, ClusterId, Family, FamilyMap, RouterId};
use sha2::{Digest, Sha256};

use super::NoPlan;
use super::environment::Environment;
use crate::cache::Cache;
use crate::model::{BgpConfiguration, BindMode, LogSeverity, Node, ProgramClusterRoutes, SecretRef};

/// AS of a cluster that does not say one.
const DEFAULT_ASN: Asn = Asn(64512);
/// The BGP port.
const DEFAULT_PORT: u16 = 179;
/// Priority of normal routes.
const DEFAULT_PRIORITY: u32 = 1024;

static DEFAULTS: LazyLock<BgpConfiguration> = LazyLock::new(BgpConfiguration::default);

/// What every part of the computation looks at.
pub(super) struct Context<'c> {
    pub(super) cache: &'c Cache,
    pub(super) name: &'c str,
    pub(super) node: &'c Node,
    pub(super) environment: &'c Environment,
    /// The BGPConfiguration `default`; all defaults when there is none.
    pub(super) cluster: &'c BgpConfiguration,
    /// The BGPConfiguration `node.<name>`. Only its log severity, port and prefix advertisements count.
    own: &'c BgpConfiguration,
    /// `listenPort` of the nodes that have one of their own.
    listen_ports: HashMap<&'c str, u16>,
}

impl<'c> Context<'c> {
    pub(super) fn new(cache: &'c Cache, name: &'c str, environment: &'c Environment) -> Result<Self, NoPlan> {
        let stored = cache.node(name).ok_or_else(|| NoPlan::NoSuchNode {
            node: name.to_owned(),
        })?;
        let node = stored.object.as_ref().ok_or_else(|| NoPlan::NodeUnreadable {
            node: name.to_owned(),
            reason: match (&stored.unreadable, stored.problems.first()) {
                (Some(error), _) => error.clone(),
                (None, Some(problem)) => format!("{}: {}", problem.field, problem.message),
                (None, None) => "its value is not an object".to_owned(),
            },
        })?;
        Ok(Context {
            cache,
            name,
            node,
            environment,
            cluster: cache.configuration("default").unwrap_or(&DEFAULTS),
            own: cache.configuration(&format!("node.{name}")).unwrap_or(&DEFAULTS),
            listen_ports: cache
                .configurations()
                .filter_map(|(name, configuration)| {
                    Some((name.strip_prefix("node.")?, configuration.listen_port?))
                })
                .collect(),
        })
    }

    pub(super) fn router_id(&self) -> Result<RouterId, NoPlan> {
        match self.environment.router_id.as_deref() {
            Some("hash") => Ok(hashed_router_id(self.name)),
            Some(text) => text.parse().map_err(|_| NoPlan::RouterIdUnreadable {
                text: text.to_owned(),
            }),
            None => Ok(match self.address(Family::Ipv4Unicast) {
                Some(IpAddr::V4(address)) => RouterId(address),
                // Calico leaves an IPv6-only node without one; the hash is what an operator would have to ask for.
                _ => hashed_router_id(self.name),
            }),
        }
    }

    /// AS of nodes that do not say their own.
    pub(super) fn cluster_asn(&self) -> Asn {
        self.cluster.asn.unwrap_or(DEFAULT_ASN)
    }

    pub(super) fn local_asn(&self) -> Asn {
        self.asn_of(self.node)
    }

    pub(super) fn asn_of(&self, node: &Node) -> Asn {
        node.asn.unwrap_or_else(|| self.cluster_asn())
    }

    pub(super) fn cluster_id(&self) -> Option<ClusterId> {
        self.node.cluster_id
    }

    pub(super) fn log_severity(&self) -> LogSeverity {
        self.own
            .log_severity
            .or(self.cluster.log_severity)
            .unwrap_or_default()
    }

    /// The node's address and subnet; `None` when the family is not enabled.
    pub(super) fn network(&self, family: Family) -> Option<IpNet> {
        self.node.addresses[family]
    }

    pub(super) fn address(&self, family: Family) -> Option<IpAddr> {
        Some(self.network(family)?.addr())
    }

    pub(super) fn addresses(&self) -> FamilyMap<Option<IpAddr>> {
        FamilyMap {
            ipv4: self.address(Family::Ipv4Unicast),
            ipv6: self.address(Family::Ipv6Unicast),
        }
    }

    pub(super) fn listen_port(&self) -> u16 {
        self.own
            .listen_port
            .or(self.cluster.listen_port)
            .unwrap_or(DEFAULT_PORT)
    }

    /// The port that another node is known to listen on; `None` when nobody says one.
    pub(super) fn listen_port_of(&self, node: &str) -> Option<u16> {
        self.listen_ports.get(node).copied().or(self.cluster.listen_port)
    }

    /// The value of a reference, `None` when it is not at hand, or none that TCP MD5 can use.
    pub(super) fn password(&self, reference: &SecretRef) -> Option<Arc<Secret>> {
        let value = self.secret(reference)?;
        let is_usable = value.expose().len() <= Secret::LEN_MAX;
        is_usable.then(|| Arc::new(value.clone()))
    }

    /// Why [`Context::password`] has none.
    pub(super) fn password_trouble(&self, reference: &SecretRef) -> String {
        match self.secret(reference).map(|value| value.expose().len()) {
            Some(len) => format!(
                "the value of {reference} has {len} octets, a password at most {}",
                Secret::LEN_MAX
            ),
            None => format!("there is no value for {reference}"),
        }
    }

    fn secret(&self, reference: &SecretRef) -> Option<&'c Secret> {
        let environment = self.environment;
        let from_datastore = || {
            let secret = self
                .cache
                .secret(environment.secrets_namespace(), &reference.name)?;
            secret.values.get(&reference.key)
        };
        environment
            .secrets
            .get(reference)
            .filter(|secret| !secret.expose().is_empty())
            .or_else(from_datastore)
    }

    pub(super) fn listens_on_own_address_only(&self) -> bool {
        self.cluster.bind_mode == Some(BindMode::NodeIp)
    }

    pub(super) fn normal_priority(&self, family: Family) -> u32 {
        self.cluster.normal_priority[family].unwrap_or(DEFAULT_PRIORITY)
    }

    pub(super) fn program_cluster_routes(&self) -> ProgramClusterRoutes {
        self.cluster.program_cluster_routes.unwrap_or_default()
    }

    /// `pipit.io/` annotations on the BGPConfiguration `node.<name>`, which nobody goes by.
    pub(super) fn idle_annotations(&self) -> impl Iterator<Item = &'c str> {
        self.own.extensions.said.iter().map(|(name, _)| name.as_str())
    }

    /// The object whose `prefixAdvertisements` count: the node's own replace the cluster's, in both families.
    pub(super) fn advertisements(&self) -> &'c BgpConfiguration {
        match self.own.has_prefix_advertisements {
            true => self.own,
            false => self.cluster,
        }
    }
}

/// The first four octets of the name's SHA-256, below 224 in the first (Calico's `hash`).
fn hashed_router_id(name: &str) -> RouterId {
    let digest = Sha256::digest(name.as_bytes());
    let (first, rest) = match digest[..] {
        [first, b, c, d, ..] => (first, [b, c, d]),
        _ => (0, [0; 3]),
    };
    let first = if first > 223 { first - 32 } else { first };
    RouterId(Ipv4Addr::new(first, rest[0], rest[1], rest[2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c029_the_hash_of_kube_master() {
        assert_eq!(hashed_router_id("kube-master").to_string(), "25.79.212.8");
    }
}
