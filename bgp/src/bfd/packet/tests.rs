use proptest::prelude::*;

use super::*;

/// What BIRD 2.0.12 sent in state Up, `interval 300 ms; multiplier 3`.
const CAPTURED: [u8; 24] = [
    0x20, 0xc0, 0x03, 0x18, 0xcc, 0x84, 0x74, 0x71, 0xd8, 0xd2, 0xb2, 0xd9, 0x00, 0x04, 0x93, 0xe0, 0x00,
    0x04, 0x93, 0xe0, 0x00, 0x00, 0x00, 0x00,
];

fn captured() -> Packet {
    Packet {
        diagnostic: Diagnostic::None,
        state: State::Up,
        flags: Flags::NONE,
        detect_multiplier: 3,
        my_discriminator: 0xcc84_7471,
        your_discriminator: 0xd8d2_b2d9,
        desired_min_tx: 300_000,
        required_min_rx: 300_000,
        required_min_echo_rx: 0,
    }
}

#[test]
fn a_packet_is_read_and_written_byte_by_byte() {
    assert_eq!(Packet::decode(&CAPTURED), Ok(captured()));
    assert_eq!(captured().encode(), CAPTURED);
}

/// `CAPTURED` with octets replaced.
fn with(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut octets = CAPTURED.to_vec();
    for &(at, value) in changes {
        octets[at] = value;
    }
    octets
}

/// RFC 5880 §6.8.6, line by line: what is wrong, and what comes of it.
#[test]
fn rfc5880_6_8_6_packets_that_are_discarded() {
    let no_discriminator = [(8, 0), (9, 0), (10, 0), (11, 0)];
    let in_state = |second: u8| with(&[&no_discriminator[..], &[(1, second)]].concat());
    let table: Vec<(Vec<u8>, Discard)> = vec![
        (with(&[(0, 0x00)]), Discard::Version(0)),
        (with(&[(0, 0x40)]), Discard::Version(2)),
        (with(&[(3, 23)]), Discard::TooShort(23)),
        (with(&[(3, 0)]), Discard::TooShort(0)),
        // A wants room for its section.
        (with(&[(1, 0xd4), (3, 25)]), Discard::TooShort(25)),
        (
            with(&[(3, 25)]),
            Discard::Truncated {
                length: 25,
                received: 24,
            },
        ),
        (
            CAPTURED[..23].to_vec(),
            Discard::Truncated {
                length: 24,
                received: 23,
            },
        ),
        (
            vec![],
            Discard::Truncated {
                length: 0,
                received: 0,
            },
        ),
        (with(&[(2, 0)]), Discard::Multiplier),
        (with(&[(1, 0xd1)]), Discard::Multipoint),
        (with(&[(4, 0), (5, 0), (6, 0), (7, 0)]), Discard::MyDiscriminator),
        (in_state(0x80), Discard::YourDiscriminator(State::Init)),
        (in_state(0xc0), Discard::YourDiscriminator(State::Up)),
        (
            [with(&[(1, 0xd4), (3, 26)]), vec![1, 2]].concat(),
            Discard::Authenticated,
        ),
    ];
    for (octets, reason) in table {
        assert_eq!(Packet::decode(&octets), Err(reason), "{octets:02x?}");
    }
}

#[test]
fn rfc5880_6_8_6_packets_that_are_not_discarded() {
    for (second, state) in [(0x40, State::Down), (0x00, State::AdminDown)] {
        let octets = with(&[(8, 0), (9, 0), (10, 0), (11, 0), (1, second)]);
        assert_eq!(Packet::decode(&octets).map(|packet| packet.state), Ok(state));
    }
    // What follows the packet in its datagram means nothing.
    assert_eq!(Packet::decode(&[&CAPTURED[..], &[9; 7]].concat()), Ok(captured()));
}

#[test]
fn every_flag_is_its_bit() {
    for (flags, second) in [
        (Flags::POLL, 0xe0),
        (Flags::FINAL, 0xd0),
        (Flags::INDEPENDENT, 0xc8),
        (Flags::DEMAND, 0xc2),
        (Flags::FINAL | Flags::DEMAND, 0xd2),
    ] {
        let packet = Packet { flags, ..captured() };
        assert_eq!(packet.encode().to_vec(), with(&[(1, second)]));
        assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }
}

#[test]
fn every_diagnostic_survives() {
    for code in 0..32 {
        let packet = Packet {
            diagnostic: Diagnostic::from_bits(code),
            ..captured()
        };
        assert_eq!(packet.encode()[0], 0x20 | code);
        assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }
}

proptest! {
    #[test]
    fn any_octets_are_refused_or_come_back(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(packet) = Packet::decode(&octets) {
            prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
        }
    }

    #[test]
    fn what_is_written_is_read(
        words in any::<[u32; 4]>(), my in 1u32.., multiplier in 1u8.., second in any::<u8>(), code in 0u8..32,
    ) {
        let packet = Packet {
            diagnostic: Diagnostic::from_bits(code),
            state: State::from_bits(second),
            flags: Flags(second & 0x3a),
            detect_multiplier: multiplier,
            my_discriminator: my,
            your_discriminator: words[0].max(1),
            desired_min_tx: words[1],
            required_min_rx: words[2],
            required_min_echo_rx: words[3],
        };
        prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }
}
