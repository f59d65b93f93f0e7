//! A mesh in which one node still runs BIRD, configured as Calico's confd does.

use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store};
use pipit_testbed::kernel::bird_routes;
use pipit_testbed::mesh::UP;
use pipit_testbed::ping::{self, Ping};
use pipit_testbed::speaker::{Bird, Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;

struct Mixed {
    bird: Bird,
    daemons: Vec<Pipit>,
    _store: Manifests,
    rack: Rack,
    bird_number: usize,
}

/// Three nodes, BIRD on one of them. Which one decides who dials.
fn mixed(bird_number: usize) -> Mixed {
    let rack = Rack::new(Plan::default(), 3);
    let mut store = Manifests::default();
    store.apply_rack(&rack);
    let plan = rack.plan;
    let address = |number| plan.node4(number).unwrap();
    let peers: Vec<_> = (1..=3)
        .filter(|number| *number != bird_number)
        .map(address)
        .collect();
    let bird = Bird::start(
        rack.node(bird_number),
        address(bird_number),
        plan.block4(bird_number),
        plan.pool4,
        &peers,
        64512,
    );
    let source = Source::File(store.path().to_owned());
    let others = rack.nodes.iter().filter(|node| node.number != bird_number);
    let daemons = others.map(|node| Pipit::start(node, &source)).collect();
    Mixed {
        bird,
        daemons,
        _store: store,
        rack,
        bird_number,
    }
}

impl Mixed {
    fn wait_up(&self) {
        for daemon in &self.daemons {
            wait::until_eq("both sessions", UP, || daemon.established(), &(2, 2));
        }
        let netns = &self.rack.node(self.bird_number).netns;
        wait::until_eq("BIRD's sessions", UP, || self.bird.established(netns), &2);
        for node in &self.rack.nodes {
            let has_all = || bird_routes(&node.netns).len();
            wait::until_eq(&format!("routes of {}", node.name), UP, has_all, &3);
        }
    }
}

#[test]
fn bird_and_pipit_exchange_blocks_whoever_dials() {
    for number in [1, 3] {
        let mixed = mixed(number);
        mixed.wait_up();
        for from in &mixed.rack.nodes {
            for to in mixed.rack.nodes.iter().filter(|to| to.number != from.number) {
                let address = to.pods[0].addresses[0].to_string();
                assert!(
                    ping::answers(&from.pods[0].netns, &address),
                    "{} to {}",
                    from.name,
                    to.name
                );
            }
        }
        let netns = &mixed.rack.node(number).netns;
        let routes = mixed.bird.ctl(netns, &["show", "route", "all"]);
        let from_pipit = routes.matches("BGP.local_pref: 2147482623").count();
        assert_eq!(
            from_pipit, 2,
            "LOCAL_PREF is 2147483647 less the priority 1024: {routes}"
        );
    }
}

#[test]
fn bird_keeps_our_routes_while_pipitd_restarts() {
    let mut mixed = mixed(3);
    mixed.wait_up();
    let target = mixed.rack.node(1).pods[0].addresses[0].to_string();
    let ping = Ping::start(&mixed.rack.node(3).pods[0].netns, &target);
    let netns = mixed.rack.nodes[0].netns.name().to_owned();
    assert!(netns.contains("n1"));
    mixed.daemons[0].kill();
    let has_lost = || mixed.bird.established(&mixed.rack.nodes[2].netns);
    wait::until_eq("BIRD to notice", Duration::from_secs(5), has_lost, &1);
    mixed.daemons[0].resume(&mixed.rack.nodes[0].netns);
    mixed.wait_up();
    let report = ping.stop();
    assert_eq!(report.lost(), 0, "{report:?}");
}
