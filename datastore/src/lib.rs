//! Calico's resources, and what they make this node do.
//!
//! A back-end (`io`) delivers objects, `cache` holds them as typed models, `desired` computes from the cache, as a
//! pure function, everything the node should do, and `diff` says what changed.

pub mod backend;
pub mod guard;
pub mod key;
