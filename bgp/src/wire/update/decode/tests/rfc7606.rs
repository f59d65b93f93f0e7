//! The table at the head of `wire::attr::validate`, row by row.

use super::*;
use Defect::{Duplicate, External, Flags, Length, Missing, NotForFourOctet, Overrun, Value};

/// What an UPDATE cost: its incidents, or the subcode of the NOTIFICATION.
pub(super) type Cost = Result<Vec<(u8, Defect, Treatment)>, u8>;

pub(super) fn fine() -> Cost {
    Ok(vec![])
}

pub(super) fn discard(code: u8, defect: Defect) -> Cost {
    Ok(vec![(code, defect, Treatment::Discard)])
}

pub(super) fn withdraw(code: u8, defect: Defect) -> Cost {
    Ok(vec![(code, defect, Treatment::TreatAsWithdraw)])
}

pub(super) fn internal() -> DecodeOptions {
    DecodeOptions {
        is_external: false,
        ..options()
    }
}

pub(super) fn two_octet() -> DecodeOptions {
    DecodeOptions {
        four_octet_as: false,
        ..options()
    }
}

/// Decodes into a batch that is not empty and asks that the batch bears the cost out: unchanged after an error, the
/// announced prefixes withdrawn after treat-as-withdraw, announced otherwise.
pub(super) fn check(body: &[u8], options: &DecodeOptions, expected: Cost) {
    let mut batch = UpdateBatch::default();
    decode(&with(&[]), options, &mut batch).unwrap();
    let before = batch.clone();
    let cost = match decode(body, options, &mut batch) {
        Err(error) => {
            assert_eq!(batch, before, "a failed decode leaves nothing behind");
            Err(error.subcode)
        }
        Ok(outcome) => {
            let announces = batch.items[before.items.len()..]
                .iter()
                .any(|item| matches!(item, BatchItem::Announce { .. }));
            assert_eq!(announces, !outcome.is_withdraw(), "{body:02x?} {batch:?}");
            let incidents = outcome.incidents.iter();
            Ok(incidents.map(|i| (i.code, i.defect, i.treatment)).collect())
        }
    };
    assert_eq!(cost, expected, "{body:02x?}");
}

/// An otherwise faultless UPDATE with one more attribute.
pub(super) fn check_extra(attribute: &[u8], options: &DecodeOptions, expected: Cost) {
    let path: &[u8] = if options.four_octet_as {
        PATH
    } else {
        &[0x40, 2, 4, 2, 1, 0xfc, 0]
    };
    check(
        &body(&[ORIGIN, path, NEXT_HOP, attribute].concat()),
        options,
        expected,
    );
}

pub(super) fn check_path(path: &[u8], expected: Cost) {
    check(&body(&[ORIGIN, path, NEXT_HOP].concat()), &options(), expected);
}

#[test]
fn rfc7606_3_c_flags_that_do_not_fit_the_type_withdraw() {
    check_extra(&[0x40, 4, 4, 0, 0, 0, 1], &options(), withdraw(4, Flags));
    check_extra(&[0xc0, 4, 4, 0, 0, 0, 1], &options(), withdraw(4, Flags));
    check_extra(&[0x80, 8, 4, 0, 1, 0, 2], &options(), withdraw(8, Flags));
    check_extra(&[0xc0, 6, 0], &options(), withdraw(6, Flags));
    let origin: &[u8] = &[0xc0, 1, 1, 0];
    check(
        &body(&[origin, PATH, NEXT_HOP].concat()),
        &options(),
        withdraw(1, Flags),
    );
    // The lower four bits mean nothing (RFC 4271 §4.3), Partial is not asked for.
    check_extra(&[0xff, 8, 0, 4, 0, 1, 0, 2], &options(), fine());
}

#[test]
fn rfc7606_3_d_what_must_be_beside_prefixes_and_is_not_withdraws() {
    check(
        &body(&[PATH, NEXT_HOP].concat()),
        &options(),
        withdraw(1, Missing),
    );
    check(
        &body(&[ORIGIN, NEXT_HOP].concat()),
        &options(),
        withdraw(2, Missing),
    );
    check(&body(&[ORIGIN, PATH].concat()), &options(), withdraw(3, Missing));
}

#[test]
fn rfc7606_3_g_the_first_of_a_type_counts_and_a_flood_is_one_incident() {
    let twice = [0xc0, 8, 4, 0, 1, 0, 2, 0xc0, 8, 4, 0, 1, 0, 3];
    check_extra(&twice, &options(), discard(8, Duplicate));
    check_extra(&[0xc0, 99, 0].repeat(300), &options(), discard(99, Duplicate));
    let mut batch = UpdateBatch::default();
    decode(&with(&twice), &options(), &mut batch).unwrap();
    let communities: Vec<u32> = AttrView::new(&batch.attr_bytes).communities().collect();
    assert_eq!(communities, [0x0001_0002]);
    check_extra(&[0x80, 15, 3, 0, 2, 1, 0x80, 15, 3, 0, 2, 1], &options(), Err(1));
}

#[test]
fn rfc7606_4_an_attribute_beyond_the_end_withdraws_what_the_length_still_finds() {
    check_extra(&[0xc0, 8, 200, 0], &options(), withdraw(8, Overrun));
    check_extra(&[0xc0], &options(), withdraw(0, Overrun));
    check_extra(&[0xd0, 8, 0], &options(), withdraw(8, Overrun));
    // Prefixes inside a cut multiprotocol attribute cannot be found (§3 j).
    check_extra(&[0x80, 14, 30, 0, 2, 1], &options(), Err(1));
    check_extra(&[0x80, 15, 30, 0, 2, 1], &options(), Err(1));
}

#[test]
fn rfc7606_5_2_an_error_without_reachable_prefixes_resets() {
    let update = |withdrawn: &[u8], attributes: &[u8]| {
        let len = |field: &[u8]| (field.len() as u16).to_be_bytes();
        [&len(withdrawn)[..], withdrawn, &len(attributes), attributes].concat()
    };
    let bad_origin: &[u8] = &[0x40, 1, 1, 9];
    let unreach: &[u8] = &[0x80, 15, 4, 0, 2, 1, 0];
    let outcome = |body: &[u8]| {
        let mut batch = UpdateBatch::default();
        decode(body, &options(), &mut batch)
            .map(|_| batch.items.len())
            .map_err(|error| error.subcode)
    };
    assert_eq!(outcome(&update(&[8, 10], bad_origin)), Err(1));
    assert_eq!(outcome(&update(&[], bad_origin)), Err(1));
    assert_eq!(outcome(&update(&[], &[unreach, bad_origin].concat())), Err(1));
    assert_eq!(outcome(&update(&[], &[unreach, &[0xc0][..]].concat())), Err(1));
    // What is only discarded is not such an error, nor are flags where there is nothing but MP_UNREACH_NLRI.
    assert_eq!(outcome(&update(&[8, 10], &[0x40, 6, 1, 0])), Ok(1));
    assert_eq!(outcome(&update(&[], &[0xc0, 15, 4, 0, 2, 1, 0])), Ok(1));
    // A family that is not in use has reachable prefixes all the same (AFI 25, SAFI 65).
    let foreign: &[u8] = &[0x80, 14, 7, 0, 25, 65, 0, 0, 1, 2];
    assert_eq!(outcome(&update(&[], &[foreign, bad_origin].concat())), Ok(0));
}

#[test]
fn rfc7606_7_1_origin() {
    for origin in [&[0x40, 1, 0][..], &[0x40, 1, 2, 0, 0]] {
        check(
            &body(&[origin, PATH, NEXT_HOP].concat()),
            &options(),
            withdraw(1, Length),
        );
    }
    let origin: &[u8] = &[0x40, 1, 1, 3];
    check(
        &body(&[origin, PATH, NEXT_HOP].concat()),
        &options(),
        withdraw(1, Value),
    );
}

#[test]
fn rfc7606_7_2_as_path() {
    check_path(&[0x40, 2, 0], fine());
    check_path(&[0x40, 2, 6, 1, 1, 0, 0, 0, 1], fine());
    check_path(&[0x40, 2, 6, 0, 1, 0, 0, 0, 1], withdraw(2, Value));
    check_path(&[0x40, 2, 6, 9, 1, 0, 0, 0, 1], withdraw(2, Value));
    check_path(&[0x40, 2, 2, 2, 0], withdraw(2, Length));
    check_path(&[0x40, 2, 1, 2], withdraw(2, Length));
    check_path(&[0x40, 2, 6, 2, 2, 0, 0, 0, 1], withdraw(2, Length));
    check_path(&[0x40, 2, 5, 2, 1, 0, 0, 0], withdraw(2, Length));
}

#[test]
fn rfc5065_5_confederation_segments_from_an_ordinary_peer_withdraw() {
    check_path(&[0x40, 2, 6, 3, 1, 0, 0, 0, 1], withdraw(2, Value));
    check_path(&[0x40, 2, 6, 4, 1, 0, 0, 0, 1], withdraw(2, Value));
}

#[test]
fn rfc7607_2_as_zero_is_malformed_wherever_it_stands() {
    check_path(&[0x40, 2, 6, 2, 1, 0, 0, 0, 0], withdraw(2, Value));
    check_path(&[0x40, 2, 10, 2, 2, 0, 0, 0, 1, 0, 0, 0, 0], withdraw(2, Value));
    check_extra(
        &[0xc0, 7, 8, 0, 0, 0, 0, 9, 9, 9, 9],
        &options(),
        discard(7, Value),
    );
    check_extra(&[0xc0, 7, 6, 0, 0, 9, 9, 9, 9], &two_octet(), discard(7, Value));
    check_extra(&[0xc0, 17, 6, 2, 1, 0, 0, 0, 0], &two_octet(), discard(17, Value));
    check_extra(
        &[0xc0, 18, 8, 0, 0, 0, 0, 9, 9, 9, 9],
        &two_octet(),
        discard(18, Value),
    );
}

#[test]
fn rfc7606_7_3_next_hop() {
    for next_hop in [
        &[0x40, 3, 0][..],
        &[0x40, 3, 3, 1, 2, 3],
        &[0x40, 3, 5, 1, 2, 3, 4, 5],
    ] {
        check(
            &body(&[ORIGIN, PATH, next_hop].concat()),
            &options(),
            withdraw(3, Length),
        );
    }
}

#[test]
fn rfc4271_6_3_a_next_hop_that_is_no_host_withdraws() {
    for first in [0, 127, 224, 239] {
        let next_hop: &[u8] = &[0x40, 3, 4, first, 0, 0, 1];
        check(
            &body(&[ORIGIN, PATH, next_hop].concat()),
            &options(),
            withdraw(3, Value),
        );
    }
    let broadcast: &[u8] = &[0x40, 3, 4, 255, 255, 255, 255];
    check(
        &body(&[ORIGIN, PATH, broadcast].concat()),
        &options(),
        withdraw(3, Value),
    );
}

#[test]
fn rfc7606_7_4_to_7_7_med_local_pref_atomic_aggregate_aggregator() {
    check_extra(&[0x80, 4, 3, 0, 0, 0], &options(), withdraw(4, Length));
    check_extra(&[0x40, 5, 1, 0], &internal(), withdraw(5, Length));
    // Whether that counts the RIB's import says.
    check_extra(&[0x40, 5, 4, 0, 0, 0, 1], &options(), fine());
    check_extra(&[0x40, 5, 1, 0], &options(), discard(5, External));
    check_extra(&[0x40, 6, 1, 0], &options(), discard(6, Length));
    check_extra(&[0xc0, 7, 6, 0, 1, 9, 9, 9, 9], &options(), discard(7, Length));
    check_extra(
        &[0xc0, 7, 8, 0, 0, 0, 1, 9, 9, 9, 9],
        &two_octet(),
        discard(7, Length),
    );
    check_extra(&[0xc0, 7, 0], &options(), discard(7, Length));
}

#[test]
fn rfc7606_7_8_and_7_14_to_7_15_community_lists() {
    for (code, unit) in [(8, 4), (16, 8), (25, 20), (32, 12)] {
        check_extra(&[0xc0, code, 0], &options(), withdraw(code, Length));
        for len in [unit - 1, unit + 1] {
            let attribute = [vec![0xc0, code, len], vec![1; usize::from(len)]].concat();
            check_extra(&attribute, &options(), withdraw(code, Length));
        }
        let attribute = [vec![0xc0, code, unit], vec![1; usize::from(unit)]].concat();
        check_extra(&attribute, &options(), fine());
    }
}

#[test]
fn rfc7606_7_9_and_7_10_reflection_attributes() {
    check_extra(&[0x80, 9, 3, 1, 1, 1], &internal(), withdraw(9, Length));
    check_extra(&[0x80, 10, 5, 1, 1, 1, 1, 1], &internal(), withdraw(10, Length));
    check_extra(&[0x80, 10, 0], &internal(), withdraw(10, Length));
    check_extra(&[0x80, 9, 4, 1, 1, 1, 1], &options(), discard(9, External));
    check_extra(&[0x80, 10, 5, 1, 1, 1, 1, 1], &options(), discard(10, External));
}

#[test]
fn rfc7606_5_3_and_7_11_prefixes_that_cannot_be_found_reset() {
    // MP_REACH_NLRI: no room for AFI, SAFI, next hop length and reserved octet.
    check_extra(&[0x80, 14, 4, 0, 2, 1, 0], &options(), Err(9));
    check_extra(&[0x80, 14, 0], &options(), Err(9));
    // Next hop lengths that IPv6 does not have, cut ones, and IPv6 ones where RFC 8950 was not negotiated.
    check_extra(&[0x80, 14, 9, 0, 2, 1, 4, 1, 2, 3, 4, 0], &options(), Err(9));
    check_extra(&[0x80, 14, 6, 0, 2, 1, 16, 0, 0], &options(), Err(9));
    let ipv4_by_ipv6 = [&[0x80, 14, 23, 0, 1, 1, 16][..], &[0x20; 16], &[0, 8, 11]].concat();
    check_extra(&ipv4_by_ipv6, &options(), Err(9));
    let extended = DecodeOptions {
        extended_next_hop: true,
        ..options()
    };
    check_extra(&ipv4_by_ipv6, &extended, fine());
    // The field of prefixes itself.
    let reach = |nlri: &[u8]| {
        [
            &[0x80, 14, 21 + nlri.len() as u8, 0, 2, 1, 16][..],
            &[0x20; 16],
            &[0],
            nlri,
        ]
        .concat()
    };
    check_extra(&reach(&[129]), &options(), Err(9));
    check_extra(&reach(&[64, 1, 2]), &options(), Err(9));
    check_extra(&[0x80, 15, 2, 0, 2], &options(), Err(9));
    check_extra(&[0x80, 15, 4, 0, 2, 1, 129], &options(), Err(9));
    check(
        &[with(&[]), vec![33, 1, 2, 3, 4, 5]].concat(),
        &options(),
        Err(10),
    );
    check(&[with(&[]), vec![32, 1]].concat(), &options(), Err(10));
    let add_path = DecodeOptions {
        add_path: FamilySet::only(Family::Ipv4Unicast),
        ..options()
    };
    let cut_id = [&with(&[])[..with(&[]).len() - 2], &[0, 0, 1]].concat();
    let mut batch = UpdateBatch::default();
    assert_eq!(
        decode(&cut_id, &add_path, &mut batch).map_err(|e| e.subcode),
        Err(10)
    );
}

#[test]
fn rfc4271_6_3_the_notification_quotes_the_attribute_at_fault() {
    let data = |attribute: &[u8]| {
        let error = decode(&with(attribute), &options(), &mut UpdateBatch::default()).unwrap_err();
        (error.subcode, error.data)
    };
    let unreach = [0x80, 15, 4, 0, 2, 1, 129];
    assert_eq!(data(&unreach), (9, unreach.to_vec()));
    let unknown = [0x40, 99, 1, 0];
    assert_eq!(data(&unknown), (2, unknown.to_vec()));
}

#[test]
fn rfc4760_6_families_not_in_use_are_passed_over_whatever_is_in_them() {
    // Flowspec, EVPN, labelled unicast, and IPv6 where it was not negotiated (CVE-2023-38406, -38407, -41909,
    // CVE-2026-5107, -37457): lengths inside must not matter.
    for (afi, safi) in [(1, 133), (25, 70), (1, 4), (2, 1)] {
        let ipv4_only = DecodeOptions {
            families: FamilySet::only(Family::Ipv4Unicast),
            ..options()
        };
        check_extra(&[0x80, 14, 7, 0, afi, safi, 200, 0, 255, 255], &ipv4_only, fine());
        check_extra(&[0x80, 15, 5, 0, afi, safi, 255, 0], &ipv4_only, fine());
    }
    // Classic prefixes where IPv4 is not in use are checked, and leave nothing.
    let ipv6_only = DecodeOptions {
        families: FamilySet::only(Family::Ipv6Unicast),
        ..options()
    };
    let mut batch = UpdateBatch::default();
    decode(&with(&[]), &ipv6_only, &mut batch).unwrap();
    decode(&[0, 0, 0, 0], &ipv6_only, &mut batch).unwrap();
    assert_eq!(batch, UpdateBatch::default());
}

#[test]
fn rfc4760_3_next_hop_counts_only_for_classic_prefixes() {
    let reach = [&[0x80, 14, 22, 0, 2, 1, 16][..], &[0x20; 16], &[0, 0]].concat();
    let martian: &[u8] = &[0x40, 3, 4, 127, 0, 0, 1];
    let mut message = body(&[ORIGIN, PATH, martian, &reach].concat());
    message.truncate(message.len() - 2);
    check(&message, &options(), fine());
}

#[test]
fn rfc9234_5_otc_and_rfc7311_3_aigp() {
    check_extra(&[0xc0, 35, 3, 0, 0, 0], &options(), withdraw(35, Length));
    check_extra(
        &[0xc0, 35, 8, 0, 0, 0, 1, 0, 0, 0, 1],
        &options(),
        withdraw(35, Length),
    );
    check_extra(&[0xc0, 35, 4, 0, 0, 0xfc, 0], &options(), fine());
    let aigp = [0x80, 26, 11, 1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9];
    check_extra(&aigp, &internal(), fine());
    check_extra(&aigp, &options(), discard(26, External));
    check_extra(&[&[0xc0], &aigp[1..]].concat(), &internal(), discard(26, Flags));
    // CVE-2023-41359: a TLV that runs past the attribute, one shorter than its head, one without an end.
    for value in [&[1, 0, 200, 0][..], &[1, 0, 2], &[1, 0, 0], &[1, 0], &[]] {
        let attribute = [&[0x80, 26, value.len() as u8], value].concat();
        check_extra(&attribute, &internal(), discard(26, Length));
    }
}

#[test]
fn rfc6793_6_as4_attributes() {
    check_extra(
        &[0xc0, 17, 6, 2, 1, 0, 0, 0, 1],
        &options(),
        discard(17, NotForFourOctet),
    );
    let aggregator = [0xc0, 18, 8, 0, 0, 0, 1, 9, 9, 9, 9];
    check_extra(&aggregator, &options(), discard(18, NotForFourOctet));
    check_extra(&aggregator, &two_octet(), fine());
    check_extra(&[0xc0, 17, 3, 2, 1, 0], &two_octet(), discard(17, Length));
    check_extra(&[0xc0, 17, 0], &two_octet(), discard(17, Length));
    check_extra(
        &[0xc0, 18, 6, 0, 0, 0, 1, 9, 9],
        &two_octet(),
        discard(18, Length),
    );
    check_extra(&[0xc0, 17, 6, 3, 1, 0, 0, 0, 1], &two_octet(), discard(17, Value));
}

#[test]
fn rfc4271_6_3_lengths_of_the_message_itself() {
    for message in [
        &[][..],
        &[0],
        &[0, 9, 0],
        &[0, 0],
        &[0, 0, 0, 9, 0],
        &[0xff, 0xff, 0, 0],
    ] {
        check(message, &options(), Err(1));
    }
}
