//! From an etcd key and value to the event that the cache takes.

use etcd_client::{Event, EventType, KeyValue};
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use crate::backend::StoreEvent;
use crate::key::{self, Key};

/// A value larger than this is no Calico resource (etcd's own default limit is 1.5 MiB).
const VALUE_MAX: usize = 2 << 20;

/// What a watch event means; `None` for a key that is none of ours.
pub(super) fn event(event: &Event, node: &str) -> Option<StoreEvent> {
    let kv = event.kv()?;
    match event.event_type() {
        EventType::Put if is_anothers_request(kv.key(), kv.value(), node) => {
            // It may have been ours before.
            let key = key::parse(kv.key_str().ok()?, node)?;
            Some(StoreEvent::Delete { key })
        }
        EventType::Put => put(kv, node),
        EventType::Delete => {
            let key = key::parse(kv.key_str().ok()?, node)?;
            Some(StoreEvent::Delete { key })
        }
    }
}

/// The object of a key; `None` for a key that is none of ours.
pub(super) fn put(kv: &KeyValue, node: &str) -> Option<StoreEvent> {
    of_bytes(kv.key_str().ok()?, kv.value(), node)
}

/// Whether it is a CalicoNodeStatus that asks another node. With the routes of all nodes in them these objects can be
/// many times as large as everything else, and only the node that is asked needs them.
pub(super) fn is_anothers_request(key: &[u8], value: &[u8], node: &str) -> bool {
    #[derive(Deserialize)]
    struct Object {
        spec: Spec,
    }
    #[derive(Deserialize)]
    struct Spec {
        node: String,
    }
    let key = std::str::from_utf8(key)
        .ok()
        .and_then(|key| key::parse(key, node));
    matches!(key, Some(Key::CalicoNodeStatus(_)))
        && serde_json::from_slice::<Object>(value).is_ok_and(|object| object.spec.node != node)
}

fn of_bytes(origin: &str, bytes: &[u8], node: &str) -> Option<StoreEvent> {
    let key = key::parse(origin, node)?;
    let origin = origin.to_owned();
    let error = match parse(bytes) {
        Ok(value) => return Some(StoreEvent::Put { key, value, origin }),
        Err(error) => error,
    };
    warn!(%origin, %error, "an object cannot be read; its last good version stays in force");
    Some(StoreEvent::Unreadable {
        key: Some(key),
        origin,
        error,
    })
}

/// The value, or what is wrong with it: where, never what, for values can hold secrets.
fn parse(bytes: &[u8]) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    if bytes.len() > VALUE_MAX {
        return Err(format!("value of {} octets is too large", bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        format!(
            "not JSON: {} octets, wrong at line {}, column {}",
            bytes.len(),
            error.line(),
            error.column()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{BlockId, Key, RESOURCES};

    fn read(key: &str, bytes: &[u8]) -> Option<StoreEvent> {
        of_bytes(key, bytes, "n1")
    }

    #[test]
    fn an_empty_ipam_value_is_null() {
        let event = read("/calico/ipam/v2/host/n1/ipv4/block/10.0.0.0-26", b"").unwrap();
        let key = Key::BlockAffinity {
            node: "n1".into(),
            id: BlockId::Cidr("10.0.0.0/26".parse().unwrap()),
        };
        let StoreEvent::Put { key: of, value, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!((of, value), (key, Value::Null));
    }

    #[test]
    fn what_is_not_json_is_named_and_never_quoted() {
        for bytes in [
            &b"{\"secret\": hunter2}"[..],
            b"\xff\xfehunter2",
            &[b'h'; VALUE_MAX + 1],
        ] {
            let event = read(&format!("{RESOURCES}nodes/a"), bytes).unwrap();
            let StoreEvent::Unreadable { key, origin, error } = event else {
                panic!("{event:?}")
            };
            assert_eq!(key, Some(Key::Node("a".into())));
            assert!(origin.ends_with("/nodes/a"));
            assert!(!error.contains("hunter2") && error.contains("octets"), "{error}");
        }
    }

    #[test]
    fn c224_what_another_node_is_asked_concerns_nobody_else() {
        let asks_another = |key: &str, value: &str| {
            is_anothers_request(format!("{RESOURCES}{key}").as_bytes(), value.as_bytes(), "n1")
        };
        let theirs = r#"{"spec":{"node":"n2","classes":["Agent"]},"status":{"routes":{"routesV4":[]}}}"#;
        assert!(asks_another("caliconodestatuses/a", theirs));
        assert!(!asks_another("nodes/a", theirs));
        // Ours, and what cannot be read and may be ours.
        for value in [
            r#"{"spec":{"node":"n1"}}"#,
            r#"{"spec":{"node":7}}"#,
            r#"{"spec":{}}"#,
            "{",
        ] {
            assert!(!asks_another("caliconodestatuses/a", value), "{value}");
        }
    }

    #[test]
    fn keys_of_others_are_passed_over() {
        assert_eq!(read("/calico/ipam/v2/host/n10/ipv4/block/10.0.0.0-26", b""), None);
        assert_eq!(read(&format!("{RESOURCES}profiles/a"), b"{}"), None);
    }
}
