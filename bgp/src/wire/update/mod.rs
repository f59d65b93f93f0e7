//! UPDATE (RFC 4271 §4.3).
//!
//! ```text
//! withdrawn len (2) | withdrawn prefixes | attributes len (2) | attributes | prefixes
//! ```

mod batch;
mod canonical;
mod decode;
mod encode;
mod mp_reach;
mod nlri;

pub use batch::{BatchItem, Nlri, UpdateBatch};
pub use decode::{DecodeOptions, Incident, UpdateError, UpdateOutcome, decode};
pub use encode::{EncodeError, EncodeOptions, encode_announce, encode_end_of_rib, encode_withdraw};
