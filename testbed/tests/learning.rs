//! Routes that other programs write on a pipit node, as a BIRD node of the mesh hears of them.

use std::collections::BTreeSet;
use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, resource};
use pipit_testbed::mesh::UP;
use pipit_testbed::netns::Netns;
use pipit_testbed::speaker::{Bird, Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::json;

/// Kernel to the other node's table. BIRD's own part of it is a few milliseconds.
const SOON: Duration = Duration::from_secs(1);

/// n1 runs pipit, n2 BIRD. Programs come before the namespaces that they run in.
struct Pair {
    bird: Bird,
    pipit: Pipit,
    store: Manifests,
    rack: Rack,
}

impl Pair {
    fn new() -> Pair {
        let plan = Plan {
            ipv6: Some("fd31:1::/64".parse().unwrap()),
            ..Plan::default()
        };
        let rack = Rack::new(plan, 2);
        let mut store = Manifests::default();
        store.apply_rack(&rack);
        let bird = Bird::start(&rack, 2, 64512);
        let pipit = Pipit::start(rack.node(1), &Source::File(store.path().to_owned()));
        let pair = Pair {
            bird,
            pipit,
            store,
            rack,
        };
        wait::until_eq("sessions", UP, || pair.pipit.established(), &(2, 2));
        pair.hears("the blocks", UP, &pair.blocks());
        pair
    }

    fn netns(&self) -> &Netns {
        &self.rack.node(1).netns
    }

    #[track_caller]
    fn ip(&self, words: &str) {
        self.netns().ip(&words.split_whitespace().collect::<Vec<_>>());
    }

    /// What n1 always announces.
    fn blocks(&self) -> BTreeSet<String> {
        let plan = &self.rack.plan;
        let normal = "2147482623";
        let blocks = [plan.block4(1).to_string(), plan.block6(1).to_string()];
        blocks.iter().map(|block| format!("{block} {normal}")).collect()
    }

    /// Prefixes with LOCAL_PREF that BIRD has from n1.
    fn heard(&self) -> BTreeSet<String> {
        let netns = &self.rack.node(2).netns;
        let mut heard = BTreeSet::new();
        for table in ["master4", "master6"] {
            let text = self.bird.ctl(netns, &["show", "route", "all", "table", table]);
            let mut prefix = String::new();
            let mut is_from_peer = false;
            for line in text.lines() {
                let first = line.split_whitespace().next().unwrap_or_default();
                if first.contains('/') && !line.starts_with(char::is_whitespace) {
                    prefix = first.to_owned();
                }
                if line.contains(" [") {
                    is_from_peer = line.contains("[Mesh_");
                }
                if let Some(value) = line.trim().strip_prefix("BGP.local_pref: ")
                    && is_from_peer
                {
                    heard.insert(format!("{prefix} {value}"));
                }
            }
        }
        heard
    }

    #[track_caller]
    fn hears(&self, what: &str, deadline: Duration, expected: &BTreeSet<String>) {
        wait::until_eq(what, deadline, || self.heard(), expected);
    }

    /// BIRD hears of the blocks and these.
    #[track_caller]
    fn hears_also(&self, what: &str, more: &[&str]) {
        let mut expected = self.blocks();
        expected.extend(more.iter().map(|&text| text.to_owned()));
        self.hears(what, SOON, &expected);
    }
}

#[test]
fn c103_c179_addresses_outside_own_blocks_come_and_go_with_their_kernel_route() {
    let pair = Pair::new();
    let block = pair.rack.plan.block4(2);
    let (borrowed, own) = (block.hosts().nth(40).unwrap(), pair.rack.plan.block4(1));
    pair.ip(&format!(
        "route add {borrowed}/32 dev calin1p1 proto 80 scope link"
    ));
    pair.ip("route add fd65::7:1/128 dev calin1p1 proto 80");
    // Nothing of these leaves: an address of our own block, one that is in no pool, a connected network.
    let quiet = own.hosts().nth(9).unwrap();
    pair.ip(&format!("route add {quiet}/32 dev calin1p1 proto 80 scope link"));
    pair.ip("route add 203.0.113.0/24 via 172.31.1.12 proto static");
    pair.ip("addr add 198.51.100.1/24 dev eth0");
    let heard = [
        format!("{borrowed}/32 2147483647"),
        "fd65::7:1/128 2147482623".to_owned(),
    ];
    pair.hears_also("a borrowed address", &[&heard[0], &heard[1]]);
    // A metric is a priority.
    pair.ip(&format!(
        "route add {borrowed}/32 dev calin1p1 proto 80 metric 2000"
    ));
    pair.ip(&format!("route del {borrowed}/32 metric 0"));
    pair.hears_also(
        "another metric",
        &[&format!("{borrowed}/32 2147481647"), &heard[1]],
    );
    pair.ip(&format!("route del {borrowed}/32"));
    pair.hears_also("the IPv6 address alone", &[&heard[1]]);
    pair.ip("-6 route del fd65::7:1/128");
    pair.hears_also("nothing more", &[]);
}

#[test]
fn c101_an_elevated_address_of_an_own_block_is_announced_on_its_own() {
    let pair = Pair::new();
    let pod = pair.rack.plan.block4(1).hosts().nth(20).unwrap();
    pair.ip(&format!("route add {pod}/32 dev calin1p1 proto 80 metric 1024"));
    pair.ip(&format!("route add {pod}/32 dev calin1p1 proto 80 metric 512"));
    pair.hears_also("metric 512", &[&format!("{pod}/32 2147483135")]);
    pair.ip(&format!("route del {pod}/32 metric 512"));
    pair.hears_also("metric 1024", &[]);
}

#[test]
fn c118_other_nodes_routes_with_a_gateway_are_not_announced_again() {
    let mut pair = Pair::new();
    let gateway = "172.31.1.12";
    // As Felix writes them: a block of the same subnet, one behind a tunnel, and a static route that is nobody's.
    pair.ip(&format!("route add 10.65.77.0/26 via {gateway} proto 80"));
    pair.ip(&format!(
        "route add 10.65.78.0/26 via {gateway} dev eth0 onlink proto 80 metric 1024"
    ));
    pair.ip("route add blackhole 10.65.79.0/26 proto static");
    pair.hears_also("the blackhole", &["10.65.79.0/26 2147483647"]);
    // An operator's filter has the last word.
    let filter = resource(
        "BGPFilter",
        "all-of-77",
        json!({ "exportV4": [{ "action": "Accept", "matchOperator": "Equal", "cidr": "10.65.77.0/26" }] }),
    );
    pair.store.apply(&filter);
    let peering = json!({ "nodeSelector": "all()", "peerSelector": "all()", "filters": ["all-of-77"] });
    pair.store.apply(&resource("BGPPeer", "filtered", peering));
    let mesh_off = json!({ "nodeToNodeMeshEnabled": false, "asNumber": 64512 });
    pair.store
        .apply(&resource("BGPConfiguration", "default", mesh_off));
    let mut expected = pair.blocks();
    expected.insert("10.65.77.0/26 2147483647".to_owned());
    expected.insert("10.65.79.0/26 2147483647".to_owned());
    pair.hears("with the filter", UP, &expected);
}

#[test]
fn c181_tunnel_addresses_outside_own_blocks_are_announced() {
    let pair = Pair::new();
    pair.ip("link add vxlan9 type veth peer name peer9");
    pair.ip("link set vxlan9 up");
    let own = pair.rack.plan.block4(1).hosts().next().unwrap();
    pair.ip(&format!("addr add {own}/32 dev vxlan9"));
    pair.ip("addr add 10.65.99.0/32 dev vxlan9");
    // The address is its own network, and stays with the interface.
    pair.hears_also("the address", &["10.65.99.0/32 2147482623"]);
    pair.ip("link set vxlan9 down");
    pair.hears_also("interface down", &[]);
    pair.ip("link set vxlan9 up");
    pair.hears_also("interface up", &["10.65.99.0/32 2147482623"]);
    pair.ip("link set vxlan9 name cali99");
    pair.hears_also("an interface of a pod now", &[]);
}

#[test]
fn a_pod_that_goes_with_its_interface_is_withdrawn() {
    let pair = Pair::new();
    pair.ip("link add cali77 type veth peer name peer77");
    pair.ip("link set cali77 up");
    pair.ip("route add 10.65.200.7/32 dev cali77 proto 80 scope link");
    pair.hears_also("the pod", &["10.65.200.7/32 2147483647"]);
    pair.ip("link del cali77");
    pair.hears_also("the pod gone", &[]);
}
