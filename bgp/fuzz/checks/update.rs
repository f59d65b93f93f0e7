//! UPDATE: bytes → decode → validate → edit → encode → decode.
//!
//! An input is one octet that chooses the session's options, one that chooses an edit, and an UPDATE without its
//! header.

use std::collections::HashSet;
use std::ops::Range;

use pipit_bgp::wire::attr::{AttrEdit, AttrFacts, AttrView, Change, validate};
use pipit_bgp::wire::update::{
    BatchItem, DecodeOptions, EncodeOptions, Nlri, UpdateBatch, decode, encode_announce, encode_withdraw,
};
use pipit_bgp::{Asn, ClusterId, Family, FamilySet, NextHop, Prefix, RouterId};

/// Decodes, and then edits, encodes and decodes again whatever came of it.
///
/// # Panics
/// When a promise of the codec is broken.
pub(crate) fn check(input: &[u8]) {
    let [choice, edit, body @ ..] = input else { return };
    let options = decode_options(*choice);
    let mut batch = UpdateBatch::default();
    let Ok(outcome) = decode(body, &options, &mut batch) else {
        assert_eq!(
            batch,
            UpdateBatch::default(),
            "a failed decode leaves nothing behind"
        );
        return;
    };
    // Memory is bounded by what came: a prefix is an octet at least, widening doubles a path.
    assert!(batch.prefix_count() <= body.len());
    assert!(batch.attr_bytes.len() <= 2 * body.len() + 64);
    assert!(outcome.incidents.len() <= 2 * 256 + 8);
    for item in &batch.items {
        match item.clone() {
            BatchItem::Announce {
                family,
                next_hop,
                facts,
                attrs,
                nlri,
            } => {
                assert!(!outcome.is_withdraw(), "{outcome:?}");
                let canonical = &batch.attr_bytes[at(&attrs)];
                check_canonical(canonical, &facts);
                let mut edited = Vec::new();
                attr_edit(*edit).apply(canonical, &mut edited);
                check_large_communities(&edited);
                for set in [canonical, &edited] {
                    match family {
                        Family::Ipv4Unicast => announce_again(*choice, set, next_hop, &batch.ipv4[at(&nlri)]),
                        Family::Ipv6Unicast => announce_again(*choice, set, next_hop, &batch.ipv6[at(&nlri)]),
                    }
                }
            }
            BatchItem::Withdraw { family, nlri } => match family {
                Family::Ipv4Unicast => withdraw_again(*choice, &batch.ipv4[at(&nlri)]),
                Family::Ipv6Unicast => withdraw_again(*choice, &batch.ipv6[at(&nlri)]),
            },
            BatchItem::EndOfRib(family) => assert!(options.families.contains(family)),
            BatchItem::RefreshRequest(_) | BatchItem::BeginOfRefresh(_) | BatchItem::EndOfRefresh(_) => {
                panic!("{item:?} does not come from an UPDATE")
            }
        }
    }
}

fn at(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

fn bit(choice: u8, bit: u8) -> bool {
    choice & 1 << bit != 0
}

/// Bits: 0 four-octet AS, 1 external, 2 ADD-PATH, 3 RFC 8950, 4 IPv4 only, 5 extended messages to send, 6 send to a
/// 2-octet speaker.
fn decode_options(choice: u8) -> DecodeOptions {
    let all: FamilySet = Family::ALL.into_iter().collect();
    DecodeOptions {
        four_octet_as: bit(choice, 0),
        is_external: bit(choice, 1),
        add_path: if bit(choice, 2) { all } else { FamilySet::EMPTY },
        extended_next_hop: bit(choice, 3),
        families: if bit(choice, 4) {
            FamilySet::only(Family::Ipv4Unicast)
        } else {
            all
        },
    }
}

fn encode_options(choice: u8) -> EncodeOptions {
    EncodeOptions {
        four_octet_as: !bit(choice, 6),
        add_path: decode_options(choice).add_path,
        max_message_len: if bit(choice, 5) { u16::MAX } else { 4096 },
    }
}

/// The other end of [`encode_options`].
fn decode_again(choice: u8) -> DecodeOptions {
    DecodeOptions {
        four_octet_as: !bit(choice, 6),
        is_external: false,
        extended_next_hop: true,
        families: Family::ALL.into_iter().collect(),
        ..decode_options(choice)
    }
}

fn attr_edit(choice: u8) -> AttrEdit {
    AttrEdit {
        prepend_as: (0..choice % 5).map(|n| Asn(65_530 + u32::from(n) * 3)).collect(),
        med: if bit(choice, 3) {
            Change::Set(7)
        } else {
            Change::Remove
        },
        local_pref: if bit(choice, 4) {
            Change::Keep
        } else {
            Change::Set(300)
        },
        remove_communities: (0..u32::from(choice % 2)).map(|_| 0x0001_0002).collect(),
        add_communities: (0..u32::from(choice % 3)).collect(),
        add_large_communities: (0..u32::from(choice % 3)).map(|n| [n / 2, 1, 2]).collect(),
        originator_id: bit(choice, 5).then(|| RouterId::from(1)),
        prepend_cluster: bit(choice, 5).then(|| ClusterId::from(2)),
        removes_reflection: bit(choice, 6),
        otc: if bit(choice, 7) {
            Change::Set(Asn(64_512))
        } else {
            Change::Keep
        },
    }
}

/// Sorted, each type once, nothing between the attributes or behind them, no next hop; reading the facts again and
/// changing nothing give the same.
fn check_canonical(canonical: &[u8], facts: &AttrFacts) {
    let mut len = 0;
    let mut last = 0;
    for attr in AttrView::new(canonical).iter() {
        assert!(
            attr.code > last || (attr.code == 0 && len == 0),
            "sorted: {canonical:02x?}"
        );
        assert!(
            !matches!(attr.code, 3 | 14 | 15 | 17 | 18),
            "kept apart: {canonical:02x?}"
        );
        assert_eq!(attr.flags & 0x10 != 0, attr.value.len() > 255, "{canonical:02x?}");
        // RFC 4271 §5: what we pass on without knowing it is marked.
        assert!(
            validate::is_known(attr.code) || attr.flags & 0x20 != 0,
            "{canonical:02x?}"
        );
        last = attr.code;
        len += attr.value.len() + if attr.value.len() > 255 { 4 } else { 3 };
    }
    assert_eq!(len, canonical.len(), "{canonical:02x?}");
    let view = AttrView::new(canonical);
    let path_len: usize = view
        .as_path()
        .segments()
        .map(|segment| 2 + 4 * segment.len())
        .sum();
    assert_eq!(
        view.get(2).map(<[u8]>::len),
        Some(path_len),
        "segments fill AS_PATH: {canonical:02x?}"
    );
    check_large_communities(canonical);
    assert_eq!(AttrFacts::read(canonical), *facts);
    let mut same = Vec::new();
    AttrEdit::default().apply(canonical, &mut same);
    assert_eq!(same, canonical);
}

/// RFC 8092 §2: none is sent twice.
fn check_large_communities(attrs: &[u8]) {
    let all: Vec<[u32; 3]> = AttrView::new(attrs).large_communities().collect();
    let distinct: HashSet<[u32; 3]> = all.iter().copied().collect();
    assert_eq!(all.len(), distinct.len(), "{attrs:02x?}");
}

/// Splits messages and checks their headers.
fn bodies(mut messages: &[u8], max_message_len: u16) -> Vec<&[u8]> {
    let mut bodies = Vec::new();
    while !messages.is_empty() {
        let len = u16::from_be_bytes([messages[16], messages[17]]);
        assert!(messages.starts_with(&[0xff; 16]) && messages[18] == 2 && len <= max_message_len);
        let (message, rest) = messages.split_at(usize::from(len));
        bodies.push(&message[19..]);
        messages = rest;
    }
    bodies
}

fn announce_again<P: Prefix>(choice: u8, attrs: &[u8], next_hop: NextHop, nlri: &[Nlri<P>]) {
    let options = encode_options(choice);
    let mut messages = Vec::new();
    if encode_announce(&mut messages, &options, attrs, next_hop, nlri).is_err() {
        assert!(messages.is_empty() && attrs.len() + 100 > usize::from(options.max_message_len) / 2);
        return;
    }
    let mut announced = Vec::new();
    for body in bodies(&messages, options.max_message_len) {
        let mut batch = UpdateBatch::default();
        let Ok(outcome) = decode(body, &decode_again(choice), &mut batch) else {
            panic!("no peer can read {body:02x?}");
        };
        assert!(outcome.incidents.is_empty(), "{outcome:?} of {attrs:02x?}");
        let [
            BatchItem::Announce {
                family,
                next_hop: again,
                ..
            },
        ] = batch.items.as_slice()
        else {
            panic!("{:?} of {attrs:02x?}", batch.items)
        };
        assert_eq!((*family, *again), (P::FAMILY, next_hop));
        assert_eq!(batch.attr_bytes, attrs);
        announced.extend(prefixes::<P>(&batch));
    }
    assert_eq!(announced, nlri);
}

fn withdraw_again<P: Prefix>(choice: u8, nlri: &[Nlri<P>]) {
    let options = encode_options(choice);
    let mut messages = Vec::new();
    encode_withdraw(&mut messages, &options, nlri);
    let mut batch = UpdateBatch::default();
    for body in bodies(&messages, options.max_message_len) {
        let outcome = decode(body, &decode_again(choice), &mut batch);
        assert!(
            outcome.is_ok_and(|outcome| outcome.incidents.is_empty()),
            "{body:02x?}"
        );
    }
    let is_withdraw =
        |item: &BatchItem| matches!(item, BatchItem::Withdraw { family, .. } if *family == P::FAMILY);
    assert!(batch.items.iter().all(is_withdraw), "{:?}", batch.items);
    assert_eq!(prefixes::<P>(&batch).collect::<Vec<_>>(), nlri);
}

/// All prefixes of one family; the other has none.
fn prefixes<P: Prefix>(batch: &UpdateBatch) -> impl Iterator<Item = Nlri<P>> {
    let ipv4 = batch.ipv4.iter().map(|nlri| (nlri.prefix.into(), nlri.path_id));
    let ipv6 = batch.ipv6.iter().map(|nlri| (nlri.prefix.into(), nlri.path_id));
    ipv4.chain(ipv6).map(|(net, path_id)| match P::from_net(net) {
        Some(prefix) => Nlri { prefix, path_id },
        None => panic!("{net} is not of {}", P::FAMILY),
    })
}
