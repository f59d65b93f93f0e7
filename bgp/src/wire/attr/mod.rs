//! Path attributes (RFC 4271 §4.3, §5).
//!
//! Received attributes are checked ([`validate`]: the table of RFC 7606) and brought into a canonical form that the
//! rest of pipit stores, compares and edits as bytes: see [`AttrView`].

pub(crate) mod as4;
pub mod as_path;
pub mod code;
mod edit;
mod facts;
pub mod validate;
mod view;

pub use edit::{AttrEdit, Change, originated};
pub use facts::{AttrFacts, Marks, Origin};
pub use view::{AttrView, RawAttr};
