//! What becomes of the old route while the kernel refuses the new one.

use super::*;

const EINVAL: i32 = 22;

/// The kernel refuses the only change of the next batch, which is returned in words.
fn refused(fib: &mut Fib) -> String {
    let ops = fib.poll_batch().unwrap();
    fib.handle_result(&[FibRefusal { at: 0, errno: EINVAL }]);
    words(&ops[0])
}

/// The next wait is over.
fn later(fib: &mut Fib) {
    while !fib.ipv4.has_dirty() {
        let due = fib.poll_timeout().unwrap();
        fib.handle_timeout(due);
    }
}

#[test]
fn what_is_not_wanted_any_more_goes_when_the_kernel_refuses_its_replacement_again() {
    let mut fib = loaded(&[]);
    fib.handle_timeout(Instant::now());
    let prefix = "10.65.2.0/26";
    set(&mut fib, prefix, Some(via(&[hop("192.0.2.12")], 0)));
    assert_eq!(written(&mut fib).len(), 1);
    set(&mut fib, prefix, Some(via(&[hop("198.51.100.7")], 0)));
    let replacement = "Replace 10.65.2.0/26 via 198.51.100.7 dev 3 metric 0";
    assert_eq!(refused(&mut fib), replacement);
    assert_eq!(written(&mut fib), [""; 0], "it may be ahead of what we know");
    later(&mut fib);
    assert_eq!(refused(&mut fib), replacement);
    let view = fib.view(net(prefix)).unwrap();
    let kernel = Some("via 192.0.2.12 dev eth0".to_owned());
    assert_eq!((view.state, view.kernel), ("refused", kernel));
    let ops = batch(&mut fib);
    assert_eq!(ops, ["Delete 10.65.2.0/26 via 192.0.2.12 dev 2 metric 0"]);
    fib.handle_result(&[]);
    for _ in 0..2 {
        assert_eq!(
            refused(&mut fib),
            "Create 10.65.2.0/26 via 198.51.100.7 dev 3 metric 0"
        );
        assert_eq!(written(&mut fib), [""; 0]);
        later(&mut fib);
    }
}

#[test]
fn of_several_next_hops_those_that_are_wanted_stay_while_the_new_set_is_refused() {
    let mut fib = loaded(&[]);
    fib.handle_timeout(Instant::now());
    let prefix = "10.65.2.0/26";
    let [a, b, c] = ["192.0.2.12", "192.0.2.13", "198.51.100.7"].map(hop);
    set(&mut fib, prefix, Some(via(&[a, b], 0)));
    assert_eq!(written(&mut fib).len(), 1);
    set(&mut fib, prefix, Some(via(&[a, b, c], 0)));
    for _ in 0..2 {
        refused(&mut fib);
        assert_eq!(written(&mut fib), [""; 0], "both are wanted");
        later(&mut fib);
    }
    refused(&mut fib);
    set(&mut fib, prefix, Some(via(&[b, c], 0)));
    let replacement = "Replace 10.65.2.0/26 via 192.0.2.13 dev 2, via 198.51.100.7 dev 3 metric 0";
    assert_eq!(refused(&mut fib), replacement);
    assert_eq!(written(&mut fib), [""; 0], "refused for the first time");
    later(&mut fib);
    assert_eq!(refused(&mut fib), replacement);
    let ops = batch(&mut fib);
    assert_eq!(ops, ["Replace 10.65.2.0/26 via 192.0.2.13 dev 2 metric 0"]);
    fib.handle_result(&[]);
    assert_eq!(refused(&mut fib), replacement);
    assert_eq!(written(&mut fib), [""; 0]);
    assert_eq!(state(&fib, prefix).map(|(state, _)| state), Some("refused"));
    // Another wish in between is not what was refused.
    later(&mut fib);
    set(&mut fib, prefix, Some(via(&[b], 0)));
    assert_eq!(written(&mut fib), [""; 0]);
    assert_eq!(state(&fib, prefix), Some(("installed", None)));
}
