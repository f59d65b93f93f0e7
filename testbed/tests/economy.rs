//! A change moves what it concerns and nothing else: counted at a BIRD that is the other side.

use std::time::Duration;

use ipnet::IpNet;
use pipit_testbed::calico::{Manifests, Store, resource};
use pipit_testbed::mesh::UP;
use pipit_testbed::speaker::{Bird, Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

/// Own blocks of the node whose changes are counted.
const BLOCKS: u32 = 1_000;
/// A thousand manifests are read anew with each change.
const PATIENCE: Duration = Duration::from_secs(10);

/// `n1` runs pipit with a thousand blocks, `n2` BIRD. Programs come before the namespaces that they run in.
struct Bench {
    bird: Bird,
    daemon: Pipit,
    store: Manifests,
    rack: Rack,
    markers: u32,
}

/// UPDATEs' prefixes that BIRD has received from `n1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Received {
    announced: u64,
    withdrawn: u64,
}

/// The own block with a number: /28s of the pool's second half.
fn block(number: u32) -> IpNet {
    let [_, _, high, low] = (0x8000 + number * 16).to_be_bytes();
    format!("10.65.{high}.{low}/28").parse().unwrap()
}

impl Bench {
    fn new() -> Bench {
        let rack = Rack::new(Plan::default(), 2);
        let mut store = Manifests::default();
        store.apply_rack(&rack);
        for number in 0..BLOCKS {
            store.assign("n1", block(number));
        }
        store.apply(&tor(&bird_address(&rack), json!({})));
        let bird = Bird::start(&rack, 2, 64512);
        let source = Source::File(store.path().to_owned());
        let daemon = Pipit::start(rack.node(1), &source);
        let bench = Bench {
            bird,
            daemon,
            store,
            rack,
            markers: 0,
        };
        bench.wait_block(block(BLOCKS - 1), true);
        bench.mark(0);
        bench
    }

    fn session(&self) -> String {
        let address = self.rack.node(1).addresses[0].addr().to_string();
        format!("Mesh_{}", address.replace('.', "_"))
    }

    fn ctl(&self, words: &[&str]) -> String {
        self.bird.ctl(&self.rack.node(2).netns, words)
    }

    #[track_caller]
    fn wait_block(&self, block: IpNet, is_there: bool) {
        let block = block.to_string();
        let has = || self.ctl(&["show", "route", &block]).contains(&block);
        wait::until_eq(&format!("{block} at BIRD"), UP, has, &is_there);
    }

    /// What BIRD has received so far.
    fn received(&self) -> Received {
        let text = self.ctl(&["show", "protocols", "all", &self.session()]);
        let count = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.trim_start().starts_with(name));
            let count = line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
            count.unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        Received {
            announced: count("Import updates:"),
            withdrawn: count("Import withdraws:"),
        }
    }

    /// When the one session came up, and how often it has ended.
    fn life(&self) -> Vec<(Value, Value, Value)> {
        let peers = self.daemon.items("peers");
        let of = |peer: &Value| {
            (
                peer["state"].clone(),
                peer["since"].clone(),
                peer["flaps"].clone(),
            )
        };
        peers.iter().map(of).collect()
    }

    /// A further block, number `marker`: routes arrive in order, so that what was to arrive before it has.
    fn mark(&self, marker: u32) {
        let mut spec = json!({"node": "n1", "state": "confirmed", "deleted": "false"});
        let cidr = block(BLOCKS + marker);
        spec["cidr"] = cidr.to_string().into();
        let object = resource("BlockAffinity", &format!("marker-{marker}"), spec);
        self.store
            .write(&format!("marker-{marker}.yaml"), &object.to_string());
        self.wait_block(cidr, true);
    }

    /// Makes a change, and says what it cost beside its marker.
    #[track_caller]
    fn cost(&mut self, what: &str, change: impl FnOnce(&mut Manifests)) -> (u64, u64) {
        let (before, life) = (self.received(), self.life());
        assert_eq!(
            (life.len(), &life[0].0),
            (1, &json!("Established")),
            "before {what}"
        );
        change(&mut self.store);
        self.markers += 1;
        self.mark(self.markers);
        let after = self.received();
        assert_eq!(self.life(), life, "{what} resets a session");
        (
            after.announced - before.announced - 1,
            after.withdrawn - before.withdrawn,
        )
    }
}

fn bird_address(rack: &Rack) -> String {
    rack.node(2).addresses[0].addr().to_string()
}

/// The session with BIRD as a BGPPeer.
fn tor(address: &str, fields: Value) -> Value {
    let mut spec = json!({"node": "n1", "peerIP": address, "asNumber": 64512, "reversePeering": "Manual"});
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    resource("BGPPeer", "tor", spec)
}

fn filter(rules: Value) -> Value {
    resource("BGPFilter", "some", rules)
}

#[test]
fn c106_one_block_of_a_thousand_is_one_prefix_there_and_one_back() {
    let mut bench = Bench::new();
    let one = block(BLOCKS + 900);
    assert_eq!(
        bench.cost("a block more", |store| store.assign("n1", one)),
        (1, 0)
    );
    assert_eq!(
        bench.cost("a block less", |store| store.release("n1", one)),
        (0, 1)
    );
    let other = |store: &mut Manifests| store.assign("n2", block(BLOCKS + 901));
    assert_eq!(bench.cost("a block of another node", other), (0, 0));
    let pending = |store: &mut Manifests| {
        let spec = json!({"node": "n1", "cidr": block(BLOCKS + 902).to_string(), "state": "pending"});
        store.apply(&resource("BlockAffinity", "claimed", spec));
    };
    assert_eq!(bench.cost("a claim that is pending", pending), (0, 0));
}

#[test]
fn c202_l2_l4_what_concerns_no_route_sends_none_and_resets_nothing() {
    let mut bench = Bench::new();
    let address = bird_address(&bench.rack);
    let peer = |fields: Value| {
        let object = tor(&address, fields);
        move |store: &mut Manifests| store.apply(&object)
    };
    let nothing = (0, 0);
    let label = |store: &mut Manifests| {
        let mut node = pipit_testbed::calico::node("n2", &[format!("{address}/24").parse().unwrap()], None);
        node["metadata"]["labels"] = json!({"rack": "r7"});
        store.apply(&node);
    };
    assert_eq!(bench.cost("a label", label), nothing);
    assert_eq!(
        bench.cost("keepalive", peer(json!({"keepaliveTime": "20s"}))),
        nothing
    );
    assert_eq!(
        bench.cost("restart time", peer(json!({"maxRestartTime": "5m"}))),
        nothing
    );
    assert_eq!(
        bench.cost("next hop mode", peer(json!({"nextHopMode": "Self"}))),
        nothing
    );
    let allowed = peer(json!({"numAllowedLocalASNumbers": 2}));
    assert_eq!(bench.cost("allowed local AS", allowed), nothing);
    let import = |store: &mut Manifests| {
        store.apply(&filter(
            json!({"importV4": [{"cidr": "192.0.2.0/24", "matchOperator": "In", "action": "Reject"}]}),
        ));
    };
    assert_eq!(bench.cost("a filter that nobody uses", import), nothing);
    assert_eq!(
        bench.cost("an import filter", peer(json!({"filters": ["some"]}))),
        nothing
    );
    let pool = |store: &mut Manifests| {
        store.apply(&resource("IPPool", "further", json!({"cidr": "10.99.0.0/16"})));
    };
    assert_eq!(bench.cost("a pool of nobody's", pool), nothing);
    let log = |store: &mut Manifests| {
        store.apply(&resource(
            "BGPConfiguration",
            "default",
            json!({"logSeverityScreen": "Debug"}),
        ));
    };
    assert_eq!(bench.cost("the log level", log), nothing);
    // The session gets another name with the port, and is the same session (C203).
    let port = |store: &mut Manifests| {
        store.apply(&resource(
            "BGPConfiguration",
            "default",
            json!({"listenPort": 1790}),
        ));
    };
    assert_eq!(bench.cost("the listening port", port), nothing);
    assert!(bench.daemon.sessions()[0].0.ends_with("_port_1790"));
    // The mesh takes the session over where the BGPPeer ends.
    let mesh = |store: &mut Manifests| store.delete("BGPPeer", "tor");
    assert_eq!(bench.cost("the mesh in the BGPPeer's place", mesh), nothing);
    assert!(bench.daemon.sessions()[0].0.starts_with("Mesh_"));
}

#[test]
fn c205_l3_what_concerns_some_routes_moves_those() {
    let mut bench = Bench::new();
    let address = bird_address(&bench.rack);
    let (one, quarter) = (block(7).to_string(), "10.65.128.0/24");
    let reject = |cidr: String| {
        move |store: &mut Manifests| {
            store.apply(&filter(
                json!({"exportV4": [{"cidr": cidr, "matchOperator": "In", "action": "Reject"}]}),
            ));
        }
    };
    assert_eq!(
        bench.cost("a filter that nobody uses", reject(one.clone())),
        (0, 0)
    );
    let filtered = tor(&address, json!({"filters": ["some"]}));
    let with_filter = move |store: &mut Manifests| store.apply(&filtered);
    assert_eq!(bench.cost("a filter for one block", with_filter), (0, 1));
    assert_eq!(
        bench.cost("the filter for sixteen blocks", reject(quarter.into())),
        (0, 15)
    );
    assert_eq!(bench.cost("the filter for one block again", reject(one)), (15, 0));
    let communities = |store: &mut Manifests| {
        let advertisements = json!([{"cidr": "10.65.130.0/24", "communities": ["64512:7"]}]);
        let spec = json!({"prefixAdvertisements": advertisements});
        store.apply(&resource("BGPConfiguration", "default", spec));
    };
    assert_eq!(bench.cost("communities for sixteen blocks", communities), (16, 0));
    let pool = |store: &mut Manifests| {
        let spec = json!({"cidr": "10.65.131.0/24", "disableBGPExport": true});
        store.apply(&resource("IPPool", "private", spec));
    };
    assert_eq!(bench.cost("a pool that is not exported", pool), (0, 16));
}

#[test]
fn c200_c201_another_session_comes_goes_and_restarts_alone() {
    let mut bench = Bench::new();
    let other = |asn: u32| {
        move |store: &mut Manifests| {
            let spec =
                json!({"node": "n1", "peerIP": "172.31.1.99", "asNumber": asn, "reversePeering": "Manual"});
            store.apply(&resource("BGPPeer", "other", spec));
        }
    };
    let life = |bench: &Bench| {
        let peers = bench.daemon.items("peers");
        let of_bird = |peer: &&Value| peer["resource"] == "BGPPeer/tor";
        peers
            .iter()
            .filter(of_bird)
            .map(|peer| peer["since"].clone())
            .collect::<Vec<_>>()
    };
    let before = (bench.received(), life(&bench));
    for (marker, asn) in [(1, 65001), (2, 65002)] {
        other(asn)(&mut bench.store);
        bench.mark(marker);
        let count = || bench.daemon.sessions().len();
        wait::until_eq("the other session", PATIENCE, count, &2);
    }
    bench.store.delete("BGPPeer", "other");
    bench.mark(3);
    wait::until_eq("one session", PATIENCE, || bench.daemon.sessions().len(), &1);
    let after = bench.received();
    assert_eq!(
        (after.announced - before.0.announced, after.withdrawn),
        (3, before.0.withdrawn)
    );
    assert_eq!(life(&bench), before.1);
}
