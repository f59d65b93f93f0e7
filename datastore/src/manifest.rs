//! Manifests, as written for calicoctl and kubectl: text to objects with their keys.
//!
//! Pure: opening files and folders is `io::file`'s job. What is not a resource that matters to BGP is passed over.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use crate::key::{BlockId, Key};
use crate::yaml::{self, SyntaxError, scalar_text};

/// Deepest nesting of `List` objects that is followed.
const MAX_LIST_DEPTH: usize = 8;

/// What a text holds at one place.
#[derive(Clone, PartialEq, Debug)]
pub enum ManifestItem {
    /// An object.
    Object {
        /// Which one.
        key: Key,
        /// The whole resource, with `metadata`.
        value: Value,
        /// `file.yaml, document 3`.
        origin: String,
    },
    /// Something that is no object, or one without a name.
    Unreadable {
        /// `file.yaml`, or `file.yaml, document 3`.
        origin: String,
        /// What is wrong.
        error: ManifestError,
    },
}

/// Why a text, or a document of it, cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestError {
    /// The text is not YAML; nothing of it counts.
    #[error("{0}")]
    Syntax(#[from] SyntaxError),
    /// A document is a text or a number rather than an object.
    #[error("the document is not an object")]
    NotAnObject,
    /// An object of a kind that we read has no `metadata.name`.
    #[error("{kind} without metadata.name")]
    NameMissing {
        /// Its kind.
        kind: Kind,
    },
    /// A BlockAffinity does not say whose block it is.
    #[error("BlockAffinity {name} without spec.node")]
    NodeMissing {
        /// The object's name.
        name: String,
    },
}

impl ManifestError {
    /// Whether the text is no manifest at all, so that `pipit plan` refuses it.
    pub fn is_fatal(&self) -> bool {
        match self {
            ManifestError::Syntax(_) | ManifestError::NotAnObject => true,
            ManifestError::NameMissing { .. } | ManifestError::NodeMissing { .. } => false,
        }
    }
}

/// The kinds that matter to BGP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Calico's Node, not Kubernetes'.
    Node,
    /// BGPConfiguration.
    BgpConfiguration,
    /// BGPPeer.
    BgpPeer,
    /// BGPFilter.
    BgpFilter,
    /// IPPool.
    IpPool,
    /// BlockAffinity.
    BlockAffinity,
    /// CalicoNodeStatus.
    CalicoNodeStatus,
    /// Kubernetes Secret.
    Secret,
    /// Kubernetes Service.
    Service,
    /// Kubernetes EndpointSlice.
    EndpointSlice,
}

impl Kind {
    /// The kind of an object, `None` when pipit does not read it.
    pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
        match (api_version, kind) {
            ("projectcalico.org/v3" | "crd.projectcalico.org/v1", _) => match kind {
                "Node" => Some(Kind::Node),
                "BGPConfiguration" => Some(Kind::BgpConfiguration),
                "BGPPeer" => Some(Kind::BgpPeer),
                "BGPFilter" => Some(Kind::BgpFilter),
                "IPPool" => Some(Kind::IpPool),
                "BlockAffinity" => Some(Kind::BlockAffinity),
                "CalicoNodeStatus" => Some(Kind::CalicoNodeStatus),
                _ => None,
            },
            ("v1", "Secret") => Some(Kind::Secret),
            ("v1", "Service") => Some(Kind::Service),
            ("discovery.k8s.io/v1", "EndpointSlice") => Some(Kind::EndpointSlice),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Node => "Node",
            Kind::BgpConfiguration => "BGPConfiguration",
            Kind::BgpPeer => "BGPPeer",
            Kind::BgpFilter => "BGPFilter",
            Kind::IpPool => "IPPool",
            Kind::BlockAffinity => "BlockAffinity",
            Kind::CalicoNodeStatus => "CalicoNodeStatus",
            Kind::Secret => "Secret",
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
        })
    }
}

/// Reads the objects of one text; `origin` names it in messages (a path).
///
/// An object that the text has twice counts once. The order of documents must have no influence, so not the later
/// one counts but the one whose JSON text sorts last.
pub fn read(text: &str, origin: &str) -> Vec<ManifestItem> {
    let documents = match yaml::documents(text) {
        Ok(documents) => documents,
        Err(error) => {
            return vec![ManifestItem::Unreadable {
                origin: origin.to_owned(),
                error: error.into(),
            }];
        }
    };
    let mut items = Vec::new();
    for document in documents {
        let place = format!("{origin}, document {}", document.number);
        Reader {
            items: &mut items,
            origin: &place,
        }
        .value(document.value, &Inherited::default(), 0);
    }
    let json = Value::to_string;
    keep_one(items, |old, new| json(old) <= json(new))
}

/// Brings the files of a folder, in name order, together: of an object that occurs twice the later file's counts.
pub fn merge(files: impl IntoIterator<Item = Vec<ManifestItem>>) -> Vec<ManifestItem> {
    keep_one(files.into_iter().flatten().collect(), |_, _| true)
}

/// Leaves one item an object: `replaces(old, new)` says which.
fn keep_one(items: Vec<ManifestItem>, replaces: impl Fn(&Value, &Value) -> bool) -> Vec<ManifestItem> {
    let mut kept: Vec<ManifestItem> = Vec::with_capacity(items.len());
    let mut places: HashMap<Key, usize> = HashMap::with_capacity(items.len());
    for item in items {
        let place = match &item {
            ManifestItem::Unreadable { .. } => None,
            ManifestItem::Object { key, .. } => {
                let place = *places.entry(identity(key)).or_insert(kept.len());
                (place < kept.len()).then_some(place)
            }
        };
        let Some(place) = place else {
            kept.push(item);
            continue;
        };
        let (ManifestItem::Object { value: old, .. }, ManifestItem::Object { key, value, origin }) =
            (&kept[place], &item)
        else {
            continue;
        };
        tracing::warn!(object = %key, origin, "the object occurs more than once");
        if replaces(old, value) {
            kept[place] = item;
        }
    }
    kept
}

/// The key without what is content: the node of a BlockAffinity is a field of an object with a name of its own.
fn identity(key: &Key) -> Key {
    match key {
        Key::BlockAffinity { id, .. } => Key::BlockAffinity {
            node: String::new(),
            id: id.clone(),
        },
        _ => key.clone(),
    }
}

/// What items take from their list when they do not say it themselves.
#[derive(Default)]
struct Inherited {
    api_version: String,
    kind: String,
}

struct Reader<'a> {
    items: &'a mut Vec<ManifestItem>,
    origin: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, value: Value, inherited: &Inherited, depth: usize) {
        match value {
            Value::Null => {}
            _ if depth > MAX_LIST_DEPTH => {}
            // calicoctl also takes a bare list of resources.
            Value::Array(items) => items
                .into_iter()
                .for_each(|item| self.value(item, inherited, depth + 1)),
            Value::Object(_) => self.object(value, inherited, depth),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.unreadable(ManifestError::NotAnObject)
            }
        }
    }

    fn object(&mut self, mut value: Value, inherited: &Inherited, depth: usize) {
        let api_version = text_at(&value, "apiVersion").unwrap_or_else(|| inherited.api_version.clone());
        let kind = text_at(&value, "kind").unwrap_or_else(|| inherited.kind.clone());
        if let Some(item_kind) = kind.strip_suffix("List") {
            let inherited = Inherited {
                kind: item_kind.to_owned(),
                api_version,
            };
            if let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) {
                items
                    .into_iter()
                    .for_each(|item| self.value(item, &inherited, depth + 1));
            }
            return;
        }
        let Some(kind) = Kind::of(&api_version, &kind) else {
            return;
        };
        match key(kind, &value) {
            Ok(key) => self.items.push(ManifestItem::Object {
                key,
                value,
                origin: self.origin.to_owned(),
            }),
            Err(error) => self.unreadable(error),
        }
    }

    fn unreadable(&mut self, error: ManifestError) {
        self.items.push(ManifestItem::Unreadable {
            origin: self.origin.to_owned(),
            error,
        });
    }
}

fn key(kind: Kind, value: &Value) -> Result<Key, ManifestError> {
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let name = text_at(metadata, "name").ok_or(ManifestError::NameMissing { kind })?;
    let namespace = || text_at(metadata, "namespace").unwrap_or_else(|| "default".to_owned());
    Ok(match kind {
        Kind::Node => Key::Node(name),
        Kind::BgpConfiguration => Key::BgpConfiguration(name),
        Kind::BgpPeer => Key::BgpPeer(name),
        Kind::BgpFilter => Key::BgpFilter(name),
        Kind::IpPool => Key::IpPool(name),
        Kind::CalicoNodeStatus => Key::CalicoNodeStatus(name),
        Kind::BlockAffinity => {
            let node = value.get("spec").and_then(|spec| text_at(spec, "node"));
            Key::BlockAffinity {
                node: node.ok_or_else(|| ManifestError::NodeMissing { name: name.clone() })?,
                id: BlockId::Name(name),
            }
        }
        Kind::Secret => Key::Secret {
            namespace: namespace(),
            name,
        },
        Kind::Service => Key::Service {
            namespace: namespace(),
            name,
        },
        Kind::EndpointSlice => Key::EndpointSlice {
            namespace: namespace(),
            name,
        },
    })
}

/// The non-empty text of a field.
fn text_at(value: &Value, field: &str) -> Option<String> {
    let text = scalar_text(value.get(field)?)?;
    (!text.is_empty()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(items: &[ManifestItem]) -> Vec<String> {
        items
            .iter()
            .map(|item| match item {
                ManifestItem::Object { key, .. } => key.to_string(),
                ManifestItem::Unreadable { error, .. } => format!("! {error}"),
            })
            .collect()
    }

    const POOL: &str = "{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: p}, spec: {cidr: ";

    #[test]
    fn documents_lists_and_kinds() {
        let text = "
apiVersion: projectcalico.org/v3
kind: NodeList
items:
- metadata: {name: a}
- {kind: BGPPeer, metadata: {name: b}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: kubernetes}}
- {apiVersion: v1, kind: Secret, metadata: {name: s, namespace: calico-system}}
- {apiVersion: v1, kind: Secret, metadata: {name: s}}
- {apiVersion: crd.projectcalico.org/v1, kind: IPPool, metadata: {name: p}}
---
{apiVersion: projectcalico.org/v3, kind: BlockAffinity, metadata: {name: x}, spec: {node: n, cidr: 10.0.0.0/26}}
---
{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {name: unknown}}
---
{apiVersion: projectcalico.org/v3, kind: IPPool}
";
        assert_eq!(
            keys(&read(text, "f")),
            [
                "Node/a",
                "BGPPeer/b",
                "Secret/calico-system/s",
                "Secret/default/s",
                "IPPool/p",
                "BlockAffinity/x",
                "! IPPool without metadata.name",
            ]
        );
    }

    #[test]
    fn the_later_file_wins_and_within_a_file_order_has_no_influence() {
        let cidr = |items: Vec<ManifestItem>| match &items[..] {
            [ManifestItem::Object { value, .. }] => value["spec"]["cidr"].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        let a = format!("{POOL}10.1.0.0/16}}}}");
        let b = format!("{POOL}10.2.0.0/16}}}}");
        assert_eq!(cidr(merge([read(&b, "1"), read(&a, "2")])), "10.1.0.0/16");
        assert_eq!(cidr(merge([read(&a, "1"), read(&b, "2")])), "10.2.0.0/16");
        let forth = cidr(read(&format!("{a}\n---\n{b}"), "1"));
        assert_eq!(forth, cidr(read(&format!("{b}\n---\n{a}"), "1")));
    }

    #[test]
    fn what_is_no_manifest_is_fatal() {
        for text in ["kind: [", "just text", "a: 1\na: 2"] {
            match &read(text, "f")[..] {
                [ManifestItem::Unreadable { error, .. }] => assert!(error.is_fatal(), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
