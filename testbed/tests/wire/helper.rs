//! Graceful restart of a peer (RFC 4724 §4.2, RFC 8538, RFC 9494): what others see of its routes meanwhile.

use std::time::{Duration, Instant};

use crate::bench::{Bench, Neighbour};
use crate::message::{
    COMMUNITIES, IPV4, IPV6, KEEPALIVE, NOTIFICATION, ROUTE_REFRESH, TRANSITIVE, UPDATE, end_of_rib, message,
    nlri, nlri_with_id, update,
};
use crate::peer::{Ending, Offer, Peer};

/// How a session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loss {
    Rst,
    Fin,
    /// Cease, administrative reset.
    Notified,
    /// The same as a hard reset.
    HardReset,
    /// The peer falls silent; its hold time is three seconds.
    Silence,
    /// The peer sends what is no message.
    Garbage,
}

/// Flags of the capability.
const RESTARTED: u8 = 8;
const NOTIFICATIONS: u8 = 4;
/// The F bit of a family.
const FORWARDING: u8 = 0x80;

/// The value of the graceful restart capability.
fn restart(flags: u8, time: u16, families: &[((u16, u8), u8)]) -> Vec<u8> {
    let head = (u16::from(flags) << 12 | time).to_be_bytes();
    let families = families
        .iter()
        .flat_map(|&((afi, safi), bits)| [(afi >> 8) as u8, afi as u8, safi, bits]);
    head.into_iter().chain(families).collect()
}

/// The value of the long-lived graceful restart capability.
fn long_lived(families: &[((u16, u8), u8, u32)]) -> Vec<u8> {
    let one = |&((afi, safi), bits, time): &((u16, u8), u8, u32)| {
        let time = time.to_be_bytes();
        [(afi >> 8) as u8, afi as u8, safi, bits, time[1], time[2], time[3]]
    };
    families.iter().flat_map(one).collect()
}

/// A peer that restarts, and one that watches.
struct Restart {
    bench: Bench,
    watcher: Peer,
}

const ROUTES: [&str; 3] = ["60.1.0.0/24", "60.1.1.0/24", "60.1.2.0/24"];
const ROUTE6: &str = "2001:db8:60::/48";
const LINKED: [u8; 16] = [0xfd, 0x97, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

impl Restart {
    fn new() -> Restart {
        Restart::watched(|offer| offer)
    }

    /// With a watcher that offers more.
    fn watched(more: impl Fn(Offer) -> Offer) -> Restart {
        let bench = Bench::start(vec![
            Neighbour::external().both_families(),
            Neighbour::external().both_families(),
        ]);
        let watcher = bench.up_with(1, &more(bench.offer(1)));
        Restart { bench, watcher }
    }

    fn offer(&self, capability: &[u8]) -> Offer {
        self.bench.offer(0).with(64, capability)
    }

    /// The peer with its first session, its routes seen by the watcher.
    #[track_caller]
    fn first(&mut self, offer: &Offer) -> Peer {
        let mut peer = self.bench.up_with(0, offer);
        peer.announce(1, &ROUTES);
        peer.announce_v6(1, &LINKED, &[ROUTE6]);
        peer.send(&end_of_rib());
        self.watcher.wait("the routes", |watcher| {
            ROUTES.iter().chain([&ROUTE6]).all(|prefix| watcher.has(prefix))
        });
        peer
    }

    /// Ends the session, and waits until pipit knows.
    fn lose(&self, mut peer: Peer, loss: Loss) {
        match loss {
            Loss::Rst => peer.reset(),
            Loss::Fin => drop(peer),
            Loss::Notified => peer.send(&message(NOTIFICATION, &[6, 4])),
            Loss::HardReset => peer.send(&message(NOTIFICATION, &[6, 9, 6, 4])),
            Loss::Silence => {
                let ending = peer.ends("the hold timer");
                assert_eq!(ending, Ending::Notified(4, 0, Vec::new()));
            }
            Loss::Garbage => peer.send(&[0; 40]),
        }
        let state = || self.bench.pipit.sessions()[0].1.clone();
        pipit_testbed::wait::until("the end", Duration::from_secs(10), state, |state| {
            state != "Established"
        });
    }

    /// Everything is still there, untouched.
    #[track_caller]
    fn kept(&mut self, what: &str) {
        self.watcher.pump(Duration::from_millis(700), |_| false);
        for prefix in ROUTES {
            assert_eq!(self.watcher.told(prefix), (1, 0), "{prefix} after {what}");
        }
    }

    #[track_caller]
    fn gone(&mut self, what: &str) {
        self.watcher.wait(&format!("no routes after {what}"), |watcher| {
            !ROUTES.iter().any(|prefix| watcher.has(prefix))
        });
    }
}

#[test]
fn rfc4724_4_2_what_is_kept_over_the_end_of_a_session() {
    let (with_n, without) = (NOTIFICATIONS, 0);
    for (flags, loss, is_kept) in [
        (without, Loss::Rst, true),
        (without, Loss::Fin, true),
        (without, Loss::Notified, false),
        (without, Loss::HardReset, false),
        (without, Loss::Silence, false),
        (without, Loss::Garbage, false),
        (with_n, Loss::Fin, true),
        (with_n, Loss::Notified, true),
        (with_n, Loss::HardReset, false),
        (with_n, Loss::Silence, true),
    ] {
        let mut restart_of = Restart::new();
        let mut offer = restart_of.offer(&restart(flags, 60, &[(IPV4, FORWARDING)]));
        if loss == Loss::Silence {
            offer.hold_time = 3;
        }
        let peer = restart_of.first(&offer);
        restart_of.lose(peer, loss);
        let what = format!("{loss:?} with flags {flags}");
        match is_kept {
            true => restart_of.kept(&what),
            false => restart_of.gone(&what),
        }
        // IPv6 is not in the capability.
        restart_of
            .watcher
            .wait("IPv6 gone", |watcher| !watcher.has(ROUTE6));
    }
}

#[test]
fn rfc4724_4_2_what_the_capability_does_not_name_is_not_kept() {
    let capabilities = [
        Some(restart(0, 60, &[])),
        Some(restart(0, 60, &[(IPV6, FORWARDING)])),
        Some(restart(0, 60, &[((1, 128), FORWARDING)])),
        None,
    ];
    for capability in capabilities {
        let mut restart_of = Restart::new();
        let offer = match &capability {
            Some(value) => restart_of.offer(value),
            None => restart_of.bench.offer(0),
        };
        let peer = restart_of.first(&offer);
        restart_of.lose(peer, Loss::Rst);
        restart_of.gone(&format!("capability {capability:02x?}"));
    }
}

#[test]
fn rfc4724_4_2_after_the_restart_time_the_routes_go() {
    let mut restart_of = Restart::new();
    let offer = restart_of.offer(&restart(0, 2, &[(IPV4, FORWARDING)]));
    let peer = restart_of.first(&offer);
    restart_of.lose(peer, Loss::Rst);
    let lost = Instant::now();
    restart_of.gone("the restart time");
    let took = lost.elapsed();
    assert!(
        (Duration::from_millis(1_500)..Duration::from_secs(6)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn rfc4724_4_2_whoever_comes_back_without_its_routes_loses_them_at_once() {
    let capabilities = [
        Some(restart(RESTARTED, 60, &[(IPV4, 0)])),
        Some(restart(RESTARTED, 60, &[(IPV6, FORWARDING)])),
        Some(restart(RESTARTED, 60, &[])),
        None,
    ];
    for capability in capabilities {
        let mut restart_of = Restart::new();
        let first = restart_of.offer(&restart(0, 60, &[(IPV4, FORWARDING)]));
        let peer = restart_of.first(&first);
        restart_of.lose(peer, Loss::Rst);
        restart_of.kept("the loss");
        let offer = match &capability {
            Some(value) => restart_of.offer(value),
            None => restart_of.bench.offer(0),
        };
        let back = restart_of.bench.up_with(0, &offer);
        restart_of.gone(&format!("coming back with {capability:02x?}"));
        drop(back);
    }
}

#[test]
fn rfc4724_4_2_what_is_not_said_again_goes_with_end_of_rib_and_not_before() {
    let mut restart_of = Restart::new();
    let families = [(IPV4, FORWARDING), (IPV6, FORWARDING)];
    let offer = restart_of.offer(&restart(0, 60, &families));
    let peer = restart_of.first(&offer);
    restart_of.lose(peer, Loss::Rst);
    let offer = restart_of.offer(&restart(RESTARTED, 60, &families));
    let mut back = restart_of.bench.up_with(0, &offer);
    let [same, other, lost] = ROUTES;
    back.announce(1, &[same]);
    back.announce(7, &[other]);
    let watcher = &mut restart_of.watcher;
    watcher.wait("the changed route", |watcher| {
        watcher
            .route(other)
            .is_some_and(|route| route.asns().last() == Some(&7))
    });
    assert_eq!(
        [same, lost, ROUTE6].map(|prefix| watcher.told(prefix)),
        [(1, 0); 3]
    );
    back.send(&end_of_rib());
    watcher.wait("the lost route", |watcher| !watcher.has(lost));
    assert_eq!([same, other].map(|prefix| watcher.told(prefix).1), [0; 2]);
    assert_eq!(watcher.told(same), (1, 0));
    // IPv6 has not been said to be complete.
    assert!(watcher.has(ROUTE6));
    let end_of_rib6 = message(UPDATE, &[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
    back.send(&end_of_rib6);
    watcher.wait("the lost IPv6 route", |watcher| !watcher.has(ROUTE6));
}

#[test]
fn rfc4724_4_2_each_family_stays_or_goes_by_its_own_bit() {
    for second in [vec![(IPV4, FORWARDING), (IPV6, 0)], vec![(IPV4, FORWARDING)]] {
        let mut restart_of = Restart::new();
        let first = restart_of.offer(&restart(0, 60, &[(IPV4, FORWARDING), (IPV6, FORWARDING)]));
        let peer = restart_of.first(&first);
        restart_of.lose(peer, Loss::Fin);
        restart_of.kept("the loss");
        assert!(restart_of.watcher.has(ROUTE6));
        let offer = restart_of.offer(&restart(RESTARTED, 60, &second));
        let mut back = restart_of.bench.up_with(0, &offer);
        restart_of
            .watcher
            .wait("IPv6 gone", |watcher| !watcher.has(ROUTE6));
        restart_of.kept("the return");
        back.send(&end_of_rib());
        restart_of.gone("End-of-RIB");
    }
}

#[test]
fn rfc4724_4_2_of_two_restarts_in_a_row_only_the_newer_routes_stay() {
    for (flags, is_deleted) in [(0, true), (NOTIFICATIONS, false)] {
        let mut restart_of = Restart::new();
        let offer = restart_of.offer(&restart(flags, 60, &[(IPV4, FORWARDING)]));
        let peer = restart_of.first(&offer);
        restart_of.lose(peer, Loss::Rst);
        let again = restart_of.offer(&restart(flags | RESTARTED, 60, &[(IPV4, FORWARDING)]));
        let mut back = restart_of.bench.up_with(0, &again);
        back.announce(1, &ROUTES[..1]);
        back.announce(1, &["60.2.0.0/24"]);
        restart_of
            .watcher
            .wait("a new route", |watcher| watcher.has("60.2.0.0/24"));
        // No End-of-RIB, and the peer is gone again.
        restart_of.lose(back, Loss::Rst);
        let watcher = &mut restart_of.watcher;
        match is_deleted {
            true => watcher.wait("the older routes gone", |watcher| {
                !ROUTES[1..].iter().any(|p| watcher.has(p))
            }),
            // RFC 8538 §4.1 turns it round.
            false => watcher.pump(Duration::from_millis(700), |_| false),
        }
        assert_eq!(watcher.has(ROUTES[1]), !is_deleted);
        assert_eq!(
            [ROUTES[0], "60.2.0.0/24"].map(|prefix| watcher.told(prefix)),
            [(1, 0); 2]
        );
    }
}

#[test]
fn rfc7911_paths_that_come_back_with_other_identifiers_replace_the_old_ones_at_end_of_rib() {
    let both = || Neighbour::external().says("add-path", "both");
    let bench = Bench::start(vec![both(), both()]);
    let offer = |at, flags| {
        let offer = bench.offer(at).with(69, &[0, 1, 1, 3]);
        offer.with(64, &restart(flags, 60, &[(IPV4, FORWARDING)]))
    };
    let mut watcher = bench.up_with(1, &offer(1, 0));
    let mut peer = bench.up_with(0, &offer(0, 0));
    let prefix = "60.1.0.0/24";
    let say = |peer: &mut Peer, id, mark| {
        let attributes = peer.attributes(mark).encode();
        peer.send(&update(&[], &attributes, &nlri_with_id(id, &[prefix])));
    };
    let marks = |watcher: &Peer| {
        let net = prefix.parse().unwrap();
        let of_prefix = watcher.routes.iter().filter(|((other, _), _)| *other == net);
        let mut marks: Vec<u32> = of_prefix
            .filter_map(|(_, route)| route.asns().last().copied())
            .collect();
        marks.sort_unstable();
        marks
    };
    say(&mut peer, 7, 1);
    say(&mut peer, 8, 2);
    peer.send(&end_of_rib());
    watcher.wait("both paths", |watcher| marks(watcher) == [1, 2]);
    peer.reset();
    let mut back = bench.up_with(0, &offer(0, RESTARTED));
    say(&mut back, 9, 3);
    watcher.wait("the new path beside the stale ones", |watcher| {
        marks(watcher) == [1, 2, 3]
    });
    back.send(&end_of_rib());
    watcher.wait("the new path alone", |watcher| marks(watcher) == [3]);
}

#[test]
fn rfc4724_4_2_a_new_connection_of_a_peer_that_nobody_saw_go_is_its_restart() {
    let mut restart_of = Restart::new();
    let offer = restart_of.offer(&restart(0, 60, &[(IPV4, FORWARDING)]));
    let mut peer = restart_of.first(&offer);
    // A second connection is taken for a crossing dial at first.
    peer.pump(Duration::from_millis(5_500), |_| false);
    let offer = restart_of.offer(&restart(RESTARTED, 60, &[(IPV4, FORWARDING)]));
    let mut back = restart_of.bench.up_with(0, &offer);
    back.announce(1, &ROUTES);
    back.send(&end_of_rib());
    peer.ends("the old connection");
    restart_of.kept("the new connection");
    restart_of
        .watcher
        .wait("IPv6 gone", |watcher| !watcher.has(ROUTE6));
}

#[test]
fn rfc9494_long_lived_stale_routes_are_marked_and_told_only_to_those_who_know() {
    let mut restart_of = Restart::watched(|offer| {
        let offer = offer.with(64, &restart(0, 60, &[(IPV4, FORWARDING)]));
        offer.with(71, &long_lived(&[(IPV4, 0x80, 60)]))
    });
    let offer = restart_of
        .offer(&restart(0, 1, &[(IPV4, FORWARDING)]))
        .with(71, &long_lived(&[(IPV4, 0x80, 4)]));
    let peer = restart_of.first(&offer);
    restart_of.lose(peer, Loss::Rst);
    let lost = Instant::now();
    let stale: &[u8] = &[0xff, 0xff, 0, 6];
    restart_of.watcher.wait("the mark", |watcher| {
        ROUTES.iter().all(|prefix| {
            watcher
                .route(prefix)
                .is_some_and(|route| route.value(8) == Some(stale))
        })
    });
    assert!(lost.elapsed() > Duration::from_millis(700));
    restart_of.gone("the long-lived stale time");
    let took = lost.elapsed();
    assert!(
        (Duration::from_millis(4_500)..Duration::from_secs(9)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn rfc9494_4_3_who_does_not_know_long_lived_routes_is_told_that_they_are_gone() {
    let mut restart_of = Restart::new();
    let offer = restart_of
        .offer(&restart(0, 1, &[(IPV4, FORWARDING)]))
        .with(71, &long_lived(&[(IPV4, 0x80, 60)]));
    let peer = restart_of.first(&offer);
    restart_of.lose(peer, Loss::Rst);
    restart_of.gone("the restart time");
    // Back in time with all of them: nothing was lost.
    let offer = restart_of
        .offer(&restart(RESTARTED, 1, &[(IPV4, FORWARDING)]))
        .with(71, &long_lived(&[(IPV4, 0x80, 60)]));
    let mut back = restart_of.bench.up_with(0, &offer);
    back.announce(1, &ROUTES);
    back.send(&end_of_rib());
    restart_of.watcher.wait("the routes again", |watcher| {
        ROUTES.iter().all(|prefix| watcher.has(prefix))
    });
}

#[test]
fn rfc9494_4_3_a_route_that_must_not_be_kept_long_goes_after_the_restart_time() {
    let knows = |offer: Offer| {
        let offer = offer.with(64, &restart(0, 1, &[(IPV4, FORWARDING)]));
        offer.with(71, &long_lived(&[(IPV4, 0x80, 60)]))
    };
    let mut restart_of = Restart::watched(knows);
    let mut peer = restart_of.first(&knows(restart_of.bench.offer(0)));
    let mut attributes = peer.attributes(1);
    // NO_LLGR.
    attributes.add(TRANSITIVE, COMMUNITIES, &[0xff, 0xff, 0, 7]);
    peer.send(&update(&[], &attributes.encode(), &nlri(&["60.4.0.0/24"])));
    restart_of
        .watcher
        .wait("the route", |watcher| watcher.has("60.4.0.0/24"));
    restart_of.lose(peer, Loss::Rst);
    restart_of
        .watcher
        .wait("it gone", |watcher| !watcher.has("60.4.0.0/24"));
    assert!(ROUTES.iter().all(|prefix| restart_of.watcher.has(prefix)));
}

#[test]
fn rfc7313_routes_not_said_again_between_the_marks_go() {
    let mut restart_of = Restart::new();
    let offer = restart_of.bench.offer(0).with(70, &[]);
    let mut peer = restart_of.first(&offer);
    peer.send(&message(ROUTE_REFRESH, &[0, 1, 2, 1]));
    // An end without a beginning changes nothing.
    peer.announce(1, &["60.3.0.0/24"]);
    restart_of
        .watcher
        .wait("a good route", |watcher| watcher.has("60.3.0.0/24"));
    restart_of.kept("an EoRR alone");
    peer.send(&message(ROUTE_REFRESH, &[0, 1, 1, 1]));
    peer.announce(1, &[ROUTES[0]]);
    peer.send(&message(KEEPALIVE, &[]));
    peer.send(&message(ROUTE_REFRESH, &[0, 1, 2, 1]));
    restart_of.watcher.wait("the others gone", |watcher| {
        !ROUTES[1..].iter().any(|prefix| watcher.has(prefix))
    });
    assert_eq!(restart_of.watcher.told(ROUTES[0]), (1, 0));
    assert!(restart_of.watcher.has(ROUTE6));
}
