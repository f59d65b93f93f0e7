//! Sockets and tasks: the only part of the crate that names tokio.

pub mod message;
