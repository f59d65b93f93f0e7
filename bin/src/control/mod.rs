//! The control API: how `pipit`, or curl, asks a running daemon.
//!
//! ```text
//! pipit ── client ── HTTP/1.1, JSON ── unix socket ── server ── ControlApi ── owners of the state (daemon)
//! ```
//!
//! `protocol` has the types that cross the socket, `query` what may be asked of the long lists, `api` what the daemon
//! must answer, `socket` the file in the file system. Lists that can be long (routes, fib) travel as one JSON object
//! a line and are fetched from the daemon page by page, as fast as the client reads: nobody ever holds a whole
//! table, and a client that stops reading costs the daemon one page.

pub mod api;
pub mod client;
mod connections;
pub mod protocol;
pub mod query;
pub mod server;
pub mod socket;
mod stream;
