//! Two- and four-octet AS numbers side by side (RFC 6793 §4.2): pipit keeps four, an old peer speaks two.
//!
//! ```text
//! from an old peer:  AS_PATH (2) + AS4_PATH        -> AS_PATH (4)      widen, merge
//!                    AGGREGATOR (2) + AS4_AGGREGATOR -> AGGREGATOR (4)
//! to an old peer:    AS_PATH (4) -> AS_PATH (2) + AS4_PATH             narrow
//! ```

use crate::asn::Asn;
use crate::wire::attr::as_path::{
    AS_CONFED_SEQUENCE, AS_CONFED_SET, AS_SEQUENCE, AS_SET, AsPathView, Segment, be32, put_segment,
};

/// The 4-octet path that an old peer's AS_PATH and AS4_PATH mean together (RFC 6793 §4.2.3). Both are well-formed.
pub(crate) fn merge(narrow: &[u8], as4_path: Option<&[u8]>) -> Vec<u8> {
    let widened = widen(narrow);
    let Some(wide) = as4_path.map(AsPathView::new) else {
        return widened;
    };
    let (all, known) = (counted_len(AsPathView::new(&widened)), counted_len(wide));
    // A shorter AS_PATH has been cut since: AS4_PATH speaks of another path.
    let Some(mut missing) = all.checked_sub(known) else {
        return widened;
    };
    let mut merged = Vec::with_capacity(widened.len());
    // Where the last segment starts as long as it is a sequence that can grow.
    let mut last_sequence = None;
    for segment in AsPathView::new(&widened).segments() {
        if missing == 0 {
            break;
        }
        let taken = match segment.kind {
            AS_SEQUENCE => segment.len().min(missing),
            _ => segment.len(),
        };
        last_sequence = (segment.kind == AS_SEQUENCE).then_some(merged.len());
        put_segment(segment.kind, segment.members().take(taken), &mut merged);
        missing -= if segment.kind == AS_SEQUENCE { taken } else { 1 };
    }
    for segment in wide.segments().filter(|segment| !is_confederation(segment.kind)) {
        join(segment, &mut last_sequence, &mut merged);
    }
    merged
}

/// Whether RFC 6793 §6 wants a segment left out of AS4_PATH.
pub(crate) fn is_confederation(kind: u8) -> bool {
    matches!(kind, AS_CONFED_SEQUENCE | AS_CONFED_SET)
}

/// Appends a segment. Adjoining sequences become one while its count, one octet, can hold them, so that a path reads
/// the same however its parts travelled.
fn join(segment: Segment<'_>, last_sequence: &mut Option<usize>, path: &mut Vec<u8>) {
    let room = last_sequence.map(|at| usize::from(u8::MAX - path[at + 1]));
    match (*last_sequence, room) {
        (Some(at), Some(room)) if segment.kind == AS_SEQUENCE && segment.len() <= room => {
            path[at + 1] += segment.len() as u8;
            segment
                .members()
                .for_each(|asn| path.extend_from_slice(&asn.0.to_be_bytes()));
        }
        _ => put_segment(segment.kind, segment.members(), path),
    }
    // Only the seam is joined: segments of AS4_PATH stay as they came.
    *last_sequence = None;
}

fn widen(mut narrow: &[u8]) -> Vec<u8> {
    let mut wide = Vec::with_capacity(narrow.len() * 2);
    while let [kind, count, rest @ ..] = narrow {
        let (members, after) = rest.split_at(usize::from(*count) * 2);
        wide.extend_from_slice(&[*kind, *count]);
        members
            .chunks_exact(2)
            .for_each(|asn| wide.extend_from_slice(&[0, 0, asn[0], asn[1]]));
        narrow = after;
    }
    wide
}

/// ASes as RFC 6793 §4.2.3 counts them: a set is one, confederation segments are none.
fn counted_len(path: AsPathView<'_>) -> usize {
    path.segments()
        .map(|segment| match segment.kind {
            AS_SEQUENCE => segment.len(),
            AS_SET => 1,
            _ => 0,
        })
        .sum()
}

/// The path in two octets an AS, appended to `out`. Says whether something did not fit and an AS4_PATH is due.
pub(crate) fn narrow_path(wide: &[u8], out: &mut Vec<u8>) -> bool {
    let mut is_lossy = false;
    for segment in AsPathView::new(wide).segments() {
        out.extend_from_slice(&[segment.kind, segment.len() as u8]);
        for asn in segment.members() {
            is_lossy |= !fits(asn);
            out.extend_from_slice(&asn.to_two_octets().to_be_bytes());
        }
    }
    is_lossy
}

/// The six octets of AGGREGATOR for an old peer, and whether an AS4_AGGREGATOR is due.
pub(crate) fn narrow_aggregator(wide: &[u8]) -> ([u8; 6], bool) {
    let asn = Asn(be32(wide));
    let mut narrow = [0; 6];
    narrow[..2].copy_from_slice(&asn.to_two_octets().to_be_bytes());
    let address = wide.get(4..8).unwrap_or(&[0; 4]);
    narrow[2..].copy_from_slice(address);
    (narrow, !fits(asn))
}

fn fits(asn: Asn) -> bool {
    asn.0 <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow(segments: &[(u8, &[u16])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, members) in segments {
            out.extend([*kind, members.len() as u8]);
            members.iter().for_each(|asn| out.extend(asn.to_be_bytes()));
        }
        out
    }

    fn wide(segments: &[(u8, &[u32])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, members) in segments {
            put_segment(*kind, members.iter().map(|&asn| Asn(asn)), &mut out);
        }
        out
    }

    fn check(path: &[(u8, &[u16])], as4_path: &[(u8, &[u32])], expected: &str) {
        let merged = merge(&narrow(path), Some(&wide(as4_path)));
        assert_eq!(AsPathView::new(&merged).to_string(), expected);
    }

    #[test]
    fn rfc6793_4_2_3_as_many_ases_lead_as_as4_path_lacks() {
        let tail: &[(u8, &[u32])] = &[(AS_SEQUENCE, &[65536, 65537])];
        check(&[(AS_SEQUENCE, &[7, 23456, 23456])], tail, "7 65536 65537");
        check(&[(AS_SEQUENCE, &[23456, 23456])], tail, "65536 65537");
        check(&[(AS_SEQUENCE, &[23456, 8])], &[], "23456 8");
        assert_eq!(
            merge(&narrow(&[(AS_SEQUENCE, &[9])]), None),
            wide(&[(AS_SEQUENCE, &[9])])
        );
    }

    #[test]
    fn rfc6793_4_2_3_a_longer_as4_path_is_ignored() {
        check(&[(AS_SEQUENCE, &[7])], &[(AS_SEQUENCE, &[1, 2])], "7");
        // CVE-2026-41643: the index that the merge starts at must not run below nought.
        check(&[], &[(AS_SEQUENCE, &[1, 2])], "");
    }

    #[test]
    fn rfc6793_4_2_3_a_set_counts_as_one_in_both() {
        check(
            &[(AS_SET, &[1, 2]), (AS_SEQUENCE, &[3, 23456])],
            &[(AS_SEQUENCE, &[3, 65536])],
            "{1,2} 3 65536",
        );
        check(
            &[(AS_SEQUENCE, &[7, 23456]), (AS_SET, &[5, 6])],
            &[(AS_SEQUENCE, &[65536]), (AS_SET, &[5, 70000])],
            "7 65536 {5,70000}",
        );
    }

    #[test]
    fn rfc6793_6_confederation_segments_of_as4_path_are_left_out() {
        check(
            &[(AS_SEQUENCE, &[7, 23456])],
            &[(AS_CONFED_SEQUENCE, &[65001, 65002]), (AS_SEQUENCE, &[65536])],
            "7 65536",
        );
        check(&[(AS_SEQUENCE, &[7, 8])], &[(AS_CONFED_SET, &[65001])], "7 8");
    }

    #[test]
    fn a_seam_at_255_and_256_ases_keeps_every_one() {
        for count in [254u16, 255] {
            let lead: Vec<u16> = (1..=count).chain([23456]).collect();
            let segments: Vec<(u8, &[u16])> = lead.chunks(255).map(|part| (AS_SEQUENCE, part)).collect();
            let merged = merge(&narrow(&segments), Some(&wide(&[(AS_SEQUENCE, &[65536])])));
            let asns: Vec<u32> = AsPathView::new(&merged).asns().map(|Asn(asn)| asn).collect();
            let expected: Vec<u32> = (1..=u32::from(count)).chain([65536]).collect();
            assert_eq!(asns, expected);
            let segments = AsPathView::new(&merged).segments().count();
            assert_eq!(segments, usize::from(count == 255) + 1);
        }
    }

    #[test]
    fn rfc6793_4_2_2_what_fits_needs_no_as4_attribute() {
        let mut out = Vec::new();
        assert!(!narrow_path(
            &wide(&[(AS_SEQUENCE, &[65535]), (AS_SET, &[1])]),
            &mut out
        ));
        assert_eq!(out, narrow(&[(AS_SEQUENCE, &[65535]), (AS_SET, &[1])]));
        out.clear();
        assert!(narrow_path(&wide(&[(AS_SEQUENCE, &[65536, 7])]), &mut out));
        assert_eq!(out, narrow(&[(AS_SEQUENCE, &[23456, 7])]));
        assert_eq!(
            narrow_aggregator(&[0, 0, 1, 2, 9, 8, 7, 6]),
            ([1, 2, 9, 8, 7, 6], false)
        );
        assert_eq!(
            narrow_aggregator(&[0, 1, 0, 0, 9, 8, 7, 6]),
            ([0x5b, 0xa0, 9, 8, 7, 6], true)
        );
    }
}
