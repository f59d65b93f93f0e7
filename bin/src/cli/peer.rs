//! `pipit peer NAME`: one session in full.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use pipit_bgp::session::counts::MessageCounts;
use unicode_width::UnicodeWidthStr;

use crate::cli::GlobalArgs;
use crate::cli::age::age;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Format, ListWriter};
use crate::cli::peers::{address, families};
use crate::cli::table::printable;
use crate::control::client::Client;
use crate::control::protocol::{BfdItem, PeerItem, PeerList, path};

/// Arguments of `pipit peer`.
#[derive(Debug, clap::Args)]
pub struct PeerArgs {
    /// Session name or address
    #[arg(value_name = "NAME|ADDRESS")]
    pub peer: String,
}

/// Runs `pipit peer`.
pub async fn run(
    args: &PeerArgs,
    mut client: Client,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let list: PeerList = client.document(path::PEERS).await?;
    let found: Vec<&PeerItem> = list
        .items
        .iter()
        .filter(|peer| is_meant(peer, &args.peer))
        .collect();
    if found.is_empty() {
        return Err(CliError::NotFound(format!(
            "no peer is named {0} or has address {0}",
            args.peer
        )));
    }
    match global.format() {
        Format::Table | Format::Wide => write_all(out, &found, Timestamp::now()).map_err(CliError::Output)?,
        Format::Json | Format::Jsonl | Format::Name => {
            let mut writer = ListWriter::new(out, global)?;
            for peer in found {
                writer.push(peer)?;
            }
            writer.finish(&[])?;
        }
    }
    Ok(Exit::Done)
}

pub(super) fn is_meant(peer: &PeerItem, text: &str) -> bool {
    let is_address = || text.parse::<IpAddr>().is_ok_and(|wanted| wanted == peer.address);
    peer.name == text || is_address() || address(peer) == text
}

fn write_all(out: &mut dyn Write, peers: &[&PeerItem], now: Timestamp) -> io::Result<()> {
    for (index, peer) in peers.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let lines = details(peer, now);
        let width = lines.iter().map(|(title, _)| title.width()).max().unwrap_or(0);
        for (title, value) in lines {
            writeln!(
                out,
                "{title}:{:padding$} {}",
                "",
                printable(&value),
                padding = width - title.width()
            )?;
        }
    }
    Ok(())
}

/// Everything known of a peer. Destructured without `..`: a new field must be shown, or said not to be.
fn details(peer: &PeerItem, now: Timestamp) -> Vec<(&'static str, String)> {
    let PeerItem {
        name,
        address: _,
        interface: _,
        port,
        remote_as,
        local_as,
        state,
        kind,
        since,
        prefixes_received,
        prefixes_accepted,
        prefixes_sent,
        last_error,
        last_error_sent,
        last_error_received,
        messages_sent,
        messages_received,
        held,
        passive,
        flaps,
        hold_time_secs,
        remote_router_id,
        families: _,
        capabilities,
        hostname,
        software,
        resource,
        bfd,
    } = peer;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let lines = [
        ("Name", name.clone()),
        ("Address", address(peer)),
        ("Port", port.to_string()),
        ("Kind", kind.name().to_owned()),
        ("Resource", resource.clone()),
        ("AS", remote_as.to_string()),
        ("Local AS", local_as.to_string()),
        ("State", state.name().to_owned()),
        ("Since", format!("{since} ({})", age(*since, now))),
        ("Held", text(held)),
        ("Last error", text(last_error)),
        ("Last error sent", text(last_error_sent)),
        ("Last error received", text(last_error_received)),
        ("Flaps", flaps.to_string()),
        ("Dialling", if *passive { "passive" } else { "active" }.to_owned()),
        (
            "Router id",
            remote_router_id.map_or_else(String::new, |id| id.to_string()),
        ),
        (
            "Hold time",
            hold_time_secs.map_or_else(String::new, |secs| format!("{secs} s")),
        ),
        ("Families", families(peer)),
        ("Capabilities", capabilities.join(", ")),
        ("Host name", text(hostname)),
        ("Software", text(software)),
        ("Prefixes received", prefixes_received.to_string()),
        ("Prefixes accepted", prefixes_accepted.to_string()),
        ("Prefixes sent", prefixes_sent.to_string()),
        ("Messages received", messages(messages_received)),
        ("Messages sent", messages(messages_sent)),
    ];
    lines.into_iter().chain(bfd_details(bfd.as_ref())).collect()
}

/// As [`details`], of the BFD session.
fn bfd_details(bfd: Option<&BfdItem>) -> Vec<(&'static str, String)> {
    let Some(bfd) = bfd else {
        return vec![("BFD", "off".to_owned())];
    };
    let BfdItem {
        state,
        remote_state,
        path,
        diagnostic,
        remote_diagnostic,
        discriminator,
        remote_discriminator,
        tx_interval_us,
        rx_interval_us,
        detection_time_us,
        flaps,
        error,
    } = bfd;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let time = |micros: &Option<u64>| {
        micros.map_or_else(String::new, |micros| {
            format!("{} ms", Duration::from_micros(micros).as_secs_f64() * 1e3)
        })
    };
    let hex = |number: u32| format!("{number:#010x}");
    vec![
        ("BFD", format!("{state}, {path}")),
        ("BFD remote state", remote_state.clone()),
        ("BFD error", text(error)),
        ("BFD diagnostic", text(diagnostic)),
        ("BFD remote diagnostic", text(remote_diagnostic)),
        ("BFD send interval", time(tx_interval_us)),
        ("BFD receive interval", time(rx_interval_us)),
        ("BFD detection time", time(detection_time_us)),
        ("BFD discriminator", hex(*discriminator)),
        (
            "BFD remote discriminator",
            remote_discriminator.map_or_else(String::new, hex),
        ),
        ("BFD flaps", flaps.to_string()),
    ]
}

fn messages(counts: &MessageCounts) -> String {
    let MessageCounts {
        open,
        update,
        notification,
        keepalive,
        route_refresh,
        octets,
    } = counts;
    format!(
        "{open} OPEN, {update} UPDATE, {notification} NOTIFICATION, {keepalive} KEEPALIVE, \
         {route_refresh} ROUTE-REFRESH; {octets} octets"
    )
}
