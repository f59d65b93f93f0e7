//! Data that cannot be honoured, and why.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cache::Cache;
use crate::key::Key;

/// Something in a resource that pipit cannot honour.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Problem {
    /// `Kind/name`.
    pub resource: String,
    /// Path in the object, indexes from 0; empty when the whole object is meant.
    pub field: String,
    /// What is wrong and what pipit does about it, for people.
    pub message: String,
}

/// Whether a field of an object has a meaning, so that it is worth a report.
///
/// A BGPConfiguration means something as `default` and as `node.<name>`, there only in three fields. Of another
/// node's only the port matters here: it is the one that we dial. `None`: for whatever node.
fn matters(key: &Key, node: Option<&str>, field: &str) -> bool {
    let Key::BgpConfiguration(name) = key else {
        return true;
    };
    match name.strip_prefix("node.") {
        None => name == "default",
        Some(owner) => {
            field == "spec.listenPort"
                || node.is_none_or(|node| node == owner)
                    && [
                        "spec.logSeverityScreen",
                        "spec.prefixAdvertisements",
                        "metadata.annotations",
                    ]
                    .iter()
                    .any(|known| field.starts_with(known))
        }
    }
}

/// Collects problems: at most one for each field, the first one counts.
#[derive(Clone, Debug, Default)]
pub(super) struct ProblemSet {
    messages: BTreeMap<(String, String), String>,
}

impl ProblemSet {
    pub(super) fn add(
        &mut self,
        resource: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.messages
            .entry((resource.into(), field.into()))
            .or_insert_with(|| message.into());
    }

    /// What objects say about themselves.
    pub(super) fn add_unreadable(&mut self, cache: &Cache, node: Option<&str>) {
        cache.each_problem(node, |key, problems, unreadable, is_last_good| {
            let resource = key.to_string();
            let kept = match is_last_good {
                true => " (the last good version stays in force)",
                false => "",
            };
            if let Some(error) = unreadable {
                self.add(&resource, "", format!("{error}{kept}"));
            }
            for problem in problems
                .iter()
                .filter(|problem| matters(&key, node, &problem.field))
            {
                self.add(&resource, &problem.field, format!("{}{kept}", problem.message));
            }
        });
    }

    pub(super) fn extend(&mut self, other: &ProblemSet) {
        for ((resource, field), message) in &other.messages {
            self.add(resource, field, message);
        }
    }

    /// By resource, then field.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        self.messages
            .into_iter()
            .map(|((resource, field), message)| Problem {
                resource,
                field,
                message,
            })
            .collect()
    }
}
