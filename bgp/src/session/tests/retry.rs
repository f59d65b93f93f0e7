//! When a peer is dialled again, and how soon.

use super::*;

/// Seconds between dials to a peer whose connections all end like this.
fn dials_within(time: Duration, mut end: impl FnMut(&mut Session, Instant)) -> usize {
    let mut session = Session::new(config(LOW, HIGH), Resumption::None, 3);
    let (start, mut dials) = (Instant::now(), 0);
    let mut now = start;
    session.start(now);
    loop {
        while let Some(action) = session.poll_action() {
            if matches!(action, Action::Dial) {
                dials += 1;
                let taken = session.handle_connected(now, Direction::Outgoing, LOW.parse().unwrap());
                assert_eq!(taken, Connected::Taken);
                end(&mut session, now);
            }
        }
        let Some(at) = session.poll_timeout().filter(|at| *at <= start + time) else {
            return dials;
        };
        now = at;
        session.handle_timeout(now);
    }
}

fn receive(session: &mut Session, now: Instant, message: &[u8]) {
    session.handle_bytes(
        now,
        Direction::Outgoing,
        &mut BytesMut::from(message),
        &mut UpdateBatch::default(),
    );
}

#[test]
fn a_refused_dial_is_repeated_soon_and_then_every_connect_retry_time() {
    let mut session = Session::new(config(LOW, HIGH), Resumption::None, 3);
    let mut now = Instant::now();
    session.start(now);
    for longest in [1, 2, 4, 5, 5].map(Duration::from_secs) {
        while session.poll_action().is_some() {}
        session.handle_dial_failed(now, "Connection refused");
        let next = session.poll_timeout().unwrap();
        let wait = next - now;
        assert!(wait <= longest && wait >= longest / 2, "{wait:?}, {longest:?}");
        now = next;
        session.handle_timeout(now);
    }
}

#[test]
fn a_peer_that_hangs_up_before_its_open_is_not_penalised() {
    let dials = dials_within(Duration::from_secs(300), |session, now| {
        session.handle_closed(now, Direction::Outgoing, None);
    });
    // Every 3.75 to 5 s, from first to last.
    assert!((60..=81).contains(&dials), "{dials}");
}

#[test]
fn a_peer_that_declines_is_asked_again_every_few_seconds() {
    let cease = Notification::new(ErrorCode::CONNECTION_REJECTED).encode();
    let dials = dials_within(Duration::from_secs(300), |session, now| {
        receive(session, now, &cease);
    });
    assert_eq!(dials, 61);
}

#[test]
fn an_error_is_repeated_ever_more_slowly() {
    let dials = dials_within(Duration::from_secs(300), |session, now| {
        receive(session, now, &[0; 19]);
    });
    // At 0, 1, 3, 7, 15, 31, 63, then every 60 s.
    assert_eq!(dials, 10);
}

#[test]
fn a_connection_of_the_peer_that_stays_silent_does_not_stop_our_dialling() {
    let mut bench = Bench::mesh(|_| (), |c| c.passive = true);
    bench.reachable = false;
    let mut bench = bench.start();
    // Something on the peer's host connects and says nothing: a probe, a port scan.
    let now = bench.now;
    let taken = bench.ends[0]
        .session
        .handle_connected(now, Direction::Incoming, LOW.parse().unwrap());
    assert_eq!(taken, Connected::Taken);
    while bench.ends[0].session.poll_action().is_some() {}
    bench.reachable = true;
    bench.advance(Duration::from_secs(20));
    assert_eq!(bench.states(), UP);
    assert!(
        bench.ends[0].session.incoming.is_none(),
        "the silent one is closed"
    );
}

#[test]
fn a_corrected_port_is_dialled_at_once() {
    let mut bench = Bench::mesh(|_| (), |c| c.passive = true);
    bench.reachable = false;
    let mut bench = bench.start();
    bench.reachable = true;
    let (now, dials) = (bench.now, bench.ends[0].dials);
    let mut new = config(LOW, HIGH);
    new.port = 1790;
    bench.ends[0].session.change(now, new);
    bench.settle();
    assert_eq!((bench.ends[0].dials, bench.states()), (dials + 1, UP));
}

#[test]
fn a_failed_task_starts_again_after_a_while_and_accepts_at_once() {
    let now = Instant::now();
    let mut session = Session::new(config(LOW, HIGH), Resumption::None, 1);
    session.start_in(now, Duration::from_secs(1));
    assert!(session.poll_action().is_none());
    assert!(session.accepts());
    assert_eq!(session.poll_timeout(), Some(now + Duration::from_secs(1)));
    session.handle_timeout(now + Duration::from_secs(1));
    assert!(matches!(session.poll_action(), Some(Action::Dial)));
}

#[test]
fn timers_beyond_the_clock_do_not_overflow_it() {
    let now = Instant::now();
    let endless = PeerConfig {
        connect_retry: Duration::MAX,
        idle_hold: Duration::MAX,
        send_hold: Some(Duration::MAX),
        keepalive: Some(Duration::MAX),
        ..config(LOW, HIGH)
    };
    let mut session = Session::new(endless, Resumption::None, 1);
    session.start(now);
    session.handle_dial_failed(now, "refused");
    assert_eq!(
        session.handle_connected(now, Direction::Outgoing, LOW.parse().unwrap()),
        Connected::Taken
    );
    session.handle_sending(now, Direction::Outgoing, Sending::Stuck);
    receive(&mut session, now, &[0; 19]);
    assert!(session.poll_timeout().is_some_and(|at| at > now));
}

#[test]
fn rfc4271_6_8_a_second_connection_makes_us_ask_whether_the_first_still_stands() {
    let mut bench = Bench::mesh(|c| c.passive = true, |_| ()).start();
    let now = bench.now;
    let second = bench.ends[0]
        .session
        .handle_connected(now, Direction::Incoming, LOW.parse().unwrap());
    assert!(matches!(second, Connected::Refused(_)));
    let sent = bench.ends[0].session.poll_action();
    assert!(
        matches!(&sent, Some(Action::Send(Direction::Incoming, bytes)) if *bytes == header::keepalive()),
        "{sent:?}"
    );
}

#[test]
fn rfc9687_4_what_the_peer_takes_restarts_the_send_hold_timer_and_zero_means_none() {
    let stuck = |bench: &mut Bench, sending| {
        let now = bench.now;
        bench.ends[0]
            .session
            .handle_sending(now, Direction::Outgoing, sending);
    };
    let with = |secs| {
        Bench::mesh(
            |c| c.send_hold = Some(Duration::from_secs(secs)),
            |c| c.passive = true,
        )
        .start()
    };
    let mut bench = with(20);
    for _ in 0..5 {
        stuck(&mut bench, Sending::Progress);
        bench.advance(Duration::from_secs(15));
    }
    assert_eq!(bench.states(), UP);
    stuck(&mut bench, Sending::Stuck);
    bench.advance(Duration::from_secs(6));
    assert_eq!(bench.ends[0].downs.len(), 1);
    let mut bench = with(0);
    stuck(&mut bench, Sending::Stuck);
    bench.advance(Duration::from_secs(3_600));
    assert_eq!(bench.states(), UP);
}

#[test]
fn a_peer_is_not_silent_while_its_octets_wait_for_us() {
    let mut bench = Bench::mesh(|c| c.hold_time = Duration::from_secs(9), |c| c.passive = true).start();
    let session = &mut bench.ends[0].session;
    let now = bench.now + Duration::from_secs(9);
    assert!(session.is_hold_due(now, Direction::Outgoing));
    session.handle_unread(now, Direction::Outgoing);
    session.handle_timeout(now);
    assert_eq!(session.state(), State::Established);
    // What was unread turned out to be no message: the grace is short.
    session.handle_timeout(now + UNREAD_GRACE);
    assert_eq!(session.state(), State::Idle);
}

#[test]
fn rfc4271_6_8_an_update_on_the_connection_that_waits_is_the_peers_choice() {
    let now = Instant::now();
    let mut session = Session::new(config(LOW, HIGH), Resumption::None, 1);
    session.start(now);
    for direction in [Direction::Outgoing, Direction::Incoming] {
        let taken = session.handle_connected(now, direction, LOW.parse().unwrap());
        assert_eq!(taken, Connected::Taken);
    }
    // The peer has the higher id, so what we opened would lose; it speaks on that one only.
    receive(
        &mut session,
        now,
        &negotiate::our_open(&config(HIGH, LOW), Resumption::None).encode(),
    );
    receive(&mut session, now, &header::keepalive());
    assert_eq!(session.state(), State::OpenConfirm);
    receive(
        &mut session,
        now,
        &header::message(message::UPDATE, &[0, 0, 0, 0]),
    );
    assert_eq!(session.state(), State::Established);
    assert!(session.incoming.is_none());
}

/// A peer that sends too much would send it again at once, whoever dials.
#[test]
fn rfc4486_a_peer_over_its_limit_is_left_alone_for_a_minute_or_until_told() {
    let too_many = Notification::new(ErrorCode::MAX_PREFIXES);
    for is_passive in [false, true] {
        let mut bench = Bench::mesh(|c| c.passive = is_passive, |_| ()).start();
        let now = bench.now;
        bench.ends[0].session.reset(now, &too_many, "too many".into());
        bench.settle();
        let dials = bench.ends[0].dials;
        bench.advance(Duration::from_secs(59));
        let session = &bench.ends[0].session;
        assert_eq!((session.state(), session.accepts()), (State::Idle, false));
        assert_eq!(session.last_error(), Some("too many"));
        assert_eq!(
            session.last_error_sent(),
            Some("maximum number of prefixes reached (6/1)")
        );
        assert_eq!(bench.ends[0].dials, dials);
        bench.advance(Duration::from_secs(60));
        assert_eq!(bench.states(), UP);

        let now = bench.now;
        bench.ends[0].session.reset(now, &too_many, "too many".into());
        bench.settle();
        assert!(!bench.ends[0].session.accepts());
        bench.ends[0].session.retry(now);
        bench.advance(Duration::from_secs(10));
        assert_eq!(bench.states(), UP);
    }
}

#[test]
fn rfc4486_4_a_peer_that_resets_the_session_is_dialled_at_once() {
    let reset = Notification::new(ErrorCode::ADMINISTRATIVE_RESET).encode();
    let dials = dials_within(Duration::from_secs(60), |session, now| {
        receive(session, now, &reset);
    });
    assert_eq!(dials, 61);
}
