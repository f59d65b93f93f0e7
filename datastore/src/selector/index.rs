//! Which nodes each selector in use matches, kept as nodes and selectors come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Labels, Selector, SelectorError};

/// The matches of every selector in use.
///
/// One changed node costs one evaluation per selector, one new selector one per node: with thousands of nodes a
/// label change must not evaluate every pair again.
#[derive(Clone, Debug, Default)]
pub struct SelectorIndex {
    selectors: BTreeMap<String, Entry>,
    version: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    selector: Selector,
    /// Names of the nodes it matches, in order.
    nodes: BTreeSet<Arc<str>>,
}

impl SelectorIndex {
    /// Starts to keep the matches of a selector; one that is kept already costs nothing.
    ///
    /// # Errors
    ///
    /// The text is not a selector. It then matches no node.
    pub fn insert<'n>(
        &mut self,
        text: &str,
        nodes: impl Iterator<Item = (&'n Arc<str>, &'n Labels)>,
    ) -> Result<(), SelectorError> {
        if self.selectors.contains_key(text) {
            return Ok(());
        }
        let selector: Selector = text.parse()?;
        let nodes = nodes
            .filter(|(_, labels)| selector.matches(labels))
            .map(|(name, _)| name.clone())
            .collect();
        self.selectors.insert(text.to_owned(), Entry { selector, nodes });
        self.version += 1;
        Ok(())
    }

    /// Grows whenever a selector matches other nodes than before.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Forgets every selector.
    pub fn clear(&mut self) {
        self.selectors.clear();
        self.version += 1;
    }

    /// Forgets every selector that is not among `used`.
    pub fn retain(&mut self, used: &BTreeSet<&str>) {
        self.selectors.retain(|text, _| used.contains(text.as_str()));
    }

    /// A node has these labels now.
    pub fn node_changed(&mut self, name: &Arc<str>, labels: &Labels) {
        for entry in self.selectors.values_mut() {
            let is_changed = match entry.selector.matches(labels) {
                true => entry.nodes.insert(name.clone()),
                false => entry.nodes.remove(name),
            };
            self.version += u64::from(is_changed);
        }
    }

    /// A node is gone.
    pub fn node_removed(&mut self, name: &str) {
        for entry in self.selectors.values_mut() {
            self.version += u64::from(entry.nodes.remove(name));
        }
    }

    /// Names of the nodes that a selector matches, in order; none when it is not kept or does not parse.
    pub fn nodes(&self, text: &str) -> impl Iterator<Item = &Arc<str>> {
        self.selectors
            .get(text)
            .into_iter()
            .flat_map(|entry| &entry.nodes)
    }

    /// Whether a selector matches this node.
    pub fn contains(&self, text: &str, node: &str) -> bool {
        self.selectors
            .get(text)
            .is_some_and(|entry| entry.nodes.contains(node))
    }
}
