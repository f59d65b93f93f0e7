//! The shapes that broke other BGP daemons, by the name under which they became known, each sent to a session.
//!
//! What is asked here is whether the session lives and what it says at its end; what becomes of routes is asked beside
//! the codec (`bgp/src/wire/update/decode/tests`) and over TCP (`testbed/tests/wire`).

use std::net::IpAddr;
use std::time::Instant;

use pipit_bgp::session::collision::Direction;
use pipit_bgp::session::config::PeerConfig;
use pipit_bgp::session::{Action, Connected, Resumption, Session};
use pipit_bgp::wire::iana::message::{KEEPALIVE, NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE};
use pipit_bgp::wire::update::{BatchItem, UpdateBatch};
use pipit_bgp::{Asn, Family, RouterId};

/// What is to become of the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It stays up.
    Stays,
    /// It ends with this NOTIFICATION.
    Ends(u8, u8),
    /// It ends without a word: what came was a NOTIFICATION.
    Gone,
}
use Fate::{Ends, Gone, Stays};

struct Shape {
    /// Number in the list of `docs/conformance.md`, and names.
    name: &'static str,
    /// Sent in Established; an OPEN is sent in its place.
    kind: u8,
    body: Vec<u8>,
    fate: Fate,
}

fn shape(name: &'static str, kind: u8, body: &[&[u8]], fate: Fate) -> Shape {
    Shape {
        name,
        kind,
        body: body.concat(),
        fate,
    }
}

/// An OPEN whose optional parameters are these, their length as said.
fn open(length: u8, parameters: &[u8]) -> Vec<u8> {
    [&[4, 0xfc, 1, 0, 90, 192, 0, 2, 2, length], parameters].concat()
}

/// An OPEN with one capability.
fn capable(code: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len() as u8;
    let parameter = [&[2, length + 2, code, length], value].concat();
    open(length + 4, &parameter)
}

/// An UPDATE for 198.51.100.0/24 with further attributes.
fn update(more: &[&[u8]]) -> Vec<u8> {
    with_attributes(&[&[ORIGIN, AS_PATH, NEXT_HOP], more].concat())
}

fn with_attributes(attributes: &[&[u8]]) -> Vec<u8> {
    let attributes = attributes.concat();
    let length = (attributes.len() as u16).to_be_bytes();
    [&[0, 0], &length[..], &attributes, &[24, 198, 51, 100]].concat()
}

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 1];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 2];

fn long_path(segments: usize) -> Vec<u8> {
    let segment = [&[2_u8, 255][..], &[0, 0, 0xfc, 1].repeat(255)].concat();
    let value = segment.repeat(segments);
    let length = (value.len() as u16).to_be_bytes();
    [&[0x50, 2], &length[..], &value].concat()
}

fn shapes() -> Vec<Shape> {
    let opens = [
        shape(
            "1 CVE-2022-40302 extended parameters, cut",
            OPEN,
            &[&open(255, &[255])],
            Ends(2, 0),
        ),
        shape(
            "2 CVE-2022-40318 extended parameters, cut",
            OPEN,
            &[&open(255, &[255, 0, 9, 2, 0])],
            Ends(2, 0),
        ),
        shape(
            "3 CVE-2022-43681 ends behind the length",
            OPEN,
            &[&open(8, &[])],
            Ends(2, 0),
        ),
        shape(
            "4 CVE-2022-36440 AS4 capability, cut",
            OPEN,
            &[&open(4, &[2, 2, 65, 4])],
            Ends(2, 0),
        ),
        shape(
            "6 CVE-2023-31489 LLGR of odd length",
            OPEN,
            &[&capable(71, &[0, 1, 1])],
            Stays,
        ),
        shape(
            "12 CVE-2023-41361 software version longer than itself",
            OPEN,
            &[&capable(75, &[200, b'x'])],
            Stays,
        ),
        shape(
            "28 CVE-2018-5381 MP of an unknown family",
            OPEN,
            &[&capable(1, &[0x40, 4, 0, 71])],
            Ends(2, 7),
        ),
        shape(
            "32 CVE-2012-1820 ORF with a cut entry",
            OPEN,
            &[&capable(3, &[0, 1, 0, 1, 2, 64])],
            Stays,
        ),
        shape(
            "33 CVE-2012-0255 AS4 of three octets",
            OPEN,
            &[&capable(65, &[0, 0xfc, 1])],
            Stays,
        ),
        shape(
            "41 CVE-2025-43971 software version of no length",
            OPEN,
            &[&capable(75, &[0])],
            Stays,
        ),
    ];
    let other_messages = [
        shape(
            "5 CVE-2022-37032 CAPABILITY with a short TLV",
            6,
            &[&[0, 1]],
            Ends(1, 3),
        ),
        shape(
            "11 CVE-2023-41360 refresh with a cut ORF",
            ROUTE_REFRESH,
            &[&[0, 1, 0, 1, 1, 64]],
            Stays,
        ),
        shape(
            "35 CVE-2010-2948 refresh with an ORF",
            ROUTE_REFRESH,
            &[&[0, 1, 0, 1, 1, 64, 0, 2, 9, 9]],
            Stays,
        ),
        shape(
            "38 CVE-2019-16159 shutdown text beyond the end",
            NOTIFICATION,
            &[&[6, 2, 255, b'x']],
            Gone,
        ),
        shape("39 CVE-2025-59688 NOTIFICATION", NOTIFICATION, &[&[6, 4]], Gone),
    ];
    let carried = [
        shape(
            "7 CVE-2023-31490 Prefix-SID, short",
            UPDATE,
            &[&update(&[&[0xc0, 40, 4, 5, 0, 9, 0]])],
            Stays,
        ),
        shape(
            "8 CVE-2023-38802 Tunnel Encapsulation, corrupt",
            UPDATE,
            &[&update(&[&[0xc0, 23, 3, 0, 1, 0xff]])],
            Stays,
        ),
        shape(
            "10 CVE-2023-41359 AIGP beyond its end",
            UPDATE,
            &[&update(&[&[0x80, 26, 3, 1, 0, 200]])],
            Stays,
        ),
        shape(
            "20 CVE-2024-31948 Prefix-SID",
            UPDATE,
            &[&update(&[&[0xc0, 40, 0]])],
            Stays,
        ),
        shape(
            "21 CVE-2024-44070 Tunnel Encapsulation, long TLV",
            UPDATE,
            &[&update(&[&[0xc0, 23, 4, 0, 1, 0xff, 0xff]])],
            Stays,
        ),
        shape(
            "22 CVE-2019-5892 attribute 255",
            UPDATE,
            &[&update(&[&[0xe0, 255, 8, 0, 0, 0, 0, 0, 0, 0, 0]])],
            Stays,
        ),
        shape(
            "44 CVE-2026-41642 unknown and not optional",
            UPDATE,
            &[&update(&[&[0x40, 99, 1, 0]])],
            Ends(3, 2),
        ),
    ];
    let flowspec: &[u8] = &[0x80, 14, 6, 0, 1, 133, 0, 0, 0];
    let labelled: &[u8] = &[0x80, 14, 11, 0, 1, 4, 4, 192, 0, 2, 2, 0, 24, 0];
    let evpn: &[u8] = &[0x80, 14, 11, 0, 25, 70, 4, 192, 0, 2, 2, 0, 2, 9];
    let vpn: &[u8] = &[0x80, 14, 11, 0, 1, 128, 4, 192, 0, 2, 2, 0, 8, 0];
    let martian: &[u8] = &[&[0x80, 14, 22, 0, 2, 1, 16], &[0; 16][..], &[0, 0]].concat();
    let multiprotocol = [
        shape(
            "13 CVE-2023-41909 flowspec of no length",
            UPDATE,
            &[&update(&[flowspec])],
            Stays,
        ),
        shape(
            "14 CVE-2023-38406 flowspec of no length",
            UPDATE,
            &[&update(&[flowspec])],
            Stays,
        ),
        shape(
            "15 CVE-2023-38407 labelled prefix, cut",
            UPDATE,
            &[&update(&[labelled])],
            Stays,
        ),
        shape(
            "16 CVE-2023-46752 MP_REACH_NLRI, cut",
            UPDATE,
            &[&update(&[&[0x80, 14, 4, 0, 1, 1, 4]])],
            Ends(3, 9),
        ),
        shape(
            "18 CVE-2023-47234 MP_UNREACH alone",
            UPDATE,
            &[&with_attributes(&[&[0x80, 15, 3, 0, 1, 1]])],
            Stays,
        ),
        shape(
            "19 CVE-2023-47235 End-of-RIB with an error",
            UPDATE,
            &[&[0, 0, 0, 10], &[0x40, 1, 1, 9], &[0x80, 15, 3, 0, 1, 1]],
            Ends(3, 1),
        ),
        shape(
            "23 CVE-2026-37457 flowspec",
            UPDATE,
            &[&update(&[&[0x80, 14, 8, 0, 1, 133, 0, 0, 2, 1, 33]])],
            Stays,
        ),
        shape(
            "24 CVE-2026-37458 martian next hop",
            UPDATE,
            &[&update(&[martian])],
            Stays,
        ),
        shape(
            "25 CVE-2026-5107 EVPN route, short",
            UPDATE,
            &[&update(&[evpn])],
            Stays,
        ),
        shape(
            "30 CVE-2016-2342 VPNv4 labelled prefix",
            UPDATE,
            &[&update(&[vpn])],
            Stays,
        ),
    ];
    let attributes = [
        shape(
            "9 CVE-2023-41358 prefixes and no attribute",
            UPDATE,
            &[&with_attributes(&[])],
            Stays,
        ),
        shape(
            "17 CVE-2023-46753 an unknown attribute alone",
            UPDATE,
            &[&with_attributes(&[&[0xc0, 99, 0]])],
            Stays,
        ),
        shape(
            "26 CVE-2018-5378 a length to be quoted",
            UPDATE,
            &[&with_attributes(&[ORIGIN, &[0x50, 2, 0xff, 0xff]])],
            Stays,
        ),
        shape(
            "27 CVE-2018-5379 CLUSTER_LIST twice",
            UPDATE,
            &[&update(&[&[0x80, 10, 4, 1, 1, 1, 1], &[0x80, 10, 3, 1, 1, 1]])],
            Stays,
        ),
        shape(
            "29 CVE-2017-16227 a path of 500",
            UPDATE,
            &[&with_attributes(&[ORIGIN, &long_path(2), NEXT_HOP])],
            Stays,
        ),
        shape(
            "31 CVE-2016-4049 as large as may be",
            UPDATE,
            &[&update(&[&[0xd0, 99, 0x0f, 0xc1], &vec![0; 4033][..]])],
            Stays,
        ),
        shape(
            "34 CVE-2010-1674 extended communities, odd",
            UPDATE,
            &[&update(&[&[0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0]])],
            Stays,
        ),
        shape(
            "36 CVE-2010-2949 unknown segment",
            UPDATE,
            &[&with_attributes(&[
                ORIGIN,
                &[0x40, 2, 6, 9, 1, 0, 0, 0xfc, 1],
                NEXT_HOP,
            ])],
            Stays,
        ),
        shape(
            "37 CVE-2009-1572 a path of 765",
            UPDATE,
            &[&with_attributes(&[ORIGIN, &long_path(3), NEXT_HOP])],
            Stays,
        ),
        shape(
            "40 CVE-2026-49943 a path that fills a message",
            UPDATE,
            &[&with_attributes(&[ORIGIN, &long_path(3), NEXT_HOP])],
            Stays,
        ),
        shape(
            "42 CVE-2026-41643 AS4_PATH longer than AS_PATH",
            UPDATE,
            &[&update(&[&[0xc0, 17, 10, 2, 2, 0, 1, 0, 0, 0, 1, 0, 1]])],
            Stays,
        ),
        shape(
            "43 CVE-2026-42285 lengths that contradict",
            UPDATE,
            &[&[0, 0, 0, 7], ORIGIN, &[0x40, 2, 60]],
            Ends(3, 1),
        ),
        shape(
            "45 CVE-2026-37462 lengths that underflow",
            UPDATE,
            &[&[0, 0, 0, 0xff]],
            Ends(3, 1),
        ),
        shape(
            "46 CVE-2026-30405 NEXT_HOP of three octets",
            UPDATE,
            &[&with_attributes(&[ORIGIN, AS_PATH, &[0x40, 3, 3, 192, 0, 2]])],
            Stays,
        ),
        shape(
            "47 CVE-2023-38283 a distant speaker's length",
            UPDATE,
            &[&update(&[&[0xc0, 8, 3, 1, 1, 1]])],
            Stays,
        ),
    ];
    let all = [&opens[..], &other_messages, &carried, &multiprotocol, &attributes];
    let mut shapes: Vec<Shape> = Vec::new();
    for Shape {
        name,
        kind,
        body,
        fate,
    } in all.into_iter().flatten()
    {
        shapes.push(Shape {
            name,
            kind: *kind,
            body: body.clone(),
            fate: *fate,
        });
    }
    shapes
}

struct Peer {
    session: Session,
    now: Instant,
    batch: UpdateBatch,
    said: Option<(u8, u8)>,
    is_closed: bool,
}

impl Peer {
    fn connected() -> Peer {
        let (ours, theirs) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut config = PeerConfig::new(
            "shape",
            theirs,
            Asn(64_512),
            Asn(64_513),
            RouterId::from(0xc000_0201),
        );
        config.families = Family::ALL.into_iter().collect();
        let now = Instant::now();
        let mut session = Session::new(config, Resumption::None, 1);
        session.start(now);
        assert_eq!(
            session.handle_connected(now, Direction::Incoming, ours),
            Connected::Taken
        );
        Peer {
            session,
            now,
            batch: UpdateBatch::default(),
            said: None,
            is_closed: false,
        }
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let length = (19 + body.len() as u16).to_be_bytes();
        let bytes = [&[0xff; 16], &length[..], &[kind], body].concat();
        self.session.handle_bytes(
            self.now,
            Direction::Incoming,
            &mut bytes.as_slice(),
            &mut self.batch,
        );
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Send(_, bytes) if bytes[18] == NOTIFICATION => {
                    self.said = Some((bytes[19], bytes[20]))
                }
                Action::Close(Direction::Incoming) => self.is_closed = true,
                _ => {}
            }
        }
    }

    fn fate(&self) -> Fate {
        match (self.is_closed, self.said) {
            (false, _) => Stays,
            (true, Some((code, subcode))) => Ends(code, subcode),
            (true, None) => Gone,
        }
    }
}

#[test]
fn shapes_that_broke_other_daemons_cost_what_the_rfcs_say() {
    for Shape {
        name,
        kind,
        body,
        fate,
    } in shapes()
    {
        let mut peer = Peer::connected();
        if kind == OPEN {
            peer.send(OPEN, &body);
            assert_eq!(peer.fate(), fate, "{name}");
            continue;
        }
        peer.send(OPEN, &capable(65, &[0, 0, 0xfc, 1]));
        peer.send(KEEPALIVE, &[]);
        assert!(peer.session.negotiated().is_some(), "{name}");
        peer.send(kind, &body);
        assert_eq!(peer.fate(), fate, "{name}");
        if fate == Stays {
            // What comes after is read as ever.
            let before = peer.batch.items.len();
            peer.send(UPDATE, &update(&[]));
            let after = &peer.batch.items[before..];
            assert!(matches!(after, [BatchItem::Announce { .. }]), "{name}: {after:?}");
        }
    }
}

#[test]
fn every_shape_of_the_list_is_there_once() {
    let mut numbers: Vec<u32> = shapes()
        .iter()
        .map(|shape| shape.name.split(' ').next().unwrap().parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=47).collect::<Vec<_>>());
}
