use std::time::Duration;

use super::*;
use crate::bfd::Flags;

const PEER: PeerId = PeerId(1);
const OTHER: PeerId = PeerId(2);

fn timers() -> Bfd {
    Bfd {
        tx: Duration::from_millis(300),
        rx: Duration::from_millis(300),
        multiplier: 3,
    }
}

fn target(address: &str, path: Path) -> Target {
    Target {
        address: address.parse().unwrap(),
        scope: 0,
        path,
        hops: None,
    }
}

fn arrival(from: &str, path: Path) -> Arrival {
    Arrival {
        from: from.parse().unwrap(),
        scope: 0,
        path,
        ttl: 255,
    }
}

fn packet(state: State, your_discriminator: u32) -> [u8; 24] {
    Packet {
        diagnostic: Diagnostic::None,
        state,
        flags: Flags::NONE,
        detect_multiplier: 3,
        my_discriminator: 77,
        your_discriminator,
        desired_min_tx: 300_000,
        required_min_rx: 300_000,
        required_min_echo_rx: 0,
    }
    .encode()
}

fn actions(sessions: &mut Sessions) -> Vec<Action> {
    std::iter::from_fn(|| sessions.poll_action()).collect()
}

/// The paths of packets sent.
fn paths(sessions: &mut Sessions) -> Vec<Path> {
    actions(sessions)
        .into_iter()
        .filter_map(|action| match action {
            Action::Transmit(_, path, _) => Some(path),
            _ => None,
        })
        .collect()
}

fn state(sessions: &Sessions, peer: PeerId) -> State {
    sessions.view(peer).unwrap().state
}

/// One session that is Up.
fn up(now: Instant, path: Path) -> (Sessions, u32) {
    let mut sessions = Sessions::default();
    let key = sessions.set(now, PEER, target("10.0.0.2", path), timers());
    sessions.handle_timeout(now);
    sessions
        .handle_packet(now, arrival("10.0.0.2", path), &packet(State::Init, key))
        .unwrap();
    actions(&mut sessions);
    (sessions, key)
}

#[test]
fn rfc5880_6_3_packets_find_their_session_by_discriminator_and_by_address_before() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    let first = sessions.set(now, PEER, target("10.0.0.2", Path::SingleHop), timers());
    let second = sessions.set(now, OTHER, target("10.0.0.3", Path::SingleHop), timers());
    assert!(first != second && first != 0 && second != 0);
    let single = |from| arrival(from, Path::SingleHop);
    let mut take = |arrival, octets: &[u8]| sessions.handle_packet(now, arrival, octets);
    assert_eq!(take(single("10.0.0.3"), &packet(State::Down, 0)), Ok(()));
    assert_eq!(
        take(single("10.0.0.4"), &packet(State::Down, 0)),
        Err(Discard::UnknownSender)
    );
    let nobodys = (1..).find(|number| ![first, second].contains(number)).unwrap();
    assert_eq!(
        take(single("10.0.0.3"), &packet(State::Down, nobodys)),
        Err(Discard::UnknownDiscriminator(nobodys))
    );
    // The address does not matter once the peer knows our discriminator.
    assert_eq!(take(single("10.0.0.9"), &packet(State::Init, second)), Ok(()));
    assert_eq!(state(&sessions, PEER), State::Down);
    assert_eq!(state(&sessions, OTHER), State::Up);
}

#[test]
fn link_local_peers_are_told_apart_by_their_interface() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    for (peer, scope) in [(PEER, 3), (OTHER, 4)] {
        let target = Target {
            scope,
            ..target("fe80::2", Path::SingleHop)
        };
        sessions.set(now, peer, target, timers());
    }
    let from = |scope| Arrival {
        scope,
        ..arrival("fe80::2", Path::SingleHop)
    };
    sessions
        .handle_packet(now, from(4), &packet(State::Down, 0))
        .unwrap();
    assert_eq!(state(&sessions, PEER), State::Down);
    assert_eq!(state(&sessions, OTHER), State::Init);
    let result = sessions.handle_packet(now, from(5), &packet(State::Down, 0));
    assert_eq!(result, Err(Discard::UnknownSender));
}

#[test]
fn rfc5881_5_what_came_over_a_router_is_no_single_hop_packet() {
    let now = Instant::now();
    let (mut sessions, key) = up(now, Path::SingleHop);
    let far = Arrival {
        ttl: 254,
        ..arrival("10.0.0.2", Path::SingleHop)
    };
    let result = sessions.handle_packet(now, far, &packet(State::Down, key));
    assert_eq!(result, Err(Discard::Ttl { ttl: 254, least: 255 }));
    assert_eq!(state(&sessions, PEER), State::Up);
}

#[test]
fn multihop_counts_hops_where_the_operator_says_how_many() {
    let now = Instant::now();
    let fixed = Target {
        hops: Some(3),
        ..target("10.0.0.2", Path::Multihop)
    };
    for (target, ttl, expected) in [
        (fixed, 253, Ok(())),
        (fixed, 252, Err(Discard::Ttl { ttl: 252, least: 253 })),
        (target("10.0.0.2", Path::Multihop), 1, Ok(())),
    ] {
        let mut sessions = Sessions::default();
        sessions.set(now, PEER, target, timers());
        let arrival = Arrival {
            ttl,
            ..arrival("10.0.0.2", Path::Multihop)
        };
        assert_eq!(
            sessions.handle_packet(now, arrival, &packet(State::Down, 0)),
            expected
        );
    }
}

#[test]
fn a_session_follows_its_peer_to_the_other_path_until_it_is_up() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    let key = sessions.set(now, PEER, target("10.0.0.2", Path::SingleHop), timers());
    sessions.handle_timeout(now);
    assert_eq!(paths(&mut sessions), [Path::SingleHop]);
    let multi = arrival("10.0.0.2", Path::Multihop);
    sessions
        .handle_packet(now, multi, &packet(State::Down, 0))
        .unwrap();
    assert_eq!(paths(&mut sessions), [Path::Multihop]);
    sessions
        .handle_packet(now, multi, &packet(State::Init, key))
        .unwrap();
    let single = arrival("10.0.0.2", Path::SingleHop);
    let result = sessions.handle_packet(now, single, &packet(State::Down, key));
    assert_eq!(result, Err(Discard::WrongPort));
    assert_eq!(state(&sessions, PEER), State::Up);
    assert_eq!(sessions.view(PEER).unwrap().path, Path::Multihop);
}

#[test]
fn gtsm_fixes_the_path() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    let fixed = Target {
        hops: Some(1),
        ..target("10.0.0.2", Path::SingleHop)
    };
    sessions.set(now, PEER, fixed, timers());
    let multi = arrival("10.0.0.2", Path::Multihop);
    let result = sessions.handle_packet(now, multi, &packet(State::Down, 0));
    assert_eq!(result, Err(Discard::WrongPort));
}

#[test]
fn a_peer_that_waits_for_us_is_looked_for_on_both_paths() {
    let mut now = Instant::now();
    let mut sessions = Sessions::default();
    sessions.set(now, PEER, target("10.0.0.2", Path::SingleHop), timers());
    actions(&mut sessions);
    let (mut tried, mut told) = (Vec::new(), 0);
    while tried.len() < 15 {
        now = sessions.poll_timeout().unwrap().max(now);
        sessions.handle_timeout(now);
        for action in actions(&mut sessions) {
            match action {
                Action::Transmit(_, path, _) => tried.push(path),
                action => told += usize::from(action == Action::Changed(PEER)),
            }
        }
    }
    assert_eq!(told, 2);
    let [single, multi] = Path::ALL.map(|path| [path; 5]);
    assert_eq!(tried, [single, multi, single].concat());
}

#[test]
fn a_removed_session_says_so_for_a_detection_time_and_is_forgotten() {
    let start = Instant::now();
    let (mut sessions, key) = up(start, Path::SingleHop);
    sessions.remove(start, PEER);
    assert_eq!(sessions.view(PEER), None);
    let mut said = 0;
    let mut now = start;
    while let Some(at) = sessions.poll_timeout() {
        now = at.max(now);
        sessions.handle_timeout(now);
        for action in actions(&mut sessions) {
            match action {
                Action::Transmit(of, _, packet) => {
                    assert_eq!((of, packet.state), (key, State::AdminDown));
                    assert_eq!(packet.diagnostic, Diagnostic::AdministrativelyDown);
                    said += 1;
                }
                action => assert_eq!(action, Action::Ended(key)),
            }
        }
    }
    assert!((3..=5).contains(&said), "{said}");
    assert_eq!(now - start, Duration::from_secs(3));
    assert!(sessions.is_empty());
}

#[test]
fn a_session_that_nobody_knows_of_ends_at_once() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    sessions.set(now, PEER, target("10.0.0.2", Path::SingleHop), timers());
    sessions.remove(now, PEER);
    sessions.handle_timeout(now);
    assert!(sessions.is_empty());
    assert_eq!(sessions.poll_timeout(), None);
}

#[test]
fn a_peer_that_comes_back_is_not_mistaken_for_the_one_that_ends() {
    let now = Instant::now();
    let (mut sessions, old) = up(now, Path::SingleHop);
    sessions.remove(now, PEER);
    let new = sessions.set(now, PEER, target("10.0.0.2", Path::SingleHop), timers());
    assert_ne!(old, new);
    let single = arrival("10.0.0.2", Path::SingleHop);
    let result = sessions.handle_packet(now, single, &packet(State::Up, old));
    assert_eq!(result, Err(Discard::AdminDown));
    sessions
        .handle_packet(now, single, &packet(State::Down, 0))
        .unwrap();
    assert_eq!(state(&sessions, PEER), State::Init);
}

#[test]
fn other_timers_keep_the_session_and_another_address_does_not() {
    let now = Instant::now();
    let (mut sessions, key) = up(now, Path::Multihop);
    let faster = Bfd {
        multiplier: 5,
        ..timers()
    };
    // The path to begin with no longer matters.
    let same = sessions.set(now, PEER, target("10.0.0.2", Path::SingleHop), faster);
    assert_eq!(same, key);
    assert_eq!(state(&sessions, PEER), State::Up);
    assert_eq!(sessions.view(PEER).unwrap().path, Path::Multihop);
    let other = sessions.set(now, PEER, target("10.0.0.3", Path::SingleHop), faster);
    assert_ne!(other, key);
    assert_eq!(state(&sessions, PEER), State::Down);
}

#[test]
fn a_loss_is_told_with_its_peer() {
    let start = Instant::now();
    let (mut sessions, _) = up(start, Path::SingleHop);
    sessions.handle_timeout(start + Duration::from_millis(900));
    let loss = Loss {
        diagnostic: Diagnostic::DetectionTimeExpired,
        heard_up: start,
    };
    assert!(actions(&mut sessions).contains(&Action::Lost(PEER, loss)));
    assert_eq!(sessions.view(PEER).unwrap().flaps, 1);
}

#[test]
fn bfd_that_is_turned_off_goes_on_for_a_peer_that_has_it_on() {
    let start = Instant::now();
    let (mut sessions, key) = up(start, Path::SingleHop);
    sessions.release(start, PEER);
    assert_eq!(sessions.view(PEER), None);
    let single = arrival("10.0.0.2", Path::SingleHop);
    let mut now = start;
    for _ in 0..10 {
        now += Duration::from_millis(300);
        sessions
            .handle_packet(now, single, &packet(State::Up, key))
            .unwrap();
        sessions.handle_timeout(now);
        for action in actions(&mut sessions) {
            assert!(
                matches!(action, Action::Transmit(_, _, packet) if packet.state == State::Up),
                "{action:?}"
            );
        }
    }
    assert!(sessions.listens(Family::Ipv4Unicast));
    // On again: nothing was interrupted.
    assert_eq!(
        sessions.set(now, PEER, target("10.0.0.2", Path::SingleHop), timers()),
        key
    );
    assert_eq!(state(&sessions, PEER), State::Up);
    // Off again, and then off there: the end, and no loss.
    sessions.release(now, PEER);
    actions(&mut sessions);
    sessions
        .handle_packet(now, single, &packet(State::AdminDown, key))
        .unwrap();
    sessions.handle_timeout(now);
    let said = actions(&mut sessions);
    assert!(
        matches!(said[..], [Action::Transmit(..), Action::Ended(ended)] if ended == key),
        "{said:?}"
    );
    assert!(sessions.is_empty());
}

#[test]
fn a_loss_of_a_path_that_is_not_watched_any_more_concerns_nobody() {
    let start = Instant::now();
    let (mut sessions, _) = up(start, Path::SingleHop);
    sessions.release(start, PEER);
    sessions.handle_timeout(start + Duration::from_millis(900));
    let is_lost = |action: &Action| matches!(action, Action::Lost(..));
    assert!(!actions(&mut sessions).iter().any(is_lost));
    sessions.handle_timeout(start + Duration::from_millis(900));
    assert!(sessions.is_empty());
}

#[test]
fn a_peer_that_is_removed_after_bfd_was_turned_off_is_told() {
    let now = Instant::now();
    let (mut sessions, _) = up(now, Path::SingleHop);
    sessions.release(now, PEER);
    actions(&mut sessions);
    sessions.remove(now, PEER);
    let said = actions(&mut sessions);
    assert!(
        matches!(said[..], [Action::Transmit(_, _, packet)] if packet.state == State::AdminDown),
        "{said:?}"
    );
    assert!(!sessions.listens(Family::Ipv4Unicast));
}
