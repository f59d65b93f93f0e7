//! Good messages, spoilt at random, while others look on.
//!
//! A run has a seed, which a failure names: `PIPIT_SEED=7 PIPIT_FUZZ_SECONDS=600 cargo test -p pipit-testbed --test
//! wire fuzz_` runs another one, and longer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pipit_testbed::IpNet;

use crate::bench::{Bench, Neighbour};
use crate::message::{
    AGGREGATOR, AIGP, AS_PATH, AS4_PATH, ATOMIC_AGGREGATE, CLUSTER_LIST, COMMUNITIES, EXTENDED_COMMUNITIES,
    HEADER, IPV4, IPV6, KEEPALIVE, LARGE_COMMUNITIES, LOCAL_PREF, MED, MP_REACH, MP_UNREACH, NEXT_HOP,
    NOTIFICATION, OPTIONAL, ORIGINATOR_ID, OTC, ROUTE_REFRESH, TRANSITIVE, UPDATE, WELL_KNOWN, end_of_rib,
    message, mp_reach, mp_unreach, narrow_segment, nlri, nlri_with_id, path, segment, update,
};
use crate::peer::{Offer, Peer};

/// Attackers, by what they are and know.
const ATTACKERS: usize = 6;
/// Longest messages (RFC 8654); only the last attacker may send longer ones.
const PLAIN: usize = 4_096;
const EXTENDED: usize = 65_535;
/// Messages before the others are asked how they are.
const BURST: usize = 60;

/// A generator whose every number follows from the seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn octet(&mut self) -> u8 {
        // The ends of ranges more often than the rest.
        let edges = [0, 1, 2, 4, 8, 16, 32, 33, 127, 128, 129, 254, 255];
        match self.below(2) {
            0 => edges[self.below(edges.len())],
            _ => self.next() as u8,
        }
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

const LINKED: [u8; 16] = [0xfd, 0x97, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// Good messages of a peer, with everything in them that pipit reads.
fn good(peer: &Peer, max_len: usize) -> Vec<Vec<u8>> {
    let prefixes = nlri(&["62.1.0.0/16", "62.2.3.0/24", "62.4.5.6/32", "63.0.0.0/9"]);
    let prefixes6 = nlri(&["2001:db8:1::/48", "2001:db8:2:3::/64", "2001:db8::1/128"]);
    let mut rich = peer.attributes(7);
    rich.add(OPTIONAL, MED, &[0, 0, 0, 5]);
    rich.add(WELL_KNOWN, ATOMIC_AGGREGATE, &[]);
    rich.add(TRANSITIVE, AGGREGATOR, &[0, 0, 0xfd, 0xe9, 10, 0, 0, 1]);
    rich.add(TRANSITIVE, COMMUNITIES, &[0xfd, 0xe8, 0, 1, 0xfd, 0xe8, 0, 2]);
    rich.add(
        TRANSITIVE,
        EXTENDED_COMMUNITIES,
        &[0, 2, 0, 1, 0, 0, 0, 1, 0x40, 4, 0, 1, 0, 0, 0, 2],
    );
    rich.add(TRANSITIVE, LARGE_COMMUNITIES, &[1; 24]);
    rich.add(TRANSITIVE, AS4_PATH, &path(&[4_200_000_001, 7]));
    rich.add(TRANSITIVE, OTC, &[0, 0, 0xfd, 0xe9]);
    rich.add(TRANSITIVE, 99, &[7; 300]);
    let mut inside = peer.attributes(8);
    inside.set(WELL_KNOWN, LOCAL_PREF, &[0, 0, 0, 200]);
    inside.add(OPTIONAL, ORIGINATOR_ID, &[10, 9, 9, 9]);
    inside.add(OPTIONAL, CLUSTER_LIST, &[10, 9, 9, 8, 10, 9, 9, 7]);
    inside.add(OPTIONAL, AIGP, &[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9]);
    let mut six = peer.attributes(9);
    six.remove(NEXT_HOP);
    six.add(OPTIONAL, MP_REACH, &mp_reach(IPV6, &LINKED, &prefixes6));
    six.add(
        OPTIONAL,
        MP_UNREACH,
        &mp_unreach(IPV6, &nlri(&["2001:db8:3::/48"])),
    );
    let mut four = peer.attributes(10);
    four.add(OPTIONAL, MP_REACH, &mp_reach(IPV4, &[10, 97, 1, 20], &prefixes));
    let mut set = peer.attributes(11);
    let asns = [
        path(&[peer.asn, 5]),
        segment(1, &[8, 9]),
        narrow_segment(2, &[7, 8]),
    ]
    .concat();
    set.set(WELL_KNOWN, AS_PATH, &asns);
    let count = (max_len as u32 - 400) / 6;
    let long: Vec<u32> = [peer.asn].into_iter().chain(100_000..100_000 + count).collect();
    let mut far = peer.attributes(12);
    far.set(WELL_KNOWN, AS_PATH, &path(&long));
    vec![
        update(&[], &rich.encode(), &prefixes),
        update(&nlri(&["62.9.0.0/16"]), &inside.encode(), &prefixes),
        update(&[], &six.encode(), &[]),
        update(&[], &four.encode(), &nlri(&["62.7.0.0/16"])),
        update(&[], &set.encode(), &prefixes),
        update(&[], &far.encode(), &prefixes),
        update(
            &[],
            &peer.attributes(13).encode(),
            &nlri_with_id(5, &["62.8.0.0/16", "62.8.8.0/24"]),
        ),
        update(&prefixes, &[], &[]),
        end_of_rib(),
        message(ROUTE_REFRESH, &[0, 1, 0, 1]),
        message(ROUTE_REFRESH, &[0, 2, 1, 1]),
        message(KEEPALIVE, &[]),
        message(NOTIFICATION, &[6, 2, 4, b'b', b'y', b'e', b'!']),
    ]
}

/// A message with a few things changed. Its header fits mostly, so that somebody looks at the rest.
fn spoil(random: &mut Random, messages: &[Vec<u8>], max_len: usize) -> Vec<u8> {
    // The last one, NOTIFICATION, ends a session whatever else it says: it is for rare occasions.
    let pick = random.below(messages.len() * 8);
    let mut bytes = messages
        .get(pick % messages.len())
        .filter(|_| pick > 7)
        .unwrap_or(&messages[0])
        .clone();
    if bytes[18] == NOTIFICATION && random.below(10) > 0 {
        bytes = messages[random.below(7)].clone();
    }
    for _ in 0..=random.below(4) {
        change(random, &mut bytes, messages);
    }
    if random.below(40) > 0 {
        bytes.truncate(max_len);
        bytes[..16].fill(0xff);
        let len = (bytes.len() as u16).to_be_bytes();
        bytes[16..18].copy_from_slice(&len);
    }
    bytes
}

/// A route with attributes that nobody knows what to do with, in a message that is sound: what RFC 7606 is about.
fn odd(random: &mut Random, peer: &Peer) -> Vec<u8> {
    let codes = [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 22, 23, 25, 26, 32, 35, 40, 128,
    ];
    let mut attributes = peer.attributes(7);
    for _ in 0..=random.below(3) {
        let code = match random.below(6) {
            0 => random.octet(),
            _ => codes[random.below(codes.len())],
        };
        let flags = [WELL_KNOWN, OPTIONAL, TRANSITIVE, TRANSITIVE, TRANSITIVE | 0x20, 0][random.below(6)];
        let flags = if random.below(10) == 0 {
            random.octet()
        } else {
            flags | (random.octet() & 0x10)
        };
        // Lengths that fit something more often than others.
        let len = [0, 1, 3, 4, 4, 8, 12, 20, 24, 40, 300][random.below(11)] + random.below(8) / 7;
        let value: Vec<u8> = (0..len).map(|_| random.octet()).collect();
        match random.below(3) {
            0 => attributes.add(flags, code, &value),
            1 => attributes.set(flags, code, &value),
            _ => attributes.remove(code),
        };
    }
    let prefixes = ["62.1.0.0/16", "62.2.3.0/24", "62.4.5.6/32"];
    let prefix = prefixes[random.below(3)];
    update(&[], &attributes.encode(), &nlri(&[prefix]))
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, messages: &[Vec<u8>]) {
    let body = bytes.len() - HEADER;
    let at = HEADER + random.below(body);
    match random.below(7) {
        _ if body == 0 => bytes.push(random.octet()),
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.octet(),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, random.octet()),
        4 => drop(bytes.remove(at)),
        5 => {
            // A piece of another message in the place of a piece of this one.
            let other = &messages[random.below(messages.len())];
            let from = HEADER + random.below(other.len() - HEADER + 1);
            let until = (from + random.below(40)).min(other.len());
            let end = (at + random.below(40)).min(bytes.len());
            bytes.splice(at..end, other[from..until].iter().copied());
        }
        _ => {
            // A longer tail, or a field that was counted twice.
            let end = (at + random.below(60)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.extend(piece);
        }
    }
}

/// An OPEN with capabilities of all kinds, spoilt likewise.
fn open(random: &mut Random, peer: &Peer) -> Vec<u8> {
    let offer = everything(peer.asn);
    let good = [peer.open_message(&offer)];
    spoil(random, &good, PLAIN)
}

/// All that a peer can know.
fn everything(asn: u32) -> Offer {
    Offer::new(asn, &[IPV4, IPV6])
        .with(6, &[])
        .with(70, &[])
        .with(64, &[0x40, 5, 0, 1, 1, 0x80])
        .with(71, &[0, 1, 1, 0x80, 0, 0, 9])
        .with(73, b"\x03abc\x00")
        .with(75, b"\x04test")
}

/// The offers of the attackers.
fn offer(bench: &Bench, at: usize) -> Offer {
    let plain = bench.offer(at);
    match at % ATTACKERS {
        0 | 1 => plain,
        2 => plain.without(65),
        3 => plain.with(69, &[0, 1, 1, 3, 0, 2, 1, 3]),
        4 => plain.with(5, &[0, 1, 0, 1, 0, 2]),
        _ => everything(bench.asn(at)),
    }
}

/// What a strict speaker would refuse must never be handed on.
fn check_handed_on(watcher: &Peer) {
    for ((prefix, _), route) in &watcher.routes {
        for (code, (_, value)) in &route.attributes {
            let len = value.len();
            let is_good = match *code {
                1 => len == 1 && value[0] < 3,
                AS_PATH => is_path(value),
                MED | LOCAL_PREF | ORIGINATOR_ID | OTC => len == 4,
                ATOMIC_AGGREGATE => len == 0,
                AGGREGATOR => len == 8,
                COMMUNITIES | CLUSTER_LIST => len > 0 && len % 4 == 0,
                EXTENDED_COMMUNITIES => len > 0 && len % 8 == 0,
                LARGE_COMMUNITIES => len > 0 && len % 12 == 0,
                // Between new speakers there is none.
                17 | 18 => false,
                _ => true,
            };
            assert!(is_good, "{prefix}: attribute {code} is {value:02x?}");
        }
        assert!(
            route.attributes.contains_key(&1) && route.attributes.contains_key(&AS_PATH),
            "{prefix}"
        );
        assert!(
            is_host(&route.next_hop),
            "{prefix} by way of {:02x?}",
            route.next_hop
        );
        assert!(!is_martian(prefix), "{prefix}");
    }
}

/// A next hop that can be one.
fn is_host(next_hop: &[u8]) -> bool {
    match next_hop {
        [first, _, _, _] => !matches!(first, 0 | 127 | 224..),
        [global @ .., _] if matches!(global.len(), 15 | 31) => global[0] != 0xff && global[..10] != [0; 10],
        _ => false,
    }
}

/// A destination that nobody can have.
fn is_martian(prefix: &IpNet) -> bool {
    match (prefix.network(), prefix.prefix_len()) {
        (IpAddr::V4(_), 0..8) | (IpAddr::V6(_), 0..10) => false,
        (IpAddr::V4(net), _) => matches!(net.octets()[0], 0 | 127 | 224..240) || net.is_broadcast(),
        (IpAddr::V6(net), len) => {
            net.is_multicast() || net.is_unicast_link_local() || (len >= 127 && net.octets()[..15] == [0; 15])
        }
    }
}

fn is_path(mut value: &[u8]) -> bool {
    while let [1 | 2, count @ 1..=255, members @ ..] = value {
        let Some((members, after)) = members.split_at_checked(usize::from(*count) * 4) else {
            return false;
        };
        if members.chunks(4).any(|asn| asn == [0; 4]) {
            return false;
        }
        value = after;
    }
    value.is_empty()
}

/// The daemon with its attackers, a bystander, and two who look on.
struct Run {
    bench: Bench,
    bystander: Peer,
    watchers: [Peer; 2],
    marks: u32,
}

impl Run {
    fn new() -> Run {
        let attacker = |at| match at {
            1 => Neighbour::client().both_families(),
            3 => Neighbour::external().both_families().says("add-path", "both"),
            4 => Neighbour::external()
                .both_families()
                .says("extended-next-hop", "true"),
            _ => Neighbour::external().both_families(),
        };
        let others = [Neighbour::external(), Neighbour::external(), Neighbour::client()];
        let others = others.map(Neighbour::both_families);
        let bench = Bench::start((0..ATTACKERS).map(attacker).chain(others).collect());
        let [bystander, outer, inner] = [0, 1, 2].map(|at| bench.up(ATTACKERS + at));
        Run {
            bench,
            bystander,
            watchers: [outer, inner],
            marks: 0,
        }
    }

    /// The bystander's next route reaches both, and what they have been told is in order.
    #[track_caller]
    fn check(&mut self, what: &str) {
        self.marks += 1;
        let mark = format!("198.18.{}.{}/32", self.marks >> 8 & 255, self.marks & 255);
        self.bystander.announce(self.marks, &[&mark]);
        self.bystander.pump(Duration::ZERO, |_| false);
        let is_there = |peer: &Peer| {
            peer.route(&mark)
                .is_some_and(|route| route.asns().last() == Some(&self.marks))
        };
        for watcher in &mut self.watchers {
            watcher.wait(what, is_there);
            check_handed_on(watcher);
            watcher.events.clear();
            watcher.send(&message(KEEPALIVE, &[]));
        }
        self.bystander.events.clear();
        self.bystander.send(&message(KEEPALIVE, &[]));
        assert_eq!(self.bystander.ending, None, "{what}");
        assert!(self.bench.pipit.process().is_running(), "{what}");
    }
}

#[test]
fn fuzz_spoilt_messages_harm_nobody_but_their_sender() {
    let seed = variable("PIPIT_SEED", 1);
    let time = Duration::from_secs(variable("PIPIT_FUZZ_SECONDS", 10));
    let mut random = Random(seed);
    let mut run = Run::new();
    let (memory, files) = (run.bench.memory(), run.bench.files());
    let (began, mut sent, mut sessions) = (Instant::now(), 0, 0);
    while began.elapsed() < time {
        let at = random.below(ATTACKERS);
        let what = format!("seed {seed}, burst {sessions} of attacker {at}, {sent} messages before");
        sessions += 1;
        let mut attacker = run.bench.dial(at);
        if random.below(8) == 0 {
            let bytes = open(&mut random, &attacker);
            attacker.send(&bytes);
            attacker.send(&message(KEEPALIVE, &[]));
        } else {
            assert!(
                attacker.establish(&offer(&run.bench, at)),
                "{what}: {:?}",
                attacker.ending
            );
        }
        let max_len = if at == ATTACKERS - 1 { EXTENDED } else { PLAIN };
        let messages = good(&attacker, max_len);
        for _ in 0..BURST {
            let bytes = match random.below(3) {
                0 => spoil(&mut random, &messages, max_len),
                _ => odd(&mut random, &attacker),
            };
            attacker.send(&bytes);
            sent += 1;
            if random.below(8) == 0 {
                attacker.pump(Duration::from_millis(1), |_| false);
            }
            if attacker.ending.is_some() {
                break;
            }
        }
        run.check(&what);
    }
    eprintln!("seed {seed}: {sent} messages in {sessions} sessions");
    // Everybody who spoilt anything is gone, and so is what they said, restart times included.
    for watcher in &mut run.watchers {
        watcher.wait_for(
            "nothing left of the attackers",
            Duration::from_secs(20),
            |watcher| {
                let is_theirs =
                    |net: &str| net.starts_with("62.") || net.starts_with("63.") || net.starts_with("2001:");
                !watcher.routes.keys().any(|(net, _)| is_theirs(&net.to_string()))
            },
        );
    }
    run.check("the end");
    let grown = run.bench.memory().saturating_sub(memory);
    assert!(grown < 65_536, "{grown} KiB");
    // Each may still have a connection that ends.
    let now = run.bench.files();
    assert!(now <= files + 6 * ATTACKERS, "{files} files became {now}");
}

#[test]
fn the_generator_says_the_same_for_the_same_seed_and_spoils_most_messages() {
    let (mut one, mut other) = (Random(5), Random(5));
    let messages = [
        update(&[], &[0x40, 1, 1, 0], &nlri(&["62.1.0.0/16"])),
        end_of_rib(),
    ];
    let mut changed = 0;
    for _ in 0..1_000 {
        let bytes = spoil(&mut one, &messages, PLAIN);
        assert_eq!(bytes, spoil(&mut other, &messages, PLAIN));
        changed += usize::from(!messages.contains(&bytes) && bytes[18] == UPDATE);
    }
    assert!(changed > 800, "{changed}");
}
