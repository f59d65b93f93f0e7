//! `pipit reset`: a session ends and begins anew.

use std::io::Write;

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::print_document;
use crate::cli::peer::{PeerArgs, is_meant};
use crate::control::client::Client;
use crate::control::protocol::{PeerList, Reset, path};
use crate::control::query::ResetParams;

/// Runs `pipit reset`.
pub async fn run(
    args: &PeerArgs,
    mut client: Client,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let list: PeerList = client.document(path::PEERS).await?;
    let mut meant = list.items.iter().filter(|peer| is_meant(peer, &args.peer));
    let (peer, other) = (meant.next(), meant.next());
    let peer = match (peer, other) {
        (Some(peer), None) => peer,
        (None, _) => {
            return Err(CliError::NotFound(format!(
                "no peer is named {0} or has address {0}",
                args.peer
            )));
        }
        (Some(one), Some(other)) => {
            let several = format!(
                "{} is several peers: say {} or {}",
                args.peer, one.name, other.name
            );
            return Err(CliError::NotFound(several));
        }
    };
    let params = ResetParams {
        name: peer.name.clone(),
    };
    let params = serde_urlencoded::to_string(params).map_err(|error| CliError::Usage(error.to_string()))?;
    let answer: Reset = client.act(&format!("{}?{params}", path::RESET)).await?;
    print_document(&answer, global.format(), out, |out| {
        match answer.was_established {
            true => writeln!(out, "{}: reset; it begins anew at once", answer.name),
            false => writeln!(out, "{}: was not established; tried again now", answer.name),
        }
    })?;
    Ok(Exit::Done)
}
