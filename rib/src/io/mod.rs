//! The task around the RIB, and the netlink sockets.

pub mod audit;
pub mod netlink;
pub mod task;
