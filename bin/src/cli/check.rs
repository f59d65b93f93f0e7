//! `pipit check PATH`: problems in resources, for CI. Exit code 0: clean, 1: problems.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use pipit_datastore::cache::Cache;
use pipit_datastore::desired::{NoPlan, Problem, desired};
use serde::{Deserialize, Serialize};

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Column, Format, Item, ListWriter};
use crate::cli::resources::from_path;
use crate::daemon::machine;

/// Arguments of `pipit check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// A file of resources, or a folder of such files
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Only as this node sees them [default: as each node of the resources does]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
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
    let problems = match &args.node {
        Some(node) => problems_of(&cache, [node.as_str()])?,
        None => problems_of(&cache, cache.nodes().map(|(name, _)| &**name))?,
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

/// The problems of all these nodes, in order of resource and field, none twice.
///
/// Some are seen only by the nodes concerned, so each node's plan is made: the cost grows with the square of the mesh.
fn problems_of<'n>(
    cache: &Cache,
    nodes: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<CheckItem>, CliError> {
    let environment = machine::environment();
    let mut found = BTreeMap::new();
    for node in nodes {
        match desired(cache, node, &environment) {
            Ok(plan) => plan
                .problems
                .into_iter()
                .for_each(|problem| add(&mut found, problem)),
            Err(NoPlan::NodeUnreadable { node, reason }) => {
                let field = String::new();
                add(
                    &mut found,
                    Problem {
                        resource: format!("Node/{node}"),
                        field,
                        message: reason,
                    },
                );
            }
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
