//! The daemon's own parts: what it is told at its start, and how it speaks to its operator.

pub mod config;
pub mod logging;
pub mod privilege;
