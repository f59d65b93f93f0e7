//! What must hold for any bytes; shared by the fuzz targets and by `bgp/tests/fuzz_corpus`.
#![allow(
    dead_code,
    reason = "each target is a program of its own and uses one of them"
)]

pub(crate) mod open;
pub(crate) mod session;
pub(crate) mod update;
