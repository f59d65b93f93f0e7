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
