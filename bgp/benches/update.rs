//! UPDATE coding at the speed of a full table: an Internet-like stream of about 6.5 prefixes an attribute set.
//!
//! `cargo bench -p pipit-bgp --no-default-features --bench update`. The figure to reach: 5 M prefixes/s a core, both
//! ways, without an allocation a prefix.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot make its input has nothing to measure"
)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ipnet::{Ipv4Net, Ipv6Net};
use pipit_bgp::wire::attr::{AttrEdit, Change, originated};
use pipit_bgp::wire::update::{
    DecodeOptions, EncodeOptions, Nlri, UpdateBatch, decode, encode_announce, encode_withdraw,
};
use pipit_bgp::{Asn, Family, FamilySet, NextHop, Prefix};

/// Attribute sets in a stream; the batch is taken away every [`SETS_PER_BATCH`] of them, as a peer's task does.
const SETS: usize = 4_000;
const SETS_PER_BATCH: usize = 64;
const HEADER_LEN: usize = 19;

fn main() {
    divan::main();
}

/// xorshift64: the same stream in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % limit
    }
}

/// One attribute set and the prefixes that share it.
struct Set<P> {
    attrs: Vec<u8>,
    nlri: Vec<Nlri<P>>,
}

fn attributes(random: &mut Random) -> Vec<u8> {
    let edit = AttrEdit {
        prepend_as: (0..3 + random.below(4))
            .map(|_| Asn(1 + random.below(400_000)))
            .collect(),
        med: if random.below(3) == 0 {
            Change::Set(random.below(100))
        } else {
            Change::Keep
        },
        add_communities: (0..random.below(9)).map(|_| random.below(u32::MAX)).collect(),
        add_large_communities: (0..random.below(8) / 6)
            .map(|n| [random.below(9999), n, 7])
            .collect(),
        ..AttrEdit::default()
    };
    let mut out = Vec::new();
    edit.apply(&originated(), &mut out);
    out
}

/// 1 to 12 prefixes a set, 6.5 in the mean; the longest usual length is the commonest.
fn sets<P: Prefix>(longest: u8) -> Vec<Set<P>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let prefix = |random: &mut Random| {
        let len = longest - [0, 0, 0, 0, 0, 1, 2, 2, 4, 8][random.below(10) as usize];
        let mut octets = [0; 16];
        octets
            .iter_mut()
            .for_each(|octet| *octet = random.below(256) as u8);
        P::from_octets(octets, len).expect("within the family's length")
    };
    (0..SETS)
        .map(|_| Set {
            attrs: attributes(&mut random),
            nlri: (0..1 + random.below(12))
                .map(|_| Nlri {
                    prefix: prefix(&mut random),
                    path_id: 0,
                })
                .collect(),
        })
        .collect()
}

fn encoding(four_octet_as: bool) -> EncodeOptions {
    EncodeOptions {
        four_octet_as,
        add_path: FamilySet::EMPTY,
        max_message_len: 4096,
    }
}

fn decoding(four_octet_as: bool) -> DecodeOptions {
    DecodeOptions {
        four_octet_as,
        add_path: FamilySet::EMPTY,
        families: Family::ALL.into_iter().collect(),
        extended_next_hop: false,
        is_external: true,
    }
}

fn next_hop<P: Prefix>() -> NextHop {
    match P::FAMILY {
        Family::Ipv4Unicast => NextHop::V4([192, 0, 2, 1].into()),
        Family::Ipv6Unicast => NextHop::V6 {
            global: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
            link_local: None,
        },
    }
}

fn prefix_count<P>(sets: &[Set<P>]) -> usize {
    sets.iter().map(|set| set.nlri.len()).sum()
}

fn announce<P: Prefix>(sets: &[Set<P>], options: &EncodeOptions, out: &mut Vec<u8>) {
    for set in sets {
        encode_announce(out, options, &set.attrs, next_hop::<P>(), &set.nlri).expect("sets are small");
    }
}

fn bench_decode<P: Prefix>(bencher: Bencher<'_, '_>, longest: u8, four_octet_as: bool) {
    let sets = sets::<P>(longest);
    let mut bytes = Vec::new();
    announce(&sets, &encoding(four_octet_as), &mut bytes);
    let mut bodies = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (message, later) = rest.split_at(usize::from(u16::from_be_bytes([rest[16], rest[17]])));
        bodies.push(&message[HEADER_LEN..]);
        rest = later;
    }
    let options = decoding(four_octet_as);
    let mut batch = UpdateBatch::default();
    bencher
        .counter(ItemsCount::new(prefix_count(&sets)))
        .bench_local(|| {
            for group in bodies.chunks(SETS_PER_BATCH) {
                batch.clear();
                for body in group {
                    decode(black_box(body), &options, &mut batch).expect("we encoded it");
                }
                black_box(&batch);
            }
        });
}

fn bench_encode<P: Prefix>(bencher: Bencher<'_, '_>, longest: u8, four_octet_as: bool) {
    let sets = sets::<P>(longest);
    let options = encoding(four_octet_as);
    let mut out = Vec::new();
    bencher
        .counter(ItemsCount::new(prefix_count(&sets)))
        .bench_local(|| {
            for group in sets.chunks(SETS_PER_BATCH) {
                out.clear();
                announce(black_box(group), &options, &mut out);
                black_box(&out);
            }
        });
}

#[divan::bench]
fn decode_ipv4(bencher: Bencher<'_, '_>) {
    bench_decode::<Ipv4Net>(bencher, 24, true);
}

#[divan::bench]
fn decode_ipv6(bencher: Bencher<'_, '_>) {
    bench_decode::<Ipv6Net>(bencher, 48, true);
}

#[divan::bench]
fn decode_ipv4_from_two_octet_speaker(bencher: Bencher<'_, '_>) {
    bench_decode::<Ipv4Net>(bencher, 24, false);
}

#[divan::bench]
fn encode_ipv4(bencher: Bencher<'_, '_>) {
    bench_encode::<Ipv4Net>(bencher, 24, true);
}

#[divan::bench]
fn encode_ipv6(bencher: Bencher<'_, '_>) {
    bench_encode::<Ipv6Net>(bencher, 48, true);
}

#[divan::bench]
fn encode_ipv4_to_two_octet_speaker(bencher: Bencher<'_, '_>) {
    bench_encode::<Ipv4Net>(bencher, 24, false);
}

/// One set for the whole table: what packing alone costs.
#[divan::bench]
fn withdraw_ipv4(bencher: Bencher<'_, '_>) {
    let nlri: Vec<Nlri<Ipv4Net>> = sets::<Ipv4Net>(24).into_iter().flat_map(|set| set.nlri).collect();
    let options = encoding(true);
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(nlri.len())).bench_local(|| {
        out.clear();
        encode_withdraw(&mut out, &options, black_box(&nlri));
        black_box(&out);
    });
}
