//! What a route may have beside its origin, path and next hop.

use super::Fate::{HandedOn, With, Withdrawn, Without};
use super::{one, run};
use crate::bench::NODE;
use crate::message::{
    AGGREGATOR, AIGP, AS4_AGGREGATOR, AS4_PATH, ATOMIC_AGGREGATE, CLUSTER_LIST, COMMUNITIES,
    EXTENDED_COMMUNITIES, IPV6_EXTENDED_COMMUNITIES, LARGE_COMMUNITIES, LOCAL_PREF, MED, OPTIONAL,
    ORIGINATOR_ID, OTC, PARTIAL, TRANSITIVE, WELL_KNOWN, path,
};
use crate::stage::From::{External, Internal};
use crate::stage::Stage;

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
