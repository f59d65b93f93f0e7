//! `pipit peers`, also `pipit status`: every session in a line, then the daemon itself.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::cli::GlobalArgs;
use crate::cli::age::{age, age_of_secs};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Column, Format, Item, ListWriter};
use crate::cli::table::printable;
use crate::control::client::Client;
use crate::control::protocol::{DaemonStatus, PeerItem, PeerList, PeerState, path};

/// Problems that a table lists; JSON has them all.
const SHOWN_PROBLEMS: usize = 10;

/// Arguments of `pipit peers`.
#[derive(Debug, clap::Args)]
pub struct PeersArgs {
    /// Exit with 6 when a peer is not Established, or the daemon waits for its node
    #[arg(long)]
    pub check: bool,
}

impl Item for PeerItem {
    const KIND: &'static str = "PeerList";

    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("NAME", |peer, _| peer.name.clone()),
        Column::new("ADDRESS", |peer, _| address(peer)),
        Column::wide("PORT", |peer, _| peer.port.to_string()),
        Column::new("KIND", |peer, _| peer.kind.name().to_owned()),
        Column::new("AS", |peer, _| peer.remote_as.to_string()),
        Column::wide("LOCAL-AS", |peer, _| peer.local_as.to_string()),
        Column::new("STATE", |peer, _| peer.state.name().to_owned()),
        Column::new("SINCE", |peer, now| age(peer.since, now)),
        Column::new("RECEIVED", |peer, _| peer.prefixes_received.to_string()),
        Column::wide("ACCEPTED", |peer, _| peer.prefixes_accepted.to_string()),
        Column::new("SENT", |peer, _| peer.prefixes_sent.to_string()),
        Column::wide("FLAPS", |peer, _| peer.flaps.to_string()),
        Column::wide("ROUTER-ID", |peer, _| {
            peer.remote_router_id
                .map_or_else(String::new, |id| id.to_string())
        }),
        Column::wide("HOLD", |peer, _| {
            peer.hold_time_secs
                .map_or_else(String::new, |secs| format!("{secs}s"))
        }),
        Column::wide("FAMILIES", |peer, _| families(peer)),
        Column::wide("RESOURCE", |peer, _| peer.resource.clone()),
        Column::new("LAST-ERROR", |peer, _| trouble(peer)),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// Runs `pipit peers`.
pub async fn run(
    args: &PeersArgs,
    mut client: Client,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let list: PeerList = client.document(path::PEERS).await?;
    let mut writer = ListWriter::new(out, global)?;
    for peer in &list.items {
        writer.push(peer)?;
    }
    let daemon = serde_json::to_value(&list.daemon).map_err(CliError::Item)?;
    let problems = serde_json::to_value(&list.problems).map_err(CliError::Item)?;
    writer.finish(&[("daemon", daemon), ("problems", problems)])?;
    if matches!(global.format(), Format::Table | Format::Wide) && !global.no_headers {
        write_footer(out, &list, Timestamp::now()).map_err(CliError::Output)?;
    }
    Ok(if args.check && is_degraded(&list) {
        Exit::Degraded
    } else {
        Exit::Done
    })
}

fn is_degraded(list: &PeerList) -> bool {
    let is_down = |peer: &PeerItem| peer.state != PeerState::Established;
    list.daemon.waiting.is_some() || list.items.iter().any(is_down)
}

/// The daemon in three lines, then the problems.
fn write_footer(out: &mut dyn Write, list: &PeerList, now: Timestamp) -> io::Result<()> {
    let PeerList {
        items,
        daemon,
        problems,
        ..
    } = list;
    writeln!(out)?;
    writeln!(out, "{}", node_line(daemon, now))?;
    writeln!(out, "{}", datastore_line(daemon))?;
    if let Some(line) = held_line(daemon) {
        writeln!(out, "{line}")?;
    }
    if daemon.withdrawn {
        writeln!(out, "Drained: peers are told no route")?;
    } else if daemon.drained {
        writeln!(out, "Drained: peers are asked to prefer other ways")?;
    }
    if let Some(waiting) = &daemon.waiting {
        writeln!(out, "Waiting: {}", printable(waiting))?;
    }
    let established = items
        .iter()
        .filter(|peer| peer.state == PeerState::Established)
        .count();
    let count = items.len();
    match problems.len() {
        0 => writeln!(out, "Peers: {established} of {count} established, no problems"),
        1 => writeln!(out, "Peers: {established} of {count} established, 1 problem:"),
        many => writeln!(
            out,
            "Peers: {established} of {count} established, {many} problems:"
        ),
    }?;
    for problem in problems.iter().take(SHOWN_PROBLEMS) {
        writeln!(
            out,
            "  {}: {}",
            printable(&problem.resource),
            printable(&problem.message)
        )?;
    }
    match problems.len().checked_sub(SHOWN_PROBLEMS) {
        None | Some(0) => Ok(()),
        Some(hidden) => writeln!(out, "  and {hidden} more (pipit status -o json)"),
    }
}

fn node_line(daemon: &DaemonStatus, now: Timestamp) -> String {
    let router_id = daemon
        .router_id
        .map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let local_as = daemon
        .local_as
        .map_or_else(|| "unknown".to_owned(), |asn| asn.to_string());
    let name = printable(&daemon.node_name);
    let up = age(daemon.started, now);
    format!(
        "Node: {name}, router id {router_id}, AS {local_as}, pipitd {} for {up}",
        printable(&daemon.version)
    )
}

fn datastore_line(daemon: &DaemonStatus) -> String {
    let store = &daemon.datastore;
    // A state from disk is as old as it says; one that was read is as old as the loss of the datastore.
    let stale = age_of_secs(daemon.datastore_stale_seconds.unwrap_or_default());
    let state = match (store.connected, store.in_sync) {
        _ if store.from_disk => {
            format!("not reached yet, the state of {stale} ago, kept on disk, is in force")
        }
        (true, true) if store.revision > 0 => format!("in sync at revision {}", store.revision),
        (true, true) => "in sync".to_owned(),
        (true, false) => "reading".to_owned(),
        (false, true) => format!("not reached for {stale}, the last good state is in force"),
        (false, false) => "not reached yet".to_owned(),
    };
    let reason = store
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {}", printable(reason)));
    format!(
        "Datastore: {} {}, {state}{reason}",
        store.kind.name(),
        printable(&store.endpoint)
    )
}

/// What is held back, if anything is.
fn held_line(daemon: &DaemonStatus) -> Option<String> {
    let held = &daemon.datastore.held;
    let first = held.iter().map(|item| item.until).min()?;
    let (count, noun) = match held.len() {
        1 => (1, "deletion"),
        many => (many, "deletions"),
    };
    let away = match daemon.datastore.connected {
        true => "",
        false => ", and for as long as the datastore is away",
    };
    Some(format!(
        "Held back: {count} {noun} until {first}{away} (pipit datastore release acts on it now)"
    ))
}

/// The address as one would dial it, with the interface of a link-local one.
pub(crate) fn address(peer: &PeerItem) -> String {
    match &peer.interface {
        Some(interface) => format!("{}%{interface}", peer.address),
        None => peer.address.to_string(),
    }
}

pub(crate) fn families(peer: &PeerItem) -> String {
    peer.families
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// Why the session does not run, or why it ended; the reason to hold it explains more than the last error.
fn trouble(peer: &PeerItem) -> String {
    peer.held
        .clone()
        .or_else(|| peer.last_error.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
