//! Prefixes with many paths, which are chosen among once a batch.

use std::time::{Duration, Instant};

use crate::bench::{Bench, CLIENT, EXTERNAL, Kind, Route, net};
use crate::naive::Naive;

const SENDERS: [u32; 2] = [1, 2];
const READERS: [u32; 3] = [3, 4, 5];
const PATHS: u32 = 40;

fn bench() -> (Bench, Naive) {
    let (mut bench, mut naive) = (Bench::new(), Naive::default());
    let sends_many = true;
    let takes_all = true;
    let kinds = [
        (1, Kind { sends_many, ..CLIENT }),
        (
            2,
            Kind {
                sends_many,
                ..EXTERNAL
            },
        ),
        (3, CLIENT),
        (4, EXTERNAL),
        (5, Kind { takes_all, ..CLIENT }),
    ];
    for (id, kind) in kinds {
        bench.add(id, kind);
        naive.add(id, kind);
        bench.up(id);
    }
    (bench, naive)
}

/// Changes of a sender's paths that look like nothing in particular, and are the same each time.
fn changes(round: u32, id: u32) -> impl Iterator<Item = (u32, Option<Route>)> {
    (0..PATHS).map(move |at| {
        let mixed = (round * 977 + id * 131 + at * 61) % 997;
        let route = Route {
            local_pref: 100 + mixed % 3,
            path_len: (1 + mixed % 2) as u8,
            med: Some(mixed % 5),
            neighbor: mixed % 4,
            ..Route::tagged(round * 10_000 + id * 1_000 + at)
        };
        // One path several times in a batch: withdrawn and there again, or the other way round.
        (mixed % PATHS, (mixed % 7 > 2).then_some(route))
    })
}

#[test]
fn the_choice_in_a_crowd_is_the_one_that_a_naive_rib_makes() {
    let prefix = net("10.50.0.0/24");
    let (mut bench, mut naive) = bench();
    for round in 0..60 {
        let id = SENDERS[round as usize % SENDERS.len()];
        for (path_id, route) in changes(round, id) {
            match route {
                Some(route) => naive.announce(id, prefix, Route { path_id, ..route }),
                None => naive.withdraw(id, prefix, path_id),
            }
        }
        bench.change_all(id, prefix, changes(round, id));
        for reader in READERS {
            assert_eq!(
                bench.tags(reader),
                naive.due(reader),
                "round {round}, peer {reader}"
            );
        }
        bench.verify();
    }
    for id in SENDERS {
        bench.down(id, None);
        naive.lose(id);
        bench.settle();
        bench.verify();
        assert_eq!(READERS.map(|id| bench.tags(id)), READERS.map(|id| naive.due(id)));
    }
}

/// RFC 7911 sets no bound to the paths of one prefix: whoever sends many must not hold up the others.
#[test]
fn thousands_of_paths_to_one_prefix_hold_nobody_up() {
    let prefix = net("10.50.0.0/24");
    let (mut bench, _) = bench();
    let begin = Instant::now();
    let count = 3_000;
    bench.change_all(1, prefix, (0..count).map(|at| (at, Some(Route::tagged(at + 1)))));
    assert_eq!(bench.tags(5)[&prefix].len(), count as usize);
    bench.change_all(1, prefix, (0..count).map(|at| (at, None)));
    assert!(bench.tags(5).is_empty());
    // One choice a path would be nine million comparisons several times over, half a minute of them.
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}
