//! UPDATEs that broke other daemons, and what pipit makes of them.

use super::rfc7606::{check, check_extra, check_path, fine, two_octet, withdraw};
use super::*;
use Defect::{Length, Missing, Value};

/// Every shape of an UPDATE that broke a daemon, with what pipit makes of it.
#[test]
fn messages_that_broke_others() {
    // CVE-2023-41358 (FRR): prefixes, and not one attribute.
    let missing = |code| (code, Missing, Treatment::TreatAsWithdraw);
    check(
        &body(&[]),
        &options(),
        Ok(vec![missing(1), missing(2), missing(3)]),
    );
    // CVE-2023-46753 (FRR): nothing but an unknown transitive attribute.
    check(
        &body(&[0xc0, 99, 0]),
        &options(),
        Ok(vec![missing(1), missing(2), missing(3)]),
    );
    // CVE-2026-41642 (GoBGP): unknown without the Optional bit.
    check_extra(&[0x40, 99, 1, 0], &options(), Err(2));
    check_extra(&[0x00, 99, 0], &options(), Err(2));
    // CVE-2026-37462 (GoBGP): lengths that underflow.
    check(&[0, 0, 0, 0xff], &options(), Err(1));
    // CVE-2010-2949 (Quagga): unknown segment type.
    check_path(&[0x40, 2, 6, 0xff, 1, 0, 0, 0, 1], withdraw(2, Value));
    // CVE-2026-41643 (GoBGP): AS4_PATH longer than AS_PATH.
    check_extra(
        &[0xc0, 17, 10, 2, 2, 0, 1, 0, 0, 0, 1, 0, 1],
        &two_octet(),
        fine(),
    );
    // CVE-2026-37458 (FRR): martian next hops in MP_REACH_NLRI.
    for martian in ["::", "::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:224.0.0.1"] {
        let octets = martian.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let reach = [&[0x80, 14, 22, 0, 2, 1, 16][..], &octets, &[0, 0]].concat();
        check_extra(&reach, &options(), withdraw(14, Value));
    }
    // Corrupt insides of what we only carry: Prefix-SID (CVE-2023-31490, CVE-2024-31948), Tunnel Encapsulation
    // (CVE-2023-38802, CVE-2024-44070), entropy label (2023-06-02), attribute 255 (CVE-2019-5892), ATTR_SET.
    for code in [40, 23, 28, 255, 128, 20, 21] {
        check_extra(&[0xc0, code, 3, 1, 0xff, 0xff], &options(), fine());
        check_extra(&[0xc0, code, 0], &options(), fine());
        check_extra(&[0x80, code, 3, 1, 0xff, 0xff], &options(), fine());
    }
    // CVE-2010-1674 (Quagga): extended communities of odd length.
    check_extra(
        &[0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0],
        &options(),
        withdraw(16, Length),
    );
}

/// CVE-2023-47235 (FRR): what looks like End-of-RIB and has something wrong is none.
#[test]
fn rfc4724_2_end_of_rib_is_that_alone() {
    let items = |message: &[u8]| {
        let mut batch = UpdateBatch::default();
        decode(message, &options(), &mut batch).unwrap();
        batch.items
    };
    let end = [BatchItem::EndOfRib(Family::Ipv6Unicast)];
    assert_eq!(items(&[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]), end);
    assert_eq!(items(&[0, 0, 0, 7, 0x90, 15, 0, 3, 0, 2, 1]), end);
    assert_eq!(items(&[0, 0, 0, 6, 0xc0, 15, 3, 0, 2, 1]), []);
    let with_med = [
        &[0, 0, 0, 13, 0x80, 15, 3, 0, 2, 1][..],
        &[0x80, 4, 4, 0, 0, 0, 1],
    ]
    .concat();
    assert_eq!(items(&with_med), []);
    let with_withdrawn = items(&[0, 2, 8, 10, 0, 6, 0x80, 15, 3, 0, 2, 1]);
    assert!(matches!(with_withdrawn.as_slice(), [BatchItem::Withdraw { .. }]));
}

/// CVE-2026-49943 (BIRD), CVE-2009-1572 (Quagga): paths as long as an extended message can carry. In four octets an
/// AS the path of a 2-octet speaker may be beyond any attribute.
#[test]
fn rfc8654_a_narrow_path_too_long_for_four_octets_withdraws() {
    let path = |segments: usize| {
        let segment = [&[2u8, 255][..], &[0xfc, 0].repeat(255)].concat();
        let value = segment.repeat(segments);
        let [high, low] = (value.len() as u16).to_be_bytes();
        body(&[ORIGIN, &[0x50, 2, high, low], &value, NEXT_HOP].concat())
    };
    check(&path(64), &two_octet(), fine());
    check(&path(65), &two_octet(), withdraw(2, Length));
    check(&path(127), &two_octet(), withdraw(2, Length));
}
