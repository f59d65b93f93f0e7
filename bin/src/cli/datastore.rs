//! `pipit datastore`: what an operator may say about the datastore.

use std::io::Write;

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::print_document;
use crate::control::client::Client;
use crate::control::protocol::{Released, path};

/// Arguments of `pipit datastore`.
#[derive(Debug, clap::Args)]
pub struct DatastoreArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: DatastoreAction,
}

/// What an operator may say.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum DatastoreAction {
    /// Deletions that are held back are meant so: act on them now
    Release,
}

/// Runs `pipit datastore`.
pub async fn run(
    args: &DatastoreArgs,
    mut client: Client,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    match args.action {
        DatastoreAction::Release => {
            let released: Released = client.act(path::RELEASE).await?;
            print_document(&released, global.format(), out, |out| match released.count {
                0 => writeln!(out, "nothing was held back"),
                1 => writeln!(out, "1 deletion was held back and is acted on now"),
                count => writeln!(out, "{count} deletions were held back and are acted on now"),
            })?;
            Ok(Exit::Done)
        }
    }
}
