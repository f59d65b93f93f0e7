//! A mesh in which one node runs BIRD, configured as Calico's confd does.

use std::collections::BTreeSet;
use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, first_blocks, mesh_routes};
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::mesh::UP;
use pipit_testbed::ping::Ping;
use pipit_testbed::speaker::{Bird, Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;

/// Longer than BIRD's scan of the kernel, after which it has repaired and removed what it thinks is wrong.
const BIRD_SCAN: Duration = Duration::from_millis(2500);

/// Nodes of which one runs BIRD. Programs come before the namespaces that they run in.
struct Mixed {
    bird: Bird,
    /// The daemons of the other nodes, in their order.
    daemons: Vec<Pipit>,
    source: Source,
    _store: Manifests,
    rack: Rack,
    bird_number: usize,
}

impl Mixed {
    /// Three nodes, up. Which one is BIRD's decides who dials.
    fn new(plan: Plan, bird_number: usize) -> Mixed {
        let rack = Rack::new(plan, 3);
        let mut store = Manifests::default();
        store.apply_rack(&rack);
        let bird = Bird::start(&rack, bird_number, 64512);
        let source = Source::File(store.path().to_owned());
        let others = rack.nodes.iter().filter(|node| node.number != bird_number);
        let daemons = others.map(|node| Pipit::start(node, &source)).collect();
        let mixed = Mixed {
            bird,
            daemons,
            source,
            _store: store,
            rack,
            bird_number,
        };
        mixed.wait_up();
        mixed
    }

    /// Sessions of a node.
    fn sessions(&self) -> usize {
        2 * self.rack.node(1).addresses.len()
    }

    #[track_caller]
    fn wait_up(&self) {
        let all = self.sessions();
        for daemon in &self.daemons {
            wait::until_eq("sessions", UP, || daemon.established(), &(all, all));
        }
        self.wait_bird();
        self.wait_routes();
    }

    #[track_caller]
    fn wait_bird(&self) {
        let netns = &self.rack.node(self.bird_number).netns;
        let is_up = || (self.bird.established(netns), self.bird.is_recovering(netns));
        wait::until_eq("BIRD's sessions", UP, is_up, &(self.sessions(), false));
    }

    #[track_caller]
    fn wait_routes(&self) {
        for node in &self.rack.nodes {
            let expected: BTreeSet<String> = mesh_routes(&self.rack, node.number, &first_blocks(&self.rack));
            let what = format!("routes of {}", node.name);
            wait::until_eq(&what, UP, || bird_routes(&node.netns), &expected);
        }
    }

    fn monitors(&self) -> Vec<Monitor> {
        let nodes = self.rack.nodes.iter();
        nodes.map(|node| Monitor::start(&node.netns)).collect()
    }

    /// Pings between the pods of all pairs, in all families.
    fn pings(&self) -> Vec<Ping> {
        let nodes = &self.rack.nodes;
        let pairs = nodes
            .iter()
            .flat_map(|from| nodes.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.number != to.number);
        pairs
            .flat_map(|(from, to)| to.pods[0].addresses.iter().map(move |address| (from, address)))
            .map(|(from, address)| Ping::start(&from.pods[0].netns, &address.to_string()))
            .collect()
    }
}

/// Nothing was lost, and no route was ever away.
#[track_caller]
fn assert_undisturbed(pings: Vec<Ping>, monitors: &[Monitor]) {
    for ping in pings {
        let report = ping.stop();
        assert_eq!(report.lost(), 0, "{report:?}");
    }
    for (index, monitor) in monitors.iter().enumerate() {
        let number = index + 1;
        assert_eq!(monitor.deletions_beside(&[]), Vec::<String>::new(), "n{number}");
    }
}

fn dual() -> Plan {
    Plan {
        ipv6: Some("fd31:1::/64".parse().unwrap()),
        ..Plan::default()
    }
}

#[test]
fn bird_and_pipit_exchange_blocks_whoever_dials() {
    for number in [1, 3] {
        let mixed = Mixed::new(dual(), number);
        for ping in mixed.pings() {
            assert_eq!(ping.stop().lost(), 0);
        }
        let netns = &mixed.rack.node(number).netns;
        for (table, len) in [("master4", "/26"), ("master6", "/122")] {
            let routes = mixed.bird.ctl(netns, &["show", "route", "all", "table", table]);
            let from_pipit = routes.matches("BGP.local_pref: 2147482623").count();
            assert_eq!(
                from_pipit, 2,
                "LOCAL_PREF is 2147483647 less the priority 1024, one path for each {len}: {routes}"
            );
        }
        // And the other way round: pipit shows BIRD's block with the same preference.
        let block = mixed.rack.plan.block4(number).to_string();
        let routes = mixed.daemons[0].items("routes");
        let route = routes
            .iter()
            .find(|route| route["prefix"] == block.as_str())
            .unwrap();
        assert_eq!(route["local_pref"], 2_147_482_623u32, "{route:#}");
    }
}

/// Ends the daemon of n1 in some way under the eyes of a BIRD, and starts it again.
fn restart_beside_bird(end: impl Fn(&mut Pipit)) {
    let mut mixed = Mixed::new(Plan::default(), 3);
    let (pings, monitors) = (mixed.pings(), mixed.monitors());
    end(&mut mixed.daemons[0]);
    let bird = || mixed.bird.established(&mixed.rack.node(3).netns);
    wait::until_eq("BIRD to notice", Duration::from_secs(5), bird, &1);
    mixed.daemons[0].resume(&mixed.rack.node(1).netns);
    mixed.wait_up();
    mixed.daemons[0].wait_for_log("restart recovery is over");
    mixed.wait_routes();
    assert_undisturbed(pings, &monitors);
}

#[test]
fn bird_keeps_our_routes_while_pipitd_crashes_and_returns() {
    restart_beside_bird(Pipit::kill);
}

#[test]
fn bird_keeps_our_routes_while_pipitd_is_upgraded() {
    restart_beside_bird(|daemon| assert_eq!(daemon.terminate(), Some(0)));
}

#[test]
fn a_node_goes_from_bird_to_pipit_and_back_and_no_packet_is_lost() {
    let mut mixed = Mixed::new(Plan::default(), 2);
    let (pings, monitors) = (mixed.pings(), mixed.monitors());
    // A container stop, as BIRD meets it: nothing orderly.
    mixed.bird.kill();
    let mut successor = Pipit::start(mixed.rack.node(2), &mixed.source);
    wait::until_eq(
        "the successor's sessions",
        UP,
        || successor.established(),
        &(2, 2),
    );
    successor.wait_for_log("restart recovery is over");
    mixed.wait_routes();
    assert_eq!(successor.terminate(), Some(0));
    mixed.bird.resume(&mixed.rack.node(2).netns);
    mixed.wait_up();
    // What BIRD would take away, it would take away with its next scan.
    std::thread::sleep(BIRD_SCAN);
    mixed.wait_routes();
    assert_undisturbed(pings, &monitors);
}

/// BIRD passes GRACEFUL_SHUTDOWN over, and would keep the routes of a node that merely stops.
#[test]
fn a_node_that_leaves_for_good_takes_its_routes_back_and_leaves_none_behind() {
    let mut mixed = Mixed::new(Plan::default(), 3);
    let block = mixed.rack.plan.block4(1).to_string();
    let is_known = |mixed: &Mixed| {
        let netns = &mixed.rack.node(3).netns;
        mixed
            .bird
            .ctl(netns, &["show", "route", &block])
            .contains("unicast")
    };
    wait::until_eq("the node's block at BIRD", UP, || is_known(&mixed), &true);
    let drained = mixed.daemons[0].pipit(&["drain", "--withdraw"]);
    assert!(drained.status.success(), "{drained:?}");
    wait::until_eq("the block taken back", UP, || is_known(&mixed), &false);
    let verified = mixed.daemons[0].pipit(&["debug", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let netns = &mixed.rack.node(3).netns;
    let all = mixed.sessions();
    assert_eq!(mixed.bird.established(netns), all, "sessions stay");
    mixed.daemons[0].kill();
    let left = || mixed.bird.established(netns);
    wait::until_eq("its sessions to end", UP, left, &(all / 2));
    assert!(!is_known(&mixed), "nothing was kept for its return");
}

#[test]
fn a_drained_node_says_so_and_no_packet_is_lost() {
    let mixed = Mixed::new(Plan::default(), 3);
    let netns = &mixed.rack.node(3).netns;
    let marked = || {
        let routes = mixed.bird.ctl(netns, &["show", "route", "all"]);
        routes.matches("(65535,0)").count()
    };
    assert_eq!(marked(), 0);
    let (pings, monitors) = (mixed.pings(), mixed.monitors());
    let drained = mixed.daemons[0].pipit(&["drain"]);
    assert!(drained.status.success(), "{drained:?}");
    wait::until_eq("the node's block with GRACEFUL_SHUTDOWN at BIRD", UP, marked, &1);
    let verified = mixed.daemons[0].pipit(&["debug", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let undrained = mixed.daemons[0].pipit(&["undrain"]);
    assert!(undrained.status.success(), "{undrained:?}");
    wait::until_eq("nothing marked at BIRD", UP, marked, &0);
    assert_undisturbed(pings, &monitors);
}
