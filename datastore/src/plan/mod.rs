//! `pipit plan`: the desired state as JSON and as text, computed from manifests.
//!
//! Opening files is the caller's part: [`plan`] takes what `manifest::read` and `manifest::merge` gave.

mod text;

use crate::backend::StoreEvent;
use crate::cache::Cache;
use crate::desired::{DesiredState, Environment, NoPlan, desired};
use crate::manifest::{ManifestError, ManifestItem};

pub use text::to_text;

/// Why there is nothing to print.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// A file is not YAML or JSON.
    #[error("{origin}: {error}")]
    Manifest {
        /// The file, or the document in it.
        origin: String,
        /// What is wrong.
        #[source]
        error: ManifestError,
    },
    /// The resources do not make a plan.
    #[error(transparent)]
    NoPlan(#[from] NoPlan),
}

/// Computes the desired state of `node` from manifests.
///
/// # Errors
///
/// A file is no manifest, there is no such node, or its own settings are not readable.
pub fn plan(
    items: impl IntoIterator<Item = ManifestItem>,
    node: &str,
    environment: &Environment,
) -> Result<DesiredState, PlanError> {
    let cache = cache_of(items)?;
    Ok(desired(&cache, node, environment)?)
}

/// Fills a cache with manifests.
///
/// # Errors
///
/// A file is no manifest.
pub fn cache_of(items: impl IntoIterator<Item = ManifestItem>) -> Result<Cache, PlanError> {
    succeed(Cache::new(), items)
}

/// Has manifests take the place of all that a cache holds. What of them cannot be read stays at the version that the
/// cache had, as it would in a daemon.
///
/// # Errors
///
/// A file is no manifest.
pub fn succeed(mut cache: Cache, items: impl IntoIterator<Item = ManifestItem>) -> Result<Cache, PlanError> {
    cache.handle(StoreEvent::Begin);
    for item in items {
        let event = match item {
            ManifestItem::Object { key, value, origin } => StoreEvent::Put { key, value, origin },
            ManifestItem::Unreadable { origin, error } if error.is_fatal() => {
                return Err(PlanError::Manifest { origin, error });
            }
            ManifestItem::Unreadable { origin, error } => StoreEvent::Unreadable {
                key: None,
                origin,
                error: error.to_string(),
            },
        };
        cache.handle(event);
    }
    cache.handle(StoreEvent::SnapshotDone { revision: 0 });
    Ok(cache)
}

/// The JSON of the contract, keys in its order, ending in a line break.
///
/// # Errors
///
/// None in practice: every part of a plan can be written as JSON.
pub fn to_json(state: &DesiredState) -> Result<String, serde_json::Error> {
    let mut json = serde_json::to_string_pretty(state)?;
    json.push('\n');
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    #[test]
    fn c199_what_cannot_be_read_stays_as_it_was_and_what_is_not_there_goes() {
        let read = |cidr: &str| {
            let text = format!(
                "{{apiVersion: projectcalico.org/v3, kind: Node, metadata: {{name: n1}}}}\n---\n\
                 {{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {{name: pods}}, spec: {{cidr: {cidr}}}}}"
            );
            manifest::read(&text, "test.yaml")
        };
        let before = cache_of(read("10.65.0.0/16")).unwrap();
        let pools = |cache: &Cache| {
            cache
                .pools()
                .map(|(_, pool)| pool.cidr.to_string())
                .collect::<Vec<_>>()
        };
        let broken = succeed(before.clone(), read("nonsense")).unwrap();
        assert_eq!(pools(&broken), ["10.65.0.0/16"]);
        assert_eq!(pools(&cache_of(read("nonsense")).unwrap()), Vec::<String>::new());
        let gone = succeed(before, Vec::new()).unwrap();
        assert_eq!((pools(&gone), gone.nodes().count()), (Vec::new(), 0));
    }
}
