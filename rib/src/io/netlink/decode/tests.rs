use super::*;
use crate::fib::{FibOp, FibOpKind};
use crate::io::netlink::encode::Encoder;

fn hop(gateway: &str, device: u32, weight: u8, is_onlink: bool) -> KernelHop {
    KernelHop {
        gateway: Some(gateway.parse().unwrap()),
        device,
        is_onlink,
        weight,
    }
}

fn samples() -> Vec<FibOp> {
    let unicast = |hops: &[KernelHop]| KernelAction::Unicast(hops.iter().copied().collect());
    let two = [hop("192.0.2.1", 2, 1, false), hop("192.0.2.9", 3, 7, true)];
    [
        ("10.1.0.0/24", KernelAction::Blackhole, 0),
        ("0.0.0.0/0", unicast(&[hop("192.0.2.1", 2, 1, false)]), 7),
        ("10.1.0.0/26", unicast(&[hop("192.0.2.1", 2, 1, true)]), u32::MAX),
        ("10.1.0.64/26", unicast(&two), 100),
        ("10.1.0.128/26", unicast(&[hop("fe80::1", 2, 1, false)]), 0),
        ("fd00:1::/64", unicast(&[hop("fe80::1", 9, 1, false)]), 1024),
        ("fd00:2::/64", KernelAction::Blackhole, 1024),
    ]
    .into_iter()
    .map(|(prefix, action, metric)| FibOp {
        prefix: prefix.parse().unwrap(),
        kind: FibOpKind::Replace,
        protocol: 12,
        route: KernelRoute {
            object: None,
            has_more: false,
            source: (metric == 100).then(|| "192.0.2.5".parse().unwrap()),
            action,
            metric,
        },
    })
    .collect()
}

#[test]
fn what_is_encoded_is_decoded_again() {
    for table in [254, 1000] {
        let mut encoder = Encoder::new(table);
        for (at, op) in samples().iter().enumerate() {
            encoder.append(at as u32, false, op);
        }
        let events: Vec<_> = messages(encoder.bytes())
            .map(|message| message.event(table))
            .collect();
        let expected: Vec<_> = samples()
            .into_iter()
            .map(|op| {
                Some(KernelEvent::Route {
                    table: Table::Ours,
                    prefix: op.prefix,
                    protocol: 12,
                    route: op.route,
                    how: Arrival::Replacement,
                })
            })
            .collect();
        assert_eq!(events, expected);
        // For somebody with another table only the main one counts.
        let is_main = |message: Message<'_>| {
            matches!(
                message.event(255),
                Some(KernelEvent::Route {
                    table: Table::Main,
                    ..
                })
            )
        };
        assert!(messages(encoder.bytes()).all(|message| is_main(message) == (table == MAIN)));
    }
}

#[test]
fn where_a_new_route_stands_among_others_is_in_the_flags() {
    let arrival = |flags, prefix: &str| {
        let message = Message {
            kind: libc::RTM_NEWROUTE,
            flags,
            sequence: 0,
            port: 0,
            body: &[],
        };
        message.arrival(prefix.parse().unwrap())
    };
    let (ipv4, ipv6) = ("10.0.0.0/8", "fd00::/8");
    assert_eq!(arrival(MULTI, ipv4), Arrival::Shown);
    assert_eq!(arrival(EXCL | CREATE, ipv4), Arrival::Added);
    assert_eq!(arrival(CREATE | APPEND, ipv4), Arrival::Added);
    assert_eq!(arrival(CREATE, ipv4), Arrival::AddedFirst);
    assert_eq!(arrival(CREATE, ipv6), Arrival::Added, "several gateways at once");
    assert_eq!(arrival(REPLACE, ipv4), Arrival::Replacement);
}

#[test]
fn objects_that_are_encoded_are_decoded_again() {
    for (at, content) in [
        ObjectContent::Hop(hop("192.0.2.1", 2, 1, false)),
        ObjectContent::Hop(hop("fe80::1", 2, 1, true)),
        ObjectContent::Group([(7, 1), (8, 255)].into_iter().collect()),
    ]
    .into_iter()
    .enumerate()
    {
        let op = crate::fib::ObjectOp {
            id: 70 + at as u32,
            kind: FibOpKind::Create,
            protocol: 12,
            content: content.clone(),
        };
        let mut encoder = Encoder::new(254);
        encoder.append_object(1, true, &op);
        let events: Vec<_> = messages(encoder.bytes())
            .map(|message| message.event(254))
            .collect();
        let (id, protocol) = (op.id, op.protocol);
        let expected = KernelEvent::Object {
            id,
            protocol,
            content,
        };
        assert_eq!(events, [Some(expected)]);
        for end in 0..encoder.bytes().len() {
            assert_eq!(messages(&encoder.bytes()[..end]).count(), 0);
        }
    }
}

#[test]
fn an_address_is_tentative_until_its_detection_has_succeeded_or_is_ahead_of_it() {
    let message = |narrow: u8, wide: Option<u32>| {
        let mut body = vec![libc::AF_INET6 as u8, 64, narrow, 0, 2, 0, 0, 0];
        if let Some(flags) = wide {
            body.extend([8, 0]);
            body.extend(libc::IFA_FLAGS.to_ne_bytes());
            body.extend(flags.to_ne_bytes());
        }
        is_tentative(&body)
    };
    let (permanent, unmanaged) = (0x80, 0x200);
    assert!(message(0xc0, Some(libc::IFA_F_TENTATIVE | permanent)));
    assert!(message(0xc8, None), "failed");
    assert!(message(0, Some(libc::IFA_F_DADFAILED | unmanaged)));
    assert!(!message(0x80, Some(permanent)) && !message(0, None));
    assert!(!message(
        0x44,
        Some(libc::IFA_F_TENTATIVE | libc::IFA_F_OPTIMISTIC)
    ));
}

#[test]
fn an_ipv4_route_on_the_link_with_a_wider_scope_has_gateways_that_must_be_called_onlink() {
    let is_onlink = |family: i32, scope: u8, gateway: Option<[u8; 4]>| {
        let mut body = vec![family as u8, 0, 0, 0, MAIN as u8, 4, scope, libc::RTN_UNICAST];
        body.extend([0; 4]);
        for (kind, value) in [
            (libc::RTA_OIF, Some(2_u32.to_ne_bytes())),
            (libc::RTA_GATEWAY, gateway),
        ] {
            if let Some(value) = value {
                body.extend([8, 0]);
                body.extend(kind.to_ne_bytes());
                body.extend(value);
            }
        }
        let (.., route) = route(&body, MAIN).unwrap();
        let KernelAction::Unicast(hops) = route.action else {
            panic!()
        };
        hops[0].is_onlink
    };
    let (universe, link) = (libc::RT_SCOPE_UNIVERSE, libc::RT_SCOPE_LINK);
    assert!(is_onlink(libc::AF_INET, universe, None));
    assert!(!is_onlink(libc::AF_INET, link, None));
    assert!(!is_onlink(libc::AF_INET, universe, Some([192, 0, 2, 1])));
    assert!(!is_onlink(libc::AF_INET6, universe, None), "IPv6 has no scopes");
}

#[test]
fn no_cut_and_no_flipped_octet_panics_or_loops() {
    let mut encoder = Encoder::new(254);
    for (at, op) in samples().iter().enumerate() {
        encoder.append(at as u32, true, op);
    }
    let bytes = encoder.bytes().to_vec();
    for at in 0..bytes.len() {
        let whole = messages(&bytes[..at]).filter_map(|message| message.event(254));
        assert!(whole.count() <= samples().len());
        for value in [0, 1, 3, 4, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            let events = messages(&damaged).filter_map(|message| message.event(254));
            assert!(events.count() <= bytes.len() / HEADER_LEN);
        }
    }
}

#[test]
fn what_pipit_never_writes_is_noticed_and_what_the_kernel_always_says_is_not() {
    // A route, with one attribute more.
    let has_more = |kind: u16, value: &[u8]| {
        let mut encoder = Encoder::new(254);
        encoder.append(1, false, &samples()[5]);
        let mut bytes = encoder.bytes().to_vec();
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        let event = messages(&bytes).next().unwrap().event(254);
        let Some(KernelEvent::Route { route, .. }) = event else {
            panic!("a route");
        };
        route.has_more
    };
    let cache_info = |expiry: u32| [[0; 8].as_slice(), &expiry.to_ne_bytes(), &[0; 20]].concat();
    let mtu = [8, 0, 2, 0, 0x14, 5, 0, 0];
    assert!(has_more(libc::RTA_METRICS, &mtu) && !has_more(libc::RTA_METRICS, &[]));
    assert!(has_more(RTA_PREF, &[1]) && !has_more(RTA_PREF, &[0]));
    assert!(has_more(libc::RTA_CACHEINFO, &cache_info(9)));
    assert!(!has_more(libc::RTA_CACHEINFO, &cache_info(0)));
    assert!(has_more(libc::RTA_FLOW, &[7, 0, 0, 0]));
    // struct rtnexthop, then its gateway and its realm.
    let hop = |realm: &[u8]| {
        let len = 16 + realm.len() as u16;
        let gateway = [8, 0, 5, 0, 192, 0, 2, 1];
        [&len.to_ne_bytes(), [0, 0, 2, 0, 0, 0].as_slice(), &gateway, realm].concat()
    };
    assert!(!has_more(libc::RTA_MULTIPATH, &hop(&[])));
    assert!(has_more(libc::RTA_MULTIPATH, &hop(&[8, 0, 11, 0, 7, 0, 0, 0])));
}
