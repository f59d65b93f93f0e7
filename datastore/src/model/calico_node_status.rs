//! CalicoNodeStatus: an operator asks a node what its BGP daemon sees.

use serde_json::Value;

use super::Resource;
use super::fields::{Fields, Parsed, Problems};
use super::scalar::{self, Read};

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CalicoNodeStatus {
    /// Who must answer.
    pub node: String,
    /// What about.
    pub classes: Vec<StatusClass>,
    /// How often; zero: once per change of the request.
    pub update_period_secs: u32,
}

/// One of `classes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusClass {
    /// Version, router id, times.
    Agent,
    /// Sessions.
    Bgp,
    /// Routes.
    Routes,
}

impl Resource for CalicoNodeStatus {
    fn parse(value: &Value) -> Parsed<Self> {
        let mut problems = Problems::default();
        let spec = Fields::root(value, "the object is not answered").object("spec", &mut problems);
        let node = spec.read("node", &mut problems, scalar::text);
        let classes = spec.scalars("classes", &mut problems, class);
        let period = spec.read("updatePeriodSeconds", &mut problems, scalar::number(0..=86_400));
        if spec.value("updatePeriodSeconds").is_none() {
            let message = "it is missing; the object is not answered";
            problems.add("spec.updatePeriodSeconds", message);
        }
        Parsed {
            object: node
                .zip(period)
                .map(|(node, update_period_secs)| CalicoNodeStatus {
                    node,
                    classes,
                    update_period_secs,
                }),
            problems: problems.0,
        }
    }
}

fn class(value: &Value) -> Read<StatusClass> {
    scalar::word(
        "Agent, BGP, Routes",
        &[
            ("Agent", StatusClass::Agent),
            ("BGP", StatusClass::Bgp),
            ("Routes", StatusClass::Routes),
        ],
    )(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(spec: Value) -> (Option<CalicoNodeStatus>, Vec<String>) {
        let parsed = CalicoNodeStatus::parse(&json!({ "spec": spec }));
        let fields = parsed.problems.into_iter().map(|problem| problem.field);
        (parsed.object, fields.collect())
    }

    #[test]
    fn what_is_asked_for_is_read_and_a_request_without_a_period_is_named() {
        let request = json!({"node": "n1", "classes": ["Agent", "BGP", "Routes"], "updatePeriodSeconds": 0});
        let expected = CalicoNodeStatus {
            node: "n1".into(),
            classes: vec![StatusClass::Agent, StatusClass::Bgp, StatusClass::Routes],
            update_period_secs: 0,
        };
        assert_eq!(parse(request), (Some(expected), vec![]));
        let (object, problems) = parse(json!({"node": "n1", "classes": ["BGP"]}));
        assert_eq!(
            (object, problems),
            (None, vec!["spec.updatePeriodSeconds".into()])
        );
        let (object, problems) =
            parse(json!({"node": "n1", "classes": ["Pods", "BGP"], "updatePeriodSeconds": 86401}));
        assert_eq!(object, None);
        assert_eq!(problems, ["spec.classes[0]", "spec.updatePeriodSeconds"]);
    }
}
