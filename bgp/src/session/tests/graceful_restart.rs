//! RFC 4724, RFC 8538: what is said of restarts, and what is kept over them.

use super::*;
use crate::wire::capability::{Capability, RestartFamily};

/// R bit and F bit of the next OPEN that a session sends.
fn bits(session: &mut Session, now: Instant) -> (bool, bool) {
    let taken = session.handle_connected(now, Direction::Incoming, LOW.parse().unwrap());
    assert_eq!(taken, Connected::Taken);
    let open = std::iter::from_fn(|| session.poll_action())
        .find_map(|action| match action {
            Action::Send(_, bytes) if bytes[18] == message::OPEN => Open::decode(&bytes[19..]).ok(),
            _ => None,
        })
        .unwrap();
    let restart = open.capabilities.iter().find_map(|capability| match capability {
        Capability::GracefulRestart {
            is_restarting,
            families,
            ..
        } => Some((*is_restarting, families.iter().all(|f| f.is_forwarding))),
        _ => None,
    });
    restart.unwrap()
}

#[test]
fn rfc4724_3_the_first_open_of_a_fresh_daemon_promises_nothing() {
    let now = Instant::now();
    let mut session = Session::new(config(LOW, HIGH), Resumption::None, 1);
    session.start(now);
    assert_eq!(bits(&mut session, now), (false, false));
}

#[test]
fn rfc4724_4_1_a_restarted_daemon_says_so_until_its_recovery_is_over_and_that_forwarding_went_on_for_good() {
    let now = Instant::now();
    let mut session = Session::new(config(LOW, HIGH), Resumption::Restart, 1);
    session.start(now);
    assert_eq!(bits(&mut session, now), (true, true));
    session.handle_closed(now, Direction::Incoming, None);
    session.recovery_done();
    assert_eq!(bits(&mut session, now), (false, true));
}

#[test]
fn rfc9494_3_1_what_peers_may_keep_longer_is_said_by_family_and_without_one_where_nothing_is_asked_for() {
    let asked = |restart, resumption| {
        let mut config = config(LOW, HIGH);
        config.graceful_restart = restart;
        negotiate::our_open(&config, resumption)
            .capabilities
            .into_iter()
            .find_map(|capability| match capability {
                Capability::LongLivedRestart(families) => Some(families),
                _ => None,
            })
    };
    let restart = |secs| GracefulRestart::Restart {
        restart_time: Duration::from_secs(120),
        long_lived: Duration::from_secs(secs),
    };
    let day = |is_forwarding| Some(vec![(1, 1, is_forwarding, 86_400)]);
    assert_eq!(asked(restart(86_400), Resumption::None), day(false));
    assert_eq!(asked(restart(86_400), Resumption::Forwarding), day(true));
    assert_eq!(asked(restart(86_400), Resumption::Restart), day(true));
    assert_eq!(
        asked(restart(u64::MAX), Resumption::None),
        Some(vec![(1, 1, false, 0xff_ffff)])
    );
    assert_eq!(asked(restart(0), Resumption::Restart), Some(vec![]));
    assert_eq!(asked(GracefulRestart::Helper, Resumption::None), Some(vec![]));
    assert_eq!(asked(GracefulRestart::Off, Resumption::None), None);
}

#[test]
fn rfc8538_4_after_a_session_the_next_open_says_that_forwarding_went_on() {
    let mut bench = Bench::mesh(|c| c.passive = true, |_| ()).start();
    bench.cut();
    let now = bench.now;
    assert_eq!(bits(&mut bench.ends[0].session, now), (false, true));
}

#[test]
fn rfc4724_3_of_several_capabilities_the_last_counts() {
    let config = config(LOW, HIGH);
    let mut theirs = negotiate::our_open(&super::config(HIGH, LOW), negotiate::Resumption::None);
    let restart = |restart_time| Capability::GracefulRestart {
        is_restarting: false,
        has_notification: false,
        restart_time,
        families: vec![RestartFamily {
            afi: 1,
            safi: 1,
            is_forwarding: true,
        }],
    };
    theirs.capabilities.extend([restart(7), restart(8)]);
    let negotiated = negotiate::negotiate(&config, &theirs, LOW.parse().unwrap()).unwrap();
    let restart = negotiated.graceful_restart.unwrap();
    assert_eq!(restart.restart_time, Duration::from_secs(8));
    assert!(!restart.notification);
}

/// What one end hears when the other leaves with this.
fn farewell(restart: GracefulRestart, how: &Stop) -> (String, FamilySet) {
    let mut bench = Bench::mesh(
        |c| c.graceful_restart = restart,
        |c| (c.passive, c.graceful_restart) = (true, restart),
    )
    .start();
    bench.ends[1].session.stop(how);
    bench.settle();
    let end = bench.ends[0].downs.pop().unwrap();
    (end.reason, end.retain)
}

#[test]
fn rfc8538_3_1_leaving_for_good_is_a_hard_reset_where_a_soft_one_would_keep_routes() {
    let leave = Stop::Notify(Notification::new(ErrorCode::PEER_DECONFIGURED));
    assert_eq!(
        farewell(GracefulRestart::default(), &leave),
        (
            "received: hard reset (6/9): peer de-configured (6/3)".into(),
            FamilySet::EMPTY
        )
    );
    assert_eq!(
        farewell(GracefulRestart::Off, &leave),
        ("received: peer de-configured (6/3)".into(), FamilySet::EMPTY)
    );
}

#[test]
fn rfc8538_4_a_changed_setting_lets_both_sides_keep_their_routes() {
    let change = Stop::Notify(Notification::new(ErrorCode::OTHER_CONFIGURATION_CHANGE));
    let (reason, retain) = farewell(GracefulRestart::default(), &change);
    assert_eq!(reason, "received: other configuration change (6/6)");
    assert_eq!(retain, FamilySet::only(Family::Ipv4Unicast));
}

#[test]
fn rfc4724_4_2_who_only_helps_says_goodbye_because_nobody_keeps_its_routes() {
    let (reason, retain) = farewell(GracefulRestart::Helper, &Stop::Restart);
    assert!(reason.contains("administrative shutdown (6/2)"), "{reason}");
    assert_eq!(retain, FamilySet::EMPTY);
}

#[test]
fn rfc8538_4_hold_timer_expiry_keeps_routes_only_with_the_n_bit() {
    for (restart, kept) in [
        (GracefulRestart::default(), FamilySet::only(Family::Ipv4Unicast)),
        (GracefulRestart::Off, FamilySet::EMPTY),
    ] {
        let mut bench = Bench::mesh(|c| c.graceful_restart = restart, |c| c.passive = true).start();
        let now = bench.now + Duration::from_secs(240);
        bench.ends[0].session.handle_timeout(now);
        let end =
            std::iter::from_fn(|| bench.ends[0].session.poll_action()).find_map(|action| match action {
                Action::Down(end) => Some(end),
                _ => None,
            });
        assert_eq!(end.map(|end| end.retain), Some(kept));
    }
}

#[test]
fn rfc8538_4_whoever_sends_a_notification_keeps_routes_too_but_not_those_that_were_too_many() {
    let kept = |restart, error| {
        let mut bench = Bench::mesh(|c| c.graceful_restart = restart, |c| c.passive = true).start();
        let now = bench.now;
        bench.ends[0]
            .session
            .reset(now, &Notification::new(error), "of a test".into());
        bench.settle();
        [0, 1].map(|end: usize| bench.ends[end].downs[0].retain)
    };
    let ipv4 = FamilySet::only(Family::Ipv4Unicast);
    let (on, off) = (GracefulRestart::default(), GracefulRestart::Off);
    assert_eq!(kept(on, ErrorCode::ADMINISTRATIVE_RESET), [ipv4, ipv4]);
    assert_eq!(kept(on, ErrorCode { code: 3, subcode: 1 }), [ipv4, ipv4]);
    assert_eq!(kept(on, ErrorCode::MAX_PREFIXES), [FamilySet::EMPTY, ipv4]);
    assert_eq!(kept(off, ErrorCode::ADMINISTRATIVE_RESET), [FamilySet::EMPTY; 2]);
}

#[test]
fn rfc8538_4_our_own_change_of_settings_keeps_routes_unless_it_is_another_peer() {
    let kept = |edit: fn(&mut PeerConfig)| {
        let mut bench = Bench::mesh(|_| (), |c| c.passive = true).start();
        let (now, mut new) = (bench.now, config(LOW, HIGH));
        edit(&mut new);
        bench.ends[0].session.change(now, new);
        bench.settle();
        bench.ends[0].downs[0].retain
    };
    let ipv4 = FamilySet::only(Family::Ipv4Unicast);
    assert_eq!(kept(|c| c.hold_time = Duration::from_secs(30)), ipv4);
    assert_eq!(kept(|c| c.remote_as = Asn(7)), FamilySet::EMPTY);
    assert_eq!(kept(|c| c.password = Some(Secret::new("x"))), FamilySet::EMPTY);
    assert_eq!(
        kept(|c| c.held = Some(HoldReason::Administrative)),
        FamilySet::EMPTY
    );
    assert_eq!(
        kept(|c| c.graceful_restart = GracefulRestart::Off),
        FamilySet::EMPTY
    );
}
