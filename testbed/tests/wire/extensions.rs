//! `pipit.io/` annotations: each has an effect that others see.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use pipit_testbed::kernel::temporary;
use pipit_testbed::process::Process;
use pipit_testbed::wait;
use serde_json::json;

use crate::bench::{Bench, NODE, Neighbour, OURS};
use crate::message::{
    AS_PATH, COMMUNITIES, IPV4, IPV6, KEEPALIVE, LOCAL_PREF, MP_REACH, NEXT_HOP, OPTIONAL, ROUTE_REFRESH,
    WELL_KNOWN, message, mp_reach, nlri, nlri_with_id, path, update,
};
use crate::peer::{Ending, Peer};

const PATIENCE: Duration = Duration::from_secs(10);

/// Every annotation, and the test that shows what it does.
const EFFECTS: [(&str, &str); 23] = [
    ("passive", "passive_peers_are_not_dialled_and_others_are"),
    (
        "hold-time",
        "the_hold_time_is_offered_and_sets_the_pace_of_keepalives",
    ),
    (
        "connect-retry",
        "a_dial_that_came_to_nothing_is_repeated_after_connect_retry",
    ),
    ("idle-hold", "after_an_error_the_next_dial_waits_for_idle_hold"),
    (
        "delay-open",
        "rfc4271_8_1_1_the_open_waits_for_the_neighbours_or_for_delay_open",
    ),
    (
        "send-hold-time",
        "rfc9687_a_neighbour_that_never_reads_goes_and_nobody_waits_for_it",
    ),
    (
        "max-prefixes",
        "whoever_announces_too_much_is_told_so_and_the_others_keep_theirs",
    ),
    ("families", "families_are_offered_and_carried"),
    ("add-path", "paths_go_both_ways_one_way_or_none"),
    ("extended-next-hop", "ipv4_routes_come_by_way_of_ipv6"),
    (
        "graceful-restart",
        "restarts_are_announced_helped_with_or_unknown",
    ),
    (
        "long-lived-graceful-restart",
        "rfc9494_3_1_peers_are_asked_to_keep_routes_longer_where_that_is_wanted",
    ),
    ("route-reflector-client", "clients_get_what_others_inside_do_not"),
    (
        "role",
        "rfc9234_5_what_is_only_for_customers_goes_to_customers_only",
    ),
    ("bfd", "bfd_packets_come_where_it_is_on"),
    (
        "local-preference-accept",
        "local_pref_from_outside_counts_where_it_may",
    ),
    (
        "enforce-first-as",
        "a_path_must_begin_with_the_neighbour_where_that_is_enforced",
    ),
    (
        "originate",
        "originated_prefixes_are_announced_and_not_in_the_kernel",
    ),
    ("usable", "a_drained_node_says_so_with_every_route"),
    ("max-paths", "as_many_next_hops_as_allowed_are_in_the_kernel"),
    ("route-protocol", "kernel_routes_carry_the_protocol"),
    (
        "nexthop-objects",
        "a_thousand_routes_follow_one_object_when_a_neighbour_ends",
    ),
    (
        "mass-withdrawal-guard",
        "e10_a_guard_that_is_off_lets_mass_deletions_pass",
    ),
];

#[test]
fn every_annotation_that_the_code_reads_has_a_test_of_its_effect() {
    let code = include_str!("../../../datastore/src/model/annotations.rs");
    let code = code.split("#[cfg(test)]").next().unwrap();
    // The arms of the three tables: `"name" => take(`.
    let arms = code.lines().filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix('"')?.split_once("\" => ")?;
        rest.starts_with("take(").then_some(name)
    });
    let mut known: Vec<&str> = arms.collect();
    let mut shown: Vec<&str> = EFFECTS.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    shown.sort_unstable();
    assert_eq!(known, shown);
    let tests = [
        include_str!("extensions.rs"),
        include_str!("security.rs"),
        include_str!("two_octets.rs"),
        // A folder of manifests acts at once, with or without a guard.
        include_str!("../etcd_state.rs"),
    ]
    .concat();
    for (name, test) in EFFECTS {
        let function = format!("#[test]\nfn {test}() {{");
        assert!(tests.contains(&function), "{name}: there is no {test}");
    }
}

/// A connection of pipit's, if one comes in time.
fn accept(listener: &TcpListener, time: Duration) -> Option<TcpStream> {
    listener.set_nonblocking(true).unwrap();
    let start = Instant::now();
    while start.elapsed() < time {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            return Some(stream);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

fn active() -> Neighbour {
    Neighbour::external().says("passive", "false")
}

#[test]
fn passive_peers_are_not_dialled_and_others_are() {
    let mut bench = Bench::start(vec![Neighbour::external(), active()]);
    let (passive, dialled) = (bench.listen(0), bench.listen(1));
    assert!(accept(&dialled, PATIENCE).is_some());
    assert!(accept(&passive, Duration::from_secs(2)).is_none());
    bench.change(0, |neighbour| neighbour.says("passive", "false"));
    assert!(
        accept(&passive, PATIENCE).is_some(),
        "not dialled although it may be now"
    );
}

#[test]
fn the_hold_time_is_offered_and_sets_the_pace_of_keepalives() {
    let of = |time| Neighbour::external().says("hold-time", time);
    let bench = Bench::start(vec![of("3s"), of("1h"), of("0s"), Neighbour::external()]);
    for (at, expected) in [(0, 3), (1, 3_600), (2, 0), (3, 240)] {
        let peer = bench.up(at);
        assert_eq!(
            u16::from_be_bytes([peer.open[3], peer.open[4]]),
            expected,
            "p{at}"
        );
    }
    let mut quick = bench.up(0);
    let began = Instant::now();
    quick.wait("a KEEPALIVE a second", |peer| peer.keepalives >= 3);
    assert!(
        began.elapsed() < Duration::from_millis(2_800),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(quick.ends("our silence"), Ending::Notified(4, 0, vec![]));
    assert!(
        began.elapsed() >= Duration::from_millis(2_900),
        "{:?}",
        began.elapsed()
    );
    let mut never = bench.up(2);
    never.pump(Duration::from_secs(4), |peer| peer.keepalives > 1);
    assert_eq!((never.keepalives, never.ending), (1, None));
}

/// The time between two dials, when the first comes to this end.
fn next_dial(bench: &Bench, at: usize, end: impl Fn(Peer)) -> Duration {
    let listener = bench.listen(at);
    let stream = accept(&listener, PATIENCE).unwrap();
    end(bench.peer(at, stream));
    let ended = Instant::now();
    accept(&listener, PATIENCE).unwrap();
    ended.elapsed()
}

#[test]
fn a_dial_that_came_to_nothing_is_repeated_after_connect_retry() {
    let bench = Bench::start(vec![
        active().says("connect-retry", "1s"),
        active().says("connect-retry", "4s"),
    ]);
    let soon = next_dial(&bench, 0, drop);
    assert!(
        (Duration::from_millis(700)..Duration::from_secs(2)).contains(&soon),
        "{soon:?}"
    );
    let later = next_dial(&bench, 1, drop);
    // RFC 4271 §10: with jitter.
    assert!(
        (Duration::from_millis(2_900)..Duration::from_secs(5)).contains(&later),
        "{later:?}"
    );
}

#[test]
fn after_an_error_the_next_dial_waits_for_idle_hold() {
    let bench = Bench::start(vec![
        active().says("idle-hold", "1s"),
        active().says("idle-hold", "4s"),
    ]);
    let err = |mut peer: Peer| {
        peer.send(&[0; 19]);
        assert_eq!(peer.ends("no marker"), Ending::Notified(1, 1, vec![]));
    };
    let soon = next_dial(&bench, 0, err);
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(2)).contains(&soon),
        "{soon:?}"
    );
    let later = next_dial(&bench, 1, err);
    assert!(
        (Duration::from_millis(3_900)..Duration::from_secs(6)).contains(&later),
        "{later:?}"
    );
}

#[test]
fn rfc4271_8_1_1_the_open_waits_for_the_neighbours_or_for_delay_open() {
    let late = || Neighbour::external().says("delay-open", "2s");
    let bench = Bench::start(vec![late(), late(), late()]);
    // Who speaks first is answered at once.
    let start = Instant::now();
    let _first = bench.up(0);
    assert!(
        start.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        start.elapsed()
    );

    let mut silent = bench.dial(1);
    let start = Instant::now();
    silent.wait("an OPEN after all", |peer| !peer.open.is_empty());
    let waited = start.elapsed();
    assert!(
        (Duration::from_millis(1_900)..Duration::from_secs(4)).contains(&waited),
        "{waited:?}"
    );
    let open = silent.open_message(&bench.offer(1));
    silent.send(&open);
    silent.send(&message(KEEPALIVE, &[]));
    silent.wait("a session", |peer| peer.keepalives > 0);

    let mut early = bench.dial(2);
    early.send(&message(KEEPALIVE, &[]));
    assert_eq!(
        early.ends("a KEEPALIVE ahead of any OPEN"),
        Ending::Notified(5, 0, vec![KEEPALIVE])
    );
}

const LINKED: [u8; 16] = [0xfd, 0x97, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

#[test]
fn families_are_offered_and_carried() {
    let of = |families| Neighbour::external().says("families", families);
    let both = "ipv4 , ipv6";
    let bench = Bench::start(vec![
        of(both),
        of("ipv4"),
        of("ipv6"),
        of(both),
        Neighbour::external().over_ipv6(),
    ]);
    let families = |peer: &Peer| {
        let of = |(code, value): (u8, Vec<u8>)| (code == 1).then(|| (u16::from(value[1]), value[3]));
        peer.capabilities().into_iter().filter_map(of).collect::<Vec<_>>()
    };
    let mut sender = bench.up(3);
    let mut peers = [0, 1, 2, 4].map(|at| bench.up(at));
    let expected: [&[(u16, u8)]; 4] = [&[IPV4, IPV6], &[IPV4], &[IPV6], &[IPV6]];
    sender.announce(1, &["60.1.0.0/24"]);
    sender.announce_v6(1, &LINKED, &["2001:db8::/48"]);
    for (peer, expected) in peers.iter_mut().zip(expected) {
        assert_eq!(families(peer), expected);
        peer.wait("its routes", |peer| {
            peer.has("60.1.0.0/24") == expected.contains(&IPV4)
                && peer.has("2001:db8::/48") == expected.contains(&IPV6)
        });
    }
}

#[test]
fn paths_go_both_ways_one_way_or_none() {
    let of = |mode| Neighbour::external().says("add-path", mode);
    let bench = Bench::start(vec![
        of("off"),
        of("receive"),
        of("send"),
        of("both"),
        Neighbour::external().silent_on("add-path"),
        Neighbour::external(),
    ]);
    let knows = |at| bench.offer(at).with(69, &[0, 1, 1, 3]);
    let mut peers = [0, 1, 2, 3, 4].map(|at| bench.up_with(at, &knows(at)));
    for (peer, mode) in peers.iter_mut().zip([None, Some(1), Some(2), Some(3), Some(3)]) {
        assert_eq!(peer.capability(69), mode.map(|mode| vec![0, 1, 1, mode]));
    }
    let [off, receive, send, both, unsaid] = &mut peers;
    // Two paths of one prefix, from one that may say several.
    for (id, mark) in [(7, 1), (8, 2)] {
        let attributes = receive.attributes(mark).encode();
        receive.send(&update(&[], &attributes, &nlri_with_id(id, &["60.1.0.0/24"])));
    }
    let prefix = "60.1.0.0/24".parse().unwrap();
    let count = |peer: &Peer| peer.routes.keys().filter(|(net, _)| *net == prefix).count();
    for peer in [&mut *send, both, unsaid] {
        peer.wait("both paths", |peer| count(peer) == 2);
        assert!(!peer.routes.contains_key(&(prefix, None)));
    }
    off.wait("the best path", |peer| count(peer) == 1);
    let mut plain = bench.up(5);
    plain.wait("the best path", |peer| count(peer) == 1);
    receive.send(&update(&nlri_with_id(7, &["60.1.0.0/24"]), &[], &[]));
    send.wait("one path", |peer| count(peer) == 1);
    off.wait("the other path", |peer| {
        peer.route("60.1.0.0/24")
            .is_some_and(|route| route.asns().last() == Some(&2))
    });
    // A route refresh says it all again, with the same identifiers.
    let before: Vec<_> = send.routes.keys().copied().collect();
    send.routes.clear();
    send.send(&message(ROUTE_REFRESH, &[0, 1, 0, 1]));
    send.wait("all again", |peer| {
        peer.routes.keys().copied().eq(before.iter().copied())
    });
}

#[test]
fn ipv4_routes_come_by_way_of_ipv6() {
    let extended = Neighbour::external()
        .both_families()
        .says("extended-next-hop", "true");
    let bench = Bench::start(vec![extended.clone(), Neighbour::external(), extended]);
    let knows = |at| bench.offer(at).with(5, &[0, 1, 0, 1, 0, 2]);
    let mut sender = bench.up_with(0, &knows(0));
    let mut plain = bench.up_with(1, &knows(1));
    assert_eq!(sender.capability(5), Some(vec![0, 1, 0, 1, 0, 2]));
    assert_eq!(plain.capability(5), None);
    for next_hop in [&LINKED[..], &[LINKED, [0xfe; 16]].concat()] {
        let mut attributes = sender.attributes(1);
        attributes.remove(NEXT_HOP);
        attributes.set(
            OPTIONAL,
            MP_REACH,
            &mp_reach(IPV4, next_hop, &nlri(&["60.1.0.0/24"])),
        );
        sender.send(&update(&[], &attributes.encode(), &[]));
        plain.wait("the route", |plain| plain.has("60.1.0.0/24"));
        assert_eq!(plain.route("60.1.0.0/24").unwrap().next_hop, NODE.octets());
        sender.withdraw(&["60.1.0.0/24"]);
        plain.wait("no route", |plain| !plain.has("60.1.0.0/24"));
    }
    assert_eq!(sender.ending, None);
}

#[test]
fn restarts_are_announced_helped_with_or_unknown() {
    let of = |mode| Neighbour::external().says("graceful-restart", mode);
    let bench = Bench::start(vec![
        of("off"),
        of("helper"),
        of("restart"),
        Neighbour::external().silent_on("graceful-restart"),
    ]);
    assert_eq!(bench.up(0).capability(64), None);
    let helper = bench.up(1).capability(64).unwrap();
    assert_eq!(
        (helper[0] & 0xf, helper[1], helper.len()),
        (0, 0, 2),
        "no time and no family"
    );
    for at in [2, 3] {
        let restart = bench.up(at).capability(64).unwrap();
        assert_eq!((restart[0] & 0xf, restart[1]), (0, 120));
        assert_eq!(restart[2..5], [0, 1, 1]);
    }
}

#[test]
fn rfc9494_3_1_peers_are_asked_to_keep_routes_longer_where_that_is_wanted() {
    const LONG_LIVED: u8 = 71;
    let neighbour = || Neighbour::external().says("graceful-restart", "restart");
    let of = |time| neighbour().says("long-lived-graceful-restart", time);
    let bench = Bench::start(vec![of("24h"), of("off"), neighbour()]);
    let day = [&[0, 1, 1, 0][..], &86_400u32.to_be_bytes()[1..]].concat();
    assert_eq!(bench.up(0).capability(LONG_LIVED), Some(day));
    for at in [1, 2] {
        assert_eq!(bench.up(at).capability(LONG_LIVED), Some(vec![]));
    }
}

#[test]
fn clients_get_what_others_inside_do_not() {
    let mut bench = Bench::start(vec![
        Neighbour::client(),
        Neighbour::internal(),
        Neighbour::internal(),
        Neighbour::client(),
    ]);
    let [mut client, mut plain, mut other, mut second] = [0, 1, 2, 3].map(|at| bench.up(at));
    client.announce(1, &["60.1.0.0/24"]);
    plain.announce(1, &["60.2.0.0/24"]);
    for peer in [&mut plain, &mut other, &mut second] {
        peer.wait("the client's route", |peer| peer.has("60.1.0.0/24"));
    }
    for peer in [&mut client, &mut second] {
        peer.wait("the other's route", |peer| peer.has("60.2.0.0/24"));
    }
    // Said by the annotation alone, and without a new session.
    other.pump(Duration::from_millis(500), |other| other.has("60.2.0.0/24"));
    assert!(!other.has("60.2.0.0/24"));
    bench.change(2, Neighbour::into_client);
    other.wait("the route of one that is no client", |other| {
        other.has("60.2.0.0/24")
    });
    assert_eq!(other.ending, None);
}

#[test]
fn bfd_packets_come_where_it_is_on() {
    let bench = Bench::start(vec![
        Neighbour::external(),
        Neighbour::external().says("bfd", "tx=100ms rx=100ms multiplier=4"),
    ]);
    let sockets = [0, 1].map(|at| {
        let address = bench.address(at);
        [3784, 4784].map(|port| bench.outside.inside(|| UdpSocket::bind((address, port)).unwrap()))
    });
    let _sessions = [bench.up(0), bench.up(1)];
    let heard = |sockets: &[UdpSocket; 2]| {
        let mut packet = [0; 64];
        let octets = sockets.iter().find_map(|socket| {
            socket.set_nonblocking(true).unwrap();
            socket.recv(&mut packet).ok()
        });
        octets.map(|len| packet[..len].to_vec())
    };
    let (packet, _) = wait::until("a packet", PATIENCE, || heard(&sockets[1]), Option::is_some);
    let packet = packet.unwrap();
    // RFC 5880 §4.1: version 1, the multiplier, 24 octets.
    assert_eq!(
        (packet[0] >> 5, packet[2], packet[3], packet.len()),
        (1, 4, 24, 24),
        "{packet:02x?}"
    );
    assert_eq!(heard(&sockets[0]), None);
}

#[test]
fn local_pref_from_outside_counts_where_it_may() {
    let bench = Bench::start(vec![
        Neighbour::external().says("local-preference-accept", "true"),
        Neighbour::external().says("local-preference-accept", "false"),
        Neighbour::internal(),
    ]);
    let [mut accepted, mut refused, mut inner] = [0, 1, 2].map(|at| bench.up(at));
    for (sender, prefix, expected) in [
        (&mut accepted, "60.1.0.0/24", 900u32),
        (&mut refused, "60.2.0.0/24", 100),
    ] {
        let mut attributes = sender.attributes(1);
        attributes.set(WELL_KNOWN, LOCAL_PREF, &900u32.to_be_bytes());
        sender.send(&update(&[], &attributes.encode(), &nlri(&[prefix])));
        inner.wait("the route", |inner| inner.has(prefix));
        assert_eq!(
            inner.route(prefix).unwrap().value(LOCAL_PREF),
            Some(&expected.to_be_bytes()[..])
        );
    }
}

#[test]
fn a_path_must_begin_with_the_neighbour_where_that_is_enforced() {
    let bench = Bench::start(vec![
        Neighbour::external().says("enforce-first-as", "true"),
        Neighbour::external(),
        Neighbour::external(),
    ]);
    let [mut strict, mut lax, mut watcher] = [0, 1, 2].map(|at| bench.up(at));
    for (sender, prefix) in [(&mut strict, "60.1.0.0/24"), (&mut lax, "60.2.0.0/24")] {
        sender.announce(1, &[prefix]);
        watcher.wait("the good route", |watcher| watcher.has(prefix));
        let mut attributes = sender.attributes(1);
        attributes.set(WELL_KNOWN, AS_PATH, &path(&[64_999, 2]));
        sender.send(&update(&[], &attributes.encode(), &nlri(&[prefix])));
    }
    watcher.wait("the foreign path", |watcher| {
        watcher
            .route("60.2.0.0/24")
            .is_some_and(|route| route.asns().last() == Some(&2))
    });
    watcher.wait("no foreign path", |watcher| !watcher.has("60.1.0.0/24"));
    assert_eq!(strict.ending, None);
}

#[test]
fn originated_prefixes_are_announced_and_not_in_the_kernel() {
    let originate = json!({ "pipit.io/originate": "10.50.0.0/16, 2001:db8:50::/48" });
    let mut bench = Bench::start_with(vec![Neighbour::external().both_families()], originate, json!({}));
    let mut watcher = bench.up(0);
    watcher.wait("both", |watcher| {
        watcher.has("10.50.0.0/16") && watcher.has("2001:db8:50::/48")
    });
    let route = watcher.route("10.50.0.0/16").unwrap();
    assert_eq!(
        (route.asns(), &route.next_hop[..]),
        (vec![OURS], &NODE.octets()[..])
    );
    for family in ["-4", "-6"] {
        assert!(!bench.node.ip(&[family, "route", "show"]).contains(":50::"));
        assert!(!bench.node.ip(&[family, "route", "show"]).contains("10.50"));
    }
    bench.annotate_node(json!({ "pipit.io/originate": "10.51.0.0/16" }));
    watcher.wait("the other", |watcher| {
        watcher.has("10.51.0.0/16") && !watcher.has("10.50.0.0/16")
    });
    assert_eq!(watcher.ending, None);
}

#[test]
fn a_drained_node_says_so_with_every_route() {
    let usable = |usable| json!({ "pipit.io/originate": "10.50.0.0/16", "pipit.io/usable": usable });
    let neighbours = vec![Neighbour::external(), Neighbour::external()];
    let mut bench = Bench::start_with(neighbours, usable("true"), json!({}));
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    sender.announce(1, &["60.1.0.0/24"]);
    let communities =
        |peer: &Peer, prefix: &str| Some(peer.route(prefix)?.value(COMMUNITIES).map(<[u8]>::to_vec));
    let all = ["10.50.0.0/16", "60.1.0.0/24"];
    watcher.wait("the routes", |peer| {
        all.iter().all(|prefix| communities(peer, prefix) == Some(None))
    });
    // RFC 8326 §6.
    let leaving = Some(Some(vec![0xff, 0xff, 0, 0]));
    bench.annotate_node(usable("false"));
    watcher.wait("the community", |peer| {
        all.iter().all(|prefix| communities(peer, prefix) == leaving)
    });
    bench.annotate_node(usable("true"));
    watcher.wait("no community", |peer| {
        all.iter().all(|prefix| communities(peer, prefix) == Some(None))
    });
    assert_eq!(watcher.ending, None);
}

#[test]
fn as_many_next_hops_as_allowed_are_in_the_kernel() {
    let neighbours = (0..3).map(|_| Neighbour::external().in_as(65_100)).collect();
    let at_most = |count| json!({ "pipit.io/max-paths": count });
    let mut bench = Bench::start_with(neighbours, json!({}), at_most("2"));
    let mut peers = [0, 1, 2].map(|at| bench.up(at));
    for peer in &mut peers {
        peer.announce(1, &["60.1.0.0/24"]);
    }
    let next_hops = |bench: &Bench| {
        bench
            .node
            .ip(&["route", "show", "60.1.0.0/24"])
            .matches("via")
            .count()
    };
    for (count, expected) in [("2", 2), ("16", 3), ("1", 1)] {
        bench.annotate_cluster(at_most(count));
        wait::until_eq(
            &format!("max-paths {count}"),
            PATIENCE,
            || next_hops(&bench),
            &expected,
        );
    }
}

#[test]
fn kernel_routes_carry_the_protocol() {
    let of = |protocol| json!({ "pipit.io/route-protocol": protocol });
    let bench = Bench::start_with(vec![Neighbour::external()], json!({}), of("77"));
    let mut peer = bench.up(0);
    peer.announce(1, &["60.1.0.0/24"]);
    let shown = || bench.node.ip(&["route", "show", "60.1.0.0/24"]);
    wait::until("the route", PATIENCE, shown, |route| route.contains("proto 77"));
}

#[test]
fn a_thousand_routes_follow_one_object_when_a_neighbour_ends() {
    let neighbours = (0..2).map(|_| Neighbour::external().in_as(65_100)).collect();
    let objects = json!({ "pipit.io/nexthop-objects": "true" });
    let bench = Bench::start_with(neighbours, json!({}), objects);
    let mut peers = [0, 1].map(|at| Some(bench.up(at)));
    let prefixes: Vec<String> = (0..1000)
        .map(|at| format!("60.{}.{}.0/24", at / 250, at % 250))
        .collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    for peer in peers.iter_mut().flatten() {
        for part in prefixes.chunks(500) {
            peer.announce(1, part);
        }
    }
    // With it, the kernel repeats each route of an object that changes, for listeners that know no objects.
    let silence = "echo 0 > /proc/sys/net/ipv4/nexthop_compat_mode";
    let status = bench.node.command("sh").args(["-c", silence]).status();
    assert!(status.unwrap().success());
    let group = || {
        let routes = bench.node.ip(&["route", "show", "proto", "bird"]);
        let first = routes
            .split_whitespace()
            .skip_while(|word| *word != "nhid")
            .nth(1);
        let id = first.unwrap_or_default().to_owned();
        let through = routes.matches(&format!("nhid {id} ")).count();
        let shown = bench.node.ip(&["nexthop", "show", "proto", "12"]);
        let group = shown
            .lines()
            .find(|line| line.contains(&format!("id {id} group")));
        let members = group.map_or(0, |group| 1 + group.matches('/').count());
        (through, members)
    };
    wait::until_eq("all through one group of two", PATIENCE, group, &(1000, 2));

    let folder = temporary();
    let mut command = bench.node.command("ip");
    command.args(["monitor", "nexthop", "route"]);
    let monitor = Process::start("ip monitor", command, &folder.path().join("monitor"));
    let mark = || {
        bench.node.ip(&["nexthop", "replace", "id", "9", "blackhole"]);
        bench.node.ip(&["nexthop", "del", "id", "9"]);
        monitor.output().contains("Deleted id 9 ")
    };
    wait::until_eq("the monitor", PATIENCE, mark, &true);
    peers[1] = None;
    wait::until_eq("one member is left", PATIENCE, group, &(1000, 1));
    let last = || {
        bench.node.ip(&["nexthop", "replace", "id", "8", "blackhole"]);
        bench.node.ip(&["nexthop", "del", "id", "8"]);
        monitor.output().contains("Deleted id 8 ")
    };
    wait::until_eq("the monitor", PATIENCE, last, &true);
    let output = monitor.output();
    let of_ours = output.lines().filter(|line| line.contains("proto bird"));
    let of_ours: Vec<&str> = of_ours.map(str::trim).collect();
    let (groups, others): (Vec<&str>, Vec<&str>) = of_ours.iter().partition(|line| line.contains(" group "));
    assert_eq!(groups.len(), 1, "{of_ours:?}");
    // The member that nothing leads through any more.
    assert!(
        others.iter().all(|line| line.starts_with("Deleted id ")) && others.len() <= 1,
        "{of_ours:?}"
    );
}
