//! RFC 4271 §8.2.2 cell by cell: every event in every state.

use super::*;
use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};

/// Where a session is before the event; the incoming connection is the one it has, if any.
#[derive(Clone, Copy, Debug)]
enum From {
    Stopped,
    BackOff,
    Dialling,
    Waiting,
    /// A connection stands, and DelayOpenTimer runs.
    DelayOpen,
    OpenSent,
    OpenConfirm,
    Established,
}

const ROWS: [From; 8] = [
    From::Stopped,
    From::BackOff,
    From::Dialling,
    From::Waiting,
    From::DelayOpen,
    From::OpenSent,
    From::OpenConfirm,
    From::Established,
];

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Events 1 and 3.
    Start,
    /// Events 2 and 8.
    Stop,
    /// Event 9 (ConnectRetryTimer) and 13 (IdleHoldTimer): what is due within two minutes of silence from the
    /// network, but for connections.
    DialTimer,
    /// Event 10.
    HoldTimer,
    /// Event 11.
    KeepaliveTimer,
    /// Event 12.
    DelayOpenTimer,
    /// RFC 9687, event 29.
    SendHoldTimer,
    /// Event 16.
    DialConnected,
    /// Event 17.
    Accepted,
    /// Event 18 of a dial.
    DialFailed,
    /// Event 18 of a connection.
    Closed,
    /// Event 19, and 20 where DelayOpenTimer runs.
    Open,
    /// Event 22.
    BadOpen,
    /// Event 21.
    BadHeader,
    /// Event 24.
    BadVersion,
    /// Event 25.
    Notification,
    /// Event 26.
    Keepalive,
    /// Event 27.
    Update,
    /// Event 28.
    BadUpdate,
    /// RFC 2918.
    RouteRefresh,
}

/// What must come of it: the state after, and code and subcode of the NOTIFICATION that is sent.
type Cell = (State, Option<(u8, u8)>);

const NOTHING: Option<(u8, u8)> = None;
const SEND_HOLD: Duration = Duration::from_secs(500);
const DELAY_OPEN: Duration = Duration::from_secs(100);

fn put(session: &mut Session, now: Instant, message: &[u8]) {
    let mut bytes = BytesMut::from(message);
    session.handle_bytes(now, Direction::Incoming, &mut bytes, &mut UpdateBatch::default());
}

fn open() -> Bytes {
    negotiate::our_open(&config(HIGH, LOW), Resumption::None).encode()
}

fn prepare(from: From, now: Instant) -> Session {
    let mut session = Session::new(
        PeerConfig {
            send_hold: Some(SEND_HOLD),
            delay_open: if matches!(from, From::DelayOpen) {
                DELAY_OPEN
            } else {
                Duration::ZERO
            },
            ..config(LOW, HIGH)
        },
        Resumption::None,
        1,
    );
    if matches!(from, From::Stopped) {
        return session;
    }
    session.start(now);
    match from {
        From::Stopped | From::Dialling => {}
        From::Waiting => session.handle_dial_failed(now, "refused"),
        From::BackOff => {
            session.handle_dial_failed(now, "refused");
            accept(&mut session, now);
            put(&mut session, now, &[0; 19]);
        }
        From::DelayOpen | From::OpenSent | From::OpenConfirm | From::Established => {
            session.handle_dial_failed(now, "refused");
            accept(&mut session, now);
        }
    }
    if matches!(from, From::OpenConfirm | From::Established) {
        put(&mut session, now, &open());
    }
    if matches!(from, From::Established) {
        put(&mut session, now, &header::keepalive());
    }
    while session.poll_action().is_some() {}
    session
}

fn accept(session: &mut Session, now: Instant) {
    let taken = session.handle_connected(now, Direction::Incoming, LOW.parse().unwrap());
    assert_eq!(taken, Connected::Taken);
}

/// Lets a timer fire that is due after `wait`, and no later one.
fn fire(session: &mut Session, now: Instant, wait: Duration) {
    session.handle_timeout(now + wait);
}

fn happen(session: &mut Session, event: Event, now: Instant) {
    let address = LOW.parse().unwrap();
    match event {
        Event::Start => session.start(now),
        Event::Stop => session.stop(&Stop::Notify(super::Notification::new(
            ErrorCode::ADMINISTRATIVE_RESET,
        ))),
        Event::DialTimer => fire(session, now, Duration::from_secs(5)),
        Event::HoldTimer => fire(session, now, Duration::from_secs(240)),
        Event::KeepaliveTimer => fire(session, now, Duration::from_secs(80)),
        Event::DelayOpenTimer => fire(session, now, DELAY_OPEN),
        Event::SendHoldTimer => {
            session.handle_sending(now, Direction::Incoming, Sending::Stuck);
            if let Some(connection) = session.slot(Direction::Incoming) {
                connection.hold_at = None;
            }
            fire(session, now, SEND_HOLD);
        }
        Event::DialConnected => drop(session.handle_connected(now, Direction::Outgoing, address)),
        Event::Accepted => drop(session.handle_connected(now, Direction::Incoming, address)),
        Event::DialFailed => session.handle_dial_failed(now, "refused"),
        Event::Closed => session.handle_closed(now, Direction::Incoming, None),
        Event::Open => put(session, now, &open()),
        Event::BadOpen => {
            let mut other = config(HIGH, LOW);
            other.local_as = Asn(1);
            put(
                session,
                now,
                &negotiate::our_open(&other, Resumption::None).encode(),
            );
        }
        Event::BadHeader => put(session, now, &[0; 19]),
        Event::BadVersion => {
            let mut bytes = open().to_vec();
            bytes[19] = 3;
            put(session, now, &bytes);
        }
        Event::Notification => put(
            session,
            now,
            &super::Notification::new(ErrorCode::MAX_PREFIXES).encode(),
        ),
        Event::Keepalive => put(session, now, &header::keepalive()),
        Event::Update => put(session, now, &header::message(message::UPDATE, &[0, 0, 0, 0])),
        Event::BadUpdate => put(session, now, &header::message(message::UPDATE, &[0, 9, 0, 0])),
        Event::RouteRefresh => put(session, now, &route_refresh::request(Family::Ipv4Unicast)),
    }
}

/// Columns: stopped, backing off, dialling, waiting to dial again, DelayOpen, OpenSent, OpenConfirm, Established.
#[rustfmt::skip]
fn table() -> Vec<(Event, [Cell; 8])> {
    let (n, ok) = (NOTHING, |state| (state, NOTHING));
    // Without a connection there is nobody to hear from: the states stay.
    let quiet = [ok(Idle), ok(Idle), ok(Connect), ok(Active)];
    let with = |rest: [Cell; 4]| {
        let [a, b, c, d] = quiet;
        let [e, f, g, h] = rest;
        [a, b, c, d, e, f, g, h]
    };
    vec![
        (Event::Start, [ok(Connect), ok(Idle), ok(Connect), ok(Active), ok(Active), ok(OpenSent), ok(OpenConfirm), ok(Established)]),
        (Event::Stop, [ok(Idle), ok(Idle), ok(Idle), ok(Idle), (Idle, Some((6, 4))), (Idle, Some((6, 4))), (Idle, Some((6, 4))), (Idle, Some((6, 4)))]),
        // In Connect the dial is still under way, and in DelayOpen and OpenSent the other half dials, too: no OPEN has come.
        (Event::DialTimer, [ok(Idle), ok(Connect), ok(Connect), ok(Connect), ok(Active), ok(OpenSent), ok(OpenConfirm), ok(Established)]),
        // Where our OPEN is held back, what is due first is always that it goes.
        (Event::HoldTimer, [ok(Idle), ok(Connect), ok(Active), ok(Connect), ok(OpenSent), (Connect, Some((4, 0))), (Idle, Some((4, 0))), (Idle, Some((4, 0)))]),
        (Event::KeepaliveTimer, [ok(Idle), ok(Connect), ok(Active), ok(Connect), ok(Active), ok(OpenSent), ok(OpenConfirm), ok(Established)]),
        (Event::DelayOpenTimer, [ok(Idle), ok(Connect), ok(Active), ok(Connect), ok(OpenSent), ok(OpenSent), ok(OpenConfirm), ok(Established)]),
        (Event::SendHoldTimer, [ok(Idle), ok(Connect), ok(Active), ok(Connect), ok(OpenSent), (Connect, Some((8, 0))), (Idle, Some((8, 0))), (Idle, Some((8, 0)))]),
        (Event::DialConnected, [ok(Idle), ok(OpenSent), ok(OpenSent), ok(OpenSent), ok(Active), ok(OpenSent), ok(OpenConfirm), ok(Established)]),
        (Event::Accepted, [ok(Idle), ok(OpenSent), ok(OpenSent), ok(OpenSent), (Active, Some((6, 7))), (OpenSent, Some((6, 7))), (OpenSent, Some((6, 7))), ok(Established)]),
        (Event::DialFailed, [ok(Idle), ok(Idle), ok(Active), ok(Active), ok(Active), ok(OpenSent), ok(OpenConfirm), ok(Established)]),
        (Event::Closed, with([ok(Active), ok(Active), ok(Idle), ok(Idle)])),
        (Event::Open, with([ok(OpenConfirm), ok(OpenConfirm), (Idle, Some((5, 2))), (Idle, Some((5, 3)))])),
        (Event::BadOpen, with([(Idle, Some((2, 2))), (Idle, Some((2, 2))), (Idle, Some((5, 2))), (Idle, Some((5, 3)))])),
        (Event::BadHeader, with([(Idle, Some((1, 1))), (Idle, Some((1, 1))), (Idle, Some((1, 1))), (Idle, Some((1, 1)))])),
        (Event::BadVersion, with([(Idle, Some((2, 1))), (Idle, Some((2, 1))), (Idle, Some((5, 2))), (Idle, Some((5, 3)))])),
        (Event::Notification, with([(Idle, n), (Idle, n), (Idle, n), (Idle, n)])),
        (Event::Keepalive, with([(Idle, Some((5, 0))), (Idle, Some((5, 1))), ok(Established), ok(Established)])),
        (Event::Update, with([(Idle, Some((5, 0))), (Idle, Some((5, 1))), (Idle, Some((5, 2))), ok(Established)])),
        (Event::BadUpdate, with([(Idle, Some((5, 0))), (Idle, Some((5, 1))), (Idle, Some((5, 2))), (Idle, Some((3, 1)))])),
        (Event::RouteRefresh, with([(Idle, Some((5, 0))), (Idle, Some((5, 1))), (Idle, Some((5, 2))), ok(Established)])),
    ]
}

#[test]
fn rfc4271_8_2_2_every_event_in_every_state() {
    let now = Instant::now();
    for (event, cells) in table() {
        for (from, expected) in ROWS.into_iter().zip(cells) {
            let mut session = prepare(from, now);
            happen(&mut session, event, now);
            let state = session.state();
            let sent = std::iter::from_fn(|| session.poll_action()).find_map(|action| match action {
                Action::Send(_, bytes) if bytes[18] == message::NOTIFICATION => Some((bytes[19], bytes[20])),
                _ => None,
            });
            assert_eq!((state, sent), expected, "{event:?} in {from:?}");
        }
    }
}
