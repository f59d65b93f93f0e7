//! Whose routes are whose, and how they change.

use super::*;
use crate::fib::batch::BATCH;

pub(super) const BLOCK: &str = "10.65.2.0/26";

pub(super) fn eth0(metric: u32) -> KernelRoute {
    unicast(&[way(Some("192.0.2.12"), 2)], metric)
}

pub(super) fn eth1(metric: u32) -> KernelRoute {
    unicast(&[way(Some("198.51.100.7"), 3)], metric)
}

#[test]
fn a_restart_writes_nothing_that_is_there_already() {
    let mut fib = Fib::new(OURS);
    let dropped = KernelRoute {
        action: KernelAction::Blackhole,
        metric: 0,
        source: None,
        object: None,
        has_more: false,
    };
    dump(
        &mut fib,
        &[route(BLOCK, OURS, eth0(0)), route("10.65.1.0/26", OURS, dropped)],
    );
    assert_eq!(fib.poll_event(), Some(FibEvent::Loaded { adopted: 2 }));
    assert_eq!(state(&fib, BLOCK).unwrap().0, "stale");
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    set(&mut fib, "10.65.1.0/26", Some(blackhole()));
    fib.allow_sweep();
    assert!(written(&mut fib).is_empty());
    assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
    assert_eq!(fib.counts().written, 0);
}

#[test]
fn what_nobody_asked_for_yet_stays_until_the_sweep() {
    let mut fib = loaded(&[route(BLOCK, OURS, eth0(0))]);
    // The RIB found no best path so far; that is not a withdrawal.
    set(&mut fib, BLOCK, None);
    assert!(written(&mut fib).is_empty());
    fib.allow_sweep();
    assert_eq!(
        written(&mut fib),
        ["Delete 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
    assert_eq!(state(&fib, BLOCK), None);
}

#[test]
fn a_withdrawal_before_the_sweep_removes_what_had_been_asked_for() {
    let mut fib = loaded(&[route(BLOCK, OURS, eth0(0))]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    set(&mut fib, BLOCK, None);
    assert_eq!(written(&mut fib).len(), 1);
}

#[test]
fn rfc4724_4_1_the_first_to_speak_does_not_take_the_place_of_what_was_there() {
    for wanted in [
        via(&[hop("192.0.2.12")], 200),
        via(&[hop("192.0.2.12")], 0),
        via(&[hop("203.0.113.1")], 0),
    ] {
        let mut fib = loaded(&[route(BLOCK, OURS, eth1(100))]);
        set(&mut fib, BLOCK, Some(wanted));
        assert!(written(&mut fib).is_empty());
        assert!(matches!(state(&fib, BLOCK).unwrap().0, "pending" | "stale"));
        // The best of all comes last.
        set(&mut fib, BLOCK, Some(via(&[hop("198.51.100.7")], 100)));
        assert!(written(&mut fib).is_empty());
        assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
        // From here on it is a route like any other.
        set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 100)));
        assert_eq!(
            written(&mut fib),
            ["Replace 10.65.2.0/26 via 192.0.2.12 dev 2 metric 100"]
        );
        fib.allow_sweep();
        assert!(written(&mut fib).is_empty());
    }
}

#[test]
fn what_was_kept_until_the_sweep_is_put_right_by_it() {
    let mut fib = loaded(&[route(BLOCK, OURS, eth1(0))]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    assert!(written(&mut fib).is_empty());
    fib.allow_sweep();
    assert_eq!(
        written(&mut fib),
        ["Replace 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
}

#[test]
fn own_blocks_and_what_somebody_removed_do_not_wait_for_the_sweep() {
    let mut fib = loaded(&[route(BLOCK, OURS, eth1(0)), route("10.65.3.0/26", OURS, eth1(0))]);
    set(&mut fib, BLOCK, Some(blackhole()));
    assert_eq!(written(&mut fib), ["Replace 10.65.2.0/26 blackhole metric 0"]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    assert_eq!(written(&mut fib).len(), 1, "it is not of an earlier run any more");
    set(&mut fib, "10.65.3.0/26", Some(via(&[hop("192.0.2.12")], 0)));
    fib.handle_kernel([gone("10.65.3.0/26", OURS, eth1(0))]);
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.3.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
}

#[test]
fn another_way_or_kind_is_one_replacement_and_the_newest_wins() {
    let mut fib = loaded(&[route(BLOCK, OURS, eth1(0))]);
    fib.allow_sweep();
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    assert_eq!(
        batch(&mut fib),
        ["Replace 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
    set(&mut fib, BLOCK, Some(via(&[hop("198.51.100.7")], 0)));
    set(&mut fib, BLOCK, Some(blackhole()));
    assert!(
        batch(&mut fib).is_empty(),
        "one change of a prefix at a time is under way"
    );
    fib.handle_result(&[]);
    assert_eq!(written(&mut fib), ["Replace 10.65.2.0/26 blackhole metric 0"]);
}

#[test]
fn another_metric_is_there_before_the_old_one_goes() {
    let mut fib = loaded(&[route(BLOCK, OURS, eth0(100))]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 50)));
    fib.allow_sweep();
    assert_eq!(
        batch(&mut fib),
        ["Create 10.65.2.0/26 via 192.0.2.12 dev 2 metric 50"]
    );
    fib.handle_result(&[]);
    assert_eq!(
        written(&mut fib),
        ["Delete 10.65.2.0/26 via 192.0.2.12 dev 2 metric 100"]
    );
}

#[test]
fn another_metric_that_the_kernel_refuses_leaves_the_old_one() {
    let mut fib = loaded(&[route(BLOCK, OURS, eth0(100))]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 50)));
    fib.allow_sweep();
    batch(&mut fib);
    fib.handle_result(&[FibRefusal {
        at: 0,
        errno: ENETUNREACH,
    }]);
    assert!(written(&mut fib).is_empty());
    assert_eq!(state(&fib, BLOCK).unwrap().0, "refused");
}

#[test]
fn of_two_routes_left_over_the_one_with_the_wanted_metric_is_kept() {
    for order in [[50, 100], [100, 50]] {
        let found = order.map(|metric| route(BLOCK, OURS, eth0(metric)));
        let mut fib = loaded(&found);
        set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 50)));
        fib.allow_sweep();
        assert_eq!(
            written(&mut fib),
            ["Delete 10.65.2.0/26 via 192.0.2.12 dev 2 metric 100"]
        );
    }
}

#[test]
fn a_foreign_route_with_our_prefix_and_metric_is_left_alone_until_it_goes() {
    let mut fib = loaded(&[route(BLOCK, STATIC, eth1(0))]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    assert!(written(&mut fib).is_empty());
    let reason = "another program has this prefix and metric (protocol 4)".to_owned();
    assert_eq!(state(&fib, BLOCK), Some(("conflict", Some(reason))));
    fib.handle_kernel([gone(BLOCK, STATIC, eth1(0))]);
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
}

#[test]
fn a_foreign_route_with_another_metric_is_no_conflict() {
    let mut fib = loaded(&[route(BLOCK, STATIC, eth1(7))]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    assert_eq!(written(&mut fib).len(), 1);
}

#[test]
fn what_goes_before_an_installed_route_is_named_and_is_no_difference() {
    let mut fib = loaded(&[route(BLOCK, STATIC, eth1(7))]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 8)));
    written(&mut fib);
    let reason = |what| format!("another program has this prefix with {what} (protocol 4)");
    assert_eq!(
        state(&fib, BLOCK),
        Some(("shadowed", Some(reason("a better metric"))))
    );
    fib.handle_kernel([gone(BLOCK, STATIC, eth1(7))]);
    assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
    fib.handle_kernel([before(BLOCK, STATIC, eth1(8))]);
    assert_eq!(
        state(&fib, BLOCK),
        Some(("shadowed", Some(reason("this metric too"))))
    );
    assert!(written(&mut fib).is_empty());
    fib.handle_kernel([gone(BLOCK, STATIC, eth1(8)), route(BLOCK, STATIC, eth1(9))]);
    assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
}

#[test]
fn a_foreign_replacement_of_our_route_is_noticed_and_not_fought() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    written(&mut fib);
    fib.handle_kernel([KernelEvent::Route {
        table: Table::Ours,
        prefix: net(BLOCK),
        protocol: STATIC,
        route: eth1(0),
        how: Arrival::Replacement,
    }]);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    dump(&mut fib, &[route(BLOCK, STATIC, eth1(0))]);
    set(&mut fib, BLOCK, Some(via(&[hop("198.51.100.7")], 0)));
    assert!(
        written(&mut fib).is_empty(),
        "a replacement would overwrite the foreign route"
    );
    assert_eq!(state(&fib, BLOCK).unwrap().0, "conflict");
}

#[test]
fn a_route_removed_or_changed_by_hand_is_put_right_and_counted() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    written(&mut fib);
    fib.handle_kernel([gone(BLOCK, OURS, eth0(0))]);
    assert_eq!(
        written(&mut fib),
        ["Create 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
    fib.handle_kernel([KernelEvent::Route {
        table: Table::Ours,
        prefix: net(BLOCK),
        protocol: OURS,
        route: eth1(0),
        how: Arrival::Replacement,
    }]);
    assert_eq!(
        written(&mut fib),
        ["Replace 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
    assert_eq!(fib.repaired(), 2);
}

#[test]
fn a_route_with_our_number_that_nobody_wants_is_removed_after_the_sweep_too() {
    let mut fib = loaded(&[]);
    fib.allow_sweep();
    fib.handle_kernel([route(BLOCK, OURS, eth0(0))]);
    assert_eq!(
        written(&mut fib),
        ["Delete 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
}

#[test]
fn a_fighter_is_answered_ever_more_slowly() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    written(&mut fib);
    let mut now = Instant::now();
    let mut waits = Vec::new();
    for _ in 0..8 {
        fib.handle_timeout(now);
        fib.handle_kernel([gone(BLOCK, OURS, eth0(0))]);
        let at_once = written(&mut fib);
        if at_once.is_empty() {
            let due = fib.poll_timeout().unwrap();
            waits.push(due - now);
            now = due;
            fib.handle_timeout(now);
            assert_eq!(written(&mut fib).len(), 1, "put back when the wait is over");
        } else {
            waits.push(Duration::ZERO);
        }
    }
    assert_eq!(waits[0], Duration::ZERO);
    assert!(
        waits.is_sorted() && waits[7] > Duration::from_millis(500),
        "{waits:?}"
    );
    assert_eq!(fib.repaired(), 8);
}

#[test]
fn one_refused_route_does_not_hold_up_the_others_and_is_tried_again() {
    let mut fib = loaded(&[]);
    let start = Instant::now();
    fib.handle_timeout(start);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    set(&mut fib, "10.65.3.0/26", Some(via(&[hop("192.0.2.13")], 0)));
    batch(&mut fib);
    fib.handle_result(&[FibRefusal {
        at: 0,
        errno: ENETUNREACH,
    }]);
    assert_eq!(state(&fib, "10.65.3.0/26"), Some(("installed", None)));
    assert_eq!(state(&fib, BLOCK).unwrap().0, "refused");
    assert!(written(&mut fib).is_empty() && fib.is_settled());
    // The first call after the refusal sets the date.
    assert_eq!(fib.poll_timeout(), Some(start));
    fib.handle_timeout(start);
    let due = fib.poll_timeout().unwrap();
    assert_eq!(due, start + FIRST_RETRY);
    fib.handle_timeout(due);
    assert_eq!(written(&mut fib).len(), 1);
    assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
}

#[test]
fn a_refused_route_is_tried_again_when_its_way_changes_in_the_least() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("198.51.100.7")], 0)));
    batch(&mut fib);
    fib.handle_result(&[FibRefusal {
        at: 0,
        errno: ENETUNREACH,
    }]);
    let route = unicast(&[way(None, 3)], 0);
    fib.handle_kernel([
        gone("198.51.100.0/24", KERNEL, route.clone()),
        super::route("198.51.100.0/24", KERNEL, route),
    ]);
    assert_eq!(written(&mut fib).len(), 1);
}

#[test]
fn something_unknown_in_the_way_is_looked_up_once() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    for expected in [Some(FibEvent::WantsDump), None] {
        batch(&mut fib);
        fib.handle_result(&[FibRefusal { at: 0, errno: EEXIST }]);
        assert_eq!(fib.poll_event(), expected);
        dump(&mut fib, &[route(BLOCK, STATIC, eth1(0))]);
    }
    assert_eq!(state(&fib, BLOCK).unwrap().0, "conflict");
}

#[test]
fn an_overrun_asks_for_one_dump_and_nothing_is_written_before_its_end() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    written(&mut fib);
    fib.handle_kernel([KernelEvent::Overrun]);
    let address_gone = || KernelEvent::AddressGone {
        device: 2,
        address: ip("192.0.2.1"),
        net: net("192.0.2.0/24"),
    };
    fib.handle_kernel([address_gone(), address_gone()]);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    assert_eq!(fib.poll_event(), None);
    set(&mut fib, "10.65.3.0/26", Some(blackhole()));
    assert_eq!(fib.poll_batch(), None);
    fib.handle_kernel([KernelEvent::DumpBegin, KernelEvent::Overrun]);
    fib.handle_kernel(node());
    assert_eq!(fib.poll_batch(), None);
    fib.handle_kernel([KernelEvent::DumpEnd]);
    assert_eq!(
        fib.poll_event(),
        Some(FibEvent::WantsDump),
        "lost again while dumping"
    );
    dump(&mut fib, &[]);
    let mut all = written(&mut fib);
    all.sort();
    assert_eq!(
        all,
        [
            "Create 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0",
            "Create 10.65.3.0/26 blackhole metric 0",
        ]
    );
    assert_eq!((fib.repaired(), fib.counts().dumps), (1, 2));
}

#[test]
fn a_change_by_others_while_ours_is_under_way_is_looked_up() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    batch(&mut fib);
    fib.handle_kernel([gone(BLOCK, OURS, eth0(0))]);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    fib.handle_result(&[]);
    dump(&mut fib, &[]);
    assert_eq!(written(&mut fib).len(), 1);
}

#[test]
fn during_a_dump_next_hops_are_answered_from_the_last_picture() {
    let mut fib = loaded(&[]);
    fib.handle_kernel([KernelEvent::Overrun, KernelEvent::DumpBegin]);
    assert!(matches!(
        fib.track(ip("192.0.2.12")),
        Reachability::Reachable { .. }
    ));
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    fib.handle_kernel(node().into_iter().chain([KernelEvent::DumpEnd]));
    assert_eq!(fib.poll_event(), None);
}

#[test]
fn batches_are_bounded_and_no_family_waits_for_the_other() {
    let mut fib = loaded(&[]);
    for number in 0..2000u32 {
        let [_, _, high, low] = number.to_be_bytes();
        set(&mut fib, &format!("10.{high}.{low}.0/24"), Some(blackhole()));
        set(&mut fib, &format!("fd00:{number:x}::/64"), Some(blackhole()));
    }
    let first = fib.poll_batch().unwrap();
    assert_eq!(first.len(), BATCH);
    let ipv6 = first
        .iter()
        .filter(|op| matches!(op.prefix, IpNet::V6(_)))
        .count();
    assert_eq!(ipv6, BATCH / 2);
    assert!(fib.poll_batch().is_some() && fib.poll_batch().is_none());
    fib.handle_result(&[]);
    fib.handle_result(&[]);
    assert_eq!(written(&mut fib).len(), 4000 - 2 * BATCH);
}

#[test]
fn a_link_that_is_down_in_a_dump_asks_for_no_other_dump() {
    let mut fib = loaded(&[]);
    let both = via(&[hop("192.0.2.12"), hop("198.51.100.7")], 0);
    set(&mut fib, BLOCK, Some(both));
    written(&mut fib);
    let there = unicast(&[way(Some("192.0.2.12"), 2), way(Some("198.51.100.7"), 3)], 0);
    fib.handle_kernel([KernelEvent::Overrun, KernelEvent::DumpBegin]);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    fib.handle_kernel([
        link(2, "eth0", true),
        link(3, "eth1", false),
        route("192.0.2.0/24", KERNEL, unicast(&[way(None, 2)], 0)),
        route(BLOCK, OURS, there),
        KernelEvent::DumpEnd,
    ]);
    assert_eq!(fib.poll_event(), None);
    assert_eq!(
        written(&mut fib),
        ["Replace 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
}

#[test]
fn another_protocol_number_replaces_each_route_in_one_step() {
    const NEW: u8 = 99;
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    set(&mut fib, "fd65::2:0/122", Some(via(&[hop("fd31:1::12")], 0)));
    set(&mut fib, "10.65.9.0/26", Some(via(&[hop("203.0.113.1")], 0)));
    fib.allow_sweep();
    assert_eq!(written(&mut fib).len(), 2);
    fib.set_protocol(NEW);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    assert!(
        written(&mut fib).is_empty(),
        "not before it is known what carries the new number"
    );
    let of = |protocol, prefix: &str, route_: KernelRoute| route(prefix, protocol, route_);
    let v6 = unicast(&[way(Some("fd31:1::12"), 2)], 1024);
    dump(
        &mut fib,
        &[
            of(OURS, BLOCK, eth0(0)),
            of(OURS, "fd65::2:0/122", v6),
            of(NEW, "10.65.7.0/26", eth1(0)),
        ],
    );
    let ops: Vec<FibOp> = std::iter::from_fn(|| {
        let ops = fib.poll_batch()?;
        fib.handle_result(&[]);
        Some(ops)
    })
    .flatten()
    .collect();
    let words: Vec<(FibOpKind, String, u8)> = ops
        .iter()
        .map(|op| (op.kind, op.prefix.to_string(), op.protocol))
        .collect();
    let expected = [
        (FibOpKind::Delete, "10.65.7.0/26".to_owned(), NEW),
        (FibOpKind::Replace, BLOCK.to_owned(), NEW),
        (FibOpKind::Replace, "fd65::2:0/122".to_owned(), NEW),
    ];
    let mut sorted = words.clone();
    sorted.sort_by_key(|(_, prefix, _)| prefix != "10.65.7.0/26");
    assert_eq!(sorted[0], expected[0]);
    assert_eq!(sorted.len(), 3);
    assert!(
        sorted.contains(&expected[1]) && sorted.contains(&expected[2]),
        "{words:?}"
    );
    // The old number is anybody's again: its routes are left alone.
    fib.handle_kernel([route("10.65.8.0/26", OURS, eth1(0))]);
    assert!(written(&mut fib).is_empty());
    assert_eq!(state(&fib, "10.65.8.0/26"), None);
}

#[test]
fn the_old_number_is_ours_while_a_route_may_still_carry_it() {
    let mut fib = loaded(&[route(BLOCK, OURS, eth0(0))]);
    fib.set_protocol(99);
    dump(&mut fib, &[route(BLOCK, OURS, eth0(0))]);
    assert!(written(&mut fib).is_empty());
    assert_eq!(state(&fib, BLOCK).unwrap().0, "stale");
    fib.allow_sweep();
    let ops = fib.poll_batch().unwrap();
    assert_eq!((ops[0].kind, ops[0].protocol), (FibOpKind::Delete, OURS));
}

#[test]
fn a_preferred_source_is_part_of_the_route_and_changes_by_replacement() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    set(&mut fib, "10.65.1.0/26", Some(blackhole()));
    assert_eq!(written(&mut fib).len(), 2);
    fib.set_source(pipit_bgp::FamilyMap {
        ipv4: Some(ip("192.0.2.1")),
        ipv6: None,
    });
    assert!(fib.poll_batch().is_none(), "no such address here");
    fib.handle_kernel([KernelEvent::Address {
        device: 2,
        address: ip("192.0.2.1"),
        net: net("192.0.2.0/24"),
        is_tentative: false,
    }]);
    let ops = fib.poll_batch().unwrap();
    fib.handle_result(&[]);
    assert_eq!(ops.len(), 1, "a blackhole sends nothing");
    assert_eq!(
        (ops[0].kind, ops[0].route.source),
        (FibOpKind::Replace, Some(ip("192.0.2.1")))
    );
    // Somebody takes it away.
    fib.handle_kernel([replacement(BLOCK, OURS, eth0(0))]);
    assert_eq!(
        written(&mut fib),
        ["Replace 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]
    );
}

#[test]
fn in_a_table_of_our_own_the_main_one_leads_and_is_not_in_the_way() {
    let mut fib = Fib::apart(OURS);
    let in_main = |event| match event {
        KernelEvent::Route {
            prefix,
            protocol,
            route,
            how,
            ..
        } => KernelEvent::Route {
            table: Table::Main,
            prefix,
            protocol,
            route,
            how,
        },
        other => other,
    };
    let begin = [KernelEvent::DumpBegin];
    let found = node()
        .into_iter()
        .chain([route(BLOCK, OURS, eth1(0)), route("10.65.4.0/26", 80, eth1(0))]);
    let ours = [
        route("10.65.3.0/26", STATIC, eth1(0)),
        route("10.65.5.0/26", OURS, eth1(0)),
    ];
    let events = begin.into_iter().chain(found.map(in_main)).chain(ours);
    fib.handle_kernel(events.chain([KernelEvent::DumpEnd]));
    assert_eq!(fib.poll_event(), Some(FibEvent::Loaded { adopted: 1 }));
    for prefix in [BLOCK, "10.65.3.0/26", "10.65.4.0/26"] {
        set(&mut fib, prefix, Some(via(&[hop("192.0.2.12")], 0)));
    }
    fib.allow_sweep();
    let mut all = written(&mut fib);
    all.sort();
    assert_eq!(
        all,
        [
            "Create 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0",
            "Create 10.65.4.0/26 via 192.0.2.12 dev 2 metric 0",
            "Delete 10.65.5.0/26 via 198.51.100.7 dev 3 metric 0",
        ]
    );
    assert_eq!(state(&fib, "10.65.3.0/26").unwrap().0, "conflict");
}

#[test]
fn a_view_shows_what_the_kernel_has_instead() {
    let mut fib = loaded(&[route("10.65.3.0/26", STATIC, eth1(0))]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    set(&mut fib, "10.65.3.0/26", Some(via(&[hop("192.0.2.12")], 0)));
    let kernel = |fib: &Fib, prefix: &str| {
        let views = fib.query();
        let view = views.into_iter().find(|view| view.prefix == net(prefix)).unwrap();
        view.kernel
    };
    assert_eq!(kernel(&fib, BLOCK), None);
    written(&mut fib);
    assert_eq!(kernel(&fib, BLOCK), None);
    assert_eq!(
        kernel(&fib, "10.65.3.0/26").as_deref(),
        Some("via 198.51.100.7 dev eth1 proto 4")
    );
    set(&mut fib, BLOCK, Some(via(&[hop("198.51.100.7")], 100)));
    assert_eq!(kernel(&fib, BLOCK).as_deref(), Some("via 192.0.2.12 dev eth0"));
}
#[test]
fn a_preferred_source_waits_for_the_end_of_duplicate_address_detection() {
    let mut fib = loaded(&[]);
    let source = ip("fd31:1::99");
    fib.set_source(pipit_bgp::FamilyMap {
        ipv4: None,
        ipv6: Some(source),
    });
    let event = |is_tentative| KernelEvent::Address {
        device: 2,
        address: source,
        net: net("fd31:1::/64"),
        is_tentative,
    };
    fib.handle_kernel([event(true)]);
    assert!(fib.is_own(source));
    set(&mut fib, "fd65::2:0/122", Some(via(&[hop("fd31:1::12")], 0)));
    let sources = |fib: &mut Fib| -> Vec<Option<IpAddr>> {
        let ops = fib.poll_batch().unwrap_or_default();
        fib.handle_result(&[]);
        ops.iter().map(|op| op.route.source).collect()
    };
    assert_eq!(sources(&mut fib), [None]);
    fib.handle_kernel([event(false)]);
    assert_eq!(sources(&mut fib), [Some(source)]);
    fib.handle_kernel([event(true)]);
    assert_eq!(sources(&mut fib), [None]);
}
