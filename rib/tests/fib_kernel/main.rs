//! The FIB against the real kernel, each test in a network namespace of its own.

#![cfg(feature = "io")]

mod namespace;
mod node;

mod routes;
mod scale;
mod takeover;
mod trouble;
