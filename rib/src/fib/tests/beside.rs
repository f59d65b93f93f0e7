//! Routes beside ours with the same prefix: others' before and behind, and what somebody leaves under our number.

use super::ownership::{BLOCK, eth0, eth1};
use super::*;

#[test]
fn what_the_kernel_shows_and_does_not_find_is_refused_and_not_looked_up_for_ever() {
    const ESRCH: i32 = 3;
    for is_wanted in [false, true] {
        let mut fib = loaded(&[]);
        let start = Instant::now();
        fib.handle_timeout(start);
        fib.allow_sweep();
        let mut found = vec![route(BLOCK, OURS, eth1(5))];
        if is_wanted {
            set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 7)));
            written(&mut fib);
            found.push(route(BLOCK, OURS, eth0(7)));
        }
        fib.handle_kernel([route(BLOCK, OURS, eth1(5))]);
        let refuse = |fib: &mut Fib| {
            assert_eq!(
                batch(fib),
                ["Delete 10.65.2.0/26 via 198.51.100.7 dev 3 metric 5"]
            );
            fib.handle_result(&[FibRefusal { at: 0, errno: ESRCH }]);
        };
        refuse(&mut fib);
        assert_eq!(
            fib.poll_event(),
            Some(FibEvent::WantsDump),
            "somebody may have been faster"
        );
        dump(&mut fib, &found);
        refuse(&mut fib);
        assert_eq!(fib.poll_event(), None, "it was not");
        assert!(fib.is_settled());
        let views = fib.troubles(9);
        assert_eq!((views.len(), views[0].state, views[0].metric), (1, "refused", 5));
        let repaired = fib.repaired();
        fib.handle_timeout(start);
        for wait in [1, 2, 4, 8] {
            let due = fib.poll_timeout().unwrap();
            assert_eq!(due - fib.now().unwrap(), Duration::from_secs(wait));
            fib.handle_timeout(due);
            refuse(&mut fib);
            assert_eq!(fib.poll_event(), None);
        }
        assert_eq!(fib.repaired(), repaired);
        // Gone at last, and back: deleted as any other.
        fib.handle_kernel([gone(BLOCK, OURS, eth1(5)), route(BLOCK, OURS, eth1(5))]);
        assert_eq!(written(&mut fib).len(), 1);
        let left = if is_wanted {
            Some(("installed", None))
        } else {
            None
        };
        assert_eq!(state(&fib, BLOCK), left);
    }
}

/// `ip -6 route append … proto bird` to another program's route: the kernel tells of one route with both gateways,
/// under our number, and of the deletion of what carries it that the other gateway was not found.
#[test]
fn a_gateway_with_our_number_beside_another_programs_is_removed_and_that_one_looked_up_afresh() {
    const ESRCH: i32 = 3;
    let prefix = "fd65::2:0/122";
    let theirs = unicast(&[way(Some("fd31:1::9"), 2)], 1024);
    let joined = unicast(&[way(Some("fd31:1::8"), 2), way(Some("fd31:1::9"), 2)], 1024);
    let mut fib = loaded(&[route(prefix, STATIC, theirs.clone())]);
    fib.allow_sweep();
    set(&mut fib, prefix, Some(via(&[hop("fd31:1::12")], 0)));
    assert!(written(&mut fib).is_empty());
    fib.handle_kernel([route(prefix, OURS, joined)]);
    assert_eq!(batch(&mut fib).len(), 1, "a deletion");
    fib.handle_result(&[FibRefusal { at: 0, errno: ESRCH }]);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    dump(&mut fib, &[route(prefix, STATIC, theirs.clone())]);
    assert!(written(&mut fib).is_empty());
    assert_eq!(state(&fib, prefix).unwrap().0, "conflict");
    fib.handle_kernel([gone(prefix, STATIC, theirs)]);
    while let Some(event) = fib.poll_event() {
        assert_eq!(event, FibEvent::WantsDump);
        dump(&mut fib, &[]);
    }
    assert_eq!(
        written(&mut fib),
        ["Create fd65::2:0/122 via fd31:1::12 dev 2 metric 1024"]
    );
}

#[test]
fn a_foreign_route_behind_ours_is_not_in_its_way() {
    let expected = ["Replace 10.65.2.0/26 via 198.51.100.7 dev 3 metric 8"];
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 8)));
    written(&mut fib);
    let other = |metric| unicast(&[way(Some("192.0.2.99"), 2)], metric);
    fib.handle_kernel([route(BLOCK, STATIC, other(8)), route(BLOCK, 80, other(8))]);
    assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
    set(&mut fib, BLOCK, Some(via(&[hop("198.51.100.7")], 8)));
    assert_eq!(written(&mut fib), expected);
    assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
    // Somebody changes ours: it was the first, and is.
    fib.handle_kernel([replacement(BLOCK, OURS, eth0(8))]);
    assert_eq!(written(&mut fib), expected);
    assert_eq!(fib.poll_event(), None);
    // A dump tells the order too.
    fib.handle_kernel([KernelEvent::Overrun]);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    dump(
        &mut fib,
        &[route(BLOCK, OURS, eth0(8)), route(BLOCK, STATIC, other(8))],
    );
    assert_eq!(written(&mut fib), expected);
    // One with a better metric goes before ours all the same.
    fib.handle_kernel([route(BLOCK, STATIC, other(7))]);
    assert_eq!(state(&fib, BLOCK).unwrap().0, "shadowed");
}

#[test]
fn ours_behind_a_foreign_route_is_not_replaced_but_written_when_that_goes() {
    let other = unicast(&[way(Some("192.0.2.99"), 2)], 8);
    for by_dump in [false, true] {
        let mut fib = loaded(&[]);
        set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 8)));
        written(&mut fib);
        if by_dump {
            fib.handle_kernel([KernelEvent::Overrun]);
            assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
            let all = [
                route(BLOCK, STATIC, other.clone()),
                route(BLOCK, OURS, eth0(8)),
                route(BLOCK, 80, other.clone()),
            ];
            dump(&mut fib, &all);
            fib.handle_kernel([gone(BLOCK, 80, other.clone())]);
        } else {
            fib.handle_kernel([before(BLOCK, STATIC, other.clone())]);
        }
        assert_eq!(state(&fib, BLOCK).unwrap().0, "shadowed");
        set(&mut fib, BLOCK, Some(via(&[hop("198.51.100.7")], 8)));
        assert_eq!(
            written(&mut fib),
            ["Delete 10.65.2.0/26 via 192.0.2.12 dev 2 metric 8"]
        );
        assert_eq!(state(&fib, BLOCK).unwrap().0, "conflict");
        fib.handle_kernel([gone(BLOCK, STATIC, other.clone())]);
        assert_eq!(
            written(&mut fib),
            ["Create 10.65.2.0/26 via 198.51.100.7 dev 3 metric 8"]
        );
    }
}

#[test]
fn a_route_with_our_number_that_is_put_before_a_foreign_one_is_the_first() {
    let other = unicast(&[way(Some("192.0.2.99"), 2)], 8);
    for is_appended in [false, true] {
        let mut fib = loaded(&[route(BLOCK, STATIC, other.clone())]);
        set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 8)));
        assert!(written(&mut fib).is_empty());
        if is_appended {
            fib.handle_kernel([route(BLOCK, OURS, eth1(8))]);
            assert_eq!(
                written(&mut fib),
                ["Delete 10.65.2.0/26 via 198.51.100.7 dev 3 metric 8"]
            );
        } else {
            fib.handle_kernel([before(BLOCK, OURS, eth1(8))]);
            assert_eq!(
                written(&mut fib),
                ["Replace 10.65.2.0/26 via 192.0.2.12 dev 2 metric 8"]
            );
            assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
        }
    }
}

/// The event comes between the parts of a dump, before ours is shown.
#[test]
fn a_foreign_route_that_is_appended_during_a_dump_is_behind_ours() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 8)));
    written(&mut fib);
    fib.handle_kernel([KernelEvent::Overrun]);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    let other = unicast(&[way(Some("192.0.2.99"), 2)], 8);
    let added = route(BLOCK, STATIC, other.clone());
    let shown = |protocol, route| told(Arrival::Shown, BLOCK, protocol, route);
    let events = [KernelEvent::DumpBegin].into_iter().chain(node());
    let events = events.chain([added, shown(OURS, eth0(8)), shown(STATIC, other)]);
    fib.handle_kernel(events.chain([KernelEvent::DumpEnd]));
    assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
}

#[test]
fn of_two_routes_left_over_with_one_metric_none_is_forgotten() {
    let second = |metric| unicast(&[way(Some("198.51.100.8"), 3)], metric);
    let mut fib = loaded(&[]);
    fib.allow_sweep();
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 8)));
    written(&mut fib);
    // `ip -batch`: both in one burst.
    fib.handle_kernel([route(BLOCK, OURS, eth1(5)), route(BLOCK, OURS, second(5))]);
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    let there = [
        route(BLOCK, OURS, eth1(5)),
        route(BLOCK, OURS, second(5)),
        route(BLOCK, OURS, eth0(8)),
    ];
    dump(&mut fib, &there);
    let mut deletions = batch(&mut fib);
    deletions.sort();
    assert_eq!(
        deletions,
        [
            "Delete 10.65.2.0/26 via 198.51.100.7 dev 3 metric 5",
            "Delete 10.65.2.0/26 via 198.51.100.8 dev 3 metric 5",
        ]
    );
    // One of the two is not deleted.
    fib.handle_result(&[FibRefusal { at: 1, errno: 12 }]);
    assert_eq!(state(&fib, BLOCK).unwrap().0, "refused");
    fib.repair();
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
    dump(&mut fib, &there[1..]);
    assert_eq!(written(&mut fib).len(), 1);
    assert_eq!(state(&fib, BLOCK), Some(("installed", None)));
    assert_eq!(fib.poll_event(), None);
}

#[test]
fn metrics_that_somebody_puts_on_our_route_are_taken_off() {
    let with_mtu = KernelRoute {
        has_more: true,
        ..eth0(0)
    };
    let expected = ["Replace 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"];
    // Found at the start, and by hand later.
    let mut fib = loaded(&[route(BLOCK, OURS, with_mtu.clone())]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    fib.allow_sweep();
    assert_eq!(written(&mut fib), expected);
    fib.handle_kernel([replacement(BLOCK, OURS, with_mtu.clone())]);
    assert_eq!(written(&mut fib), expected);
    assert_eq!(fib.repaired(), 1);
    // Of others' they do not matter.
    let theirs = "10.65.9.0/26";
    fib.handle_kernel([route(theirs, STATIC, with_mtu)]);
    set(&mut fib, theirs, Some(via(&[hop("192.0.2.12")], 0)));
    fib.handle_kernel([gone(theirs, STATIC, eth0(0))]);
    assert_eq!(written(&mut fib).len(), 1);
}
