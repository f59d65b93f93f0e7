//! The task around the RIB, and the netlink sockets.

pub mod netlink;
pub mod task;
