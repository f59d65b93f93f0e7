//! What a fresh look at the kernel finds, and what is then done about it.

use super::*;

const BLOCK: &str = "10.65.2.0/26";

fn eth0(metric: u32) -> KernelRoute {
    unicast(&[way(Some("192.0.2.12"), 2)], metric)
}

fn audited(fib: &Fib, found: Vec<KernelEvent>) -> Vec<String> {
    let mut audit = fib.audit();
    audit.observe(fib, found);
    let word = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    audit
        .finish(fib)
        .into_iter()
        .map(|found| {
            format!(
                "{} {}: {} / {}: {}",
                found.prefix,
                found.problem,
                word(found.desired),
                word(found.kernel),
                found.action
            )
        })
        .collect()
}

#[test]
fn a_table_as_it_should_be_has_no_difference() {
    let mut fib = loaded(&[]);
    set(&mut fib, BLOCK, Some(via(&[hop("192.0.2.12")], 0)));
    fib.allow_sweep();
    assert_eq!(written(&mut fib).len(), 1);
    let there = vec![
        route(BLOCK, OURS, eth0(0)),
        route("10.65.9.0/26", STATIC, eth0(0)),
    ];
    assert_eq!(audited(&fib, there), [""; 0]);
}

#[test]
fn an_audit_finds_what_no_event_told() {
    let mut fib = loaded(&[route("10.65.6.0/26", STATIC, eth0(0))]);
    for prefix in [BLOCK, "10.65.3.0/26", "10.65.4.0/26", "10.65.6.0/26"] {
        set(&mut fib, prefix, Some(via(&[hop("192.0.2.12")], 0)));
    }
    set(&mut fib, "10.65.5.0/26", Some(via(&[hop("203.0.113.1")], 0)));
    fib.allow_sweep();
    assert_eq!(written(&mut fib).len(), 3);
    let there = vec![
        route(BLOCK, OURS, unicast(&[way(Some("198.51.100.7"), 3)], 0)),
        route("10.65.4.0/26", OURS, eth0(0)),
        route("10.65.4.0/26", OURS, eth0(100)),
        route("10.65.6.0/26", STATIC, eth0(0)),
        route("10.65.9.0/26", OURS, eth0(0)),
    ];
    assert_eq!(
        audited(&fib, there),
        [
            "10.65.2.0/26 different: via 192.0.2.12 dev eth0 / via 198.51.100.7 dev eth1: replace",
            "10.65.3.0/26 missing: via 192.0.2.12 dev eth0 / -: create",
            "10.65.4.0/26 unexpected: - / via 192.0.2.12 dev eth0 metric 100: delete",
            "10.65.5.0/26 parked: - / -: wait",
            "10.65.6.0/26 conflict: via 192.0.2.12 dev eth0 / via 192.0.2.12 dev eth0 proto 4: wait",
            "10.65.9.0/26 unexpected: - / via 192.0.2.12 dev eth0: delete",
        ]
    );
    // Nothing happened so far; on demand it does.
    assert!(written(&mut fib).is_empty());
    fib.repair();
    assert_eq!(fib.poll_event(), Some(FibEvent::WantsDump));
}

#[test]
fn what_an_earlier_run_left_waits_for_the_sweep() {
    let fib = loaded(&[route(BLOCK, OURS, eth0(0))]);
    let there = || vec![route(BLOCK, OURS, eth0(0))];
    assert_eq!(
        audited(&fib, there()),
        ["10.65.2.0/26 stale: - / via 192.0.2.12 dev eth0: wait"]
    );
}

#[test]
fn troubles_are_what_others_or_the_kernel_stand_in_the_way_of() {
    let mut fib = loaded(&[route(BLOCK, STATIC, eth0(0))]);
    for prefix in [BLOCK, "10.65.3.0/26", "10.65.4.0/26"] {
        set(&mut fib, prefix, Some(via(&[hop("192.0.2.12")], 0)));
    }
    fib.poll_batch().unwrap();
    fib.handle_result(&[FibRefusal {
        at: 1,
        errno: ENETUNREACH,
    }]);
    let troubles = fib.troubles(10);
    let states: Vec<&str> = troubles.iter().map(|view| view.state).collect();
    assert_eq!(states, ["conflict", "refused"]);
    assert_eq!(fib.troubles(1).len(), 1);
    let reason = troubles[0].reason.as_deref().unwrap();
    assert!(reason.contains("protocol 4"), "{reason}");
}
