//! The etcd back-end against a real etcd: what it delivers, and what faults do to it.

mod access;
mod driver;
mod faults;
mod relay;
mod server;
mod stream;
