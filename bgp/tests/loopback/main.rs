//! Speakers on real sockets: addresses of 127.0.0.0/8, ports that need no privilege, one process.
//!
//! What needs more than that (namespaces, other daemons, tunnels) is in `testbed`.
#![cfg(feature = "io")]

mod isolation;
mod keys;
mod listening;
mod node;
mod scripted;
mod sessions;
