//! The FIB against the real kernel, each test in a network namespace of its own.

#![cfg(feature = "io")]

#[cfg(test)]
mod namespace;
#[cfg(test)]
mod node;

#[cfg(test)]
mod routes;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod trouble;
