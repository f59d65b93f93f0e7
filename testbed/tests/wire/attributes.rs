//! RFC 7606, attribute by attribute: what one that is not as it should be costs, seen from the other side of pipit.

use crate::bench::{NODE, OURS};
use crate::message::{
    AGGREGATOR, AIGP, AS_PATH, AS4_AGGREGATOR, AS4_PATH, ATOMIC_AGGREGATE, Attributes, CLUSTER_LIST,
    COMMUNITIES, EXTENDED, EXTENDED_COMMUNITIES, IPV6_EXTENDED_COMMUNITIES, LARGE_COMMUNITIES, LOCAL_PREF,
    MED, NEXT_HOP, OPTIONAL, ORIGIN, ORIGINATOR_ID, OTC, PARTIAL, TRANSITIVE, WELL_KNOWN, narrow_segment,
    path, segment,
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
    let spoil = move |attributes: &mut Attributes| drop(attributes.set(flags, code, &value));
    (what, from, Box::new(spoil), fate)
}

fn any(what: &'static str, from: From, spoil: impl Fn(&mut Attributes) + 'static, fate: Fate) -> Case {
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
            any("no ORIGIN", External, |a| drop(a.remove(ORIGIN)), Withdrawn),
            any(
                "no ORIGIN inside",
                Internal,
                |a| drop(a.remove(ORIGIN)),
                Withdrawn,
            ),
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
            any("no AS_PATH", External, |a| drop(a.remove(AS_PATH)), Withdrawn),
            any(
                "no AS_PATH inside",
                Internal,
                |a| drop(a.remove(AS_PATH)),
                Withdrawn,
            ),
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
            any("no NEXT_HOP", External, |a| drop(a.remove(NEXT_HOP)), Withdrawn),
            any(
                "no attribute at all",
                External,
                |a| *a = Attributes::default(),
                Withdrawn,
            ),
            any(
                "no attribute at all, inside",
                Internal,
                |a| *a = Attributes::default(),
                Withdrawn,
            ),
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
fn rfc7606_7_4_to_7_7_med_local_pref_and_aggregation() {
    let med = |what, flags, value: &[u8]| one(what, External, flags, MED, value, Withdrawn);
    let pref = |what, value: &[u8]| one(what, Internal, WELL_KNOWN, LOCAL_PREF, value, Withdrawn);
    let discarded = |what, flags, code, value: &[u8]| one(what, External, flags, code, value, Without(code));
    let aggregator = [0, 1, 0, 1, 10, 9, 8, 7];
    run(
        4,
        vec![
            med("MED of no octet", OPTIONAL, &[]),
            med("MED of three octets", OPTIONAL, &[0; 3]),
            med("MED of five octets", OPTIONAL, &[0; 5]),
            med("well-known MED", WELL_KNOWN, &[0; 4]),
            med("transitive MED", TRANSITIVE, &[0; 4]),
            pref("LOCAL_PREF of no octet", &[]),
            pref("LOCAL_PREF of three octets", &[0; 3]),
            pref("LOCAL_PREF of eight octets", &[0; 8]),
            one(
                "optional LOCAL_PREF",
                Internal,
                TRANSITIVE,
                LOCAL_PREF,
                &[0; 4],
                Withdrawn,
            ),
            one(
                "LOCAL_PREF from outside",
                External,
                WELL_KNOWN,
                LOCAL_PREF,
                &[0, 0, 9, 9],
                HandedOn,
            ),
            one(
                "LOCAL_PREF of three octets from outside",
                External,
                WELL_KNOWN,
                LOCAL_PREF,
                &[0; 3],
                HandedOn,
            ),
            discarded("ATOMIC_AGGREGATE of an octet", WELL_KNOWN, ATOMIC_AGGREGATE, &[0]),
            one(
                "ATOMIC_AGGREGATE",
                External,
                WELL_KNOWN,
                ATOMIC_AGGREGATE,
                &[],
                With(WELL_KNOWN, ATOMIC_AGGREGATE, vec![]),
            ),
            one(
                "optional ATOMIC_AGGREGATE",
                External,
                TRANSITIVE,
                ATOMIC_AGGREGATE,
                &[],
                Withdrawn,
            ),
            discarded("AGGREGATOR of no octet", TRANSITIVE, AGGREGATOR, &[]),
            discarded(
                "AGGREGATOR of six octets",
                TRANSITIVE,
                AGGREGATOR,
                &[0, 1, 10, 9, 8, 7],
            ),
            discarded("AGGREGATOR of nine octets", TRANSITIVE, AGGREGATOR, &[1; 9]),
            discarded(
                "AGGREGATOR of AS 0",
                TRANSITIVE,
                AGGREGATOR,
                &[0, 0, 0, 0, 10, 9, 8, 7],
            ),
            one(
                "AGGREGATOR",
                External,
                TRANSITIVE,
                AGGREGATOR,
                &aggregator,
                With(TRANSITIVE, AGGREGATOR, aggregator.to_vec()),
            ),
            one(
                "non-transitive AGGREGATOR",
                External,
                OPTIONAL,
                AGGREGATOR,
                &aggregator,
                Withdrawn,
            ),
            discarded("AS4_PATH from a new speaker", TRANSITIVE, AS4_PATH, &path(&[7])),
            discarded("AS4_PATH of garbage", TRANSITIVE, AS4_PATH, &[9, 9, 9]),
            discarded(
                "AS4_AGGREGATOR from a new speaker",
                TRANSITIVE,
                AS4_AGGREGATOR,
                &aggregator,
            ),
            discarded(
                "AS4_AGGREGATOR of seven octets",
                TRANSITIVE,
                AS4_AGGREGATOR,
                &aggregator[..7],
            ),
        ],
    );
}

#[test]
fn rfc7606_7_8_to_7_15_communities() {
    let mut cases = Vec::new();
    let lists = [
        (COMMUNITIES, 4),
        (EXTENDED_COMMUNITIES, 8),
        (LARGE_COMMUNITIES, 12),
        (IPV6_EXTENDED_COMMUNITIES, 20),
    ];
    for (code, unit) in lists {
        for from in [External, Internal] {
            for len in [0, 1, unit - 1, unit + 1, 2 * unit + unit / 2] {
                cases.push(one(
                    "a list of a wrong length",
                    from,
                    TRANSITIVE,
                    code,
                    &vec![0; len],
                    Withdrawn,
                ));
            }
        }
        // Values count up, so that none is there twice and none is non-transitive.
        let value: Vec<u8> = (0..70).flat_map(|n| vec![n / 3 + 1; unit]).collect();
        let value = &value[..unit];
        cases.push(one(
            "a good list",
            External,
            TRANSITIVE,
            code,
            value,
            With(TRANSITIVE, code, value.to_vec()),
        ));
        let partial = TRANSITIVE | PARTIAL;
        cases.push(one(
            "a partial list",
            Internal,
            partial,
            code,
            value,
            With(partial, code, value.to_vec()),
        ));
        cases.push(one(
            "a well-known list",
            External,
            WELL_KNOWN,
            code,
            value,
            Withdrawn,
        ));
        cases.push(one(
            "a non-transitive list",
            Internal,
            OPTIONAL,
            code,
            value,
            Withdrawn,
        ));
    }
    run(5, cases);
}

#[test]
fn communities_at_and_beyond_255_octets_arrive_whole() {
    let mut cases = Vec::new();
    for count in [63u32, 64, 65, 250, 900] {
        let value: Vec<u8> = (1..=count)
            .flat_map(|n| (0xfde8_0000 + n).to_be_bytes())
            .collect();
        cases.push(one(
            "a long list",
            External,
            TRANSITIVE,
            COMMUNITIES,
            &value,
            With(TRANSITIVE, COMMUNITIES, value.clone()),
        ));
    }
    for count in [21u32, 22, 300] {
        let value: Vec<u8> = (1..=count)
            .flat_map(|n| [[0, 0, 0, 9], [0; 4], n.to_be_bytes()].concat())
            .collect();
        cases.push(one(
            "a long large list",
            Internal,
            TRANSITIVE,
            LARGE_COMMUNITIES,
            &value,
            With(TRANSITIVE, LARGE_COMMUNITIES, value.clone()),
        ));
    }
    let twice = [[0, 0, 0, 1u8], [0; 4], [0, 0, 0, 2]].concat().repeat(2);
    cases.push(one(
        "a large community twice",
        External,
        TRANSITIVE,
        LARGE_COMMUNITIES,
        &twice,
        With(TRANSITIVE, LARGE_COMMUNITIES, twice[..12].to_vec()),
    ));
    run(6, cases);
}

#[test]
fn rfc7606_7_9_and_7_10_reflection() {
    let bad = |what, flags, code, value: &[u8]| one(what, Internal, flags, code, value, Withdrawn);
    let outside = |what, code, value: &[u8]| one(what, External, OPTIONAL, code, value, HandedOn);
    run(
        7,
        vec![
            bad("ORIGINATOR_ID of no octet", OPTIONAL, ORIGINATOR_ID, &[]),
            bad("ORIGINATOR_ID of three octets", OPTIONAL, ORIGINATOR_ID, &[1; 3]),
            bad("ORIGINATOR_ID of eight octets", OPTIONAL, ORIGINATOR_ID, &[1; 8]),
            bad("transitive ORIGINATOR_ID", TRANSITIVE, ORIGINATOR_ID, &[1; 4]),
            bad("our ORIGINATOR_ID", OPTIONAL, ORIGINATOR_ID, &NODE.octets()),
            bad("CLUSTER_LIST of no octet", OPTIONAL, CLUSTER_LIST, &[]),
            bad("CLUSTER_LIST of five octets", OPTIONAL, CLUSTER_LIST, &[1; 5]),
            bad("well-known CLUSTER_LIST", WELL_KNOWN, CLUSTER_LIST, &[1; 4]),
            bad(
                "our cluster",
                OPTIONAL,
                CLUSTER_LIST,
                &[[1; 4], NODE.octets()].concat(),
            ),
            outside("ORIGINATOR_ID from outside", ORIGINATOR_ID, &[7; 4]),
            outside(
                "ORIGINATOR_ID of three octets from outside",
                ORIGINATOR_ID,
                &[7; 3],
            ),
            outside("our ORIGINATOR_ID from outside", ORIGINATOR_ID, &NODE.octets()),
            outside("CLUSTER_LIST from outside", CLUSTER_LIST, &[7; 8]),
            outside("CLUSTER_LIST of five octets from outside", CLUSTER_LIST, &[7; 5]),
            outside("our cluster from outside", CLUSTER_LIST, &NODE.octets()),
        ],
    );
}

#[test]
fn what_is_for_inside_only_neither_comes_in_nor_goes_out() {
    let mut stage = Stage::new();
    let prefix = "60.8.0.0/24";
    let mut attributes = stage.external.attributes(2);
    attributes.add(WELL_KNOWN, LOCAL_PREF, &999u32.to_be_bytes());
    attributes.add(OPTIONAL, ORIGINATOR_ID, &[9; 4]);
    attributes.add(OPTIONAL, CLUSTER_LIST, &[9; 4]);
    attributes.add(OPTIONAL, AIGP, &[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9]);
    stage.send(External, &attributes, prefix);
    let [outer, inner] = stage.handed_on(prefix, "private attributes from outside");
    for code in [ORIGINATOR_ID, CLUSTER_LIST, AIGP] {
        assert_eq!((outer.value(code), inner.value(code)), (None, None), "{code}");
    }
    assert_eq!(outer.value(LOCAL_PREF), None);
    assert_eq!(inner.value(LOCAL_PREF), Some(&100u32.to_be_bytes()[..]));

    let prefix = "60.8.1.0/24";
    let own = [0x43, 0, 0, 0, 0, 0, 0, 1];
    let aigp = [1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9];
    let mut attributes = stage.internal.attributes(2);
    attributes.add(OPTIONAL, MED, &[0, 0, 0, 5]);
    attributes.add(TRANSITIVE, EXTENDED_COMMUNITIES, &own);
    attributes.add(OPTIONAL, AIGP, &aigp);
    stage.send(Internal, &attributes, prefix);
    let [outer, inner] = stage.handed_on(prefix, "private attributes from inside");
    for code in [
        LOCAL_PREF,
        ORIGINATOR_ID,
        CLUSTER_LIST,
        AIGP,
        EXTENDED_COMMUNITIES,
        MED,
    ] {
        assert_eq!(outer.value(code), None, "{code}");
    }
    assert_eq!(inner.value(MED), Some(&[0, 0, 0, 5][..]));
    assert_eq!(inner.value(EXTENDED_COMMUNITIES), Some(&own[..]));
    assert_eq!(inner.value(AIGP), Some(&aigp[..]));
    let sender = match stage.internal.address {
        std::net::IpAddr::V4(address) => address.octets(),
        std::net::IpAddr::V6(_) => unreachable!("the stage is on IPv4"),
    };
    assert_eq!(inner.value(ORIGINATOR_ID), Some(&sender[..]));
    assert_eq!(inner.value(CLUSTER_LIST), Some(&NODE.octets()[..]));
    assert_eq!(inner.next_hop, sender);
    assert_eq!(outer.next_hop, NODE.octets());
}

#[test]
fn rfc7311_aigp_and_rfc9234_otc() {
    let aigp = |what, flags, value: &[u8]| one(what, Internal, flags, AIGP, value, Without(AIGP));
    let good = [1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9];
    run(
        9,
        vec![
            aigp("AIGP of no octet", OPTIONAL, &[]),
            aigp(
                "a TLV past the end",
                OPTIONAL,
                &[1, 0, 12, 0, 0, 0, 0, 0, 0, 0, 9],
            ),
            aigp("a TLV of no length", OPTIONAL, &[1, 0, 0]),
            aigp("a TLV of another length", OPTIONAL, &[1, 0, 4, 0]),
            aigp("a TLV that is cut", OPTIONAL, &[1, 0]),
            aigp("transitive AIGP", TRANSITIVE, &good),
            one(
                "AIGP from outside",
                External,
                OPTIONAL,
                AIGP,
                &good,
                Without(AIGP),
            ),
            one(
                "OTC of three octets",
                External,
                TRANSITIVE,
                OTC,
                &[0; 3],
                Withdrawn,
            ),
            one("OTC of no octet", Internal, TRANSITIVE, OTC, &[], Withdrawn),
            one(
                "OTC of eight octets",
                External,
                TRANSITIVE,
                OTC,
                &[0; 8],
                Withdrawn,
            ),
            one(
                "non-transitive OTC",
                External,
                OPTIONAL,
                OTC,
                &[0, 0, 0, 7],
                Withdrawn,
            ),
            one(
                "OTC where no role is set",
                External,
                TRANSITIVE,
                OTC,
                &[0, 0, 0, 7],
                With(TRANSITIVE, OTC, vec![0, 0, 0, 7]),
            ),
        ],
    );
}

#[test]
fn rfc4271_5_what_is_unknown_is_carried_as_it_is_or_dropped() {
    let mut cases = Vec::new();
    let partial = TRANSITIVE | PARTIAL;
    let long: Vec<u8> = (0..3_000u32).map(|n| (n * 7) as u8).collect();
    // Tunnel encapsulation, PMSI tunnel, entropy label, Prefix-SID: others looked into them and fell.
    for code in [22, 23, 28, 29, 33, 36, 40, 99, 128, 200, 255] {
        for value in [&[][..], &[0], &[0, 1, 0xff, 0xff, 0], &[0xff; 255], &[0xaa; 256]] {
            cases.push(one(
                "an unknown transitive attribute",
                External,
                TRANSITIVE,
                code,
                value,
                With(partial, code, value.to_vec()),
            ));
        }
        cases.push(one(
            "an unknown non-transitive attribute",
            External,
            OPTIONAL,
            code,
            &[1, 2, 3],
            Without(code),
        ));
        cases.push(one(
            "the same from inside",
            Internal,
            OPTIONAL | PARTIAL,
            code,
            &[1, 2, 3],
            Without(code),
        ));
    }
    cases.push(one(
        "three thousand octets",
        External,
        TRANSITIVE,
        99,
        &long,
        With(partial, 99, long.clone()),
    ));
    cases.push(one(
        "partial already",
        Internal,
        partial,
        99,
        &[5],
        With(partial, 99, vec![5]),
    ));
    run(10, cases);
}

#[test]
fn rfc7606_3_g_of_two_of_a_type_the_first_counts() {
    let twice = |what, flags, code, value: &'static [u8]| {
        any(what, External, move |a| drop(a.add(flags, code, value)), HandedOn)
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
                        .add(TRANSITIVE, COMMUNITIES, &[2; 4]);
                },
                With(TRANSITIVE, COMMUNITIES, vec![1; 4]),
            ),
            any(
                "a good second COMMUNITIES",
                External,
                |a| {
                    a.add(TRANSITIVE, COMMUNITIES, &[1; 3])
                        .add(TRANSITIVE, COMMUNITIES, &[2; 4]);
                },
                Withdrawn,
            ),
            any(
                "two unknown ones",
                External,
                |a| {
                    a.add(TRANSITIVE, 99, &[1]).add(TRANSITIVE, 99, &[2]);
                },
                With(TRANSITIVE | PARTIAL, 99, vec![1]),
            ),
            any("the order reversed", External, |a| drop(a.reverse()), HandedOn),
        ],
    );
}

#[test]
fn rfc7606_4_attributes_that_run_past_the_end_cost_their_routes() {
    let tail = |what, tail: &'static [u8]| any(what, External, move |a| a.tail = tail.to_vec(), Withdrawn);
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
