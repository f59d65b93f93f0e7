//! Path attributes (RFC 4271 §4.3, §5).

mod facts;

pub use facts::{AttrFacts, Marks, Origin};
