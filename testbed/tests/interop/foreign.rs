//! The other speakers, each asked by its own command line.

use std::collections::BTreeSet;

use pipit_testbed::netns::Netns;
use pipit_testbed::speaker::{Bird, Frr, Gobgp, Openbgpd, Setup};
use serde_json::Value;

/// Prefixes with their next hops.
pub(crate) type Routes = BTreeSet<(String, String)>;

/// Another speaker.
pub(crate) trait Foreign {
    fn start(netns: &Netns, setup: &Setup) -> Self;
    fn kill(&mut self);
    fn resume(&mut self, netns: &Netns);
    /// The state of its session with pipit, in the RFC's words, and the prefixes that it has from pipit.
    fn view(&self, netns: &Netns, setup: &Setup) -> (String, Routes);
    /// How many paths of a prefix it has from pipit.
    fn paths(&self, netns: &Netns, setup: &Setup, prefix: &str) -> usize;
    /// Asks pipit for everything again.
    fn refresh(&self, netns: &Netns, setup: &Setup);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn family(setup: &Setup) -> &'static str {
    if setup.is_ipv4() { "ipv4" } else { "ipv6" }
}

impl Foreign for Frr {
    fn start(netns: &Netns, setup: &Setup) -> Frr {
        Frr::start(netns, setup)
    }

    fn kill(&mut self) {
        Frr::kill(self);
    }

    fn resume(&mut self, netns: &Netns) {
        Frr::resume(self, netns);
    }

    fn view(&self, netns: &Netns, setup: &Setup) -> (String, Routes) {
        let family = family(setup);
        let peer = setup.peer.to_string();
        let summary = self.show(netns, &format!("bgp {family} unicast summary"));
        let state = text(&summary["peers"][&peer]["state"]);
        let table = self.show(netns, &format!("bgp {family} unicast"));
        let mut routes = BTreeSet::new();
        for (prefix, paths) in table["routes"].as_object().into_iter().flatten() {
            for path in paths.as_array().into_iter().flatten() {
                if path["peerId"] == peer.as_str() {
                    routes.insert((prefix.clone(), text(&path["nexthops"][0]["ip"])));
                }
            }
        }
        (state, routes)
    }

    fn paths(&self, netns: &Netns, setup: &Setup, prefix: &str) -> usize {
        let table = self.show(netns, &format!("bgp {} unicast {prefix}", family(setup)));
        let paths = table["paths"].as_array().into_iter().flatten();
        let peer = setup.peer.to_string();
        paths
            .filter(|path| path["peer"]["peerId"] == peer.as_str())
            .count()
    }

    fn refresh(&self, netns: &Netns, setup: &Setup) {
        self.vtysh(
            netns,
            &format!("clear bgp {} unicast {} soft in", family(setup), setup.peer),
        );
    }
}

impl Foreign for Gobgp {
    fn start(netns: &Netns, setup: &Setup) -> Gobgp {
        Gobgp::start(netns, setup)
    }

    fn kill(&mut self) {
        Gobgp::kill(self);
    }

    fn resume(&mut self, netns: &Netns) {
        Gobgp::resume(self, netns);
    }

    fn view(&self, netns: &Netns, setup: &Setup) -> (String, Routes) {
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

    fn paths(&self, netns: &Netns, setup: &Setup, prefix: &str) -> usize {
        let peer = setup.peer.to_string();
        let table = self.show(netns, &["neighbor", &peer, "adj-in", "-a", self.family()]);
        table[prefix].as_array().map_or(0, Vec::len)
    }

    fn refresh(&self, netns: &Netns, setup: &Setup) {
        self.ctl(netns, &["neighbor", &setup.peer.to_string(), "softresetin"]);
    }
}

impl Foreign for Openbgpd {
    fn start(netns: &Netns, setup: &Setup) -> Openbgpd {
        Openbgpd::start(netns, setup)
    }

    fn kill(&mut self) {
        Openbgpd::kill(self);
    }

    fn resume(&mut self, netns: &Netns) {
        Openbgpd::resume(self, netns);
    }

    fn view(&self, netns: &Netns, setup: &Setup) -> (String, Routes) {
        let peer = setup.peer.to_string();
        let neighbors = self.show(netns, &["neighbor", &peer]);
        let state = text(&neighbors["neighbors"][0]["state"]);
        let table = self.show(netns, &["rib", "neighbor", &peer]);
        let routes = table["rib"].as_array().into_iter().flatten();
        let routes = routes.map(|route| (text(&route["prefix"]), text(&route["exit_nexthop"])));
        (state, routes.collect())
    }

    fn paths(&self, netns: &Netns, setup: &Setup, prefix: &str) -> usize {
        let table = self.show(netns, &["rib", "neighbor", &setup.peer.to_string(), "in"]);
        let routes = table["rib"].as_array().into_iter().flatten();
        routes.filter(|route| route["prefix"] == prefix).count()
    }

    fn refresh(&self, netns: &Netns, setup: &Setup) {
        self.ctl(netns, &["neighbor", &setup.peer.to_string(), "refresh"]);
    }
}

impl Foreign for Bird {
    fn start(netns: &Netns, setup: &Setup) -> Bird {
        Bird::start_with(netns, setup)
    }

    fn kill(&mut self) {
        Bird::kill(self);
    }

    fn resume(&mut self, netns: &Netns) {
        Bird::resume(self, netns);
    }

    fn view(&self, netns: &Netns, _: &Setup) -> (String, Routes) {
        let protocol = self.ctl(netns, &["show", "protocols", "pipit"]);
        let is_up = protocol.contains("Established");
        let state = if is_up { "Established" } else { "" }.to_owned();
        let table = self.ctl(netns, &["show", "route", "protocol", "pipit", "all"]);
        let mut routes = BTreeSet::new();
        let mut prefix = String::new();
        for line in table.lines() {
            if let Some(first) = line.split_whitespace().next()
                && first.contains('/')
                && !line.starts_with(char::is_whitespace)
            {
                prefix = first.to_owned();
            }
            if let Some(next_hops) = line.trim().strip_prefix("BGP.next_hop: ") {
                let next_hop = next_hops.split_whitespace().next().unwrap_or_default();
                routes.insert((prefix.clone(), next_hop.to_owned()));
            }
        }
        (state, routes)
    }

    fn paths(&self, netns: &Netns, _: &Setup, prefix: &str) -> usize {
        let table = self.ctl(netns, &["show", "route", prefix, "protocol", "pipit", "all"]);
        table.lines().filter(|line| line.contains("BGP.as_path:")).count()
    }

    fn refresh(&self, netns: &Netns, _: &Setup) {
        self.ctl(netns, &["reload", "in", "pipit"]);
    }
}
