//! What RFC 7606 leaves as a reason to end the session: the answer octet by octet, and what becomes of the routes.

use crate::bench::Neighbour;
use crate::message::{
    COMMUNITIES, IPV4, IPV6, MP_REACH, MP_UNREACH, NEXT_HOP, OPTIONAL, ORIGIN, TRANSITIVE, UPDATE,
    WELL_KNOWN, attribute, message, mp_reach, mp_unreach, nlri, update,
};
use crate::peer::{Ending, Peer};
use crate::stage::{FIRST_FREE, From, Stage};

/// A message of a peer.
type Message = Box<dyn Fn(&Peer) -> Vec<u8>>;

/// What is sent, the subcode, and the data.
struct Case {
    what: &'static str,
    message: Message,
    subcode: u8,
    data: Vec<u8>,
}

fn case(what: &'static str, subcode: u8, data: &[u8], message: impl Fn(&Peer) -> Vec<u8> + 'static) -> Case {
    Case {
        what,
        message: Box::new(message),
        subcode,
        data: data.to_vec(),
    }
}

/// Each case has a peer of its own, since pipit makes one wait that was ended with an error.
fn run(cases: &[Case]) {
    let mut stage = Stage::with(
        cases
            .iter()
            .map(|_| Neighbour::external().both_families())
            .collect(),
    );
    for (at, case) in cases.iter().enumerate() {
        let what = case.what;
        let (own, own6) = (format!("62.0.{at}.0/24"), format!("2001:db8:{at}::/48"));
        let mut peer = stage.bench.up(FIRST_FREE + at);
        peer.announce(1, &[&own]);
        peer.announce_v6(1, &LINKED, &[&own6]);
        stage.everybody(&format!("good routes before {what}"), |watcher| {
            watcher.has(&own) && watcher.has(&own6)
        });
        let bytes = (case.message)(&peer);
        peer.send(&bytes);
        let expected = Ending::Notified(3, case.subcode, case.data.clone());
        assert_eq!(peer.ends(what), expected, "{what}");
        stage.everybody(&format!("no routes after {what}"), |watcher| {
            !watcher.has(&own) && !watcher.has(&own6)
        });
        stage.settle(From::External, what);
    }
    stage.unharmed();
}

/// A next hop on the link, `fd97::2`.
const LINKED: [u8; 16] = [0xfd, 0x97, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const NEW: &str = "62.1.0.0/24";
const NEW6: &str = "2001:db8:ffff::/48";

/// A good route beside these fields.
fn with_fields(withdrawn: &'static [u8], announced: &'static [u8]) -> impl Fn(&Peer) -> Vec<u8> {
    move |peer| update(withdrawn, &peer.attributes(1).encode(), announced)
}

/// Octets as the body of an UPDATE.
fn raw(body: &'static [u8]) -> impl Fn(&Peer) -> Vec<u8> {
    move |_| message(UPDATE, body)
}

#[test]
fn rfc4271_6_3_lengths_that_do_not_fit_the_message() {
    let mut cases = vec![
        case("withdrawn routes past the end", 1, &[], raw(&[0, 5, 0, 0, 0])),
        case("attributes past the end", 1, &[], raw(&[0, 0, 0, 9, 1, 2])),
        case("no attribute length", 1, &[], raw(&[0, 2, 8, 10])),
        case(
            "65,535 octets of withdrawn routes",
            1,
            &[],
            raw(&[0xff, 0xff, 0, 0]),
        ),
        case("65,535 octets of attributes", 1, &[], raw(&[0, 0, 0xff, 0xff])),
    ];
    cases.push(case("one octet too many attributes", 1, &[], |peer| {
        let attributes = peer.attributes(1).encode();
        let len = (attributes.len() as u16 + 1).to_be_bytes();
        message(UPDATE, &[&[0, 0], &len[..], &attributes].concat())
    }));
    run(&cases);
}

#[test]
fn rfc4271_6_3_prefixes_that_do_not_parse() {
    run(&[
        case(
            "an announced /33",
            10,
            &[],
            with_fields(&[], &[33, 10, 0, 0, 0, 0]),
        ),
        case("an announced /255", 10, &[], with_fields(&[], &[255, 10])),
        case(
            "an announced prefix that is cut",
            10,
            &[],
            with_fields(&[], &[24, 10, 0]),
        ),
        case("a length and nothing else", 10, &[], with_fields(&[], &[8])),
        case(
            "a good prefix and a bad one",
            10,
            &[],
            with_fields(&[], &[8, 10, 99, 1]),
        ),
        case(
            "a withdrawn /33",
            10,
            &[],
            with_fields(&[33, 10, 0, 0, 0, 0], &[]),
        ),
        case(
            "a withdrawn prefix that is cut",
            10,
            &[],
            with_fields(&[16, 10], &[8, 10]),
        ),
    ]);
}

#[test]
fn rfc4271_6_3_a_well_known_attribute_that_nobody_knows() {
    let case = |what, flags, code, value: &'static [u8]| {
        let unknown = attribute(flags, code, value);
        case(what, 2, &unknown.clone(), move |peer: &Peer| {
            let attributes = [peer.attributes(1).encode(), unknown.clone()].concat();
            update(&[], &attributes, &nlri(&[NEW]))
        })
    };
    run(&[
        case("type 99", WELL_KNOWN, 99, &[1, 2, 3]),
        case("type 0", WELL_KNOWN, 0, &[]),
        case("type 255", WELL_KNOWN, 255, &[0; 40]),
        case("no flag at all", 0, 11, &[1]),
        case("three hundred octets", WELL_KNOWN, 200, &[7; 300]),
    ]);
}

#[test]
fn rfc7606_5_2_malformed_and_nobody_knows_for_which_routes() {
    let case = |what, bytes: Vec<u8>| case(what, 1, &[], move |_: &Peer| bytes.clone());
    let bad = attribute(WELL_KNOWN, ORIGIN, &[9]);
    run(&[
        case("a malformed ORIGIN alone", update(&[], &bad, &[])),
        case(
            "a malformed ORIGIN and withdrawn routes",
            update(&nlri(&[NEW]), &bad, &[]),
        ),
        case(
            "an attribute past the end, alone",
            update(&[], &[TRANSITIVE, COMMUNITIES, 4, 1], &[]),
        ),
        case(
            "three octets of attributes",
            update(&[], &[TRANSITIVE, 99, 1], &[]),
        ),
    ]);
}

/// A good IPv6 route but for MP_REACH_NLRI, which is this.
fn reach(value: Vec<u8>) -> impl Fn(&Peer) -> Vec<u8> {
    move |peer| {
        let mut attributes = peer.attributes(1);
        attributes.remove(NEXT_HOP).set(OPTIONAL, MP_REACH, &value);
        update(&[], &attributes.encode(), &[])
    }
}

/// A case that is answered with the attribute itself.
fn multiprotocol(what: &'static str, code: u8, value: &[u8]) -> Case {
    let data = attribute(OPTIONAL, code, value);
    let value = value.to_vec();
    match code {
        MP_REACH => case(what, 9, &data, reach(value)),
        _ => case(what, 9, &data.clone(), move |_| update(&[], &data, &[])),
    }
}

#[test]
fn rfc7606_7_11_next_hops_of_no_length_that_there_is() {
    let of_len = |what, len: usize| {
        let next_hop = [&LINKED[..], &LINKED, &LINKED].concat();
        multiprotocol(what, MP_REACH, &mp_reach(IPV6, &next_hop[..len], &nlri(&[NEW6])))
    };
    let mut cases = vec![
        of_len("a next hop of no octet", 0),
        of_len("a next hop of four octets", 4),
        of_len("a next hop of fifteen octets", 15),
        of_len("a next hop of seventeen octets", 17),
        of_len("a next hop of twenty-four octets", 24),
        of_len("a next hop of thirty-one octets", 31),
        of_len("a next hop of thirty-three octets", 33),
        of_len("a next hop of forty-eight octets", 48),
    ];
    let past_the_end = [&[0, 2, 1, 255][..], &LINKED].concat();
    cases.push(multiprotocol("a next hop past the end", MP_REACH, &past_the_end));
    // RFC 8950 was not agreed upon.
    let ipv4 = mp_reach(IPV4, &LINKED, &nlri(&[NEW]));
    cases.push(multiprotocol(
        "an IPv6 next hop of an IPv4 route",
        MP_REACH,
        &ipv4,
    ));
    run(&cases);
}

#[test]
fn rfc7606_5_3_multiprotocol_attributes_that_do_not_parse() {
    let v6 = |nlri: &[u8]| mp_reach(IPV6, &LINKED, nlri);
    run(&[
        multiprotocol("MP_REACH of no octet", MP_REACH, &[]),
        multiprotocol("MP_REACH of three octets", MP_REACH, &[0, 2, 1]),
        multiprotocol(
            "MP_REACH without the reserved octet",
            MP_REACH,
            &[&[0, 2, 1, 16][..], &LINKED].concat(),
        ),
        multiprotocol(
            "an announced /129",
            MP_REACH,
            &v6(&[&[129][..], &[0x20; 17]].concat()),
        ),
        multiprotocol("an announced prefix that is cut", MP_REACH, &v6(&[48, 0x20, 1])),
        multiprotocol(
            "a good prefix and a bad one",
            MP_REACH,
            &v6(&[&nlri(&[NEW6])[..], &[64, 0x20]].concat()),
        ),
        multiprotocol("MP_UNREACH of no octet", MP_UNREACH, &[]),
        multiprotocol("MP_UNREACH of two octets", MP_UNREACH, &[0, 2]),
        multiprotocol(
            "a withdrawn /129",
            MP_UNREACH,
            &mp_unreach(IPV6, &[&[129][..], &[0x20; 17]].concat()),
        ),
        multiprotocol(
            "a withdrawn prefix that is cut",
            MP_UNREACH,
            &mp_unreach(IPV6, &[48, 0x20]),
        ),
    ]);
}

#[test]
fn rfc7606_3_multiprotocol_attributes_twice_or_past_the_end() {
    let unreach = attribute(OPTIONAL, MP_UNREACH, &mp_unreach(IPV6, &nlri(&[NEW6])));
    let twice = unreach.repeat(2);
    let value = mp_reach(IPV6, &LINKED, &nlri(&[NEW6]));
    run(&[
        case("two MP_UNREACH", 1, &[], move |_| update(&[], &twice, &[])),
        case("two MP_REACH", 1, &[], move |peer| {
            let mut attributes = peer.attributes(1);
            attributes
                .add(OPTIONAL, MP_REACH, &value)
                .add(OPTIONAL, MP_REACH, &value);
            update(&[], &attributes.encode(), &[])
        }),
        case("MP_REACH past the end", 1, &[], |peer| {
            let mut attributes = peer.attributes(1);
            attributes.append(&[OPTIONAL, MP_REACH, 40, 0, 2, 1]);
            update(&[], &attributes.encode(), &nlri(&[NEW]))
        }),
        case("MP_UNREACH past the end", 1, &[], |_| {
            update(&[], &[OPTIONAL, MP_UNREACH, 9, 0, 2, 1], &[])
        }),
    ]);
}
