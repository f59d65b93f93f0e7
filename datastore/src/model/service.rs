//! Kubernetes Service, as far as its addresses are advertised.

use std::net::IpAddr;

use pipit_bgp::{Family, FamilySet};
use serde_json::Value;

use super::Resource;
use super::fields::{Fields, Parsed, Problems};
use super::scalar;

/// A Service. Texts that are no plain address are left out everywhere.
#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    /// `spec.type`.
    pub kind: ServiceType,
    /// Whether it has a cluster IP other than `None`.
    pub has_cluster_ip: bool,
    /// `spec.clusterIPs`.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `spec.loadBalancerIP`: asked for, not yet given.
    pub load_balancer_ip: Option<IpAddr>,
    /// `status.loadBalancer.ingress[].ip`.
    pub ingress_ips: Vec<IpAddr>,
    /// `spec.externalTrafficPolicy`.
    pub policy: TrafficPolicy,
    /// `spec.ipFamilies`, or those of the cluster IPs.
    pub families: FamilySet,
}

/// `spec.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceType {
    /// ClusterIP.
    ClusterIp,
    /// NodePort.
    NodePort,
    /// LoadBalancer.
    LoadBalancer,
    /// ExternalName, or something newer: never advertised.
    Other,
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrafficPolicy {
    /// Any node may take the traffic.
    Cluster,
    /// Only nodes with an endpoint.
    Local,
}

impl Resource for Service {
    fn parse(value: &Value) -> Parsed<Self> {
        // Whatever is odd in a Service is the Kubernetes API's to refuse.
        let mut ignored = Problems::default();
        let p = &mut ignored;
        let root = Fields::root(value, "");
        let spec = root.object("spec", p);
        let cluster_ip = spec.read("clusterIP", p, scalar::text);
        let mut cluster_texts = spec.scalars("clusterIPs", p, scalar::text);
        if cluster_texts.is_empty() {
            cluster_texts.extend(cluster_ip.clone());
        }
        let main = cluster_ip.as_ref().or(cluster_texts.first());
        let has_cluster_ip = main.is_some_and(|text| text != "None");
        let cluster_ips = plain_addresses(&cluster_texts);
        let families = match spec.scalars("ipFamilies", p, scalar::text) {
            names if names.is_empty() => cluster_ips.iter().map(|ip| Family::of(*ip)).collect(),
            names => names.iter().filter_map(|name| family(name)).collect(),
        };
        let load_balancer = root.object("status", p).object("loadBalancer", p);
        let ingress: Vec<_> = load_balancer
            .list("ingress", p)
            .into_iter()
            .filter_map(|(path, item)| load_balancer.item(path, item, p).read("ip", p, scalar::text))
            .collect();
        Parsed::clean(Service {
            kind: kind(spec.read("type", p, scalar::text).as_deref()),
            has_cluster_ip,
            cluster_ips,
            external_ips: plain_addresses(&spec.scalars("externalIPs", p, scalar::text)),
            load_balancer_ip: spec.read("loadBalancerIP", p, scalar::address),
            ingress_ips: plain_addresses(&ingress),
            policy: match spec.read("externalTrafficPolicy", p, scalar::text).as_deref() {
                Some("Local") => TrafficPolicy::Local,
                _ => TrafficPolicy::Cluster,
            },
            families,
        })
    }
}

fn kind(text: Option<&str>) -> ServiceType {
    match text {
        None | Some("ClusterIP") => ServiceType::ClusterIp,
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some(_) => ServiceType::Other,
    }
}

/// The family that Kubernetes calls `IPv4` or `IPv6`.
pub(super) fn family(name: &str) -> Option<Family> {
    match name {
        "IPv4" => Some(Family::Ipv4Unicast),
        "IPv6" => Some(Family::Ipv6Unicast),
        _ => None,
    }
}

fn plain_addresses(texts: &[String]) -> Vec<IpAddr> {
    texts
        .iter()
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .collect()
}
