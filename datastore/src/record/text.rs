//! A record as bytes: a header in one line, then one line an object.
//!
//! The header names its version and the digest of all that follows, so that a file that was cut off, written over or
//! written by another version is known for what it is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Entry, Record};
use crate::key::{BlockId, Key};

/// The `format` of every header.
const FORMAT: &str = "pipit-record";
/// Grows when an older daemon could not make sense of the lines.
const VERSION: u32 = 1;

/// What is said about a record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    format: String,
    version: u32,
    /// The node that it is about.
    pub node: String,
    /// Where the objects are from: endpoints of etcd.
    pub source: Vec<String>,
    /// Revision of the objects.
    pub revision: i64,
    sha256: String,
}

/// Why bytes are no record that can be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the beginning of a record.
    #[error("it is no record of pipit's")]
    NotOurs,
    /// Of a version that came later.
    #[error("it is of version {found}, this program reads version {VERSION}")]
    OtherVersion {
        /// Its version.
        found: u32,
    },
    /// Not what was written.
    #[error("it is damaged: its content does not have the digest that it names")]
    Damaged,
    /// An object's line does not say which object.
    #[error("line {number} names no object")]
    Line {
        /// Counts from 1, with the header.
        number: usize,
    },
}

/// A record as bytes.
pub fn encode(record: &Record, source: &[String], revision: i64) -> Vec<u8> {
    let mut body = String::new();
    for (key, entry) in record.entries() {
        body.push_str(&line_of_entry(key, entry));
        body.push('\n');
    }
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        node: record.node.clone(),
        source: source.to_vec(),
        revision,
        sha256: hexadecimal(&Sha256::digest(body.as_bytes())),
    };
    // A header is texts and numbers, which JSON always has words for.
    let mut bytes = serde_json::to_vec(&header).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// The record that was encoded.
///
/// # Errors
///
/// It is not one, not one of this version, or not as it was written.
pub fn decode(bytes: &[u8]) -> Result<(Header, Record), RecordError> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(RecordError::NotOurs)?;
    let (header, body) = (&bytes[..end], &bytes[end + 1..]);
    let any: Value = serde_json::from_slice(header).map_err(|_| RecordError::NotOurs)?;
    if any["format"] != FORMAT {
        return Err(RecordError::NotOurs);
    }
    let found = any["version"]
        .as_u64()
        .and_then(|version| u32::try_from(version).ok());
    let found = found.ok_or(RecordError::NotOurs)?;
    if found != VERSION {
        return Err(RecordError::OtherVersion { found });
    }
    let header: Header = serde_json::from_value(any).map_err(|_| RecordError::Damaged)?;
    if hexadecimal(&Sha256::digest(body)) != header.sha256 {
        return Err(RecordError::Damaged);
    }
    let mut entries = BTreeMap::new();
    let text = std::str::from_utf8(body).map_err(|_| RecordError::Damaged)?;
    for (index, line) in text.lines().enumerate() {
        let number = index + 2;
        let (key, entry) = entry_of_line(line, &header.node).ok_or(RecordError::Line { number })?;
        entries.insert(key, entry);
    }
    let record = Record {
        entries: Arc::new(entries),
        ..Record::new(header.node.clone())
    };
    Ok((header, record))
}

/// One object as a line of JSON, without its end.
pub fn line_of_entry(key: &Key, entry: &Entry) -> String {
    let (kind, namespace, name) = words(key);
    let quoted = |text: &str| Value::from(text).to_string();
    let mut line = format!(r#"{{"kind":{}"#, quoted(kind));
    let mut field = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = write!(line, r#","{name}":{value}"#);
    };
    if let Some(namespace) = namespace {
        field("namespace", &quoted(namespace));
    }
    field("name", &quoted(&name));
    if let Some(good) = &entry.good {
        field("good", good);
    }
    if let Some(newest) = &entry.newest {
        field("newest", newest);
    }
    line.push('}');
    line
}

/// The object of a line that [`line_of_entry`] wrote for a node; `None` when it is no such line.
pub fn entry_of_line(line: &str, node: &str) -> Option<(Key, Entry)> {
    let mut line: Map<String, Value> = serde_json::from_str(line).ok()?;
    let word = |line: &Map<String, Value>, field: &str| line.get(field)?.as_str().map(str::to_owned);
    let (kind, namespace, name) = (
        word(&line, "kind")?,
        word(&line, "namespace"),
        word(&line, "name")?,
    );
    // An empty block's value is `null`, which is not the same as none.
    let mut text = |field: &str| line.remove(field).map(|value| Arc::from(value.to_string()));
    let entry = Entry {
        good: text("good"),
        newest: text("newest"),
    };
    Some((key_of(&kind, namespace, name, node)?, entry))
}

fn words(key: &Key) -> (&'static str, Option<&str>, String) {
    match key {
        Key::Node(name) => ("Node", None, name.clone()),
        Key::BgpConfiguration(name) => ("BGPConfiguration", None, name.clone()),
        Key::BgpPeer(name) => ("BGPPeer", None, name.clone()),
        Key::BgpFilter(name) => ("BGPFilter", None, name.clone()),
        Key::IpPool(name) => ("IPPool", None, name.clone()),
        Key::BlockAffinity { id, .. } => match id {
            BlockId::Cidr(cidr) => ("Block", None, cidr.to_string()),
            BlockId::Name(name) => ("BlockAffinity", None, name.clone()),
        },
        Key::CalicoNodeStatus(name) => ("CalicoNodeStatus", None, name.clone()),
        Key::Secret { namespace, name } => ("Secret", Some(namespace), name.clone()),
        Key::Service { namespace, name } => ("Service", Some(namespace), name.clone()),
        Key::EndpointSlice { namespace, name } => ("EndpointSlice", Some(namespace), name.clone()),
    }
}

fn key_of(kind: &str, namespace: Option<String>, name: String, node: &str) -> Option<Key> {
    let block = |id| Key::BlockAffinity {
        node: node.to_owned(),
        id,
    };
    Some(match (kind, namespace) {
        ("Node", None) => Key::Node(name),
        ("BGPConfiguration", None) => Key::BgpConfiguration(name),
        ("BGPPeer", None) => Key::BgpPeer(name),
        ("BGPFilter", None) => Key::BgpFilter(name),
        ("IPPool", None) => Key::IpPool(name),
        ("Block", None) => block(BlockId::Cidr(name.parse().ok()?)),
        ("BlockAffinity", None) => block(BlockId::Name(name)),
        ("Secret", Some(namespace)) => Key::Secret { namespace, name },
        ("Service", Some(namespace)) => Key::Service { namespace, name },
        ("EndpointSlice", Some(namespace)) => Key::EndpointSlice { namespace, name },
        _ => return None,
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
