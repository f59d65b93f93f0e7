//! Other programs' routes that change in ways which the kernel tells of in part, or of which it does not say what they
//! leave.

use super::*;

const BLOCK: &str = "10.65.2.0/26";
const BLOCK6: &str = "fd65::2:0/122";
const BEHIND: &str = "172.16.0.0/12";
const BEHIND6: &str = "fd50::/64";

/// A node with a route of ours behind these of others.
fn behind(found: &[KernelEvent]) -> Fib {
    let mut fib = loaded(found);
    set(&mut fib, BLOCK, Some(via(&[hop("172.16.9.9")], 0)));
    set(&mut fib, BLOCK6, Some(via(&[hop("fd50::9")], 0)));
    written(&mut fib);
    fib
}

fn wants_dump(fib: &mut Fib) -> bool {
    let mut events = std::iter::from_fn(|| fib.poll_event());
    events.any(|event| event == FibEvent::WantsDump)
}

fn gateways(of: &[&str]) -> KernelRoute {
    let ways: Vec<KernelHop> = of.iter().map(|gateway| way(Some(gateway), 2)).collect();
    unicast(&ways, 1024)
}

#[test]
fn ipv6_gateways_of_others_leave_one_by_one() {
    let mut both = gateways(&["fd31:1::2", "fd31:1::3"]);
    let mut fib = behind(&[route(BEHIND6, STATIC, both.clone())]);
    // Told of alone it has no weight.
    fib.handle_kernel([gone(BEHIND6, STATIC, gateways(&["fd31:1::2"]))]);
    assert_eq!(
        written(&mut fib),
        ["Replace fd65::2:0/122 via fd31:1::3 dev 2 metric 1024"]
    );
    fib.handle_kernel([gone(BEHIND6, STATIC, gateways(&["fd31:1::3"]))]);
    assert_eq!(
        written(&mut fib),
        ["Delete fd65::2:0/122 via fd31:1::3 dev 2 metric 1024"]
    );
    let KernelAction::Unicast(hops) = &mut both.action else {
        unreachable!()
    };
    hops[1].weight = 7;
    fib.handle_kernel([
        route(BEHIND6, STATIC, both),
        gone(BEHIND6, STATIC, gateways(&["fd31:1::3"])),
        gone(BEHIND6, STATIC, gateways(&["fd31:1::2"])),
    ]);
    assert_eq!(written(&mut fib), [""; 0]);
    assert!(!wants_dump(&mut fib));
}

#[test]
fn ipv6_gateways_of_others_that_join_leave_nothing_behind() {
    let mut fib = behind(&[]);
    fib.handle_kernel([
        route(BEHIND6, STATIC, gateways(&["fd31:1::2"])),
        route(BEHIND6, STATIC, gateways(&["fd31:1::2", "fd31:1::3"])),
    ]);
    assert_eq!(written(&mut fib).len(), 1);
    fib.handle_kernel([gone(BEHIND6, STATIC, gateways(&["fd31:1::2", "fd31:1::3"]))]);
    assert_eq!(
        written(&mut fib),
        ["Delete fd65::2:0/122 via fd31:1::2 dev 2 metric 1024"]
    );
    assert!(!wants_dump(&mut fib));
}

#[test]
fn ipv6_gateways_that_leave_under_another_number_are_looked_up() {
    let mut fib = behind(&[route(BEHIND6, STATIC, gateways(&["fd31:1::2", "fd31:1::3"]))]);
    fib.handle_kernel([gone(BEHIND6, 99, gateways(&["fd31:1::2"]))]);
    assert_eq!(written(&mut fib), [""; 0]);
    assert!(wants_dump(&mut fib));
}

#[test]
fn of_two_alike_ipv4_routes_one_that_goes_leaves_the_other() {
    let alike = || route(BEHIND, STATIC, unicast(&[way(Some("192.0.2.1"), 2)], 0));
    let goes = || gone(BEHIND, STATIC, unicast(&[way(Some("192.0.2.1"), 2)], 0));
    let ours = || route(BLOCK, OURS, unicast(&[way(Some("192.0.2.1"), 2)], 0));
    // The second one is told of by an event, or shown by a dump.
    let mut told = behind(&[alike()]);
    told.handle_kernel([alike()]);
    for mut fib in [told, behind(&[alike(), alike()])] {
        assert!(!wants_dump(&mut fib));
        fib.handle_kernel([goes()]);
        assert_eq!(written(&mut fib), [""; 0], "not before the kernel was asked");
        assert!(wants_dump(&mut fib));
        dump(&mut fib, &[ours(), alike()]);
        assert_eq!(written(&mut fib), [""; 0]);
        fib.handle_kernel([goes()]);
        assert_eq!(written(&mut fib).len(), 1, "now there is none");
        assert!(!wants_dump(&mut fib));
    }
}

#[test]
fn what_an_event_tells_during_a_dump_may_be_shown_again_or_be_a_second_one() {
    let first = || unicast(&[way(Some("192.0.2.1"), 2)], 0);
    let (told, goes) = (route(BEHIND, STATIC, first()), gone(BEHIND, STATIC, first()));
    let shown = KernelEvent::Route {
        table: Table::Ours,
        prefix: net(BEHIND),
        protocol: STATIC,
        route: first(),
        how: Arrival::Shown,
    };
    for (during, is_second) in [([told.clone(), shown.clone()], false), ([shown, told], true)] {
        let mut fib = behind(&[]);
        let begin = [KernelEvent::DumpBegin];
        fib.handle_kernel(
            begin
                .into_iter()
                .chain(node())
                .chain(during)
                .chain([KernelEvent::DumpEnd]),
        );
        assert_eq!(written(&mut fib).len(), 1);
        fib.handle_kernel([goes.clone()]);
        assert_eq!(wants_dump(&mut fib), is_second);
        assert_eq!(written(&mut fib).len(), usize::from(!is_second));
    }
}

#[test]
fn packets_go_by_the_first_of_several_ipv4_routes() {
    let [first, second, third, fourth] =
        [1, 2, 3, 4].map(|last| unicast(&[way(Some(&format!("192.0.2.{last}")), 2)], 0));
    let told = |of: &KernelRoute, how| KernelEvent::Route {
        table: Table::Ours,
        prefix: net(BEHIND),
        protocol: STATIC,
        route: of.clone(),
        how,
    };
    let mut fib = behind(&[route(BEHIND, STATIC, first.clone())]);
    // Each with the gateway that ours has then; `None`: as before.
    for (event, gateway) in [
        (told(&second, Arrival::Added), None),
        (told(&third, Arrival::AddedFirst), Some(3)),
        (told(&fourth, Arrival::Replacement), Some(4)),
        (gone(BEHIND, STATIC, fourth.clone()), Some(1)),
        (gone(BEHIND, STATIC, first.clone()), Some(2)),
    ] {
        fib.handle_kernel([event]);
        let expected = gateway.map(|last| format!("Replace 10.65.2.0/26 via 192.0.2.{last} dev 2 metric 0"));
        assert_eq!(written(&mut fib), Vec::from_iter(expected));
    }
    assert!(!wants_dump(&mut fib));
}

#[test]
fn a_flood_of_what_only_a_dump_shows_costs_few_dumps() {
    let alike = || unicast(&[way(Some("192.0.2.1"), 2)], 0);
    let ours = route(BLOCK, OURS, alike());
    let mut fib = behind(&[route(BEHIND, STATIC, alike())]);
    let shown = [
        ours,
        route(BEHIND, STATIC, alike()),
        route(BEHIND, STATIC, alike()),
    ];
    let mut now = Instant::now();
    let mut dumps = 0;
    for _ in 0..10_000 {
        now += Duration::from_millis(1);
        fib.handle_timeout(now);
        fib.handle_kernel([route(BEHIND, STATIC, alike()), gone(BEHIND, STATIC, alike())]);
        if wants_dump(&mut fib) {
            dumps += 1;
            dump(&mut fib, &shown);
        }
        assert_eq!(written(&mut fib), [""; 0]);
    }
    assert!((1..=12).contains(&dumps), "{dumps}");
    now = fib.poll_timeout().expect("the last doubt is not forgotten");
    fib.handle_timeout(now);
    assert!(wants_dump(&mut fib));
}

#[test]
fn another_programs_ecmp_route_goes_in_silence_with_the_last_of_its_links() {
    let two = unicast(&[way(Some("192.0.2.1"), 2), way(Some("198.51.100.7"), 3)], 0);
    for is_gone in [false, true] {
        let mut fib = behind(&[route(BEHIND, STATIC, two.clone())]);
        let goes = |index, name| match is_gone {
            true => KernelEvent::LinkGone { index },
            false => link(index, name, false),
        };
        fib.handle_kernel([goes(2, "eth0")]);
        assert_eq!(
            written(&mut fib),
            ["Create 10.65.2.0/26 via 198.51.100.7 dev 3 metric 0"],
            "the kernel dropped ours, and keeps theirs"
        );
        fib.handle_kernel([goes(3, "eth1")]);
        fib.handle_kernel([link(2, "eth0", true), link(3, "eth1", true)]);
        assert_eq!(written(&mut fib), [""; 0]);
        assert_eq!(fib.track(ip("172.16.9.9")), Reachability::Unreachable);
    }
}

#[test]
fn ipv6_that_leaves_a_link_in_silence_is_looked_up() {
    let connected = || gone("fd31:1::/64", KERNEL, unicast(&[way(None, 2)], 256));
    let ours = || gone(BLOCK6, OURS, unicast(&[way(Some("fd31:1::2"), 2)], 1024));
    let addresses = [("fd31:1::1", "fd31:1::/64"), ("fe80::1", "fe80::/64")];
    // What the kernel says before it says that the addresses are gone, and whether some route may have gone in silence.
    let cases = [
        (vec![], true),
        (vec![connected()], true),
        (vec![ours()], true),
        (vec![ours(), connected()], false),
        (vec![link(2, "eth0", false)], false),
    ];
    for (said, is_silent) in cases {
        let mut fib = behind(&[]);
        set(&mut fib, BLOCK6, Some(via(&[hop("fd31:1::2")], 0)));
        assert_eq!(written(&mut fib).len(), 1);
        for (address, on_link) in addresses {
            fib.handle_kernel([KernelEvent::Address {
                device: 2,
                address: ip(address),
                net: net(on_link),
                is_tentative: false,
            }]);
        }
        fib.handle_kernel(said.clone());
        for (left, (address, on_link)) in (0..addresses.len()).rev().zip(addresses) {
            fib.handle_kernel([KernelEvent::AddressGone {
                device: 2,
                address: ip(address),
                net: net(on_link),
            }]);
            assert_eq!(
                wants_dump(&mut fib),
                is_silent && left == 0,
                "{said:?}, {address}"
            );
        }
    }
}
