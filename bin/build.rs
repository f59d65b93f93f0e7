//! Relative relocations packed (DT_RELR, glibc 2.36): their list was half a megabyte of the program.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_gnu = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    if is_gnu {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
