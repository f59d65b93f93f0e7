//! CalicoNodeStatus objects in a real etcd, answered by running daemons.

use std::time::Duration;

use pipit_testbed::calico::{Store, etcd_key, etcd_value, resource};
use pipit_testbed::etcd::Etcd;
use pipit_testbed::mesh::{CHANGE, Mesh};
use pipit_testbed::speaker::Source;
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

/// A period of one second, and what writing may take.
const PERIOD: Duration = Duration::from_secs(5);

fn mesh(count: usize) -> Mesh<Etcd> {
    let rack = Rack::new(Plan::default(), count);
    let etcd = Etcd::start(rack.node(1));
    let source = Source::Etcd(etcd.endpoint().to_owned());
    let mut mesh = Mesh::prepare(rack, etcd, source);
    mesh.start();
    mesh
}

fn ask(mesh: &mut Mesh<Etcd>, name: &str, node: &str, classes: &[&str], period: u32) {
    let spec = json!({"node": node, "classes": classes, "updatePeriodSeconds": period});
    mesh.store.apply(&resource("CalicoNodeStatus", name, spec));
}

fn object(mesh: &Mesh<Etcd>, name: &str) -> Value {
    let key = etcd_key("CalicoNodeStatus", name);
    let text = mesh.store.ctl(&["get", "--print-value-only", "--", &key]);
    serde_json::from_str(&text).unwrap_or_default()
}

/// When the object was last written.
fn revision(mesh: &Mesh<Etcd>, name: &str) -> i64 {
    let key = etcd_key("CalicoNodeStatus", name);
    let text = mesh.store.ctl(&["get", "-w", "json", "--", &key]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["kvs"][0]["mod_revision"].as_i64().unwrap()
}

fn until(mesh: &Mesh<Etcd>, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, PERIOD, || object(mesh, name), is_so);
    object(mesh, name)
}

fn has_route(object: &Value, destination: &str) -> bool {
    let routes = object["status"]["routes"]["routesV4"].as_array();
    routes.is_some_and(|routes| routes.iter().any(|route| route["destination"] == destination))
}

#[test]
fn c220_c221_c222_all_that_is_asked_for_is_answered_and_nothing_else_is_touched() {
    let mut mesh = mesh(2);
    let mut asked = resource(
        "CalicoNodeStatus",
        "all",
        json!({"node": "n1", "classes": ["Agent", "BGP", "Routes"], "updatePeriodSeconds": 1, "future": [1, 2.5]}),
    );
    asked["metadata"]["labels"] = json!({"team": "net"});
    mesh.store.apply(&asked);
    let stored: Value = serde_json::from_str(&etcd_value(&asked)).unwrap();
    let answered = until(&mesh, "all", "an answer", |object| object["status"].is_object());
    assert_eq!(answered["spec"], stored["spec"]);
    assert_eq!(answered["metadata"], stored["metadata"]);
    let bgp = &answered["status"]["bgp"];
    assert_eq!(
        (&bgp["numberEstablishedV4"], &bgp["numberNotEstablishedV4"]),
        (&json!(1), &json!(0))
    );
    let found = &bgp["peersV4"][0];
    let address = mesh.rack.node(2).addresses[0].addr().to_string();
    assert_eq!(
        (&found["peerIP"], &found["type"]),
        (&json!(address), &json!("NodeMesh"))
    );
    assert_eq!(found["state"], "Established");
    let agent = &answered["status"]["agent"];
    let own = mesh.rack.node(1).addresses[0].addr().to_string();
    assert_eq!(
        (&agent["birdV4"]["state"], &agent["birdV4"]["routerID"]),
        (&json!("Ready"), &json!(own))
    );
    assert_eq!(agent["birdV6"], json!({"state": "NotReady"}));
    let routes = answered["status"]["routes"]["routesV4"].as_array().unwrap();
    let of = |net: ipnet::Ipv4Net| {
        routes
            .iter()
            .find(|route| route["destination"] == net.to_string())
            .unwrap()
    };
    let block = of(mesh.rack.plan.block4(1));
    assert_eq!(
        (&block["type"], &block["interface"]),
        (&json!("FIB"), &json!("blackhole"))
    );
    assert_eq!(
        (&block["gateway"], &block["learnedFrom"]),
        (&json!("N/A"), &json!({"sourceType": "Static"}))
    );
    let remote = of(mesh.rack.plan.block4(2));
    assert_eq!(remote["gateway"], address);
    assert_eq!(
        remote["learnedFrom"],
        json!({"sourceType": "NodeMesh", "peerIP": address})
    );
    assert!(
        remote["interface"]
            .as_str()
            .is_some_and(|name| !name.is_empty() && name != "unreachable")
    );
}

#[test]
fn c223_c224_c226_once_periodically_when_the_request_changes_and_for_this_node_only() {
    let mut mesh = mesh(2);
    ask(&mut mesh, "once", "n1", &["Routes"], 0);
    ask(&mut mesh, "often", "n1", &["Routes"], 1);
    ask(&mut mesh, "peers", "n1", &["BGP"], 1);
    ask(&mut mesh, "other", "n3", &["BGP"], 1);
    for name in ["once", "often", "peers"] {
        until(&mesh, name, "an answer", |object| object["status"].is_object());
    }
    let before = [revision(&mesh, "once"), revision(&mesh, "peers")];
    let block = "10.65.77.0/26";
    mesh.assign(1, block.parse().unwrap());
    until(&mesh, "often", "the new block", |object| has_route(object, block));
    assert!(!has_route(&object(&mesh, "once"), block));
    assert_eq!(
        before,
        [revision(&mesh, "once"), revision(&mesh, "peers")],
        "no news, no writing"
    );
    assert_eq!(object(&mesh, "other")["status"], Value::Null);

    ask(&mut mesh, "once", "n1", &["Routes", "BGP"], 0);
    let changed = until(&mesh, "once", "the other answer", |object| {
        has_route(object, block)
    });
    assert_eq!(changed["status"]["bgp"]["numberEstablishedV4"], 1);
    // What is deleted stays deleted, although its next period begins.
    mesh.store.delete("CalicoNodeStatus", "peers");
    let second = "10.65.78.0/26";
    mesh.assign(1, second.parse().unwrap());
    until(&mesh, "often", "the second block", |object| {
        has_route(object, second)
    });
    assert_eq!(object(&mesh, "peers"), Value::Null);
}

#[test]
fn a_request_that_cannot_be_read_is_a_problem_by_name() {
    let mut mesh = mesh(2);
    let spec = json!({"node": "n1", "classes": ["BGP"]});
    mesh.store.apply(&resource("CalicoNodeStatus", "timeless", spec));
    let problems = || {
        let output = mesh.daemons[0].pipit(&["-o", "json", "peers"]).stdout;
        String::from_utf8(output).unwrap()
    };
    wait::until("the problem", CHANGE, problems, |text| {
        text.contains("CalicoNodeStatus/timeless") && text.contains("updatePeriodSeconds")
    });
}
