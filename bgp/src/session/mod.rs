//! The session of one peer.

pub mod config;
pub mod output;
