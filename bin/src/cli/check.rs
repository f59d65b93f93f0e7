//! `pipit check PATH`: problems in resources, for CI. Exit code 0: clean, 1: problems.

use std::io::Write;
use std::path::PathBuf;

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};

/// Arguments of `pipit check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// A file of resources, or a folder of such files
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// Runs `pipit check`.
pub fn run(_args: &CheckArgs, _global: &GlobalArgs, _out: &mut dyn Write) -> Result<Exit, CliError> {
    Err(CliError::Unsupported(
        "this build cannot check: pipit-datastore has no desired state in it",
    ))
}
