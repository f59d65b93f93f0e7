//! BGPFilter: ordered rules for import and export, per family.

use ipnet::IpNet;
use pipit_bgp::{Asn, Family, FamilyMap};
use serde::Serialize;
use serde_json::Value;

use super::Resource;
use super::annotations;
use super::bgp_configuration::MAX_PRIORITY;
use super::community::{Community, community};
use super::fields::{Fields, Parsed, Problems};
use super::scalar::{self, Read, ScalarError, show};

/// A BGPFilter.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BgpFilter {
    /// Rules for each family; `None` when one of them is not readable: the filter does not exist there, and
    /// sessions that name it must not run unfiltered.
    pub rules: FamilyMap<Option<FilterRules>>,
}

/// The rules for one family.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct FilterRules {
    /// For routes from the peer; the first that matches decides.
    pub import: Vec<FilterRule>,
    /// For routes to the peer.
    pub export: Vec<FilterRule>,
}

impl FilterRules {
    /// Whether there is no rule in either direction.
    pub fn is_empty(&self) -> bool {
        self.import.is_empty() && self.export.is_empty()
    }
}

/// One rule: all conditions that are set must hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FilterRule {
    /// What the prefix must be.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<PrefixMatch>,
    /// Where the route must come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Glob for the outgoing interface; routes without one do not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Sessions that the rule is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_type: Option<PeerType>,
    /// Communities that the route must carry, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<Vec<Community>>,
    /// How the AS path must begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_path_prefix: Option<Vec<Asn>>,
    /// The route's priority (LOCAL_PREF is 2147483647 less it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// What is done to an accepted route, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// What becomes of a route that matches.
    pub action: FilterAction,
}

/// `cidr`, `matchOperator` and `prefixLength`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PrefixMatch {
    /// Masked.
    pub cidr: IpNet,
    /// How the route's prefix must relate to it.
    pub operator: Operator,
    /// Lengths the route's prefix may have besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<PrefixLengths>,
}

/// `prefixLength`. The rule never matches when `min` is above `max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PrefixLengths {
    /// Shortest length; by default the CIDR's own.
    pub min: u8,
    /// Longest length; by default 32 or 128.
    pub max: u8,
}

/// `matchOperator`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Operator {
    /// The same prefix.
    Equal,
    /// Another prefix.
    NotEqual,
    /// The same or one inside.
    In,
    /// Neither the same nor inside.
    NotIn,
}

/// `source`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Source {
    /// Learned over BGP.
    RemotePeers,
}

/// Kind of session: whether both ends are in one AS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum PeerType {
    /// Same AS as the one we present.
    #[serde(rename = "iBGP")]
    Internal,
    /// Another AS, or an unknown one.
    #[serde(rename = "eBGP")]
    External,
}

/// One of `operations`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `addCommunity`.
    AddCommunity(Community),
    /// `prependASPath`: the path then begins with this sequence, as listed.
    PrependAsPath(Vec<Asn>),
    /// `setPriority`.
    SetPriority(u32),
}

/// `action`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum FilterAction {
    /// Taken; nothing behind it is asked.
    Accept,
    /// Refused.
    Reject,
}

impl Resource for BgpFilter {
    fn parse(value: &Value) -> Parsed<Self> {
        let mut problems = Problems::default();
        let root = Fields::root(
            value,
            "the filter does not exist for this family, and sessions that name it are held",
        );
        let spec = root.object("spec", &mut problems);
        let is_readable = problems.len() == 0;
        let mut rules = |family, import, export| {
            let import = rule_list(&spec, import, family, &mut problems);
            let export = rule_list(&spec, export, family, &mut problems);
            Some(FilterRules {
                import: import?,
                export: export?,
            })
            .filter(|_| is_readable)
        };
        let rules = FamilyMap {
            ipv4: rules(Family::Ipv4Unicast, "importV4", "exportV4"),
            ipv6: rules(Family::Ipv6Unicast, "importV6", "exportV6"),
        };
        annotations::refuse(&root, &mut problems);
        Parsed {
            object: Some(BgpFilter { rules }),
            problems: problems.0,
        }
    }

    fn keep_last_good(parsed: &mut Parsed<Self>, mut last: Self) -> bool {
        let Some(filter) = &mut parsed.object else {
            parsed.object = Some(last);
            return true;
        };
        let mut is_kept = false;
        for family in Family::ALL {
            if filter.rules[family].is_none() && last.rules[family].is_some() {
                filter.rules[family] = last.rules[family].take();
                is_kept = true;
            }
        }
        is_kept
    }
}

/// All rules of a list, `None` when one of them is not readable. All problems are reported.
fn rule_list(
    spec: &Fields<'_>,
    name: &str,
    family: Family,
    problems: &mut Problems,
) -> Option<Vec<FilterRule>> {
    let before = problems.len();
    let items = spec.list(name, problems);
    if problems.len() > before {
        return None;
    }
    items
        .into_iter()
        .map(|(path, item)| rule(&spec.item(path, item, problems), family, problems))
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn rule(fields: &Fields<'_>, family: Family, problems: &mut Problems) -> Option<FilterRule> {
    let mut fatal = Problems::default();
    let p = &mut fatal;
    let mut harmless = Problems::default();
    let prefix = prefix_match(fields, family, p, &mut harmless);
    let source = fields.read("source", p, source);
    let interface = fields.read("interface", p, scalar::text);
    let peer_type = fields.read("peerType", p, peer_type);
    let communities = communities(fields, p);
    let as_path_prefix = fields.read("asPathPrefix", p, as_list);
    let priority = fields.read("priority", p, scalar::number(1..=MAX_PRIORITY));
    let action = action(fields, p);
    let operations = operations(fields, action, p);
    problems.0.append(&mut harmless.0);
    if !fatal.0.is_empty() {
        problems.0.append(&mut fatal.0);
        return None;
    }
    Some(FilterRule {
        prefix,
        source,
        interface,
        peer_type,
        communities,
        as_path_prefix,
        priority,
        operations,
        action: action?,
    })
}

fn prefix_match(
    fields: &Fields<'_>,
    family: Family,
    fatal: &mut Problems,
    harmless: &mut Problems,
) -> Option<PrefixMatch> {
    let cidr = fields.read("cidr", fatal, scalar::prefix_of(family));
    let operator = fields.read("matchOperator", fatal, operator);
    match (fields.value("cidr"), fields.value("matchOperator")) {
        (Some(_), None) => {
            let message = "cidr without matchOperator; the filter does not exist for this family";
            fatal.add(fields.path("matchOperator"), message);
        }
        (None, Some(_)) => {
            let message = "matchOperator without cidr; the filter does not exist for this family";
            fatal.add(fields.path("cidr"), message);
        }
        _ => {}
    }
    let prefix_length = prefix_lengths(fields, family, cidr, fatal, harmless);
    if let Some(cidr) = cidr.filter(|cidr| *cidr != cidr.trunc()) {
        let message = format!(
            "{cidr} has bits behind its length; it is read as {}",
            cidr.trunc()
        );
        harmless.add(fields.path("cidr"), message);
    }
    let (cidr, operator) = (cidr?, operator?);
    Some(PrefixMatch {
        cidr: cidr.trunc(),
        operator,
        prefix_length,
    })
}

fn prefix_lengths(
    fields: &Fields<'_>,
    family: Family,
    cidr: Option<IpNet>,
    fatal: &mut Problems,
    harmless: &mut Problems,
) -> Option<PrefixLengths> {
    let value = fields.value("prefixLength")?;
    let path = fields.path("prefixLength");
    if fields.value("cidr").is_none() {
        fatal.add(
            path,
            "prefixLength without cidr; the filter does not exist for this family",
        );
        return None;
    }
    let longest = match family {
        Family::Ipv4Unicast => 32,
        Family::Ipv6Unicast => 128,
    };
    let mut inner = Problems::default();
    let lengths = fields.item(path.clone(), value, &mut inner);
    let bound = scalar::number::<u8>(0..=u64::from(longest));
    let min = lengths.read("min", &mut inner, &bound);
    let max = lengths.read("max", &mut inner, &bound);
    // The contract names the pair, not its halves.
    if let Some(problem) = inner.0.pop() {
        fatal.add(path, problem.message);
        return None;
    }
    let lengths = PrefixLengths {
        min: min.or(cidr.map(|cidr| cidr.prefix_len())).unwrap_or(0),
        max: max.unwrap_or(longest),
    };
    if lengths.min > lengths.max {
        harmless.add(
            path,
            format!(
                "min {} is above max {}; the rule never matches",
                lengths.min, lengths.max
            ),
        );
    }
    Some(lengths)
}

/// `{values: [c]}`. A condition that is there but says nothing must not match everything.
fn communities(fields: &Fields<'_>, problems: &mut Problems) -> Option<Vec<Community>> {
    let value = fields.value("communities")?;
    let path = fields.path("communities");
    let mut inner = Problems::default();
    let values = fields
        .item(path.clone(), value, &mut inner)
        .scalars("values", &mut inner, community);
    if let Some(problem) = inner.0.pop() {
        problems.add(path, problem.message);
        return None;
    }
    if values.len() != 1 {
        let message = format!(
            "{} communities where one is needed; the filter does not exist for this family",
            values.len()
        );
        problems.add(path, message);
        return None;
    }
    Some(values)
}

fn operator(value: &Value) -> Read<Operator> {
    scalar::word(
        "Equal, NotEqual, In, NotIn",
        &[
            ("Equal", Operator::Equal),
            ("NotEqual", Operator::NotEqual),
            ("In", Operator::In),
            ("NotIn", Operator::NotIn),
        ],
    )(value)
}

fn source(value: &Value) -> Read<Source> {
    scalar::word("RemotePeers", &[("RemotePeers", Source::RemotePeers)])(value)
}

fn peer_type(value: &Value) -> Read<PeerType> {
    scalar::word(
        "eBGP, iBGP",
        &[("eBGP", PeerType::External), ("iBGP", PeerType::Internal)],
    )(value)
}

fn action(fields: &Fields<'_>, problems: &mut Problems) -> Option<FilterAction> {
    if fields.value("action").is_none() {
        let message = "action is missing; the filter does not exist for this family";
        problems.add(fields.path("action"), message);
        return None;
    }
    fields.read(
        "action",
        problems,
        scalar::word(
            "Accept, Reject",
            &[("Accept", FilterAction::Accept), ("Reject", FilterAction::Reject)],
        ),
    )
}

/// A list of AS numbers, not empty.
fn as_list(value: &Value) -> Read<Vec<Asn>> {
    let items = value
        .as_array()
        .filter(|items| !items.is_empty())
        .ok_or_else(|| ScalarError::NotAList { found: show(value) })?;
    items
        .iter()
        .map(|item| scalar::asn(item)?.ok_or_else(|| ScalarError::NotAnAsn { found: show(item) }))
        .collect()
}

fn operations(fields: &Fields<'_>, action: Option<FilterAction>, problems: &mut Problems) -> Vec<Operation> {
    let items = fields.list("operations", problems);
    if !items.is_empty() && action == Some(FilterAction::Reject) {
        let message = "operations on a rejected route; the filter does not exist for this family";
        problems.add(fields.path("operations"), message);
        return Vec::new();
    }
    let mut operations = Vec::new();
    for (path, item) in items {
        let mut inner = Problems::default();
        match operation(&fields.item(path.clone(), item, &mut inner), &mut inner) {
            Some(operation) => operations.push(operation),
            None => {
                let message = inner.0.pop().map_or_else(
                    || "not exactly one readable operation; the filter does not exist for this family".into(),
                    |problem| problem.message,
                );
                problems.add(path, message);
            }
        }
    }
    operations
}

/// Exactly one of the three.
fn operation(fields: &Fields<'_>, problems: &mut Problems) -> Option<Operation> {
    let add = fields.object("addCommunity", problems);
    let prepend = fields.object("prependASPath", problems);
    let set = fields.object("setPriority", problems);
    let mut found = [
        add.read("value", problems, community)
            .map(Operation::AddCommunity),
        prepend
            .read("prefix", problems, as_list)
            .map(Operation::PrependAsPath),
        set.read("value", problems, scalar::number(1..=MAX_PRIORITY))
            .map(Operation::SetPriority),
    ]
    .into_iter()
    .flatten();
    match (found.next(), found.next()) {
        (Some(operation), None) if problems.len() == 0 => Some(operation),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(spec: Value) -> (BgpFilter, Vec<String>) {
        let parsed = BgpFilter::parse(&json!({"spec": spec}));
        let fields = parsed.problems.into_iter().map(|problem| problem.field).collect();
        (parsed.object.unwrap(), fields)
    }

    #[test]
    fn the_example_of_the_contract() {
        let (filter, problems) = fields(json!({"exportV4": [{"cidr": "10.244.0.0/16",
            "prefixLength": {"min": 26, "max": 26}, "matchOperator": "In", "peerType": "eBGP", "action": "Accept",
            "operations": [{"addCommunity": {"value": "64512:100"}}, {"prependASPath": {"prefix": [64512, 64512]}}]},
            {"action": "Reject"}], "importV4": [{"communities": {"values": ["65000:100"]}, "action": "Accept",
            "operations": [{"setPriority": {"value": 512}}]}]}));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            serde_json::to_value(filter.rules.ipv4.unwrap()).unwrap(),
            json!({"import": [{"communities": ["65000:100"], "operations": [{"set_priority": 512}],
                               "action": "Accept"}],
                   "export": [{"cidr": "10.244.0.0/16", "operator": "In", "prefix_length": {"min": 26, "max": 26},
                               "peer_type": "eBGP", "operations": [{"add_community": "64512:100"},
                               {"prepend_as_path": [64512, 64512]}], "action": "Accept"}, {"action": "Reject"}]})
        );
        assert!(filter.rules.ipv6.unwrap().is_empty());
    }

    #[test]
    fn an_unreadable_rule_takes_the_filter_away_in_its_family_only() {
        for (field, rule) in [
            (
                "cidr",
                json!({"cidr": "x", "matchOperator": "In", "action": "Accept"}),
            ),
            (
                "cidr",
                json!({"cidr": "10.0.0.0/8", "matchOperator": "In", "action": "Accept"}),
            ),
            ("cidr", json!({"matchOperator": "In", "action": "Accept"})),
            ("matchOperator", json!({"cidr": "fd00::/8", "action": "Accept"})),
            (
                "matchOperator",
                json!({"cidr": "fd00::/8", "matchOperator": "Near", "action": "Accept"}),
            ),
            (
                "prefixLength",
                json!({"cidr": "fd00::/8", "matchOperator": "In", "prefixLength": {"max": 129},
                                    "action": "Accept"}),
            ),
            ("source", json!({"source": "LocalPeers", "action": "Accept"})),
            (
                "communities",
                json!({"communities": {"values": ["x"]}, "action": "Accept"}),
            ),
            ("communities", json!({"communities": {}, "action": "Accept"})),
            ("asPathPrefix", json!({"asPathPrefix": [0], "action": "Accept"})),
            ("priority", json!({"priority": 0, "action": "Accept"})),
            ("peerType", json!({"peerType": "cBGP", "action": "Accept"})),
            ("action", json!({})),
            ("action", json!({"action": "accept"})),
            ("operations[0]", json!({"action": "Accept", "operations": [{}]})),
            (
                "operations[0]",
                json!({"action": "Accept", "operations": [{"addCommunity": {"value": "x"}}]}),
            ),
            (
                "operations[0]",
                json!({"action": "Accept", "operations": [{"addCommunity": {"value": "1:1"},
                                     "setPriority": {"value": 5}}]}),
            ),
        ] {
            let (filter, problems) = fields(json!({"importV6": [{"action": "Reject"}, rule]}));
            assert_eq!(problems, [format!("spec.importV6[1].{field}")]);
            assert!(filter.rules.ipv6.is_none() && filter.rules.ipv4.is_some());
        }
    }

    #[test]
    fn c132_host_bits_and_impossible_lengths_do_not_take_the_filter_away() {
        let (filter, problems) = fields(json!({"importV4": [{"cidr": "10.1.2.3/8", "matchOperator": "In",
            "prefixLength": {"min": 28, "max": 24}, "action": "Accept"}]}));
        assert_eq!(
            problems,
            ["spec.importV4[0].prefixLength", "spec.importV4[0].cidr"]
        );
        let rules = filter.rules.ipv4.unwrap();
        let prefix = rules.import[0].prefix.as_ref().unwrap();
        assert_eq!(prefix.cidr.to_string(), "10.0.0.0/8");
        assert_eq!(prefix.prefix_length, Some(PrefixLengths { min: 28, max: 24 }));
    }

    #[test]
    fn c131_missing_bounds_are_the_cidrs_own_length_and_the_longest() {
        let (filter, _) = fields(json!({"importV4": [{"cidr": "10.0.0.0/8", "matchOperator": "In",
            "prefixLength": {"min": null, "max": 24}, "action": "Accept"}]}));
        let rules = filter.rules.ipv4.unwrap();
        let lengths = rules.import[0].prefix.as_ref().unwrap().prefix_length;
        assert_eq!(lengths, Some(PrefixLengths { min: 8, max: 24 }));
    }

    #[test]
    fn host_bits_are_told_also_beside_an_error_that_costs_the_rule() {
        let (filter, problems) = fields(json!({"importV4": [
            {"cidr": "10.0.0.1/8", "matchOperator": "Near", "action": "Accept"}]}));
        assert_eq!(filter.rules.ipv4, None);
        assert_eq!(
            problems,
            ["spec.importV4[0].cidr", "spec.importV4[0].matchOperator"]
        );
    }

    #[test]
    fn the_last_good_rules_of_a_family_are_kept() {
        let (last, _) =
            fields(json!({"importV4": [{"action": "Accept"}], "importV6": [{"action": "Accept"}]}));
        let mut parsed =
            BgpFilter::parse(&json!({"spec": {"importV4": [{}], "importV6": [{"action": "Reject"}]}}));
        assert!(BgpFilter::keep_last_good(&mut parsed, last.clone()));
        let kept = parsed.object.unwrap();
        assert_eq!(kept.rules.ipv4, last.rules.ipv4);
        assert_ne!(kept.rules.ipv6, last.rules.ipv6);
    }
}
