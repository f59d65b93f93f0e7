//! decode(encode(x)) == x.

use ipnet::Ipv6Net;
use proptest::prelude::*;

use super::*;
use crate::prefix::Prefix;
use crate::wire::attr::as_path::{AS_SET, put_segment};
use crate::wire::attr::code::{PARTIAL, put};
use crate::wire::update::encode_withdraw;

fn arbitrary_edit() -> impl Strategy<Value = AttrEdit> {
    let asns = proptest::collection::vec(1u32.., 0..600);
    let communities = proptest::collection::vec(any::<u32>(), 0..80);
    (
        asns,
        communities,
        any::<Option<u32>>(),
        any::<Option<u32>>(),
        any::<Option<[u32; 3]>>(),
    )
        .prop_map(|(asns, communities, med, local_pref, large)| AttrEdit {
            prepend_as: asns.into_iter().map(Asn).collect(),
            add_communities: communities.into_iter().collect(),
            med: med.map_or(Change::Keep, Change::Set),
            local_pref: local_pref.map_or(Change::Keep, Change::Set),
            add_large_communities: large.into_iter().collect(),
            ..AttrEdit::default()
        })
}

/// Attributes that edits cannot make: sets in the path, AGGREGATOR, unknown ones, each by chance.
fn arbitrary_rest() -> impl Strategy<Value = Vec<u8>> {
    let set = proptest::option::of(proptest::collection::vec(1u32.., 1..=255));
    let aggregator = proptest::option::of((1u32.., any::<[u8; 4]>()));
    let unknown = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300));
    (set, aggregator, unknown).prop_map(|(set, aggregator, unknown)| {
        let mut path = Vec::new();
        if let Some(set) = set {
            put_segment(AS_SET, set.into_iter().map(Asn), &mut path);
        }
        let mut out = ORIGIN.to_vec();
        put(&mut out, TRANSITIVE, code::AS_PATH, &path);
        if let Some((asn, address)) = aggregator {
            let value = [asn.to_be_bytes(), address].concat();
            put(&mut out, OPTIONAL | TRANSITIVE, code::AGGREGATOR, &value);
        }
        if let Some(value) = unknown {
            put(&mut out, OPTIONAL | TRANSITIVE | PARTIAL, 99, &value);
        }
        out
    })
}

fn round_trip<P: Prefix>(
    prefixes: Vec<Nlri<P>>,
    attrs: &[u8],
    four_octet_as: bool,
    add_path: bool,
    next_hop: NextHop,
) -> UpdateBatch {
    let families: FamilySet = if add_path {
        BOTH.into_iter().collect()
    } else {
        FamilySet::EMPTY
    };
    let encode = EncodeOptions {
        four_octet_as,
        add_path: families,
        max_message_len: u16::MAX,
    };
    let decode_options = DecodeOptions {
        four_octet_as,
        add_path: families,
        is_external: false,
        ..options()
    };
    let mut bytes = Vec::new();
    encode_withdraw(&mut bytes, &encode, &prefixes);
    encode_announce(&mut bytes, &encode, attrs, next_hop, &prefixes).unwrap();
    let mut batch = UpdateBatch::default();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let len = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
        assert!(len <= usize::from(encode.max_message_len));
        let outcome = decode(&rest[19..len], &decode_options, &mut batch).unwrap();
        assert_eq!(outcome, UpdateOutcome::default());
        rest = &rest[len..];
    }
    for item in &batch.items {
        if let BatchItem::Announce { attrs: at, .. } = item {
            assert_eq!(&batch.attr_bytes[at.start as usize..at.end as usize], attrs);
        }
    }
    batch
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(
        v4 in proptest::collection::vec((any::<u32>(), 0u8..=32, any::<u32>()), 1..300),
        v6 in proptest::collection::vec((any::<u128>(), 0u8..=128, any::<u32>()), 1..100),
        edit in arbitrary_edit(), base in arbitrary_rest(), four_octet_as: bool, add_path: bool,
    ) {
        let mut attrs = Vec::new();
        edit.apply(&base, &mut attrs);
        let id = |id| if add_path { id } else { 0 };
        let v4: Vec<Nlri<Ipv4Net>> = v4.into_iter()
            .map(|(a, len, path)| Nlri { prefix: Ipv4Net::new(a.into(), len).unwrap().trunc(), path_id: id(path) }).collect();
        let v6: Vec<Nlri<Ipv6Net>> = v6.into_iter()
            .map(|(a, len, path)| Nlri { prefix: Ipv6Net::new(a.into(), len).unwrap().trunc(), path_id: id(path) }).collect();
        let batch = round_trip(v4.clone(), &attrs, four_octet_as, add_path, NextHop::V4([192, 0, 2, 1].into()));
        prop_assert_eq!(batch.ipv4, [v4.clone(), v4].concat());
        let next_hop = NextHop::V6 { global: "2001:db8::1".parse().unwrap(), link_local: Some("fe80::1".parse().unwrap()) };
        let batch = round_trip(v6.clone(), &attrs, four_octet_as, add_path, next_hop);
        prop_assert_eq!(batch.ipv6, [v6.clone(), v6].concat());
    }

    #[test]
    fn no_bytes_panic_and_what_is_taken_has_canonical_form(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200), is_external: bool, four_octet_as: bool, flips in any::<bool>(),
    ) {
        if flips {
            // Near-valid input reaches further than noise.
            let mut valid = with(&[0xc0, 8, 4, 0, 1, 0, 2, 0x80, 14, 21, 0, 2, 1, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
            for pair in bytes.chunks_exact(2) {
                let at = usize::from(pair[0]) % valid.len();
                valid[at] = pair[1];
            }
            bytes = valid;
        }
        let options = DecodeOptions { is_external, four_octet_as, ..options() };
        let mut batch = UpdateBatch::default();
        if decode(&bytes, &options, &mut batch).is_ok() {
            for item in &batch.items {
                if let BatchItem::Announce { attrs, .. } = item {
                    let canonical = &batch.attr_bytes[attrs.start as usize..attrs.end as usize];
                    let mut again = Vec::new();
                    AttrEdit::default().apply(canonical, &mut again);
                    prop_assert_eq!(canonical, again);
                }
            }
        }
    }
}

/// Lengths where a count or a length field changes its form: 63 and 64 communities are 252 and 256 octets, 254 to 256
/// ASes fill one segment or begin a second.
#[test]
fn rfc4271_4_3_nothing_is_lost_at_255_and_256() {
    let next_hop = NextHop::V4([192, 0, 2, 1].into());
    let nlri = Nlri {
        prefix: "10.0.0.0/8".parse::<Ipv4Net>().unwrap(),
        path_id: 0,
    };
    for count in [1, 62, 63, 64, 65, 254, 255, 256, 257, 509, 510, 511] {
        for asn in [64_512, 4_200_000_000] {
            for four_octet_as in [true, false] {
                let edit = AttrEdit {
                    prepend_as: std::iter::repeat_n(Asn(asn), count).collect(),
                    add_communities: (0..count as u32).collect(),
                    prepend_cluster: Some(crate::router_id::ClusterId::from(7)),
                    ..AttrEdit::default()
                };
                let mut attrs = Vec::new();
                edit.apply(&originated(), &mut attrs);
                let batch = round_trip(vec![nlri], &attrs, four_octet_as, false, next_hop);
                assert_eq!(batch.ipv4, [nlri, nlri]);
                let view = AttrView::new(&batch.attr_bytes);
                assert_eq!(
                    (view.as_path().asns().count(), view.communities().count()),
                    (count, count)
                );
            }
        }
    }
}
