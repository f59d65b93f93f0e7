//! Everything that a daemon computes its desired state from, for somebody who computes it as well: `pipit plan
//! --diff` compares the plan of other resources with the one in force.
//!
//! Passwords travel in disguise: a digest with a salt that is another one each time says whether two are the same,
//! and nothing else.

use std::collections::BTreeMap;

use pipit_bgp::session::config::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::backend::StoreEvent;
use crate::cache::{Cache, Namespaced};
use crate::desired::Environment;
use crate::key::Key;
use crate::model::{EndpointStatus, SecretObject, SecretRef};
use crate::record::{Entry, Record, entry_of_line, line_of_entry};

/// What a node's desired state is computed from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The objects in force, without Secrets.
    pub record: Record,
    /// Their revision.
    pub revision: i64,
    /// Secrets of the datastore.
    pub secrets: BTreeMap<Namespaced, SecretObject>,
    /// Variables, files and passwords.
    pub environment: Environment,
}

/// Makes other texts of passwords, the same ones of the same passwords.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Disguise {
    salt: String,
}

/// A line is not what was expected.
#[derive(Debug, thiserror::Error)]
#[error("line {number} of the daemon's resources cannot be read")]
pub struct InputsError {
    number: usize,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    node: String,
    revision: i64,
    disguise: Disguise,
    router_id: Option<String>,
    k8s_node_ref: Option<String>,
    advertise_cluster_ips: Option<String>,
    namespace: Option<String>,
    endpoints: Vec<EndpointStatus>,
    secrets: Vec<(String, String, String)>,
}

impl Disguise {
    /// With a salt that nobody can have prepared for.
    pub fn new(salt: u128) -> Disguise {
        Disguise {
            salt: format!("{salt:032x}"),
        }
    }

    /// A password in disguise.
    pub fn of(&self, secret: &Secret) -> Secret {
        let digest = Sha256::new()
            .chain_update(&self.salt)
            .chain_update(secret.expose())
            .finalize();
        Secret::new(
            digest
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        )
    }
}

impl Inputs {
    /// As text, a line an object, passwords in disguise.
    pub fn lines(&self, disguise: &Disguise) -> impl Iterator<Item = String> {
        let secrets = self.secrets.iter().map(|((namespace, name), secret)| {
            let key = Key::Secret {
                namespace: namespace.clone(),
                name: name.clone(),
            };
            let values = secret.values.iter();
            let values: Map<String, Value> = values
                .map(|(key, value)| (key.clone(), text(&disguise.of(value)).into()))
                .collect();
            let entry = Entry {
                good: Some(serde_json::json!({ "stringData": values }).to_string().into()),
                newest: None,
            };
            line_of_entry(&key, &entry)
        });
        let objects = self
            .record
            .entries()
            .map(|(key, entry)| line_of_entry(key, entry));
        std::iter::once(self.head(disguise)).chain(secrets).chain(objects)
    }

    fn head(&self, disguise: &Disguise) -> String {
        let Environment {
            router_id,
            k8s_node_ref,
            advertise_cluster_ips,
            namespace,
            endpoints,
            secrets,
        } = self.environment.clone();
        let secrets = secrets.into_iter();
        let head = Head {
            node: self.record.node().to_owned(),
            revision: self.revision,
            disguise: disguise.clone(),
            router_id,
            k8s_node_ref,
            advertise_cluster_ips,
            namespace,
            endpoints,
            secrets: secrets
                .map(|(place, secret)| (place.name, place.key, text(&disguise.of(&secret))))
                .collect(),
        };
        // Texts and numbers, which JSON always has words for.
        serde_json::to_string(&head).unwrap_or_default()
    }

    /// What [`Inputs::lines`] wrote, and the disguise that its passwords wear.
    ///
    /// # Errors
    ///
    /// A line is none of those.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<(Inputs, Disguise), InputsError> {
        let mut lines = (1..).zip(lines);
        let head = lines
            .next()
            .and_then(|(_, line)| serde_json::from_str::<Head>(line).ok());
        let head = head.ok_or(InputsError { number: 1 })?;
        let mut record = Record::new(head.node.clone());
        let mut secrets = BTreeMap::new();
        for (number, line) in lines {
            let error = InputsError { number };
            let Some((key, entry)) = entry_of_line(line, &head.node) else {
                return Err(error);
            };
            match key {
                Key::Secret { namespace, name } => {
                    let value = entry
                        .good
                        .and_then(|good| serde_json::from_str::<Value>(&good).ok());
                    let value = value.ok_or(error)?;
                    let parsed = <SecretObject as crate::model::Resource>::parse(&value);
                    secrets.insert((namespace, name), parsed.object.unwrap_or_default());
                }
                key => record.insert(key, entry),
            }
        }
        let passwords = head.secrets.into_iter();
        let environment = Environment {
            router_id: head.router_id,
            k8s_node_ref: head.k8s_node_ref,
            advertise_cluster_ips: head.advertise_cluster_ips,
            namespace: head.namespace,
            endpoints: head.endpoints,
            secrets: passwords
                .map(|(name, key, value)| (SecretRef { name, key }, Secret::new(value)))
                .collect(),
        };
        let inputs = Inputs {
            record,
            revision: head.revision,
            secrets,
            environment,
        };
        Ok((inputs, head.disguise))
    }

    /// A cache that holds what is in force.
    pub fn cache(&self) -> Cache {
        let mut cache = Cache::new();
        for event in self.record.events(self.revision) {
            cache.handle(event);
        }
        for ((namespace, name), secret) in &self.secrets {
            let values = secret.values.iter();
            let values: Map<String, Value> = values
                .map(|(key, value)| (key.clone(), text(value).into()))
                .collect();
            let key = Key::Secret {
                namespace: namespace.clone(),
                name: name.clone(),
            };
            let origin = key.to_string();
            let value = serde_json::json!({ "stringData": values });
            cache.handle(StoreEvent::Put { key, value, origin });
        }
        cache
    }
}

/// The text of a disguise.
fn text(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::desired;
    use crate::manifest;
    use crate::plan::cache_of;

    const RESOURCES: &str = "
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: n1}, spec: {bgp: {ipv4Address: 10.0.0.1/24}}}
---
{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: n2}, spec: {bgp: {ipv4Address: 10.0.0.2/24}}}
---
{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {name: tor}, spec: {peerIP: 10.9.0.1, asNumber: 64601,
  password: {secretKeyRef: {name: bgp, key: tor}}}}
---
{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {name: tor2}, spec: {peerIP: 10.9.0.2, asNumber: 64601,
  password: {secretKeyRef: {name: files, key: tor}}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: bgp, namespace: kube-system}, stringData: {tor: hunter2}}
";

    #[test]
    fn what_crosses_makes_the_same_plan_and_holds_no_password() {
        let mut cache = cache_of(manifest::read(RESOURCES, "test.yaml")).unwrap();
        let mut record = Record::new("n1");
        for item in manifest::read(RESOURCES, "test.yaml") {
            if let manifest::ManifestItem::Object { key, value, origin } = item {
                let note = record.note(&StoreEvent::Put { key, value, origin });
                record.take(note, &cache);
            }
        }
        let place = SecretRef {
            name: "files".into(),
            key: "tor".into(),
        };
        let environment = Environment {
            router_id: Some("hash".into()),
            secrets: [(place, Secret::new("correct horse"))].into(),
            ..Environment::default()
        };
        let secrets = cache.secrets();
        let inputs = Inputs {
            record,
            revision: 7,
            secrets: secrets
                .map(|(name, secret)| (name.clone(), secret.clone()))
                .collect(),
            environment,
        };
        let disguise = Disguise::new(42);
        let lines: Vec<String> = inputs.lines(&disguise).collect();
        let text = lines.join("\n");
        assert!(!text.contains("hunter2") && !text.contains("horse"), "{text}");
        let (crossed, same) = Inputs::parse(lines.iter().map(String::as_str)).unwrap();
        assert_eq!(
            (&same, crossed.revision, crossed.record.node()),
            (&disguise, 7, "n1")
        );
        let theirs = desired(&crossed.cache(), "n1", &crossed.environment).unwrap();
        // The other side of a comparison wears the same disguise.
        cache.replace_secrets(|secret| disguise.of(secret));
        let mut ours = inputs.environment.clone();
        ours.secrets
            .values_mut()
            .for_each(|secret| *secret = disguise.of(secret));
        let ours = desired(&cache, "n1", &ours).unwrap();
        assert_eq!(ours, theirs);
        assert!(theirs.ipv4.peers.iter().any(|peer| peer.authenticated));
        // Another password is seen as another one, and the same salt makes the same text.
        assert_eq!(disguise.of(&Secret::new("a")), disguise.of(&Secret::new("a")));
        assert_ne!(disguise.of(&Secret::new("a")), disguise.of(&Secret::new("b")));
        assert_ne!(
            disguise.of(&Secret::new("a")),
            Disguise::new(43).of(&Secret::new("a"))
        );
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        assert_eq!(Inputs::parse([]).unwrap_err().number, 1);
        assert_eq!(Inputs::parse(["{}"]).unwrap_err().number, 1);
        let inputs = Inputs {
            record: Record::new("n1"),
            revision: 0,
            secrets: BTreeMap::new(),
            environment: Environment::default(),
        };
        let head = inputs.lines(&Disguise::new(1)).next().unwrap();
        assert!(Inputs::parse([head.as_str()]).is_ok());
        assert_eq!(
            Inputs::parse([head.as_str(), "{\"kind\":\"Pod\"}"])
                .unwrap_err()
                .number,
            2
        );
    }
}
