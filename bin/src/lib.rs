//! pipitd, the daemon, and pipit, its command line.
//!
//! `daemon` wires the libraries together, `control` is the border between the two programs (HTTP and JSON over a
//! unix socket), `cli` asks over it and prints. No protocol lives here: what a route or a session is, the crates
//! below know.

pub mod cli;
pub mod control;
pub mod daemon;
