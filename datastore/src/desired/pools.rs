//! IPPools: what they let out to peers, and which of their routes are written to the kernel.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::Family;

use super::context::Context;
use super::problems::ProblemSet;
use super::services::ServiceRoutes;
use super::{ExportRule, Kernel, Otherwise, PoolAction, PoolRule};
use crate::cache::Cache;
use crate::model::{Encapsulation, EncapsulationMode, IpPool, PeerType};

/// Tunnel interfaces of VXLAN and WireGuard.
const TUNNELS: [&str; 2] = ["*.cali", "*.calico"];
/// The IPIP tunnel.
const IPIP_TUNNEL: &str = "tunl0";
/// Interfaces of the eBPF data plane.
const BPF_INTERFACES: &str = "bpf*.cali";

/// The pools that count, by prefix: of two with one prefix the alphabetically first.
pub(super) fn pools<'c>(
    cache: &'c Cache,
    problems: &mut ProblemSet,
) -> BTreeMap<IpNet, (&'c String, &'c IpPool)> {
    let mut pools = BTreeMap::new();
    for (name, pool) in cache.pools() {
        match pools.entry(pool.cidr) {
            Entry::Vacant(place) => {
                place.insert((name, pool));
            }
            Entry::Occupied(place) => {
                let (first, _) = place.get();
                let message = format!("IPPool/{first} has the same CIDR and counts; this one does not");
                problems.add(format!("IPPool/{name}"), "spec.cidr", message);
            }
        }
    }
    pools
}

/// The built-in export policy behind a session's filters.
pub(super) fn export_rules(
    context: &Context<'_>,
    family: Family,
    pools: &BTreeMap<IpNet, (&String, &IpPool)>,
    services: &ServiceRoutes,
) -> Vec<ExportRule> {
    let of_family = |is_exported| {
        pools
            .iter()
            .filter(move |(cidr, (_, pool))| {
                Family::of(cidr.addr()) == family && pool.is_exported == is_exported
            })
            .map(|(cidr, _)| *cidr)
    };
    let mut rules: Vec<_> = of_family(false)
        .map(|cidr| ExportRule::RejectDisabledPool { cidr })
        .collect();
    let mut tunnels = TUNNELS.to_vec();
    if !context.program_cluster_routes().includes_ipip() {
        tunnels.push(IPIP_TUNNEL);
    }
    rules.push(ExportRule::RejectInterfaces {
        interfaces: tunnels,
        peer_type: Some(PeerType::Internal),
    });
    rules.push(ExportRule::RejectInterfaces {
        interfaces: vec![BPF_INTERFACES],
        peer_type: None,
    });
    rules.push(ExportRule::AddCommunities);
    rules.push(ExportRule::Aggregate);
    let advertised = services.advertised[family].iter();
    rules.extend(advertised.map(|cidr| ExportRule::AcceptService { cidr: *cidr }));
    if context.cluster_id().is_some() {
        let reflected = services.reflected[family].iter();
        rules.extend(reflected.map(|cidr| ExportRule::AcceptReflectedService { cidr: *cidr }));
    }
    rules.extend(of_family(true).map(|cidr| ExportRule::AcceptPool { cidr }));
    rules.push(ExportRule::Reject);
    rules
}

/// Which routes are written to the kernel.
pub(super) fn kernel(
    context: &Context<'_>,
    family: Family,
    pools: &BTreeMap<IpNet, (&String, &IpPool)>,
    services: &ServiceRoutes,
) -> Kernel {
    let network = context.network(family);
    let has_rules = family == Family::Ipv6Unicast || network.is_some();
    let rules = pools
        .iter()
        .filter(|(cidr, _)| has_rules && Family::of(cidr.addr()) == family)
        .map(|(cidr, (_, pool))| PoolRule {
            cidr: *cidr,
            action: action(context, family, pool.encapsulation, network),
        })
        .collect();
    Kernel {
        skip_services: services.configured[family].iter().copied().collect(),
        wireguard_next_hops: wireguard_next_hops(context, family),
        pools: rules,
        otherwise: Otherwise::Install,
    }
}

fn action(
    context: &Context<'_>,
    family: Family,
    encapsulation: Encapsulation,
    network: Option<IpNet>,
) -> PoolAction {
    let owned = context.program_cluster_routes();
    match encapsulation {
        Encapsulation::Vxlan(_) => PoolAction::Skip,
        Encapsulation::None if owned.includes_no_encap() => PoolAction::Install,
        Encapsulation::Ipip(_) if !owned.includes_ipip() => PoolAction::Skip,
        Encapsulation::None => PoolAction::Skip,
        // IPIP is IPv4's; validation forbids such a pool.
        Encapsulation::Ipip(_) if family == Family::Ipv6Unicast => PoolAction::Install,
        Encapsulation::Ipip(EncapsulationMode::Always) => PoolAction::InstallTunnelAlways,
        Encapsulation::Ipip(EncapsulationMode::CrossSubnet) => match network {
            Some(network) => PoolAction::InstallTunnelCrossSubnet {
                own_subnet: network.trunc(),
            },
            None => PoolAction::InstallTunnelAlways,
        },
    }
}

/// Next hops that Felix reaches through WireGuard: both ends have it.
fn wireguard_next_hops(context: &Context<'_>, family: Family) -> Vec<IpAddr> {
    if !context.node.has_wireguard[family] {
        return Vec::new();
    }
    let mut next_hops: Vec<_> = context
        .cache
        .nodes()
        .filter(|(name, node)| name.as_ref() != context.name && node.has_wireguard[family])
        .filter_map(|(_, node)| Some(node.addresses[family]?.addr()))
        .collect();
    next_hops.sort_unstable();
    next_hops.dedup();
    next_hops
}
