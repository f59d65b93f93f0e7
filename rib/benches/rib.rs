//! What the routing table does with a hundred thousand routes: taking them in, interning attributes, choosing,
//! encoding for a peer, and clearing away.
//!
//! `cargo bench -p pipit-rib --no-default-features --bench rib`.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot make its input has nothing to measure"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ipnet::Ipv4Net;
use pipit_bgp::session::output::{Negotiated, SessionEnd};
use pipit_bgp::wire::attr::{AttrEdit, Change, originated};
use pipit_bgp::wire::update::{DecodeOptions, EncodeOptions, Nlri, UpdateBatch, decode, encode_announce};
use pipit_bgp::{Asn, Family, FamilyMap, FamilySet, NextHop, PeerId, RouterId};
use pipit_rib::fib::Fib;
use pipit_rib::policy::{Action, Filter, Rule};
use pipit_rib::{NextHopMode, NodeSettings, Output, PeerSettings, Rib};

const ROUTES: u32 = 100_000;
const OWN_AS: Asn = Asn(64512);
/// Routes of one attribute set, in a stream like the internet's.
const SHARING: u32 = 6;

fn main() {
    divan::Divan::from_args().sample_count(20).main();
}

fn ipv4() -> FamilySet {
    FamilySet::only(Family::Ipv4Unicast)
}

fn rib() -> Rib {
    let node = NodeSettings {
        router_id: RouterId(Ipv4Addr::new(10, 0, 0, 1)),
        local_as: OWN_AS,
        cluster_id: None,
        addresses: FamilyMap::default(),
        max_paths: 16,
        route_protocol: 12,
        nexthop_objects: false,
    };
    Rib::new(node, Fib::new(12))
}

/// A session over eBGP that takes everything.
fn connect(rib: &mut Rib, id: u32) {
    let accept = Arc::new(Filter {
        name: "accept".into(),
        rules: vec![Rule {
            conditions: Vec::new(),
            action: Action::Accept(Vec::new()),
        }],
    });
    let filters = || FamilyMap {
        ipv4: vec![Arc::clone(&accept)],
        ipv6: Vec::new(),
    };
    let settings = PeerSettings {
        name: format!("p{id}"),
        address: IpAddr::from([10, 0, 1, id as u8]),
        interface: None,
        local_as: OWN_AS,
        remote_as: Asn(65000 + id),
        next_hop: NextHopMode::Keep,
        is_client: false,
        allowed_local_as: 0,
        max_prefixes: None,
        accepts_local_pref: false,
        enforces_first_as: false,
        role: None,
        import: filters(),
        export: filters(),
    };
    rib.set_peer(PeerId(id), settings);
    let negotiated = Negotiated {
        remote_router_id: RouterId(Ipv4Addr::new(10, 0, 1, id as u8)),
        remote_as: Asn(65000 + id),
        local_address: IpAddr::from([10, 0, 0, 1]),
        families: ipv4(),
        hold_time: Duration::from_secs(90),
        four_octet_as: true,
        max_message_len: 4096,
        add_path_send: FamilySet::EMPTY,
        add_path_receive: FamilySet::EMPTY,
        route_refresh: true,
        enhanced_refresh: false,
        extended_next_hop: false,
        graceful_restart: None,
        keeps_our_routes: true,
        role: None,
        hostname: None,
        software: None,
    };
    rib.handle_up(Instant::now(), PeerId(id), Box::new(negotiated));
}

/// The same prefixes from every peer, with paths of their own; `sharing` routes an attribute set.
fn stream(peer: u32, sharing: u32) -> Vec<UpdateBatch> {
    let decoding = DecodeOptions {
        four_octet_as: true,
        add_path: FamilySet::EMPTY,
        families: ipv4(),
        extended_next_hop: false,
        is_external: true,
    };
    let encoding = EncodeOptions {
        four_octet_as: true,
        add_path: FamilySet::EMPTY,
        max_message_len: 4096,
    };
    let mut batches = Vec::new();
    let mut batch = UpdateBatch::default();
    for first in (0..ROUTES).step_by(sharing as usize) {
        let edit = AttrEdit {
            prepend_as: [
                Asn(65000 + peer),
                Asn(100_000 + first),
                Asn(3000 + first % (5 + peer)),
            ]
            .into_iter()
            .collect(),
            med: Change::Set(first % 7),
            ..AttrEdit::default()
        };
        let mut attrs = Vec::new();
        edit.apply(&originated(), &mut attrs);
        let nlri: Vec<Nlri<Ipv4Net>> = (first..(first + sharing).min(ROUTES)).map(route).collect();
        let mut message = Vec::new();
        let next_hop = NextHop::from(IpAddr::from([10, 0, 1, peer as u8]));
        encode_announce(&mut message, &encoding, &attrs, next_hop, &nlri).expect("a message");
        decode(&message[19..], &decoding, &mut batch).expect("our own message");
        if batch.prefix_count() > 256 {
            batches.push(std::mem::take(&mut batch));
        }
    }
    batches.push(batch);
    batches
}

fn route(number: u32) -> Nlri<Ipv4Net> {
    let address = Ipv4Addr::from((16 << 24) + (number << 8));
    Nlri {
        prefix: Ipv4Net::new(address, 24).expect("a length"),
        path_id: 0,
    }
}

fn take(rib: &mut Rib, peer: u32, batches: &[UpdateBatch]) {
    let now = Instant::now();
    for batch in batches {
        rib.handle_routes(now, PeerId(peer), batch);
    }
}

/// Into an empty table, nobody to tell.
#[divan::bench]
fn insert(bencher: Bencher<'_, '_>) {
    let batches = stream(1, SHARING);
    bencher
        .counter(ItemsCount::new(ROUTES))
        .with_inputs(|| {
            let mut rib = rib();
            connect(&mut rib, 1);
            rib
        })
        .bench_local_values(|mut rib| {
            take(&mut rib, 1, &batches);
            rib
        });
}

/// The same, every route with attributes of its own: what interning costs at worst.
#[divan::bench]
fn insert_unshared_attributes(bencher: Bencher<'_, '_>) {
    let batches = stream(1, 1);
    bencher
        .counter(ItemsCount::new(ROUTES))
        .with_inputs(|| {
            let mut rib = rib();
            connect(&mut rib, 1);
            rib
        })
        .bench_local_values(|mut rib| {
            take(&mut rib, 1, &batches);
            rib
        });
}

/// One more path to each prefix where there are so many already: the choice.
#[divan::bench(args = [1, 4, 9])]
fn choose_among(bencher: Bencher<'_, '_>, others: u32) {
    let others: Vec<_> = (1..=others).map(|peer| (peer, stream(peer, SHARING))).collect();
    let batches = stream(100, SHARING);
    bencher
        .counter(ItemsCount::new(ROUTES))
        .with_inputs(|| {
            let mut rib = rib();
            connect(&mut rib, 100);
            for (peer, batches) in &others {
                connect(&mut rib, *peer);
                take(&mut rib, *peer, batches);
            }
            rib
        })
        .bench_local_values(|mut rib| {
            take(&mut rib, 100, &batches);
            rib
        });
}

/// A full table to one peer: policy is done, this is cutting and encoding.
#[divan::bench]
fn export(bencher: Bencher<'_, '_>) {
    let batches = stream(1, SHARING);
    bencher
        .counter(ItemsCount::new(ROUTES))
        .with_inputs(|| {
            let mut rib = rib();
            rib.begin_recovery(Instant::now(), [], false);
            connect(&mut rib, 1);
            connect(&mut rib, 2);
            take(&mut rib, 1, &batches);
            rib
        })
        .bench_local_values(|mut rib| {
            let mut octets = 0;
            loop {
                rib.flush();
                let mut frames = 0;
                while let Some(output) = rib.poll_output() {
                    if let Output::Frame(peer, bytes) = output {
                        octets += bytes.len();
                        frames += 1;
                        rib.handle_drained(peer);
                    }
                }
                if frames == 0 {
                    break;
                }
            }
            black_box(octets);
            rib
        });
}

/// A peer is lost for good, and with it every route.
#[divan::bench]
fn clear_away(bencher: Bencher<'_, '_>) {
    let batches = stream(1, SHARING);
    let end = SessionEnd {
        reason: String::new(),
        retain: FamilySet::EMPTY,
        restart_time: Duration::ZERO,
        long_lived: FamilyMap::default(),
    };
    bencher
        .counter(ItemsCount::new(ROUTES))
        .with_inputs(|| {
            let mut rib = rib();
            connect(&mut rib, 1);
            take(&mut rib, 1, &batches);
            rib
        })
        .bench_local_values(|mut rib| {
            rib.handle_down(Instant::now(), PeerId(1), &end);
            rib.flush();
            while rib.has_backlog() {
                rib.flush();
            }
            rib
        });
}
