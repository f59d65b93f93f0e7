//! Speakers on real sockets: addresses of 127.0.0.0/8, ports that need no privilege, one process.
//!
//! What needs more than that (namespaces, other daemons, tunnels) is in `testbed`.
#![cfg(feature = "io")]

#[cfg(test)]
mod isolation;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod node;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod sessions;
