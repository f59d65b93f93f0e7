//! Routes of other programs on this node: from the FIB into the table, and which of them are worth hearing of.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pipit_bgp::Family;
use pipit_bgp::wire::attr::{AttrEdit, AttrFacts, Change, originated};
use pipit_bgp::wire::update::Nlri;

use crate::export::PRIORITY_BASE;
use crate::fib::{LearnRules, LearnScope, LearnedFrom, LearnedRoute};
use crate::policy::{Action, Condition, Filter, NetSet, PrefixOperator, Rule};
use crate::rib::{FamilyPolicy, Rib};
use crate::source::SourceId;

impl Rib {
    /// A route of another program came, changed or went.
    pub(crate) fn learn(&mut self, net: IpNet, from: LearnedFrom, route: Option<LearnedRoute>) {
        let source = match from {
            LearnedFrom::Connected => SourceId::CONNECTED,
            LearnedFrom::Kernel => SourceId::KERNEL,
        };
        let Some(route) = route else {
            match net {
                IpNet::V4(prefix) => self.ipv4.withdraw(&mut self.shared, source, nlri(prefix)),
                IpNet::V6(prefix) => self.ipv6.withdraw(&mut self.shared, source, nlri(prefix)),
            }
            return;
        };
        let bytes = attributes(route.metric);
        let facts = AttrFacts::read(&bytes);
        let way = self
            .shared
            .next_hops
            .own(route.interface.as_deref(), route.is_via_gateway);
        let attrs = self.shared.intern_at(&bytes, &facts, way);
        match net {
            IpNet::V4(prefix) => {
                self.ipv4
                    .announce(&mut self.shared, source, nlri::<Ipv4Net>(prefix), attrs, None);
            }
            IpNet::V6(prefix) => {
                self.ipv6
                    .announce(&mut self.shared, source, nlri::<Ipv6Net>(prefix), attrs, None);
            }
        }
        self.shared.release(attrs);
    }

    /// Says to the FIB what the policy in force may announce, when that may have changed.
    pub(crate) fn refresh_learn_rules(&mut self) {
        if !std::mem::take(&mut self.is_learning_stale) {
            return;
        }
        for family in Family::ALL {
            let filters = self.peers.export_filters(family);
            let policy = &self.shared.policy[family];
            let rules = LearnRules {
                ignored_interfaces: policy.ignored_interfaces.clone(),
                scope: scope(policy, filters, family),
            };
            self.shared.fib.set_learn_rules(family, rules);
        }
    }
}

/// One path of each kind to a prefix, so the path identifier says nothing.
fn nlri<P>(prefix: P) -> Nlri<P> {
    Nlri { prefix, path_id: 0 }
}

/// The attributes of a route with this metric. LOCAL_PREF is how Calico's nodes tell each other of it (behaviour
/// contract §5.3); export takes the metric from there.
fn attributes(metric: Option<u32>) -> Vec<u8> {
    let bytes = originated();
    let Some(metric) = metric else { return bytes };
    let edit = AttrEdit {
        local_pref: Change::Set(PRIORITY_BASE.saturating_sub(metric)),
        ..AttrEdit::default()
    };
    let mut edited = Vec::with_capacity(bytes.len() + 7);
    edit.apply(&bytes, &mut edited);
    edited
}

/// What export may accept of this node's routes: by the built-in rules, or by a filter that accepts.
fn scope<'a>(policy: &FamilyPolicy, filters: impl Iterator<Item = &'a Filter>, family: Family) -> LearnScope {
    let export = &policy.export;
    let built_in = [
        &export.pools,
        &export.services,
        &export.reflected_services,
        &export.aggregates,
    ];
    let mut nets: NetSet = built_in.iter().flat_map(|nets| nets.iter()).collect();
    for rule in filters.flat_map(|filter| &filter.rules) {
        match accepts(rule, family) {
            Accepts::Nothing => {}
            Accepts::Inside(net) => drop(nets.insert(net)),
            Accepts::Anything => return LearnScope::Everything,
        }
    }
    LearnScope::Inside(nets)
}

enum Accepts {
    Nothing,
    Inside(IpNet),
    Anything,
}

/// An upper bound of what a rule accepts. All its conditions must hold, so one that bounds the prefix is enough.
fn accepts(rule: &Rule, family: Family) -> Accepts {
    if rule.action == Action::Reject || rule.conditions.contains(&Condition::RemotePeers) {
        return Accepts::Nothing;
    }
    let bound = rule.conditions.iter().find_map(|condition| match condition {
        Condition::Prefix {
            net,
            operator: PrefixOperator::Equal | PrefixOperator::In,
            ..
        } => Some(*net),
        _ => None,
    });
    match bound {
        Some(net) if Family::of(net.addr()) != family => Accepts::Nothing,
        Some(net) => Accepts::Inside(net),
        None => Accepts::Anything,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PeerType;

    fn nets(texts: &[&str]) -> NetSet {
        texts.iter().map(|text| text.parse::<IpNet>().unwrap()).collect()
    }

    fn policy() -> FamilyPolicy {
        let mut policy = FamilyPolicy::default();
        policy.export.pools = nets(&["10.65.0.0/16"]);
        policy.export.aggregates = nets(&["10.99.1.0/26"]);
        policy.export.services = nets(&["10.96.0.0/12"]);
        policy
    }

    fn rule(conditions: Vec<Condition>, action: Action) -> Rule {
        Rule { conditions, action }
    }

    fn prefix(operator: PrefixOperator, net: &str) -> Condition {
        Condition::Prefix {
            net: net.parse().unwrap(),
            operator,
            length: None,
        }
    }

    fn scope_with(rules: Vec<Rule>) -> LearnScope {
        let filter = Filter {
            name: "some".to_owned(),
            rules,
        };
        scope(&policy(), [&filter].into_iter(), Family::Ipv4Unicast)
    }

    #[test]
    fn without_filters_pools_blocks_and_services_bound_what_is_learned() {
        let expected = nets(&["10.65.0.0/16", "10.99.1.0/26", "10.96.0.0/12"]);
        let none = scope(&policy(), std::iter::empty(), Family::Ipv4Unicast);
        assert_eq!(none, LearnScope::Inside(expected.clone()));
        // What never accepts a route of ours widens nothing.
        let rules = vec![
            rule(vec![], Action::Reject),
            rule(vec![Condition::RemotePeers], Action::Accept(Vec::new())),
            rule(
                vec![prefix(PrefixOperator::In, "fd00::/8")],
                Action::Accept(Vec::new()),
            ),
        ];
        assert_eq!(scope_with(rules), LearnScope::Inside(expected));
    }

    #[test]
    fn a_filter_that_accepts_widens_what_is_learned() {
        let conditions = vec![
            Condition::PeerType(PeerType::Ebgp),
            prefix(PrefixOperator::In, "203.0.113.0/24"),
        ];
        let expected = nets(&["10.65.0.0/16", "10.99.1.0/26", "10.96.0.0/12", "203.0.113.0/24"]);
        assert_eq!(
            scope_with(vec![rule(conditions, Action::Accept(Vec::new()))]),
            LearnScope::Inside(expected)
        );
        for conditions in [
            vec![],
            vec![Condition::PeerType(PeerType::Ebgp)],
            vec![prefix(PrefixOperator::NotIn, "10.0.0.0/8")],
        ] {
            assert_eq!(
                scope_with(vec![rule(conditions, Action::Accept(Vec::new()))]),
                LearnScope::Everything
            );
        }
    }

    #[test]
    fn a_kernel_metric_travels_as_local_pref() {
        let local_pref = |metric| AttrFacts::read(&attributes(metric)).local_pref;
        assert_eq!(local_pref(None), None);
        assert_eq!(local_pref(Some(1024)), Some(2_147_482_623));
        assert_eq!(local_pref(Some(u32::MAX)), Some(0));
    }
}
