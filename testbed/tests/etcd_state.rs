//! What is in force when etcd is away or empty, and what would change if it said something else.

use std::time::Duration;

use pipit_testbed::calico::{Store, node, resource};
use pipit_testbed::etcd::Etcd;
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::{CHANGE, Mesh, UP};
use pipit_testbed::speaker::{Pipit, Source, program};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

/// Writing the state takes a second of quiet; a machine that is busy gets more.
const KEPT: Duration = Duration::from_secs(20);

fn mesh(count: usize) -> Mesh<Etcd> {
    let rack = Rack::new(Plan::default(), count);
    let etcd = Etcd::start(rack.node(1));
    let source = Source::Etcd(etcd.endpoint().to_owned());
    let mut mesh = Mesh::prepare(rack, etcd, source);
    mesh.start();
    mesh
}

fn wait_kept(daemon: &Pipit, holds: &str) {
    let kept = || {
        let files = std::fs::read_dir(daemon.state_dir())
            .into_iter()
            .flatten()
            .flatten();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts.collect::<String>()
    };
    wait::until(&format!("{holds} on disk"), KEPT, kept, |text| {
        text.contains(holds)
    });
}

fn document(daemon: &Pipit, arguments: &[&str]) -> Value {
    let output = daemon.pipit(&[&["-o", "json"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn text(daemon: &Pipit, arguments: &[&str]) -> String {
    let output = daemon.pipit(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn e1_c210_l20_a_daemon_that_starts_while_etcd_is_down_comes_up_with_sessions_and_routes() {
    let mut mesh = mesh(3);
    for daemon in &mesh.daemons {
        wait_kept(daemon, "10.65.");
    }
    assert_eq!(
        document(&mesh.daemons[0], &["status"])["daemon"]["datastore_stale_seconds"],
        0
    );
    mesh.store.kill();
    let monitor = Monitor::start(&mesh.rack.node(2).netns);
    for number in [1, 2] {
        let netns = &mesh.rack.node(number).netns;
        mesh.daemons[number - 1].kill();
        mesh.daemons[number - 1].resume(netns);
    }
    mesh.wait_up();
    mesh.ping_all();
    assert_eq!(
        monitor.changes(),
        Vec::<String>::new(),
        "the kernel had it all, and keeps it"
    );
    let daemon = &mesh.daemons[0];
    let status = document(daemon, &["status"])["daemon"].clone();
    assert_eq!(
        (&status["datastore"]["from_disk"], &status["datastore"]["in_sync"]),
        (&json!(true), &json!(false))
    );
    assert!(status["datastore_stale_seconds"].is_u64(), "{status}");
    let shown = text(daemon, &["status"]);
    assert!(shown.contains("ago, kept on disk, is in force"), "{shown}");

    // What happened meanwhile arrives as a difference.
    mesh.store.restart(&mesh.rack.nodes[0].netns);
    mesh.assign(3, "10.65.88.0/26".parse().unwrap());
    mesh.wait_routes(UP);
    assert_eq!(monitor.changes_beside(&["10.65.88.0/26"]), Vec::<String>::new());
    let in_sync = || document(&mesh.daemons[0], &["status"])["daemon"]["datastore"]["from_disk"].clone();
    wait::until_eq("the state of etcd", UP, in_sync, &json!(false));
}

#[test]
fn e10_an_emptied_etcd_is_held_shown_and_released_by_command() {
    let mut mesh = mesh(3);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    mesh.store.ctl(&["del", "--prefix", "/calico/"]);
    let held = || document(&mesh.daemons[0], &["status"])["daemon"]["datastore"]["held"].clone();
    wait::until("deletions held back", CHANGE, held, |held| {
        held.as_array().is_some_and(|held| held.len() >= 4)
    });
    let shown = text(&mesh.daemons[0], &["status"]);
    assert!(
        shown.contains("Held back: ") && shown.contains("pipit datastore release"),
        "{shown}"
    );
    assert!(document(&mesh.daemons[0], &["status"])["daemon"]["datastore"]["held"][0]["until"].is_string());
    mesh.ping_all();
    assert_eq!(mesh.daemons[0].established(), (2, 2));
    assert_eq!(monitor.changes(), Vec::<String>::new());
    // Its own Node and one other come back; the rest is said to be meant.
    for number in [1, 2] {
        let of = mesh.rack.node(number);
        let resource = node(&of.name, &of.addresses, None);
        mesh.store.apply(&resource);
    }
    let said = text(&mesh.daemons[0], &["datastore", "release"]);
    assert!(said.contains("held back and are acted on now"), "{said}");
    wait::until_eq(
        "the sessions that are left",
        CHANGE,
        || mesh.daemons[0].established(),
        &(1, 1),
    );
    let own = |netns| {
        bird_routes(netns)
            .iter()
            .filter(|route| route.starts_with("blackhole"))
            .count()
    };
    wait::until_eq("own blocks gone", CHANGE, || own(&mesh.rack.node(1).netns), &0);
    assert!(text(&mesh.daemons[0], &["datastore", "release"]).contains("nothing was held back"));
}

#[test]
fn e10_a_guard_that_is_off_lets_mass_deletions_pass() {
    let mut mesh = mesh(2);
    let blocks = ["10.65.71.0/26", "10.65.72.0/26", "10.65.73.0/26"];
    for block in blocks {
        mesh.assign(2, block.parse().unwrap());
    }
    mesh.wait_routes(CHANGE);
    let mut off = resource(
        "BGPConfiguration",
        "default",
        json!({"logSeverityScreen": "Info"}),
    );
    off["metadata"]["annotations"] = json!({"pipit.io/mass-withdrawal-guard": "off"});
    mesh.store.apply(&off);
    let guard = || document(&mesh.daemons[1], &["status"])["daemon"]["datastore"]["guard_secs"].clone();
    wait::until_eq("the guard to be off", CHANGE, guard, &Value::Null);
    mesh.store.ctl(&["del", "--prefix", "/calico/ipam/v2/host/n2/"]);
    mesh.blocks.insert(2, Vec::new());
    mesh.wait_routes(CHANGE);
}

/// Every resource of etcd, and the blocks of `n1` as objects, as a manifest.
fn exported(mesh: &Mesh<Etcd>) -> Vec<Value> {
    let prefix = "/calico/resources/v3/projectcalico.org/";
    let values = mesh
        .store
        .ctl(&["get", "--prefix", "--print-value-only", "--", prefix]);
    let resources = values.lines().filter(|line| !line.is_empty());
    let resources = resources.map(|line| serde_json::from_str(line).unwrap());
    let blocks = mesh.blocks[&1].iter().map(|net| block(&net.to_string()));
    resources.chain(blocks).collect()
}

fn block(cidr: &str) -> Value {
    let spec = json!({"node": "n1", "cidr": cidr, "state": "confirmed", "deleted": "false"});
    resource("BlockAffinity", &cidr.replace(['.', ':', '/'], "-"), spec)
}

/// Class and words of each change.
fn changes(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = document["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| (text(&item["class"]), text(&item["change"])))
        .collect()
}

#[test]
fn what_would_change_is_told_with_its_class_from_files_and_from_etcd() {
    let mut mesh = mesh(2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let address = mesh.rack.node(2).addresses[0].addr().to_string();
    let tor = |keepalive: &str, asn: u32| {
        let spec = json!({"node": "n1", "peerIP": address, "asNumber": asn, "keepaliveTime": keepalive});
        resource("BGPPeer", "tor", spec)
    };
    mesh.store.apply(&tor("10s", 64512));
    let sessions = || mesh.daemons[0].sessions();
    wait::until("the explicit session", UP, sessions, |sessions| {
        sessions
            .iter()
            .any(|(name, state)| name.starts_with("Node_") && state == "Established")
    });
    let all = exported(&mesh);
    let write = |objects: &[Value]| {
        let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
        std::fs::write(folder.path().join("all.json"), texts.join("\n")).unwrap();
    };
    let with_tor = |new: Value| -> Vec<Value> {
        let is_other = |object: &&Value| object["kind"] != "BGPPeer";
        all.iter().filter(is_other).cloned().chain([new]).collect()
    };
    let diff = || document(&mesh.daemons[0], &["plan", "--diff", "--from", path]);

    write(&all);
    let same = diff();
    assert_eq!(
        (&same["kind"], &same["node"]),
        (&json!("ChangeList"), &json!("n1"))
    );
    assert_eq!(changes(&same), []);

    write(&[with_tor(tor("20s", 64512)), vec![block("10.65.99.0/26")]].concat());
    let found = diff();
    let expected = [
        "session Node_",
        "+ block 10.65.99.0/26",
        "+ static route 10.65.99.0/26",
    ];
    let items = changes(&found);
    assert_eq!(items.len(), expected.len(), "{items:?}");
    for ((class, change), expected) in items.iter().zip(expected) {
        assert!(
            class == "no_effect" && change.starts_with(expected),
            "{class}: {change}"
        );
    }
    let keepalive = json!([{"setting": "keepalive", "class": "no_effect", "from": "10s", "to": "20s"}]);
    assert_eq!(found["items"][0]["settings"], keepalive);

    write(&with_tor(tor("10s", 64999)));
    let items = changes(&diff());
    assert_eq!(items.len(), 1, "{items:?}");
    assert!(
        items[0].0 == "session_reset" && items[0].1.ends_with(": AS"),
        "{items:?}"
    );
    let shown = text(&mesh.daemons[0], &["plan", "--diff", "--from", path]);
    assert!(
        shown.contains("session reset") && shown.contains("AS 64512 to 64999"),
        "{shown}"
    );
    assert!(shown.contains("Node n1: 1 with session reset"), "{shown}");

    let broken = with_tor(resource(
        "BGPPeer",
        "tor",
        json!({"node": "n1", "peerIP": "nonsense"}),
    ));
    write(&broken);
    let shown = text(&mesh.daemons[0], &["plan", "--diff", "--from", path]);
    assert!(
        shown.contains("New problems:\n  BGPPeer/tor spec.peerIP: "),
        "{shown}"
    );
    // As the daemon would: what cannot be read stays at its last good version.
    assert!(shown.contains("Node n1: nothing would change"), "{shown}");

    // Nothing differs from what etcd holds, and none of this touched the daemon.
    let netns = &mesh.rack.node(1).netns;
    let mut command = netns.command(program("pipit"));
    command.arg("--socket").arg(mesh.daemons[0].socket());
    command.args([
        "plan",
        "--diff",
        "--from-etcd",
        "--etcd-endpoints",
        mesh.store.endpoint(),
    ]);
    let output = command.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.contains("nothing would change"),
        "{shown}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        mesh.daemons[0]
            .items("peers")
            .iter()
            .all(|peer| peer["flaps"] == 0 && peer["remote_as"] == 64512)
    );

    let other = mesh.daemons[0].pipit(&["plan", "--diff", "--node", "n2", "--from", path]);
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("acts for node n1"));
}
