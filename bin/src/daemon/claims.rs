//! What this node claims as its own while something speaks against it: an address that no interface has, a block that
//! another node announces. Two daemons under one name look like that, and a block that is assigned twice.

use std::net::IpAddr;

use ipnet::IpNet;
use pipit_datastore::desired::DesiredState;
use pipit_rib::io::task::RibHandle;
use pipit_rib::query::RouteView;

use crate::control::protocol::ProblemItem;

/// All such claims.
pub async fn doubtful(rib: &RibHandle, state: &DesiredState) -> Vec<ProblemItem> {
    let families = [&state.ipv4, &state.ipv6];
    let addresses = families.iter().filter_map(|family| family.address).collect();
    let blocks = families.iter().flat_map(|family| &family.aggregates);
    let blocks = blocks.map(|aggregate| aggregate.block).collect();
    let (foreign, paths) = tokio::join!(rib.foreign_addresses(addresses), rib.paths(blocks));
    let mut doubts: Vec<_> = foreign
        .into_iter()
        .map(|address| of_address(&state.node, address))
        .collect();
    let mut rivals: Vec<_> = paths.iter().filter_map(rival).collect();
    // The first of each block.
    rivals.dedup_by_key(|(block, ..)| *block);
    doubts.extend(rivals.into_iter().map(of_block));
    doubts
}

/// A path of another node of this AS: its peer and where it leads. What comes back from another AS was ours before.
fn rival(path: &RouteView) -> Option<(IpNet, &str, IpAddr)> {
    let next_hop = path.next_hop.filter(|_| path.as_path.is_empty() && !path.stale)?;
    Some((path.prefix, &path.peer, next_hop))
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

fn of_block((block, peer, next_hop): (IpNet, &str, IpAddr)) -> ProblemItem {
    ProblemItem {
        resource: format!("BlockAffinity/{block}"),
        message: format!(
            "{next_hop} announces it, too (peer {peer}): the block is assigned to two nodes, and other nodes send its \
             traffic to either"
        ),
    }
}
