//! A block of pod addresses that a node owns: IPAM's value in etcd, the BlockAffinity object in files.

use ipnet::IpNet;
use serde_json::Value;

use super::fields::{Fields, Parsed, Problems};
use super::scalar::{self, Read};
use crate::key::BlockId;

/// A block that counts as owned. A pending, deleted or virtual affinity is no such thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockAffinity {
    /// Masked.
    pub cidr: IpNet,
    /// How far the node owns it.
    pub state: BlockState,
}

/// How far a node owns a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockState {
    /// It does; also written as an empty state or an empty value by old versions.
    Confirmed,
    /// It is giving it back; owned until the key is gone.
    PendingDeletion,
}

impl BlockAffinity {
    /// Reads a value: IPAM's when the key names the block, else a BlockAffinity object.
    pub fn parse(id: &BlockId, value: &Value) -> Parsed<Self> {
        let mut problems = Problems::default();
        let root = Fields::root(value, "the block counts as absent");
        let (fields, cidr, is_host) = match id {
            BlockId::Cidr(cidr) => (root, Some(cidr.trunc()), true),
            BlockId::Name(_) => {
                let spec = root.object("spec", &mut problems);
                let kind = spec.read("type", &mut problems, scalar::text);
                let cidr = match spec.value("cidr") {
                    Some(_) => spec.read("cidr", &mut problems, scalar::prefix),
                    None => {
                        problems.add("spec.cidr", "cidr is missing; the block counts as absent");
                        None
                    }
                };
                let is_host = kind.is_none_or(|kind| kind == "host");
                (spec, cidr.map(|cidr| cidr.trunc()), is_host)
            }
        };
        let state = match fields.value("state") {
            None => Some(Some(BlockState::Confirmed)),
            Some(_) => fields.read("state", &mut problems, state),
        };
        // A boolean in etcd, a text in the object.
        let is_deleted = fields
            .value("deleted")
            .is_some_and(|value| scalar::text(value).is_ok_and(|text| text == "true"));
        if !is_host || is_deleted {
            return Parsed {
                object: None,
                problems: Vec::new(),
            };
        }
        let cidr = cidr.filter(|cidr| {
            let has_room = can_hold_pods(cidr);
            if !has_room {
                let field = match id {
                    BlockId::Cidr(_) => "cidr",
                    BlockId::Name(_) => "spec.cidr",
                };
                problems.add(
                    field,
                    format!("`{cidr}` cannot hold pods; the block counts as absent"),
                );
            }
            has_room
        });
        let object = match (cidr, state) {
            (Some(cidr), Some(Some(state))) => Some(BlockAffinity { cidr, state }),
            _ => None,
        };
        Parsed {
            object,
            problems: problems.0,
        }
    }
}

/// Whether pods can have addresses of a prefix: a corrupted key must not turn a default route or the loopback into a
/// blackhole.
fn can_hold_pods(cidr: &IpNet) -> bool {
    let never: [&str; 7] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/8",
        "fe80::/10",
        "ff00::/8",
    ];
    let never = never.iter().filter_map(|net| net.parse::<IpNet>().ok());
    let overlap = |net: IpNet| net.contains(cidr) || cidr.contains(&net);
    !never.into_iter().any(overlap)
}

/// `None`: a claim in progress, as if the key did not exist.
fn state(value: &Value) -> Read<Option<BlockState>> {
    scalar::word(
        "confirmed, pending, pendingDeletion",
        &[
            ("confirmed", Some(BlockState::Confirmed)),
            ("pending", None),
            ("pendingDeletion", Some(BlockState::PendingDeletion)),
        ],
    )(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ipam(value: Value) -> Parsed<BlockAffinity> {
        BlockAffinity::parse(&BlockId::Cidr("10.244.7.0/26".parse().unwrap()), &value)
    }

    #[test]
    fn e9_a_prefix_that_no_pod_can_be_in_is_no_block() {
        let read = |cidr: &str| {
            let id = BlockId::Cidr(cidr.parse().unwrap());
            BlockAffinity::parse(&id, &json!({"state": "confirmed"}))
        };
        for bad in [
            "0.0.0.0/0",
            "127.0.0.0/26",
            "224.0.0.0/26",
            "0.0.0.0/1",
            "::/0",
            "fe80::/122",
            "::/122",
        ] {
            let Parsed { object, problems } = read(bad);
            assert_eq!(object, None, "{bad}");
            assert_eq!(
                problems[0].message,
                format!("`{bad}` cannot hold pods; the block counts as absent")
            );
        }
        for good in [
            "10.65.0.0/26",
            "100.64.0.0/20",
            "192.168.0.0/16",
            "198.18.0.0/26",
            "fd00:10:244::/122",
            "2001:db8::/64",
        ] {
            assert!(read(good).object.is_some(), "{good}");
        }
    }

    #[test]
    fn c005_an_empty_value_and_an_empty_state_are_confirmed() {
        for value in [
            Value::Null,
            json!({}),
            json!({"state": ""}),
            json!({"state": "confirmed", "deleted": false}),
        ] {
            assert_eq!(ipam(value).object.unwrap().state, BlockState::Confirmed);
        }
    }

    #[test]
    fn c006_pending_is_as_if_the_key_did_not_exist() {
        let absent = Parsed {
            object: None,
            problems: Vec::new(),
        };
        assert_eq!(ipam(json!({"state": "pending"})), absent);
        assert_eq!(ipam(json!({"state": "confirmed", "deleted": true})), absent);
        assert_eq!(
            ipam(json!({"state": "pendingDeletion"})).object.unwrap().state,
            BlockState::PendingDeletion
        );
    }

    #[test]
    fn objects_of_files() {
        let parse = |spec: Value| BlockAffinity::parse(&BlockId::Name("x".into()), &json!({"spec": spec}));
        assert!(
            parse(json!({"cidr": "10.0.0.1/26", "type": "host"}))
                .object
                .is_some()
        );
        for spec in [
            json!({"cidr": "10.0.0.0/26", "type": "virtual"}),
            json!({"cidr": "10.0.0.0/26", "deleted": "true"}),
            json!({"cidr": "10.0.0.0/26", "deleted": true}),
        ] {
            let parsed = parse(spec);
            assert_eq!((parsed.object, parsed.problems.len()), (None, 0));
        }
        assert_eq!(parse(json!({"cidr": "x"})).problems[0].field, "spec.cidr");
        assert_eq!(
            parse(json!({"cidr": "10.0.0.0/26", "state": "lost"})).problems[0].field,
            "spec.state"
        );
    }
}
