//! `pipit debug`: for those who doubt the daemon.

use std::io::Write;

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::print_document;
use crate::control::client::Client;
use crate::control::protocol::{Verified, path};

/// Arguments of `pipit debug`.
#[derive(Debug, clap::Args)]
pub struct DebugArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: DebugAction,
}

/// What may be asked.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum DebugAction {
    /// Compute choices, announcements and kernel routes anew and compare; exit 1 when they differ
    Verify,
}

/// Runs `pipit debug`.
pub async fn run(
    args: &DebugArgs,
    mut client: Client,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let DebugAction::Verify = args.action;
    let verified: Verified = client.document(path::VERIFY).await?;
    print_document(&verified, global.format(), out, |out| {
        for fault in &verified.faults {
            writeln!(out, "{fault}")?;
        }
        writeln!(
            out,
            "{} prefixes and {} paths looked at, {} faults",
            verified.prefixes,
            verified.paths,
            verified.faults.len()
        )
    })?;
    Ok(if verified.faults.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}
