//! Kubernetes Secret: passwords.

use std::collections::BTreeMap;

use pipit_bgp::session::config::Secret;
use serde_json::Value;

use super::Resource;
use super::fields::{Fields, Parsed, Problems};
use super::scalar;

/// The values of a Secret by key; empty ones count as missing. Never shown.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SecretObject {
    /// Key to value.
    pub values: BTreeMap<String, Secret>,
}

impl Resource for SecretObject {
    fn parse(value: &Value) -> Parsed<Self> {
        // Problems of a Secret are never reported in detail: a message could carry a part of a password.
        let mut ignored = Problems::default();
        let root = Fields::root(value, "");
        let mut values = BTreeMap::new();
        for (key, value) in root.object("data", &mut ignored).entries() {
            if let Some(bytes) = value
                .as_str()
                .and_then(decode_base64)
                .filter(|bytes| !bytes.is_empty())
            {
                values.insert(key.clone(), Secret::new(bytes));
            }
        }
        for (key, value) in root.object("stringData", &mut ignored).entries() {
            if let Ok(text) = scalar::text(value)
                && !text.is_empty()
            {
                values.insert(key.clone(), Secret::new(text));
            }
        }
        Parsed::clean(SecretObject { values })
    }
}

/// Standard base64 (RFC 4648 §4); white space between characters is passed over, as kubectl does.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut padding) = (0u32, 0u32, 0usize);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = (bits << 6) | u32::from(sextet);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    let is_whole = match count {
        0 => padding == 0,
        4 => padding == 2,
        2 => padding == 1,
        _ => false,
    };
    is_whole.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn string_data_counts_before_data_and_empty_values_are_missing() {
        let secret = SecretObject::parse(
            &json!({"data": {"a": "cGFzcw==", "b": "cGFzcw==", "c": "", "d": "!"},
            "stringData": {"b": "other", "e": "", "f": 12}}),
        )
        .object
        .unwrap();
        let values: Vec<_> = secret
            .values
            .iter()
            .map(|(key, value)| (key.as_str(), value.expose()))
            .collect();
        assert_eq!(values, [("a", &b"pass"[..]), ("b", b"other"), ("f", b"12")]);
        assert!(!format!("{secret:?}").contains("other"));
    }

    #[test]
    fn base64_of_rfc4648() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9v\nYmFy", "foobar"),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        for bad in ["Z", "Zg", "Zg=", "Zg===", "Z=g=", "Zm9v*"] {
            assert_eq!(decode_base64(bad), None, "{bad}");
        }
    }
}
