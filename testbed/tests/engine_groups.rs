//! Policy that changes under sessions that stay: each neighbour hears the difference, counted by the neighbours
//! themselves. `n1` reflects with pipit; `n2` announces and the others listen with BIRD.

use std::fmt::Write;
use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, node, resource};
use pipit_testbed::kernel::temporary;
use pipit_testbed::mesh::UP;
use pipit_testbed::process::Process;
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

const CHANGE: Duration = Duration::from_secs(5);
const ROUTES: usize = 200;
const LISTENERS: [usize; 3] = [3, 4, 5];

/// A BIRD with one session, to `n1`.
struct Bird {
    number: usize,
    _process: Process,
    folder: tempfile::TempDir,
}

/// What a BIRD has been told: UPDATEs with a route, withdrawals.
type Told = (usize, usize);

impl Bird {
    fn start(rack: &Rack, number: usize, statics: &str) -> Bird {
        let own = rack.node(number).addresses[0].addr();
        let peer = rack.node(1).addresses[0].addr();
        let config = format!(
            "router id {own};\nlog stderr all;\nprotocol device {{}}\n{statics}\n\
             protocol bgp n1 {{\n  local {own} as 64512;\n  neighbor {peer} as 64512;\n  multihop;\n  \
             connect delay time 1; connect retry time 1;\n  ipv4 {{ import all; export where source = RTS_STATIC; }};\n}}\n"
        );
        let folder = temporary();
        std::fs::write(folder.path().join("bird.conf"), config).unwrap();
        let mut command = rack.node(number).netns.command("/usr/sbin/bird");
        command.arg("-f").arg("-c").arg(folder.path().join("bird.conf"));
        command.arg("-s").arg(folder.path().join("bird.ctl"));
        let process = Process::start("bird", command, &folder.path().join("log"));
        Bird {
            number,
            _process: process,
            folder,
        }
    }

    fn ask(&self, rack: &Rack, words: &[&str]) -> String {
        let mut command = rack.node(self.number).netns.command("birdc");
        command.arg("-s").arg(self.folder.path().join("bird.ctl"));
        let output = command.args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn told(&self, rack: &Rack) -> Told {
        let text = self.ask(rack, &["show", "protocols", "all", "n1"]);
        let received = |what: &str| {
            let line = text.lines().find(|line| line.trim().starts_with(what));
            let count = line.and_then(|line| line.split_whitespace().nth(2));
            count.and_then(|count| count.parse().ok()).unwrap_or(0)
        };
        (received("Import updates:"), received("Import withdraws:"))
    }

    fn has(&self, rack: &Rack, prefix: &str) -> bool {
        self.ask(rack, &["show", "route", prefix, "protocol", "n1"])
            .contains(prefix)
    }
}

/// Programs come before the namespaces that they run in.
struct Bench {
    daemon: Pipit,
    announcer: Bird,
    listeners: Vec<Bird>,
    store: Manifests,
    rack: Rack,
}

impl Bench {
    fn new() -> Bench {
        let rack = Rack::new(Plan::default(), 5);
        let mut store = Manifests::default();
        store.apply_rack(&rack);
        let mut reflector = node("n1", &rack.node(1).addresses, None);
        reflector["spec"]["bgp"]["routeReflectorClusterID"] = json!("10.0.0.1");
        store.apply(&reflector);
        let off = json!({"nodeToNodeMeshEnabled": false});
        store.apply(&resource("BGPConfiguration", "default", off));
        store.apply(&filter("open", json!([])));
        let mut statics = String::new();
        for number in 0..ROUTES {
            let protocol = format!(
                "protocol static s{number} {{ ipv4; route {} blackhole; }}",
                prefix(number)
            );
            writeln!(statics, "{protocol}").unwrap();
        }
        // A route that comes and goes says how far everybody has heard.
        write!(
            statics,
            "protocol static marker {{ disabled; ipv4; route 192.0.2.0/24 blackhole; }}"
        )
        .unwrap();
        let mut bench = Bench {
            daemon: Pipit::start(rack.node(1), &Source::File(store.path().to_owned())),
            announcer: Bird::start(&rack, 2, &statics),
            listeners: LISTENERS.map(|number| Bird::start(&rack, number, "")).into(),
            store,
            rack,
        };
        for number in [2, 3, 4, 5] {
            bench.peer(number, "open");
        }
        let daemon = &bench.daemon;
        wait::until_eq("the sessions", UP, || daemon.established(), &(4, 4));
        let last = prefix(ROUTES - 1);
        for bird in &bench.listeners {
            wait::until_eq("the routes", CHANGE, || bird.has(&bench.rack, &last), &true);
        }
        bench
    }

    fn peer(&mut self, number: usize, filter: &str) {
        let address = self.rack.node(number).addresses[0].addr().to_string();
        let spec = json!({"node": "n1", "peerIP": address, "asNumber": 64512, "filters": [filter],
            "reversePeering": "Manual"});
        let mut peer = resource("BGPPeer", &format!("n{number}"), spec);
        peer["metadata"]["annotations"] =
            json!({"pipit.io/route-reflector-client": "true", "pipit.io/add-path": "off"});
        self.store.apply(&peer);
    }

    /// What each listener is told by a change and everything before the marker, which comes after it.
    #[track_caller]
    fn told_by(&mut self, change: impl FnOnce(&mut Bench), seen: impl Fn(&Bench) -> bool) -> Vec<Told> {
        let counts = |bench: &Bench| -> Vec<Told> {
            let told = |bird: &Bird| bird.told(&bench.rack);
            bench.listeners.iter().map(told).collect()
        };
        let before = counts(self);
        change(self);
        wait::until_eq("the change", CHANGE, || seen(self), &true);
        for (command, is_there) in [("enable", true), ("disable", false)] {
            self.announcer.ask(&self.rack, &[command, "marker"]);
            for bird in &self.listeners {
                wait::until_eq(
                    "the marker",
                    CHANGE,
                    || bird.has(&self.rack, "192.0.2.0/24"),
                    &is_there,
                );
            }
        }
        let after = counts(self).into_iter().zip(before);
        after
            .map(|(after, before)| (after.0 - before.0 - 1, after.1 - before.1 - 1))
            .collect()
    }
}

fn prefix(number: usize) -> String {
    format!("198.18.{number}.0/24")
}

/// Accepts all but what the rules say.
fn filter(name: &str, rules: Value) -> Value {
    let mut rules = rules.as_array().unwrap().clone();
    rules.push(json!({"action": "Accept"}));
    resource("BGPFilter", name, json!({"exportV4": rules}))
}

fn without(name: &str, numbers: &[usize]) -> Value {
    let reject =
        |number: &usize| json!({"cidr": prefix(*number), "matchOperator": "Equal", "action": "Reject"});
    filter(name, numbers.iter().map(reject).collect())
}

#[test]
fn a_neighbour_that_gets_a_filter_of_its_own_hears_the_difference_and_the_others_nothing() {
    let mut bench = Bench::new();
    let lacks = |at: usize, number: usize| {
        move |bench: &Bench| !bench.listeners[at].has(&bench.rack, &prefix(number))
    };
    bench.store.apply(&without("strict", &[3, 7]));
    let told = bench.told_by(|bench| bench.peer(3, "strict"), lacks(0, 7));
    assert_eq!(told, [(0, 2), (0, 0), (0, 0)]);
    let told = bench.told_by(|bench| bench.peer(4, "strict"), lacks(1, 7));
    assert_eq!(told, [(0, 0), (0, 2), (0, 0)]);
    // The filter itself changes: both that have it hear of it, once.
    let edit = |bench: &mut Bench| bench.store.apply(&without("strict", &[7, 9]));
    let told = bench.told_by(edit, lacks(1, 9));
    assert_eq!(told, [(1, 1), (1, 1), (0, 0)]);
    // And back.
    let has = |bench: &Bench| bench.listeners[0].has(&bench.rack, &prefix(7));
    let told = bench.told_by(|bench| bench.peer(3, "open"), has);
    assert_eq!(told, [(2, 0), (0, 0), (0, 0)]);
    assert!(bench.daemon.items("peers").iter().all(|peer| peer["flaps"] == 0));
    let verdict = bench.daemon.pipit(&["debug", "verify"]);
    assert!(verdict.status.success(), "{verdict:?}");
}

#[test]
fn a_cluster_that_is_renamed_is_announced_under_its_new_name() {
    let mut bench = Bench::new();
    let all = |bird: &Bird, rack: &Rack| bird.ask(rack, &["show", "route", "198.18.1.0/24", "all"]);
    let named = |bench: &Bench, name: &str| {
        let text = format!("BGP.cluster_list: {name}");
        bench
            .listeners
            .iter()
            .all(|bird| all(bird, &bench.rack).contains(&text))
    };
    assert!(named(&bench, "10.0.0.1"));
    let rename = |bench: &mut Bench| {
        let mut reflector = node("n1", &bench.rack.node(1).addresses, None);
        reflector["spec"]["bgp"]["routeReflectorClusterID"] = json!("10.9.9.9");
        bench.store.apply(&reflector);
    };
    let told = bench.told_by(rename, |bench| named(bench, "10.9.9.9"));
    assert!(told.iter().all(|&(_, withdrawn)| withdrawn == 0), "{told:?}");
}
