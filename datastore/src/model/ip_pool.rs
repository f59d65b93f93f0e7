//! IPPool: a range of pod addresses, and how packets to it travel.

use ipnet::IpNet;
use serde_json::Value;

use super::Resource;
use super::annotations;
use super::fields::{Fields, Parsed, Problems};
use super::scalar::{self, Read};

/// A readable IPPool. Its `disabled` and `nodeSelector` mean nothing to BGP.
#[derive(Clone, PartialEq, Debug)]
pub struct IpPool {
    /// Masked.
    pub cidr: IpNet,
    /// How other nodes' pods are reached.
    pub encapsulation: Encapsulation,
    /// False with `disableBGPExport`: nothing inside is ever exported.
    pub is_exported: bool,
}

/// How packets to other nodes' pods travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encapsulation {
    /// Plainly.
    None,
    /// In IP.
    Ipip(EncapsulationMode),
    /// In VXLAN: the routes are Felix's. Counts before IPIP when both are set, which validation forbids.
    Vxlan(EncapsulationMode),
}

/// When packets are encapsulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncapsulationMode {
    /// Always.
    Always,
    /// When the other node is not in the own subnet.
    CrossSubnet,
}

impl Resource for IpPool {
    fn parse(value: &Value) -> Parsed<Self> {
        let mut problems = Problems::default();
        let root = Fields::root(value, "the pool counts as absent");
        let spec = root.object("spec", &mut problems);
        let cidr = match spec.value("cidr") {
            Some(_) => spec.read("cidr", &mut problems, scalar::prefix),
            None => {
                problems.add("spec.cidr", "cidr is missing; the pool counts as absent");
                None
            }
        };
        let spec = spec.with_consequence("its default counts");
        let ipip = spec.read("ipipMode", &mut problems, mode).flatten();
        let vxlan = spec.read("vxlanMode", &mut problems, mode).flatten();
        let is_unexported = spec.read("disableBGPExport", &mut problems, scalar::boolean);
        annotations::refuse(&root, &mut problems);
        Parsed {
            object: cidr.map(|cidr| IpPool {
                cidr: cidr.trunc(),
                encapsulation: match (vxlan, ipip) {
                    (Some(mode), _) => Encapsulation::Vxlan(mode),
                    (None, Some(mode)) => Encapsulation::Ipip(mode),
                    (None, None) => Encapsulation::None,
                },
                is_exported: !is_unexported.unwrap_or(false),
            }),
            problems: problems.0,
        }
    }
}

fn mode(value: &Value) -> Read<Option<EncapsulationMode>> {
    scalar::word(
        "Never, Always, CrossSubnet",
        &[
            ("Never", None),
            ("Always", Some(EncapsulationMode::Always)),
            ("CrossSubnet", Some(EncapsulationMode::CrossSubnet)),
        ],
    )(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn modes_and_defaults() {
        let parse = |spec: Value| IpPool::parse(&json!({"spec": spec}));
        let pool = parse(json!({"cidr": "10.244.1.0/16", "ipipMode": "CrossSubnet", "disabled": true}));
        assert_eq!(
            pool,
            Parsed::clean(IpPool {
                cidr: "10.244.0.0/16".parse().unwrap(),
                encapsulation: Encapsulation::Ipip(EncapsulationMode::CrossSubnet),
                is_exported: true,
            })
        );
        let pool = parse(json!({"cidr": "10.244.0.0/16", "ipipMode": "Sometimes", "disableBGPExport": true}));
        assert_eq!(pool.problems[0].field, "spec.ipipMode");
        let pool = pool.object.unwrap();
        assert_eq!(
            (pool.encapsulation, pool.is_exported),
            (Encapsulation::None, false)
        );
        let pool = parse(json!({"cidr": "pods"}));
        assert_eq!(
            (pool.object, pool.problems[0].field.as_str()),
            (None, "spec.cidr")
        );
    }
}
