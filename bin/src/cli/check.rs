//! `pipit check PATH`: problems in resources, for CI. Exit code 0: clean, 1: problems.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use pipit_datastore::cache::Cache;
use pipit_datastore::desired::{Environment, NoPlan, Problem, node_problems, object_problems};
use serde::{Deserialize, Serialize};

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Column, Format, Item, ListWriter};
use crate::cli::resources::{environment, from_path};

/// Arguments of `pipit check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// A file of resources, or a folder of such files
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Only as this node sees them [default: as each node of the resources does]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Folder of BGP passwords, DIR/SECRET/KEY, as pipitd has it [default: none; Secrets among the resources count]
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
}

/// One problem, as each node has it that has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckItem {
    /// `Kind/name`.
    pub resource: String,
    /// Path in the object; empty when the whole object is meant.
    pub field: String,
    /// What is wrong and what pipit does about it.
    pub message: String,
}

impl Item for CheckItem {
    const KIND: &'static str = "ProblemList";

    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("RESOURCE", |problem, _| problem.resource.clone()),
        Column::new("FIELD", |problem, _| problem.field.clone()),
        Column::new("MESSAGE", |problem, _| problem.message.clone()),
    ];

    fn name(&self) -> String {
        self.resource.clone()
    }
}

/// Runs `pipit check`.
pub fn run(args: &CheckArgs, global: &GlobalArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let cache = from_path(&args.path)?;
    let environment = environment(args.secrets_dir.as_deref())?;
    let problems = match &args.node {
        Some(node) => problems_of(&cache, &environment, Some(node), [node.as_str()])?,
        None => problems_of(&cache, &environment, None, cache.nodes().map(|(name, _)| &**name))?,
    };
    if problems.is_empty() && matches!(global.format(), Format::Table | Format::Wide) {
        writeln!(out, "no problems in {}", args.path.display()).map_err(CliError::Output)?;
        return Ok(Exit::Done);
    }
    let mut writer = ListWriter::new(out, global)?;
    for problem in &problems {
        writer.push(problem)?;
    }
    writer.finish(&[])?;
    Ok(if problems.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// What the objects say about themselves and the problems of all these nodes, in order of resource and field, none
/// twice.
///
/// Some are seen only by the nodes concerned, so each node is looked at.
/// A folder without any Node is checked all the same: the filters of a cluster are often kept by themselves.
fn problems_of<'n>(
    cache: &Cache,
    environment: &Environment,
    only: Option<&str>,
    nodes: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<CheckItem>, CliError> {
    let mut found = BTreeMap::new();
    for problem in object_problems(cache, only) {
        add(&mut found, problem);
    }
    for node in nodes {
        match node_problems(cache, node, environment) {
            Ok(problems) => problems.into_iter().for_each(|problem| add(&mut found, problem)),
            // The object has said so itself.
            Err(NoPlan::NodeUnreadable { .. }) => {}
            Err(
                error @ (NoPlan::NotReady | NoPlan::NoSuchNode { .. } | NoPlan::RouterIdUnreadable { .. }),
            ) => {
                return Err(error.into());
            }
        }
    }
    let item = |((resource, field), message)| CheckItem {
        resource,
        field,
        message,
    };
    Ok(found.into_iter().map(item).collect())
}

fn add(found: &mut BTreeMap<(String, String), String>, problem: Problem) {
    let Problem {
        resource,
        field,
        message,
    } = problem;
    found.entry((resource, field)).or_insert(message);
}
