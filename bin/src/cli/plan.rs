//! `pipit plan`: what a node would do with these resources. Touches nothing, asks no daemon.

use std::io::Write;
use std::path::PathBuf;

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::daemon::config::EtcdFlags;

/// Arguments of `pipit plan`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["from", "from_etcd"]))]
pub struct PlanArgs {
    /// Calico node to plan for [default: as pipitd finds it]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// A file of resources, or a folder of such files
    #[arg(long, value_name = "PATH")]
    pub from: Option<PathBuf>,
    /// Read the resources from etcd
    #[arg(long)]
    pub from_etcd: bool,
    /// How etcd is reached.
    #[command(flatten)]
    pub etcd: EtcdFlags,
}

/// Runs `pipit plan`.
pub fn run(_args: &PlanArgs, _global: &GlobalArgs, _out: &mut dyn Write) -> Result<Exit, CliError> {
    Err(CliError::Unsupported(
        "this build cannot plan: pipit-datastore has no desired state in it",
    ))
}
