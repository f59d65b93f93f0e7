//! Bytes to messages and back.

pub mod attr;
pub mod update;
