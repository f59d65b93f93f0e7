//! Back-ends: where objects come from, and the task that turns them into desired states.

pub mod etcd;
pub mod file;
pub mod secrets;
pub mod task;
