//! Sessions with FRR, GoBGP and OpenBGPD in both families: each side has exactly what the other announces, and says so itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pipit_testbed::calico::{Manifests, Store, node, resource};
use pipit_testbed::mesh::UP;
use pipit_testbed::netns::Netns;
use pipit_testbed::speaker::{Frr, Gobgp, Openbgpd, Pipit, Setup, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

const OURS: u32 = 64512;
const THEIRS: u32 = 64999;

/// Another speaker, asked by its own command line.
trait Foreign {
    fn start(netns: &Netns, setup: &Setup) -> Self;
    /// The state of its one session, in the RFC's words, and the prefixes that it has from pipit, with next hops.
    fn view(&self, netns: &Netns, setup: &Setup) -> (String, BTreeSet<(String, String)>);
}

impl Foreign for Frr {
    fn start(netns: &Netns, setup: &Setup) -> Frr {
        Frr::start(netns, setup)
    }

    fn view(&self, netns: &Netns, setup: &Setup) -> (String, BTreeSet<(String, String)>) {
        let family = if setup.is_ipv4() { "ipv4" } else { "ipv6" };
        let summary = self.show(netns, &format!("bgp {family} unicast summary"));
        let state = text(&summary["peers"][setup.peer.to_string()]["state"]);
        let table = self.show(netns, &format!("bgp {family} unicast"));
        let our_path = OURS.to_string();
        let mut routes = BTreeSet::new();
        for (prefix, paths) in table["routes"].as_object().into_iter().flatten() {
            for path in paths.as_array().into_iter().flatten() {
                if path["path"] == our_path.as_str() {
                    routes.insert((prefix.clone(), text(&path["nexthops"][0]["ip"])));
                }
            }
        }
        (state, routes)
    }
}

impl Foreign for Gobgp {
    fn start(netns: &Netns, setup: &Setup) -> Gobgp {
        Gobgp::start(netns, setup)
    }

    fn view(&self, netns: &Netns, setup: &Setup) -> (String, BTreeSet<(String, String)>) {
        let peer = setup.peer.to_string();
        let neighbor = self.show(netns, &["neighbor", &peer]);
        // Its enum: ESTABLISHED is 6.
        let is_up = neighbor["state"]["session_state"] == 6;
        let state = if is_up { "Established" } else { "" }.to_owned();
        let table = self.show(netns, &["neighbor", &peer, "adj-in", "-a", self.family()]);
        let mut routes = BTreeSet::new();
        for (prefix, paths) in table.as_object().into_iter().flatten() {
            for path in paths.as_array().into_iter().flatten() {
                let attributes = path["attrs"].as_array().into_iter().flatten();
                let next_hops = attributes.filter_map(|attribute| attribute["nexthop"].as_str());
                routes.extend(next_hops.map(|next_hop| (prefix.clone(), next_hop.to_owned())));
            }
        }
        (state, routes)
    }
}

impl Foreign for Openbgpd {
    fn start(netns: &Netns, setup: &Setup) -> Openbgpd {
        Openbgpd::start(netns, setup)
    }

    fn view(&self, netns: &Netns, setup: &Setup) -> (String, BTreeSet<(String, String)>) {
        let state = text(&self.show(netns, &[])["neighbors"][0]["state"]);
        let table = self.show(netns, &["rib", "neighbor", &setup.peer.to_string()]);
        let routes = table["rib"].as_array().into_iter().flatten();
        let routes = routes.map(|route| (text(&route["prefix"]), text(&route["exit_nexthop"])));
        (state, routes.collect())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What pipit uses of the other's announcements: prefix and next hop. FRR sends our own block back to us, which is an
/// AS loop and never chosen.
fn in_use(pipit: &Pipit, own: IpAddr) -> BTreeSet<(String, String)> {
    let routes = pipit.items("routes");
    let is_used = |route: &&Value| route["best"] == true && route["next_hop"] == own.to_string();
    let others = routes.iter().filter(is_used);
    others
        .map(|route| (text(&route["prefix"]), text(&route["next_hop"])))
        .collect()
}

#[track_caller]
fn routes_go_both_ways<F: Foreign>(is_ipv4: bool) {
    let plan = Plan {
        ipv6: Some("fd31:1::/64".parse().unwrap()),
        ..Plan::default()
    };
    let rack = Rack::new(plan, 2);
    let address = |number: usize| rack.node(number).address(is_ipv4).unwrap().addr();
    let prefixes = if is_ipv4 {
        ["10.200.1.0/24", "10.200.2.128/25"]
    } else {
        ["2001:db8:1::/48", "2001:db8:2:3::/64"]
    };
    let setup = Setup {
        own: address(2),
        peer: address(1),
        asn: THEIRS,
        peer_asn: OURS,
        router_id: "10.0.0.2".parse().unwrap(),
        announces: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
    };
    let mut store = Manifests::default();
    store.apply_rack(&rack);
    let n1 = rack.node(1);
    store.apply(&node("n1", &n1.addresses, Some(OURS)));
    let no_mesh = json!({ "nodeToNodeMeshEnabled": false });
    store.apply(&resource("BGPConfiguration", "default", no_mesh));
    let spec = json!({ "node": "n1", "peerIP": setup.own.to_string(), "asNumber": THEIRS });
    store.apply(&resource("BGPPeer", "foreign", spec));

    let netns = &rack.node(2).netns;
    let foreign = F::start(netns, &setup);
    let pipit = Pipit::start(n1, &Source::File(store.path().to_owned()));
    wait::until_eq("pipit's session", UP, || pipit.established(), &(1, 1));

    let block = if is_ipv4 {
        rack.plan.block4(1).to_string()
    } else {
        rack.plan.block6(1).to_string()
    };
    let there = BTreeSet::from([(block, setup.peer.to_string())]);
    wait::until_eq(
        "the session and our block there",
        UP,
        || foreign.view(netns, &setup),
        &("Established".to_owned(), there),
    );
    let here = prefixes.map(|prefix| (prefix.to_owned(), setup.own.to_string()));
    let here = BTreeSet::from(here);
    wait::until_eq("its prefixes here", UP, || in_use(&pipit, setup.own), &here);
}

#[test]
fn frr_ipv4() {
    routes_go_both_ways::<Frr>(true);
}

#[test]
fn frr_ipv6() {
    routes_go_both_ways::<Frr>(false);
}

#[test]
fn gobgp_ipv4() {
    routes_go_both_ways::<Gobgp>(true);
}

#[test]
fn gobgp_ipv6() {
    routes_go_both_ways::<Gobgp>(false);
}

#[test]
fn openbgpd_ipv4() {
    routes_go_both_ways::<Openbgpd>(true);
}

#[test]
fn openbgpd_ipv6() {
    routes_go_both_ways::<Openbgpd>(false);
}
