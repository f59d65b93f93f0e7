//! The etcd back-end against a real etcd: what it delivers, and what faults do to it.
//!
//! `cfg(test)` tells clippy that helpers in these modules are tests too.

#[cfg(test)]
mod access;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod corrupt;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod driver;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod relay;
mod remembered;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod task;
