//! IPv6 gateways that a route of ours covers.

use super::*;

const EHOSTUNREACH: i32 = 113;
const EINVAL: i32 = 22;

/// The next batch in words; the kernel refuses all of it.
fn refused(fib: &mut Fib, errno: i32) -> Vec<String> {
    let ops = fib.poll_batch().unwrap_or_default();
    let refusal = |at| FibRefusal { at, errno };
    let refusals: Vec<FibRefusal> = (0..ops.len()).map(refusal).collect();
    fib.handle_result(&refusals);
    ops.iter().map(words).collect()
}

#[test]
fn a_gateway_that_the_kernel_finds_behind_another_is_declared_to_be_on_the_link() {
    let mut fib = loaded(&[]);
    set(&mut fib, "fd10::/64", Some(via(&[hop("fd31:1::7")], 0)));
    set(&mut fib, "fd20::/64", Some(via(&[hop("fd31:1::12")], 0)));
    assert_eq!(written(&mut fib).len(), 2);
    set(&mut fib, "fd20::/64", Some(via(&[hop("fd31:1::7")], 0)));
    let both = [hop("198.51.100.7"), hop("fd31:1::7")];
    set(&mut fib, "10.65.2.0/26", Some(via(&both, 0)));
    assert_eq!(
        refused(&mut fib, EHOSTUNREACH),
        [
            "Create 10.65.2.0/26 via 198.51.100.7 dev 3, via fd31:1::7 dev 2 metric 0",
            "Replace fd20::/64 via fd31:1::7 dev 2 metric 1024"
        ]
    );
    assert_eq!(
        written(&mut fib),
        [
            "Create 10.65.2.0/26 via 198.51.100.7 dev 3, via fd31:1::7 dev 2 onlink metric 0",
            "Replace fd20::/64 via fd31:1::7 dev 2 onlink metric 1024"
        ]
    );
    for prefix in ["fd10::/64", "fd20::/64", "10.65.2.0/26"] {
        assert_eq!(state(&fib, prefix), Some(("installed", None)), "{prefix}");
    }
    // What a dump shows without the flag is as good, and so is what an earlier life wrote with it.
    let shown = |is_onlink| {
        let way = KernelHop {
            is_onlink,
            ..way(Some("fd31:1::7"), 2)
        };
        unicast(&[way], 1024)
    };
    let both = ["fd10::/64", "fd20::/64"].map(|prefix| route(prefix, OURS, shown(false)));
    let ipv4 = unicast(&[way(Some("198.51.100.7"), 3), way(Some("fd31:1::7"), 2)], 0);
    let ipv4 = route("10.65.2.0/26", OURS, ipv4);
    dump(&mut fib, &[both.to_vec(), vec![ipv4]].concat());
    assert_eq!(written(&mut fib), [""; 0]);
    let mut fib = loaded(&[route("fd10::/64", OURS, shown(true))]);
    set(&mut fib, "fd10::/64", Some(via(&[hop("fd31:1::7")], 0)));
    assert_eq!(written(&mut fib), [""; 0]);
}

#[test]
fn the_declaration_ends_with_the_link_and_where_it_is_refused() {
    let mut fib = loaded(&[]);
    let start = Instant::now();
    fib.handle_timeout(start);
    set(&mut fib, "fd20::/64", Some(via(&[hop("fd31:1::7")], 0)));
    let [plain, onlink] = [
        "Create fd20::/64 via fd31:1::7 dev 2 metric 1024",
        "Create fd20::/64 via fd31:1::7 dev 2 onlink metric 1024",
    ];
    // A route by another link covers it as well: each is tried, and again when it is time.
    for _ in 0..2 {
        assert_eq!(refused(&mut fib, EHOSTUNREACH), [plain]);
        assert_eq!(refused(&mut fib, EINVAL), [onlink]);
        assert_eq!(refused(&mut fib, EHOSTUNREACH), [plain]);
        assert_eq!(written(&mut fib), [""; 0]);
        assert_eq!(state(&fib, "fd20::/64").map(|(state, _)| state), Some("refused"));
        for _ in 0..2 {
            let due = fib.poll_timeout().unwrap();
            fib.handle_timeout(due);
            if fib.ipv6.has_dirty() {
                break;
            }
        }
    }
    assert_eq!(refused(&mut fib, EHOSTUNREACH), [plain]);
    assert_eq!(written(&mut fib), [onlink]);
    fib.handle_kernel([link(2, "eth0", false)]);
    fib.handle_kernel(node());
    assert_eq!(written(&mut fib), [plain]);
}

#[test]
fn what_is_not_wanted_any_more_goes_when_no_form_of_its_replacement_is_taken() {
    let mut fib = loaded(&[]);
    fib.handle_timeout(Instant::now());
    for prefix in ["fd20::/64", "fd21::/64"] {
        set(&mut fib, prefix, Some(via(&[hop("fd31:1::12")], 0)));
    }
    assert_eq!(written(&mut fib).len(), 2);
    for prefix in ["fd20::/64", "fd21::/64"] {
        set(&mut fib, prefix, Some(via(&[hop("fd31:1::7")], 0)));
    }
    for _ in 0..2 {
        for errno in [EHOSTUNREACH, EINVAL, EHOSTUNREACH] {
            assert_eq!(refused(&mut fib, errno).len(), 2);
        }
        while !fib.ipv6.has_dirty() {
            let due = fib.poll_timeout().unwrap();
            fib.handle_timeout(due);
        }
    }
    let mut deletions = batch(&mut fib);
    deletions.sort();
    assert_eq!(
        deletions,
        [
            "Delete fd20::/64 via fd31:1::12 dev 2 metric 1024",
            "Delete fd21::/64 via fd31:1::12 dev 2 metric 1024"
        ]
    );
}

#[test]
fn a_gateway_that_is_not_on_the_link_is_not_declared_to_be() {
    let mut fib = loaded(&[]);
    set(&mut fib, "10.65.2.0/26", Some(via(&[hop("192.0.2.12")], 0)));
    assert_eq!(refused(&mut fib, EHOSTUNREACH).len(), 1);
    assert_eq!(written(&mut fib), [""; 0]);
    assert_eq!(
        state(&fib, "10.65.2.0/26").map(|(state, _)| state),
        Some("refused")
    );
}
