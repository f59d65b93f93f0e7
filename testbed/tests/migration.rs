//! A cluster that runs Calico's BIRD goes to pipit node by node, and back, while its pods talk to each other: the
//! steps of docs/migrating-from-bird.md.

use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, first_blocks, mesh_routes};
use pipit_testbed::kernel::{Monitor, bird_routes};
use pipit_testbed::ping::Ping;
use pipit_testbed::speaker::{Bird, Pipit, Source};
use pipit_testbed::topology::{Node, Plan, Rack};
use pipit_testbed::wait;

const NODES: usize = 10;
/// For one node to be back, whatever it runs now.
const BACK: Duration = Duration::from_secs(30);

/// What a node runs.
enum Speaker {
    Bird,
    Pipit(Pipit),
}

/// Programs come before the namespaces that they run in.
struct Cluster {
    birds: Vec<Bird>,
    speakers: Vec<Speaker>,
    source: Source,
    _store: Manifests,
    rack: Rack,
}

impl Cluster {
    /// Every node runs BIRD, and is up.
    fn of_birds() -> Cluster {
        let rack = Rack::new(Plan::default(), NODES);
        let mut store = Manifests::default();
        store.apply_rack(&rack);
        let numbers = rack.nodes.iter().map(|node| node.number);
        let cluster = Cluster {
            birds: numbers.map(|number| Bird::start(&rack, number, 64512)).collect(),
            speakers: rack.nodes.iter().map(|_| Speaker::Bird).collect(),
            source: Source::File(store.path().to_owned()),
            _store: store,
            rack,
        };
        (1..=NODES).for_each(|number| cluster.wait_back(number));
        cluster
    }

    fn node(&self, number: usize) -> &Node {
        self.rack.node(number)
    }

    /// A node has all its sessions and routes, and no longer recovers.
    #[track_caller]
    fn wait_back(&self, number: usize) {
        let (node, bird) = (self.node(number), &self.birds[number - 1]);
        let is_up = || match &self.speakers[number - 1] {
            Speaker::Bird => (bird.established(&node.netns), bird.is_recovering(&node.netns)),
            Speaker::Pipit(daemon) => {
                let is_recovering = !daemon.log().contains("restart recovery is over");
                (daemon.established().0, is_recovering)
            }
        };
        let what = format!("sessions of {}", node.name);
        wait::until_eq(&what, BACK, is_up, &(NODES - 1, false));
        let expected = mesh_routes(&self.rack, number, &first_blocks(&self.rack));
        let what = format!("routes of {}", node.name);
        wait::until_eq(&what, BACK, || bird_routes(&node.netns), &expected);
    }

    /// BIRD goes as with its container, and pipitd comes in its place.
    fn move_to_pipit(&mut self, number: usize) {
        self.birds[number - 1].kill();
        let daemon = Pipit::start(self.rack.node(number), &self.source);
        self.speakers[number - 1] = Speaker::Pipit(daemon);
        self.wait_back(number);
    }

    /// And the other way round.
    fn move_to_bird(&mut self, number: usize) {
        if let Speaker::Pipit(daemon) = &mut self.speakers[number - 1] {
            assert_eq!(daemon.terminate(), Some(0));
        }
        self.speakers[number - 1] = Speaker::Bird;
        self.birds[number - 1].resume(&self.rack.node(number).netns);
        self.wait_back(number);
    }

    /// Pings between the pods of all pairs of nodes.
    fn pings(&self) -> Vec<Ping> {
        let nodes = &self.rack.nodes;
        let pairs = nodes
            .iter()
            .flat_map(|from| nodes.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.number != to.number);
        let start = |(from, to): (&Node, &Node)| {
            Ping::start(&from.pods[0].netns, &to.pods[0].addresses[0].to_string())
        };
        pairs.map(start).collect()
    }
}

#[test]
fn ten_nodes_go_to_pipit_one_by_one_and_back_and_no_packet_is_lost() {
    let mut cluster = Cluster::of_birds();
    let pings = cluster.pings();
    let monitors: Vec<Monitor> = cluster
        .rack
        .nodes
        .iter()
        .map(|node| Monitor::start(&node.netns))
        .collect();
    (1..=NODES).for_each(|number| cluster.move_to_pipit(number));
    (1..=NODES).rev().for_each(|number| cluster.move_to_bird(number));
    for ping in pings {
        let report = ping.stop();
        assert_eq!(report.lost(), 0, "{report:?}");
    }
    for (monitor, node) in monitors.iter().zip(&cluster.rack.nodes) {
        assert_eq!(
            monitor.deletions_beside(&[]),
            Vec::<String>::new(),
            "{}",
            node.name
        );
    }
}
