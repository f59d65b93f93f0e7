//! RFC 7606, attribute by attribute: what one that is not as it should be costs, seen from the other side of pipit.
//!
//! Here those that every route has, and what holds for all; the others in `optional`.

mod optional;

use crate::bench::{NODE, OURS};
use crate::message::{
    AS_PATH, Attributes, COMMUNITIES, EXTENDED, NEXT_HOP, ORIGIN, PARTIAL, TRANSITIVE, WELL_KNOWN,
    narrow_segment, path, segment,
};
use crate::stage::{From, Stage};

use From::{External, Internal};

/// What becomes of the route.
enum Fate {
    /// Treated as withdrawn.
    Withdrawn,
    /// Handed on without the attribute of this type.
    Without(u8),
    /// Handed on with exactly this attribute.
    With(u8, u8, Vec<u8>),
    /// Handed on.
    HandedOn,
}

use Fate::{HandedOn, With, Withdrawn, Without};

/// What is sent, who sends it, what is done to a good route's attributes, and what comes of it.
type Case = (&'static str, From, Box<dyn Fn(&mut Attributes)>, Fate);

/// Runs cases one after another, each on a prefix of its own that was good before.
fn run(number: u8, cases: Vec<Case>) {
    let mut stage = Stage::new();
    for (at, (what, from, spoil, fate)) in cases.into_iter().enumerate() {
        let prefix = format!("60.{number}.{at}.0/24");
        stage.begin(from, &prefix, what);
        let mut attributes = stage.sender(from).attributes(2);
        spoil(&mut attributes);
        stage.send(from, &attributes, &prefix);
        match fate {
            Withdrawn => stage.withdrawn(&prefix, what),
            HandedOn => drop(stage.handed_on(&prefix, what)),
            Without(code) => {
                for route in stage.handed_on(&prefix, what) {
                    let found = route.attributes.get(&code);
                    assert!(found.is_none(), "{what}: {found:02x?}");
                }
            }
            With(flags, code, value) => {
                for route in stage.handed_on(&prefix, what) {
                    let expected = Some(&(flags, value.clone()));
                    assert_eq!(route.attributes.get(&code), expected, "{what}");
                }
            }
        }
        stage.settle(from, what);
    }
    stage.unharmed();
}

/// A case in which one attribute stands in the good one's place.
fn one(what: &'static str, from: From, flags: u8, code: u8, value: &[u8], fate: Fate) -> Case {
    let value = value.to_vec();
    any(
        what,
        from,
        move |attributes| attributes.set(flags, code, &value),
        fate,
    )
}

fn any(
    what: &'static str,
    from: From,
    spoil: impl Fn(&mut Attributes) -> &mut Attributes + 'static,
    fate: Fate,
) -> Case {
    let spoil = move |attributes: &mut Attributes| {
        spoil(attributes);
    };
    (what, from, Box::new(spoil), fate)
}

#[test]
fn rfc7606_7_1_origin() {
    let bad = |what, flags, value: &[u8]| one(what, External, flags, ORIGIN, value, Withdrawn);
    run(
        1,
        vec![
            bad("ORIGIN of no octet", WELL_KNOWN, &[]),
            bad("ORIGIN of two octets", WELL_KNOWN, &[0, 0]),
            bad("ORIGIN 3", WELL_KNOWN, &[3]),
            bad("ORIGIN 255", WELL_KNOWN, &[255]),
            bad("optional ORIGIN", TRANSITIVE, &[0]),
            bad("non-transitive ORIGIN", 0, &[0]),
            one(
                "ORIGIN 2",
                External,
                WELL_KNOWN,
                ORIGIN,
                &[2],
                With(WELL_KNOWN, ORIGIN, vec![2]),
            ),
            one(
                "unused bits",
                External,
                WELL_KNOWN | 0x0f,
                ORIGIN,
                &[0],
                With(WELL_KNOWN, ORIGIN, vec![0]),
            ),
            one(
                "two octets of length",
                External,
                WELL_KNOWN | EXTENDED,
                ORIGIN,
                &[1],
                HandedOn,
            ),
            any("no ORIGIN", External, |a| a.remove(ORIGIN), Withdrawn),
            any("no ORIGIN inside", Internal, |a| a.remove(ORIGIN), Withdrawn),
        ],
    );
}

#[test]
fn rfc7606_7_2_as_path() {
    let asn = 65_001;
    let bad = |what, value: &[u8]| one(what, External, WELL_KNOWN, AS_PATH, value, Withdrawn);
    let good = path(&[asn, 2]);
    let beside = |kind, more: &[u32]| [segment(kind, more), path(&[asn, 2])].concat();
    run(
        2,
        vec![
            bad("segment type 0", &segment(0, &[asn, 2])),
            bad("segment type 5", &segment(5, &[asn, 2])),
            bad("a segment past the end", &[&[2, 3][..], &good[2..]].concat()),
            bad("octets behind the last segment", &[&good[..], &[0]].concat()),
            bad(
                "a segment head behind the last one",
                &[&good[..], &[2, 0]].concat(),
            ),
            bad("an empty segment", &[&[2, 0][..], &good].concat()),
            bad("two octets an AS", &narrow_segment(2, &[asn as u16, 2])),
            bad("one octet", &[2]),
            bad("AS 0", &path(&[asn, 0, 2])),
            bad("confederation sequence", &beside(3, &[65_100])),
            bad("confederation set", &beside(4, &[65_100])),
            bad("our own AS", &path(&[asn, OURS, 2])),
            bad(
                "our own AS in a set",
                &[path(&[asn]), segment(1, &[7, OURS])].concat(),
            ),
            one(
                "optional AS_PATH",
                External,
                TRANSITIVE,
                AS_PATH,
                &good,
                Withdrawn,
            ),
            any("no AS_PATH", External, |a| a.remove(AS_PATH), Withdrawn),
            any("no AS_PATH inside", Internal, |a| a.remove(AS_PATH), Withdrawn),
            one(
                "two sequences",
                External,
                WELL_KNOWN,
                AS_PATH,
                &[path(&[asn]), path(&[9, 2])].concat(),
                HandedOn,
            ),
            one(
                "four octets",
                External,
                WELL_KNOWN,
                AS_PATH,
                &path(&[asn, 4_200_000_001, 2]),
                HandedOn,
            ),
        ],
    );
}

#[test]
fn rfc7606_7_3_next_hop() {
    let bad = |what, from, value: &[u8]| one(what, from, WELL_KNOWN, NEXT_HOP, value, Withdrawn);
    run(
        3,
        vec![
            bad("NEXT_HOP of no octet", External, &[]),
            bad("NEXT_HOP of three octets", External, &[10, 97, 1]),
            bad("NEXT_HOP of five octets", External, &[10, 97, 1, 10, 0]),
            bad("NEXT_HOP of sixteen octets", External, &[0; 16]),
            bad("next hop 0.0.0.0", External, &[0; 4]),
            bad("next hop 0.1.2.3", External, &[0, 1, 2, 3]),
            bad("a multicast next hop", External, &[224, 0, 0, 5]),
            bad("a loopback next hop", External, &[127, 3, 2, 1]),
            bad("a class E next hop", External, &[240, 0, 0, 1]),
            bad("a broadcast next hop", External, &[255; 4]),
            bad("our own address", External, &NODE.octets()),
            bad("our own address, from inside", Internal, &NODE.octets()),
            one(
                "optional NEXT_HOP",
                External,
                TRANSITIVE,
                NEXT_HOP,
                &[10, 97, 1, 10],
                Withdrawn,
            ),
            any("no NEXT_HOP", External, |a| a.remove(NEXT_HOP), Withdrawn),
            any("no attribute at all", External, |a| a.clear(), Withdrawn),
            any("no attribute at all, inside", Internal, |a| a.clear(), Withdrawn),
            one(
                "a third party",
                External,
                WELL_KNOWN,
                NEXT_HOP,
                &[10, 97, 1, 99],
                HandedOn,
            ),
        ],
    );
}

#[test]
fn rfc7606_3_g_of_two_of_a_type_the_first_counts() {
    let twice = |what, flags, code, value: &'static [u8]| {
        any(what, External, move |a| a.add(flags, code, value), HandedOn)
    };
    run(
        11,
        vec![
            twice("two ORIGINs", WELL_KNOWN, ORIGIN, &[2]),
            twice("a second ORIGIN that is malformed", WELL_KNOWN, ORIGIN, &[7, 7]),
            twice("two AS_PATHs", WELL_KNOWN, AS_PATH, &[2, 1, 0, 0, 0, 9]),
            twice(
                "a second AS_PATH that is malformed",
                WELL_KNOWN,
                AS_PATH,
                &[2, 9, 0],
            ),
            twice("two NEXT_HOPs", WELL_KNOWN, NEXT_HOP, &[127, 0, 0, 1]),
            any(
                "two COMMUNITIES",
                External,
                |a| {
                    a.add(TRANSITIVE, COMMUNITIES, &[1; 4])
                        .add(TRANSITIVE, COMMUNITIES, &[2; 4])
                },
                With(TRANSITIVE, COMMUNITIES, vec![1; 4]),
            ),
            any(
                "a good second COMMUNITIES",
                External,
                |a| {
                    a.add(TRANSITIVE, COMMUNITIES, &[1; 3])
                        .add(TRANSITIVE, COMMUNITIES, &[2; 4])
                },
                Withdrawn,
            ),
            any(
                "two unknown ones",
                External,
                |a| a.add(TRANSITIVE, 99, &[1]).add(TRANSITIVE, 99, &[2]),
                With(TRANSITIVE | PARTIAL, 99, vec![1]),
            ),
            any("the order reversed", External, |a| a.reverse(), HandedOn),
        ],
    );
}

#[test]
fn rfc7606_4_attributes_that_run_past_the_end_cost_their_routes() {
    let tail = |what, tail: &'static [u8]| any(what, External, move |a| a.append(tail), Withdrawn);
    run(
        12,
        vec![
            tail("an attribute past the end", &[TRANSITIVE, 99, 5, 1, 2]),
            tail(
                "a known attribute past the end",
                &[TRANSITIVE, COMMUNITIES, 8, 0, 0, 0, 1],
            ),
            tail(
                "an attribute of 65,535 octets",
                &[TRANSITIVE | EXTENDED, 99, 0xff, 0xff, 1],
            ),
            tail("one octet of a header", &[TRANSITIVE]),
            tail("two octets of a header", &[TRANSITIVE, 99]),
            tail(
                "three octets of a header of four",
                &[TRANSITIVE | EXTENDED, 99, 0],
            ),
            tail("nought", &[0]),
        ],
    );
}
