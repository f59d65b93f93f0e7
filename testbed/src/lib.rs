//! Small networks for pipit: nodes in network namespaces on one bridge, pods wired as Calico wires them, real
//! peers, a real etcd, the real kernel.
//!
//! Everything that is made is removed again when its value is dropped, also by a failing test; what a killed run
//! leaves behind, the next one clears (see [`netns`]). Needs root.

pub mod calico;
pub mod etcd;
pub mod kernel;
pub mod latency;
pub mod mesh;
pub mod netns;
pub mod ping;
pub mod process;
pub mod speaker;
pub mod topology;
pub mod wait;

/// The network prefix of a node's own subnet and the like, re-exported for tests.
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
