//! Routes through kernel nexthop objects, where `pipit.io/nexthop-objects` asks for them: nobody loses a packet.

use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, resource};
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::{Mesh, UP};
use pipit_testbed::netns::Netns;
use pipit_testbed::ping::{FINE, Ping};
use pipit_testbed::topology::Plan;
use pipit_testbed::wait;
use serde_json::json;

/// A repair by events.
const SOON: Duration = Duration::from_secs(1);

fn set_objects(store: &mut Manifests, is_on: bool) {
    let mut config = resource("BGPConfiguration", "default", json!({ "asNumber": 64512 }));
    config["metadata"]["annotations"] = json!({ "pipit.io/nexthop-objects": is_on.to_string() });
    store.apply(&config);
}

/// Routes of ours through objects, and groups of these.
fn through_objects(netns: &Netns) -> (usize, usize) {
    let routes = ["-4", "-6"].map(|family| netns.ip(&[family, "route", "show", "proto", "bird"]));
    let groups = netns.ip(&["nexthop", "show", "proto", "12"]);
    (
        routes.concat().matches("nhid").count(),
        groups.matches("group").count(),
    )
}

#[test]
fn objects_come_go_and_outlive_a_crash_without_a_lost_packet() {
    let plan = Plan {
        ipv6: Some("fd31:1::/64".parse().unwrap()),
        ..Plan::default()
    };
    let mut mesh = Mesh::from_files(plan, 3);
    let [from, to] = [1, 2].map(|number| &mesh.rack.node(number).pods[0]);
    let pings: Vec<Ping> = to
        .addresses
        .iter()
        .map(|address| Ping::every(FINE, &from.netns, &address.to_string()))
        .collect();
    let netns = &mesh.rack.node(1).netns;
    let before = bird_routes(netns);
    let monitor = Monitor::start(netns);
    for (is_on, expected) in [(true, (4, 4)), (false, (0, 0)), (true, (4, 4))] {
        set_objects(&mut mesh.store, is_on);
        let shown = || through_objects(netns);
        wait::until_eq("objects", UP, shown, &expected);
        assert_eq!(bird_routes(netns), before);
    }
    // Each of the four routes changed three times, by one replacement.
    let changes = monitor.changes();
    assert_eq!(changes.len(), 12, "{changes:#?}");

    let objects = netns.ip(&["nexthop"]);
    let after = Monitor::start(netns);
    mesh.daemons[0].kill();
    mesh.daemons[0].resume(netns);
    mesh.wait_up();
    mesh.daemons[0].wait_for_log("restart recovery is over");
    mesh.wait_routes(SOON);
    assert_eq!(netns.ip(&["nexthop"]), objects);
    assert_eq!(after.changes(), Vec::<String>::new());
    let agree = mesh.daemons[0].pipit(&["fib", "diff"]);
    assert_eq!(agree.status.code(), Some(0), "{agree:?}");
    for ping in pings {
        let report = ping.stop();
        assert_eq!(report.lost(), 0, "{report:?}");
    }

    // Who removes them takes the routes with them, but not for long.
    netns.ip(&["nexthop", "flush"]);
    let shown = || (through_objects(netns), bird_routes(netns));
    wait::until_eq("a repair", SOON, shown, &((4, 4), before));
}
