//! Back-ends: where objects come from, and the task that turns them into desired states.

pub mod backend;
pub mod endpoint_status;
pub mod etcd;
pub mod file;
mod folder_watch;
pub mod secrets;
pub mod snapshot;
pub mod task;
