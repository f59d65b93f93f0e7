//! Who is let in, what a hostile neighbour costs, and that only he pays.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use pipit_testbed::wait;
use serde_json::json;

use crate::bench::{Bench, Neighbour};
use crate::message::{COMMUNITIES, KEEPALIVE, ROUTE_REFRESH, TRANSITIVE, message, nlri, update};
use crate::peer::{Ending, Peer};

const PATIENCE: Duration = Duration::from_secs(20);
/// An address that pipit does not know.
const STRANGER: &str = "10.97.2.2";

/// What comes over a connection until pipit ends it.
fn all_of(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => all,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
            all
        }
    }
}

/// A route of p1 reaches p0: pipit is well.
#[track_caller]
fn well(sender: &mut Peer, watcher: &mut Peer, prefix: &str) {
    sender.announce(1, &[prefix]);
    watcher.wait_for("a good route", Duration::from_secs(5), |watcher| {
        watcher.has(prefix)
    });
    assert_eq!([&sender.ending, &watcher.ending], [&None, &None]);
}

#[test]
fn a_stranger_gets_not_one_octet_however_often_it_comes() {
    let mut bench = Bench::start(vec![Neighbour::external(); 2]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    let before = bench.files();
    let from: IpAddr = STRANGER.parse().unwrap();
    for round in 0..300 {
        let Ok(mut stream) = bench.connect(from, |_| ()) else {
            continue;
        };
        if round % 3 == 0 {
            // It may be closed already.
            let _ = stream.write_all(&sender.open_message(&bench.offer(1)));
        }
        assert_eq!(all_of(stream), [] as [u8; 0]);
    }
    // Nor a line in the log, which it could fill.
    assert!(!bench.pipit.log().contains(STRANGER));
    well(&mut sender, &mut watcher, "60.1.0.0/24");
    wait::until("the files", PATIENCE, || bench.files(), |now| *now <= before);
}

#[test]
fn strangers_that_hold_on_hold_nothing_of_ours() {
    let mut bench = Bench::start(vec![Neighbour::external(); 2]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    let before = bench.files();
    let from: IpAddr = STRANGER.parse().unwrap();
    let held: Vec<TcpStream> = (0..200)
        .filter_map(|_| bench.connect(from, |_| ()).ok())
        .collect();
    well(&mut sender, &mut watcher, "60.1.0.0/24");
    wait::until("the files", PATIENCE, || bench.files(), |now| *now <= before);
    drop(held);
}

#[test]
fn connections_of_a_neighbour_that_says_nothing_are_bounded_and_the_next_good_one_counts() {
    let mut bench = Bench::start(vec![Neighbour::external(); 3]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    let before = bench.files();
    let held: Vec<Peer> = (0..200).map(|_| bench.dial(2)).collect();
    well(&mut sender, &mut watcher, "60.1.0.0/24");
    // One connection that waits for an OPEN, and what lingers of older ones.
    wait::until("the files", PATIENCE, || bench.files(), |now| *now <= before + 6);
    let mut good = bench.up(2);
    well(&mut good, &mut watcher, "60.2.0.0/24");
    drop(held);
    assert_eq!(good.ending, None);
}

#[test]
fn an_open_octet_by_octet_is_waited_for_and_half_a_header_holds_nobody_up() {
    let bench = Bench::start(vec![Neighbour::external(); 3]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    let mut half = bench.dial(2);
    half.send(&[0xff; 11]);
    well(&mut sender, &mut watcher, "60.1.0.0/24");
    drop(half);
    let mut slow = bench.dial(2);
    let open = slow.open_message(&bench.offer(2));
    let stream = message(KEEPALIVE, &[]);
    for octet in open.iter().chain(&stream) {
        slow.send(&[*octet]);
        // Whatever there is to read is read meanwhile, so that each octet travels alone.
        slow.pump(Duration::from_millis(3), |_| false);
    }
    slow.wait("the session", |slow| slow.keepalives > 0);
    let attributes = slow.attributes(1).encode();
    for octet in update(&[], &attributes, &nlri(&["60.3.0.0/24"])) {
        slow.send(&[octet]);
    }
    watcher.wait("its route", |watcher| watcher.has("60.3.0.0/24"));
    well(&mut sender, &mut watcher, "60.1.1.0/24");
}

#[test]
fn rfc4271_octets_that_make_no_message_do_not_restart_the_hold_timer() {
    let quick = Neighbour::external().says("hold-time", "3s");
    let bench = Bench::start(vec![Neighbour::external(), Neighbour::external(), quick]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    let mut slow = bench.up(2);
    slow.announce(1, &["60.9.0.0/24"]);
    watcher.wait("its route", |watcher| watcher.has("60.9.0.0/24"));
    let began = Instant::now();
    for octet in message(KEEPALIVE, &[]) {
        slow.send(&[octet]);
        slow.pump(Duration::from_millis(400), |_| false);
    }
    assert_eq!(slow.ending, Some(Ending::Notified(4, 0, vec![])));
    assert!(
        began.elapsed() > Duration::from_millis(2_900),
        "{:?}",
        began.elapsed()
    );
    watcher.wait("its route gone", |watcher| !watcher.has("60.9.0.0/24"));
    well(&mut sender, &mut watcher, "60.1.0.0/24");
}

#[test]
fn rfc4271_6_8_further_connections_do_not_touch_an_established_session() {
    let mut bench = Bench::start(vec![Neighbour::external(); 2]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    let before = bench.files();
    let mut held = Vec::new();
    for round in 0..60 {
        let mut second = bench.dial(1);
        if round % 2 == 0 {
            let open = second.open_message(&bench.offer(1));
            second.send(&open);
            // Where many come at once, some get no word.
            assert!(matches!(
                second.ends("the second connection"),
                Ending::Notified(6, 7, _) | Ending::Closed | Ending::Reset
            ));
        }
        held.push(second);
        well(&mut sender, &mut watcher, &format!("60.1.{round}.0/24"));
    }
    wait::until("the files", PATIENCE, || bench.files(), |now| *now <= before + 6);
}

#[test]
fn rfc9687_a_neighbour_that_never_reads_goes_and_nobody_waits_for_it() {
    let stalls = Neighbour::external()
        .says("send-hold-time", "3s")
        .says("hold-time", "0s");
    let mut bench = Bench::start(vec![Neighbour::external(), Neighbour::external(), stalls]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    let stream = bench
        .connect(bench.address(2), |socket| {
            socket.set_recv_buffer_size(4_096).unwrap()
        })
        .unwrap();
    let mut stalled = bench.peer(2, stream);
    assert!(stalled.establish(&bench.offer(2)));
    let before = bench.memory();
    let began = Instant::now();
    // Eight megabytes, each route with attributes of its own, which a socket cannot take.
    let mut round = 0u32;
    let state = |bench: &Bench| bench.pipit.items("peers")[2]["state"].clone();
    while state(&bench) == "Established" {
        assert!(began.elapsed() < PATIENCE, "it was never let go");
        let mut last = String::new();
        for _ in 0..200 {
            round += 1;
            last = format!("60.{}.{}.0/24", round >> 8 & 63, round & 255);
            let mut attributes = sender.attributes(round);
            attributes.add(TRANSITIVE, COMMUNITIES, &round.to_be_bytes().repeat(400));
            sender.send(&update(&[], &attributes.encode(), &nlri(&[&last])));
        }
        watcher.wait_for(
            "what the other gets meanwhile",
            Duration::from_secs(3),
            |watcher| {
                watcher
                    .route(&last)
                    .is_some_and(|route| route.asns().last() == Some(&round))
            },
        );
    }
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    let error = bench.pipit.items("peers")[2]["last_error"].to_string();
    assert!(error.contains("send hold timer"), "{error}");
    // What the others were sent is in the table; nothing was queued for the one that did not read.
    let table = (round.min(1 << 14) as usize * 1_700) >> 10;
    let grown = bench.memory().saturating_sub(before);
    assert!(
        grown < 4 * table + 16_384,
        "{grown} KiB for a table of {table} KiB"
    );
    well(&mut sender, &mut watcher, "61.0.0.0/24");
}

#[test]
fn a_flood_of_good_messages_costs_nobody_his_session() {
    let mut bench = Bench::start(vec![Neighbour::external(); 3]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    for high in 0..8 {
        let prefixes: Vec<String> = (0..250).map(|low| format!("60.{high}.{low}.0/24")).collect();
        sender.announce(1, &prefixes.iter().map(String::as_str).collect::<Vec<_>>());
    }
    watcher.wait("two thousand routes", |watcher| watcher.has("60.7.249.0/24"));
    let mut flood = bench.up(2);
    let before = bench.memory();
    let refresh = message(ROUTE_REFRESH, &[0, 1, 0, 1]).repeat(500);
    let keepalives = message(KEEPALIVE, &[]).repeat(2_000);
    flood
        .stream()
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    for round in 0..10 {
        // Asked for the table thousands of times, and read only now and then: pipit may stop reading, too.
        flood.send(&refresh);
        flood.send(&keepalives);
        well(&mut sender, &mut watcher, &format!("61.0.{round}.0/24"));
    }
    flood.pump(Duration::from_secs(2), |_| false);
    assert_eq!(flood.ending, None);
    let grown = bench.memory().saturating_sub(before);
    assert!(grown < 32_768, "{grown} KiB");
}

#[test]
fn rfc2385_without_the_key_there_is_no_connection_at_all() {
    let secret = json!({ "secretKeyRef": { "name": "bgp", "key": "k" } });
    let keyed = Neighbour::external().field("password", secret);
    let bench = Bench::start(vec![
        Neighbour::external(),
        Neighbour::external(),
        keyed.clone(),
        keyed.over_ipv6(),
    ]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    let shows = |text: &str| {
        let text = text.to_owned();
        let peers = || bench.pipit.items("peers");
        wait::until("the state", PATIENCE, peers, move |peers| {
            peers.iter().skip(2).all(|peer| peer.to_string().contains(&text))
        });
    };
    // No key at hand: held, never unauthenticated.
    shows("password is missing");
    for at in [2, 3] {
        let mut peer = bench.dial(at);
        assert!(!peer.establish(&bench.offer(at)) && peer.open.is_empty(), "{at}");
    }
    bench.write_secret("bgp", "k", "s3cret");
    wait::until(
        "the keys",
        PATIENCE,
        || bench.pipit.items("peers"),
        |peers| {
            peers
                .iter()
                .all(|peer| !peer.to_string().contains("password is missing"))
        },
    );
    // Now the kernel drops what is not signed: the connection does not come about.
    let begun = |from: IpAddr| {
        bench.outside.inside(|| {
            let socket = socket2::Socket::new(
                socket2::Domain::for_address((from, 0).into()),
                socket2::Type::STREAM,
                None,
            )
            .unwrap();
            socket.bind(&std::net::SocketAddr::new(from, 0).into()).unwrap();
            let node: IpAddr = match from {
                IpAddr::V4(_) => crate::bench::NODE.into(),
                IpAddr::V6(_) => crate::bench::NODE6.into(),
            };
            let to = std::net::SocketAddr::new(node, 179).into();
            socket.connect_timeout(&to, Duration::from_millis(600)).is_ok()
        })
    };
    for at in [2, 3] {
        wait::until_eq("no connection", PATIENCE, || begun(bench.address(at)), &false);
        // The unsigned peers beside it are served as before.
        assert!(begun(bench.address(0)));
    }
    well(&mut sender, &mut watcher, "60.1.0.0/24");
    assert!(!bench.pipit.log().contains("s3cret"));
}

#[test]
fn rfc5082_from_too_far_away_nothing_is_heard_and_nothing_said() {
    let near = Neighbour::external().field("ttlSecurity", json!(1));
    let bench = Bench::start(vec![
        Neighbour::external(),
        Neighbour::external(),
        near.clone(),
        near.over_ipv6(),
    ]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    for at in [2, 3] {
        for ttl in [64, 254] {
            let stream = bench
                .connect(bench.address(at), |socket| set_ttl(socket, at == 3, ttl))
                .unwrap();
            let mut far = bench.peer(at, stream);
            assert!(!far.establish(&bench.offer(at)), "{ttl}");
            assert!(far.open.is_empty(), "{ttl}: {:02x?}", far.open);
            assert!(far.ending.is_some());
        }
        let stream = bench
            .connect(bench.address(at), |socket| set_ttl(socket, at == 3, 255))
            .unwrap();
        let mut near = bench.peer(at, stream);
        assert!(near.establish(&bench.offer(at)), "{:?}", near.ending);
        if at == 2 {
            well(&mut near, &mut watcher, "60.2.0.0/24");
        }
    }
    well(&mut sender, &mut watcher, "60.1.0.0/24");
}

/// Whether pipit's own dials get through to a neighbour.
fn is_dialled(bench: &Bench, at: usize, time: Duration) -> bool {
    let listener = bench.listen(at);
    listener.set_nonblocking(true).unwrap();
    let start = Instant::now();
    while start.elapsed() < time {
        if listener.accept().is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn what_pipit_dials_is_checked_as_well() {
    let active = || Neighbour::external().says("passive", "false");
    let secret = json!({ "secretKeyRef": { "name": "bgp", "key": "k" } });
    let bench = Bench::start(vec![
        active(),
        active().field("ttlSecurity", json!(1)),
        active().field("password", secret),
        active().over_ipv6().field("ttlSecurity", json!(1)),
    ]);
    bench.write_secret("bgp", "k", "s3cret");
    assert!(is_dialled(&bench, 0, PATIENCE));
    // Answers that may have come from afar are none, nor are unsigned ones.
    for at in 1..4 {
        assert!(!is_dialled(&bench, at, Duration::from_millis(2_500)), "p{at}");
    }
    bench.outside.sysctl("net.ipv4.ip_default_ttl", "255");
    bench.outside.sysctl("net.ipv6.conf.eth0.hop_limit", "255");
    for at in [1, 3] {
        assert!(is_dialled(&bench, at, PATIENCE), "p{at}");
    }
}

fn set_ttl(socket: &socket2::Socket, is_ipv6: bool, ttl: u32) {
    let result = match is_ipv6 {
        false => socket.set_ttl_v4(ttl),
        true => socket.set_unicast_hops_v6(ttl),
    };
    result.unwrap();
}

#[test]
fn whoever_announces_too_much_is_told_so_and_the_others_keep_theirs() {
    let limited = Neighbour::external().says("max-prefixes", "50");
    let bench = Bench::start(vec![Neighbour::external(), Neighbour::external(), limited]);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    well(&mut sender, &mut watcher, "60.1.0.0/24");
    let mut greedy = bench.up(2);
    let prefixes: Vec<String> = (0..51).map(|n| format!("62.0.{n}.0/24")).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    greedy.announce(1, &prefixes[..50]);
    watcher.wait("as many as allowed", |watcher| watcher.has(prefixes[49]));
    // Said again and withdrawn, they count once.
    greedy.announce(2, &prefixes[..50]);
    greedy.withdraw(&prefixes[..1]);
    greedy.announce(2, &prefixes[50..]);
    watcher.wait("another in the place of one", |watcher| {
        watcher.has(prefixes[50]) && !watcher.has(prefixes[0])
    });
    greedy.announce(2, &prefixes[..1]);
    let ending = greedy.ends("one too many");
    // RFC 4486 §4: the family and the limit.
    assert_eq!(ending, Ending::Notified(6, 1, vec![0, 1, 1, 0, 0, 0, 50]));
    watcher.wait("none of them", |watcher| {
        !prefixes.iter().any(|prefix| watcher.has(prefix))
    });
    assert_eq!(watcher.told("60.1.0.0/24"), (1, 0));
    well(&mut sender, &mut watcher, "60.1.1.0/24");
}

#[test]
fn words_that_are_no_bgp_are_answered_and_cost_nobody_anything() {
    let garbage: [(&[u8], Ending); 5] = [
        (
            b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
            Ending::Notified(1, 1, vec![]),
        ),
        (
            &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            Ending::Notified(1, 1, vec![]),
        ),
        (&[0xff; 19], Ending::Notified(1, 2, vec![0xff, 0xff])),
        (&[0; 64], Ending::Notified(1, 1, vec![])),
        (
            &[[0xff; 16].as_slice(), &[0, 18, 4]].concat(),
            Ending::Notified(1, 2, vec![0, 18]),
        ),
    ];
    let neighbours = (0..2 + 2 * garbage.len())
        .map(|_| Neighbour::external())
        .collect();
    let bench = Bench::start(neighbours);
    let (mut watcher, mut sender) = (bench.up(0), bench.up(1));
    for (at, (octets, expected)) in garbage.iter().enumerate() {
        let mut early = bench.dial(2 + 2 * at);
        early.send(octets);
        assert_eq!(early.ends("garbage for an OPEN"), *expected, "{octets:02x?}");
        let mut late = bench.up(3 + 2 * at);
        late.send(octets);
        assert_eq!(late.ends("garbage later"), *expected, "{octets:02x?}");
    }
    well(&mut sender, &mut watcher, "60.1.0.0/24");
}
