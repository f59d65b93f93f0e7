//! The command line as scripts and people meet it.

use std::path::Path;
use std::time::Duration;

use pipit_testbed::kernel::Monitor;
use pipit_testbed::mesh::{Mesh, UP};
use pipit_testbed::speaker::client;
use pipit_testbed::topology::Plan;
use pipit_testbed::wait;
use serde_json::Value;

fn document(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_session_is_reset_and_begins_anew_at_once() {
    let mesh = Mesh::from_files(Plan::default(), 2);
    let [n1, n2] = &mesh.daemons[..] else {
        unreachable!()
    };
    let monitor = Monitor::start(&mesh.rack.node(1).netns);
    let reset = document(&n1.pipit(&["-o", "json", "reset", "172.31.1.12"]));
    assert_eq!(
        (&reset["kind"], &reset["name"], &reset["was_established"]),
        (&"Reset".into(), &"Mesh_172_31_1_12".into(), &true.into())
    );
    let told = || n2.items("peers")[0]["last_error_received"].to_string();
    wait::until("the other side to be told", UP, told, |error| {
        error.contains("administrative reset")
    });
    // Sooner than any timer would have it.
    let both = || (n1.established(), n2.established());
    let (_, took) = wait::until("the session again", UP, both, |both| *both == ((1, 1), (1, 1)));
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(n1.items("peers")[0]["flaps"], 1);
    assert_eq!(
        monitor.changes(),
        Vec::<String>::new(),
        "both keep the other's routes meanwhile"
    );

    let unknown = n1.pipit(&["reset", "nobody"]);
    assert_eq!(unknown.status.code(), Some(4));
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert!(error.contains("no peer is named nobody"), "{error}");
}

#[test]
fn lists_are_tables_for_people_and_one_document_for_programs() {
    let mesh = Mesh::from_files(Plan::default(), 3);
    let daemon = &mesh.daemons[0];
    for command in ["peers", "status"] {
        let table = String::from_utf8(daemon.pipit(&[command]).stdout).unwrap();
        let header = table.lines().next().unwrap();
        assert!(
            header.starts_with("NAME") && header.contains("LAST-ERROR"),
            "{table}"
        );
        assert!(
            table.contains("Mesh_172_31_1_12") && table.contains("Established"),
            "{table}"
        );
    }
    let peers = document(&daemon.pipit(&["-o", "json", "peers"]));
    assert_eq!(
        (&peers["apiVersion"], &peers["kind"]),
        (&"pipit/v1".into(), &"PeerList".into())
    );
    let peer = &peers["items"][0];
    assert_eq!(peer["name"], "Mesh_172_31_1_12");
    assert_eq!(peer["address"], "172.31.1.12");
    assert_eq!(
        (&peer["port"], &peer["remote_as"], &peer["local_as"]),
        (&179.into(), &64512.into(), &64512.into())
    );
    assert_eq!(
        (&peer["state"], &peer["kind"]),
        (&"Established".into(), &"mesh".into())
    );
    assert!(peer["since"].as_str().unwrap().ends_with('Z'), "{peer}");
    assert_eq!(
        (&peer["prefixes_received"], &peer["prefixes_sent"]),
        (&1.into(), &1.into())
    );

    let routes = document(&daemon.pipit(&["routes", "-o", "json"]));
    assert_eq!(routes["kind"], "RouteList");
    let remote = routes["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|route| route["prefix"] == "10.65.2.0/26")
        .unwrap();
    assert_eq!(
        (&remote["next_hop"], &remote["peer"]),
        (&"172.31.1.12".into(), &"Mesh_172_31_1_12".into())
    );
    assert_eq!(
        (&remote["best"], &remote["local_pref"]),
        (&true.into(), &2_147_482_623u32.into())
    );

    let fib = document(&daemon.pipit(&["fib", "-o", "json"]));
    assert_eq!(fib["kind"], "FibList");
    let own = fib["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|route| route["prefix"] == "10.65.1.0/26")
        .unwrap();
    assert_eq!(
        (&own["kind"], &own["state"], &own["protocol"]),
        (&"blackhole".into(), &"installed".into(), &12.into())
    );
}

#[test]
fn exit_codes_and_messages_tell_what_to_do() {
    let missing = Path::new("/run/pipit-testbed-nowhere/pipit.sock");
    let output = client(missing, &["peers"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("/run/pipit-testbed-nowhere/pipit.sock"),
        "{output:?}"
    );
    assert!(output.stdout.is_empty());
    assert_eq!(client(missing, &["no-such-command"]).status.code(), Some(2));
    assert_eq!(
        client(missing, &["peers", "--no-such-flag"]).status.code(),
        Some(2)
    );
    assert_eq!(client(missing, &["--help"]).status.code(), Some(0));
    let mesh = Mesh::from_files(Plan::default(), 2);
    assert_eq!(
        mesh.daemons[0].pipit(&["peer", "no-such-peer"]).status.code(),
        Some(4)
    );
    assert_eq!(
        mesh.daemons[0].pipit(&["peer", "172.31.1.12"]).status.code(),
        Some(0)
    );
}
