//! The state machine cell by cell, timers by the rules of RFC 5880 §6.8, and two machines on a virtual clock.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn config(tx: u32, rx: u32, multiplier: u8) -> Bfd {
    Bfd {
        tx: MS * tx,
        rx: MS * rx,
        multiplier,
    }
}

/// What a peer with 3 times 300 ms says.
fn from_peer(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::None,
        state,
        flags: Flags::NONE,
        detect_multiplier: 3,
        my_discriminator: 77,
        your_discriminator: 42,
        desired_min_tx: 300_000,
        required_min_rx: 300_000,
        required_min_echo_rx: 0,
    }
}

fn packets(session: &mut Session) -> Vec<Packet> {
    std::iter::from_fn(|| session.poll_transmit()).collect()
}

fn losses(session: &mut Session) -> Vec<Loss> {
    let events = std::iter::from_fn(|| session.poll_event());
    events
        .filter_map(|event| match event {
            Event::Lost(loss) => Some(loss),
            Event::Changed => None,
        })
        .collect()
}

/// A session in a state, its output so far thrown away.
fn in_state(now: Instant, config: Bfd, state: State) -> Session {
    let mut session = Session::new(now, config, 42, 1);
    match state {
        State::AdminDown => session.admin_down(now),
        State::Down => {}
        State::Init => session.handle_packet(now, &from_peer(State::Down)),
        State::Up => session.handle_packet(now, &from_peer(State::Init)),
    }
    assert_eq!(session.state(), state);
    packets(&mut session);
    losses(&mut session);
    session
}

/// Up, and the Poll Sequence that this begins with is over.
fn settled(now: Instant, config: Bfd) -> Session {
    let mut session = in_state(now, config, State::Up);
    let mut answer = from_peer(State::Up);
    answer.flags = Flags::FINAL;
    session.handle_packet(now, &answer);
    packets(&mut session);
    session
}

#[test]
fn rfc5880_6_8_6_every_state_meets_every_state() {
    use State::{AdminDown, Down, Init, Up};
    let table = [
        // ours, theirs, what becomes of ours, its diagnostic, whether the path is lost
        (AdminDown, AdminDown, AdminDown, 7, false),
        (AdminDown, Down, AdminDown, 7, false),
        (AdminDown, Init, AdminDown, 7, false),
        (AdminDown, Up, AdminDown, 7, false),
        (Down, AdminDown, Down, 0, false),
        (Down, Down, Init, 0, false),
        (Down, Init, Up, 0, false),
        (Down, Up, Down, 0, false),
        (Init, AdminDown, Down, 3, false),
        (Init, Down, Init, 0, false),
        (Init, Init, Up, 0, false),
        (Init, Up, Up, 0, false),
        (Up, AdminDown, Down, 3, false),
        (Up, Down, Down, 3, true),
        (Up, Init, Up, 0, false),
        (Up, Up, Up, 0, false),
    ];
    let now = Instant::now();
    for (ours, theirs, after, diagnostic, is_lost) in table {
        let mut session = in_state(now, config(300, 300, 3), ours);
        session.handle_packet(now, &from_peer(theirs));
        let cell = format!("{ours} meets {theirs}");
        assert_eq!(session.state(), after, "{cell}");
        assert_eq!(session.diagnostic().bits(), diagnostic, "{cell}");
        assert_eq!(!losses(&mut session).is_empty(), is_lost, "{cell}");
        // A change is told at once, with what caused it.
        let told = packets(&mut session);
        assert_eq!(told.len(), usize::from(after != ours), "{cell}");
        for packet in told {
            assert_eq!(
                (packet.state, packet.diagnostic.bits()),
                (after, diagnostic),
                "{cell}"
            );
            assert_eq!(packet.your_discriminator, 77, "{cell}");
        }
    }
}

#[test]
fn rfc5880_6_8_4_silence_in_every_state() {
    use State::{AdminDown, Down, Init, Up};
    for (ours, after, diagnostic) in [
        (AdminDown, AdminDown, 7),
        (Down, Down, 0),
        (Init, Down, 1),
        (Up, Down, 1),
    ] {
        let start = Instant::now();
        let mut session = in_state(start, config(300, 300, 3), ours);
        if ours == Down {
            session.handle_packet(start, &from_peer(Up));
        }
        let detection = MS * 900;
        session.handle_timeout(start + detection - MS);
        assert_eq!(session.state(), ours);
        session.handle_timeout(start + detection);
        assert_eq!(session.state(), after, "{ours}");
        assert_eq!(session.diagnostic().bits(), diagnostic, "{ours}");
        assert_eq!(losses(&mut session).len(), usize::from(ours == Up), "{ours}");
        if ours != AdminDown {
            // RFC 5880 §6.8.1: a peer that is silent may have forgotten its discriminator.
            assert_eq!(session.remote_discriminator(), 0, "{ours}");
        }
        assert_eq!(session.detection_time(), None, "{ours}");
    }
}

#[test]
fn a_loss_says_when_the_peer_was_heard_last() {
    let start = Instant::now();
    let mut session = settled(start, config(300, 300, 3));
    let last = start + MS * 200;
    session.handle_packet(last, &from_peer(State::Up));
    session.handle_packet(start + MS * 500, &from_peer(State::Down));
    let loss = Loss {
        diagnostic: Diagnostic::NeighborDown,
        heard_up: last,
    };
    assert_eq!(losses(&mut session), [loss]);
}

#[test]
fn rfc5880_6_8_3_packets_go_once_a_second_until_the_session_is_up() {
    let now = Instant::now();
    for state in [State::Down, State::Init] {
        let session = in_state(now, config(50, 50, 3), state);
        assert_eq!(session.tx_interval(), Some(MS * 1000), "{state}");
    }
    let session = in_state(now, config(50, 50, 3), State::Up);
    // RFC 5880 §6.8.2: no more often than the peer can take.
    assert_eq!(session.tx_interval(), Some(MS * 300));
    let slow = in_state(now, config(1500, 50, 3), State::Up);
    assert_eq!(slow.tx_interval(), Some(MS * 1500));
}

#[test]
fn rfc5880_6_8_4_detection_time_is_the_peers_multiplier_times_the_slower_of_two_intervals() {
    let now = Instant::now();
    for (rx, their_tx, multiplier, expected) in [(300, 300, 3, 900), (300, 50, 5, 1500), (50, 700, 2, 1400)] {
        let mut session = settled(now, config(300, rx, 9));
        let mut packet = from_peer(State::Up);
        packet.desired_min_tx = their_tx * 1000;
        packet.detect_multiplier = multiplier;
        session.handle_packet(now, &packet);
        assert_eq!(session.detection_time(), Some(MS * expected));
    }
}

#[test]
fn rfc5880_6_8_7_a_peer_may_ask_for_silence() {
    let now = Instant::now();
    let mut session = settled(now, config(300, 300, 3));
    let mut packet = from_peer(State::Up);
    packet.required_min_rx = 0;
    session.handle_packet(now, &packet);
    session.handle_timeout(now + MS * 800);
    assert_eq!(packets(&mut session), []);
    // Demand mode: silence while both are Up, but for a Poll Sequence.
    packet.required_min_rx = 300_000;
    packet.flags = Flags::DEMAND;
    session.handle_packet(now + MS * 800, &packet);
    session.handle_timeout(now + MS * 1600);
    assert_eq!(packets(&mut session), []);
    session.change(now + MS * 1600, config(400, 300, 3));
    session.handle_timeout(now + MS * 1600);
    assert_eq!(packets(&mut session).len(), 1);
    // And both still answer a Poll.
    packet.flags = Flags::DEMAND | Flags::POLL;
    packet.required_min_rx = 0;
    session.handle_packet(now + MS * 1700, &packet);
    assert!(packets(&mut session)[0].flags.contains(Flags::FINAL));
}

#[test]
fn rfc5880_6_5_a_poll_is_answered_at_once_and_only_with_final() {
    let now = Instant::now();
    for state in [State::Down, State::Init, State::Up] {
        let mut session = in_state(now, config(300, 300, 3), state);
        let mut packet = from_peer(State::Up);
        packet.flags = Flags::POLL;
        session.handle_packet(now, &packet);
        let finals: Vec<Packet> = packets(&mut session)
            .into_iter()
            .filter(|packet| packet.flags.contains(Flags::FINAL))
            .collect();
        assert_eq!(finals.len(), 1, "{state}");
        assert!(!finals[0].flags.contains(Flags::POLL), "{state}");
    }
}

#[test]
fn rfc5880_6_8_3_changed_intervals_wait_for_the_final_where_they_could_hurt() {
    let now = Instant::now();
    let mut answer = from_peer(State::Up);
    answer.flags = Flags::FINAL;
    answer.desired_min_tx = 10_000;
    answer.required_min_rx = 10_000;
    let with = |tx, rx| {
        let mut session = settled(now, config(300, 300, 3));
        session.handle_packet(now, &answer);
        session.change(now, config(tx, rx, 3));
        let asked = |session: &mut Session| {
            session.handle_timeout(now + MS * 300);
            packets(session).pop().map(|packet| {
                let intervals = [packet.desired_min_tx, packet.required_min_rx];
                (
                    intervals.map(|micros| micros / 1000),
                    packet.flags.contains(Flags::POLL),
                )
            })
        };
        assert_eq!(asked(&mut session), Some(([tx, rx], true)));
        let before = (session.tx_interval(), session.detection_time());
        session.handle_packet(now + MS * 300, &answer);
        let after = (session.tx_interval(), session.detection_time());
        (before, after)
    };
    let both = |tx: u32, detection: u32| (Some(MS * tx), Some(MS * detection));
    // More seldom, and more often expected: not before the peer knows.
    assert_eq!(with(600, 100), (both(300, 900), both(600, 300)));
    // More often, and more seldom expected: at once.
    assert_eq!(with(100, 600), (both(100, 1800), both(100, 1800)));
}

#[test]
fn rfc5880_6_5_a_change_while_a_poll_runs_is_polled_for_afterwards() {
    let now = Instant::now();
    let mut session = in_state(now, config(100, 100, 3), State::Up);
    session.change(now, config(200, 250, 3));
    session.change(now, config(400, 500, 3));
    let asks = |session: &mut Session, at| {
        session.handle_timeout(at);
        packets(session)
            .pop()
            .filter(|packet| packet.flags.contains(Flags::POLL))
            .map(|packet| packet.required_min_rx)
    };
    // What the sequence began with is what it asks for.
    assert_eq!(asks(&mut session, now + MS * 300), Some(100_000));
    let mut answer = from_peer(State::Up);
    answer.flags = Flags::FINAL;
    session.handle_packet(now + MS * 310, &answer);
    assert_eq!(asks(&mut session, now + MS * 610), Some(500_000));
    session.handle_packet(now + MS * 620, &answer);
    session.handle_timeout(now + MS * 1020);
    let flags: Vec<Flags> = packets(&mut session).iter().map(|packet| packet.flags).collect();
    assert_eq!(flags, [Flags::NONE], "the sequence is over");
    assert_eq!(session.tx_interval(), Some(MS * 400));
}

#[test]
fn a_multiplier_is_changed_without_a_poll() {
    let now = Instant::now();
    let mut session = settled(now, config(300, 300, 3));
    session.change(now, config(300, 300, 7));
    session.handle_timeout(now + MS * 300);
    let sent = packets(&mut session);
    assert_eq!((sent[0].detect_multiplier, sent[0].flags), (7, Flags::NONE));
}

/// Two sessions and the packets between them, which take 10 ms.
struct Pair {
    now: Instant,
    sides: [Session; 2],
    in_flight: Vec<(Instant, usize, Packet)>,
    sent: usize,
}

impl Pair {
    fn new(configs: [Bfd; 2]) -> Pair {
        let now = Instant::now();
        let mut numbers = [1u32, 2].into_iter();
        let sides = configs.map(|config| {
            let number = numbers.next().unwrap_or(0);
            Session::new(now, config, number, u64::from(number) * 12_345)
        });
        Pair {
            now,
            sides,
            in_flight: Vec::new(),
            sent: 0,
        }
    }

    /// Lets time pass; `is_lost` decides about the packets to a side.
    fn run(&mut self, time: Duration, mut is_lost: impl FnMut(usize, &Packet) -> bool) {
        let end = self.now + time;
        loop {
            for (side, session) in self.sides.iter_mut().enumerate() {
                for packet in packets(session) {
                    self.sent += 1;
                    if !is_lost(1 - side, &packet) {
                        self.in_flight.push((self.now + MS * 10, 1 - side, packet));
                    }
                }
            }
            let timers = self.sides.iter().filter_map(Session::poll_timeout);
            let next = timers.chain(self.in_flight.iter().map(|(at, ..)| *at)).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = next.max(self.now);
            let (due, later) = self.in_flight.drain(..).partition(|(at, ..)| *at <= self.now);
            self.in_flight = later;
            let due: Vec<(Instant, usize, Packet)> = due;
            for (_, side, packet) in due {
                // The wire does what it does to them all.
                let packet = Packet::decode(&packet.encode()).unwrap();
                self.sides[side].handle_packet(self.now, &packet);
            }
            self.sides
                .iter_mut()
                .for_each(|side| side.handle_timeout(self.now));
        }
    }

    fn states(&self) -> [State; 2] {
        [self.sides[0].state(), self.sides[1].state()]
    }
}

#[test]
fn two_sessions_come_up_within_moments_and_stay_up() {
    let mut pair = Pair::new([config(300, 300, 3), config(50, 200, 5)]);
    pair.run(MS * 100, |_, _| false);
    assert_eq!(pair.states(), [State::Up; 2]);
    pair.run(Duration::from_secs(60), |_, _| false);
    assert_eq!(pair.states(), [State::Up; 2]);
    assert_eq!(pair.sides[0].tx_interval(), Some(MS * 300));
    assert_eq!(pair.sides[1].tx_interval(), Some(MS * 300));
    assert_eq!(pair.sides[0].detection_time(), Some(MS * 1500));
    assert_eq!(pair.sides[1].detection_time(), Some(MS * 900));
    assert_eq!(pair.sides.iter().map(Session::flaps).sum::<u64>(), 0);
    // 75 to 100 % of the interval: about 229 packets a minute from each.
    let polls = 20;
    assert!((400..=534 + polls).contains(&pair.sent), "{}", pair.sent);
}

#[test]
fn two_packets_in_a_row_may_be_lost_and_four_may_not() {
    // Four intervals with jitter are at least three without; three need not be.
    for (lost, flaps) in [(2, 0), (4, 1)] {
        let mut pair = Pair::new([config(300, 300, 3), config(300, 300, 3)]);
        pair.run(Duration::from_secs(5), |_, _| false);
        let mut left = lost;
        pair.run(Duration::from_secs(5), |to, packet| {
            let is_lost = to == 0 && left > 0 && packet.state == State::Up;
            left -= usize::from(is_lost);
            is_lost
        });
        assert_eq!(pair.sides[0].flaps(), flaps, "{lost} lost");
        assert_eq!(pair.states(), [State::Up; 2]);
    }
}

#[test]
fn a_cut_is_noticed_by_both_within_the_detection_time_and_mended() {
    for one_way in [false, true] {
        let mut pair = Pair::new([config(300, 300, 3), config(300, 300, 3)]);
        pair.run(Duration::from_secs(5), |_, _| false);
        pair.run(MS * 950, |to, _| !one_way || to == 0);
        assert_eq!(pair.sides[0].state(), State::Down, "one way: {one_way}");
        assert_eq!(pair.sides[1].state(), State::Down, "one way: {one_way}");
        let expected = if one_way {
            Diagnostic::NeighborDown
        } else {
            Diagnostic::DetectionTimeExpired
        };
        assert_eq!(pair.sides[1].diagnostic(), expected);
        for side in &mut pair.sides {
            assert_eq!(losses(side).len(), 1, "one way: {one_way}");
        }
        pair.run(MS * 1100, |_, _| false);
        assert_eq!(pair.states(), [State::Up; 2], "one way: {one_way}");
    }
}

#[test]
fn any_loss_of_packets_ends_with_both_up_once_it_is_over() {
    for seed in 0..50u64 {
        let mut pair = Pair::new([config(100, 150, 3), config(80, 300, 4)]);
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        pair.run(Duration::from_secs(20), |_, _| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % 100 < 60
        });
        pair.run(Duration::from_secs(4), |_, _| false);
        assert_eq!(pair.states(), [State::Up; 2], "seed {seed}");
        assert_eq!(pair.sides[0].tx_interval(), Some(MS * 300), "seed {seed}");
    }
}

#[test]
fn timers_change_on_both_sides_without_a_flap() {
    let mut pair = Pair::new([config(300, 300, 3), config(300, 300, 3)]);
    pair.run(Duration::from_secs(3), |_, _| false);
    for (tx, rx) in [(1000, 1000), (50, 50), (2000, 40), (40, 2000), (300, 300)] {
        let now = pair.now;
        pair.sides[0].change(now, config(tx, rx, 3));
        pair.run(Duration::from_secs(10), |_, _| false);
        assert_eq!(pair.sides[0].tx_interval(), Some(MS * tx.max(300)));
        assert_eq!(pair.sides[1].tx_interval(), Some(MS * rx.max(300)));
        assert_eq!(pair.sides.iter().map(Session::flaps).sum::<u64>(), 0, "{tx} {rx}");
    }
}

#[test]
fn an_operator_who_ends_bfd_loses_nothing() {
    let mut pair = Pair::new([config(300, 300, 3), config(300, 300, 3)]);
    pair.run(Duration::from_secs(3), |_, _| false);
    let now = pair.now;
    pair.sides[0].admin_down(now);
    pair.run(Duration::from_secs(3), |_, _| false);
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    assert_eq!(losses(&mut pair.sides[1]), []);
    assert_eq!(pair.sides[1].remote_state(), State::AdminDown);
}
