//! The desired state in the terms of those who carry it out: speaker, RIB, kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use pipit_bgp::{Family, FamilyMap};
use pipit_rib::policy::{self as rib, NetSet};
use pipit_rib::{FamilyPolicy, NodeSettings, PeerSettings};

use crate::desired::{DesiredState, ExportRule, FamilyState, PoolAction, Session};
use crate::model::{self, Community, FilterRule, FilterRules, Operation};

/// LOCAL_PREF of a route of priority zero (Calico).
const PRIORITY_BASE: u32 = 2_147_483_647;

/// What holds for the node as a whole.
pub fn node_settings(state: &DesiredState) -> NodeSettings {
    NodeSettings {
        router_id: state.router_id,
        local_as: state.local_asn,
        cluster_id: state.cluster_id,
        addresses: FamilyMap {
            ipv4: state.ipv4.address,
            ipv6: state.ipv6.address,
        },
        max_paths: usize::from(state.cluster_extensions.max_paths),
        route_protocol: state.cluster_extensions.route_protocol,
        nexthop_objects: state.cluster_extensions.nexthop_objects,
    }
}

/// Where connections are taken.
pub fn listen(state: &DesiredState) -> FamilyMap<Option<SocketAddr>> {
    let of = |family: &FamilyState, any: std::net::IpAddr| {
        family
            .listen
            .map(|listen| SocketAddr::new(listen.address.unwrap_or(any), listen.port))
    };
    FamilyMap {
        ipv4: of(&state.ipv4, [0u8; 4].into()),
        ipv6: of(&state.ipv6, [0u8; 16].into()),
    }
}

/// Export and kernel policy of one family.
pub fn family_policy(state: &DesiredState, family: Family) -> FamilyPolicy {
    let family_state = state.family(family);
    let mut export = rib::ExportRules {
        normal_priority: family_state.normal_priority,
        aggregates: family_state
            .aggregates
            .iter()
            .map(|aggregate| aggregate.block)
            .collect(),
        communities: family_state
            .communities
            .iter()
            .map(|rule| (rule.cidr, rule.add.iter().copied().map(community).collect()))
            .collect(),
        graceful_shutdown: !state.node_extensions.usable,
        ..rib::ExportRules::default()
    };
    for rule in &family_state.export {
        match rule {
            ExportRule::RejectDisabledPool { cidr } => drop(export.disabled_pools.insert(*cidr)),
            ExportRule::RejectInterfaces {
                interfaces,
                peer_type,
            } => {
                let globs = interfaces.iter().map(|glob| rib::Glob::new(*glob));
                match peer_type {
                    Some(model::PeerType::Internal) => export.reject_interfaces_ibgp.extend(globs),
                    Some(model::PeerType::External) | None => export.reject_interfaces.extend(globs),
                }
            }
            ExportRule::AcceptService { cidr } => drop(export.services.insert(*cidr)),
            ExportRule::AcceptReflectedService { cidr } => drop(export.reflected_services.insert(*cidr)),
            ExportRule::AcceptPool { cidr } => drop(export.pools.insert(*cidr)),
            // Their places in the order are the engine's own.
            ExportRule::AddCommunities | ExportRule::Aggregate | ExportRule::Reject => {}
        }
    }
    for net in extra_routes(state, family) {
        export.services.insert(net);
    }
    let kernel = rib::KernelRules {
        skip_services: family_state
            .kernel
            .skip_services
            .iter()
            .copied()
            .collect::<NetSet>(),
        wireguard_next_hops: family_state.kernel.wireguard_next_hops.clone(),
        pools: family_state
            .kernel
            .pools
            .iter()
            .map(|pool| (pool.cidr, pool_action(pool.action)))
            .collect(),
    };
    let ignored = family_state.ignored_interfaces.iter();
    FamilyPolicy {
        export,
        kernel,
        ignored_interfaces: ignored.map(rib::Glob::new).collect(),
    }
}

/// The routes that the node originates, each with whether the kernel gets its blackhole. Service ranges never do.
pub fn originated(state: &DesiredState) -> BTreeMap<IpNet, bool> {
    let mut routes = BTreeMap::new();
    for family in Family::ALL {
        let family_state = state.family(family);
        routes.extend(extra_routes(state, family).map(|net| (net, false)));
        routes.extend(family_state.blackholes.iter().map(|&net| (net, false)));
        // A /32 block has no blackhole, and is announced all the same if something leads to it.
        for aggregate in &family_state.aggregates {
            if let Some(is_in_kernel) = routes.get_mut(&aggregate.block) {
                *is_in_kernel = true;
            }
        }
    }
    routes
}

/// Static routes to neighbours behind a gateway (`reachableBy`): neighbour, gateway.
pub fn host_routes(state: &DesiredState) -> BTreeMap<IpAddr, IpAddr> {
    let families = Family::ALL.into_iter();
    let routes = families.flat_map(|family| &state.family(family).host_routes);
    routes.map(|route| (route.prefix.addr(), route.via)).collect()
}

/// What the RIB must know of a session.
pub fn peer_settings(state: &DesiredState, session: &Session) -> PeerSettings {
    let filters = |direction: usize, pick: fn(&FilterRules) -> &Vec<FilterRule>| {
        let of_family = |family: Family| {
            let known = &state.family(family).carried_filters;
            let rules = |name: &String| Some(Arc::new(filter(name, pick(known.get(name)?))));
            let names = session.filters(family)[direction];
            names.iter().filter_map(rules).collect()
        };
        FamilyMap {
            ipv4: of_family(Family::Ipv4Unicast),
            ipv6: of_family(Family::Ipv6Unicast),
        }
    };
    PeerSettings {
        name: session.name.clone(),
        address: session.address,
        interface: session.interface.as_deref().map(str::to_owned),
        local_as: session.local_asn,
        remote_as: session.asn.unwrap_or_default(),
        next_hop: match session.next_hop {
            model::NextHopMode::Auto => pipit_rib::NextHopMode::Auto,
            model::NextHopMode::SelfAddress => pipit_rib::NextHopMode::SelfAddress,
            model::NextHopMode::Keep => pipit_rib::NextHopMode::Keep,
        },
        is_client: session.is_route_reflector_client(),
        allowed_local_as: u8::try_from(session.allowed_local_as).unwrap_or(u8::MAX),
        max_prefixes: Some(session.max_prefixes()),
        enforces_first_as: session.enforces_first_as(),
        accepts_local_pref: session.accepts_local_preference(),
        role: session.role(),
        import: filters(0, |rules| &rules.import),
        export: filters(1, |rules| &rules.export),
    }
}

/// `pipit.io/originate`.
fn extra_routes(state: &DesiredState, family: Family) -> impl Iterator<Item = IpNet> {
    let routes = state.node_extensions.originate.iter().copied();
    routes
        .filter(move |net| Family::of(net.addr()) == family)
        .map(|net| net.trunc())
}

fn pool_action(action: PoolAction) -> rib::PoolAction {
    match action {
        PoolAction::Skip => rib::PoolAction::Skip,
        PoolAction::Install => rib::PoolAction::Install,
        PoolAction::InstallTunnelAlways => rib::PoolAction::TunnelAlways,
        PoolAction::InstallTunnelCrossSubnet {
            own_subnet: IpNet::V4(own_subnet),
        } => rib::PoolAction::TunnelCrossSubnet { own_subnet },
        // IPIP carries IPv4 only; such a pool is refused before it gets here.
        PoolAction::InstallTunnelCrossSubnet {
            own_subnet: IpNet::V6(_),
        } => rib::PoolAction::Install,
    }
}

fn filter(name: &str, rules: &[FilterRule]) -> rib::Filter {
    rib::Filter {
        name: name.to_owned(),
        rules: rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &FilterRule) -> rib::Rule {
    // Taken apart without `..`: a new match of BGPFilter does not compile until it has a condition.
    let FilterRule {
        prefix,
        source,
        interface,
        peer_type,
        communities,
        as_path_prefix,
        priority,
        operations,
        action,
    } = rule;
    let mut conditions = Vec::new();
    if let Some(prefix) = prefix {
        conditions.push(rib::Condition::Prefix {
            net: prefix.cidr,
            operator: match prefix.operator {
                model::Operator::Equal => rib::PrefixOperator::Equal,
                model::Operator::NotEqual => rib::PrefixOperator::NotEqual,
                model::Operator::In => rib::PrefixOperator::In,
                model::Operator::NotIn => rib::PrefixOperator::NotIn,
            },
            length: prefix.prefix_length.map(|lengths| (lengths.min, lengths.max)),
        });
    }
    conditions.extend(source.map(|model::Source::RemotePeers| rib::Condition::RemotePeers));
    conditions.extend(
        interface
            .as_ref()
            .map(|glob| rib::Condition::Interface(rib::Glob::new(glob))),
    );
    conditions.extend(peer_type.map(|peer_type| {
        rib::Condition::PeerType(match peer_type {
            model::PeerType::Internal => rib::PeerType::Ibgp,
            model::PeerType::External => rib::PeerType::Ebgp,
        })
    }));
    conditions.extend(
        communities
            .iter()
            .flatten()
            .map(|c| rib::Condition::Community(community(*c))),
    );
    conditions.extend(as_path_prefix.clone().map(rib::Condition::AsPathPrefix));
    conditions.extend(priority.map(|priority| rib::Condition::LocalPref(local_pref(priority))));
    let action = match action {
        model::FilterAction::Accept => rib::Action::Accept(operations.iter().map(operation).collect()),
        model::FilterAction::Reject => rib::Action::Reject,
    };
    rib::Rule { conditions, action }
}

fn operation(operation: &Operation) -> rib::Operation {
    match operation {
        Operation::AddCommunity(value) => rib::Operation::AddCommunity(community(*value)),
        Operation::PrependAsPath(path) => rib::Operation::PrependAsPath(path.clone()),
        Operation::SetPriority(priority) => rib::Operation::SetLocalPref(local_pref(*priority)),
    }
}

fn local_pref(priority: u32) -> u32 {
    PRIORITY_BASE.saturating_sub(priority)
}

fn community(value: Community) -> rib::Community {
    match value {
        Community::Standard(high, low) => rib::Community::Standard(u32::from(high) << 16 | u32::from(low)),
        Community::Large(a, b, c) => rib::Community::Large([a, b, c]),
    }
}
