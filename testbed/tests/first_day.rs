//! What goes wrong on the first day, and what the daemon says of it.

use std::process::Command;
use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, node, pools};
use pipit_testbed::etcd::Etcd;
use pipit_testbed::kernel::{Monitor, bird_routes, temporary};
use pipit_testbed::mesh::{CHANGE, Mesh, UP};
use pipit_testbed::process::Process;
use pipit_testbed::speaker::{Pipit, Source, program};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn without_root_one_clear_error() {
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--clear-groups", "--bounding-set", "-all"])
        .arg(program("pipitd"))
        .args(["--node-name", "n1", "--socket", "/tmp/pipit-first-day.sock"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("CAP_NET_ADMIN"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_node_that_does_not_exist_yet_is_waited_for() {
    let rack = Rack::new(Plan::default(), 1);
    let mut store = Manifests::default();
    pools(&rack.plan).iter().for_each(|pool| store.apply(pool));
    let daemon = Pipit::start(rack.node(1), &Source::File(store.path().to_owned()));
    daemon.wait_for_log("there is no Node n1");
    let status = String::from_utf8(daemon.pipit(&["peers"]).stdout).unwrap();
    assert!(status.contains("no Node n1"), "{status}");
    store.apply(&node("n1", &rack.node(1).addresses, None));
    let block = rack.plan.block4(1).into();
    store.assign("n1", block);
    let routes = || bird_routes(&rack.node(1).netns);
    wait::until_eq(
        "the own block",
        CHANGE,
        routes,
        &[format!("blackhole {block}")].into(),
    );
}

#[test]
fn etcd_that_is_not_there_is_tried_until_it_is() {
    let rack = Rack::new(Plan::default(), 1);
    let mut etcd = Etcd::start(rack.node(1));
    etcd.apply_rack(&rack);
    etcd.kill();
    let daemon = Pipit::start(rack.node(1), &Source::Etcd(etcd.endpoint().to_owned()));
    daemon.wait_for_log("trying again");
    assert!(daemon.log().contains(etcd.endpoint()), "{}", daemon.log());
    let status = String::from_utf8(daemon.pipit(&["peers"]).stdout).unwrap();
    assert!(status.contains(etcd.endpoint()), "{status}");
    etcd.restart(&rack.node(1).netns);
    let block = rack.plan.block4(1);
    let routes = || bird_routes(&rack.node(1).netns);
    wait::until_eq(
        "the own block",
        Duration::from_secs(10),
        routes,
        &[format!("blackhole {block}")].into(),
    );
}

#[test]
fn a_port_that_is_taken_is_named_and_taken_over_when_it_is_free() {
    let rack = Rack::new(Plan::default(), 2);
    let mut store = Manifests::default();
    store.apply_rack(&rack);
    let source = Source::File(store.path().to_owned());
    let folder = temporary();
    let mut squatter = rack.node(1).netns.command("python3");
    squatter.args([
        "-c",
        "import socket,time; s=socket.create_server(('0.0.0.0',179)); time.sleep(600)",
    ]);
    let squatter = Process::start("squatter", squatter, &folder.path().join("log"));
    let listens = || {
        let output = rack
            .node(1)
            .netns
            .command("ss")
            .args(["-Hltn", "sport = :179"])
            .output()
            .unwrap();
        !output.stdout.is_empty()
    };
    wait::until_eq("the squatter", SOON, listens, &true);
    let first = Pipit::start(rack.node(1), &source);
    first.wait_for_log("cannot listen on 0.0.0.0:179");
    let _second = Pipit::start(rack.node(2), &source);
    squatter.kill();
    wait::until_eq("the session", UP, || first.established(), &(1, 1));
}

#[test]
fn a_broken_manifest_is_named_and_what_it_said_stays_in_force() {
    let mut mesh = Mesh::from_files(Plan::default(), 2);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    mesh.store
        .write("node-n2.yaml", "kind: Node\n  metadata: {name: n2\n");
    mesh.daemons[0].wait_for_log("node-n2.yaml");
    mesh.store.write("ippool-broken.yaml", "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: broken}\nspec: {cidr: 10.300.0.0/16}\n");
    let problems = || String::from_utf8(mesh.daemons[0].pipit(&["-o", "json", "peers"]).stdout).unwrap();
    wait::until("both problems by name", SOON, problems, |text| {
        text.contains("node-n2.yaml") && text.contains("IPPool/broken")
    });
    mesh.assign(2, "10.65.60.0/26".parse().unwrap());
    mesh.wait_routes(CHANGE);
    assert_eq!(mesh.daemons[0].established(), (1, 1));
    assert_eq!(monitor.changes_beside(&["10.65.60.0/26"]), Vec::<String>::new());
}

#[test]
fn a_second_daemon_on_the_socket_refuses_and_harms_nothing() {
    let mesh = Mesh::from_files(Plan::default(), 2);
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    let output = mesh
        .rack
        .node(1)
        .netns
        .command(program("pipitd"))
        .args(["--node-name", "n1", "--datastore", "file", "--datastore-path"])
        .arg(mesh.store.path())
        .arg("--socket")
        .arg(mesh.daemons[0].socket())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("another pipitd"), "{stderr}");
    assert_eq!(mesh.daemons[0].established(), (1, 1));
    assert_eq!(monitor.changes(), Vec::<String>::new());
}
