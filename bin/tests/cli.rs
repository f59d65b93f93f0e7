//! The built programs, as a shell sees them.

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod fake_daemon;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fake_daemon::{FakeApi, FakeDaemon, Trouble};
use serde_json::Value;

fn pipit(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipit"));
    command.arg("--socket").arg(socket).env_remove("PIPIT_SOCKET");
    command
}

/// Exit code, standard output, standard error.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn run(socket: &Path, words: &str) -> (i32, String, String) {
    read(pipit(socket).args(words.split_whitespace()).output().unwrap())
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn read(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Runs and expects success and silence on stderr.
fn stdout(daemon: &FakeDaemon, words: &str) -> String {
    let (code, out, err) = run(&daemon.socket, words);
    assert_eq!((code, err.as_str()), (0, ""), "{words}");
    out
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn json(daemon: &FakeDaemon, words: &str) -> Value {
    serde_json::from_str(&stdout(daemon, words)).unwrap()
}

fn start(route_count: u32) -> FakeDaemon {
    FakeDaemon::start(FakeApi {
        route_count,
        ..FakeApi::default()
    })
}

#[test]
fn no_daemon_is_exit_3_and_names_the_socket_and_the_way_out() {
    let socket = Path::new("/nonexistent/pipit.sock");
    for words in ["peers", "peer x", "routes", "fib"] {
        let (code, out, err) = run(socket, words);
        assert_eq!((code, out.as_str()), (3, ""), "{words}");
        assert!(
            err.contains("cannot reach pipitd at /nonexistent/pipit.sock: No such file"),
            "{err}"
        );
        assert!(
            err.contains("--socket") && err.contains("systemctl start pipitd"),
            "{err}"
        );
    }
    let by_env = Command::new(env!("CARGO_BIN_EXE_pipit"))
        .arg("fib")
        .env("PIPIT_SOCKET", "/env.sock")
        .output();
    assert!(read(by_env.unwrap()).2.contains("/env.sock"));
}

#[test]
fn a_socket_nobody_listens_on_is_exit_3() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("pipit.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let (code, _, err) = run(&socket, "peers");
    assert_eq!(code, 3);
    assert!(err.contains("Connection refused"), "{err}");
}

#[test]
fn wrong_usage_is_exit_2_before_the_daemon_is_asked() {
    let nowhere = Path::new("/nonexistent/pipit.sock");
    for words in [
        "",
        "colour",
        "peers -o xml",
        "routes below 10.0.0.0/8",
        "routes 10.0.0.1/24",
        "routes -6 10.0.0.0/8",
    ] {
        let (code, out, err) = run(nowhere, words);
        assert_eq!((code, out.as_str()), (2, ""), "{words}: {err}");
    }
    assert!(
        run(nowhere, "routes 10.0.0.1/24")
            .2
            .contains("did you mean 10.0.0.0/24")
    );
}

#[test]
fn what_does_not_exist_is_exit_4() {
    let daemon = start(10);
    let check = |words: &str, expected: &str| {
        let (code, _, err) = run(&daemon.socket, words);
        assert_eq!(code, 4, "{words}");
        assert!(err.contains(expected), "{words}: {err}");
    };
    check("peer Mesh_1_2_3_4", "no peer is named Mesh_1_2_3_4");
    check("routes 192.0.2.0/24", "no route for exactly 192.0.2.0/24");
    check("routes for 192.0.2.1", "no route to 192.0.2.1");
    let (code, out, _) = run(&daemon.socket, "-o json routes 192.0.2.0/24");
    assert_eq!(
        (
            code,
            serde_json::from_str::<Value>(&out).unwrap()["items"]
                .as_array()
                .unwrap()
                .len()
        ),
        (4, 0)
    );
    assert_eq!(
        stdout(&daemon, "routes in 192.0.2.0/24 --no-headers"),
        "",
        "a listing may be empty"
    );
}

#[test]
fn peers_are_a_table_with_the_daemon_below() {
    let daemon = start(0);
    let text = stdout(&daemon, "show peers");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "NAME",
            "ADDRESS",
            "KIND",
            "AS",
            "STATE",
            "SINCE",
            "RECEIVED",
            "SENT",
            "LAST-ERROR"
        ]
    );
    assert_eq!(
        lines[1][..5],
        ["Mesh_172_18_0_2", "172.18.0.2", "mesh", "64512", "Established"]
    );
    assert_eq!(lines[1][6..], ["1", "1", "-"]);
    assert_eq!(lines[2][6..], ["0", "0", "connection", "refused"]);
    assert!(
        text.contains("\nPeers: 1 of 2 established, 1 problem:\n  BGPPeer/rack: asNumber is missing\n"),
        "{text}"
    );
    assert_eq!(
        stdout(&daemon, "peers --no-headers").lines().count(),
        2,
        "for scripts: peers only"
    );
    assert_eq!(
        stdout(&daemon, "peers -o name"),
        "Mesh_172_18_0_2\nMesh_172_18_0_3\n"
    );
}

#[test]
fn json_is_one_document_of_a_stable_shape() {
    let daemon = start(1000);
    let peers = json(&daemon, "peers -j");
    assert_eq!(
        (&peers["apiVersion"], &peers["kind"]),
        (&"pipit/v1".into(), &"PeerList".into())
    );
    for (name, value) in [
        ("name", Value::from("Mesh_172_18_0_2")),
        ("address", "172.18.0.2".into()),
        ("port", 179.into()),
        ("remote_as", 64512.into()),
        ("local_as", 64512.into()),
        ("state", "Established".into()),
        ("kind", "mesh".into()),
        ("since", "2026-11-23T10:00:00Z".into()),
        ("last_error", Value::Null),
        ("families", vec!["ipv4"].into()),
    ] {
        assert_eq!(peers["items"][0][name], value, "{name}");
    }
    assert_eq!(peers["daemon"]["node_name"], "node-1");
    assert_eq!(peers["problems"][0]["resource"], "BGPPeer/rack");

    let routes = json(&daemon, "-o json routes");
    assert_eq!(
        (&routes["kind"], routes["items"].as_array().unwrap().len()),
        (&"RouteList".into(), 1000)
    );
    assert_eq!(routes["items"][0]["prefix"], "10.0.0.0/32");
    assert_eq!(routes["items"][0]["best"], true);
    assert_eq!(routes["items"][0]["as_path"], serde_json::json!([64513, [1, 2]]));

    let fib = json(&daemon, "fib -o json");
    assert_eq!(
        (&fib["kind"], &fib["items"][1]["kind"]),
        (&"FibList".into(), &"blackhole".into())
    );
    assert_eq!(fib["items"][0]["next_hops"][0]["gateway"], "172.18.0.3");
    assert_eq!(
        (&fib["items"][0]["protocol"], &fib["items"][0]["device"]),
        (&12.into(), &"eth0".into())
    );
    assert_eq!(json(&daemon, "fib -6 -j")["items"].as_array().unwrap().len(), 1);

    let lines = stdout(&daemon, "routes -o jsonl");
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(
        (lines.lines().count(), &last["prefix"]),
        (1000, &"10.0.3.231/32".into())
    );
    assert_eq!(
        json(&start(0), "routes -j")["items"],
        serde_json::json!([]),
        "no routes are still a document"
    );
}

#[test]
fn one_route_and_one_peer_in_full() {
    let daemon = start(10);
    let text = stdout(&daemon, "routes for 10.0.0.3");
    assert!(text.starts_with("PREFIX       BEST  NEXT-HOP    PEER"), "{text}");
    assert!(
        text.contains("10.0.0.3/32  *     172.18.0.2  Mesh_172_18_0_2  64513 {1,2}  100"),
        "{text}"
    );
    let text = stdout(&daemon, "peer 172.18.0.3");
    assert!(text.contains("Name:                Mesh_172_18_0_3\n"), "{text}");
    assert!(
        text.contains("Last error:          connection refused\n"),
        "{text}"
    );
    assert!(
        text.contains("Last error received: bad peer AS (2/2)\n"),
        "{text}"
    );
    let messages =
        "Messages sent:       1 OPEN, 0 UPDATE, 0 NOTIFICATION, 2 KEEPALIVE, 0 ROUTE-REFRESH; 91 octets\n";
    assert!(text.contains(messages), "{text}");
    let document: serde_json::Value =
        serde_json::from_str(&stdout(&daemon, "peer 172.18.0.3 -o json")).unwrap();
    let peer = &document["items"][0];
    assert_eq!(peer["last_error_received"], "bad peer AS (2/2)");
    assert_eq!(peer["messages_sent"]["keepalive"], 2);
    assert_eq!(peer["messages_received"]["octets"], 0);
}

#[test]
fn check_tells_a_degraded_node_by_exit_6() {
    assert_eq!(run(&start(0).socket, "status --check").0, 6);
    let healthy = FakeDaemon::start(FakeApi {
        is_healthy: true,
        ..FakeApi::default()
    });
    assert_eq!(run(&healthy.socket, "status --check").0, 0);
    assert_eq!(
        run(&start(0).socket, "status").0,
        0,
        "without the flag the question was answered"
    );
}

#[test]
fn a_closed_pipe_is_success() {
    let daemon = start(500_000);
    for format in ["table", "json", "jsonl", "name"] {
        let mut command = pipit(&daemon.socket);
        let mut child = command
            .args(["routes", "-o", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        assert!(!first.is_empty());
        let mut complaint = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut complaint)
            .unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), complaint.as_str()),
            (Some(0), ""),
            "{format}"
        );
    }
}

#[test]
fn a_list_that_is_cut_off_is_shown_and_is_exit_1() {
    let daemon = FakeDaemon::start(FakeApi {
        route_count: 1000,
        trouble: Trouble::GoneAt(2),
        ..FakeApi::default()
    });
    let (code, out, err) = run(&daemon.socket, "routes --no-headers");
    assert_eq!((code, out.lines().count()), (1, 512));
    assert!(err.contains("ended its answer early"), "{err}");
}

#[test]
fn the_daemon_says_what_contradicts_itself_and_which_right_it_lacks() {
    let pipitd = env!("CARGO_BIN_EXE_pipitd");
    let clean = |program: &str| {
        let mut command = Command::new(program);
        command.env_clear();
        command
    };
    let wrong = clean(pipitd)
        .args(["--node-name", "a", "--datastore", "etcd"])
        .output()
        .unwrap();
    let (code, _, err) = read(wrong);
    assert_eq!(code, 2);
    assert!(err.contains("--etcd-endpoints"), "{err}");

    // Root loses the right by the bounding set; everybody else has not got it.
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if is_root {
        clean("/usr/bin/setpriv")
    } else {
        clean(pipitd)
    };
    if is_root {
        command.args(["--bounding-set", "-net_admin", pipitd]);
    }
    let (code, _, err) = read(
        command
            .args(["--node-name", "a", "--datastore-path", "/x"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 1, "{err}");
    assert!(err.starts_with("pipitd: pipitd needs CAP_NET_ADMIN"), "{err}");
}

/// Two nodes; one of the two BGPPeers says no AS of the other side, which cannot be read.
const RESOURCES: &str = "\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node-1}
spec: {bgp: {ipv4Address: 172.18.0.1/24}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node-2}
spec: {bgp: {ipv4Address: 172.18.0.2/24}}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: rack}
spec: {peerIP: 172.18.0.254, asNumber: many}
";

/// A program with only these arguments and variables.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn offline(arguments: &[&str]) -> (i32, String, String) {
    read(
        Command::new(env!("CARGO_BIN_EXE_pipit"))
            .env_clear()
            .args(arguments)
            .output()
            .unwrap(),
    )
}

#[test]
fn plan_and_check_need_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.yaml"), RESOURCES).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not: [yaml").unwrap();
    let path = folder.path().to_str().unwrap();

    let (code, out, err) = offline(&["plan", "--node", "node-1", "--from", path, "-o", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let plan: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&plan["node"], &plan["router_id"]),
        (&"node-1".into(), &"172.18.0.1".into())
    );
    assert_eq!(plan["ipv4"]["peers"][0]["name"], "Mesh_172_18_0_2");
    assert_eq!(plan["problems"][0]["resource"], "BGPPeer/rack");
    let (code, out, _) = offline(&["plan", "--node", "node-1", "--from", path, "-o", "text"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("BGPPeer/rack") && out.contains("Mesh_172_18_0_2"),
        "{out}"
    );

    let (code, out, err) = offline(&["check", path]);
    assert_eq!(
        (code, err.as_str(), out.lines().count()),
        (1, "", 2),
        "each problem once: {out}"
    );
    assert!(
        out.starts_with("RESOURCE      FIELD          MESSAGE\nBGPPeer/rack  spec.asNumber  "),
        "{out}"
    );
    let (code, out, _) = offline(&["check", path, "-j"]);
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &list["kind"], &list["items"][0]["field"]),
        (1, &"ProblemList".into(), &"spec.asNumber".into())
    );
    std::fs::write(folder.path().join("all.yaml"), RESOURCES.replace("many", "64513")).unwrap();
    assert_eq!(offline(&["check", path]).0, 0);
}

#[test]
fn check_needs_no_node_to_see_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("parts.yaml");
    let check = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let (code, out, err) = offline(&[&["check", file.to_str().unwrap(), "-j"], more].concat());
        let list: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
        let problem = |item: &Value| format!("{} {}", item["resource"], item["field"]).replace('"', "");
        let items = list["items"].as_array().unwrap();
        (code, items.iter().map(problem).collect::<Vec<_>>())
    };
    let object =
        |kind: &str, rest: &str| format!("{{apiVersion: projectcalico.org/v3, kind: {kind}, {rest}}}\n---\n");
    let filter = object(
        "BGPFilter",
        "metadata: {name: f}, spec: {importV6: [{action: Drop}]}",
    );
    assert_eq!(
        check(&filter, &[]),
        (1, vec!["BGPFilter/f spec.importV6[0].action".into()])
    );
    let own = object(
        "BGPConfiguration",
        "metadata: {name: node.far}, spec: {logSeverityScreen: Loud, asNumber: x}",
    );
    assert_eq!(
        check(&own, &[]),
        (1, vec!["BGPConfiguration/node.far spec.logSeverityScreen".into()])
    );
    let pools = object("IPPool", "metadata: {name: a}, spec: {cidr: 10.1.2.3/16}")
        + &object("IPPool", "metadata: {name: b}, spec: {cidr: 10.1.0.0/16}");
    assert_eq!(check(&pools, &[]), (1, vec!["IPPool/b spec.cidr".into()]));
    let node = object("Node", "metadata: {name: n}, spec: {bgp: {ipv4Address: nowhere}}")
        + &object("BlockAffinity", "metadata: {name: n-1}, spec: {node: n, cidr: x}")
        + &object("BlockAffinity", "metadata: {name: m-1}, spec: {node: m, cidr: x}");
    let (address, block) = ("Node/n spec.bgp.ipv4Address", "BlockAffinity/n-1 spec.cidr");
    assert_eq!(
        check(&node, &[]),
        (
            1,
            ["BlockAffinity/m-1 spec.cidr", block, address]
                .map(str::to_owned)
                .to_vec()
        )
    );
    assert_eq!(
        check(&node, &["--node", "n"]),
        (1, [block, address].map(str::to_owned).to_vec())
    );
    // An object without a name is none, and would be missed by who wrote it.
    let (code, problems) = check(&object("IPPool", "spec: {cidr: 10.1.0.0/16}"), &[]);
    assert!(
        code == 1 && problems[0].contains("parts.yaml, document 1"),
        "{problems:?}"
    );
    assert_eq!(
        check(
            &object(
                "BGPFilter",
                "metadata: {name: f}, spec: {importV6: [{action: Reject}]}"
            ),
            &[]
        ),
        (0, Vec::new())
    );
}

#[test]
fn plan_and_check_take_the_passwords_that_the_daemon_would() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let file = file.to_str().unwrap();
    let secret = "password: {secretKeyRef: {name: bgp, key: rack}}, asNumber: 64513";
    std::fs::write(file, RESOURCES.replace("asNumber: many", secret)).unwrap();
    let secrets = folder.path().join("secrets");
    let secrets_dir = ["--secrets-dir", secrets.to_str().unwrap()];
    let peers = |more: &[&str]| {
        let plan = ["plan", "--node", "node-1", "--from", file, "-o", "json"];
        let (code, out, err) = offline(&[&plan[..], more].concat());
        assert!(!out.contains("hunter2") && !err.contains("hunter2"));
        let plan = serde_json::from_str::<Value>(&out).ok();
        let held = plan.map(|plan| {
            let peers = plan["ipv4"]["peers"].as_array().unwrap().clone();
            peers.iter().filter(|peer| !peer["held"].is_null()).count()
        });
        (code, held)
    };
    let check = |more: &[&str]| offline(&[&["check", file], more].concat()).0;
    assert_eq!((peers(&[]), check(&[])), ((0, Some(1)), 1));
    assert_eq!(
        (peers(&secrets_dir), check(&secrets_dir)),
        ((1, None), 1),
        "no such folder"
    );
    std::fs::create_dir_all(secrets.join("bgp")).unwrap();
    std::fs::write(secrets.join("bgp/rack"), "hunter2").unwrap();
    assert_eq!((peers(&secrets_dir), check(&secrets_dir)), ((0, Some(0)), 0));
    assert_eq!(
        peers(&["--diff", secrets_dir[0], secrets_dir[1]]).0,
        2,
        "the daemon's own count there"
    );
}

#[test]
fn where_no_plan_can_be_made_stdout_is_empty_and_the_exit_is_1() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str, node: &str, expected: &str| {
        let file = folder.path().join("all.yaml");
        std::fs::write(&file, text).unwrap();
        let (code, out, err) = offline(&[
            "plan",
            "--node",
            node,
            "--from",
            file.to_str().unwrap(),
            "-o",
            "json",
        ]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains(expected), "{err}");
    };
    check(RESOURCES, "node-3", "there is no Node node-3");
    check("kind: [", "node-1", "all.yaml");
    check(&RESOURCES.replace("172.18.0.1/24", "nowhere"), "node-1", "node-1");
    let (code, out, err) = offline(&["plan", "--node", "a", "--from", "/nonexistent"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("cannot read /nonexistent: No such file"), "{err}");
    // Port 9 (discard) of the loopback: refused at once.
    let (code, out, err) = offline(&[
        "plan",
        "--node",
        "a",
        "--from-etcd",
        "--etcd-endpoints",
        "http://127.0.0.1:9",
    ]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("etcd at http://127.0.0.1:9"), "{err}");
    for wrong in [
        &["plan", "--node", "a"][..],
        &["plan", "--from", "x", "--etcd-username", "u", "--node", "a"],
    ] {
        assert_eq!(offline(wrong).0, 2, "{wrong:?}");
    }
}

#[test]
fn what_is_held_back_is_released_by_a_command() {
    let daemon = start(0);
    let text = stdout(&daemon, "datastore release");
    assert_eq!(text, "3 deletions were held back and are acted on now\n");
    let document = json(&daemon, "-j datastore release");
    assert_eq!(
        (&document["kind"], &document["count"]),
        (&"Released".into(), &3.into())
    );
    // What the daemon cannot say is no empty answer, and without one there is nothing to compare with.
    let (code, out, err) = run(&daemon.socket, "plan --diff --from /nonexistent");
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.contains("the datastore does not answer"), "{err}");
    let (code, _, err) = run(Path::new("/nonexistent.sock"), "plan --diff --from /nonexistent");
    assert_eq!(code, 3, "{err}");
}
