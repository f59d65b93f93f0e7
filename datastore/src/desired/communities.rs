//! `prefixAdvertisements`: communities that are added on export.

use std::collections::BTreeMap;

use ipnet::IpNet;
use pipit_bgp::{Family, FamilyMap};

use super::CommunityRule;
use super::context::Context;
use crate::model::Community;

/// One rule for each prefix, with the communities of all its entries in the order of their text.
pub(super) fn communities(context: &Context<'_>) -> FamilyMap<Vec<CommunityRule>> {
    let mut merged: BTreeMap<IpNet, BTreeMap<String, Community>> = BTreeMap::new();
    for advertisement in &context.advertisements().prefix_advertisements {
        let communities = merged.entry(advertisement.cidr).or_default();
        let by_text = |community: &Community| (community.to_string(), *community);
        communities.extend(advertisement.communities.iter().map(by_text));
    }
    let mut rules: FamilyMap<Vec<CommunityRule>> = FamilyMap::default();
    for (cidr, communities) in merged {
        rules[Family::of(cidr.addr())].push(CommunityRule {
            cidr,
            add: communities.into_values().collect(),
        });
    }
    rules
}
