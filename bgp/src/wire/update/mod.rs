//! UPDATE (RFC 4271 §4.3).

mod batch;

pub use batch::{BatchItem, Nlri, UpdateBatch};
