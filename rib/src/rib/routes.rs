//! Routes that come in: own ones, and what peers send.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use pipit_bgp::wire::attr::{AttrFacts, originated};
use pipit_bgp::wire::update::{BatchItem, Nlri, UpdateBatch};
use pipit_bgp::{Family, NextHop, PeerId};

use crate::family_rib::FamilyRib;
use crate::fib::FibPrefix;
use crate::import;
use crate::next_hops::on_the_link_of;
use crate::peer::PeerSettings;
use crate::rib::{Rib, Shared};
use crate::source::SourceId;

impl Rib {
    /// Originates a route of this node: announced by policy, and a blackhole in the kernel unless `is_in_kernel` is
    /// false.
    pub fn originate(&mut self, net: IpNet, is_in_kernel: bool) {
        let bytes = originated();
        let facts = AttrFacts::read(&bytes);
        let unspecified: IpAddr = match net {
            IpNet::V4(_) => IpAddr::from([0u8; 4]),
            IpNet::V6(_) => IpAddr::from([0u8; 16]),
        };
        let attrs = self.shared.intern(&bytes, &facts, unspecified.into());
        // The path identifier tells the two kinds of origination apart; nobody else sees it.
        let remote_id = local_path_id(is_in_kernel);
        match net {
            IpNet::V4(prefix) => self.ipv4.announce(
                &mut self.shared,
                SourceId::LOCAL,
                Nlri {
                    prefix,
                    path_id: remote_id,
                },
                attrs,
                None,
            ),
            IpNet::V6(prefix) => self.ipv6.announce(
                &mut self.shared,
                SourceId::LOCAL,
                Nlri {
                    prefix,
                    path_id: remote_id,
                },
                attrs,
                None,
            ),
        }
        self.shared.release(attrs);
    }

    /// Ends what [`Self::originate`] began with the same arguments.
    pub fn withdraw(&mut self, net: IpNet, is_in_kernel: bool) {
        let path_id = local_path_id(is_in_kernel);
        match net {
            IpNet::V4(prefix) => {
                self.ipv4
                    .withdraw(&mut self.shared, SourceId::LOCAL, Nlri { prefix, path_id })
            }
            IpNet::V6(prefix) => {
                self.ipv6
                    .withdraw(&mut self.shared, SourceId::LOCAL, Nlri { prefix, path_id })
            }
        }
    }

    /// A peer sent routes.
    pub fn handle_routes(&mut self, now: Instant, id: PeerId, batch: &UpdateBatch) {
        let Some(peer) = self.peers.get(id) else { return };
        let (Some(source), Some(session)) = (peer.source, &peer.session) else {
            return;
        };
        if session.is_over_limit {
            return;
        }
        let settings = Arc::clone(&peer.settings);
        let families = session.families;
        self.recovery.heard(now, id);
        for item in &batch.items {
            if !matches!(item, BatchItem::Announce { .. } | BatchItem::Withdraw { .. }) {
                self.settle();
            }
            match item {
                BatchItem::Announce {
                    family,
                    next_hop,
                    facts,
                    attrs,
                    nlri,
                } if families.contains(*family) => {
                    let bytes = &batch.attr_bytes[attrs.start as usize..attrs.end as usize];
                    let range = nlri.start as usize..nlri.end as usize;
                    let shared = &mut self.shared;
                    let next_hop = on_the_link_of(shared.sources[source].address, *next_hop);
                    match family {
                        Family::Ipv4Unicast => {
                            take_in(
                                &mut self.ipv4,
                                shared,
                                source,
                                &settings,
                                bytes,
                                facts,
                                next_hop,
                                &batch.ipv4[range],
                            );
                        }
                        Family::Ipv6Unicast => {
                            take_in(
                                &mut self.ipv6,
                                shared,
                                source,
                                &settings,
                                bytes,
                                facts,
                                next_hop,
                                &batch.ipv6[range],
                            );
                        }
                    }
                }
                BatchItem::Withdraw { family, nlri } => {
                    let range = nlri.start as usize..nlri.end as usize;
                    match family {
                        Family::Ipv4Unicast => {
                            batch.ipv4[range]
                                .iter()
                                .for_each(|n| self.ipv4.withdraw(&mut self.shared, source, *n));
                        }
                        Family::Ipv6Unicast => {
                            batch.ipv6[range]
                                .iter()
                                .for_each(|n| self.ipv6.withdraw(&mut self.shared, source, *n));
                        }
                    }
                }
                BatchItem::Announce { .. } => {}
                BatchItem::EndOfRib(family) => self.handle_end_of_rib(now, id, source, *family),
                BatchItem::RefreshRequest(family) => self.refresh(id, *family),
                BatchItem::BeginOfRefresh(family) => {
                    let entry = &mut self.shared.sources[source];
                    entry.generation[*family] = entry.generation[*family].wrapping_add(1);
                }
                BatchItem::EndOfRefresh(family) => self.sweep(source, *family),
            }
        }
        self.settle();
        // They may be the last that the earlier run had.
        self.check_recovery(now);
        self.check_limits(id, source);
    }

    /// Chooses among the paths of crowded prefixes that the routes so far have changed.
    fn settle(&mut self) {
        self.ipv4.settle(&mut self.shared);
        self.ipv6.settle(&mut self.shared);
    }

    fn handle_end_of_rib(&mut self, now: Instant, id: PeerId, source: SourceId, family: Family) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let was_retained = peer.retained.contains(family);
        peer.retained.remove(family);
        self.recovery.end_of_rib(id, family);
        let is_complete = peer.session.as_mut().is_some_and(|session| {
            session.end_of_rib.insert(family);
            session
                .families
                .iter()
                .all(|family| session.end_of_rib.contains(family))
        });
        if was_retained {
            self.sweep(source, family);
        }
        if is_complete {
            self.recovery.complete(id);
        }
        self.check_recovery(now);
    }

    fn refresh(&mut self, id: PeerId, family: Family) {
        let Some(session) = self.peers.get(id).and_then(|peer| peer.session.as_ref()) else {
            return;
        };
        let (group, is_framed) = (session.groups[family], session.negotiated.enhanced_refresh);
        match family {
            Family::Ipv4Unicast => self.ipv4.refresh(group, id, is_framed),
            Family::Ipv6Unicast => self.ipv6.refresh(group, id, is_framed),
        }
    }
}

/// Announces the prefixes of one attribute set, after the checks that the set decides for all of them.
#[expect(
    clippy::too_many_arguments,
    reason = "one call site; a struct would only rename the arguments"
)]
fn take_in<P: FibPrefix>(
    table: &mut FamilyRib<P>,
    shared: &mut Shared,
    source: SourceId,
    settings: &PeerSettings,
    bytes: &[u8],
    facts: &AttrFacts,
    next_hop: NextHop,
    prefixes: &[Nlri<P>],
) {
    let received = shared.intern(bytes, facts, next_hop);
    let verdict = import::for_set(shared, settings, received);
    for nlri in prefixes {
        table.announce(shared, source, *nlri, received, Some((settings, &verdict)));
    }
    verdict.release(shared);
    shared.release(received);
}

/// Own routes that are written to the kernel come first among equals.
fn local_path_id(is_in_kernel: bool) -> u32 {
    u32::from(!is_in_kernel)
}
