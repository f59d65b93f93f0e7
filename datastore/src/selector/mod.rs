//! Calico's label selectors: parsed once, evaluated against a node's labels.
//!
//! The language is that of `libcalico-go`. An empty `nodeSelector` or `peerSelector` means "field not set" and never
//! gets here; the empty text, by the grammar, selects everything.

mod eval;
mod index;
mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

pub use index::SelectorIndex;
pub use parse::SelectorError;

/// The labels of a node.
pub type Labels = BTreeMap<String, String>;

/// A parsed selector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selector {
    /// `all()`, `global()`, or nothing: every node, also one without labels.
    All,
    /// `has(k)`.
    Has(String),
    /// `k == 'v'`: false when the label is absent.
    Equal(String, String),
    /// `k != 'v'`: true when the label is absent.
    NotEqual(String, String),
    /// `k in {…}`: false when the label is absent.
    In(String, BTreeSet<String>),
    /// `k not in {…}`: true when the label is absent.
    NotIn(String, BTreeSet<String>),
    /// `k contains 'v'`: false when the label is absent.
    Contains(String, String),
    /// `k starts with 'v'`: false when the label is absent.
    StartsWith(String, String),
    /// `k ends with 'v'`: false when the label is absent.
    EndsWith(String, String),
    /// `!s`.
    Not(Box<Selector>),
    /// `s && s …`, at least two.
    And(Vec<Selector>),
    /// `s || s …`, at least two.
    Or(Vec<Selector>),
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::selector(text)
    }
}
