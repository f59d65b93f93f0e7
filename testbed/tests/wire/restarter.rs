//! pipit restarts: what its OPEN says, in which order it speaks, and what is left of the old routes when.

use std::time::{Duration, Instant};

use pipit_testbed::wait;

use crate::bench::{Bench, Neighbour};
use crate::message::{IPV4, IPV6, UPDATE, end_of_rib, message};
use crate::peer::{Event, Offer, Peer};

/// The R bit, and the F bits of IPv4 and IPv6.
fn bits(peer: &Peer) -> (bool, Option<bool>, Option<bool>) {
    let value = peer.capability(64).expect("graceful restart is offered");
    let of = |(afi, safi): (u16, u8)| {
        let mut families = value[2..].chunks_exact(4);
        let found = families.find(|family| family[..3] == [(afi >> 8) as u8, afi as u8, safi]);
        found.map(|family| family[3] & 0x80 != 0)
    };
    (value[0] & 0x80 != 0, of(IPV4), of(IPV6))
}

fn bench() -> Bench {
    let restarts = || {
        Neighbour::external()
            .both_families()
            .says("graceful-restart", "restart")
    };
    Bench::start(vec![restarts(), restarts()])
}

/// Graceful restart for 60 s in both families, forwarding kept.
fn knowing(bench: &Bench, at: usize) -> Offer {
    bench.offer(at).with(64, &[0, 60, 0, 1, 1, 0x80, 0, 2, 1, 0x80])
}

fn end_of_rib6() -> Vec<u8> {
    message(UPDATE, &[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1])
}

fn kernel(bench: &Bench) -> String {
    bench.node.ip(&["route", "show", "proto", "bird"])
}

fn restart(bench: &mut Bench) {
    bench.pipit.kill();
    bench.pipit.resume(&bench.node);
    bench.wait_listening();
}

#[test]
fn rfc4724_3_a_first_start_is_no_restart() {
    let bench = bench();
    let peer = bench.up(0);
    let (is_restarting, ipv4, ipv6) = bits(&peer);
    assert!(
        !is_restarting && ipv4.is_some() && ipv6.is_some(),
        "{:02x?}",
        peer.open
    );
    let time = peer.capability(64).unwrap();
    assert_eq!(u16::from_be_bytes([time[0], time[1]]) & 0xfff, 120);
    // RFC 8538: the N bit.
    assert_ne!(time[0] & 0x40, 0);
}

#[test]
fn rfc4724_2_end_of_rib_follows_the_first_routes_and_comes_without_any() {
    let bench = bench();
    let mut silent = bench.up_with(0, &knowing(&bench, 0));
    let has_both = |peer: &Peer| {
        [IPV4, IPV6]
            .iter()
            .all(|family| peer.events.contains(&Event::EndOfRib(*family)))
    };
    silent.wait("End-of-RIB of both families", has_both);
    silent.announce(1, &["60.1.0.0/24", "60.1.1.0/24"]);
    silent.send(&end_of_rib());
    silent.send(&end_of_rib6());
    let mut late = bench.up_with(1, &knowing(&bench, 1));
    late.wait("End-of-RIB", has_both);
    let place = |wanted: Event| late.events.iter().position(|event| *event == wanted).unwrap();
    let route = |prefix: &str| place(Event::Announced((prefix.parse().unwrap(), None)));
    let end = place(Event::EndOfRib(IPV4));
    assert!(
        route("60.1.0.0/24") < end && route("60.1.1.0/24") < end,
        "{:?}",
        late.events
    );
    let ends = late
        .events
        .iter()
        .filter(|event| matches!(event, Event::EndOfRib(_)));
    assert_eq!(ends.count(), 2);
}

#[test]
fn rfc4724_4_1_after_a_crash_the_open_says_so_and_the_kernel_keeps_everything() {
    let mut bench = bench();
    let mut peers = [0, 1].map(|at| bench.up_with(at, &knowing(&bench, at)));
    let [first, second] = &mut peers;
    first.announce(1, &["60.1.0.0/24", "60.1.1.0/24"]);
    second.announce(1, &["60.2.0.0/24"]);
    for peer in [&mut *first, &mut *second] {
        peer.send(&end_of_rib());
        peer.send(&end_of_rib6());
    }
    let has_all = |routes: &String| {
        ["60.1.0.0", "60.1.1.0", "60.2.0.0"]
            .iter()
            .all(|net| routes.contains(net))
    };
    let patience = Duration::from_secs(10);
    wait::until("the routes", patience, || kernel(&bench), has_all);

    restart(&mut bench);
    assert!(has_all(&kernel(&bench)));
    let mut first = bench.up_with(0, &knowing(&bench, 0));
    let (is_restarting, ipv4, _) = bits(&first);
    assert!(is_restarting && ipv4 == Some(true), "{:02x?}", first.open);
    first.announce(1, &["60.1.0.0/24"]);
    first.send(&end_of_rib());
    first.send(&end_of_rib6());
    // The other has not come back yet: nothing is swept, and the first is not told that all has been said.
    first.pump(Duration::from_millis(1_500), |_| false);
    assert!(has_all(&kernel(&bench)));
    let ends = first
        .events
        .iter()
        .filter(|event| matches!(event, Event::EndOfRib(_)));
    assert_eq!(ends.count(), 0, "{:?}", first.events);
    let mut second = bench.up_with(1, &knowing(&bench, 1));
    assert!(bits(&second).0);
    second.announce(1, &["60.2.0.0/24"]);
    second.send(&end_of_rib());
    second.send(&end_of_rib6());
    wait::until(
        "the sweep",
        patience,
        || kernel(&bench),
        |routes| routes.contains("60.1.0.0") && routes.contains("60.2.0.0") && !routes.contains("60.1.1.0"),
    );
    // What is said now is complete, and End-of-RIB stands behind it.
    let is_told = |peer: &Peer| peer.events.contains(&Event::EndOfRib(IPV4)) && peer.has("60.2.0.0/24");
    first.wait("End-of-RIB and the other's route", is_told);
    assert!(!first.has("60.1.1.0/24"));

    // Recovery is over, so the next OPEN says no more than that forwarding went on.
    drop(first);
    let again = bench.up_with(0, &knowing(&bench, 0));
    assert!(!bits(&again).0);
}

#[test]
fn rfc4724_4_1_a_peer_that_stays_away_does_not_hold_up_the_sweep_for_ever() {
    let mut bench = bench();
    let mut first = bench.up_with(0, &knowing(&bench, 0));
    first.announce(1, &["60.1.0.0/24", "60.1.1.0/24"]);
    let patience = Duration::from_secs(40);
    wait::until(
        "the routes",
        patience,
        || kernel(&bench),
        |routes| routes.contains("60.1.1.0"),
    );
    restart(&mut bench);
    let began = Instant::now();
    let mut first = bench.up_with(0, &knowing(&bench, 0));
    first.announce(1, &["60.1.0.0/24"]);
    first.send(&end_of_rib());
    first.send(&end_of_rib6());
    wait::until(
        "the sweep",
        patience,
        || kernel(&bench),
        |routes| !routes.contains("60.1.1.0"),
    );
    assert!(kernel(&bench).contains("60.1.0.0"));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    first.wait("End-of-RIB", |peer| peer.events.contains(&Event::EndOfRib(IPV4)));
}

#[test]
fn rfc4724_4_1_an_orderly_end_keeps_the_routes_and_says_nothing_that_would_lose_them() {
    let mut bench = bench();
    let mut peer = bench.up_with(0, &knowing(&bench, 0));
    peer.announce(1, &["60.1.0.0/24"]);
    let patience = Duration::from_secs(10);
    wait::until(
        "the route",
        patience,
        || kernel(&bench),
        |routes| routes.contains("60.1.0.0"),
    );
    assert_eq!(bench.pipit.terminate(), Some(0));
    // No NOTIFICATION to one that knows what a restart is.
    let ending = peer.ends("the connection");
    assert!(!matches!(ending, crate::peer::Ending::Notified(..)), "{ending:?}");
    assert!(kernel(&bench).contains("60.1.0.0"));
}

#[test]
fn rfc4724_4_1_after_an_orderly_end_the_next_start_is_a_restart_as_well() {
    let mut bench = bench();
    let mut peer = bench.up_with(0, &knowing(&bench, 0));
    peer.announce(1, &["60.1.0.0/24", "60.1.1.0/24"]);
    let patience = Duration::from_secs(20);
    let has = |routes: &String, net: &str| routes.contains(net);
    wait::until(
        "the routes",
        patience,
        || kernel(&bench),
        |routes| has(routes, "60.1.1.0"),
    );
    assert_eq!(bench.pipit.terminate(), Some(0));
    drop(peer);
    bench.pipit.resume(&bench.node);
    bench.wait_listening();
    let mut peer = bench.up_with(0, &knowing(&bench, 0));
    let (is_restarting, ipv4, _) = bits(&peer);
    assert!(is_restarting && ipv4 == Some(true), "{:02x?}", peer.open);
    assert!(
        has(&kernel(&bench), "60.1.1.0"),
        "gone before the peer could say it again"
    );
    peer.announce(1, &["60.1.0.0/24"]);
    peer.send(&end_of_rib());
    peer.send(&end_of_rib6());
    wait::until(
        "the sweep",
        patience,
        || kernel(&bench),
        |routes| !has(routes, "60.1.1.0"),
    );
    assert!(has(&kernel(&bench), "60.1.0.0"));
}

#[test]
fn rfc4271_8_2_2_whoever_knows_no_restarts_is_told_of_the_end() {
    let mut bench = bench();
    let mut peer = bench.up(0);
    assert_eq!(bench.pipit.terminate(), Some(0));
    assert!(
        matches!(
            peer.ends("the connection"),
            crate::peer::Ending::Notified(6, 2, _)
        ),
        "{:?}",
        peer.ending
    );
}
