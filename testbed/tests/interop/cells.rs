//! What is tested with each speaker.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pipit_testbed::calico::{Manifests, Store, node, resource};
use pipit_testbed::kernel::Monitor;
use pipit_testbed::mesh::UP;
use pipit_testbed::speaker::{Bird, Options, Pipit, Source};
use pipit_testbed::topology::Rack;
use pipit_testbed::wait;
use serde_json::{Value, json};

use crate::bench::{Bench, OURS, Scene};
use crate::foreign::Foreign;

#[track_caller]
pub(crate) fn ipv4<F: Foreign>() {
    Bench::<F>::new(Scene::default()).wait_exchanged();
}

#[track_caller]
pub(crate) fn ipv6<F: Foreign>() {
    let scene = Scene {
        is_ipv4: false,
        ..Scene::default()
    };
    Bench::<F>::new(scene).wait_exchanged();
}

/// With another key nothing passes; with the right one, given to the running daemon, everything does.
#[track_caller]
pub(crate) fn md5<F: Foreign>() {
    let options = Options {
        password: Some("swordfish"),
        ..Options::default()
    };
    let mut bench = Bench::<F>::new(Scene {
        options,
        password: Some("sardine"),
        ..Scene::default()
    });
    bench.wait_dropped("TCPMD5Failure");
    bench.scene.password = Some("swordfish");
    bench.apply();
    bench.wait_exchanged();
}

fn with_ttl_security() -> Scene {
    let options = Options {
        ttl_security: true,
        ..Options::default()
    };
    Scene {
        options,
        ..Scene::default()
    }
}

/// Both sides send TTL 255 and insist on it.
#[track_caller]
pub(crate) fn gtsm<F: Foreign>() {
    let scene = Scene {
        ttl_security: true,
        ..with_ttl_security()
    };
    Bench::<F>::new(scene).wait_exchanged();
}

/// They insist on TTL 255 and we do not send it: nothing passes. Then we do.
#[track_caller]
pub(crate) fn gtsm_not_ours<F: Foreign>() {
    let mut bench = Bench::<F>::new(with_ttl_security());
    bench.wait_dropped("TCPMinTTLDrop");
    bench.scene.ttl_security = true;
    bench.apply();
    bench.wait_exchanged();
}

/// We insist on TTL 255 and they do not send it.
#[track_caller]
pub(crate) fn gtsm_not_theirs<F: Foreign>() {
    let bench = Bench::<F>::new(Scene {
        ttl_security: true,
        ..Scene::default()
    });
    bench.wait_dropped("TCPMinTTLDrop");
}

fn restarting() -> Scene {
    let options = Options {
        graceful_restart: true,
        ..Options::default()
    };
    Scene {
        options,
        ..Scene::default()
    }
}

/// Their daemon dies: their routes stay here, in the kernel too, until it is back with them.
#[track_caller]
pub(crate) fn restart_of_theirs<F: Foreign>() {
    let mut bench = Bench::<F>::new(restarting());
    bench.wait_exchanged();
    let monitor = Monitor::start(&bench.rack.node(1).netns);
    bench.foreign.kill();
    wait::until_eq("the session to end", UP, || bench.is_established(), &false);
    assert_eq!(bench.here(), bench.theirs());
    let Bench { foreign, rack, .. } = &mut bench;
    foreign.resume(&rack.node(2).netns);
    bench.wait_exchanged();
    assert_eq!(monitor.changes(), Vec::<String>::new());
}

/// Our daemon dies: they keep our routes until it is back with them.
#[track_caller]
pub(crate) fn restart_of_ours<F: Foreign>() {
    let mut bench = Bench::<F>::new(restarting());
    bench.wait_exchanged();
    bench.pipit.kill();
    let (_, kept) = wait_lost(&bench);
    assert_eq!(kept, bench.ours());
    let Bench { pipit, rack, .. } = &mut bench;
    pipit.resume(&rack.node(1).netns);
    bench.wait_exchanged();
}

/// Our daemon is away for longer than its restart time: they keep our routes, marked (RFC 9494 §4.2).
pub(crate) fn long_absence_of_ours() {
    let mut bench = Bench::<Bird>::new(Scene {
        restart_times: Some(("2s", "1h")),
        ..restarting()
    });
    bench.wait_exchanged();
    let is_marked = |bench: &Bench<Bird>| {
        let words = ["show", "route", "protocol", "pipit", "all"];
        bench
            .foreign
            .ctl(bench.their_netns(), &words)
            .contains("(65535,6)")
    };
    assert!(!is_marked(&bench));
    bench.pipit.kill();
    wait::until_eq("the restart time to end", UP, || is_marked(&bench), &true);
    assert_eq!(bench.there().1, bench.ours());
    let Bench { pipit, rack, .. } = &mut bench;
    pipit.resume(&rack.node(1).netns);
    bench.wait_exchanged();
    wait::until_eq("fresh routes", UP, || is_marked(&bench), &false);
}

#[track_caller]
fn wait_lost<F: Foreign>(bench: &Bench<F>) -> (String, crate::foreign::Routes) {
    let (view, _) = wait::until(
        "them to notice",
        UP,
        || bench.there(),
        |(state, _)| state != "Established",
    );
    view
}

/// They ask for everything again, and are sent it.
#[track_caller]
pub(crate) fn refresh<F: Foreign>() {
    let bench = Bench::<F>::new(Scene::default());
    bench.wait_exchanged();
    let count = |way: &str, kind: &str| bench.peer()[way][kind].as_u64().unwrap_or_default();
    let sent = count("messages_sent", "update");
    bench.foreign.refresh(bench.their_netns(), &bench.setup);
    let asked = || count("messages_received", "route_refresh");
    wait::until("ROUTE-REFRESH from them", UP, asked, |count| *count > 0);
    let again = || count("messages_sent", "update");
    wait::until("our routes again", UP, again, |count| *count > sent);
    bench.wait_exchanged();
}

/// A prefix of two other nodes: they have both our paths of it, and we both of theirs.
#[track_caller]
pub(crate) fn add_path<F: Foreign>() {
    const PREFIX: &str = "10.210.0.0/24";
    let options = Options {
        add_path: true,
        ..Options::default()
    };
    let scene = Scene {
        options,
        nodes: 4,
        ..Scene::default()
    };
    let bench = Bench::<F>::with(scene, |rack, store| originators(rack, store, PREFIX));
    let source = Source::File(bench.store.path().to_owned());
    let _others = [3, 4].map(|number| Pipit::start(bench.rack.node(number), &source));
    let there = || bench.foreign.paths(bench.their_netns(), &bench.setup, PREFIX);
    wait::until_eq("our paths there", UP, there, &2);
    let from = bench.peer()["name"].clone();
    let here = || {
        let routes = bench.pipit.items("routes");
        let is_theirs = |route: &&Value| route["prefix"] == PREFIX && route["peer"] == from;
        routes
            .iter()
            .filter(is_theirs)
            .map(|route| route["as_path"].to_string())
            .collect::<BTreeSet<_>>()
    };
    wait::until("their paths here", UP, here, |paths| {
        ["65003", "65004"]
            .iter()
            .all(|asn| paths.iter().any(|path| path.contains(asn)))
    });
}

/// `n3` and `n4`, each in an AS of its own, announce the prefix to `n1` and `n2`.
fn originators(rack: &Rack, store: &mut Manifests, prefix: &str) -> Vec<(IpAddr, u32)> {
    let address = |number: usize| rack.node(number).address(true).unwrap().addr();
    let mut sessions = Vec::new();
    for number in [3, 4] {
        let asn = 65000 + number as u32;
        let name = format!("n{number}");
        let mut originator = node(&name, &rack.node(number).addresses, Some(asn));
        originator["metadata"]["annotations"] = json!({ "pipit.io/originate": prefix });
        store.apply(&originator);
        let mut peer = |name: &str, node: &str, of: IpAddr, asn: u32| {
            let spec =
                json!({ "node": node, "peerIP": of.to_string(), "asNumber": asn, "filters": ["transit"] });
            let mut peer = resource("BGPPeer", name, spec);
            // One path from each of them, not what they have of each other as well.
            peer["metadata"]["annotations"] = json!({ "pipit.io/add-path": "off" });
            store.apply(&peer);
        };
        peer(
            &format!("{name}-foreign"),
            &name,
            address(2),
            crate::bench::THEIRS,
        );
        peer(&format!("{name}-n1"), &name, address(1), OURS);
        peer(&format!("n1-{name}"), "n1", address(number), asn);
        sessions.push((address(number), asn));
    }
    sessions
}

/// More than fits 4,096 octets, in one message, both ways.
#[track_caller]
pub(crate) fn extended_messages<F: Foreign>() {
    let originate = (0..3000).map(|number| format!("10.220.{}.{}/32", number / 250, number % 250 + 1));
    let bench = Bench::<F>::new(Scene {
        originate: originate.collect(),
        ..Scene::default()
    });
    bench.wait_exchanged();
    let peer = bench.peer();
    let capabilities = peer["capabilities"].as_array().cloned().unwrap_or_default();
    assert!(
        capabilities.contains(&json!("extended-message")),
        "{capabilities:?}"
    );
    // 3,000 prefixes are 15,000 octets, which is four messages of the old size. The block and End-of-RIB come apart.
    let updates = peer["messages_sent"]["update"].as_u64().unwrap_or(u64::MAX);
    assert!(updates <= 3, "{updates} UPDATEs");
}

#[track_caller]
fn two_octets<F: Foreign>(asn: u32) {
    let options = Options {
        two_octet_as: true,
        ..Options::default()
    };
    let bench = Bench::<F>::new(Scene {
        options,
        asn,
        ..Scene::default()
    });
    bench.wait_exchanged();
    let capabilities = bench.peer()["capabilities"].to_string();
    assert!(!capabilities.contains("4-octet-as"), "{capabilities}");
}

/// They know AS numbers of two octets only.
#[track_caller]
pub(crate) fn two_octet_as<F: Foreign>() {
    two_octets::<F>(OURS);
}

/// The same, and our own has four: they see AS_TRANS.
#[track_caller]
pub(crate) fn as_trans<F: Foreign>() {
    two_octets::<F>(4_200_000_512);
}
