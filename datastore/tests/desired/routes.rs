//! Own blocks, export policy, communities, kernel rules.

use pipit_datastore::desired::{DesiredState, Environment};
use serde_json::{Value, json};

use crate::support::{default, json as at, object, plan_for, plan_n1, problems};

fn block(name: &str, spec: &str) -> String {
    object("BlockAffinity", name, spec)
}

fn own(cidr: &str, state: &str) -> String {
    let name = cidr.replace(['.', '/', ':'], "-");
    block(
        &name,
        &format!("{{node: n1, cidr: '{cidr}', state: '{state}', type: host}}"),
    )
}

fn pool(name: &str, spec: &str) -> String {
    object("IPPool", name, spec)
}

/// The export rules of a family without those that every node has.
fn rules(plan: &DesiredState, family: &str) -> Vec<String> {
    let rules = at(plan, &format!("/{family}/export"));
    let show = |rule: &Value| {
        let cidr = rule.get("cidr")?.as_str().unwrap();
        Some(format!("{} {cidr}", rule["rule"].as_str().unwrap()))
    };
    rules.as_array().unwrap().iter().filter_map(show).collect()
}

#[test]
fn c098_c099_c104_c006_blocks_by_state() {
    let plan = plan_n1(&[
        own("10.65.2.0/26", "confirmed"),
        own("10.65.10.0/26", ""),
        own("10.65.3.0/26", "pending"),
        own("10.65.4.0/26", "pendingDeletion"),
        own("fd65::1:0/122", "confirmed"),
    ]);
    assert_eq!(
        at(&plan, "/ipv4/aggregates"),
        json!([{"block": "10.65.2.0/26", "state": "confirmed"},
               {"block": "10.65.4.0/26", "state": "pending_deletion"},
               {"block": "10.65.10.0/26", "state": "confirmed"}])
    );
    assert_eq!(
        at(&plan, "/ipv4/blackholes"),
        json!(["10.65.2.0/26", "10.65.4.0/26", "10.65.10.0/26"])
    );
    assert_eq!(at(&plan, "/ipv6/blackholes"), json!(["fd65::1:0/122"]));
}

#[test]
fn c102_a_block_of_one_address_has_no_blackhole() {
    let plan = plan_n1(&[own("10.65.2.7/32", "confirmed"), own("fd65::7/128", "confirmed")]);
    assert_eq!(at(&plan, "/ipv4/aggregates").as_array().unwrap().len(), 1);
    assert_eq!(at(&plan, "/ipv4/blackholes"), json!([]));
    assert_eq!(at(&plan, "/ipv6/blackholes"), json!([]));
}

#[test]
fn c105_blocks_of_others_and_deleted_or_virtual_ones_do_not_count() {
    let plan = plan_n1(&[
        block("a", "{node: n2, cidr: 10.65.2.0/26, state: confirmed}"),
        block(
            "b",
            "{node: n1, cidr: 10.65.3.0/26, state: confirmed, deleted: 'true'}",
        ),
        block(
            "c",
            "{node: n1, cidr: 10.65.4.0/26, state: confirmed, type: virtual}",
        ),
        block("d", "{node: n2, cidr: nowhere}"),
        block("e", "{node: n1, cidr: nowhere}"),
        block("f", "{node: n1, cidr: 10.65.5.0/26, state: lost}"),
    ]);
    assert_eq!(at(&plan, "/ipv4/aggregates"), json!([]));
    assert_eq!(
        problems(&plan),
        ["BlockAffinity/e spec.cidr", "BlockAffinity/f spec.state"]
    );
}

#[test]
fn u24_pod_cidrs_are_blocks_while_there_is_no_affinity() {
    let node = "{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: n1}, \
                spec: {bgp: {ipv4Address: 172.31.1.11/24}}, status: {podCIDRs: [10.244.3.0/24, 'fd44::/64']}}";
    let plan = plan_n1(&[node.to_owned()]);
    assert_eq!(
        at(&plan, "/ipv4/aggregates"),
        json!([{"block": "10.244.3.0/24", "state": "confirmed"}])
    );
    assert_eq!(at(&plan, "/ipv6/blackholes"), json!(["fd44::/64"]));
    assert_eq!(plan.notes.len(), 1);
    let plan = plan_n1(&[node.to_owned(), own("10.65.2.0/26", "pending")]);
    assert_eq!(at(&plan, "/ipv4/aggregates"), json!([]));
}

#[test]
fn c109_order_of_the_export_policy() {
    let plan = plan_n1(&[pool("quiet", "{cidr: 10.66.0.0/16, disableBGPExport: true}")]);
    assert_eq!(
        at(&plan, "/ipv4/export"),
        json!([{"rule": "reject_disabled_pool", "cidr": "10.66.0.0/16"},
               {"rule": "reject_interfaces", "interfaces": ["*.cali", "*.calico", "tunl0"], "peer_type": "iBGP"},
               {"rule": "reject_interfaces", "interfaces": ["bpf*.cali"]},
               {"rule": "add_communities"}, {"rule": "aggregate"},
               {"rule": "accept_pool", "cidr": "10.65.0.0/16"}, {"rule": "reject"}])
    );
}

#[test]
fn c112_tunl0_is_rejected_unless_ipip_is_ours() {
    for (value, is_rejected) in [
        ("Enabled", false),
        ("EnabledIPIPOnly", false),
        ("EnabledNoEncapOnly", true),
        ("Disabled", true),
        ("Whatever", true),
    ] {
        let plan = plan_n1(&[default(&format!("{{programClusterRoutes: {value}}}"))]);
        for family in ["ipv4", "ipv6"] {
            let interfaces = at(&plan, &format!("/{family}/export/0/interfaces"));
            let found = interfaces.as_array().unwrap().contains(&json!("tunl0"));
            assert_eq!(found, is_rejected, "{value}");
        }
    }
}

#[test]
fn c116_pools_are_exported_whatever_they_say_but_disable_bgp_export() {
    let plan = plan_n1(&[
        pool(
            "a",
            "{cidr: 10.66.0.0/16, disabled: true, nodeSelector: '!all()'}",
        ),
        pool("b", "{cidr: 10.67.0.0/16, vxlanMode: Always}"),
        pool(
            "c",
            "{cidr: 9.0.0.0/16, ipipMode: Always, allowedUses: [LoadBalancer]}",
        ),
    ]);
    assert_eq!(
        rules(&plan, "ipv4"),
        ["9.0.0.0/16", "10.65.0.0/16", "10.66.0.0/16", "10.67.0.0/16"]
            .map(|cidr| format!("accept_pool {cidr}"))
    );
}

#[test]
fn c015_of_two_pools_with_one_cidr_the_first_name_counts() {
    let plan = plan_n1(&[pool(
        "zz",
        "{cidr: 10.65.1.2/16, disableBGPExport: true, vxlanMode: Always}",
    )]);
    assert_eq!(rules(&plan, "ipv4"), ["accept_pool 10.65.0.0/16"]);
    assert_eq!(problems(&plan), ["IPPool/zz spec.cidr"]);
    let plan = plan_n1(&[pool("aa", "{cidr: 10.65.0.0/16, disableBGPExport: true}")]);
    assert_eq!(rules(&plan, "ipv4"), ["reject_disabled_pool 10.65.0.0/16"]);
}

#[test]
fn c122_a_reflector_passes_on_load_balancer_and_external_ranges() {
    let ranges = default(
        "{serviceClusterIPs: [{cidr: 10.96.0.0/12}], serviceExternalIPs: [{cidr: 203.0.113.0/24}, \
         {cidr: 198.51.100.7/32}], serviceLoadBalancerIPs: [{cidr: 192.0.2.0/25}]}",
    );
    let reflector = "{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: n1, labels: \
                     {node.kubernetes.io/exclude-from-external-load-balancers: true}}, \
                     spec: {bgp: {ipv4Address: 172.31.1.11/24, routeReflectorClusterID: 244.0.0.1}}}";
    let plan = plan_n1(&[ranges, reflector.to_owned()]);
    assert_eq!(
        rules(&plan, "ipv4"),
        [
            "accept_reflected_service 192.0.2.0/25",
            "accept_reflected_service 198.51.100.7/32",
            "accept_reflected_service 203.0.113.0/24",
            "accept_pool 10.65.0.0/16"
        ]
    );
}

const ADVERTISEMENTS: &str = "{communities: [{name: edge, value: '64512:0300'}], prefixAdvertisements: \
    [{cidr: 10.65.2.9/24, communities: [edge, '100:1:2']}, {cidr: 10.65.2.0/24, communities: ['64512:300', '9:9']}, \
     {cidr: 'fd65::/48', communities: [edge]}]}";

#[test]
fn c123_c124_c125_communities_are_merged_and_sorted_as_text() {
    let plan = plan_n1(&[default(ADVERTISEMENTS)]);
    let expected = json!([{"cidr": "10.65.2.0/24", "add": ["100:1:2", "64512:300", "9:9"]}]);
    assert_eq!(at(&plan, "/ipv4/communities"), expected);
    assert_eq!(
        at(&plan, "/ipv6/communities"),
        json!([{"cidr": "fd65::/48", "add": ["64512:300"]}])
    );
}

#[test]
fn c126_a_nodes_own_advertisements_replace_the_clusters_in_both_families() {
    let own = "{prefixAdvertisements: [{cidr: 10.65.3.0/24, communities: ['1:1', edge]}]}";
    let plan = plan_n1(&[
        default(ADVERTISEMENTS),
        object("BGPConfiguration", "node.n1", own),
    ]);
    assert_eq!(
        at(&plan, "/ipv4/communities"),
        json!([{"cidr": "10.65.3.0/24", "add": ["1:1"]}])
    );
    assert_eq!(at(&plan, "/ipv6/communities"), json!([]));
    assert_eq!(
        problems(&plan),
        ["BGPConfiguration/node.n1 spec.prefixAdvertisements[0].communities"]
    );
}

/// Actions by pool for one value of programClusterRoutes: IPIP always, IPIP cross-subnet, plain, VXLAN, plain IPv6,
/// VXLAN IPv6.
fn actions(value: &str) -> Vec<String> {
    let plan = plan_n1(&[
        default(&format!("{{programClusterRoutes: {value}}}")),
        pool("a", "{cidr: 10.1.0.0/16, ipipMode: Always}"),
        pool("b", "{cidr: 10.2.0.0/16, ipipMode: CrossSubnet}"),
        pool("c", "{cidr: 10.3.0.0/16}"),
        pool("d", "{cidr: 10.4.0.0/16, vxlanMode: CrossSubnet}"),
        pool("e", "{cidr: 'fd01::/48'}"),
        pool("f", "{cidr: 'fd02::/48', vxlanMode: Always}"),
        pool("pods", "{cidr: 10.5.0.0/16, vxlanMode: Always}"),
        pool("pods6", "{cidr: 'fd05::/48', vxlanMode: Always}"),
    ]);
    let action = |pointer: String| at(&plan, &pointer).as_str().unwrap().to_owned();
    let four = (0..4).map(|i| action(format!("/ipv4/kernel/pools/{i}/action")));
    let six = (0..2).map(|i| action(format!("/ipv6/kernel/pools/{i}/action")));
    four.chain(six).collect()
}

#[test]
fn c156_c157_c158_which_pools_are_ours() {
    let (always, cross) = ("install_tunnel_always", "install_tunnel_cross_subnet");
    assert_eq!(
        actions("Enabled"),
        [always, cross, "install", "skip", "install", "skip"]
    );
    assert_eq!(
        actions("EnabledIPIPOnly"),
        [always, cross, "skip", "skip", "skip", "skip"]
    );
    assert_eq!(
        actions("EnabledNoEncapOnly"),
        ["skip", "skip", "install", "skip", "install", "skip"]
    );
    assert_eq!(actions("Disabled"), ["skip"; 6]);
    assert_eq!(actions("Unknown"), actions("EnabledNoEncapOnly"));
}

#[test]
fn c160_c161_the_own_subnet_of_cross_subnet() {
    let subnet = |address: &str| {
        let plan = plan_n1(&[
            default("{programClusterRoutes: Enabled}"),
            object("Node", "n1", &format!("{{bgp: {{ipv4Address: {address}}}}}")),
            pool("pods", "{cidr: 10.65.0.0/16, ipipMode: CrossSubnet}"),
        ]);
        at(&plan, "/ipv4/kernel/pools/0/own_subnet")
    };
    assert_eq!(subnet("172.31.1.11/16"), json!("172.31.0.0/16"));
    assert_eq!(subnet("172.31.1.11"), json!("172.31.1.11/32"));
}

#[test]
fn c162_c163_wireguard_needs_both_ends() {
    let node = |name: &str, last: u8, key: &str| {
        let spec = format!(
            "{{bgp: {{ipv4Address: 172.31.1.{last}/24}}, wireguard: {{interfaceIPv4Address: {key}}}}}"
        );
        object("Node", name, &spec)
    };
    let next_hops = |objects: &[String]| at(&plan_n1(objects), "/ipv4/kernel/wireguard_next_hops");
    let both = [
        node("n1", 11, "10.0.9.1"),
        node("n3", 13, "10.0.9.3"),
        node("n2", 12, "10.0.9.2"),
    ];
    assert_eq!(next_hops(&both), json!(["172.31.1.12", "172.31.1.13"]));
    assert_eq!(next_hops(&both[1..]), json!([]));
}

#[test]
fn c165_ipv4_pool_rules_vanish_without_an_address() {
    let plan = plan_n1(&[object("Node", "n1", "{bgp: {ipv6Address: 'fd31:1::11/64'}}")]);
    assert_eq!(at(&plan, "/ipv4/kernel/pools"), json!([]));
    assert_eq!(rules(&plan, "ipv4"), ["accept_pool 10.65.0.0/16"]);
    let plan = plan_n1(&[object("Node", "n1", "{bgp: {ipv4Address: 172.31.1.11/24}}")]);
    assert_eq!(
        at(&plan, "/ipv6/kernel/pools"),
        json!([{"cidr": "fd65::/48", "action": "install"}])
    );
}

#[test]
fn plans_do_not_depend_on_the_order_of_objects() {
    let mut objects = vec![
        own("10.65.2.0/26", ""),
        own("10.65.1.0/26", ""),
        pool("a", "{cidr: 10.65.0.0/16}"),
    ];
    let forth = plan_for("n1", &objects, &Environment::default());
    objects.reverse();
    assert_eq!(plan_for("n1", &objects, &Environment::default()), forth);
}
