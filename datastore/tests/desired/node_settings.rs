//! Router id, AS, families, listening, log severity.

use pipit_datastore::desired::{Environment, NoPlan, desired};
use pipit_datastore::plan::{self, PlanError};
use serde_json::json;

use crate::support::{default, items, json as at, names, names6, object, plan_for, plan_n1, problems};

const V6_ONLY: &str = "{bgp: {ipv6Address: 'fd31:1::11/64'}}";

fn router_id(spec: &str, value: Option<&str>) -> String {
    let environment = Environment {
        router_id: value.map(str::to_owned),
        ..Environment::default()
    };
    let node = object("Node", "n1", spec);
    plan_for("n1", &[node], &environment).router_id.to_string()
}

#[test]
fn c027_without_the_own_node_there_is_no_plan() {
    let missing = plan::plan(items(&[]), "n9", &Environment::default());
    assert_eq!(
        missing,
        Err(PlanError::NoPlan(NoPlan::NoSuchNode { node: "n9".into() }))
    );
    let broken = object("Node", "n1", "{bgp: {ipv4Address: 10.0.0.300/24}}");
    let unreadable = plan::plan(items(&[broken]), "n1", &Environment::default()).unwrap_err();
    assert!(
        unreadable.to_string().contains("spec.bgp.ipv4Address"),
        "{unreadable}"
    );
    let empty = pipit_datastore::cache::Cache::new();
    assert_eq!(
        desired(&empty, "n1", &Environment::default()),
        Err(NoPlan::NotReady)
    );
}

#[test]
fn c028_c029_c030_router_id() {
    assert_eq!(
        router_id("{bgp: {ipv4Address: 172.31.1.11/24}}", None),
        "172.31.1.11"
    );
    assert_eq!(
        router_id("{bgp: {ipv4Address: 172.31.1.11/24}}", Some("1.2.3.4")),
        "1.2.3.4"
    );
    let hashed = router_id("{bgp: {ipv4Address: 172.31.1.11/24}}", Some("hash"));
    assert_ne!(hashed, "172.31.1.11");
    assert_eq!(
        router_id(V6_ONLY, None),
        hashed,
        "an IPv6-only node needs no setting"
    );
    let environment = Environment {
        router_id: Some("me".into()),
        ..Environment::default()
    };
    let nonsense = plan::plan(items(&[]), "n1", &environment).unwrap_err();
    assert!(nonsense.to_string().contains("CALICO_ROUTER_ID `me`"));
}

#[test]
fn c031_local_as_of_node_cluster_default() {
    let asn = |objects: &[String]| plan_n1(objects).local_asn.0;
    let node = object(
        "Node",
        "n1",
        "{bgp: {ipv4Address: 172.31.1.11/24, asNumber: 64701}}",
    );
    assert_eq!(asn(&[]), 64512);
    assert_eq!(asn(&[default("{asNumber: '1.10'}")]), 65546);
    assert_eq!(asn(&[default("{asNumber: 0}")]), 64512);
    assert_eq!(asn(&[default("{asNumber: 64600}"), node]), 64701);
}

#[test]
fn c032_a_family_without_an_address_has_no_sessions_but_everything_else() {
    let filter = object(
        "BGPFilter",
        "f",
        "{importV4: [{action: Accept}], importV6: [{action: Accept}]}",
    );
    let plan = plan_n1(&[object("Node", "n1", V6_ONLY), filter]);
    assert_eq!(names(&plan), [""; 0]);
    assert_eq!(names6(&plan).len(), 2);
    assert_eq!(at(&plan, "/ipv4/enabled"), json!(false));
    assert_eq!(at(&plan, "/ipv4/listen"), json!(null));
    assert_eq!(at(&plan, "/ipv4/filters"), json!({}));
    assert_eq!(at(&plan, "/ipv6/filters").as_object().unwrap().len(), 1);
    assert_eq!(at(&plan, "/ipv4/export").as_array().unwrap().len(), 6);
}

#[test]
fn c033_listen_port_of_node_cluster_default() {
    let port = |objects: &[String]| at(&plan_n1(objects), "/ipv4/listen/port");
    let own = object("BGPConfiguration", "node.n1", "{listenPort: 1791}");
    assert_eq!(port(&[]), json!(179));
    assert_eq!(port(&[default("{listenPort: 1790}")]), json!(1790));
    assert_eq!(port(&[default("{listenPort: 1790}"), own]), json!(1791));
}

#[test]
fn c034_bind_mode_node_ip() {
    let plan = plan_n1(&[default("{bindMode: NodeIP}")]);
    assert_eq!(at(&plan, "/ipv4/listen/address"), json!("172.31.1.11"));
    assert_eq!(at(&plan, "/ipv6/listen/address"), json!("fd31:1::11"));
    assert_eq!(at(&plan_n1(&[]), "/ipv4/listen/address"), json!(null));
}

#[test]
fn c035_a_node_overrides_only_severity_port_and_advertisements() {
    let own = "{logSeverityScreen: DEBUG, listenPort: 1791, asNumber: 1, bindMode: NodeIP, \
               nodeToNodeMeshEnabled: false, ipv4NormalRoutePriority: 5}";
    let plan = plan_n1(&[object("BGPConfiguration", "node.n1", own)]);
    assert_eq!(at(&plan, "/log_severity"), json!("debug"));
    assert_eq!(plan.local_asn.0, 64512);
    assert_eq!(names(&plan).len(), 2);
    assert_eq!(at(&plan, "/ipv4/normal_priority"), json!(1024));
    assert_eq!(at(&plan, "/ipv4/listen/address"), json!(null));
}

#[test]
fn c016_other_names_of_bgp_configuration_are_ignored() {
    let plan = plan_n1(&[object(
        "BGPConfiguration",
        "mine",
        "{nodeToNodeMeshEnabled: false}",
    )]);
    assert_eq!(names(&plan).len(), 2);
    assert_eq!(problems(&plan), [""; 0]);
}

#[test]
fn c036_without_a_bgp_configuration_everything_has_its_default() {
    assert_eq!(plan_n1(&[]), plan_n1(&[default("{}")]));
}

#[test]
fn c121_normal_priority_by_family() {
    let plan = plan_n1(&[default("{ipv6NormalRoutePriority: 512}")]);
    assert_eq!(at(&plan, "/ipv4/normal_priority"), json!(1024));
    assert_eq!(at(&plan, "/ipv6/normal_priority"), json!(512));
}

#[test]
fn c180_ignored_interfaces_come_before_the_built_in_ones() {
    let plan = plan_n1(&[default("{ignoredInterfaces: [docker0, 'br-*']}")]);
    let expected = json!(["docker0", "br-*", "cali*", "kube-ipvs*"]);
    assert_eq!(at(&plan, "/ipv4/ignored_interfaces"), expected);
}
