use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::*;
use crate::prefix::Prefix;
use crate::wire::attr::{AttrEdit, AttrView, Change, originated};
use crate::wire::update::{EncodeOptions, Nlri, encode_announce, encode_end_of_rib, encode_withdraw};

const BOTH: [Family; 2] = Family::ALL;

fn options() -> DecodeOptions {
    DecodeOptions {
        four_octet_as: true,
        add_path: FamilySet::EMPTY,
        families: BOTH.into_iter().collect(),
        extended_next_hop: false,
        is_external: true,
    }
}

fn encoding() -> EncodeOptions {
    EncodeOptions {
        four_octet_as: true,
        add_path: FamilySet::EMPTY,
        max_message_len: 4096,
    }
}

/// An UPDATE body with these attributes and 10.0.0.0/8.
fn body(attributes: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend([8, 10]);
    body
}

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];

fn with(extra: &[u8]) -> Vec<u8> {
    body(&[ORIGIN, PATH, NEXT_HOP, extra].concat())
}

/// Decodes and says the treatment of the first incident, after checking that it is borne out by the batch.
fn treatment(body: &[u8], options: &DecodeOptions) -> Option<Treatment> {
    let mut batch = UpdateBatch::default();
    match decode(body, options, &mut batch) {
        Err(_) => {
            assert!(batch.is_empty(), "a failed decode leaves nothing behind");
            Some(Treatment::Reset)
        }
        Ok(outcome) => {
            let announces = batch
                .items
                .iter()
                .any(|item| matches!(item, BatchItem::Announce { .. }));
            assert_eq!(announces, !outcome.is_withdraw(), "{outcome:?} {batch:?}");
            outcome.incidents.iter().map(|incident| incident.treatment).max()
        }
    }
}

#[test]
fn rfc4271_4_3_bytes_of_a_plain_update() {
    let mut batch = UpdateBatch::default();
    let outcome = decode(&with(&[0x80, 4, 4, 0, 0, 0, 9]), &options(), &mut batch).unwrap();
    assert_eq!(outcome, UpdateOutcome::default());
    let [
        BatchItem::Announce {
            family,
            next_hop,
            facts,
            attrs,
            nlri,
        },
    ] = batch.items.as_slice()
    else {
        panic!("{batch:?}")
    };
    assert_eq!(
        (*family, next_hop.to_string()),
        (Family::Ipv4Unicast, "192.0.2.1".to_owned())
    );
    assert_eq!(
        (facts.med, facts.as_path_len, facts.neighbor_as),
        (Some(9), 1, Some(Asn(64512)))
    );
    assert_eq!(batch.ipv4[nlri.start as usize].prefix.to_string(), "10.0.0.0/8");
    let canonical = &batch.attr_bytes[attrs.start as usize..attrs.end as usize];
    assert_eq!(canonical, [ORIGIN, PATH, &[0x80, 4, 4, 0, 0, 0, 9]].concat());
}

/// The table at the head of `wire::attr::validate`, row by row.
#[test]
fn rfc7606_each_defect_costs_what_the_table_says() {
    use Treatment::{Discard, Reset, TreatAsWithdraw};
    let internal = DecodeOptions {
        is_external: false,
        ..options()
    };
    let two_octet = DecodeOptions {
        four_octet_as: false,
        ..options()
    };
    let narrow_path: &[u8] = &[0x40, 2, 4, 2, 1, 0xfc, 0];
    let rows: Vec<(&str, Vec<u8>, DecodeOptions, Option<Treatment>)> = vec![
        ("well-formed", with(&[]), options(), None),
        (
            "flags of MED",
            with(&[0x40, 4, 4, 0, 0, 0, 1]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "second COMMUNITIES",
            with(&[0xc0, 8, 4, 0, 1, 0, 2, 0xc0, 8, 4, 0, 1, 0, 3]),
            options(),
            Some(Discard),
        ),
        (
            "overrun",
            with(&[0xc0, 8, 200, 0]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "one octet left over",
            with(&[0xc0]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "ORIGIN length",
            body(&[&[0x40, 1, 2, 0, 0], PATH, NEXT_HOP].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "ORIGIN value",
            body(&[&[0x40, 1, 1, 3], PATH, NEXT_HOP].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "AS_PATH segment type",
            body(&[ORIGIN, &[0x40, 2, 6, 9, 1, 0, 0, 0, 1], NEXT_HOP].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "AS_PATH confederation",
            body(&[ORIGIN, &[0x40, 2, 6, 3, 1, 0, 0, 0, 1], NEXT_HOP].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "AS_PATH empty segment",
            body(&[ORIGIN, &[0x40, 2, 2, 2, 0], NEXT_HOP].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "AS_PATH cut",
            body(&[ORIGIN, &[0x40, 2, 6, 2, 2, 0, 0, 0, 1], NEXT_HOP].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "AS 0",
            body(&[ORIGIN, &[0x40, 2, 6, 2, 1, 0, 0, 0, 0], NEXT_HOP].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "NEXT_HOP length",
            body(&[ORIGIN, PATH, &[0x40, 3, 3, 1, 2, 3]].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "NEXT_HOP multicast",
            body(&[ORIGIN, PATH, &[0x40, 3, 4, 224, 0, 0, 1]].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "MED length",
            with(&[0x80, 4, 3, 0, 0, 0]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "LOCAL_PREF from eBGP",
            with(&[0x40, 5, 4, 0, 0, 0, 1]),
            options(),
            Some(Discard),
        ),
        (
            "LOCAL_PREF length from eBGP",
            with(&[0x40, 5, 1, 0]),
            options(),
            Some(Discard),
        ),
        (
            "LOCAL_PREF length",
            with(&[0x40, 5, 1, 0]),
            internal,
            Some(TreatAsWithdraw),
        ),
        (
            "ATOMIC_AGGREGATE length",
            with(&[0x40, 6, 1, 0]),
            options(),
            Some(Discard),
        ),
        (
            "AGGREGATOR length",
            with(&[0xc0, 7, 6, 0, 1, 1, 1, 1, 1]),
            options(),
            Some(Discard),
        ),
        (
            "COMMUNITIES empty",
            with(&[0xc0, 8, 0]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "COMMUNITIES length",
            with(&[0xc0, 8, 3, 0, 0, 0]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "ORIGINATOR_ID from eBGP",
            with(&[0x80, 9, 4, 1, 1, 1, 1]),
            options(),
            Some(Discard),
        ),
        (
            "ORIGINATOR_ID length",
            with(&[0x80, 9, 3, 1, 1, 1]),
            internal,
            Some(TreatAsWithdraw),
        ),
        (
            "CLUSTER_LIST from eBGP",
            with(&[0x80, 10, 4, 1, 1, 1, 1]),
            options(),
            Some(Discard),
        ),
        (
            "CLUSTER_LIST length",
            with(&[0x80, 10, 5, 1, 1, 1, 1, 1]),
            internal,
            Some(TreatAsWithdraw),
        ),
        (
            "MP_REACH cut",
            with(&[0x80, 14, 3, 0, 2, 1]),
            options(),
            Some(Reset),
        ),
        (
            "MP_REACH next hop length",
            with(&[0x80, 14, 6, 0, 2, 1, 1, 0, 0]),
            options(),
            Some(Reset),
        ),
        (
            "MP_UNREACH cut",
            with(&[0x80, 15, 2, 0, 2]),
            options(),
            Some(Reset),
        ),
        (
            "MP_UNREACH twice",
            with(&[0x80, 15, 3, 0, 2, 1, 0x80, 15, 3, 0, 2, 1]),
            options(),
            Some(Reset),
        ),
        (
            "MP_UNREACH prefix length",
            with(&[0x80, 15, 4, 0, 2, 1, 129]),
            options(),
            Some(Reset),
        ),
        (
            "EXTENDED length",
            with(&[0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "LARGE length",
            with(&[0xc0, 32, 4, 0, 0, 0, 0]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "OTC length",
            with(&[0xc0, 35, 3, 0, 0, 0]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "AIGP length",
            with(&[0x80, 26, 4, 1, 0, 200, 0]),
            options(),
            Some(Discard),
        ),
        (
            "AS4_PATH between wide speakers",
            with(&[0xc0, 17, 6, 2, 1, 0, 0, 0, 1]),
            options(),
            Some(Discard),
        ),
        (
            "AS4_PATH cut",
            body(&[ORIGIN, narrow_path, NEXT_HOP, &[0xc0, 17, 3, 2, 1, 0]].concat()),
            two_octet,
            Some(Discard),
        ),
        (
            "ORIGIN missing",
            body(&[PATH, NEXT_HOP].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "AS_PATH missing",
            body(&[ORIGIN, NEXT_HOP].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "NEXT_HOP missing",
            body(&[ORIGIN, PATH].concat()),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "no attribute at all (CVE-2023-41358)",
            body(&[]),
            options(),
            Some(TreatAsWithdraw),
        ),
        (
            "unknown well-known (CVE-2026-41642)",
            with(&[0x40, 99, 1, 0]),
            options(),
            Some(Reset),
        ),
        ("unknown transitive", with(&[0xc0, 99, 1, 0]), options(), None),
        ("unknown non-transitive", with(&[0x80, 99, 1, 0]), options(), None),
        (
            "deprecated type 28, malformed inside",
            with(&[0xc0, 28, 3, 1, 2, 3]),
            options(),
            None,
        ),
        (
            "prefix length 33",
            {
                let mut b = with(&[]);
                b.extend([33, 1, 2, 3, 4, 5]);
                b
            },
            options(),
            Some(Reset),
        ),
        (
            "prefix cut",
            {
                let mut b = with(&[]);
                b.extend([32, 1]);
                b
            },
            options(),
            Some(Reset),
        ),
        ("lengths past the end", vec![0, 9, 0], options(), Some(Reset)),
        (
            "attributes past the end",
            vec![0, 0, 0, 9, 0],
            options(),
            Some(Reset),
        ),
    ];
    for (name, body, options, expected) in rows {
        assert_eq!(treatment(&body, &options), expected, "{name}");
    }
}

#[test]
fn rfc4271_5_unknown_transitive_attributes_leave_byte_identical_and_partial() {
    let mut batch = UpdateBatch::default();
    decode(&with(&[0xc0, 99, 3, 7, 8, 9]), &options(), &mut batch).unwrap();
    let unknown = AttrView::new(&batch.attr_bytes).iter().last().unwrap();
    assert_eq!((unknown.flags, unknown.value), (0xe0, &[7, 8, 9][..]));
}

#[test]
fn rfc4724_2_end_of_rib_of_both_families() {
    for family in BOTH {
        let mut bytes = Vec::new();
        encode_end_of_rib(&mut bytes, family);
        let mut batch = UpdateBatch::default();
        decode(&bytes[19..], &options(), &mut batch).unwrap();
        assert_eq!(batch.items, [BatchItem::EndOfRib(family)]);
    }
}

#[test]
fn rfc6793_4_2_3_a_narrow_path_and_as4_path_are_merged() {
    let two_octet = DecodeOptions {
        four_octet_as: false,
        ..options()
    };
    let narrow = [0x40, 2, 8, 2, 3, 0xfd, 0xe9, 0x5b, 0xa0, 0x5b, 0xa0];
    let wide = [0xc0, 17, 10, 2, 2, 0, 1, 0, 0, 0, 1, 0, 1];
    let mut batch = UpdateBatch::default();
    decode(
        &body(&[ORIGIN, &narrow, NEXT_HOP, &wide].concat()),
        &two_octet,
        &mut batch,
    )
    .unwrap();
    assert_eq!(
        AttrView::new(&batch.attr_bytes).as_path().to_string(),
        "65001 65536 65537"
    );
}

#[test]
fn rfc6793_4_2_2_a_narrow_speaker_gets_as_trans_and_as4_path() {
    let mut attrs = Vec::new();
    AttrEdit {
        prepend_as: SmallVec::from_slice(&[Asn(65536), Asn(7)]),
        ..AttrEdit::default()
    }
    .apply(&originated(), &mut attrs);
    let narrow = EncodeOptions {
        four_octet_as: false,
        ..encoding()
    };
    let nlri = [Nlri {
        prefix: "10.0.0.0/8".parse::<Ipv4Net>().unwrap(),
        path_id: 0,
    }];
    let mut bytes = Vec::new();
    encode_announce(
        &mut bytes,
        &narrow,
        &attrs,
        NextHop::V4([192, 0, 2, 1].into()),
        &nlri,
    )
    .unwrap();
    assert!(
        bytes.windows(4).any(|w| w == [2, 2, 0x5b, 0xa0]),
        "AS_TRANS in AS_PATH: {bytes:02x?}"
    );
    let mut batch = UpdateBatch::default();
    decode(
        &bytes[19..],
        &DecodeOptions {
            four_octet_as: false,
            ..options()
        },
        &mut batch,
    )
    .unwrap();
    assert_eq!(batch.attr_bytes, attrs);
}

#[test]
fn rfc8654_4_attributes_that_do_not_fit_are_refused_and_long_lists_use_many_messages() {
    let mut attrs = Vec::new();
    AttrEdit {
        add_communities: (0..1100).collect(),
        ..AttrEdit::default()
    }
    .apply(&originated(), &mut attrs);
    let prefixes: Vec<Nlri<Ipv4Net>> = (0u32..5_000)
        .map(|n| Nlri {
            prefix: Ipv4Net::new((0x0a00_0000 + n * 256).into(), 24).unwrap(),
            path_id: 0,
        })
        .collect();
    let next_hop = NextHop::V4([192, 0, 2, 1].into());
    let mut bytes = Vec::new();
    let refused = encode_announce(&mut bytes, &encoding(), &attrs, next_hop, &prefixes);
    assert!(matches!(refused, Err(EncodeError::TooLong { .. })) && bytes.is_empty());
    encode_announce(&mut bytes, &encoding(), &originated(), next_hop, &prefixes).unwrap();
    let (mut rest, mut count) = (bytes.as_slice(), 0);
    let mut batch = UpdateBatch::default();
    while !rest.is_empty() {
        let len = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
        assert!(len <= 4096);
        decode(&rest[19..len], &options(), &mut batch).unwrap();
        (rest, count) = (&rest[len..], count + 1);
    }
    assert_eq!((batch.ipv4, count), (prefixes, 5));
}

use crate::wire::update::EncodeError;

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

fn round_trip<P: Prefix>(
    prefixes: Vec<Nlri<P>>,
    edit: &AttrEdit,
    four_octet_as: bool,
    add_path: bool,
    next_hop: NextHop,
) -> UpdateBatch {
    let families: FamilySet = if add_path {
        BOTH.into_iter().collect()
    } else {
        FamilySet::EMPTY
    };
    let mut attrs = Vec::new();
    edit.apply(&originated(), &mut attrs);
    let encode = EncodeOptions {
        four_octet_as,
        add_path: families,
        max_message_len: 4096,
    };
    let decode_options = DecodeOptions {
        four_octet_as,
        add_path: families,
        is_external: false,
        ..options()
    };
    let mut bytes = Vec::new();
    encode_withdraw(&mut bytes, &encode, &prefixes);
    encode_announce(&mut bytes, &encode, &attrs, next_hop, &prefixes).unwrap();
    let mut batch = UpdateBatch::default();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let len = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
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
        edit in arbitrary_edit(), four_octet_as: bool, add_path: bool,
    ) {
        let id = |id| if add_path { id } else { 0 };
        let v4: Vec<Nlri<Ipv4Net>> = v4.into_iter()
            .map(|(a, len, path)| Nlri { prefix: Ipv4Net::new(a.into(), len).unwrap().trunc(), path_id: id(path) }).collect();
        let v6: Vec<Nlri<Ipv6Net>> = v6.into_iter()
            .map(|(a, len, path)| Nlri { prefix: Ipv6Net::new(a.into(), len).unwrap().trunc(), path_id: id(path) }).collect();
        let batch = round_trip(v4.clone(), &edit, four_octet_as, add_path, NextHop::V4([192, 0, 2, 1].into()));
        prop_assert_eq!(batch.ipv4, [v4.clone(), v4].concat());
        let next_hop = NextHop::V6 { global: "2001:db8::1".parse().unwrap(), link_local: Some("fe80::1".parse().unwrap()) };
        let batch = round_trip(v6.clone(), &edit, four_octet_as, add_path, next_hop);
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
