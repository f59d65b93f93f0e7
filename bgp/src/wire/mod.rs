//! Bytes to messages and back.
//!
//! **Invariant:** nothing here keeps state between messages; what a session negotiated comes in as options. Each
//! length is checked once, where it is read, by taking a sub-slice that cannot be read past.

pub mod attr;
pub mod capability;
pub mod header;
pub mod iana;
pub mod notification;
pub mod open;
pub mod route_refresh;
pub mod update;
