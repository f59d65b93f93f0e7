//! Random histories: whatever others do, whatever the kernel refuses or fails to say, the table ends as it should, and
//! on the way no foreign route is touched and no wanted route is deleted to be written again.

use std::collections::BTreeMap;

use pipit_bgp::Family;

use super::fake_kernel::{FakeKernel, Random};
use super::*;

mod objects;

const PREFIXES: [&str; 6] = [
    "10.65.1.0/26",
    "10.65.2.0/26",
    "10.65.3.0/26",
    "10.65.3.1/32",
    "fd65::1:0/122",
    "fd65::2:0/122",
];
const METRICS: [u32; 3] = [7, 100, 1024];
/// Two on eth0, one on eth1, one behind a static route that comes and goes, one without any route.
const NEXT_HOPS: [&str; 5] = [
    "192.0.2.11",
    "192.0.2.12",
    "198.51.100.7",
    "172.16.9.9",
    "203.0.113.1",
];
const TUNL0: u32 = 5;
const BEHIND: &str = "172.16.0.0/12";
const STEPS: usize = 250;
/// More on demand: `PIPIT_FIB_HISTORIES=100000`.
const SEEDS: u64 = 2000;

struct History {
    random: Random,
    fib: Fib,
    kernel: FakeKernel,
    wanted: BTreeMap<IpNet, FibTarget>,
    /// What other programs wrote and nobody but they (or a link) may remove.
    foreign: BTreeMap<(IpNet, u32), KernelRoute>,
    /// What the RIB was told that it may announce: metrics.
    told: BTreeMap<IpNet, Option<u32>>,
    eth1: u32,
    next_index: u32,
    now: Instant,
    /// Nexthop objects are switched on and off, and others lay hands on them.
    has_objects: bool,
    is_on: bool,
    /// Objects that others made.
    others: BTreeMap<u32, (u8, ObjectContent)>,
}

impl History {
    fn new(seed: u64, has_objects: bool) -> Self {
        let mut kernel = FakeKernel::default();
        kernel.capacity = 1000;
        for event in node() {
            match event {
                KernelEvent::Link { index, name, .. } => kernel.link_up(index, &name),
                KernelEvent::Route {
                    prefix,
                    protocol,
                    route,
                    ..
                } => kernel.write((prefix, route.metric), Some((protocol, route))),
                _ => {}
            }
        }
        let mut history = History {
            random: Random(seed),
            fib: Fib::new(OURS),
            kernel,
            wanted: BTreeMap::new(),
            foreign: BTreeMap::new(),
            told: BTreeMap::new(),
            eth1: 3,
            next_index: 10,
            now: Instant::now(),
            has_objects,
            is_on: false,
            others: BTreeMap::new(),
        };
        for family in Family::ALL {
            let everything = LearnRules {
                scope: LearnScope::Everything,
                ..LearnRules::default()
            };
            history.fib.set_learn_rules(family, everything);
        }
        history.leave_routes_of_an_earlier_life();
        history.kernel.capacity = 5 + history.random.below(40);
        history.kernel.unreliability = history.random.below(20);
        history.kernel.ask_dump();
        history
    }

    fn leave_routes_of_an_earlier_life(&mut self) {
        for prefix in PREFIXES {
            if self.random.chance(50) {
                let route = self.some_route();
                self.kernel
                    .write((net(prefix), route.metric), Some((OURS, route)));
            }
        }
    }

    fn some_route(&mut self) -> KernelRoute {
        let metric = self.random.pick(&METRICS);
        match self.random.below(3) {
            0 => KernelRoute {
                action: KernelAction::Blackhole,
                metric,
                source: None,
                object: None,
                has_more: false,
            },
            1 => unicast(&[way(Some("198.51.100.9"), self.eth1)], metric),
            _ => unicast(&[way(Some("192.0.2.9"), 2)], metric),
        }
    }

    fn some_target(&mut self) -> FibTarget {
        let metric = self.random.pick(&METRICS);
        if self.random.chance(20) {
            return FibTarget {
                metric,
                ..blackhole()
            };
        }
        let tunnel = match self.random.below(4) {
            0 => Tunnel::IpipAlways,
            _ => Tunnel::None,
        };
        let hops: Vec<Hop> = (0..1 + self.random.below(2))
            .map(|_| Hop {
                tunnel,
                ..hop(self.random.pick(&NEXT_HOPS))
            })
            .collect();
        via(&hops, metric)
    }

    fn step(&mut self) {
        if self.has_objects && self.random.chance(25) {
            self.something_about_objects();
            return self.carry_out();
        }
        match self.random.below(16) {
            0..=3 => self.rib_decides(),
            4 => self.somebody_writes(),
            5 => self.somebody_deletes(),
            6 => self.eth1_changes(),
            7 if self.random.chance(30) => self.tunl0_changes(),
            7 => self.the_way_behind_changes(),
            8..=10 => self.kernel.serve(&mut self.random),
            11 => self.kernel.dump_part(&mut self.random),
            12 | 13 => {
                let max = 1 + self.random.below(20);
                self.kernel.deliver_events(&mut self.fib, max);
            }
            14 if self.random.chance(10) => self.fib.allow_sweep(),
            _ => self.time_passes(),
        }
        self.carry_out();
    }

    fn rib_decides(&mut self) {
        let prefix = self.random.pick(&PREFIXES);
        let target = self.random.chance(75).then(|| self.some_target());
        match &target {
            Some(target) => drop(self.wanted.insert(net(prefix), target.clone())),
            None => drop(self.wanted.remove(&net(prefix))),
        }
        set(&mut self.fib, prefix, target);
    }

    /// Another program, or somebody who uses our number, writes or replaces.
    fn somebody_writes(&mut self) {
        let (prefix, route) = (net(self.random.pick(&PREFIXES)), self.some_route());
        if !self.is_alive(&route) {
            return;
        }
        let key = (prefix, route.metric);
        if self.random.chance(50) {
            self.foreign.insert(key, route.clone());
            self.kernel.write(key, Some((STATIC, route)));
        } else {
            self.foreign.remove(&key);
            self.kernel.write(key, Some((OURS, route)));
        }
    }

    fn is_alive(&self, route: &KernelRoute) -> bool {
        self.kernel.links.contains_key(&self.eth1) || !route.uses(self.eth1)
    }

    fn somebody_deletes(&mut self) {
        let keys: Vec<_> = self.kernel.routes.keys().copied().collect();
        let key = self.random.pick(&keys);
        if PREFIXES.iter().any(|prefix| net(prefix) == key.0) {
            self.foreign.remove(&key);
            self.kernel.write(key, None);
        }
    }

    /// Down, gone, up again, or back under another number.
    fn eth1_changes(&mut self) {
        let connected = (net("198.51.100.0/24"), 0);
        if self.kernel.links.contains_key(&self.eth1) {
            let is_gone = self.random.chance(50);
            self.foreign.retain(|_, route| !route.uses_only(self.eth1));
            self.kernel.link_down(self.eth1, is_gone);
            if is_gone {
                self.eth1 = self.next_index;
                self.next_index += 1;
            }
        } else {
            self.kernel.link_up(self.eth1, "eth1");
            let route = unicast(&[way(None, self.eth1)], 0);
            self.kernel.write(connected, Some((KERNEL, route)));
        }
    }

    fn tunl0_changes(&mut self) {
        if self.kernel.links.contains_key(&TUNL0) {
            let is_gone = self.random.chance(50);
            self.kernel.link_down(TUNL0, is_gone);
        } else {
            self.kernel.link_up(TUNL0, "tunl0");
        }
    }

    fn the_way_behind_changes(&mut self) {
        let gateways = [way(Some("192.0.2.1"), 2), way(Some("198.51.100.1"), self.eth1)];
        let route = unicast(&[self.random.pick(&gateways)], 0);
        let new = (self.random.chance(70) && self.is_alive(&route)).then_some((STATIC, route));
        self.kernel.write((net(BEHIND), 0), new);
    }

    fn time_passes(&mut self) {
        self.now += Duration::from_millis(1 << self.random.below(14));
        self.fib.handle_timeout(self.now);
    }

    /// What the RIB's task does after each input.
    fn carry_out(&mut self) {
        while let Some(event) = self.fib.poll_event() {
            match event {
                FibEvent::WantsDump => self.kernel.ask_dump(),
                FibEvent::Learned(prefix, _, Some(route)) => drop(self.told.insert(prefix, route.metric)),
                FibEvent::Learned(prefix, _, None) => {
                    assert!(self.told.remove(&prefix).is_some(), "{prefix} was never told");
                }
                FibEvent::Loaded { .. } | FibEvent::NextHopChanged(..) | FibEvent::AddressesChanged => {}
            }
        }
        while let Some(work) = self.fib.poll_work() {
            match work {
                FibWork::Routes(ops) => {
                    ops.iter().for_each(|op| self.check(op));
                    self.kernel.ask(ops);
                }
                FibWork::Objects(ops) => {
                    ops.iter().for_each(|op| self.check_object(op));
                    self.kernel.ask_objects(ops);
                }
            }
        }
    }

    /// Never delete-then-add: a deletion is of what is not wanted, or of another metric than the one in place.
    fn check(&self, op: &FibOp) {
        if op.kind != FibOpKind::Delete {
            return;
        }
        let views = self.fib.query();
        let Some(view) = views.iter().find(|view| view.prefix == op.prefix) else {
            return;
        };
        match view.state {
            "removing" | "stale" | "conflict" | "parked" | "refused" => {}
            "installed" | "shadowed" => assert_ne!(view.metric, op.route.metric, "{} of {view:?}", words(op)),
            state => panic!("{} while {state}: {view:?}", words(op)),
        }
    }

    /// Peace: everything is delivered, nobody else writes, the kernel is reliable.
    fn settle(&mut self, seed: u64) {
        self.kernel.unreliability = 0;
        self.kernel.capacity = usize::MAX;
        self.fib.allow_sweep();
        self.fib.hold_back(false);
        // What is there without it depends on the past.
        if !self.kernel.links.contains_key(&TUNL0) {
            self.kernel.link_up(TUNL0, "tunl0");
        }
        for _ in 0..2000 {
            self.carry_out();
            self.kernel.serve(&mut self.random);
            self.kernel.dump_part(&mut self.random);
            self.kernel.deliver_events(&mut self.fib, 50);
            self.carry_out();
            if !self.kernel.is_quiet() || !self.fib.is_settled() {
                continue;
            }
            let has_leftovers = self.fib.ipv4.has_leftovers() || self.fib.ipv6.has_leftovers();
            let unfinished = ["refused", "pending", "removing", "stale"];
            let is_finished = self
                .fib
                .query()
                .iter()
                .all(|view| !unfinished.contains(&view.state));
            if is_finished
                && !has_leftovers
                && !self.fib.shapes.objects.has_refused()
                && self.fib.resistance.until.is_none()
            {
                return;
            }
            self.now = self
                .fib
                .poll_timeout()
                .expect("somebody waits for nothing")
                .max(self.now);
            self.fib.handle_timeout(self.now);
        }
        panic!(
            "seed {seed}, no end: {:?}; {:#?}; {:?}",
            self.fib.query(),
            self.fib.shapes.objects,
            self.kernel.objects
        );
    }

    /// What a kernel should hold that nothing but the present state had ever made.
    fn expected(&self, target: &FibTarget) -> Option<KernelRoute> {
        let metric = target.metric;
        let FibAction::Via(hops) = &target.action else {
            let action = KernelAction::Blackhole;
            return Some(KernelRoute {
                action,
                metric,
                source: None,
                object: None,
                has_more: false,
            });
        };
        let way = |hop: &Hop| match hop.tunnel {
            Tunnel::None => self.way_to(hop.next_hop),
            _ => Some(KernelHop {
                gateway: Some(hop.next_hop),
                device: TUNL0,
                is_onlink: true,
                weight: 1,
            }),
        };
        let mut ways: Vec<KernelHop> = hops.iter().filter_map(way).collect();
        let has_carrier = |way: &KernelHop| !self.kernel.without_carrier.contains(&way.device);
        if ways.iter().any(has_carrier) {
            ways.retain(has_carrier);
        }
        ways.sort();
        if let [first, second] = ways[..]
            && (first.gateway, first.device) == (second.gateway, second.device)
        {
            ways.pop();
        }
        (!ways.is_empty()).then(|| unicast(&ways, metric))
    }

    fn way_to(&self, next_hop: IpAddr) -> Option<KernelHop> {
        let routes = self.kernel.routes.iter();
        let covering =
            routes.filter(|((prefix, _), (protocol, _))| *protocol != OURS && prefix.contains(&next_hop));
        let (_, (_, route)) = covering.max_by_key(|((prefix, _), _)| prefix.prefix_len())?;
        let KernelAction::Unicast(hops) = &route.action else {
            return None;
        };
        Some(KernelHop {
            gateway: hops[0].gateway.or(Some(next_hop)),
            ..hops[0]
        })
    }

    fn check_end(&self, seed: u64) {
        let ours = |prefix: IpNet| -> Vec<&KernelRoute> {
            let routes = self.kernel.routes.range((prefix, 0)..=(prefix, u32::MAX));
            routes
                .filter(|(_, (protocol, _))| *protocol == OURS)
                .map(|(_, (_, route))| route)
                .collect()
        };
        for prefix in PREFIXES.map(net) {
            let expected = self.wanted.get(&prefix).and_then(|target| self.expected(target));
            let expected = expected.filter(|route| !self.foreign.contains_key(&(prefix, route.metric)));
            let expected: Vec<&KernelRoute> = expected.iter().collect();
            let there: Vec<KernelRoute> = ours(prefix)
                .into_iter()
                .map(|route| self.kernel.effective(route))
                .collect();
            assert_eq!(
                there.iter().collect::<Vec<_>>(),
                expected,
                "seed {seed}, {prefix}: {:?}",
                self.fib.query()
            );
        }
        self.check_objects_at_the_end(seed);
        let mut learnable = BTreeMap::new();
        for (&(prefix, metric), (protocol, _)) in &self.kernel.routes {
            if *protocol == STATIC {
                learnable.entry(prefix).or_insert(Some(metric));
            }
        }
        assert_eq!(self.told, learnable, "seed {seed}");
        for (key, route) in &self.foreign {
            let there = self.kernel.routes.get(key);
            assert_eq!(there, Some(&(STATIC, route.clone())), "seed {seed}, {key:?}");
        }
    }
}

fn every_history_ends_right(has_objects: bool) {
    let seeds = std::env::var("PIPIT_FIB_HISTORIES").map_or(SEEDS, |text| text.parse().unwrap());
    for seed in 0..seeds {
        let mut history = History::new(seed, has_objects);
        for _ in 0..STEPS {
            history.step();
        }
        history.settle(seed);
        let overwritten = &history.kernel.overwritten;
        history.foreign.retain(|key, _| !overwritten.contains(key));
        history.check_end(seed);
    }
}

#[test]
fn every_history_ends_in_the_wanted_table_and_spares_foreign_routes() {
    every_history_ends_right(false);
}

#[test]
fn with_nexthop_objects_every_history_ends_in_the_wanted_table_too() {
    every_history_ends_right(true);
}
