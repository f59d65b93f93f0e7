//! The kernel's routes under the operator's eyes and hands: `pipit fib`, its comparison and its repair, whose routes
//! they are, and who may write them.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, resource};
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::{Mesh, UP};
use pipit_testbed::netns::Netns;
use pipit_testbed::ping::Ping;
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

/// A repair by events.
const SOON: Duration = Duration::from_secs(1);

fn dual() -> Plan {
    Plan {
        ipv6: Some("fd31:1::/64".parse().unwrap()),
        ..Plan::default()
    }
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[track_caller]
fn ip(netns: &Netns, words: &str) {
    netns.ip(&words.split_whitespace().collect::<Vec<_>>());
}

fn items(output: &Output) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    document["items"].as_array().cloned().unwrap_or_default()
}

fn state(daemon: &Pipit, prefix: &str) -> Value {
    let found = daemon
        .items("fib")
        .into_iter()
        .find(|item| item["prefix"] == prefix);
    found.map_or(Value::Null, |item| item["state"].clone())
}

#[test]
fn fib_diff_says_what_is_wrong_and_sync_puts_right_what_it_can() {
    let mut mesh = Mesh::from_files(dual(), 2);
    let agree = mesh.daemon(1).pipit(&["fib", "diff"]);
    assert_eq!(agree.status.code(), Some(0), "{}", text(&agree));
    assert!(text(&agree).contains("the kernel has what it should have"));

    // A static route in the place of one that comes only now: a node's routes have priority 1024.
    let rival = "10.65.70.0/26 via 172.31.1.99 dev eth0 proto static metric 1024";
    ip(&mesh.rack.node(1).netns, &format!("route add {rival}"));
    mesh.assign(2, "10.65.70.0/26".parse().unwrap());
    let conflict = || state(&mesh.daemons[0], "10.65.70.0/26");
    wait::until_eq("a conflict", UP, conflict, &json!("conflict"));
    let differ = mesh.daemons[0].pipit(&["-o", "json", "fib", "diff"]);
    assert_eq!(differ.status.code(), Some(1), "{}", text(&differ));
    let found = items(&differ);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["prefix"], "10.65.70.0/26");
    assert_eq!(found[0]["problem"], "conflict");
    assert_eq!(found[0]["action"], "wait");
    assert!(
        found[0]["reason"].as_str().unwrap().contains("protocol 4"),
        "{found:?}"
    );
    // Neither a look nor a repair touches it.
    let dry = mesh.daemons[0].pipit(&["fib", "sync", "--dry-run"]);
    let sync = mesh.daemons[0].pipit(&["fib", "sync"]);
    for output in [&dry, &sync] {
        assert_eq!(output.status.code(), Some(1), "{}", text(output));
        assert!(text(output).contains("10.65.70.0/26"), "{}", text(output));
    }
    let there = mesh.rack.node(1).netns.ip(&["route", "show", "10.65.70.0/26"]);
    assert_eq!(there.trim_end(), rival);
    // And it is a problem with a name.
    let peers = mesh.daemons[0].pipit(&["-o", "json", "peers"]);
    let document: Value = serde_json::from_slice(&peers.stdout).unwrap();
    let is_named = |problem: &Value| problem["resource"] == "kernel route 10.65.70.0/26";
    assert!(
        document["problems"].as_array().unwrap().iter().any(is_named),
        "{document:#}"
    );
    // The other program gives way.
    ip(&mesh.rack.node(1).netns, "route del 10.65.70.0/26 proto static");
    mesh.wait_routes(SOON);
    let agree = mesh.daemons[0].pipit(&["fib", "diff"]);
    assert_eq!(agree.status.code(), Some(0), "{}", text(&agree));
}

#[test]
fn a_route_changed_by_hand_is_back_within_a_second_and_a_fighter_is_slowed_down() {
    let mesh = Mesh::from_files(dual(), 2);
    let netns = &mesh.rack.node(1).netns;
    let before = bird_routes(netns);
    let (block4, block6) = (mesh.rack.plan.block4(2), mesh.rack.plan.block6(2));
    for words in [
        format!("route del {block4}"),
        format!("-6 route del {block6}"),
        format!("route replace {block4} via 172.31.1.99 proto bird metric 1024"),
        "route flush proto bird".to_owned(),
        "route add 10.65.90.0/26 via 172.31.1.12 proto bird".to_owned(),
    ] {
        // Whatever metric our route has, this one's is deleted.
        netns.try_ip(&words.split_whitespace().collect::<Vec<_>>());
        wait::until_eq(&words, SOON, || bird_routes(netns), &before);
    }
    mesh.daemons[0].wait_for_log("somebody changed routes of ours");
    // Somebody who does not give up: each repair waits longer than the one before, and the log says how often.
    let monitor = Monitor::start(netns);
    let fight = std::time::Instant::now();
    while fight.elapsed() < Duration::from_secs(3) {
        netns.try_ip(&["route", "flush", "proto", "bird"]);
    }
    wait::until_eq("peace", Duration::from_secs(15), || bird_routes(netns), &before);
    let prefix = block4.to_string();
    let changes = monitor.changes();
    let repairs = changes
        .iter()
        .filter(|line| line.contains(&prefix) && !line.contains("Deleted"))
        .count();
    assert!(
        (1..=12).contains(&repairs),
        "{repairs} repairs in three seconds of fight"
    );
}

#[test]
fn another_protocol_number_replaces_routes_under_running_traffic() {
    let mut mesh = Mesh::from_files(dual(), 2);
    let Mesh {
        daemons, store, rack, ..
    } = &mut mesh;
    let target = rack.node(2).pods[0].addresses[0];
    let ping = Ping::start(&rack.node(1).pods[0].netns, &target.to_string());
    let before = bird_routes(&rack.node(1).netns);
    let monitor = Monitor::start(&rack.node(1).netns);
    let with_number = |number: &str| {
        let mut config = resource("BGPConfiguration", "default", json!({ "asNumber": 64512 }));
        config["metadata"]["annotations"] = json!({ "pipit.io/route-protocol": number });
        config
    };
    let netns = &rack.node(1).netns;
    let of = |number: &str| -> usize {
        ["-4", "-6"]
            .iter()
            .map(|family| {
                netns
                    .ip(&[family, "route", "show", "proto", number])
                    .lines()
                    .count()
            })
            .sum()
    };
    store.apply(&with_number("99"));
    wait::until_eq(
        "all of protocol 99",
        UP,
        || (of("99"), of("bird")),
        &(before.len(), 0),
    );
    // A daemon that does not know yet what is wanted knows what the one before it wrote.
    let note = daemons[0].socket().with_extension("sock.lock");
    let noted = || std::fs::read_to_string(&note).unwrap_or_default();
    wait::until_eq("the number beside the socket", UP, noted, &"99 \n".to_owned());
    daemons[0].kill();
    daemons[0].resume(netns);
    daemons[0].wait_for_log("restart recovery is over");
    wait::until_eq("sessions", UP, || daemons[0].established(), &(2, 2));
    assert_eq!((of("99"), of("bird")), (before.len(), 0));
    store.apply(&with_number("12"));
    wait::until_eq(
        "all of BIRD's again",
        UP,
        || (of("99"), of("bird")),
        &(0, before.len()),
    );
    assert_eq!(bird_routes(netns), before);
    let report = ping.stop();
    assert_eq!(report.lost(), 0, "{report:?}");
    assert_eq!(monitor.deletions_beside(&[]), Vec::<String>::new());
}

#[test]
fn a_second_daemon_on_the_table_is_refused_by_name() {
    let mut mesh = Mesh::from_files(Plan::default(), 2);
    let pid = mesh.daemon(1).process().pid();
    let source = Source::File(mesh.store.path().to_owned());
    let netns = &mesh.rack.node(1).netns;
    // Another socket, as a second container would have it.
    let second = Pipit::start_as(netns, "n1", &source, &[]);
    second.wait_for_log(&format!("another pipitd (pid {pid}) writes to routing table 254"));
    drop(second);
    assert_eq!(
        mesh.daemons[0].established(),
        (1, 1),
        "the first one is not disturbed"
    );
}

#[test]
fn a_table_of_its_own_gets_the_routes_and_the_main_one_none() {
    let rack = Rack::new(Plan::default(), 2);
    let mut store = Manifests::default();
    store.apply_rack(&rack);
    let source = Source::File(store.path().to_owned());
    let arguments = ["--route-table", "900", "--route-protocol", "77"];
    let first = Pipit::start_as(&rack.node(1).netns, "n1", &source, &arguments);
    let second = Pipit::start(rack.node(2), &source);
    for daemon in [&first, &second] {
        wait::until_eq("sessions", UP, || daemon.established(), &(1, 1));
    }
    let netns = &rack.node(1).netns;
    let shown = || -> BTreeSet<String> {
        let text = netns
            .try_ip(&["route", "show", "table", "900", "proto", "77"])
            .stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines()
            .map(|line| line.split(" metric").next().unwrap_or(line).trim_end().to_owned())
            .collect()
    };
    let (own, other) = (rack.plan.block4(1), rack.plan.block4(2));
    let expected = BTreeSet::from([
        format!("blackhole {own}"),
        format!("{other} via 172.31.1.12 dev eth0"),
    ]);
    wait::until_eq("routes in table 900", UP, shown, &expected);
    assert_eq!(bird_routes(netns), BTreeSet::new());
    assert_eq!(netns.ip(&["route", "show", "proto", "77"]), "");
    // What is learned is still learned from the main table.
    netns.ip(&["route", "add", "10.65.200.9/32", "dev", "calin1p1", "proto", "80"]);
    let heard = || {
        bird_routes(&rack.node(2).netns)
            .iter()
            .any(|route| route.starts_with("10.65.200.9/32"))
    };
    wait::until_eq("the pod", SOON, heard, &true);
}
