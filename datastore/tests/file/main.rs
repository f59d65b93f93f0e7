//! The file back-end on real folders.
//!
//! `cfg(test)` tells clippy that helpers in these modules are tests too.

#[cfg(test)]
mod folder;
