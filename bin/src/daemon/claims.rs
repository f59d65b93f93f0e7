//! What this node claims as its own while something speaks against it: an address that no interface has, a block that
//! another node announces. Two daemons under one name look like that, and a block that is assigned twice.

use std::net::IpAddr;

use ipnet::IpNet;
use pipit_datastore::desired::DesiredState;
use pipit_rib::io::task::RibHandle;
use pipit_rib::query::{RouteFilter, RouteView};

use crate::control::protocol::ProblemItem;

/// Paths of one prefix that are looked at.
const PATHS: usize = 64;

/// All such claims.
pub async fn doubtful(rib: &RibHandle, state: &DesiredState) -> Vec<ProblemItem> {
    let families = [&state.ipv4, &state.ipv6];
    let addresses = families.iter().filter_map(|family| family.address).collect();
    let foreign = rib.foreign_addresses(addresses).await;
    let mut doubts: Vec<_> = foreign
        .into_iter()
        .map(|address| of_address(&state.node, address))
        .collect();
    for aggregate in families.iter().flat_map(|family| &family.aggregates) {
        let filter = RouteFilter::Exact(aggregate.block);
        let page = rib.routes(filter, None, None, PATHS).await;
        let paths = page.map(|(paths, _)| paths).unwrap_or_default();
        let rival = paths.iter().find_map(rival);
        doubts.extend(rival.map(|(peer, next_hop)| of_block(aggregate.block, peer, next_hop)));
    }
    doubts
}

/// A path of another node of this AS: its peer and where it leads. What comes back from another AS was ours before.
fn rival(path: &RouteView) -> Option<(&str, IpAddr)> {
    let next_hop = path.next_hop.filter(|_| path.as_path.is_empty() && !path.stale)?;
    Some((&path.peer, next_hop))
}

fn of_address(node: &str, address: IpAddr) -> ProblemItem {
    ProblemItem {
        resource: format!("Node/{node}"),
        message: format!(
            "{address} is no address of this host: either the Node is not up to date, or it is another host's and \
             this one runs under its name (--node-name)"
        ),
    }
}

fn of_block(block: IpNet, peer: &str, next_hop: IpAddr) -> ProblemItem {
    ProblemItem {
        resource: format!("BlockAffinity/{block}"),
        message: format!(
            "{next_hop} announces it, too (peer {peer}): the block is assigned to two nodes, and other nodes send its \
             traffic to either"
        ),
    }
}
