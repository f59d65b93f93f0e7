//! What must not end a session: changes, peers without BFD, operators, restarts, a busy machine.

use std::process::Child;
use std::time::{Duration, Instant};

use pipit_testbed::calico::{Manifests, Store, node, resource};
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

use crate::bench::{Bench, CUT, MARGIN, OURS, Other, Scene, UP, nft};
use crate::bird::Bird;
use crate::frr::Frr;

/// What a session that was never interrupted keeps.
fn life(view: &Value) -> Value {
    json!([view["state"], view["since"], view["flaps"], view["last_error"]])
}

#[test]
fn bfd_goes_on_and_off_and_changes_without_the_session() {
    let mut bench = Bench::<Bird>::new(Scene {
        bfd: None,
        ..Scene::default()
    });
    bench.wait_established();
    let before = life(&bench.view());
    assert_eq!(bench.view()["bfd"], Value::Null);

    bench.set_bfd(Some("tx=300ms rx=300ms multiplier=3"));
    bench.wait_up();
    for (annotation, tx, rx, multiplier) in [
        ("tx=1s rx=500ms multiplier=5", 1_000_000, 500_000, "5.000"),
        ("multiplier=4", 300_000, 300_000, "1.200"),
    ] {
        bench.set_bfd(Some(annotation));
        let view = || {
            let bfd = bench.view()["bfd"].clone();
            json!([
                bfd["state"],
                bfd["tx_interval_us"],
                bfd["rx_interval_us"],
                bfd["flaps"]
            ])
        };
        wait::until_eq("the new timers", UP, view, &json!(["Up", tx, rx, 0]));
        // The last column is BIRD's Detection Time.
        let timeout = || bench.other.bfd_session(bench.peer_netns()).pop();
        wait::until_eq("the new timers there", UP, timeout, &Some(multiplier.to_owned()));
    }
    bench.set_bfd(Some("off"));
    wait::until_eq("BFD off", UP, || bench.view()["bfd"].clone(), &Value::Null);
    // BIRD would end the session over silence and over AdminDown: it goes on hearing from us.
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        assert_eq!(bench.other.bfd_state(bench.peer_netns()), "Up");
    }
    assert_eq!(life(&bench.view()), before);
    assert!(bench.other.is_established(bench.peer_netns()));
}

#[test]
fn frr_hears_from_us_after_bfd_was_turned_off() {
    let mut bench = Bench::<Frr>::new(Scene::default());
    bench.wait_up();
    let before = life(&bench.view());
    bench.set_bfd(Some("off"));
    wait::until_eq("BFD off", UP, || bench.view()["bfd"].clone(), &Value::Null);
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        assert_eq!(bench.other.bfd_state(bench.peer_netns()), "up");
    }
    bench.set_bfd(Some("tx=400ms"));
    let interval = || bench.view()["bfd"]["tx_interval_us"].clone();
    wait::until_eq("BFD on again", UP, interval, &json!(400_000));
    assert_eq!(bench.view()["bfd"]["flaps"], 0);
    assert_eq!(life(&bench.view()), before);
}

#[test]
fn a_peer_without_bfd_keeps_its_session() {
    let bench = Bench::<Bird>::new(Scene {
        has_bfd: false,
        ..Scene::default()
    });
    bench.wait_established();
    let before = life(&bench.view());
    // By then it has been looked for at both ports.
    wait::until_eq(
        "multihop",
        UP,
        || bench.view()["bfd"]["path"].clone(),
        &json!("multihop"),
    );
    assert_eq!(bench.view()["bfd"]["state"], "Down");
    assert_eq!(bench.view()["bfd"]["flaps"], 0);
    assert_eq!(life(&bench.view()), before);
}

#[test]
fn a_lost_path_for_bfd_alone_ends_the_session_and_does_not_keep_it_down() {
    let bench = Bench::<Bird>::new(Scene::default());
    bench.wait_up();
    let script = "add table inet deaf; add chain inet deaf bfd { type filter hook input priority 0; }; \
                  add rule inet deaf bfd udp dport { 3784, 4784 } drop";
    nft(bench.peer_netns(), script);
    let start = Instant::now();
    let flaps = |view: &Value| view["flaps"] == 1;
    wait::until("the session to end", UP, || bench.view(), flaps);
    assert!(
        start.elapsed() < Duration::from_millis(900) + MARGIN,
        "{:?}",
        start.elapsed()
    );
    // RFC 5882 §4.2 is for paths that were up: the session comes back, and stays.
    bench.wait_established();
    assert_eq!(bench.view()["flaps"], 1);
    assert_ne!(bench.view()["bfd"]["state"], "Up");
}

#[test]
fn our_restart_is_a_graceful_one_for_a_peer_with_bfd() {
    let mut pair = Pair::new();
    let block = "10.65.2.0/26";
    let has_route = |pair: &Pair| {
        pipit_testbed::kernel::bird_routes(&pair.rack.node(1).netns)
            .iter()
            .any(|route| route.contains(block))
    };
    wait::until_eq("the route", UP, || has_route(&pair), &true);
    assert_eq!(pair.daemons[1].terminate(), Some(0));
    // AdminDown reaches it, and it draws no conclusions.
    let bfd = || pair.view(0)["bfd"]["remote_state"].clone();
    wait::until_eq("AdminDown", UP, bfd, &json!("AdminDown"));
    let reason = pair.view(0)["last_error"].clone();
    assert_eq!(reason, "connection closed by the peer");
    assert!(has_route(&pair));
    pair.daemons[1].resume(&pair.rack.node(2).netns);
    pair.wait_up();
    assert!(has_route(&pair));
    assert_eq!(pair.view(0)["flaps"], 1);
}

/// Programs that want every cycle there is; ended with the value.
struct Busy(Vec<Child>);

impl Busy {
    fn new(count: usize) -> Busy {
        let child = || {
            std::process::Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .spawn()
                .unwrap()
        };
        Busy((0..count).map(|_| child()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_busy_machine_loses_no_path_for_thirty_seconds() {
    let bench = Bench::<Bird>::new(Scene::default());
    bench.wait_up();
    let before = life(&bench.view());
    let _busy = Busy::new(6);
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        let view = bench.view();
        assert_eq!(
            json!([view["bfd"]["state"], view["bfd"]["flaps"]]),
            json!(["Up", 0])
        );
    }
    assert_eq!(life(&bench.view()), before);
    assert!(bench.other.is_established(bench.peer_netns()));
}

/// Two nodes of pipit, each the other's peer.
struct Pair {
    daemons: Vec<Pipit>,
    _store: Manifests,
    rack: Rack,
}

impl Pair {
    fn new() -> Pair {
        let plan = Plan {
            ipv6: Some("fd31:1::/64".parse().unwrap()),
            ..Plan::default()
        };
        let rack = Rack::new(plan, 2);
        let mut store = Manifests::default();
        store.apply_rack(&rack);
        for n in &rack.nodes {
            store.apply(&node(&n.name, &n.addresses, Some(OURS)));
        }
        let no_mesh = json!({ "nodeToNodeMeshEnabled": false });
        store.apply(&resource("BGPConfiguration", "default", no_mesh));
        let mut peer = resource("BGPPeer", "all", json!({ "peerSelector": "all()" }));
        peer["metadata"]["annotations"] = json!({ "pipit.io/bfd": "tx=100ms rx=100ms" });
        store.apply(&peer);
        let source = Source::File(store.path().to_owned());
        let daemons = rack.nodes.iter().map(|n| Pipit::start(n, &source)).collect();
        let pair = Pair {
            daemons,
            _store: store,
            rack,
        };
        pair.wait_up();
        pair
    }

    /// The IPv4 session of a daemon.
    fn view(&self, daemon: usize) -> Value {
        let peers = self.daemons[daemon].items("peers");
        peers.first().cloned().unwrap_or_default()
    }

    #[track_caller]
    fn wait_up(&self) {
        for daemon in &self.daemons {
            let view = || {
                let of = |peer: &Value| {
                    let bfd = &peer["bfd"];
                    json!([peer["state"], bfd["state"], bfd["path"], bfd["detection_time_us"]])
                };
                daemon.items("peers").iter().map(of).collect::<Vec<_>>()
            };
            let up = json!(["Established", "Up", "single-hop", 300_000]);
            wait::until_eq("both sessions", UP, view, &vec![up.clone(), up]);
        }
    }
}

#[test]
fn two_pipits_watch_each_other_by_both_families() {
    let pair = Pair::new();
    nft(&pair.rack.node(2).netns, CUT);
    let start = Instant::now();
    let established = || pair.daemons[0].established();
    wait::until_eq("both lost", UP, established, &(0, 2));
    assert!(
        start.elapsed() < Duration::from_millis(300) + MARGIN,
        "{:?}",
        start.elapsed()
    );
}
