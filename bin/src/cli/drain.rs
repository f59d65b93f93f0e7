//! `pipit drain` and `pipit undrain`: traffic leaves the node before the node does (RFC 8326).

use std::io::Write;

use clap::Args;

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::print_document;
use crate::control::client::Client;
use crate::control::protocol::{Drained, path};
use crate::control::query::DrainParams;

/// Arguments of `pipit drain`.
#[derive(Clone, Copy, Debug, Args)]
pub struct DrainArgs {
    /// Take back whatever is announced, for a node that leaves for good: peers that do not know GRACEFUL_SHUTDOWN go
    /// other ways, too, and keep nothing once the daemon has ended
    #[arg(long)]
    pub withdraw: bool,
}

/// Runs `pipit drain`, or `pipit undrain` without arguments of the former.
pub async fn run(
    drain: Option<&DrainArgs>,
    mut client: Client,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let path = match drain {
        Some(&DrainArgs { withdraw }) => {
            let params = serde_urlencoded::to_string(DrainParams { withdraw });
            let params = params.map_err(|error| CliError::Usage(error.to_string()))?;
            format!("{}?{params}", path::DRAIN)
        }
        None => path::UNDRAIN.to_owned(),
    };
    let answer: Drained = client.act(&path).await?;
    print_document(&answer, global.format(), out, |out| match answer.drained {
        true if answer.withdrawn => writeln!(
            out,
            "drained: nothing is announced, until `pipit undrain` or the daemon's end"
        ),
        true => writeln!(
            out,
            "drained: announcements carry GRACEFUL_SHUTDOWN, until `pipit undrain` or the daemon's end"
        ),
        false if answer.by_annotation => writeln!(
            out,
            "undrained, but the Node's annotation pipit.io/usable keeps it drained"
        ),
        false => writeln!(out, "undrained"),
    })?;
    Ok(Exit::Done)
}
