//! `pipit plan`: what a node would do with these resources. Touches nothing, and asks no daemon unless it is to
//! compare with what that has in force (`--diff`).

use std::io::Write;
use std::path::PathBuf;

use pipit_datastore::cache::Cache;
use pipit_datastore::desired::desired;
use pipit_datastore::plan::{to_json, to_text};

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Format;
use crate::cli::plan_diff::InForce;
use crate::cli::resources::{after_etcd, after_path, environment};
use crate::control::client::Client;
use crate::daemon::config::{EtcdConfig, EtcdFlags, node_name};
use crate::daemon::machine::Machine;

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
    /// Folder of BGP passwords, DIR/SECRET/KEY, as pipitd has it [default: none; Secrets among the resources count]
    #[arg(long, value_name = "DIR", conflicts_with = "diff")]
    pub secrets_dir: Option<PathBuf>,
    /// What would change if the running daemon had these resources, and which sessions that resets
    #[arg(long)]
    pub diff: bool,
    /// How etcd is reached.
    #[command(flatten)]
    pub etcd: EtcdFlags,
}

/// Runs `pipit plan`.
pub fn run(args: &PlanArgs, global: &GlobalArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let machine = Machine::read();
    if args.diff {
        return diff(args, &machine, global, out);
    }
    let node = node_name(args.node.clone(), machine.surroundings())?;
    let cache = resources(args, &machine, &node, Cache::new())?;
    let plan = desired(&cache, &node, &environment(args.secrets_dir.as_deref())?)?;
    let text = match global.format() {
        Format::Table | Format::Wide => to_text(&plan),
        Format::Json => to_json(&plan).map_err(CliError::Item)?,
        Format::Jsonl | Format::Name => {
            return Err(CliError::Usage("a plan is printed as text or json".to_owned()));
        }
    };
    out.write_all(text.as_bytes()).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

fn diff(
    args: &PlanArgs,
    machine: &Machine,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let in_force = runtime.block_on(async {
        let mut client = Client::connect(&global.socket).await?;
        InForce::fetch(&mut client).await
    })?;
    let node = in_force.node();
    if let Some(asked) = args.node.as_deref().filter(|asked| *asked != node) {
        let message = format!("the daemon acts for node {node}, there is nothing of {asked} to compare with");
        return Err(CliError::Usage(message));
    }
    let before = in_force.cache();
    let after = resources(args, machine, node, before.clone())?;
    in_force.compare(&before, after, global, out)
}

/// The resources that are asked for, in place of those `before` them.
fn resources(args: &PlanArgs, machine: &Machine, node: &str, before: Cache) -> Result<Cache, CliError> {
    let Some(path) = &args.from else {
        let mut ignored = Vec::new();
        let config = EtcdConfig::resolve(args.etcd.clone(), machine.surroundings(), &mut ignored)?;
        for ignored in ignored {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(std::io::stderr(), "pipit: {ignored}");
        }
        return Ok(after_etcd(before, &config, node)?);
    };
    if args.etcd != EtcdFlags::default() {
        return Err(CliError::Usage(
            "the flags of etcd have no effect with --from".to_owned(),
        ));
    }
    Ok(after_path(before, path)?)
}
