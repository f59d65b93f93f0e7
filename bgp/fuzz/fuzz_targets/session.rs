//! `cd bgp && cargo fuzz run -s none session -- -max_total_time=60` runs on the stable toolchain.
#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::session::check(input));
