//! What Calico's policy makes of routes, seen by BIRDs on the other side: `n1` runs pipit, `n2` is a ToR in another
//! AS, `n3` a neighbour in ours.

use std::fmt::Write;
use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, resource};
use pipit_testbed::kernel::bird_routes;
use pipit_testbed::mesh::UP;
use pipit_testbed::process::Process;
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

/// A change that has to travel.
const CHANGE: Duration = Duration::from_secs(5);
const TOR_AS: u32 = 65001;

/// A BIRD with one session, to `n1`.
struct Neighbour {
    number: usize,
    folder: tempfile::TempDir,
    _process: Process,
}

impl Neighbour {
    /// Announces `routes`: prefix and what BIRD sets of its attributes.
    fn start(rack: &Rack, number: usize, asn: u32, routes: &[(&str, &str)]) -> Neighbour {
        let node = rack.node(number);
        let (own, peer) = (node.addresses[0].addr(), rack.node(1).addresses[0].addr());
        let mut config = format!("router id {own};\nlog stderr all;\nprotocol device {{}}\n");
        // A protocol for each route: two to one prefix are two paths.
        for (at, (prefix, attributes)) in routes.iter().enumerate() {
            writeln!(
                config,
                "protocol static announced{at} {{ ipv4; route {prefix} blackhole {{ {attributes} }}; }}"
            )
            .unwrap();
        }
        let internal = if asn == 64512 {
            ""
        } else {
            "allow bgp_local_pref on;"
        };
        write!(
            config,
            "protocol bgp n1 {{\n  local {own} as {asn};\n  neighbor {peer} as 64512;\n  multihop; {internal}\n  \
             connect delay time 1; connect retry time 1;\n  \
             ipv4 {{ import all; export all; add paths on; }};\n}}\n"
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bird.conf"), config).unwrap();
        let mut command = node.netns.command("/usr/sbin/bird");
        command.arg("-f").arg("-c").arg(folder.path().join("bird.conf"));
        command.arg("-s").arg(folder.path().join("bird.ctl"));
        let process = Process::start("bird", command, &folder.path().join("log"));
        Neighbour {
            number,
            folder,
            _process: process,
        }
    }

    /// What it has received for a prefix, with all attributes; empty when nothing.
    fn received(&self, rack: &Rack, prefix: &str) -> String {
        let mut command = rack.node(self.number).netns.command("birdc");
        command.arg("-s").arg(self.folder.path().join("bird.ctl"));
        let output = command
            .args(["show", "route", prefix, "protocol", "n1", "all"])
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let is_there = text.contains(prefix);
        if is_there { text } else { String::new() }
    }
}

/// Programs come before the namespaces that they run in.
struct Bench {
    daemon: Pipit,
    tor: Neighbour,
    near: Neighbour,
    store: Manifests,
    rack: Rack,
}

impl Bench {
    fn new(of_tor: &[(&str, &str)], of_near: &[(&str, &str)]) -> Bench {
        let rack = Rack::new(Plan::default(), 3);
        let mut store = Manifests::default();
        store.apply_rack(&rack);
        store.apply(&resource(
            "BGPConfiguration",
            "default",
            json!({"nodeToNodeMeshEnabled": false}),
        ));
        let mut bench = Bench {
            daemon: Pipit::start(rack.node(1), &Source::File(store.path().to_owned())),
            tor: Neighbour::start(&rack, 2, TOR_AS, of_tor),
            near: Neighbour::start(&rack, 3, 64512, of_near),
            store,
            rack,
        };
        bench.peers(json!({}), json!({}));
        let daemon = &bench.daemon;
        wait::until_eq("both sessions", UP, || daemon.established(), &(2, 2));
        bench
    }

    /// The two BGPPeers, with further fields each.
    fn peers(&mut self, tor: Value, near: Value) {
        for (number, name, asn, fields) in [(2, "tor", TOR_AS, tor), (3, "near", 64512, near)] {
            let address = self.rack.node(number).addresses[0].addr().to_string();
            let mut spec =
                json!({"node": "n1", "peerIP": address, "asNumber": asn, "reversePeering": "Manual"});
            for (field, value) in fields.as_object().unwrap() {
                spec[field] = value.clone();
            }
            self.store.apply(&resource("BGPPeer", name, spec));
        }
    }

    fn filter(&mut self, name: &str, spec: Value) {
        self.store.apply(&resource("BGPFilter", name, spec));
    }

    #[track_caller]
    fn wait_tor(&self, prefix: &str, is_so: impl Fn(&str) -> bool) -> String {
        self.wait(&self.tor, prefix, is_so)
    }

    #[track_caller]
    fn wait_near(&self, prefix: &str, is_so: impl Fn(&str) -> bool) -> String {
        self.wait(&self.near, prefix, is_so)
    }

    #[track_caller]
    fn wait(&self, at: &Neighbour, prefix: &str, is_so: impl Fn(&str) -> bool) -> String {
        let received = || at.received(&self.rack, prefix);
        wait::until(&format!("{prefix} at n{}", at.number), CHANGE, received, |text| {
            is_so(text)
        });
        received()
    }

    /// The path of a peer (`Node_…`) to a prefix as pipit has it.
    fn path(&self, prefix: &str, peer_address: &str) -> Option<Value> {
        let output = self.daemon.pipit(&["-o", "json", "routes", prefix]);
        let document: Value = serde_json::from_slice(&output.stdout).ok()?;
        let name = peer_address.replace('.', "_");
        let paths = document["items"].as_array()?.iter();
        paths
            .into_iter()
            .find(|path| path["peer"].as_str().is_some_and(|peer| peer.contains(&name)))
            .cloned()
    }

    fn address(&self, number: usize) -> String {
        self.rack.node(number).addresses[0].addr().to_string()
    }

    #[track_caller]
    fn wait_path(&self, prefix: &str, number: usize, is_so: impl Fn(&Value) -> bool) -> Value {
        let address = self.address(number);
        let path = || self.path(prefix, &address);
        let what = format!("{prefix} of n{number}");
        wait::until(&what, CHANGE, path, |path| path.as_ref().is_some_and(&is_so));
        path().unwrap()
    }
}

fn gone(text: &str) -> bool {
    text.is_empty()
}

fn there(text: &str) -> bool {
    !text.is_empty()
}

const OWN: &str = "10.65.1.0/26";

#[test]
fn c107_c108_c110_c111_c117_c119_c120_what_leaves_and_with_what() {
    let mut bench = Bench::new(&[], &[("10.65.3.0/26", "")]);
    let private = json!({"cidr": "10.66.0.0/16", "disableBGPExport": true});
    bench.store.apply(&resource("IPPool", "private", private));
    for block in ["10.77.0.0/26", "10.66.1.0/26"] {
        bench.store.assign("n1", block.parse().unwrap());
    }
    // A block outside of every pool leaves as well; one in a pool that is not exported does not.
    bench.wait_tor("10.77.0.0/26", there);
    bench.wait_near("10.77.0.0/26", there);
    assert_eq!(bench.tor.received(&bench.rack, "10.66.1.0/26"), "");
    // LOCAL_PREF says the priority to our own AS, and stays in it.
    let near = bench.wait_near(OWN, there);
    assert!(near.contains("BGP.local_pref: 2147482623"), "{near}");
    let tor = bench.wait_tor(OWN, there);
    assert!(
        tor.contains("BGP.local_pref: 100") && tor.contains("BGP.as_path: 64512"),
        "{tor}"
    );
    // The block of another node goes to the ToR with us as the next hop, and not back where it came from.
    let passed_on = bench.wait_tor("10.65.3.0/26", there);
    let next_hop = format!("BGP.next_hop: {}", bench.address(1));
    assert!(
        passed_on.contains(&next_hop) && passed_on.contains("BGP.as_path: 64512"),
        "{passed_on}"
    );
    assert_eq!(bench.near.received(&bench.rack, "10.65.3.0/26"), "");
    // A filter's Accept comes before the pools.
    let accept = json!({"exportV4": [{"cidr": "10.66.0.0/16", "matchOperator": "In", "action": "Accept"}]});
    bench.filter("private-too", accept);
    bench.peers(json!({"filters": ["private-too"]}), json!({}));
    bench.wait_tor("10.66.1.0/26", there);
    assert_eq!(bench.near.received(&bench.rack, "10.66.1.0/26"), "");
}

#[test]
fn c121_c127_c123_communities_and_priorities_of_own_learned_and_service_routes() {
    let mut bench = Bench::new(&[], &[("10.65.3.0/26", "")]);
    let spec = json!({
        "nodeToNodeMeshEnabled": false,
        "serviceClusterIPs": [{"cidr": "10.96.0.0/16"}],
        "ipv4NormalRoutePriority": 2048,
        "communities": [{"name": "rack", "value": "64512:7"}],
        "prefixAdvertisements": [
            {"cidr": "10.64.0.0/15", "communities": ["rack"]},
            {"cidr": "10.65.3.0/26", "communities": ["64512:9:9"]},
            {"cidr": "10.96.0.0/16", "communities": ["64512:8"]},
        ],
    });
    bench.store.apply(&resource("BGPConfiguration", "default", spec));
    let has = |texts: &'static [&str]| move |text: &str| texts.iter().all(|wanted| text.contains(wanted));
    bench.wait_tor(OWN, has(&["(64512,7)"]));
    bench.wait_tor("10.65.3.0/26", has(&["(64512,7)", "(64512, 9, 9)"]));
    bench.wait_tor("10.96.0.0/16", has(&["(64512,8)"]));
    bench.wait_near(OWN, has(&["BGP.local_pref: 2147481599", "(64512,7)"]));
}

#[test]
fn c128_c133_c134_c135_c139_export_filters() {
    let mut bench = Bench::new(&[], &[("10.65.3.0/26", "")]);
    bench.wait_tor("10.65.3.0/26", there);
    // The first rule that matches decides; what none matches goes on, to the next filter and then the built-in rules.
    bench.filter(
        "first",
        json!({"exportV4": [
            {"cidr": "10.99.0.0/16", "matchOperator": "In", "action": "Reject"},
            {"peerType": "iBGP", "cidr": "10.65.1.0/26", "matchOperator": "Equal", "action": "Reject"},
            {"interface": "*", "cidr": "10.65.1.0/26", "matchOperator": "Equal", "action": "Reject"},
        ]}),
    );
    bench.filter(
        "second",
        json!({"exportV4": [{"source": "RemotePeers", "action": "Reject"}]}),
    );
    let both = json!({"filters": ["first", "second"]});
    bench.peers(both.clone(), both);
    bench.wait_tor("10.65.3.0/26", gone);
    bench.wait_near(OWN, gone);
    // A blackhole has no interface, so no glob matches it; and on eBGP a rule for iBGP does not count.
    assert!(there(&bench.tor.received(&bench.rack, OWN)));
    bench.filter(
        "second",
        json!({"exportV4": [
            {"action": "Accept", "operations": [
                {"addCommunity": {"value": "64512:5"}}, {"addCommunity": {"value": "1:2:3"}},
                {"prependASPath": {"prefix": [65100, 65101]}}, {"setPriority": {"value": 512}}]},
        ]}),
    );
    bench.peers(json!({"filters": ["second"]}), json!({"filters": ["second"]}));
    let near = bench.wait_near(OWN, |text| text.contains("BGP.local_pref: 2147483135"));
    assert!(near.contains("BGP.as_path: 65100 65101"), "{near}");
    assert!(near.contains("(64512,5)") && near.contains("(1, 2, 3)"), "{near}");
    bench.wait_tor(OWN, |text| text.contains("BGP.as_path: 64512 65100 65101"));
}

#[test]
fn c129_c146_c155_c164_what_a_tor_says_is_taken_with_the_lowest_priority() {
    let bench = Bench::new(
        &[("0.0.0.0/0", ""), ("203.0.113.0/24", "")],
        &[("198.18.0.0/15", "bgp_local_pref = 300;")],
    );
    let path = bench.wait_path("203.0.113.0/24", 2, |path| path["best"] == true);
    assert_eq!(path["as_path"], json!([TOR_AS]));
    let has = |what: &str| {
        bench
            .rack
            .node(1)
            .netns
            .ip(&["route", "show", "proto", "bird"])
            .contains(what)
    };
    for (wanted, number) in [("default", 2), ("203.0.113.0/24", 2)] {
        let route = format!("{wanted} via {}", bench.address(number));
        wait::until_eq(&route, CHANGE, || has(&route), &true);
    }
    assert!(has("metric 2147483547"));
    // Of our own AS, LOCAL_PREF counts.
    bench.wait_path("198.18.0.0/15", 3, |path| path["local_pref"] == 300);
    wait::until_eq("its metric", CHANGE, || has("metric 2147483347"), &true);
}

#[test]
fn c136_c137_c138_c143_import_filters_by_what_a_route_carries() {
    let of_tor = [
        ("198.51.100.0/25", "bgp_community.add((65000,100));"),
        ("198.51.100.128/25", "bgp_large_community.add((65000,1,2));"),
        ("203.0.113.0/24", "bgp_path.prepend(65009);"),
        ("192.0.2.0/24", ""),
    ];
    let elevated = format!("bgp_local_pref = {};", 2_147_483_647u32 - 512);
    let mut bench = Bench::new(&of_tor, &[("198.18.1.0/24", &elevated), ("198.18.2.0/24", "")]);
    bench.wait_path("192.0.2.0/24", 2, |path| path["best"] == true);
    bench.wait_path("198.18.1.0/24", 3, |path| path["best"] == true);
    let reject = |condition: Value| {
        let mut rule = json!({"action": "Reject"});
        for (name, value) in condition.as_object().unwrap() {
            rule[name] = value.clone();
        }
        rule
    };
    bench.filter(
        "some",
        json!({"importV4": [
            reject(json!({"communities": {"values": ["65000:100"]}})),
            reject(json!({"communities": {"values": ["65000:1:2"]}})),
            reject(json!({"asPathPrefix": [TOR_AS, 65009]})),
            reject(json!({"priority": 512})),
            {"cidr": "192.0.2.0/24", "matchOperator": "Equal", "action": "Accept",
                "operations": [{"setPriority": {"value": 700}}, {"addCommunity": {"value": "64512:42"}}]},
        ]}),
    );
    bench.peers(json!({"filters": ["some"]}), json!({"filters": ["some"]}));
    for (prefix, number) in [
        ("198.51.100.0/25", 2),
        ("198.51.100.128/25", 2),
        ("203.0.113.0/24", 2),
        ("198.18.1.0/24", 3),
    ] {
        bench.wait_path(prefix, number, |path| {
            path["best"] == false && path["reason"].as_str().is_some()
        });
    }
    let marked = bench.wait_path("192.0.2.0/24", 2, |path| path["local_pref"] == 2_147_482_947u32);
    assert_eq!(marked["communities"], json!(["64512:42"]));
    bench.wait_path("198.18.2.0/24", 3, |path| path["best"] == true);
    // Taken back, everything is as before, and no session was reset by any of it.
    bench.peers(json!({}), json!({}));
    for (prefix, number) in [
        ("198.51.100.0/25", 2),
        ("203.0.113.0/24", 2),
        ("198.18.1.0/24", 3),
    ] {
        bench.wait_path(prefix, number, |path| path["best"] == true);
    }
    assert!(bench.daemon.items("peers").iter().all(|peer| peer["flaps"] == 0));
}

#[test]
fn c148_c150_c151_own_as_and_unreachable_next_hops_are_not_used() {
    let of_tor = [
        ("203.0.113.0/24", "bgp_path.prepend(64512);"),
        ("192.0.2.0/24", ""),
    ];
    // The better path, by LOCAL_PREF, leads nowhere.
    let nowhere = "bgp_local_pref = 2147483000; bgp_next_hop = 198.51.100.9;";
    let bench = Bench::new(&of_tor, &[("192.0.2.0/24", nowhere)]);
    bench.wait_path("203.0.113.0/24", 2, |path| path["best"] == false);
    bench.wait_path("192.0.2.0/24", 3, |path| {
        path["best"] == false && path["reason"].as_str().unwrap().contains("unreachable")
    });
    bench.wait_path("192.0.2.0/24", 2, |path| path["best"] == true);
    let route = format!("192.0.2.0/24 via {}", bench.address(2));
    let netns = &bench.rack.node(1).netns;
    wait::until_eq(
        &route,
        CHANGE,
        || bird_routes(netns).iter().any(|have| have.starts_with(&route)),
        &true,
    );
    assert!(
        bird_routes(netns)
            .iter()
            .all(|have| !have.contains("203.0.113.0") && !have.contains("unreachable"))
    );
}

#[test]
fn c154_c167_c190_what_the_kernel_does_not_get() {
    let mut bench = Bench::new(
        &[],
        &[("10.65.3.0/26", ""), ("10.96.7.0/24", ""), ("198.18.0.0/15", "")],
    );
    let netns = || &bench.rack.node(1).netns;
    let has = |what: &str| bird_routes(netns()).iter().any(|route| route.contains(what));
    wait::until_eq("the block of n3", CHANGE, || has("10.65.3.0/26"), &true);
    wait::until_eq("10.96.7.0/24", CHANGE, || has("10.96.7.0/24"), &true);
    let spec = |program: &str| {
        json!({"nodeToNodeMeshEnabled": false, "programClusterRoutes": program,
            "serviceClusterIPs": [{"cidr": "10.96.0.0/16"}], "serviceLoadBalancerIPs": [{"cidr": "192.0.2.7/32"}]})
    };
    bench
        .store
        .apply(&resource("BGPConfiguration", "default", spec("Enabled")));
    // Service ranges, learned and own: announced, never written.
    wait::until_eq("10.96.7.0/24 gone", CHANGE, || has("10.96."), &false);
    bench.wait_tor("10.96.0.0/16", there);
    assert!(!has("192.0.2.7") && has("blackhole 10.65.1.0/26"));
    bench
        .store
        .apply(&resource("BGPConfiguration", "default", spec("Disabled")));
    // Pools are Felix's now, own blocks too; all else is still ours.
    wait::until_eq("the pool's routes gone", CHANGE, || has("10.65."), &false);
    assert!(has("198.18.0.0/15") && there(&bench.tor.received(&bench.rack, OWN)));
}

#[test]
fn c149_c152_loops_of_reflection_are_refused_and_every_path_of_a_peer_is_kept() {
    let own_id = "bgp_originator_id = 172.31.1.11;";
    let of_near = [
        ("198.18.1.0/24", own_id),
        ("198.18.2.0/24", "bgp_cluster_list.add(10.0.0.1);"),
        ("198.18.3.0/24", "bgp_med = 10;"),
        ("198.18.3.0/24", "bgp_med = 20;"),
    ];
    let mut bench = Bench::new(&[], &of_near);
    let node = |cluster: Option<&str>| {
        let mut node = pipit_testbed::calico::node("n1", &["172.31.1.11/24".parse().unwrap()], None);
        if let Some(cluster) = cluster {
            node["spec"]["bgp"]["routeReflectorClusterID"] = cluster.into();
        }
        node
    };
    bench.wait_path("198.18.1.0/24", 3, |path| path["best"] == false);
    bench.wait_path("198.18.2.0/24", 3, |path| path["best"] == true);
    bench.store.apply(&node(Some("10.0.0.1")));
    bench.wait_path("198.18.2.0/24", 3, |path| path["best"] == false);
    bench.store.apply(&node(None));
    bench.wait_path("198.18.2.0/24", 3, |path| path["best"] == true);
    let meds = || {
        let output = bench.daemon.pipit(&["-o", "json", "routes", "198.18.3.0/24"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let paths = document["items"].as_array().cloned().unwrap_or_default();
        let mut meds: Vec<_> = paths.iter().filter_map(|path| path["med"].as_u64()).collect();
        meds.sort_unstable();
        meds
    };
    wait::until_eq("both paths", CHANGE, meds, &vec![10, 20]);
}

#[test]
fn c144_an_elevated_priority_crosses_a_tor_as_a_community_and_comes_back_as_a_priority() {
    let elevated = format!("bgp_local_pref = {};", 2_147_483_647u32 - 512);
    let of_tor = [("10.65.9.9/32", "bgp_community.add((64512,512));")];
    let mut bench = Bench::new(&of_tor, &[("10.65.3.7/32", &elevated)]);
    bench.filter("migration", json!({
        "exportV4": [{"priority": 512, "action": "Accept", "operations": [{"addCommunity": {"value": "64512:512"}}]}],
        "importV4": [{"communities": {"values": ["64512:512"]}, "action": "Accept",
            "operations": [{"setPriority": {"value": 512}}]}],
    }));
    bench.peers(json!({"filters": ["migration"]}), json!({}));
    bench.wait_tor("10.65.3.7/32", |text| text.contains("(64512,512)"));
    bench.wait_tor(OWN, |text| there(text) && !text.contains("(64512,512)"));
    bench.wait_path("10.65.9.9/32", 2, |path| path["local_pref"] == 2_147_483_135u32);
    let netns = &bench.rack.node(1).netns;
    let has = || {
        netns
            .ip(&["route", "show", "proto", "bird", "10.65.9.9/32"])
            .contains("metric 512")
    };
    wait::until_eq("the elevated route", CHANGE, has, &true);
}
