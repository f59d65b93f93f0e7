//! Sessions with BIRD 2, FRR, GoBGP and OpenBGPD as Debian 12 has them: every speaker with every feature that it has.

mod bench;
mod cells;
mod foreign;

use std::collections::BTreeSet;

const SPEAKERS: [&str; 4] = ["bird", "frr", "gobgp", "openbgpd"];

/// What a speaker cannot do, as this version of it behaves.
const CANNOT: [(&str, &str, &str); 9] = [
    (
        "bird",
        "as_trans",
        "without 4-octet AS numbers it takes no neighbour that has one, but reads our capability all the same",
    ),
    (
        "gobgp",
        "gtsm_not_ours",
        "asks for the least TTL when the connection stands: what came before is taken",
    ),
    (
        "gobgp",
        "restart_of_theirs",
        "its routes come by its API, after it has started and said End-of-RIB",
    ),
    (
        "gobgp",
        "refresh",
        "softresetin looks through its own Adj-RIB-In; it never sends ROUTE-REFRESH",
    ),
    ("gobgp", "extended_messages", "not implemented in 3.10"),
    (
        "gobgp",
        "two_octet_as",
        "its capability for 4-octet AS numbers cannot be turned off",
    ),
    (
        "gobgp",
        "as_trans",
        "its capability for 4-octet AS numbers cannot be turned off",
    ),
    (
        "openbgpd",
        "restart_of_theirs",
        "says End-of-RIB only; its capability names no family",
    ),
    ("openbgpd", "extended_messages", "not implemented in 7.7"),
];

/// One module for each speaker, one test in it for each feature.
macro_rules! matrix {
    ($($speaker:ident: $type:ident { $($cell:ident)* })*) => {
        $(mod $speaker {
            use pipit_testbed::speaker::$type;

            $(#[test]
            fn $cell() {
                crate::cells::$cell::<$type>();
            })*
        })*

        const CELLS: &[(&str, &str)] = &[$($((stringify!($speaker), stringify!($cell)),)*)*];
    };
}

matrix! {
    bird: Bird {
        ipv4 ipv6 md5 gtsm gtsm_not_ours gtsm_not_theirs restart_of_theirs restart_of_ours refresh add_path extended_messages
        two_octet_as
    }
    frr: Frr {
        ipv4 ipv6 md5 gtsm gtsm_not_ours gtsm_not_theirs restart_of_theirs restart_of_ours refresh add_path extended_messages
        two_octet_as as_trans
    }
    gobgp: Gobgp {
        ipv4 ipv6 md5 gtsm gtsm_not_theirs restart_of_ours add_path
    }
    openbgpd: Openbgpd {
        ipv4 ipv6 md5 gtsm gtsm_not_ours gtsm_not_theirs restart_of_ours refresh add_path two_octet_as as_trans
    }
}

#[test]
fn bird_keeps_the_routes_of_a_node_that_is_away_for_long_as_the_last_choice() {
    cells::long_absence_of_ours();
}

#[test]
fn every_cell_is_a_test_or_has_a_reason() {
    let features: BTreeSet<&str> = CELLS.iter().map(|(_, feature)| *feature).collect();
    for speaker in SPEAKERS {
        for feature in &features {
            let is_tested = CELLS.contains(&(speaker, feature));
            let reason = CANNOT
                .iter()
                .find(|(of, what, _)| (of, what) == (&speaker, feature));
            assert!(
                is_tested != reason.is_some_and(|(.., why)| !why.is_empty()),
                "{speaker} {feature}"
            );
        }
    }
}
