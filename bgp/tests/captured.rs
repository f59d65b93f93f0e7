//! What BIRD 2.0.12, FRR 8.4.4, GoBGP 3.10.0 and OpenBGPD 7.7 sent, captured on sessions (in `fuzz/corpus`, behind the fuzz
//! targets' options): what it means to us, and that we say the same, where they keep to the canonical form in the same
//! bytes.

use std::fs;
use std::path::Path;

use pipit_bgp::wire::attr::{AttrView, Origin};
use pipit_bgp::wire::capability::Capability;
use pipit_bgp::wire::open::Open;
use pipit_bgp::wire::update::{
    BatchItem, DecodeOptions, EncodeOptions, UpdateBatch, UpdateOutcome, decode, encode_announce,
    encode_end_of_rib, encode_withdraw,
};
use pipit_bgp::{Asn, Family, FamilySet};

const FUZZ_OPTIONS: usize = 2;
const HEADER_LEN: usize = 19;

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn captured(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus/update")
        .join(name);
    fs::read(path).unwrap().split_off(FUZZ_OPTIONS)
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn decoded(name: &str, body: &[u8]) -> UpdateBatch {
    let options = DecodeOptions {
        four_octet_as: !name.contains("two-octet"),
        add_path: FamilySet::EMPTY,
        families: Family::ALL.into_iter().collect(),
        extended_next_hop: false,
        is_external: true,
    };
    let mut batch = UpdateBatch::default();
    let outcome = decode(body, &options, &mut batch).unwrap();
    assert_eq!(outcome, UpdateOutcome::default(), "{name}");
    batch
}

/// What we send for the one item that the message carries.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn encoded(name: &str, batch: &UpdateBatch) -> Vec<u8> {
    let options = EncodeOptions {
        four_octet_as: !name.contains("two-octet"),
        add_path: FamilySet::EMPTY,
        max_message_len: 4096,
    };
    let mut out = Vec::new();
    match batch.items.as_slice() {
        [
            BatchItem::Announce {
                family: Family::Ipv4Unicast,
                next_hop,
                ..
            },
        ] => {
            encode_announce(&mut out, &options, &batch.attr_bytes, *next_hop, &batch.ipv4).unwrap();
        }
        [
            BatchItem::Announce {
                family: Family::Ipv6Unicast,
                next_hop,
                ..
            },
        ] => {
            encode_announce(&mut out, &options, &batch.attr_bytes, *next_hop, &batch.ipv6).unwrap();
        }
        [
            BatchItem::Withdraw {
                family: Family::Ipv4Unicast,
                ..
            },
        ] => encode_withdraw(&mut out, &options, &batch.ipv4),
        [
            BatchItem::Withdraw {
                family: Family::Ipv6Unicast,
                ..
            },
        ] => encode_withdraw(&mut out, &options, &batch.ipv6),
        [BatchItem::EndOfRib(family)] => encode_end_of_rib(&mut out, *family),
        items => panic!("{name}: {items:?}"),
    }
    out.split_off(HEADER_LEN)
}

#[test]
fn what_bird_sends_we_would_send_in_the_same_bytes() {
    for number in 0..=8 {
        for kind in ["bird-ebgp", "bird-ebgp-two-octet"] {
            let name = format!("{kind}-{number:02}");
            let body = captured(&name);
            assert_eq!(encoded(&name, &decoded(&name, &body)), body, "{name}");
        }
    }
}

#[test]
fn rfc6793_4_2_an_old_session_with_bird_means_the_same_as_a_new_one() {
    for number in 0..=8 {
        let (new, old) = (
            format!("bird-ebgp-{number:02}"),
            format!("bird-ebgp-two-octet-{number:02}"),
        );
        assert_eq!(
            decoded(&new, &captured(&new)),
            decoded(&old, &captured(&old)),
            "{new}"
        );
    }
    let name = "bird-ebgp-two-octet-02";
    let batch = decoded(name, &captured(name));
    let view = AttrView::new(&batch.attr_bytes);
    assert_eq!(view.as_path().to_string(), "65002 64999 4200000001");
    assert_eq!(view.origin(), Origin::Egp);
    assert_eq!(batch.ipv4[0].prefix.to_string(), "10.2.3.0/24");
}

#[test]
fn bird_communities_of_all_three_kinds() {
    let name = "bird-ebgp-01";
    let batch = decoded(name, &captured(name));
    let view = AttrView::new(&batch.attr_bytes);
    assert_eq!(view.communities().collect::<Vec<_>>(), [65_002 << 16 | 100]);
    assert_eq!(view.large_communities().collect::<Vec<_>>(), [[65_002, 1, 2]]);
    let extended: Vec<&[u8]> = view.extended_communities().collect();
    assert_eq!(extended, [&[0, 2, 0xfd, 0xea, 0, 0, 0, 7]]);
    assert_eq!(batch.ipv4[0].prefix.to_string(), "10.1.0.0/16");
}

/// GoBGP puts NEXT_HOP and MP_REACH_NLRI last; the canonical form does not show it.
#[test]
fn gobgp_sends_attributes_unsorted() {
    let name = "gobgp-ebgp-00";
    let batch = decoded(name, &captured(name));
    let view = AttrView::new(&batch.attr_bytes);
    assert_eq!(
        view.iter().map(|attr| attr.code).collect::<Vec<_>>(),
        [1, 2, 4, 8]
    );
    assert_eq!(
        (view.med(), view.as_path().neighbor_as()),
        (Some(9), Some(Asn(65_002)))
    );
    let name = "gobgp-ebgp-03";
    let batch = decoded(name, &captured(name));
    assert_eq!(batch.ipv6[0].prefix.to_string(), "2001:db8:a::/48");
    assert!(
        matches!(batch.items.as_slice(), [BatchItem::Announce { facts, .. }] if facts.origin == Origin::Incomplete)
    );
}

#[test]
fn what_openbgpd_sends_we_would_send_in_the_same_bytes() {
    for number in [0, 1, 2, 4] {
        let name = format!("openbgpd-ebgp-{number:02}");
        let body = captured(&name);
        assert_eq!(encoded(&name, &decoded(&name, &body)), body, "{name}");
    }
    let batch = decoded("openbgpd-ebgp-01", &captured("openbgpd-ebgp-01"));
    let view = AttrView::new(&batch.attr_bytes);
    assert_eq!(
        (view.med(), view.as_path().to_string()),
        (Some(5), "64603".to_owned())
    );
    assert_eq!(view.communities().collect::<Vec<_>>(), [64_603 << 16 | 8]);
    assert_eq!(view.large_communities().collect::<Vec<_>>(), [[64_603, 3, 4]]);
    assert_eq!(batch.ipv4[0].prefix.to_string(), "10.104.5.0/24");
}

/// FRR puts MP_REACH_NLRI first and gives AS_PATH a long length; what we say instead means the same.
#[test]
fn what_frr_sends_means_the_same_when_we_say_it() {
    for number in 0..=4 {
        let name = format!("frr-ebgp-{number:02}");
        let batch = decoded(&name, &captured(&name));
        let again = encoded(&name, &batch);
        assert_eq!(decoded(&name, &again), batch, "{name}");
    }
    let batch = decoded("frr-ebgp-04", &captured("frr-ebgp-04"));
    let view = AttrView::new(&batch.attr_bytes);
    assert_eq!(view.as_path().to_string(), "64601 4200000001 64601");
    assert_eq!(view.med(), Some(77));
    assert_eq!(
        view.extended_communities().collect::<Vec<_>>(),
        [&[0, 2, 0xfc, 0x59, 0, 0, 0, 9]]
    );
    assert_eq!(batch.ipv4[0].prefix.to_string(), "10.102.3.0/25");
    // The session ran over IPv4, and its IPv6 next hop says so.
    let batch = decoded("frr-ebgp-01", &captured("frr-ebgp-01"));
    assert!(
        matches!(batch.items.as_slice(), [BatchItem::Announce { next_hop, .. }] if next_hop.to_string() == "::ffff:10.0.0.1")
    );
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn captured_open(name: &str) -> (Vec<u8>, Open) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus/open")
        .join(name);
    let body = fs::read(path).unwrap().split_off(1);
    let open = Open::decode(&body).unwrap();
    (body, open)
}

#[test]
fn opens_of_frr_openbgpd_and_gobgp() {
    for (name, asn, hold_time) in [
        ("frr", 64_601, 180),
        ("openbgpd", 64_603, 90),
        ("gobgp", 64_604, 90),
    ] {
        let (_, open) = captured_open(name);
        assert_eq!((open.my_as, open.hold_time), (asn as u16, hold_time), "{name}");
        let has = |wanted: Capability| assert!(open.capabilities.contains(&wanted), "{name}: {wanted:?}");
        has(Capability::FourOctetAs(Asn(asn)));
        has(Capability::RouteRefresh);
        for family in Family::ALL {
            has(Capability::Multiprotocol {
                afi: family.afi(),
                safi: family.safi(),
            });
        }
        let again = open.encode();
        assert_eq!(Open::decode(&again[HEADER_LEN..]).as_ref(), Ok(&open), "{name}");
    }
    let (_, frr) = captured_open("frr");
    assert!(frr.capabilities.contains(&Capability::Fqdn("vm".into())));
    assert!(frr.capabilities.contains(&Capability::ExtendedMessage));
}
