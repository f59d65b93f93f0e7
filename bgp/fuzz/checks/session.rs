//! The state machine: any events in any order, with any bytes.
//!
//! An input is a list of steps: an octet that chooses the event, one with its argument, and what the event takes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pipit_bgp::bfd::{Diagnostic, Loss};
use pipit_bgp::session::collision::Direction;
use pipit_bgp::session::config::PeerConfig;
use pipit_bgp::session::{Action, Connected, Resumption, Sending, Session, Stop};
use pipit_bgp::wire::header;
use pipit_bgp::wire::iana::ErrorCode;
use pipit_bgp::wire::iana::message;
use pipit_bgp::wire::notification::Notification;
use pipit_bgp::wire::update::UpdateBatch;
use pipit_bgp::{Asn, Family, FamilySet, RouterId};

/// Steps of one input: what comes after them is not looked at.
const STEPS: usize = 200;
/// Actions that one event may lead to.
const ACTIONS: usize = 24;

/// # Panics
/// When the state machine contradicts itself.
pub(crate) fn check(input: &[u8]) {
    let mut world = World::new();
    let mut rest = input;
    for _ in 0..STEPS {
        let [event, argument, tail @ ..] = rest else { break };
        let taken = world.step(*event, *argument, tail);
        rest = &tail[taken..];
        world.settle();
    }
    // It comes to rest.
    world.session.stop(&Stop::Notify(Notification::new(
        ErrorCode::ADMINISTRATIVE_SHUTDOWN,
    )));
    world.settle();
    assert!(!world.is_up && world.open == [false; 2]);
    assert_eq!(world.session.poll_timeout(), None);
}

/// Whole, with a length that a peer without extended messages takes.
///
/// # Panics
/// When a message is none.
pub(crate) fn check_message(bytes: &[u8]) {
    let decoded = header::decode(bytes, false);
    let Ok(Some(found)) = decoded else {
        panic!("no message: {bytes:02x?}, {decoded:?}");
    };
    assert_eq!(found.len, bytes.len(), "{bytes:02x?}");
}

struct World {
    session: Session,
    now: Instant,
    /// Outgoing, incoming.
    open: [bool; 2],
    is_up: bool,
}

fn at(direction: Direction) -> usize {
    match direction {
        Direction::Outgoing => 0,
        Direction::Incoming => 1,
    }
}

fn config(choice: u8) -> PeerConfig {
    let address = IpAddr::from([192, 0, 2, 2]);
    let mut config = PeerConfig::new(
        "fuzz",
        address,
        Asn(64_512),
        Asn(64_513),
        RouterId::from(0xc000_0201),
    );
    config.passive = choice & 1 != 0;
    if choice & 2 != 0 {
        config.families = Family::ALL.into_iter().collect();
    }
    if choice & 4 != 0 {
        config.hold_time = Duration::from_secs(3);
    }
    if choice & 8 != 0 {
        config.families = FamilySet::only(Family::Ipv6Unicast);
    }
    if choice & 16 != 0 {
        config.delay_open = Duration::from_secs(5);
    }
    config
}

impl World {
    fn new() -> World {
        let now = Instant::now();
        let mut session = Session::new(config(0), Resumption::None, 7);
        session.start(now);
        World {
            session,
            now,
            open: [false; 2],
            is_up: false,
        }
    }

    /// One event; how much of the input it took.
    fn step(&mut self, event: u8, argument: u8, tail: &[u8]) -> usize {
        let direction = [Direction::Outgoing, Direction::Incoming][usize::from(argument & 1)];
        let now = self.now;
        let raw = &tail[..usize::from(argument >> 1).min(tail.len())];
        match event % 16 {
            0 | 1 => self.connect(direction),
            2 => self.session.handle_dial_failed(now, "refused"),
            3 | 4 => {
                self.now += Duration::from_millis(u64::from(argument) * 250);
                self.session.handle_timeout(self.now);
                // A timer that stays due would spin.
                assert!(self.session.poll_timeout().is_none_or(|at| at > self.now));
            }
            5 | 6 => self.receive(direction, message::OPEN, &open(argument)),
            7 | 8 => self.receive(direction, message::KEEPALIVE, &[]),
            9 => {
                self.receive(direction, message::UPDATE, raw);
                return raw.len();
            }
            10 => {
                self.receive(direction, message::NOTIFICATION, raw);
                return raw.len();
            }
            11 => {
                self.receive(direction, argument >> 3, raw);
                return raw.len();
            }
            12 => {
                if self.open[at(direction)] {
                    let mut batch = UpdateBatch::default();
                    self.session
                        .handle_bytes(now, direction, &mut { raw }, &mut batch);
                }
                return raw.len();
            }
            13 => {
                if self.open[at(direction)] {
                    let error = (argument & 2 != 0).then_some("connection reset");
                    self.session.handle_closed(now, direction, error);
                    self.settle();
                    assert!(!self.open[at(direction)], "left open");
                }
            }
            14 => self.command(argument),
            _ => self.session.change(now, config(argument)),
        }
        0
    }

    fn command(&mut self, argument: u8) {
        let now = self.now;
        let direction = [Direction::Outgoing, Direction::Incoming][usize::from(argument & 1)];
        match argument % 9 {
            0 => self.session.stop(&Stop::Restart),
            1 => self.session.start(now),
            2 => {
                let notification = Notification::new(ErrorCode::ADMINISTRATIVE_RESET);
                self.session.reset(now, &notification, "reset".into());
            }
            3 => self.session.retry(now),
            4 => {
                let loss = Loss {
                    diagnostic: Diagnostic::DetectionTimeExpired,
                    heard_up: now,
                };
                self.session.handle_path_lost(now, loss);
            }
            5 => self.session.recovery_done(),
            6 if self.open[at(direction)] => self.session.handle_sending(now, direction, Sending::Stuck),
            7 if self.open[at(direction)] => self.session.handle_sending(now, direction, Sending::Done),
            _ => {}
        }
    }

    fn connect(&mut self, direction: Direction) {
        if direction == Direction::Incoming && !self.session.accepts() {
            return;
        }
        let local = IpAddr::from([192, 0, 2, 1]);
        if self.session.handle_connected(self.now, direction, local) == Connected::Taken {
            // What is closed while one is taken is the old one in its place.
            while self.open[at(direction)] {
                let Some(action) = self.session.poll_action() else {
                    panic!("two connections in one place");
                };
                self.carry_out(action);
            }
            self.open[at(direction)] = true;
        }
    }

    fn receive(&mut self, direction: Direction, kind: u8, body: &[u8]) {
        if !self.open[at(direction)] {
            return;
        }
        let mut bytes = vec![0xff; 16];
        bytes.extend(((header::LEN + body.len()) as u16).to_be_bytes());
        bytes.push(kind);
        bytes.extend(body);
        let mut batch = UpdateBatch::default();
        self.session
            .handle_bytes(self.now, direction, &mut bytes.as_slice(), &mut batch);
        assert!(batch.items.is_empty() || self.is_up || self.session.negotiated().is_some());
    }

    fn settle(&mut self) {
        for _ in 0..ACTIONS {
            let Some(action) = self.session.poll_action() else {
                return;
            };
            self.carry_out(action);
        }
        panic!("more than {ACTIONS} actions after one event");
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Dial | Action::CancelDial => {}
            Action::Send(direction, bytes) => {
                assert!(self.open[at(direction)], "sent to nobody: {bytes:02x?}");
                check_message(&bytes);
            }
            Action::Close(direction) => {
                assert!(std::mem::take(&mut self.open[at(direction)]), "closed twice");
            }
            Action::Up(direction, _) => {
                assert!(!std::mem::replace(&mut self.is_up, true), "up twice");
                assert!(self.open[at(direction)]);
            }
            Action::Down(_) => assert!(std::mem::take(&mut self.is_up), "down twice"),
        }
    }
}

/// An OPEN that the session takes, or by other arguments nearly.
fn open(choice: u8) -> Vec<u8> {
    let asn: u16 = if choice & 2 != 0 { 64_512 } else { 64_513 };
    let hold_time: u16 = [90, 3, 1, 0][usize::from(choice >> 2 & 3)];
    let router_id: u32 = if choice & 16 != 0 {
        0xc000_0201
    } else {
        0xc000_0202
    };
    let capabilities: &[u8] = match choice >> 5 {
        0 => &[2, 6, 1, 4, 0, 1, 0, 1],
        1 => &[2, 6, 1, 4, 0, 2, 0, 1],
        2 => &[2, 12, 1, 4, 0, 1, 0, 1, 64, 6, 0x40, 120, 0, 1, 1, 0x80],
        3 => &[2, 8, 1, 4, 0, 1, 0, 1, 6, 0],
        _ => &[],
    };
    let mut body = vec![4];
    body.extend(asn.to_be_bytes());
    body.extend(hold_time.to_be_bytes());
    body.extend(router_id.to_be_bytes());
    body.push(capabilities.len() as u8);
    body.extend(capabilities);
    body
}
