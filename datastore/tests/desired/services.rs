//! Service ranges and addresses.

use pipit_datastore::desired::{DesiredState, Environment};
use serde_json::{Value, json};

use crate::support::{default, json as at, plan_for, plan_n1, problems};

const RANGES: &str = "serviceClusterIPs: [{cidr: 10.96.0.0/12}, {}], serviceExternalIPs: [{cidr: 203.0.113.0/24}, \
    {cidr: 198.51.100.7/32}], serviceLoadBalancerIPs: [{cidr: 192.0.2.0/25}, {cidr: 192.0.2.200/32}, {cidr: 'fd0b::/64'}]";

fn ranges() -> String {
    default(&format!("{{{RANGES}}}"))
}

fn disaggregated() -> String {
    default(&format!("{{{RANGES}, serviceLoadBalancerAggregation: Disabled}}"))
}

fn service(name: &str, spec: &str, ingress: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {spec}, \
         status: {{loadBalancer: {{ingress: [{ingress}]}}}}}}"
    )
}

fn slice(service: &str, family: &str, endpoint: &str) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {service}-x, labels: \
         {{kubernetes.io/service-name: {service}}}}}, addressType: {family}, endpoints: [{endpoint}]}}"
    )
}

/// Single addresses that are advertised.
fn hosts(plan: &DesiredState) -> Vec<String> {
    let all = |family: &str| -> Vec<Value> {
        at(plan, &format!("/{family}/blackholes"))
            .as_array()
            .unwrap()
            .clone()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let is_host = |text: &String| text.ends_with("/32") || text.ends_with("/128");
    all("ipv4")
        .iter()
        .chain(&all("ipv6"))
        .map(text)
        .filter(is_host)
        .collect()
}

#[test]
fn c182_c183_ranges_are_advertised_single_addresses_are_not() {
    let plan = plan_n1(&[ranges()]);
    let expected = json!(["10.96.0.0/12", "192.0.2.0/25", "203.0.113.0/24"]);
    assert_eq!(at(&plan, "/ipv4/blackholes"), expected);
    assert_eq!(at(&plan, "/ipv6/blackholes"), json!(["fd0b::/64"]));
    assert_eq!(
        at(&plan, "/ipv4/kernel/skip_services"),
        json!([
            "10.96.0.0/12",
            "192.0.2.0/25",
            "192.0.2.200/32",
            "198.51.100.7/32",
            "203.0.113.0/24"
        ])
    );
}

#[test]
fn c184_without_aggregation_load_balancers_are_advertised_one_by_one() {
    let spec = "{type: LoadBalancer, clusterIP: 10.96.0.5}";
    let plan = plan_n1(&[disaggregated(), service("s", spec, "{ip: 192.0.2.5}")]);
    assert_eq!(
        at(&plan, "/ipv4/blackholes"),
        json!(["10.96.0.0/12", "203.0.113.0/24"])
    );
    let ready = slice("s", "IPv4", "{nodeName: n3}");
    let plan = plan_n1(&[disaggregated(), service("s", spec, "{ip: 192.0.2.5}"), ready]);
    assert_eq!(hosts(&plan), ["10.96.0.5/32", "192.0.2.5/32"]);
    assert_eq!(
        at(&plan, "/ipv4/kernel/skip_services").as_array().unwrap().len(),
        5
    );
}

#[test]
fn c185_local_policy_needs_a_ready_endpoint_on_this_node() {
    let local = service("s", "{clusterIP: 10.96.0.5, externalTrafficPolicy: Local}", "");
    let with = |endpoint: &str| hosts(&plan_n1(&[ranges(), local.clone(), slice("s", "IPv4", endpoint)]));
    assert_eq!(with("{nodeName: n1}"), ["10.96.0.5/32"], "missing Ready is ready");
    assert_eq!(
        with("{nodeName: n1, conditions: {ready: true}}"),
        ["10.96.0.5/32"]
    );
    assert_eq!(with("{nodeName: n1, conditions: {ready: false}}"), [""; 0]);
    assert_eq!(with("{nodeName: n2}"), [""; 0]);
    let other_family = slice("s", "IPv6", "{nodeName: n1}");
    assert_eq!(hosts(&plan_n1(&[ranges(), local.clone(), other_family])), [""; 0]);
    let other_name = Environment {
        k8s_node_ref: Some("host-1".into()),
        ..Environment::default()
    };
    let objects = [ranges(), local, slice("s", "IPv4", "{nodeName: host-1}")];
    assert_eq!(hosts(&plan_for("n1", &objects, &other_name)), ["10.96.0.5/32"]);
}

#[test]
fn c186_a_single_address_entry_is_advertised_from_every_node() {
    let by_ingress = service(
        "s",
        "{type: LoadBalancer, clusterIP: 10.96.0.5}",
        "{ip: 192.0.2.200}",
    );
    assert_eq!(
        hosts(&plan_n1(&[ranges(), by_ingress])),
        ["10.96.0.5/32", "192.0.2.200/32"]
    );
    let by_request = service(
        "s",
        "{type: LoadBalancer, clusterIP: 10.96.0.5, loadBalancerIP: 192.0.2.200}",
        "",
    );
    assert_eq!(
        hosts(&plan_n1(&[ranges(), by_request])),
        ["10.96.0.5/32"],
        "asked for, not yet given"
    );
    let by_external = service(
        "s",
        "{clusterIP: 10.96.0.5, externalIPs: [198.51.100.7, 203.0.113.9, 8.8.8.8]}",
        "",
    );
    let expected = ["10.96.0.5/32", "198.51.100.7/32", "203.0.113.9/32"];
    assert_eq!(hosts(&plan_n1(&[ranges(), by_external])), expected);
    let not_balanced = service("s", "{type: NodePort, clusterIP: 10.96.0.5}", "{ip: 192.0.2.200}");
    assert_eq!(hosts(&plan_n1(&[ranges(), not_balanced])), [""; 0]);
}

#[test]
fn c188_all_cluster_ips_of_an_advertised_service_also_outside_the_ranges() {
    let spec = "{clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5, 'fd0c::5', 100.64.0.1/32], externalTrafficPolicy: Local}";
    let objects = [
        ranges(),
        service("s", spec, ""),
        slice("s", "IPv4", "{nodeName: n1}"),
    ];
    assert_eq!(hosts(&plan_n1(&objects)), ["10.96.0.5/32", "fd0c::5/128"]);
    let no_cluster_range = default("{serviceLoadBalancerIPs: [{cidr: 192.0.2.0/25}]}");
    let objects = [
        no_cluster_range,
        service("s", spec, ""),
        slice("s", "IPv4", "{nodeName: n1}"),
    ];
    assert_eq!(hosts(&plan_n1(&objects)), [""; 0]);
}

#[test]
fn c187_external_and_load_balancer_ips_only_inside_their_ranges() {
    let spec =
        "{type: LoadBalancer, clusterIP: 10.96.0.5, externalTrafficPolicy: Local, externalIPs: [192.0.2.7]}";
    let ingress = "{ip: 192.0.2.8}, {ip: 203.0.113.9}, {hostname: x}, {ip: 192.0.2.9/32}";
    let objects = [
        ranges(),
        service("s", spec, ingress),
        slice("s", "IPv4", "{nodeName: n1}"),
    ];
    let plan = plan_n1(&objects);
    assert_eq!(hosts(&plan), ["10.96.0.5/32", "192.0.2.8/32"]);
    assert_eq!(problems(&plan), [""; 0]);
}

#[test]
fn c189_headless_and_external_name_services_never() {
    for spec in [
        "{clusterIP: None, externalIPs: [198.51.100.7]}",
        "{type: ExternalName, clusterIP: 10.96.0.5, externalIPs: [198.51.100.7]}",
        "{externalIPs: [198.51.100.7]}",
    ] {
        assert_eq!(
            hosts(&plan_n1(&[ranges(), service("s", spec, "")])),
            [""; 0],
            "{spec}"
        );
    }
}

#[test]
fn c191_an_excluded_node_advertises_nothing_and_still_skips_the_kernel() {
    let excluded = |value: &str| {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: Node, metadata: {{name: n1, labels: \
             {{node.kubernetes.io/exclude-from-external-load-balancers: {value}}}}}, \
             spec: {{bgp: {{ipv4Address: 172.31.1.11/24}}}}}}"
        )
    };
    let plan = plan_n1(&[ranges(), excluded("'true'")]);
    assert_eq!(at(&plan, "/ipv4/blackholes"), json!([]));
    assert_eq!(
        at(&plan, "/ipv4/kernel/skip_services").as_array().unwrap().len(),
        5
    );
    let plan = plan_n1(&[ranges(), excluded("'false'")]);
    assert_eq!(at(&plan, "/ipv4/blackholes").as_array().unwrap().len(), 3);
}

#[test]
fn c193_the_environment_replaces_the_cluster_ips() {
    let with = |value: &str| Environment {
        advertise_cluster_ips: Some(value.into()),
        ..Environment::default()
    };
    let plan = plan_for("n1", &[ranges()], &with("10.32.0.0/16"));
    assert_eq!(
        at(&plan, "/ipv4/blackholes"),
        json!(["10.32.0.0/16", "192.0.2.0/25", "203.0.113.0/24"])
    );
    assert!(
        !at(&plan, "/ipv4/kernel/skip_services")
            .to_string()
            .contains("10.96")
    );
    let plan = plan_for("n1", &[ranges()], &with("everything"));
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("CALICO_ADVERTISE_CLUSTER_IPS"))
    );
}

#[test]
fn c194_an_address_on_two_services_is_withdrawn_with_the_last() {
    let spec = "{clusterIP: 10.96.0.5, externalIPs: [198.51.100.7]}";
    let both = [ranges(), service("a", spec, ""), service("b", spec, "")];
    assert_eq!(hosts(&plan_n1(&both)), hosts(&plan_n1(&both[..2])));
    assert_eq!(hosts(&plan_n1(&both[..1])), [""; 0]);
}

#[test]
fn c196_without_ranges_nothing_is_advertised() {
    let local = service("s", "{clusterIP: 10.96.0.5, externalTrafficPolicy: Local}", "");
    let plan = plan_n1(&[local, slice("s", "IPv4", "{nodeName: n1}")]);
    assert_eq!(at(&plan, "/ipv4/blackholes"), json!([]));
    assert_eq!(at(&plan, "/ipv4/kernel/skip_services"), json!([]));
}
