//! The command line as scripts and people meet it.

use std::path::Path;

use pipit_testbed::mesh::Mesh;
use pipit_testbed::speaker::client;
use pipit_testbed::topology::Plan;
use serde_json::Value;

fn document(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
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
