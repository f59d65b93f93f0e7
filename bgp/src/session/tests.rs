//! Two sessions, a pipe and a clock that only moves when told.

mod bfd;
mod changes;
mod graceful_restart;
mod retry;
mod transitions;

use bytes::BytesMut;

use super::timers::UNREAD_GRACE;
use super::*;
use crate::asn::Asn;
use crate::family::{Family, FamilySet};
use crate::session::config::{GracefulRestart, HoldReason, Secret};
use crate::wire::iana::message;
use crate::wire::open::Open;
use crate::wire::route_refresh;
use crate::wire::update::UpdateBatch;

const LOW: &str = "10.0.0.1";
const HIGH: &str = "10.0.0.2";

fn config(own: &str, peer: &str) -> PeerConfig {
    PeerConfig::new(
        "Mesh_x",
        peer.parse().unwrap(),
        Asn(64512),
        Asn(64512),
        own.parse().unwrap(),
    )
}

struct End {
    session: Session,
    received: [BytesMut; 2],
    batch: UpdateBatch,
    ups: Vec<Negotiated>,
    downs: Vec<SessionEnd>,
    dials: usize,
    closes: usize,
}

fn at(direction: Direction) -> usize {
    usize::from(direction == Direction::Incoming)
}

/// Both ends and the connections between them: what one dials, the other accepts.
struct Bench {
    now: Instant,
    ends: [End; 2],
    reachable: bool,
}

impl Bench {
    fn new(left: PeerConfig, right: PeerConfig) -> Self {
        let end = |config, seed| End {
            session: Session::new(config, Resumption::None, seed),
            received: Default::default(),
            batch: UpdateBatch::default(),
            ups: Vec::new(),
            downs: Vec::new(),
            dials: 0,
            closes: 0,
        };
        Bench {
            now: Instant::now(),
            ends: [end(left, 7), end(right, 9)],
            reachable: true,
        }
    }

    fn mesh(left: impl FnOnce(&mut PeerConfig), right: impl FnOnce(&mut PeerConfig)) -> Self {
        let (mut l, mut r) = (config(LOW, HIGH), config(HIGH, LOW));
        left(&mut l);
        right(&mut r);
        Bench::new(l, r)
    }

    fn start(mut self) -> Self {
        let now = self.now;
        self.ends.iter_mut().for_each(|end| end.session.start(now));
        self.settle();
        self
    }

    /// Carries out actions until nothing is left to do.
    fn settle(&mut self) {
        loop {
            let mut is_idle = true;
            for side in 0..2 {
                while let Some(action) = self.ends[side].session.poll_action() {
                    is_idle = false;
                    self.act(side, action);
                }
            }
            for side in 0..2 {
                for direction in [Direction::Outgoing, Direction::Incoming] {
                    let End {
                        session,
                        received,
                        batch,
                        ..
                    } = &mut self.ends[side];
                    let bytes = &mut received[at(direction)];
                    if !bytes.is_empty() {
                        let before = bytes.len();
                        session.handle_bytes(self.now, direction, bytes, batch);
                        is_idle &= bytes.len() == before;
                        if session.connection(direction).is_none() {
                            bytes.clear();
                        }
                    }
                }
            }
            if is_idle {
                return;
            }
        }
    }

    fn act(&mut self, side: usize, action: Action) {
        let other = 1 - side;
        match action {
            Action::Dial => {
                self.ends[side].dials += 1;
                if self.reachable && self.ends[other].session.accepts() {
                    self.connect(side);
                } else {
                    self.ends[side].session.handle_dial_failed(self.now, "refused");
                }
            }
            Action::CancelDial => {}
            Action::Send(direction, bytes) => {
                self.ends[other].received[at(direction.opposite())].extend_from_slice(&bytes);
            }
            Action::Close(direction) => {
                self.ends[side].closes += 1;
                self.ends[side].received[at(direction)].clear();
                // What was sent before arrives before the end of the connection does.
                let End {
                    session,
                    received,
                    batch,
                    ..
                } = &mut self.ends[other];
                session.handle_bytes(
                    self.now,
                    direction.opposite(),
                    &mut received[at(direction.opposite())],
                    batch,
                );
                session.handle_closed(self.now, direction.opposite(), None);
            }
            Action::Up(_, negotiated) => self.ends[side].ups.push(*negotiated),
            Action::Down(end) => self.ends[side].downs.push(end),
        }
    }

    /// One end's dial reaches the other.
    fn connect(&mut self, side: usize) {
        let other = 1 - side;
        let address = |s: usize| [LOW, HIGH][s].parse().unwrap();
        let here = self.ends[side]
            .session
            .handle_connected(self.now, Direction::Outgoing, address(side));
        let there = self.ends[other]
            .session
            .handle_connected(self.now, Direction::Incoming, address(other));
        match (here, there) {
            (Connected::Taken, Connected::Taken) | (Connected::Refused(_), Connected::Refused(_)) => {}
            (Connected::Taken, Connected::Refused(words)) => self.refuse(side, Direction::Outgoing, &words),
            (Connected::Refused(words), Connected::Taken) => self.refuse(other, Direction::Incoming, &words),
        }
    }

    /// An end hears why its connection is refused, and that it is closed.
    fn refuse(&mut self, side: usize, direction: Direction, words: &Notification) {
        let End { session, batch, .. } = &mut self.ends[side];
        session.handle_bytes(
            self.now,
            direction,
            &mut BytesMut::from(&words.encode()[..]),
            batch,
        );
        session.handle_closed(self.now, direction, None);
    }

    /// Lets time pass, timer by timer.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self
                .ends
                .iter()
                .filter_map(|e| e.session.poll_timeout())
                .min()
                .filter(|&at| at <= end);
            let Some(next) = next else { break };
            self.now = next.max(self.now);
            let now = self.now;
            self.ends.iter_mut().for_each(|e| e.session.handle_timeout(now));
            self.settle();
        }
        self.now = end;
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].session.state(), self.ends[1].session.state()]
    }

    /// The connection breaks without a word.
    fn cut(&mut self) {
        for end in &mut self.ends {
            for direction in [Direction::Outgoing, Direction::Incoming] {
                end.session.handle_closed(self.now, direction, Some("reset"));
            }
        }
        self.settle();
    }
}

const UP: [State; 2] = [State::Established; 2];

#[test]
fn sessions_come_up_whoever_dials() {
    for (left_passive, right_passive) in [(false, true), (true, false), (false, false)] {
        let mut bench = Bench::mesh(|c| c.passive = left_passive, |c| c.passive = right_passive).start();
        bench.advance(Duration::from_secs(1));
        assert_eq!(bench.states(), UP, "{left_passive} {right_passive}");
        assert_eq!(bench.ends[0].ups.len(), 1);
        assert_eq!(bench.ends[1].ups.len(), 1);
        assert_eq!(bench.ends[0].session.last_error(), None);
    }
}

#[test]
fn rfc4271_6_8_when_both_dial_exactly_one_connection_survives() {
    let mut bench = Bench::mesh(|_| (), |_| ()).start();
    bench.advance(Duration::from_secs(600));
    assert_eq!(bench.states(), UP);
    for end in &bench.ends {
        assert_eq!((end.ups.len(), end.downs.len()), (1, 0), "no flap");
        assert!(end.session.outgoing.is_some() != end.session.incoming.is_some());
    }
    // Both kept the same connection: the one that the higher id opened.
    assert!(bench.ends[1].session.outgoing.is_some() || bench.ends[0].dials == 0 || bench.ends[1].dials == 0);
}

#[test]
fn keepalives_hold_the_session_and_silence_ends_it() {
    let mut bench = Bench::mesh(|c| c.hold_time = Duration::from_secs(9), |c| c.passive = true).start();
    bench.advance(Duration::from_secs(3_600));
    assert_eq!(bench.states(), UP);
    assert_eq!(bench.ends[0].ups.len(), 1);
    let now = bench.now + Duration::from_secs(10);
    bench.ends[0].session.handle_timeout(now);
    let sent: Vec<Action> = std::iter::from_fn(|| bench.ends[0].session.poll_action()).collect();
    assert!(
        matches!(&sent[0], Action::Send(_, bytes) if bytes[19..21] == [4, 0]),
        "{sent:?}"
    );
}

#[test]
fn sessions_with_one_origin_send_keepalives_at_common_beats() {
    let origin = Instant::now();
    let due = |seed, up_after| {
        let now = origin + up_after;
        let mut session = Session::new(config(LOW, HIGH), Resumption::None, seed);
        session.keep_beat(origin);
        let at = session.next_keepalive(now, Duration::from_secs(90)).unwrap();
        assert!((20..=30).contains(&(at - now).as_secs()), "{:?}", at - now);
        at - origin
    };
    let mut beats: Vec<Duration> = (0..1000)
        .map(|n| due(n * 7919, Duration::from_millis(5_000 + n)))
        .collect();
    beats.sort();
    beats.dedup();
    assert!(beats.len() <= 6, "{beats:?}");
}

#[test]
fn rfc4271_4_2_the_smaller_hold_time_counts_and_one_second_is_refused() {
    let bench = Bench::mesh(
        |c| c.hold_time = Duration::from_secs(30),
        |c| c.hold_time = Duration::from_secs(9),
    )
    .start();
    assert_eq!(bench.ends[0].ups[0].hold_time, Duration::from_secs(9));
    let mut bench = Bench::mesh(|c| c.hold_time = Duration::from_secs(1), |c| c.passive = true).start();
    bench.advance(Duration::from_secs(2));
    assert!(bench.ends[0].ups.is_empty());
    let error = bench.ends[1].session.last_error().unwrap_or_default().to_owned();
    assert!(error.contains("unacceptable hold time"), "{error}");
}

#[test]
fn rfc4271_6_2_a_wrong_as_is_refused_and_tried_again_ever_more_slowly() {
    let mut bench = Bench::mesh(|c| c.remote_as = Asn(1), |c| c.passive = true).start();
    bench.advance(Duration::from_secs(300));
    assert!(bench.ends.iter().all(|end| end.ups.is_empty()));
    let error = bench.ends[0].session.last_error().unwrap_or_default();
    assert!(error.contains("bad peer AS (2/2)"), "{error}");
    // 1, 2, 4, … 32, then every 60 s.
    assert!((8..=13).contains(&bench.ends[0].dials), "{}", bench.ends[0].dials);
}

#[test]
fn an_unreachable_peer_is_dialled_again_and_found() {
    let mut bench = Bench::mesh(|_| (), |c| c.passive = true);
    bench.reachable = false;
    let mut bench = bench.start();
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.ends[0].session.state(), State::Active);
    assert!(
        (12..=17).contains(&bench.ends[0].dials),
        "{}",
        bench.ends[0].dials
    );
    bench.reachable = true;
    bench.advance(Duration::from_secs(6));
    assert_eq!(bench.states(), UP);
}

#[test]
fn rfc4724_4_2_routes_are_kept_when_the_connection_breaks_and_not_after_a_notification() {
    let mut bench = Bench::mesh(|_| (), |c| c.passive = true).start();
    bench.cut();
    let end = &bench.ends[0].downs[0];
    assert_eq!(
        (end.retain, end.restart_time),
        (FamilySet::only(Family::Ipv4Unicast), Duration::from_secs(120))
    );
    bench.advance(Duration::from_secs(10));
    assert_eq!(bench.states(), UP);
    bench.ends[1]
        .session
        .stop(&Stop::Notify(Notification::new(ErrorCode::HARD_RESET)));
    bench.settle();
    assert_eq!(bench.ends[0].downs[1].retain, FamilySet::EMPTY);
}

#[test]
fn stopping_for_a_restart_says_nothing_to_a_peer_that_keeps_our_routes() {
    let mut bench = Bench::mesh(|_| (), |c| c.passive = true).start();
    bench.ends[1].session.stop(&Stop::Restart);
    bench.settle();
    assert!(!bench.ends[0].downs[0].retain.is_empty());
    assert!(
        bench.ends[0]
            .session
            .last_error()
            .unwrap()
            .contains("closed by the peer")
    );
    let mut bench = Bench::mesh(
        |c| c.graceful_restart = GracefulRestart::Off,
        |c| c.passive = true,
    )
    .start();
    bench.ends[1].session.stop(&Stop::Restart);
    bench.settle();
    assert!(
        bench.ends[0]
            .session
            .last_error()
            .unwrap()
            .contains("administrative shutdown (6/2)")
    );
}

#[test]
fn rfc4724_5_a_restarted_peer_takes_over_from_its_old_connection() {
    let mut bench = Bench::mesh(|c| c.passive = true, |_| ()).start();
    bench.advance(Duration::from_secs(10));
    let now = bench.now;
    let taken = bench.ends[0]
        .session
        .handle_connected(now, Direction::Incoming, LOW.parse().unwrap());
    assert_eq!(taken, Connected::Taken);
    // The old connection was the incoming one too: its slot is the new one's now.
    let actions: Vec<Action> = std::iter::from_fn(|| bench.ends[0].session.poll_action()).collect();
    let down = actions
        .iter()
        .position(|a| matches!(a, Action::Down(end) if !end.retain.is_empty()));
    let close = actions
        .iter()
        .position(|a| matches!(a, Action::Close(Direction::Incoming)));
    let open = actions
        .iter()
        .position(|a| matches!(a, Action::Send(Direction::Incoming, _)));
    assert!(close < down && down < open && close.is_some(), "{actions:?}");
    assert_eq!(bench.ends[0].session.state(), State::OpenSent);
}

#[test]
fn rfc4271_6_8_a_second_connection_beside_an_established_one_is_refused_and_the_first_stays() {
    for restart in [GracefulRestart::Off, GracefulRestart::default()] {
        let mut bench = Bench::mesh(|c| (c.passive, c.graceful_restart) = (true, restart), |_| ()).start();
        if restart == GracefulRestart::Off {
            bench.advance(Duration::from_secs(60));
        }
        let now = bench.now;
        let second = bench.ends[0]
            .session
            .handle_connected(now, Direction::Incoming, LOW.parse().unwrap());
        assert_eq!(
            second,
            Connected::Refused(Notification::new(ErrorCode::COLLISION_RESOLUTION))
        );
        bench.advance(Duration::from_secs(600));
        assert_eq!((bench.states(), bench.ends[0].downs.len()), (UP, 0));
    }
}

#[test]
fn a_held_peer_neither_dials_nor_accepts() {
    let mut bench = Bench::mesh(|c| c.held = Some(HoldReason::PasswordMissing), |_| ()).start();
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.ends[0].session.state(), State::Idle);
    assert_eq!(bench.ends[0].dials, 0);
    assert!(!bench.ends[0].session.accepts());
    assert!(bench.ends[0].session.last_error().unwrap().contains("password"));
}

#[test]
fn rfc9687_a_peer_that_takes_nothing_is_let_go() {
    let mut bench = Bench::mesh(
        |c| c.send_hold = Some(Duration::from_secs(20)),
        |c| c.passive = true,
    )
    .start();
    let now = bench.now;
    bench.ends[0]
        .session
        .handle_sending(now, Direction::Outgoing, Sending::Stuck);
    bench.advance(Duration::from_secs(19));
    assert_eq!(bench.states(), UP);
    bench.advance(Duration::from_secs(2));
    assert!(
        bench.ends[0].downs[0]
            .reason
            .contains("send hold timer expired (8/0)")
    );
}

#[test]
fn no_history_of_events_panics_or_leaves_two_established_connections() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let open = negotiate::our_open(&config(HIGH, LOW), Resumption::None).encode();
    let messages = [
        open,
        header::keepalive(),
        header::message(2, &[0, 0, 0, 0]),
        Notification::new(ErrorCode::MAX_PREFIXES).encode(),
        Bytes::from_static(&[0; 19]),
    ];
    for _ in 0..300 {
        let resumption = [Resumption::None, Resumption::Restart][next(2) as usize];
        let mut session = Session::new(config(LOW, HIGH), resumption, next(1 << 40));
        let mut now = Instant::now();
        let mut balance = 0i32;
        for _ in 0..120 {
            let direction = if next(2) == 0 {
                Direction::Outgoing
            } else {
                Direction::Incoming
            };
            match next(9) {
                0 => session.start(now),
                1 => drop(session.handle_connected(now, direction, LOW.parse().unwrap())),
                2 => session.handle_closed(now, direction, None),
                3 => session.handle_dial_failed(now, "x"),
                4 => {
                    now += Duration::from_secs(next(100));
                    session.handle_timeout(now);
                }
                5 if next(6) == 0 => session.stop(&Stop::Restart),
                6 => {
                    let sending = [Sending::Done, Sending::Progress, Sending::Stuck][next(3) as usize];
                    session.handle_sending(now, direction, sending);
                }
                _ => {
                    let message = &messages[next(messages.len() as u64) as usize];
                    let mut bytes = BytesMut::from(&message[..]);
                    session.handle_bytes(now, direction, &mut bytes, &mut UpdateBatch::default());
                }
            }
            for action in std::iter::from_fn(|| session.poll_action()) {
                match action {
                    Action::Up(..) => balance += 1,
                    Action::Down(_) => balance -= 1,
                    _ => {}
                }
                assert!((0..=1).contains(&balance), "one Down for each Up, in turn");
            }
            let established = [&session.outgoing, &session.incoming]
                .into_iter()
                .flatten()
                .filter(|c| c.is_established())
                .count();
            assert_eq!(established as i32, balance);
        }
    }
}

#[test]
fn rfc4271_8_1_1_whoever_delays_its_open_sends_it_when_the_other_has_or_in_the_end() {
    let delay = |c: &mut PeerConfig| c.delay_open = Duration::from_secs(7);
    // The other speaks first, and is answered at once.
    let mut bench = Bench::mesh(delay, |c| c.passive = true).start();
    assert_eq!(bench.states(), UP);
    bench.ends[1].session.change(
        bench.now,
        PeerConfig {
            passive: true,
            delay_open: Duration::from_secs(7),
            ..config(HIGH, LOW)
        },
    );
    assert_eq!(bench.states(), UP, "a matter of the next connection");

    // Both wait.
    let now = bench.now;
    let reset = Notification::new(ErrorCode::ADMINISTRATIVE_RESET);
    bench.ends[0].session.reset(now, &reset, "test".into());
    bench.settle();
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.states(), [State::Connect, State::Active]);
    bench.advance(Duration::from_secs(7));
    assert_eq!(bench.states(), UP);
}
