//! `pipit drain` and `pipit undrain`: traffic leaves the node before the node does (RFC 8326).

use std::io::Write;

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::print_document;
use crate::control::client::Client;
use crate::control::protocol::{Drained, path};

/// Runs `pipit drain` (`is_drained`) or `pipit undrain`.
pub async fn run(
    is_drained: bool,
    mut client: Client,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let path = if is_drained { path::DRAIN } else { path::UNDRAIN };
    let answer: Drained = client.act(path).await?;
    print_document(&answer, global.format(), out, |out| match answer.drained {
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
