//! A rack whose nodes all run pipitd: what most scenarios start from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use crate::calico::{Manifests, Store, first_blocks, mesh_routes};
use crate::kernel::bird_routes;
use crate::ping;
use crate::speaker::{Pipit, Source};
use crate::topology::{Plan, Rack};
use crate::wait;

/// How long a mesh may take to come up: two retries of a dial that found nobody.
pub const UP: Duration = Duration::from_secs(15);
/// How long a change may take to act (issue 2).
pub const CHANGE: Duration = Duration::from_secs(1);

/// Nodes with pipitd, reading from `store`.
#[derive(Debug)]
pub struct Mesh<S> {
    /// The daemons, `n1` first. Dropped before the namespaces they run in.
    pub daemons: Vec<Pipit>,
    /// Where the resources are.
    pub store: S,
    /// The nodes.
    pub rack: Rack,
    /// The blocks that each node should have.
    pub blocks: BTreeMap<usize, Vec<IpNet>>,
    source: Source,
}

impl Mesh<Manifests> {
    /// A mesh on the file datastore, up.
    pub fn from_files(plan: Plan, count: usize) -> Self {
        let store = Manifests::default();
        let source = Source::File(store.path().to_owned());
        let mut mesh = Mesh::prepare(Rack::new(plan, count), store, source);
        mesh.start();
        mesh
    }
}

impl<S: Store> Mesh<S> {
    /// Resources are applied; no daemon runs yet.
    pub fn prepare(rack: Rack, mut store: S, source: Source) -> Self {
        store.apply_rack(&rack);
        let blocks = first_blocks(&rack);
        Mesh {
            daemons: Vec::new(),
            store,
            rack,
            blocks,
            source,
        }
    }

    /// Starts a daemon on every node that has none, and waits for the mesh.
    #[track_caller]
    pub fn start(&mut self) {
        for node in &self.rack.nodes[self.daemons.len()..] {
            self.daemons.push(Pipit::start(node, &self.source));
        }
        self.wait_up();
    }

    /// Adds a node to rack and resources, and starts its daemon.
    #[track_caller]
    pub fn join(&mut self) -> usize {
        let node = self.rack.add_node();
        let number = node.number;
        self.store
            .apply(&crate::calico::node(&node.name, &node.addresses, None));
        for block in crate::calico::blocks(&self.rack.plan, number) {
            self.assign(number, block);
        }
        self.daemons
            .push(Pipit::start(self.rack.node(number), &self.source));
        number
    }

    /// A node gets a block.
    pub fn assign(&mut self, number: usize, block: IpNet) {
        self.store.assign(&format!("n{number}"), block);
        self.blocks.entry(number).or_default().push(block);
    }

    /// A node loses a block.
    pub fn release(&mut self, number: usize, block: IpNet) {
        self.store.release(&format!("n{number}"), block);
        self.blocks
            .entry(number)
            .or_default()
            .retain(|have| *have != block);
    }

    /// A daemon.
    pub fn daemon(&mut self, number: usize) -> &mut Pipit {
        &mut self.daemons[number - 1]
    }

    /// Waits until every daemon has every session, and every kernel exactly the mesh's routes.
    #[track_caller]
    pub fn wait_up(&self) {
        let others: usize = self.rack.nodes.len() - 1;
        let families = self
            .rack
            .nodes
            .iter()
            .map(|node| node.addresses.len())
            .max()
            .unwrap_or(0);
        for daemon in &self.daemons {
            let all = others * families;
            wait::until_eq("all sessions", UP, || daemon.established(), &(all, all));
        }
        self.wait_routes(UP);
    }

    /// Waits until every kernel has exactly the mesh's routes; how long the last one took.
    #[track_caller]
    pub fn wait_routes(&self, deadline: Duration) -> Duration {
        let times = self.rack.nodes.iter().map(|node| {
            let expected = self.expected(node.number);
            let what = format!("kernel routes of {}", node.name);
            wait::until_eq(&what, deadline, || bird_routes(&node.netns), &expected)
        });
        times.max().unwrap_or_default()
    }

    /// The routes that a node's kernel should have.
    pub fn expected(&self, number: usize) -> BTreeSet<String> {
        mesh_routes(&self.rack, number, &self.blocks)
    }

    /// Every pod pings every pod of another node.
    #[track_caller]
    pub fn ping_all(&self) {
        for from in &self.rack.nodes {
            for to in self.rack.nodes.iter().filter(|to| to.number != from.number) {
                for address in to.pods.iter().flat_map(|pod| &pod.addresses) {
                    let answers = from
                        .pods
                        .iter()
                        .all(|pod| ping::answers(&pod.netns, &address.to_string()));
                    assert!(
                        answers,
                        "a pod of {} does not reach {address} on {}",
                        from.name, to.name
                    );
                }
            }
        }
    }
}
