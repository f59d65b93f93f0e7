//! Policy: ordered rules, the first that matches decides.
//!
//! A [`Filter`] is one direction of one Calico BGPFilter for one family. What no filter decides falls to the
//! built-in rules: `import` for what comes in, [`ExportRules`] and `export` for what goes out, [`KernelRules`] for
//! what is written to the kernel.

mod condition;
mod export_rules;
mod glob;
mod kernel_rules;
mod net_set;
mod operation;

pub use condition::{Condition, Condition::*, PrefixOperator};
pub use export_rules::{ExportRules, ServiceOrigin};
pub use glob::Glob;
pub use kernel_rules::{KernelRules, PoolAction};
pub use net_set::NetSet;
pub use operation::{Community, Operation};

use pipit_bgp::wire::attr::AttrView;
use serde::Serialize;

use crate::policy::condition::Subject;

/// How a route relates to a session's two ASes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerType {
    /// The peer is in the AS that we present to it.
    Ibgp,
    /// It is not.
    Ebgp,
}

/// One direction of a named filter, for one family.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Filter {
    /// Calico's name.
    pub name: String,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// One rule: when every condition holds, the action decides; no condition always holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// What the rule does with the route.
    pub action: Action,
}

/// What a matching rule does.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Take the route, after these changes in order.
    Accept(Vec<Operation>),
    /// Refuse it.
    Reject,
}

/// The rule that decided, by position.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct RuleRef {
    /// Which of the session's filters.
    pub filter: u16,
    /// Which of its rules.
    pub rule: u16,
}

/// What a list of filters says of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<'a> {
    /// A rule accepts, with these operations.
    Accept(RuleRef, &'a [Operation]),
    /// A rule rejects.
    Reject(RuleRef),
    /// No rule matches: the built-in rules decide.
    Continue,
}

/// Asks the filters in order.
pub(crate) fn evaluate<'a>(
    filters: impl IntoIterator<Item = &'a Filter>,
    subject: &Subject<'_>,
) -> Verdict<'a> {
    for (filter_at, filter) in filters.into_iter().enumerate() {
        for (rule_at, rule) in filter.rules.iter().enumerate() {
            if rule.conditions.iter().all(|condition| condition.holds(subject)) {
                let at = RuleRef {
                    filter: filter_at as u16,
                    rule: rule_at as u16,
                };
                return match &rule.action {
                    Action::Accept(operations) => Verdict::Accept(at, operations),
                    Action::Reject => Verdict::Reject(at),
                };
            }
        }
    }
    Verdict::Continue
}

pub(crate) use condition::Subject as PolicySubject;

/// The attributes a policy may look at.
pub(crate) type Attributes<'a> = AttrView<'a>;
