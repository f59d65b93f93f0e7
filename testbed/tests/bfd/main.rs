//! BFD against BIRD's and FRR's, single hop and multihop, both families.

mod bench;
mod bird;
mod frr;
mod life;

use std::time::{Duration, Instant};

use pipit_testbed::wait;
use serde_json::{Value, json};

use crate::bench::{Bench, MARGIN, OURS, Other, Scene, UP, Way};
use crate::bird::Bird;
use crate::frr::Frr;

/// 3 times 300 ms.
const DETECTION: Duration = Duration::from_millis(900);

/// Both hear each other; then neither does, and the BGP session ends long before its hold time; then they do again.
#[track_caller]
fn a_cut_is_noticed<O: Other>(scene: Scene, path: &str) {
    let bench = Bench::<O>::new(scene);
    bench.wait_up();
    let bfd = &bench.view()["bfd"];
    assert_eq!(bfd["path"], path);
    assert_eq!(bfd["diagnostic"], Value::Null);
    let negotiated = json!([300_000, 300_000, 900_000]);
    let intervals = || {
        let bfd = &bench.view()["bfd"];
        json!([
            bfd["tx_interval_us"],
            bfd["rx_interval_us"],
            bfd["detection_time_us"]
        ])
    };
    wait::until_eq("the negotiated intervals", UP, intervals, &negotiated);

    bench.cut();
    let start = Instant::now();
    let (view, _) = wait::until(
        "the session to end",
        UP,
        || bench.view(),
        |view| view["state"] != "Established",
    );
    let took = start.elapsed();
    assert!(took < DETECTION + MARGIN, "it took {took:?}");
    let error = view["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("BFD down"), "{error}");
    assert_eq!(view["bfd"]["state"], "Down");
    assert_eq!(view["bfd"]["diagnostic"], "control detection time expired");
    assert_eq!(view["bfd"]["flaps"], 1);

    bench.mend();
    bench.wait_up();
}

#[test]
fn bird_single_hop_ipv4() {
    let scene = Scene::default();
    a_cut_is_noticed::<Bird>(scene, "single-hop");
}

#[test]
fn bird_over_a_router_ipv4() {
    let scene = Scene {
        way: Way::Routed,
        ..Scene::default()
    };
    a_cut_is_noticed::<Bird>(scene, "multihop");
}

#[test]
fn bird_single_hop_ipv6() {
    let scene = Scene {
        is_ipv4: false,
        ..Scene::default()
    };
    a_cut_is_noticed::<Bird>(scene, "single-hop");
}

#[test]
fn bird_over_a_router_ipv6() {
    let scene = Scene {
        is_ipv4: false,
        way: Way::Routed,
        ..Scene::default()
    };
    a_cut_is_noticed::<Bird>(scene, "multihop");
}

#[test]
fn bird_internal_on_one_link_is_followed_to_multihop() {
    let scene = Scene {
        asn: OURS,
        ..Scene::default()
    };
    a_cut_is_noticed::<Bird>(scene, "multihop");
}

#[test]
fn frr_single_hop_ipv4() {
    let scene = Scene::default();
    a_cut_is_noticed::<Frr>(scene, "single-hop");
}

#[test]
fn frr_over_a_router_ipv4() {
    let scene = Scene {
        way: Way::Routed,
        ..Scene::default()
    };
    a_cut_is_noticed::<Frr>(scene, "multihop");
}

#[test]
fn frr_single_hop_ipv6() {
    let scene = Scene {
        is_ipv4: false,
        ..Scene::default()
    };
    a_cut_is_noticed::<Frr>(scene, "single-hop");
}

#[test]
fn frr_over_a_router_ipv6() {
    let scene = Scene {
        is_ipv4: false,
        way: Way::Routed,
        ..Scene::default()
    };
    a_cut_is_noticed::<Frr>(scene, "multihop");
}

#[test]
fn frr_internal_on_one_link_is_single_hop() {
    let scene = Scene {
        asn: OURS,
        ..Scene::default()
    };
    a_cut_is_noticed::<Frr>(scene, "single-hop");
}
