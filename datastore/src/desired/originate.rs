//! What this node announces for itself: its blocks, and service ranges and addresses.

use std::collections::BTreeMap;

use ipnet::IpNet;
use pipit_bgp::{Family, FamilyMap};

use super::Aggregate;
use super::context::Context;
use super::services::{ServiceRoutes, is_single};
use crate::model::BlockState;

/// The node's blocks, by prefix.
///
/// A node with `status.podCIDRs` and no affinity at all gets its addresses from host-local IPAM (USE_POD_CIDR): each
/// pod CIDR is then a confirmed block, as in confd. Where there is any affinity, even a pending one, Calico's IPAM
/// assigns the addresses and the pod CIDRs mean nothing to BGP: Kubernetes fills them in on such clusters too, and
/// a node that announced them would draw in other nodes' traffic.
pub(super) fn aggregates(context: &Context<'_>) -> FamilyMap<Vec<Aggregate>> {
    let mut blocks: BTreeMap<IpNet, BlockState> = BTreeMap::new();
    let mut has_affinity = false;
    for (_, stored) in context.cache.blocks(context.name) {
        has_affinity = true;
        if let Some(block) = &stored.object {
            // Files may have a block under two names. Owned is owned: the stronger state counts.
            let state = blocks.entry(block.cidr).or_insert(block.state);
            if block.state == BlockState::Confirmed {
                *state = BlockState::Confirmed;
            }
        }
    }
    if !has_affinity {
        let confirmed = |cidr: &IpNet| (*cidr, BlockState::Confirmed);
        blocks.extend(context.node.pod_cidrs.iter().map(confirmed));
    }
    let mut aggregates: FamilyMap<Vec<Aggregate>> = FamilyMap::default();
    for (block, state) in blocks {
        aggregates[Family::of(block.addr())].push(Aggregate { block, state });
    }
    aggregates
}

/// Static routes: blocks longer than one address, and services. A blackhole for a block of one address would
/// swallow the pod's own traffic.
pub(super) fn blackholes(family: Family, aggregates: &[Aggregate], services: &ServiceRoutes) -> Vec<IpNet> {
    let blocks = aggregates
        .iter()
        .map(|aggregate| aggregate.block)
        .filter(|block| !is_single(block));
    let mut blackholes: Vec<_> = blocks
        .chain(services.advertised[family].iter().copied())
        .collect();
    blackholes.sort_unstable();
    blackholes.dedup();
    blackholes
}
