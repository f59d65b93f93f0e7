//! The FIB against the real kernel, each test in a network namespace of its own.
//!
//! `cfg(test)` tells clippy that helpers in these modules are tests too.

#![cfg(feature = "io")]

#[cfg(test)]
mod groups;
#[cfg(test)]
mod namespace;
#[cfg(test)]
mod node;
mod objects;

#[cfg(test)]
mod routes;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod trouble;
