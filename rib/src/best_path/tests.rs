use pipit_bgp::wire::attr::Origin;
use proptest::prelude::*;

use super::*;

fn facts() -> AttrFacts {
    AttrFacts {
        local_pref: None,
        med: None,
        as_path_len: 0,
        neighbor_as: None,
        originator_id: None,
        cluster_list_len: 0,
        origin: Origin::Igp,
        marks: Marks::default(),
    }
}

fn candidate(path: u32, facts: &AttrFacts) -> Candidate<'_> {
    Candidate {
        path: PathId(path),
        is_reachable: true,
        preference: Preference::Bgp,
        is_second_hand: false,
        is_llgr_stale: false,
        facts,
        is_external: false,
        igp_metric: 0,
        next_hop: NextHopId(path),
        originator: path,
        peer_address: IpAddr::from([10, 0, 0, path as u8]),
        remote_id: 0,
    }
}

fn best(candidates: &[Candidate<'_>]) -> (u32, Step) {
    let selection = select(candidates, 16).unwrap();
    (selection.best.0, selection.step)
}

#[test]
fn each_step_decides_when_all_before_it_tie() {
    let plain = facts();
    let base = candidate(2, &plain);
    let rows: Vec<(Candidate<'_>, Step)> = vec![
        (
            Candidate {
                is_reachable: false,
                ..candidate(1, &plain)
            },
            Step::Reachable,
        ),
        (
            Candidate {
                is_second_hand: true,
                ..candidate(1, &plain)
            },
            Step::FirstHand,
        ),
        (
            Candidate {
                is_llgr_stale: true,
                ..candidate(1, &plain)
            },
            Step::LlgrStale,
        ),
        (
            Candidate {
                igp_metric: 7,
                ..candidate(1, &plain)
            },
            Step::IgpMetric,
        ),
        (candidate(3, &plain), Step::RouterId),
        (
            Candidate {
                originator: 2,
                peer_address: IpAddr::from([10, 0, 0, 9]),
                ..candidate(3, &plain)
            },
            Step::PeerAddress,
        ),
        (
            Candidate {
                path: PathId(3),
                remote_id: 5,
                ..base
            },
            Step::PathIdentifier,
        ),
    ];
    for (worse, step) in rows {
        assert_eq!(best(&[worse, base]), (2, step));
        assert_eq!(
            best(&[base, worse]),
            (2, step),
            "the order of arrival does not matter"
        );
    }
    let own = Candidate {
        preference: Preference::Local,
        ..base
    };
    let elevated = Candidate {
        preference: Preference::Elevated,
        ..candidate(1, &plain)
    };
    assert_eq!(best(&[elevated, own]), (2, Step::Preference));
}

#[test]
fn rfc4271_9_1_2_attributes_decide_in_order() {
    let plain = facts();
    let rows = [
        (
            AttrFacts {
                local_pref: Some(99),
                ..plain
            },
            Step::LocalPref,
        ),
        (
            AttrFacts {
                as_path_len: 1,
                ..plain
            },
            Step::AsPathLength,
        ),
        (
            AttrFacts {
                origin: Origin::Egp,
                ..plain
            },
            Step::Origin,
        ),
        (
            AttrFacts {
                med: Some(1),
                ..plain
            },
            Step::Med,
        ),
        (
            AttrFacts {
                cluster_list_len: 1,
                ..plain
            },
            Step::ClusterListLength,
        ),
    ];
    for (worse, step) in rows {
        let other = Candidate {
            originator: 2,
            ..candidate(1, &worse)
        };
        assert_eq!(best(&[other, candidate(2, &plain)]), (2, step));
    }
    let external = Candidate {
        is_external: true,
        ..candidate(2, &plain)
    };
    assert_eq!(best(&[candidate(1, &plain), external]), (2, Step::External));
    assert_eq!(local_pref(&facts()), 100);
}

#[test]
fn rfc8326_a_route_that_is_being_shut_down_is_the_last_choice() {
    let mut leaving = AttrFacts {
        local_pref: Some(500),
        ..facts()
    };
    leaving.marks.insert(Marks::GRACEFUL_SHUTDOWN);
    let plain = facts();
    assert_eq!(
        best(&[candidate(1, &leaving), candidate(2, &plain)]),
        (2, Step::LocalPref)
    );
}

#[test]
fn rfc4271_9_1_2_2_med_counts_within_one_neighbouring_as_only() {
    // The textbook cycle: pairwise, a beats b by MED, b beats c by router id, c beats a by router id.
    let from = |asn: u32, med: u32| AttrFacts {
        neighbor_as: Some(Asn(asn)),
        med: Some(med),
        ..facts()
    };
    let (a, b, c) = (from(1, 0), from(1, 10), from(2, 0));
    let (a, b, c) = (
        Candidate {
            originator: 3,
            ..candidate(1, &a)
        },
        Candidate {
            originator: 1,
            ..candidate(2, &b)
        },
        Candidate {
            originator: 2,
            ..candidate(3, &c)
        },
    );
    for order in [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
        assert_eq!(
            select(&order, 16).unwrap().best,
            PathId(3),
            "b is out before it can meet c"
        );
    }
}

#[test]
fn c168_equal_paths_form_the_multipath_set_up_to_its_width() {
    let plain = facts();
    let paths: Vec<Candidate<'_>> = (1..=20).map(|path| candidate(path, &plain)).collect();
    let ids = |width| {
        select(&paths, width)
            .unwrap()
            .multipath
            .iter()
            .map(|path| path.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(16), (1..=16).collect::<Vec<_>>());
    assert_eq!(ids(1), [1]);
    let far = Candidate {
        igp_metric: 1,
        ..candidate(2, &plain)
    };
    assert_eq!(
        select(&[candidate(1, &plain), far], 16).unwrap().multipath.len(),
        1
    );
}

#[test]
fn the_width_counts_next_hops_and_not_how_many_hand_them_on() {
    let plain = facts();
    // Two reflectors hand on the same four ways.
    let paths: Vec<Candidate<'_>> = (1..=8)
        .map(|path| Candidate {
            next_hop: NextHopId(path % 4),
            ..candidate(path, &plain)
        })
        .collect();
    let ids = |width| -> Vec<u32> {
        let selection = select(&paths, width).unwrap();
        selection.multipath.iter().map(|path| path.0).collect()
    };
    assert_eq!(ids(4).len(), 8);
    assert_eq!(ids(3), [1, 2, 3, 5, 6, 7]);
    assert_eq!(ids(0), [1, 5], "the best one is always in use");
}

fn arbitrary_facts() -> impl Strategy<Value = AttrFacts> {
    let small = 0u32..3;
    (
        small.clone(),
        small.clone(),
        0u16..3,
        proptest::option::of(0u32..2),
        0u8..2,
        0u8..3,
    )
        .prop_map(
            |(local_pref, med, as_path_len, neighbor, cluster_list_len, origin)| AttrFacts {
                local_pref: Some(local_pref),
                med: Some(med),
                as_path_len,
                neighbor_as: neighbor.map(Asn),
                cluster_list_len,
                origin: [Origin::Igp, Origin::Egp, Origin::Incomplete][usize::from(origin)],
                ..facts()
            },
        )
}

proptest! {
    /// Among paths that MED cannot tell apart the comparison is a total order, and selection is its minimum.
    #[test]
    fn the_choice_does_not_depend_on_the_order_of_arrival(
        list in proptest::collection::vec((arbitrary_facts(), any::<bool>(), 0u32..3, 0u32..3, any::<bool>()), 1..7),
        rotation in 0usize..7,
    ) {
        let candidates: Vec<Candidate<'_>> = list.iter().enumerate().map(|(at, (facts, is_external, igp, originator, up))| Candidate {
            is_external: *is_external, igp_metric: *igp, originator: *originator, is_reachable: *up,
            ..candidate(at as u32 + 1, facts)
        }).collect();
        let expected = select(&candidates, 16).unwrap();
        let mut turned = candidates.clone();
        turned.rotate_left(rotation % candidates.len());
        prop_assert_eq!(&select(&turned, 16).unwrap(), &expected);
        turned.reverse();
        prop_assert_eq!(&select(&turned, 16).unwrap(), &expected);
    }

    #[test]
    fn without_med_the_comparison_is_transitive(
        facts in proptest::collection::vec(arbitrary_facts(), 3), igp in proptest::collection::vec(0u32..2, 3),
    ) {
        let list: Vec<Candidate<'_>> =
            (0..3).map(|at| Candidate { igp_metric: igp[at], ..candidate(at as u32, &facts[at]) }).collect();
        let less = |a: usize, b: usize| compare(&list[a], &list[b], Med::Skip).0 == Ordering::Less;
        for (a, b, c) in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)] {
            prop_assert!(!(less(a, b) && less(b, c)) || less(a, c));
        }
    }
}
