//! Back-ends: where objects come from.

pub mod etcd;
pub mod file;
