//! `pipit fib`: this node's routes in the kernel, as they should be and as they are.

use std::io::Write;

use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Column, Format, Item, ListWriter};
use crate::cli::routes::print_list;
use crate::cli::{FamilyArgs, GlobalArgs};
use crate::control::client::Client;
use crate::control::protocol::{FibDiff, FibDiffItem, FibItem, FibNextHop, FibSync, path};
use crate::control::query::FibParams;

/// Arguments of `pipit fib`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct FibArgs {
    /// Only one family.
    #[command(flatten)]
    pub family: FamilyArgs,
    /// What else to do than to list.
    #[command(subcommand)]
    pub action: Option<FibAction>,
}

/// What else can be done with the kernel's routes.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum FibAction {
    /// Compare with what the kernel really has, read afresh; exit code 1 when something is wrong
    Diff,
    /// Put right what differs, at once; exit code 1 when something stays wrong
    Sync {
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

impl Item for FibItem {
    const KIND: &'static str = "FibList";

    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("PREFIX", |route, _| route.prefix.to_string()),
        Column::new("KIND", |route, _| route.kind.clone()),
        Column::new("GATEWAY", gateways),
        Column::new("DEVICE", devices),
        Column::wide("METRIC", |route, _| route.metric.to_string()),
        Column::new("PROTOCOL", |route, _| protocol(route.protocol)),
        Column::new("STATE", |route, _| route.state.clone()),
        Column::wide("OBJECT", |route, _| {
            route.nexthop_object.map_or_else(String::new, |id| id.to_string())
        }),
        Column::wide("KERNEL", |route, _| route.kernel.clone().unwrap_or_default()),
        Column::new("REASON", |route, _| route.reason.clone().unwrap_or_default()),
    ];

    fn name(&self) -> String {
        self.prefix.to_string()
    }
}

/// Runs `pipit fib`.
pub async fn run(
    args: &FibArgs,
    mut client: Client,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    match args.action {
        None => {}
        Some(FibAction::Diff | FibAction::Sync { dry_run: true }) => {
            return diff(&mut client, global, out).await;
        }
        Some(FibAction::Sync { dry_run: false }) => return sync(&mut client, global, out).await,
    }
    let params = FibParams {
        family: args.family.family(),
    };
    let params = serde_urlencoded::to_string(params).map_err(|error| CliError::Usage(error.to_string()))?;
    print_list::<FibItem>(&mut client, &format!("{}?{params}", path::FIB), global, out).await?;
    Ok(Exit::Done)
}

impl Item for FibDiffItem {
    const KIND: &'static str = "FibDiff";

    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("PREFIX", |found, _| found.prefix.to_string()),
        Column::new("PROBLEM", |found, _| found.problem.clone()),
        Column::new("DESIRED", |found, _| found.desired.clone().unwrap_or_default()),
        Column::new("KERNEL", |found, _| found.kernel.clone().unwrap_or_default()),
        Column::new("ACTION", |found, _| found.action.clone()),
        Column::new("REASON", |found, _| found.reason.clone().unwrap_or_default()),
    ];

    fn name(&self) -> String {
        self.prefix.to_string()
    }
}

async fn diff(client: &mut Client, global: &GlobalArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let answer: FibDiff = client.document(path::FIB_DIFF).await?;
    if answer.items.is_empty() && is_text(global) {
        writeln!(out, "the kernel has what it should have").map_err(CliError::Output)?;
        return Ok(Exit::Done);
    }
    print_differences(&answer.items, answer.omitted, global, out)?;
    Ok(verdict(&answer.items))
}

async fn sync(client: &mut Client, global: &GlobalArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let answer: FibSync = client.act(path::FIB_SYNC).await?;
    if !is_text(global) {
        let all: Vec<FibDiffItem> = answer.items.iter().chain(&answer.remaining).cloned().collect();
        print_differences(&all, answer.omitted, global, out)?;
        return Ok(verdict(&answer.remaining));
    }
    if answer.items.is_empty() && answer.remaining.is_empty() {
        writeln!(out, "the kernel has what it should have").map_err(CliError::Output)?;
        return Ok(Exit::Done);
    }
    if !answer.items.is_empty() {
        writeln!(out, "put right:").map_err(CliError::Output)?;
        print_differences(&answer.items, 0, global, out)?;
    }
    if !answer.remaining.is_empty() {
        writeln!(out, "still so:").map_err(CliError::Output)?;
        print_differences(&answer.remaining, answer.omitted, global, out)?;
    }
    Ok(verdict(&answer.remaining))
}

fn print_differences(
    items: &[FibDiffItem],
    omitted: usize,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut list = ListWriter::new(out, global)?;
    for item in items {
        list.push(item)?;
    }
    list.finish(&[("omitted", omitted.into())])?;
    if omitted > 0 && is_text(global) {
        writeln!(out, "and {omitted} more").map_err(CliError::Output)?;
    }
    Ok(())
}

fn is_text(global: &GlobalArgs) -> bool {
    matches!(global.format(), Format::Table | Format::Wide)
}

fn verdict(items: &[FibDiffItem]) -> Exit {
    if items.iter().any(FibDiffItem::is_wrong) {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// The gateways of an ECMP route with their weights where those differ from one: `10.0.0.2,10.0.0.3*2`.
fn gateways(route: &FibItem, _: jiff::Timestamp) -> String {
    let gateway = |hop: &FibNextHop| {
        let address = hop
            .gateway
            .map_or_else(|| "-".to_owned(), |gateway| gateway.to_string());
        let weight = if hop.weight > 1 {
            format!("*{}", hop.weight)
        } else {
            String::new()
        };
        let onlink = if hop.onlink { "(onlink)" } else { "" };
        format!("{address}{weight}{onlink}")
    };
    route.next_hops.iter().map(gateway).collect::<Vec<_>>().join(",")
}

/// The device, or each next hop's where they differ.
fn devices(route: &FibItem, _: jiff::Timestamp) -> String {
    let mut devices: Vec<&str> = route
        .next_hops
        .iter()
        .filter_map(|hop| hop.device.as_deref())
        .collect();
    devices.dedup();
    if devices.is_empty() {
        route.device.clone().unwrap_or_default()
    } else {
        devices.join(",")
    }
}

/// The names of iproute2's `rt_protos`, for those that may be ours.
fn protocol(number: u8) -> String {
    match number {
        12 => "bird".to_owned(),
        186 => "bgp".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecmp_shows_every_gateway_with_its_weight() {
        let hop = |gateway: &str, device: &str, weight| FibNextHop {
            gateway: Some(gateway.parse().unwrap()),
            device: Some(device.to_owned()),
            weight,
            onlink: device == "tunl0",
        };
        let mut route = FibItem {
            nexthop_object: None,
            prefix: "10.0.0.0/26".parse().unwrap(),
            kind: "unicast".to_owned(),
            next_hops: vec![hop("10.1.0.2", "eth0", 1), hop("10.1.0.3", "eth0", 2)],
            device: Some("eth0".to_owned()),
            metric: 0,
            protocol: 12,
            state: "installed".to_owned(),
            reason: None,
            kernel: None,
        };
        let now = jiff::Timestamp::UNIX_EPOCH;
        assert_eq!(
            (gateways(&route, now), devices(&route, now)),
            ("10.1.0.2,10.1.0.3*2".into(), "eth0".into())
        );
        route.next_hops = vec![hop("10.1.0.2", "tunl0", 1)];
        assert_eq!(gateways(&route, now), "10.1.0.2(onlink)");
        route.next_hops.clear();
        route.device = None;
        assert_eq!(
            (gateways(&route, now), devices(&route, now)),
            (String::new(), String::new())
        );
    }
}
