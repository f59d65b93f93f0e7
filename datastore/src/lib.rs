//! Calico's resources, and what they make this node do.
//!
//! A back-end (`io`) delivers objects, `cache` holds them as typed models, `desired` computes from the cache, as a
//! pure function, everything the node should do, and `diff` says what changed.

pub mod backend;
pub mod cache;
pub mod desired;
pub mod diff;
pub mod guard;
pub mod inputs;
#[cfg(feature = "io")]
pub mod io;
pub mod key;
pub mod lower;
pub mod manifest;
pub mod model;
pub mod plan;
pub mod record;
pub mod selector;
pub mod yaml;
