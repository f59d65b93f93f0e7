//! Service ranges and addresses that this node advertises (`calico-behaviour.md` §7).

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::{Family, FamilyMap};

use super::context::Context;
use crate::cache::Namespaced;
use crate::model::{EndpointSlice, Service, ServiceType, TrafficPolicy};

/// Services as far as routes are concerned.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceRoutes {
    /// What this node advertises: ranges, and single addresses as host prefixes.
    pub(super) advertised: FamilyMap<BTreeSet<IpNet>>,
    /// Load balancer and external entries, which a reflector passes on whoever advertises them.
    pub(super) reflected: FamilyMap<BTreeSet<IpNet>>,
    /// Every entry of the three lists: nothing inside is written to the kernel.
    pub(super) configured: FamilyMap<BTreeSet<IpNet>>,
}

pub(super) fn service_routes(context: &Context<'_>) -> ServiceRoutes {
    let ranges = Ranges::new(context);
    let mut routes = ServiceRoutes::default();
    for net in ranges.external.iter().chain(&ranges.load_balancer) {
        insert(&mut routes.reflected, *net);
        insert(&mut routes.configured, *net);
    }
    for net in &ranges.cluster {
        insert(&mut routes.configured, *net);
    }
    if context.node.is_excluded_from_services() {
        return routes;
    }
    for net in ranges.advertised() {
        insert(&mut routes.advertised, net);
    }
    let local_name = context
        .environment
        .k8s_node_ref
        .as_deref()
        .unwrap_or(context.name);
    for (name, service) in context.cache.services() {
        let slices = || slices_of(context, name, service);
        if ranges.advertises(service, local_name, slices) {
            for address in ranges.addresses(service) {
                insert(&mut routes.advertised, address.into());
            }
        }
    }
    routes
}

fn insert(map: &mut FamilyMap<BTreeSet<IpNet>>, net: IpNet) {
    map[Family::of(net.addr())].insert(net);
}

/// The slices of a service, of its address families.
fn slices_of<'c>(
    context: &Context<'c>,
    (namespace, name): &Namespaced,
    service: &Service,
) -> Vec<&'c EndpointSlice> {
    context
        .cache
        .endpoint_slices()
        .filter(|((slice_namespace, _), slice)| {
            slice_namespace == namespace
                && slice.service.as_ref() == Some(name)
                && slice
                    .family
                    .is_some_and(|family| service.families.contains(family))
        })
        .map(|(_, slice)| slice)
        .collect()
}

/// The configured ranges.
struct Ranges {
    cluster: Vec<IpNet>,
    external: Vec<IpNet>,
    load_balancer: Vec<IpNet>,
    is_aggregated: bool,
}

impl Ranges {
    fn new(context: &Context<'_>) -> Ranges {
        let configured = context.cluster;
        Ranges {
            cluster: match &context.environment.advertise_cluster_ips {
                None => configured.service_cluster_ips.clone(),
                Some(text) => crate::model::parse_prefix(text)
                    .map(|net| net.trunc())
                    .into_iter()
                    .collect(),
            },
            external: configured.service_external_ips.clone(),
            load_balancer: configured.service_load_balancer_ips.clone(),
            is_aggregated: configured.is_load_balancer_aggregated.unwrap_or(true),
        }
    }

    /// What is advertised as a whole: single addresses of the last two lists are advertised per service.
    fn advertised(&self) -> impl Iterator<Item = IpNet> {
        let load_balancer = self.load_balancer.iter().filter(|_| self.is_aggregated);
        let ranges = self.external.iter().chain(load_balancer);
        self.cluster
            .iter()
            .chain(ranges.filter(|net| !is_single(net)))
            .copied()
    }

    /// Whether this node advertises a service's own addresses.
    fn advertises<'s>(
        &self,
        service: &Service,
        local_name: &str,
        slices: impl FnOnce() -> Vec<&'s EndpointSlice>,
    ) -> bool {
        if service.kind == ServiceType::Other || !service.has_cluster_ip {
            return false;
        }
        if service.policy == TrafficPolicy::Cluster {
            if self.has_single_entry(service) {
                return true;
            }
            if self.is_aggregated {
                return false;
            }
        }
        slices()
            .into_iter()
            .flat_map(|slice| &slice.endpoints)
            .filter(|endpoint| endpoint.is_ready)
            .any(|endpoint| match service.policy {
                TrafficPolicy::Cluster => true,
                TrafficPolicy::Local => endpoint.node.as_deref() == Some(local_name),
            })
    }

    /// Whether one of a service's addresses is configured by itself, which asks every node to advertise it.
    fn has_single_entry(&self, service: &Service) -> bool {
        let is_entry = |list: &[IpNet], address: &IpAddr| list.contains(&IpNet::from(*address));
        let is_balanced = service.kind == ServiceType::LoadBalancer
            && service
                .ingress_ips
                .iter()
                .chain(&service.load_balancer_ip)
                .any(|address| is_entry(&self.load_balancer, address));
        is_balanced
            || service
                .external_ips
                .iter()
                .any(|address| is_entry(&self.external, address))
    }

    /// The addresses that go with an advertised service. A cluster IP need not be inside a range.
    fn addresses(&self, service: &Service) -> Vec<IpAddr> {
        let is_inside = |list: &[IpNet], address: &IpAddr| list.iter().any(|net| net.contains(address));
        let cluster = service.cluster_ips.iter().filter(|_| !self.cluster.is_empty());
        let external = service
            .external_ips
            .iter()
            .filter(|address| is_inside(&self.external, address));
        let balanced = service
            .ingress_ips
            .iter()
            .filter(|address| is_inside(&self.load_balancer, address));
        cluster.chain(external).chain(balanced).copied().collect()
    }
}

/// Whether a prefix is one address.
pub(super) fn is_single(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}
