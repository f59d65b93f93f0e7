//! The plan for people: problems first, then each family.

use std::fmt::{self, Display, Write};

use pipit_bgp::Asn;

use crate::desired::{DesiredState, ExportRule, FamilyState, Held, PoolAction, Session, SessionSource};
use crate::model::{
    BlockState, FilterAction, FilterRule, FilterRules, NextHopMode, Operation, Operator, PeerType, Source,
};

/// The plan as text.
pub fn to_text(state: &DesiredState) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", Plan(state));
    text
}

struct Plan<'s>(&'s DesiredState);

impl Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0;
        if !state.problems.is_empty() {
            writeln!(f, "Problems")?;
            for problem in &state.problems {
                writeln!(f, "  {} {}: {}", problem.resource, problem.field, problem.message)?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "Node {}: router id {}, AS {}",
            state.node, state.router_id, state.local_asn
        )?;
        if let Some(cluster_id) = state.cluster_id {
            write!(f, ", route reflector of cluster {cluster_id}")?;
        }
        writeln!(f)?;
        for note in &state.notes {
            writeln!(f, "  note: {note}")?;
        }
        for (name, family) in [("IPv4", &state.ipv4), ("IPv6", &state.ipv6)] {
            writeln!(f)?;
            write_family(f, name, family, state.local_asn)?;
        }
        Ok(())
    }
}

fn write_family(f: &mut fmt::Formatter<'_>, name: &str, family: &FamilyState, local_asn: Asn) -> fmt::Result {
    match family.listen {
        Some(listen) => match listen.address {
            Some(address) => writeln!(f, "{name}: listens on {address} port {}", listen.port)?,
            None => writeln!(f, "{name}: listens on all addresses, port {}", listen.port)?,
        },
        None => writeln!(f, "{name}: no address, no sessions")?,
    }
    section(f, "Sessions", &family.peers, |f, session| {
        write_session(f, session, local_asn)
    })?;
    if !family.filters.is_empty() {
        writeln!(f, "  Filters")?;
        for (name, rules) in family.filters.iter() {
            write_filter(f, name, rules)?;
        }
    }
    section(f, "Own blocks", &family.aggregates, |f, aggregate| {
        let state = match aggregate.state {
            BlockState::Confirmed => "",
            BlockState::PendingDeletion => " (being given back)",
        };
        writeln!(f, "    {}{state}", aggregate.block)
    })?;
    section(f, "Static routes (blackhole)", &family.blackholes, |f, prefix| {
        writeln!(f, "    {prefix}")
    })?;
    section(
        f,
        "Static routes to neighbours",
        &family.host_routes,
        |f, route| writeln!(f, "    {} via {}", route.prefix, route.via),
    )?;
    section(
        f,
        "Communities added on export",
        &family.communities,
        |f, rule| writeln!(f, "    inside {}: {}", rule.cidr, list(&rule.add)),
    )?;
    section(
        f,
        "Export, after a session's filters",
        &family.export,
        write_export,
    )?;
    write_kernel(f, family)?;
    writeln!(
        f,
        "  Connected networks of all interfaces but {}",
        list(&family.ignored_interfaces)
    )
}

fn section<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "  {title}")?;
    items.iter().try_for_each(|item| write(f, item))
}

fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn write_session(f: &mut fmt::Formatter<'_>, session: &Session, local_asn: Asn) -> fmt::Result {
    let kind = match session.source {
        SessionSource::Mesh => "mesh",
        SessionSource::Global => "global",
        SessionSource::Node => "node",
        SessionSource::LocalWorkload => "local workload",
    };
    write!(
        f,
        "    {}  {} port {}, ",
        session.name,
        session.address,
        session.port.unwrap_or(179)
    )?;
    match session.asn {
        Some(asn) => write!(f, "AS {asn} ({})", peer_type(session.peer_type))?,
        None => write!(f, "AS not known")?,
    }
    write!(f, ", {kind} by {}", session.resource)?;
    let facts = [
        (session.passive, "passive"),
        (session.route_reflector_client, "client"),
        (session.authenticated, "TCP MD5"),
        (session.next_hop == NextHopMode::SelfAddress, "next hop self"),
        (session.next_hop == NextHopMode::Keep, "next hop kept"),
    ];
    for (_, fact) in facts.iter().filter(|(is_so, _)| *is_so) {
        write!(f, ", {fact}")?;
    }
    if session.local_asn != local_asn {
        write!(f, ", as AS {}", session.local_asn)?;
    }
    if session.allowed_local_as > 0 {
        write!(f, ", own AS {} times", session.allowed_local_as)?;
    }
    if let Some(hops) = session.ttl_security_hops {
        write!(f, ", TTL security {hops}")?;
    }
    if let Some(secs) = session.graceful_restart_secs {
        write!(f, ", restart {secs} s")?;
    }
    if let Some(secs) = session.keepalive_secs {
        write!(f, ", keepalive {secs} s")?;
    }
    if session.source_address.is_none() {
        write!(f, ", from any address")?;
    }
    if !session.import_filters.is_empty() {
        write!(f, ", import {}", list(&session.import_filters))?;
    }
    if !session.export_filters.is_empty() {
        write!(f, ", export {}", list(&session.export_filters))?;
    }
    match session.held {
        None => writeln!(f),
        Some(Held::AsnMissing) => writeln!(f, "; HELD: the AS is missing"),
        Some(Held::FilterInvalid) => writeln!(f, "; HELD: a filter is not readable"),
        Some(Held::PasswordMissing) => writeln!(f, "; HELD: the password is missing"),
    }
}

fn peer_type(peer_type: PeerType) -> &'static str {
    match peer_type {
        PeerType::Internal => "iBGP",
        PeerType::External => "eBGP",
    }
}

fn write_filter(f: &mut fmt::Formatter<'_>, name: &str, rules: &FilterRules) -> fmt::Result {
    for (direction, rules) in [("import", &rules.import), ("export", &rules.export)] {
        section(f, &format!("  {name}, {direction}"), rules, write_rule)?;
    }
    Ok(())
}

fn write_rule(f: &mut fmt::Formatter<'_>, rule: &FilterRule) -> fmt::Result {
    let FilterRule {
        prefix,
        source,
        interface,
        peer_type: sessions,
        communities,
        as_path_prefix,
        priority,
        operations,
        action,
    } = rule;
    let mut conditions = Vec::new();
    if let Some(prefix) = prefix {
        let relation = match prefix.operator {
            Operator::Equal => "is",
            Operator::NotEqual => "is not",
            Operator::In => "in",
            Operator::NotIn => "not in",
        };
        let lengths = prefix
            .prefix_length
            .map(|lengths| format!(" /{}-{}", lengths.min, lengths.max))
            .unwrap_or_default();
        conditions.push(format!("{relation} {}{lengths}", prefix.cidr));
    }
    if let Some(Source::RemotePeers) = source {
        conditions.push("learned by BGP".to_owned());
    }
    conditions.extend(interface.iter().map(|glob| format!("by interface {glob}")));
    conditions.extend(sessions.iter().map(|kind| format!("on {}", peer_type(*kind))));
    conditions.extend(communities.iter().map(|values| format!("with {}", list(values))));
    conditions.extend(
        as_path_prefix
            .iter()
            .map(|path| format!("AS path begins {}", list(path))),
    );
    conditions.extend(priority.iter().map(|priority| format!("priority {priority}")));
    let conditions = match conditions.is_empty() {
        true => "any".to_owned(),
        false => conditions.join(" and "),
    };
    let operations: String = operations.iter().map(operation).collect();
    let action = match action {
        FilterAction::Accept => "accept",
        FilterAction::Reject => "reject",
    };
    writeln!(f, "      {conditions}: {operations}{action}")
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::AddCommunity(community) => format!("add {community}, "),
        Operation::PrependAsPath(path) => format!("prepend {}, ", list(path)),
        Operation::SetPriority(priority) => format!("priority {priority}, "),
    }
}

fn write_export(f: &mut fmt::Formatter<'_>, rule: &ExportRule) -> fmt::Result {
    match rule {
        ExportRule::RejectDisabledPool { cidr } => {
            writeln!(f, "    reject inside {cidr} (pool with disableBGPExport)")
        }
        ExportRule::RejectInterfaces {
            interfaces,
            peer_type: sessions,
        } => {
            let sessions = sessions.map_or("every session", peer_type);
            writeln!(f, "    reject by interfaces {} ({sessions})", list(interfaces))
        }
        ExportRule::AddCommunities => writeln!(f, "    add communities"),
        ExportRule::Aggregate => writeln!(f, "    own blocks: accept; beneath them: reject unless elevated"),
        ExportRule::AcceptService { cidr } => writeln!(f, "    accept inside {cidr} (service)"),
        ExportRule::AcceptReflectedService { cidr } => {
            writeln!(f, "    accept inside {cidr} (service of other nodes)")
        }
        ExportRule::AcceptPool { cidr } => writeln!(f, "    accept inside {cidr} (pool)"),
        ExportRule::Reject => writeln!(f, "    reject"),
    }
}

fn write_kernel(f: &mut fmt::Formatter<'_>, family: &FamilyState) -> fmt::Result {
    let kernel = &family.kernel;
    writeln!(f, "  Kernel")?;
    for prefix in &kernel.skip_services {
        writeln!(f, "    not written inside {prefix} (service)")?;
    }
    if !kernel.wireguard_next_hops.is_empty() {
        let next_hops = list(&kernel.wireguard_next_hops);
        writeln!(f, "    not written with next hop {next_hops} (WireGuard)")?;
    }
    for rule in &kernel.pools {
        match rule.action {
            PoolAction::Skip => writeln!(f, "    not written inside {} (Felix does)", rule.cidr)?,
            PoolAction::Install => writeln!(f, "    written inside {}", rule.cidr)?,
            PoolAction::InstallTunnelAlways => writeln!(f, "    written inside {}, by tunl0", rule.cidr)?,
            PoolAction::InstallTunnelCrossSubnet { own_subnet } => writeln!(
                f,
                "    written inside {}, by tunl0 unless the next hop is in {own_subnet}",
                rule.cidr
            )?,
        }
    }
    writeln!(f, "    all other routes are written")
}
