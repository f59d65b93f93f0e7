//! The command line: see [`pipit::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pipit::cli::main()
}
