//! Whether a route is taken in, and how: built-in checks, then the session's filters.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::Asn;
use pipit_bgp::session::config::Role;
use pipit_bgp::wire::attr::{AttrEdit, AttrFacts, AttrView, Change, Marks};
use serde::Serialize;
use tracing::debug;

use crate::attrs::AttrId;
use crate::best_path::DEFAULT_LOCAL_PREF;
use crate::export::add_community;
use crate::peer::PeerSettings;
use crate::policy::{self, Operation, PeerType, PolicySubject, Verdict};
use crate::rib::{Shared, interface_of};

/// Why a received route does not take part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejected {
    /// Our AS stands in the path more often than allowed (RFC 4271 §9.1.2).
    AsLoop,
    /// The path does not begin with the peer's AS (RFC 4271 §6.3).
    FirstAs,
    /// ORIGINATOR_ID is ours (RFC 4456 §8).
    OriginatorLoop,
    /// One of our cluster ids is in the CLUSTER_LIST (RFC 4456 §8).
    ClusterLoop,
    /// The next hop is one of our own addresses (RFC 4271 §5.1.3).
    OwnNextHop,
    /// The role says that it must not come from this peer (RFC 9234 §5).
    RouteLeak,
    /// The prefix is no place that routes lead to (RFC 6890): this host, loopback, link-local, multicast.
    Martian,
    /// A BGPFilter rejects it.
    Filter,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejected::AsLoop => "our AS is in the path",
            Rejected::FirstAs => "the path does not begin with the peer's AS",
            Rejected::OriginatorLoop => "we are the originator",
            Rejected::ClusterLoop => "our cluster is in the cluster list",
            Rejected::OwnNextHop => "the next hop is our own address",
            Rejected::RouteLeak => "a route leak",
            Rejected::Martian => "a martian prefix",
            Rejected::Filter => "rejected by a filter",
        })
    }
}

/// What the checks say that depend on the attributes alone: asked once a set, not once a prefix.
pub(crate) enum SetVerdict {
    /// No route with these attributes takes part.
    Rejected,
    /// They may, with these attributes unless a filter changes them further.
    Accepted {
        /// The changes that hold for the whole set.
        edit: AttrEdit,
        /// The set so changed; the verdict holds a count of it.
        attrs: AttrId,
    },
}

impl SetVerdict {
    /// Gives the verdict's count back.
    pub(crate) fn release(self, shared: &mut Shared) {
        if let SetVerdict::Accepted { attrs, .. } = self {
            shared.release(attrs);
        }
    }
}

/// Checks an attribute set that a peer sent.
pub(crate) fn for_set(shared: &mut Shared, settings: &PeerSettings, received: AttrId) -> SetVerdict {
    let set = &shared.attrs[received];
    let next_hop = set.next_hop();
    let address = shared.next_hops[next_hop].next_hop.address();
    match check_attributes(settings, shared, set.bytes(), set.facts(), address) {
        Err(reason) => {
            debug!(peer = %settings.name, %reason, "routes refused");
            SetVerdict::Rejected
        }
        Ok(edit) if edit.is_empty() => {
            shared.attrs.retain(received);
            SetVerdict::Accepted {
                edit,
                attrs: received,
            }
        }
        Ok(edit) => {
            let attrs = edited(shared, received, &edit);
            SetVerdict::Accepted { edit, attrs }
        }
    }
}

/// Why a route of a peer is refused, in words; `None` when it is not.
pub(crate) fn why_refused(
    shared: &Shared,
    settings: &PeerSettings,
    prefix: IpNet,
    received: AttrId,
) -> Option<String> {
    let set = &shared.attrs[received];
    let next_hop = shared.next_hops[set.next_hop()].next_hop.address();
    let edit = match check_attributes(settings, shared, set.bytes(), set.facts(), next_hop) {
        Err(reason) => return Some(reason.to_string()),
        Ok(edit) => edit,
    };
    if is_martian(prefix) {
        return Some(Rejected::Martian.to_string());
    }
    let mut bytes = Vec::new();
    edit.apply(set.bytes(), &mut bytes);
    let facts = AttrFacts::read(&bytes);
    let interface = interface_of(shared, set.next_hop());
    let subject = subject(settings, prefix, &bytes, &facts, interface);
    let filters = &settings.import[pipit_bgp::Family::of(prefix.addr())];
    match policy::evaluate(filters.iter().map(|filter| &**filter), &subject) {
        Verdict::Reject(at) => {
            let name = filters
                .get(usize::from(at.filter))
                .map_or("", |filter| filter.name.as_str());
            Some(format!("rule {} of filter {name}", at.rule + 1))
        }
        Verdict::Accept(..) | Verdict::Continue => None,
    }
}

fn subject<'a>(
    settings: &PeerSettings,
    prefix: IpNet,
    attrs: &'a [u8],
    facts: &AttrFacts,
    interface: Option<&'a str>,
) -> PolicySubject<'a> {
    PolicySubject {
        prefix,
        attrs: AttrView::new(attrs),
        local_pref: Some(facts.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)),
        is_from_peer: true,
        interface,
        peer_type: settings.peer_type(),
    }
}

/// An attribute set with changes; the caller holds a count of it.
pub(crate) fn edited(shared: &mut Shared, attrs: AttrId, edit: &AttrEdit) -> AttrId {
    let set = &shared.attrs[attrs];
    let mut bytes = Vec::new();
    edit.apply(set.bytes(), &mut bytes);
    let next_hop = set.next_hop();
    shared.intern_at(&bytes, &AttrFacts::read(&bytes), next_hop)
}

fn check_attributes(
    settings: &PeerSettings,
    shared: &Shared,
    attrs: &[u8],
    facts: &AttrFacts,
    next_hop: IpAddr,
) -> Result<AttrEdit, Rejected> {
    let node = &shared.node;
    let view = AttrView::new(attrs);
    let own_as_count = view.as_path().count_of(settings.local_as);
    if own_as_count > usize::from(settings.allowed_local_as) {
        return Err(Rejected::AsLoop);
    }
    if settings.enforces_first_as
        && settings.peer_type() == PeerType::Ebgp
        && !view.as_path().starts_with(&[settings.remote_as])
    {
        return Err(Rejected::FirstAs);
    }
    if facts.originator_id == Some(node.router_id) {
        return Err(Rejected::OriginatorLoop);
    }
    if let Some(own) = node.cluster_id
        && facts.cluster_list_len > 0
        && view.cluster_list().any(|id| id == own)
    {
        return Err(Rejected::ClusterLoop);
    }
    // An IPv4 address may come mapped (RFC 4291 §2.5.5.2).
    if [node.addresses.ipv4, node.addresses.ipv6].contains(&Some(next_hop.to_canonical())) {
        return Err(Rejected::OwnNextHop);
    }
    let mut edit = AttrEdit::default();
    check_role(settings, &view, &mut edit)?;
    if settings.peer_type() == PeerType::Ebgp {
        if facts.marks.contains(Marks::GRACEFUL_SHUTDOWN) {
            // RFC 8326 §4.1: so that our whole AS prefers other ways, whoever knows the community.
            edit.local_pref = Change::Set(0);
        } else if !settings.accepts_local_pref && facts.local_pref.is_some() {
            edit.local_pref = Change::Remove;
        }
    }
    Ok(edit)
}

/// RFC 9234 §5: ingress procedures.
fn check_role(settings: &PeerSettings, attrs: &AttrView<'_>, edit: &mut AttrEdit) -> Result<(), Rejected> {
    let Some(role) = settings.role else { return Ok(()) };
    let remote: Asn = settings.remote_as;
    match (role, attrs.otc()) {
        (Role::Provider | Role::RsServer, Some(_)) => Err(Rejected::RouteLeak),
        (Role::Peer, Some(marked)) if marked != remote => Err(Rejected::RouteLeak),
        (Role::Customer | Role::Peer | Role::RsClient, None) => {
            edit.otc = Change::Set(remote);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether nobody may say that packets to these addresses go his way. What covers more than such a range, as the
/// default route does, is no martian.
fn is_martian(prefix: IpNet) -> bool {
    match prefix {
        IpNet::V4(net) => match net.network().octets() {
            [0, ..] => net.prefix_len() >= 8,
            // 240.0.0.0/4 is used like any other (behaviour contract §6.5).
            octets => matches!(octets, [127 | 224..=239, ..] | [255, 255, 255, 255]),
        },
        IpNet::V6(net) => {
            let len = net.prefix_len();
            match net.network().segments() {
                // ::1, IPv4-mapped and their like.
                [0, 0, 0, 0, 0, ..] => len >= 80,
                [first, ..] => (first & 0xffc0 == 0xfe80 && len >= 10) || first >= 0xff00,
            }
        }
    }
}

/// Asks the session's import filters for one route. The result is `edit` with what they add.
pub(crate) fn filter(
    settings: &PeerSettings,
    prefix: IpNet,
    attrs: &[u8],
    facts: &AttrFacts,
    interface: Option<&str>,
    edit: &AttrEdit,
) -> Result<Option<AttrEdit>, Rejected> {
    if is_martian(prefix) {
        return Err(Rejected::Martian);
    }
    let filters = &settings.import[pipit_bgp::Family::of(prefix.addr())];
    if filters.is_empty() {
        return Ok(None);
    }
    let subject = subject(settings, prefix, attrs, facts, interface);
    match policy::evaluate(filters.iter().map(|filter| &**filter), &subject) {
        Verdict::Continue | Verdict::Accept(_, []) => Ok(None),
        Verdict::Reject(_) => Err(Rejected::Filter),
        Verdict::Accept(_, operations) => {
            let mut edit = edit.clone();
            for operation in operations {
                match operation {
                    Operation::AddCommunity(community) => add_community(&mut edit, *community),
                    Operation::PrependAsPath(path) => {
                        edit.prepend_as.insert_many(0, path.iter().copied());
                    }
                    Operation::SetLocalPref(value) => edit.local_pref = Change::Set(*value),
                }
            }
            Ok(Some(edit))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_martian_prefix_lies_inside_a_range_that_is_nobodys() {
        let check = |prefix: &str, expected: bool| {
            assert_eq!(is_martian(prefix.parse().unwrap()), expected, "{prefix}");
        };
        for prefix in [
            "0.0.0.0/8",
            "0.1.2.0/24",
            "127.0.0.0/8",
            "127.0.0.1/32",
            "224.0.0.0/3",
            "239.9.0.0/16",
        ] {
            check(prefix, true);
        }
        for prefix in [
            "255.255.255.255/32",
            "::1/128",
            "::ffff:10.0.0.0/104",
            "fe80::/64",
            "ff02::/16",
        ] {
            check(prefix, true);
        }
        for prefix in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "1.0.0.0/8",
            "126.0.0.0/8",
            "128.0.0.0/1",
            "223.255.255.0/24",
            "240.0.0.0/4",
            "255.0.0.0/8",
            "169.254.0.0/16",
        ] {
            check(prefix, false);
        }
        for prefix in [
            "::/0",
            "::/1",
            "64:ff9b::/96",
            "2000::/3",
            "fd00::/8",
            "fe00::/7",
            "8000::/1",
        ] {
            check(prefix, false);
        }
    }
}
