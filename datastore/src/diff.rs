//! What has to change between two desired states, and what each change does to sessions.
//!
//! Minimal and in a fixed order: whatever is equal in both states does not occur. Sessions that were not computed
//! anew are recognised by their pointer, so one new block costs a look at the blocks.

mod session;
mod steps;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use pipit_bgp::Family;
use serde::Serialize;

pub use session::SessionSetting;
pub use steps::{SessionStep, session_steps};

use crate::desired::{Aggregate, DesiredState, FamilyState, HostRoute, Session};
use crate::model::{BlockState, FilterRules};

/// What a change does to the sessions it concerns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeClass {
    /// Nothing; a route more or less may be announced.
    NoEffect,
    /// Routes are judged or announced again; the session stays.
    RouteRefresh,
    /// The session ends, or ends and starts again.
    SessionReset,
}

impl fmt::Display for ChangeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChangeClass::NoEffect => "no effect on sessions",
            ChangeClass::RouteRefresh => "route refresh",
            ChangeClass::SessionReset => "session reset",
        })
    }
}

/// One difference. What it changed to stands in the new state.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The BGP Identifier: every session starts again.
    RouterId,
    /// The node became a reflector, stopped being one, or changed its cluster.
    ClusterId,
    /// The node's AS. What it does to sessions is said of each; those that say `localASNumber` do not see it.
    LocalAsn,
    /// How much is logged.
    LogSeverity,
    /// `pipit.io/originate`: prefixes that are announced now, and no longer.
    Originate {
        /// New ones.
        added: Vec<IpNet>,
        /// Those that are gone.
        removed: Vec<IpNet>,
    },
    /// `pipit.io/usable`: the node is drained, or is no longer.
    Usable,
    /// Annotations of the BGPConfiguration `default`.
    ClusterExtensions,
    /// Where connections are taken.
    Listen(Family),
    /// A session is new; look it up by name in the new state.
    SessionAdded {
        /// Its family.
        family: Family,
        /// Its name.
        name: String,
    },
    /// A session is gone.
    SessionRemoved {
        /// Its family.
        family: Family,
        /// Its name.
        name: String,
    },
    /// A session with a neighbour that stays is another one in these settings.
    SessionChanged {
        /// Its family.
        family: Family,
        /// Its name in the old state.
        old_name: String,
        /// Its name in the new state.
        name: String,
        /// What changed; not empty.
        settings: Vec<SessionSetting>,
    },
    /// A BGPFilter exists in this family now.
    FilterAdded(FilterChange),
    /// A BGPFilter no longer exists in this family.
    FilterRemoved(FilterChange),
    /// A BGPFilter's rules for this family are others.
    FilterChanged(FilterChange),
    /// Priority of normal routes.
    NormalPriority(Family),
    /// Communities added on export.
    Communities(Family),
    /// Export policy.
    Export(Family),
    /// An own block is new, or its state is another one.
    BlockSet {
        /// The block as it is now.
        aggregate: Aggregate,
    },
    /// An own block is gone.
    BlockRemoved {
        /// The block.
        block: IpNet,
    },
    /// A static route is originated now.
    BlackholeAdded {
        /// Its prefix.
        prefix: IpNet,
    },
    /// A static route is no longer originated.
    BlackholeRemoved {
        /// Its prefix.
        prefix: IpNet,
    },
    /// A static route to a neighbour is new, or has another gateway.
    HostRouteSet {
        /// The route as it is now.
        route: HostRoute,
    },
    /// A static route to a neighbour is gone.
    HostRouteRemoved {
        /// Its prefix.
        prefix: IpNet,
    },
    /// Which routes are written to the kernel.
    Kernel(Family),
    /// Interfaces that are not used as directly connected networks.
    IgnoredInterfaces(Family),
}

/// Which BGPFilter changed, in which family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterChange {
    /// The family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Whether a session goes by it, before or after.
    pub is_used: bool,
}

impl FilterChange {
    fn class(&self) -> ChangeClass {
        match self.is_used {
            true => ChangeClass::RouteRefresh,
            false => ChangeClass::NoEffect,
        }
    }
}

impl Change {
    /// What it does to the sessions it concerns.
    pub fn class(&self) -> ChangeClass {
        match self {
            Change::RouterId | Change::SessionRemoved { .. } => ChangeClass::SessionReset,
            Change::SessionChanged { settings, .. } => settings
                .iter()
                .map(|setting| setting.class())
                .max()
                .unwrap_or(ChangeClass::NoEffect),
            Change::FilterAdded(filter) | Change::FilterRemoved(filter) | Change::FilterChanged(filter) => {
                filter.class()
            }
            Change::ClusterId
            | Change::Usable
            | Change::NormalPriority(_)
            | Change::Communities(_)
            | Change::Export(_) => ChangeClass::RouteRefresh,
            // A session more: those there are go on.
            Change::SessionAdded { .. }
            | Change::LocalAsn
            | Change::LogSeverity
            | Change::Originate { .. }
            | Change::ClusterExtensions
            | Change::Listen(_)
            | Change::BlockSet { .. }
            | Change::BlockRemoved { .. }
            | Change::BlackholeAdded { .. }
            | Change::BlackholeRemoved { .. }
            | Change::HostRouteSet { .. }
            | Change::HostRouteRemoved { .. }
            | Change::Kernel(_)
            | Change::IgnoredInterfaces(_) => ChangeClass::NoEffect,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |prefixes: &[IpNet]| {
            let texts: Vec<_> = prefixes.iter().map(IpNet::to_string).collect();
            texts.join(", ")
        };
        match self {
            Change::RouterId => write!(f, "router id"),
            Change::ClusterId => write!(f, "cluster id"),
            Change::LocalAsn => write!(f, "AS number"),
            Change::LogSeverity => write!(f, "log severity"),
            Change::Originate { added, removed } => {
                write!(f, "originated prefixes: +[{}] -[{}]", list(added), list(removed))
            }
            Change::Usable => write!(f, "usable"),
            Change::ClusterExtensions => write!(f, "cluster settings"),
            Change::Listen(family) => write!(f, "{family} listening address or port"),
            Change::SessionAdded { name, .. } => write!(f, "+ session {name}"),
            Change::SessionRemoved { name, .. } => write!(f, "- session {name}"),
            Change::SessionChanged { name, settings, .. } => {
                let settings: Vec<_> = settings.iter().map(|setting| setting.name()).collect();
                write!(f, "session {name}: {}", settings.join(", "))
            }
            Change::FilterAdded(FilterChange { family, name, .. }) => write!(f, "+ {family} filter {name}"),
            Change::FilterRemoved(FilterChange { family, name, .. }) => write!(f, "- {family} filter {name}"),
            Change::FilterChanged(FilterChange { family, name, .. }) => write!(f, "{family} filter {name}"),
            Change::NormalPriority(family) => write!(f, "{family} normal route priority"),
            Change::Communities(family) => write!(f, "{family} communities"),
            Change::Export(family) => write!(f, "{family} export policy"),
            Change::BlockSet { aggregate } => match aggregate.state {
                BlockState::Confirmed => write!(f, "+ block {}", aggregate.block),
                BlockState::PendingDeletion => write!(f, "+ block {} (being given back)", aggregate.block),
            },
            Change::BlockRemoved { block } => write!(f, "- block {block}"),
            Change::BlackholeAdded { prefix } => write!(f, "+ static route {prefix}"),
            Change::BlackholeRemoved { prefix } => write!(f, "- static route {prefix}"),
            Change::HostRouteSet { route } => write!(f, "+ static route {} via {}", route.prefix, route.via),
            Change::HostRouteRemoved { prefix } => write!(f, "- static route {prefix}"),
            Change::Kernel(family) => write!(f, "{family} kernel rules"),
            Change::IgnoredInterfaces(family) => write!(f, "{family} ignored interfaces"),
        }
    }
}

/// What leads from one state to the other. Problems and notes are for people and not compared.
pub fn diff(old: &DesiredState, new: &DesiredState) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut when = |is_changed: bool, change: Change| {
        if is_changed {
            changes.push(change);
        }
    };
    when(old.router_id != new.router_id, Change::RouterId);
    when(old.cluster_id != new.cluster_id, Change::ClusterId);
    when(old.local_asn != new.local_asn, Change::LocalAsn);
    when(old.log_severity != new.log_severity, Change::LogSeverity);
    let (ours, theirs) = (&old.node_extensions, &new.node_extensions);
    let (removed, added) = sorted_difference(&ours.originate, &theirs.originate);
    when(
        !(added.is_empty() && removed.is_empty()),
        Change::Originate { added, removed },
    );
    when(ours.usable != theirs.usable, Change::Usable);
    when(
        old.cluster_extensions != new.cluster_extensions,
        Change::ClusterExtensions,
    );
    for family in Family::ALL {
        diff_family(family, old, new, &mut changes);
    }
    changes
}

fn diff_family(
    family: Family,
    old_state: &DesiredState,
    new_state: &DesiredState,
    changes: &mut Vec<Change>,
) {
    let (old, new) = (old_state.family(family), new_state.family(family));
    // Every field has to be thought about here. `enabled` says nothing that `listen` does not.
    let FamilyState {
        enabled: _,
        // Shows in the sessions' source address.
        address: _,
        listen,
        normal_priority,
        peers,
        // The same rules as the carried ones, or none where the plan does not show them.
        filters: _,
        carried_filters: filters,
        communities,
        export,
        aggregates,
        blackholes,
        host_routes,
        kernel,
        ignored_interfaces,
    } = new;
    if old.listen != *listen {
        changes.push(Change::Listen(family));
    }
    // A session may name a filter only while it exists: new filters before sessions, old ones after.
    let is_used = |name: &str| {
        let is_among = |names: &Arc<[String]>| names.iter().any(|used| used == name);
        let mut sessions = old_state.sessions().chain(new_state.sessions());
        sessions.any(|session| session.filters(family).into_iter().any(is_among))
    };
    let [present_filters, gone_filters] = match Arc::ptr_eq(&old.carried_filters, filters) {
        true => [Vec::new(), Vec::new()],
        false => diff_filters(family, &old.carried_filters, filters, is_used),
    };
    changes.extend(present_filters);
    if !Arc::ptr_eq(&old.peers, peers) {
        diff_sessions(family, &old.peers, peers, changes);
    }
    changes.extend(gone_filters);
    if old.normal_priority != *normal_priority {
        changes.push(Change::NormalPriority(family));
    }
    if old.communities != *communities {
        changes.push(Change::Communities(family));
    }
    if old.export != *export {
        changes.push(Change::Export(family));
    }
    diff_keyed(
        (&old.aggregates, aggregates),
        |aggregate| aggregate.block,
        |aggregate| Change::BlockSet { aggregate },
        |block| Change::BlockRemoved { block },
        changes,
    );
    diff_keyed(
        (&old.blackholes, blackholes),
        |prefix| *prefix,
        |prefix| Change::BlackholeAdded { prefix },
        |prefix| Change::BlackholeRemoved { prefix },
        changes,
    );
    diff_keyed(
        (&old.host_routes, host_routes),
        |route| route.prefix,
        |route| Change::HostRouteSet { route },
        |prefix| Change::HostRouteRemoved { prefix },
        changes,
    );
    if old.kernel != *kernel {
        changes.push(Change::Kernel(family));
    }
    if old.ignored_interfaces != *ignored_interfaces {
        changes.push(Change::IgnoredInterfaces(family));
    }
}

/// Filters that are new or changed, and filters that are gone.
fn diff_filters(
    family: Family,
    old: &BTreeMap<String, FilterRules>,
    new: &BTreeMap<String, FilterRules>,
    is_used: impl Fn(&str) -> bool,
) -> [Vec<Change>; 2] {
    let change = |name: &String| FilterChange {
        family,
        name: name.clone(),
        is_used: is_used(name),
    };
    let present = new.iter().filter_map(|(name, rules)| match old.get(name) {
        None => Some(Change::FilterAdded(change(name))),
        Some(before) if before != rules => Some(Change::FilterChanged(change(name))),
        Some(_) => None,
    });
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let gone = gone.map(|name| Change::FilterRemoved(change(name)));
    [present.collect(), gone.collect()]
}

/// Sessions by name; of what is left, an old and a new session with the same neighbour are one session whose port
/// or origin changed: the connection need not end for that.
fn diff_sessions(family: Family, old: &[Arc<Session>], new: &[Arc<Session>], changes: &mut Vec<Change>) {
    let (mut removed, mut added): (Vec<&Arc<Session>>, Vec<&Arc<Session>>) = (Vec::new(), Vec::new());
    let mut changed: Vec<(&Arc<Session>, &Arc<Session>)> = Vec::new();
    for step in session_steps(old, new) {
        match step {
            SessionStep::Same(_) => {}
            SessionStep::Changed(old, new) => changed.push((old, new)),
            SessionStep::Removed(old) => removed.push(old),
            SessionStep::Added(new) => added.push(new),
        }
    }
    let mut neighbours: BTreeMap<_, Vec<&Arc<Session>>> = BTreeMap::new();
    for session in removed.iter().rev() {
        let neighbour = (session.address, session.interface.as_deref());
        neighbours.entry(neighbour).or_default().push(session);
    }
    added.retain(|new| {
        let neighbour = (new.address, new.interface.as_deref());
        let Some(old) = neighbours.get_mut(&neighbour).and_then(Vec::pop) else {
            return true;
        };
        changed.push((old, new));
        removed.retain(|session| !Arc::ptr_eq(session, old));
        false
    });
    changes.extend(removed.into_iter().map(|session| Change::SessionRemoved {
        family,
        name: session.name.clone(),
    }));
    for (old, new) in changed.into_iter().filter(|(old, new)| old != new) {
        let settings = session::changed_settings(old, new);
        if !settings.is_empty() {
            changes.push(Change::SessionChanged {
                family,
                old_name: old.name.clone(),
                name: new.name.clone(),
                settings,
            });
        }
    }
    changes.extend(added.into_iter().map(|session| Change::SessionAdded {
        family,
        name: session.name.clone(),
    }));
}

/// Two lists in the order of a key: what is gone first, then what is new or changed.
fn diff_keyed<T: Copy + PartialEq>(
    (old, new): (&[T], &[T]),
    key: impl Fn(&T) -> IpNet,
    set: impl Fn(T) -> Change,
    removed: impl Fn(IpNet) -> Change,
    changes: &mut Vec<Change>,
) {
    let find = |list: &[T], wanted: IpNet| -> Option<T> {
        let place = list.binary_search_by(|item| key(item).cmp(&wanted)).ok()?;
        list.get(place).copied()
    };
    let gone = old.iter().map(&key).filter(|prefix| find(new, *prefix).is_none());
    changes.extend(gone.map(removed));
    let present = new.iter().filter(|item| find(old, key(item)) != Some(**item));
    changes.extend(present.map(|item| set(*item)));
}

/// What is only in the first and only in the second of two sorted lists.
fn sorted_difference(old: &[IpNet], new: &[IpNet]) -> (Vec<IpNet>, Vec<IpNet>) {
    let only = |these: &[IpNet], those: &[IpNet]| {
        let missing = |prefix: &&IpNet| those.binary_search(prefix).is_err();
        these.iter().filter(missing).copied().collect()
    };
    (only(old, new), only(new, old))
}
