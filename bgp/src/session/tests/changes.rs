//! Which settings a standing session takes up, and which need a new OPEN or a new connection.

use super::*;
use crate::session::change::{classify, reset_reasons};
use crate::session::config::{AddPath, Bfd, Role};

type Edit = fn(&mut PeerConfig);

/// Every field of [`PeerConfig`], and what its change is called where it resets; `None`: live.
const FIELDS: [(Edit, Option<&str>); 25] = [
    (|c| c.name = "Global_x".into(), None),
    (|c| c.port = 1790, None),
    (|c| c.passive = true, None),
    (|c| c.keepalive = Some(Duration::from_secs(1)), None),
    (|c| c.connect_retry = Duration::from_secs(9), None),
    (|c| c.delay_open = Duration::from_secs(9), None),
    (|c| c.idle_hold = Duration::from_secs(9), None),
    (|c| c.send_hold = Some(Duration::from_secs(9)), None),
    (|c| c.bfd = Some(BFD), None),
    (|c| c.ttl_security = Some(1), None),
    (
        |c| {
            c.graceful_restart = GracefulRestart::Restart {
                restart_time: Duration::from_secs(5),
                long_lived: Duration::from_secs(86_400),
            }
        },
        None,
    ),
    (|c| c.address = [10, 0, 0, 9].into(), Some("address")),
    (|c| c.interface = Some("eth0".into()), Some("interface")),
    (|c| c.remote_as = Asn(1), Some("AS")),
    (|c| c.local_as = Asn(1), Some("local AS")),
    (|c| c.router_id = 9.into(), Some("router id")),
    (|c| c.source = Some([10, 0, 0, 9].into()), Some("source address")),
    (|c| c.held = Some(HoldReason::Administrative), Some("held")),
    (
        |c| c.families = Family::ALL.into_iter().collect(),
        Some("families"),
    ),
    (|c| c.hold_time = Duration::from_secs(9), Some("hold time")),
    (|c| c.add_path = AddPath::Off, Some("ADD-PATH")),
    (|c| c.extended_next_hop = true, Some("extended next hop")),
    (|c| c.password = Some(Secret::new("x")), Some("password")),
    (|c| c.role = Some(Role::Peer), Some("role")),
    (
        |c| c.graceful_restart = GracefulRestart::Off,
        Some("graceful restart"),
    ),
];

const BFD: Bfd = Bfd {
    tx: Duration::from_millis(300),
    rx: Duration::from_millis(300),
    multiplier: 3,
};

#[test]
fn c202_each_setting_is_live_or_says_why_it_resets() {
    let base = config(LOW, HIGH);
    assert_eq!(classify(&base, &base), ChangeClass::None);
    for (edit, reason) in FIELDS {
        let mut new = base.clone();
        edit(&mut new);
        let class = match reason {
            None => ChangeClass::Live,
            Some(_) => ChangeClass::Reset,
        };
        assert_eq!(classify(&base, &new), class, "{new:?}");
        assert_eq!(reset_reasons(&base, &new), Vec::from_iter(reason));
    }
}

#[test]
fn c202_live_changes_leave_the_session_alone_and_others_reset_it_once() {
    let mut bench = Bench::mesh(|_| (), |c| c.passive = true).start();
    let (now, mut new) = (bench.now, config(LOW, HIGH));
    new.keepalive = Some(Duration::from_secs(2));
    bench.ends[0].session.change(now, new.clone());
    bench.settle();
    assert_eq!((bench.states(), bench.ends[0].downs.len()), (UP, 0));
    (new.hold_time, new.add_path) = (Duration::from_secs(30), AddPath::Off);
    bench.reachable = false;
    bench.ends[0].session.change(now, new);
    let reason = bench.ends[0].session.last_error().map(str::to_owned);
    assert_eq!(
        reason.as_deref(),
        Some("configuration changed: hold time, ADD-PATH")
    );
    bench.reachable = true;
    bench.settle();
    bench.advance(Duration::from_secs(10));
    assert_eq!((bench.states(), bench.ends[0].downs.len()), (UP, 1));
    let negotiated = bench.ends[0].session.negotiated();
    assert_eq!(negotiated.map(|n| n.hold_time), Some(Duration::from_secs(30)));
}
