//! 2-octet speakers (RFC 6793), roles (RFC 9234) and extended messages (RFC 8654), as others see what comes of them.

use crate::bench::{Bench, Neighbour, OURS};
use crate::message::{
    AGGREGATOR, AS_PATH, AS4_AGGREGATOR, AS4_PATH, Attributes, COMMUNITIES, OTC, TRANSITIVE, WELL_KNOWN,
    narrow_segment, nlri, path, segment, update,
};
use crate::peer::{Ending, Offer, Peer};

/// A 2-octet speaker and one that watches.
fn old_and_watcher() -> (Bench, Peer, Peer) {
    let bench = Bench::start(vec![
        Neighbour::external(),
        Neighbour::external(),
        Neighbour::external(),
    ]);
    let watcher = bench.up(1);
    let old = bench.up_with(0, &bench.offer(0).without(65));
    (bench, old, watcher)
}

/// A good route of a 2-octet speaker: the path is what stands before its own end.
fn narrow(old: &Peer, path: &[u8]) -> Attributes {
    let mut attributes = old.attributes(0);
    attributes.set(WELL_KNOWN, AS_PATH, path);
    attributes
}

/// A name, AS_PATH, AS4_PATH, and the path that they mean together.
type Merge = (&'static str, Vec<u8>, Option<Vec<u8>>, Vec<u32>);

#[test]
fn rfc6793_4_2_3_as4_path_beside_every_shape_of_as_path() {
    let (_bench, mut old, mut watcher) = old_and_watcher();
    let asn = old.asn as u16;
    let trans = 23_456;
    let plain = narrow_segment(2, &[asn, trans, 7]);
    let wide = [4_200_000_001, 7];
    let cases: Vec<Merge> = vec![
        ("none", plain.clone(), None, vec![asn.into(), 23_456, 7]),
        (
            "the end of the path",
            plain.clone(),
            Some(path(&wide)),
            vec![asn.into(), wide[0], 7],
        ),
        (
            "as long as the path",
            plain.clone(),
            Some(path(&[asn.into(), wide[0], 7])),
            vec![asn.into(), wide[0], 7],
        ),
        (
            "longer than the path",
            plain.clone(),
            Some(path(&[1, 2, 3, 4])),
            vec![asn.into(), 23_456, 7],
        ),
        (
            "of no octet",
            plain.clone(),
            Some(vec![]),
            vec![asn.into(), 23_456, 7],
        ),
        (
            "of one octet",
            plain.clone(),
            Some(vec![2]),
            vec![asn.into(), 23_456, 7],
        ),
        (
            "cut",
            plain.clone(),
            Some(vec![2, 2, 0, 0, 0, 1]),
            vec![asn.into(), 23_456, 7],
        ),
        (
            "with AS 0",
            plain.clone(),
            Some(path(&[0, 7])),
            vec![asn.into(), 23_456, 7],
        ),
        (
            "with an empty segment",
            plain.clone(),
            Some([&[2, 0][..], &path(&wide)].concat()),
            vec![asn.into(), 23_456, 7],
        ),
        (
            "a confederation before it",
            plain.clone(),
            Some([segment(3, &[65_100]), path(&wide)].concat()),
            vec![asn.into(), wide[0], 7],
        ),
        (
            "nothing but a confederation",
            plain.clone(),
            Some(segment(4, &[65_100])),
            vec![asn.into(), 23_456, 7],
        ),
        (
            "with a set",
            [narrow_segment(2, &[asn, trans]), narrow_segment(1, &[8, trans])].concat(),
            Some([path(&[wide[0]]), segment(1, &[8, 90_000])].concat()),
            vec![asn.into(), wide[0], 8, 90_000],
        ),
    ];
    for (at, (what, as_path, as4_path, expected)) in cases.into_iter().enumerate() {
        let prefix = format!("60.1.{at}.0/24");
        let mut attributes = narrow(&old, &as_path);
        if let Some(value) = as4_path {
            attributes.add(TRANSITIVE, AS4_PATH, &value);
        }
        old.send(&update(&[], &attributes.encode(), &nlri(&[&prefix])));
        watcher.wait(&format!("AS4_PATH {what}"), |watcher| watcher.has(&prefix));
        let route = watcher.route(&prefix).unwrap();
        assert_eq!(route.asns()[1..], expected, "AS4_PATH {what}");
        assert_eq!(route.value(AS4_PATH), None);
    }
    assert_eq!(old.ending, None);
}

#[test]
fn rfc6793_4_2_3_an_aggregator_that_is_no_as_trans_makes_as4_attributes_stale() {
    let (_bench, mut old, mut watcher) = old_and_watcher();
    let asn = old.asn as u16;
    let as_path = narrow_segment(2, &[asn, 23_456]);
    let address = [10, 9, 8, 7];
    let wide = [&4_200_000_009u32.to_be_bytes()[..], &address].concat();
    for (at, (aggregator, end, expected)) in [
        (23_456u16, 4_200_000_001, wide.clone()),
        (65_300, 23_456, [&65_300u32.to_be_bytes()[..], &address].concat()),
    ]
    .into_iter()
    .enumerate()
    {
        let prefix = format!("60.2.{at}.0/24");
        let mut attributes = narrow(&old, &as_path);
        attributes.add(
            TRANSITIVE,
            AGGREGATOR,
            &[&aggregator.to_be_bytes()[..], &address].concat(),
        );
        attributes.add(TRANSITIVE, AS4_PATH, &path(&[4_200_000_001]));
        attributes.add(TRANSITIVE, AS4_AGGREGATOR, &wide);
        old.send(&update(&[], &attributes.encode(), &nlri(&[&prefix])));
        watcher.wait("the route", |watcher| watcher.has(&prefix));
        let route = watcher.route(&prefix).unwrap();
        assert_eq!(route.asns().last(), Some(&end));
        assert_eq!(route.value(AGGREGATOR), Some(&expected[..]));
        assert_eq!(route.value(AS4_AGGREGATOR), None);
    }
}

#[test]
fn rfc6793_4_2_2_towards_an_old_speaker_what_does_not_fit_travels_beside() {
    let (bench, mut old, _watcher) = old_and_watcher();
    let mut sender = bench.up(2);
    let mut attributes = sender.attributes(0);
    attributes.set(WELL_KNOWN, AS_PATH, &path(&[sender.asn, 4_200_000_001, 7]));
    attributes.add(TRANSITIVE, AGGREGATOR, &[0xfa, 0x56, 0xea, 0, 10, 9, 8, 7]);
    sender.send(&update(&[], &attributes.encode(), &nlri(&["60.3.0.0/24"])));
    sender.announce(7, &["60.3.1.0/24"]);
    old.wait("the routes", |old| {
        old.has("60.3.0.0/24") && old.has("60.3.1.0/24")
    });
    let route = old.route("60.3.0.0/24").unwrap();
    let asn = sender.asn as u16;
    assert_eq!(
        route.value(AS_PATH),
        Some(&narrow_segment(2, &[OURS as u16, asn, 23_456, 7])[..])
    );
    // RFC 6793 §4.2.2: the whole path, with us before it.
    assert_eq!(
        route.value(AS4_PATH),
        Some(&path(&[OURS, sender.asn, 4_200_000_001, 7])[..])
    );
    assert_eq!(route.value(AGGREGATOR), Some(&[0x5b, 0xa0, 10, 9, 8, 7][..]));
    assert_eq!(
        route.value(AS4_AGGREGATOR),
        Some(&[0xfa, 0x56, 0xea, 0, 10, 9, 8, 7][..])
    );
    let plain = old.route("60.3.1.0/24").unwrap();
    assert_eq!(plain.value(AS4_PATH), None);
}

/// Roles are pipit's: a provider's peer is its customer.
fn with_role(role: &str) -> Neighbour {
    Neighbour::external().says("role", role)
}

/// The path mark says who sent it, and OTC whether it may go on.
fn announce(peer: &mut Peer, prefix: &str, otc: Option<u32>) {
    let mut attributes = peer.attributes(7);
    if let Some(asn) = otc {
        attributes.add(TRANSITIVE, OTC, &asn.to_be_bytes());
    }
    peer.send(&update(&[], &attributes.encode(), &nlri(&[prefix])));
}

const PROVIDER: u8 = 0;
const CUSTOMER: u8 = 3;
const PEER: u8 = 4;

#[test]
fn rfc9234_5_what_is_only_for_customers_goes_to_customers_only() {
    // Ours: customer of p0, provider of p1, peer of p2, nothing with p3.
    let bench = Bench::start(vec![
        with_role("customer"),
        with_role("provider"),
        with_role("peer"),
        Neighbour::external(),
    ]);
    let offer = |at: usize, role: u8| bench.offer(at).with(9, &[role]);
    let mut provider = bench.up_with(0, &offer(0, PROVIDER));
    let mut customer = bench.up_with(1, &offer(1, CUSTOMER));
    let mut lateral = bench.up_with(2, &offer(2, PEER));
    let mut plain = bench.up(3);
    let otc = |peer: &Peer, prefix: &str| {
        let value = peer.route(prefix).unwrap().value(OTC)?;
        Some(u32::from_be_bytes(value.try_into().unwrap()))
    };

    announce(&mut provider, "60.1.0.0/24", None);
    announce(&mut lateral, "60.2.0.0/24", None);
    announce(&mut customer, "60.3.0.0/24", None);
    announce(&mut plain, "60.4.0.0/24", Some(99));
    // Leaks: a customer must not send what is marked, nor a peer what somebody else has marked.
    announce(&mut customer, "60.5.0.0/24", Some(99));
    announce(&mut lateral, "60.6.0.0/24", Some(99));
    let lateral_as = lateral.asn;
    announce(&mut lateral, "60.7.0.0/24", Some(lateral_as));

    plain.wait("all but leaks", |plain| {
        ["60.1.0.0/24", "60.2.0.0/24", "60.3.0.0/24", "60.7.0.0/24"]
            .iter()
            .all(|prefix| plain.has(prefix))
    });
    customer.wait("what customers get", |customer| {
        ["60.1.0.0/24", "60.2.0.0/24", "60.4.0.0/24", "60.7.0.0/24"]
            .iter()
            .all(|prefix| customer.has(prefix))
    });
    for peer in [&mut provider, &mut lateral] {
        peer.wait("the customer's route", |peer| peer.has("60.3.0.0/24"));
        let leaks = ["60.1.0.0/24", "60.2.0.0/24", "60.4.0.0/24", "60.7.0.0/24"];
        // Its own come back to nobody, so that is no leak either.
        assert_eq!(leaks.iter().find(|prefix| peer.told(prefix).0 > 0), None);
    }
    for peer in [&plain, &customer] {
        assert!(!peer.has("60.5.0.0/24") && !peer.has("60.6.0.0/24"));
    }
    // Marked on the way in with the neighbour's AS, on the way out to customers and peers with ours.
    assert_eq!(otc(&plain, "60.1.0.0/24"), Some(provider.asn));
    assert_eq!(otc(&customer, "60.2.0.0/24"), Some(lateral_as));
    assert_eq!(otc(&customer, "60.4.0.0/24"), Some(99));
    assert_eq!(otc(&plain, "60.3.0.0/24"), None);
    assert_eq!(otc(&lateral, "60.3.0.0/24"), Some(OURS));
    assert_eq!(otc(&provider, "60.3.0.0/24"), None);
}

#[test]
fn rfc9234_4_2_roles_that_do_not_fit_are_refused_with_2_11() {
    let refused: [(&str, &[u8]); 9] = [
        ("provider", &[PROVIDER]),
        ("peer", &[CUSTOMER]),
        ("rs-server", &[PEER]),
        ("customer", &[2]),
        // Nobody's.
        ("provider", &[5]),
        ("peer", &[255]),
        // Several that are not the same.
        ("provider", &[CUSTOMER, PEER]),
        ("peer", &[PEER, 5]),
        ("peer", &[5, PEER]),
    ];
    // The same one twice is one.
    let taken: [(&str, &[u8]); 3] = [
        ("provider", &[CUSTOMER, CUSTOMER]),
        ("peer", &[PEER]),
        ("customer", &[]),
    ];
    let ours = refused.iter().chain(&taken).map(|(ours, _)| with_role(ours));
    let bench = Bench::start(ours.collect());
    let offer = |at: usize, roles: &[u8]| {
        let offer = bench.offer(at);
        roles.iter().fold(offer, |offer, &role| offer.with(9, &[role]))
    };
    for (at, (ours, roles)) in refused.iter().enumerate() {
        let mut peer = bench.dial(at);
        assert!(
            !peer.establish(&offer(at, roles)),
            "our {ours} with their {roles:?}"
        );
        assert!(
            matches!(peer.ending, Some(Ending::Notified(2, 11, _))),
            "our {ours} with their {roles:?}: {:?}",
            peer.ending
        );
    }
    for (at, (_, roles)) in (refused.len()..).zip(&taken) {
        bench.up_with(at, &offer(at, roles));
    }
}

/// RFC 8654.
fn extended(offer: Offer) -> Offer {
    offer.with(6, &[])
}

#[test]
fn rfc8654_long_messages_arrive_and_go_only_to_those_who_take_them() {
    let bench = Bench::start(vec![Neighbour::external(); 3]);
    let mut sender = bench.up_with(0, &extended(bench.offer(0)));
    let mut knows = bench.up_with(1, &extended(bench.offer(1)));
    let mut plain = bench.up(2);
    let communities: Vec<u8> = (0..16_000u32)
        .flat_map(|n| (0xfde8_0000 + n).to_be_bytes())
        .collect();
    for (prefix, len) in [
        ("60.1.0.0/24", 3_000),
        ("60.2.0.0/24", 4_400),
        ("60.3.0.0/24", 64_000),
    ] {
        // The plain peer has had a shorter version of it.
        sender.announce(1, &[prefix]);
        plain.wait("the short one", |plain| plain.has(prefix));
        let mut attributes = sender.attributes(2);
        attributes.add(TRANSITIVE, COMMUNITIES, &communities[..len]);
        sender.send(&update(&[], &attributes.encode(), &nlri(&[prefix])));
        knows.wait("the long one", |knows| {
            knows
                .route(prefix)
                .is_some_and(|route| route.value(COMMUNITIES) == Some(&communities[..len]))
        });
        if len > 4_096 {
            plain.wait("nothing", |plain| !plain.has(prefix));
        }
    }
    assert!(knows.longest > 64_000 && plain.longest <= 4_096);

    // A path of more than two thousand ASes; a message of exactly 65,535 octets; one of 65,535 withdrawals.
    let asns: Vec<u32> = [sender.asn]
        .into_iter()
        .chain(100_000..102_500)
        .chain([2])
        .collect();
    let mut attributes = sender.attributes(2);
    attributes.set(WELL_KNOWN, AS_PATH, &path(&asns));
    sender.send(&update(&[], &attributes.encode(), &nlri(&["60.4.0.0/24"])));
    knows.wait("the long path", |knows| knows.has("60.4.0.0/24"));
    assert_eq!(knows.route("60.4.0.0/24").unwrap().asns()[1..], asns);
    let mut attributes = sender.attributes(2);
    let room = 65_535 - 19 - 4 - attributes.encode().len() - 4 - 4;
    attributes.add(TRANSITIVE, 99, &vec![7; room]);
    let longest = update(&[], &attributes.encode(), &nlri(&["60.5.0.0/24"]));
    assert_eq!(longest.len(), 65_535);
    sender.send(&longest);
    let gone = nlri(&["60.4.0.0/24"]).repeat((65_535 - 23) / 4);
    sender.send(&update(&gone, &[], &[]));
    knows.wait("the withdrawals", |knows| !knows.has("60.4.0.0/24"));
    sender.announce(1, &["60.6.0.0/24"]);
    plain.wait("a good route", |plain| plain.has("60.6.0.0/24"));
    // With our AS before the path the longest one fits nobody.
    assert!(!knows.has("60.5.0.0/24") && !plain.has("60.5.0.0/24"));
    assert_eq!(
        [&sender, &knows, &plain].map(|peer| peer.ending.clone()),
        [None, None, None]
    );
}

#[test]
fn rfc8654_4_a_long_message_that_was_not_agreed_upon_ends_the_session() {
    let bench = Bench::start(vec![Neighbour::external()]);
    let mut peer = bench.up(0);
    let mut attributes = peer.attributes(2);
    attributes.add(TRANSITIVE, 99, &vec![7; 4_200]);
    let long = update(&[], &attributes.encode(), &nlri(&["60.5.0.0/24"]));
    let len = (long.len() as u16).to_be_bytes().to_vec();
    peer.send(&long);
    assert_eq!(peer.ends("a long message"), Ending::Notified(1, 2, len));
}
