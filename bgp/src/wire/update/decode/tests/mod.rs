//! UPDATE bytes to batches and back; the table of RFC 7606 is in `rfc7606`, random histories are in `round_trip`.

mod broke_others;
mod rfc7606;
mod round_trip;

use ipnet::Ipv4Net;

use super::*;
use crate::asn::Asn;
use crate::wire::attr::{AttrEdit, AttrView, Change, originated};
use crate::wire::update::{EncodeError, EncodeOptions, Nlri, encode_announce, encode_end_of_rib};

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

/// Whether a set fits must not hang on the prefixes at hand: room for the longest of the family decides.
#[test]
fn rfc8654_4_a_message_is_filled_to_the_last_octet() {
    // 19 + 4 + ORIGIN 4 + AS_PATH 3 + NEXT_HOP 7 = 37; COMMUNITIES adds 4 + 4 n: 1013 of them leave 3 octets,
    // 1012 leave 7 and the longest IPv4 prefix takes 5.
    let attrs = |communities: u32| {
        let edit = AttrEdit {
            add_communities: (0..communities).collect(),
            ..AttrEdit::default()
        };
        let mut out = Vec::new();
        edit.apply(&originated(), &mut out);
        out
    };
    let nlri = |text: &str| Nlri {
        prefix: text.parse::<Ipv4Net>().unwrap(),
        path_id: 0,
    };
    let next_hop = NextHop::V4([192, 0, 2, 1].into());
    let mut bytes = Vec::new();
    for prefix in ["10.0.0.1/32", "0.0.0.0/0"] {
        let refused = encode_announce(&mut bytes, &encoding(), &attrs(1013), next_hop, &[nlri(prefix)]);
        assert!(matches!(refused, Err(EncodeError::TooLong { .. })), "{prefix}");
    }
    let prefixes = ["10.0.0.1/32", "10.0.0.0/8", "10.0.0.2/32"].map(nlri);
    encode_announce(&mut bytes, &encoding(), &attrs(1012), next_hop, &prefixes).unwrap();
    assert_eq!(bytes.len(), 4096 + 4094);
    // The first message is full: 5 + 2 octets of prefixes.
    assert_eq!(bytes[16..18], 4096u16.to_be_bytes());
}

/// A set that editing has cut is never sent, not even to a 2-octet speaker for whom the path is half as long.
#[test]
fn rfc8654_4_a_set_beyond_any_message_is_refused() {
    let edit = AttrEdit {
        prepend_as: (1..=20_000).map(Asn).collect(),
        ..AttrEdit::default()
    };
    let mut attrs = Vec::new();
    edit.apply(&originated(), &mut attrs);
    let narrow = EncodeOptions {
        four_octet_as: false,
        max_message_len: u16::MAX,
        ..encoding()
    };
    let nlri = [Nlri {
        prefix: "10.0.0.0/8".parse::<Ipv4Net>().unwrap(),
        path_id: 0,
    }];
    let mut bytes = Vec::new();
    let refused = encode_announce(
        &mut bytes,
        &narrow,
        &attrs,
        NextHop::V4([192, 0, 2, 1].into()),
        &nlri,
    );
    assert!(matches!(refused, Err(EncodeError::TooLong { .. })) && bytes.is_empty());
}

#[test]
fn rfc8092_2_redundant_large_communities_are_left_out() {
    let value = [[1u8; 12], [2; 12], [1; 12]].concat();
    let mut batch = UpdateBatch::default();
    decode(
        &with(&[&[0xc0, 32, 36][..], &value].concat()),
        &options(),
        &mut batch,
    )
    .unwrap();
    let view = AttrView::new(&batch.attr_bytes);
    assert_eq!(
        view.get(code::LARGE_COMMUNITIES),
        Some(&[[1u8; 12], [2; 12]].concat()[..])
    );
}

/// RFC 6793 §4.2.3: an AGGREGATOR with a real AS says that both AS4 attributes are out of date.
#[test]
fn rfc6793_4_2_3_aggregators_of_a_two_octet_speaker() {
    let two_octet = DecodeOptions {
        four_octet_as: false,
        ..options()
    };
    let decoded = |aggregator: &[u8]| {
        let path: &[u8] = &[0x40, 2, 4, 2, 1, 0x5b, 0xa0];
        let as4: &[u8] = &[0xc0, 17, 6, 2, 1, 0, 1, 0, 0, 0xc0, 18, 8, 0, 1, 0, 0, 8, 8, 8, 8];
        let mut batch = UpdateBatch::default();
        let attributes = [ORIGIN, path, NEXT_HOP, aggregator, as4].concat();
        decode(&body(&attributes), &two_octet, &mut batch).unwrap();
        let view = AttrView::new(&batch.attr_bytes);
        (view.as_path().to_string(), view.aggregator())
    };
    let by = |asn, address: [u8; 4]| Some((Asn(asn), address.into()));
    assert_eq!(
        decoded(&[0xe0, 7, 6, 0x5b, 0xa0, 9, 9, 9, 9]),
        ("65536".to_owned(), by(65536, [8; 4]))
    );
    assert_eq!(
        decoded(&[0xc0, 7, 6, 0, 7, 9, 9, 9, 9]),
        ("23456".to_owned(), by(7, [9; 4]))
    );
    assert_eq!(decoded(&[]), ("65536".to_owned(), None));
}
