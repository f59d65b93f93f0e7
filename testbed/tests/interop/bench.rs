//! pipitd on `n1`, another speaker on `n2`, one session between their ASes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pipit_testbed::calico::{Manifests, Store, node, resource};
use pipit_testbed::mesh::UP;
use pipit_testbed::netns::Netns;
use pipit_testbed::speaker::{Options, Pipit, Setup, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

use crate::foreign::{Foreign, Routes};

pub(crate) const OURS: u32 = 64512;
pub(crate) const THEIRS: u32 = 64999;

/// What a session is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) is_ipv4: bool,
    /// The other side's options.
    pub(crate) options: Options,
    /// Our TCP MD5 key.
    pub(crate) password: Option<&'static str>,
    /// Our `ttlSecurity`.
    pub(crate) ttl_security: bool,
    /// Our `maxRestartTime`, and how much longer they are to keep our routes.
    pub(crate) restart_times: Option<(&'static str, &'static str)>,
    /// What we announce beside our block.
    pub(crate) originate: Vec<String>,
    /// Our AS.
    pub(crate) asn: u32,
    /// Nodes of the rack.
    pub(crate) nodes: usize,
}

impl Default for Scene {
    fn default() -> Self {
        Scene {
            is_ipv4: true,
            options: Options::default(),
            password: None,
            ttl_security: false,
            restart_times: None,
            originate: Vec::new(),
            asn: OURS,
            nodes: 2,
        }
    }
}

pub(crate) struct Bench<F> {
    // Programs before the namespaces they run in.
    pub(crate) foreign: F,
    pub(crate) pipit: Pipit,
    pub(crate) setup: Setup,
    pub(crate) store: Manifests,
    secrets: tempfile::TempDir,
    pub(crate) rack: Rack,
    pub(crate) scene: Scene,
}

impl<F: Foreign> Bench<F> {
    /// Starts both.
    pub(crate) fn new(scene: Scene) -> Bench<F> {
        Bench::with(scene, |_, _| Vec::new())
    }

    /// The same, with resources and sessions of the other side that are beside the one.
    pub(crate) fn with(
        scene: Scene,
        others: impl FnOnce(&Rack, &mut Manifests) -> Vec<(IpAddr, u32)>,
    ) -> Bench<F> {
        let plan = Plan {
            ipv6: Some("fd31:1::/64".parse().unwrap()),
            ..Plan::default()
        };
        let rack = Rack::new(plan, scene.nodes);
        let address = |number: usize| rack.node(number).address(scene.is_ipv4).unwrap().addr();
        let announces = if scene.is_ipv4 {
            ["10.200.1.0/24", "10.200.2.128/25"]
        } else {
            ["2001:db8:1::/48", "2001:db8:2:3::/64"]
        };
        let mut store = Manifests::default();
        store.apply_rack(&rack);
        let n1 = rack.node(1);
        let mut resource_of_n1 = node("n1", &n1.addresses, Some(scene.asn));
        if !scene.originate.is_empty() {
            let list = json!({ "pipit.io/originate": scene.originate.join(",") });
            resource_of_n1["metadata"]["annotations"] = list;
        }
        store.apply(&resource_of_n1);
        let no_mesh = json!({ "nodeToNodeMeshEnabled": false });
        store.apply(&resource("BGPConfiguration", "default", no_mesh));
        // What comes from one neighbour goes to the other, too.
        let transit = json!([{ "action": "Accept", "matchOperator": "In", "cidr": "10.192.0.0/10" }]);
        store.apply(&resource("BGPFilter", "transit", json!({ "exportV4": transit })));
        let others = others(&rack, &mut store);
        let setup = Setup {
            own: address(2),
            peer: address(1),
            asn: THEIRS,
            peer_asn: scene.asn,
            router_id: "10.0.0.2".parse().unwrap(),
            announces: announces.iter().map(|prefix| prefix.parse().unwrap()).collect(),
            others,
            options: scene.options,
        };
        let secrets = tempfile::tempdir().unwrap();
        std::fs::create_dir(secrets.path().join("bgp")).unwrap();
        let foreign = F::start(&rack.node(2).netns, &setup);
        let folder = secrets.path().display().to_string();
        let source = Source::File(store.path().to_owned());
        let mut bench = Bench {
            foreign,
            pipit: Pipit::start_as(&n1.netns, "n1", &source, &["--secrets-dir", &folder]),
            setup,
            store,
            secrets,
            rack,
            scene,
        };
        bench.apply();
        bench
    }

    /// Gives pipit the scene's settings, live.
    pub(crate) fn apply(&mut self) {
        let mut spec = json!({ "node": "n1", "peerIP": self.setup.own.to_string(), "asNumber": THEIRS, "filters": ["transit"] });
        if let Some(password) = self.scene.password {
            std::fs::write(self.secrets.path().join("bgp/key"), password).unwrap();
            spec["password"] = json!({ "secretKeyRef": { "name": "bgp", "key": "key" } });
        }
        if self.scene.ttl_security {
            spec["ttlSecurity"] = json!(1);
        }
        let mut peer = resource("BGPPeer", "foreign", spec);
        if let Some((restart_time, long_lived)) = self.scene.restart_times {
            peer["spec"]["maxRestartTime"] = json!(restart_time);
            peer["metadata"]["annotations"] = json!({ "pipit.io/long-lived-graceful-restart": long_lived });
        }
        self.store.apply(&peer);
    }

    pub(crate) fn their_netns(&self) -> &Netns {
        &self.rack.node(2).netns
    }

    /// The peer's entry in `pipit peers -o json`.
    pub(crate) fn peer(&self) -> Value {
        let peers = self.pipit.items("peers");
        let address = self.setup.own.to_string();
        let found = peers.into_iter().find(|peer| peer["address"] == address.as_str());
        found.unwrap_or_default()
    }

    pub(crate) fn is_established(&self) -> bool {
        self.peer()["state"] == "Established"
    }

    /// What they have from us.
    pub(crate) fn there(&self) -> (String, Routes) {
        self.foreign.view(self.their_netns(), &self.setup)
    }

    /// What of theirs we use.
    pub(crate) fn here(&self) -> Routes {
        let own = self.setup.own.to_string();
        let routes = self.pipit.items("routes");
        let is_used = |route: &&Value| route["best"] == true && route["next_hop"] == own.as_str();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let used = routes.iter().filter(is_used);
        used.map(|route| (text(&route["prefix"]), text(&route["next_hop"])))
            .collect()
    }

    /// What we announce, as they should have it.
    pub(crate) fn ours(&self) -> Routes {
        let block = if self.scene.is_ipv4 {
            self.rack.plan.block4(1).to_string()
        } else {
            self.rack.plan.block6(1).to_string()
        };
        let prefixes = self.scene.originate.iter().cloned().chain([block]);
        prefixes
            .map(|prefix| (prefix, self.setup.peer.to_string()))
            .collect()
    }

    /// What they announce, as we should have it.
    pub(crate) fn theirs(&self) -> Routes {
        let prefixes = self.setup.announces.iter();
        prefixes
            .map(|prefix| (prefix.to_string(), self.setup.own.to_string()))
            .collect()
    }

    #[track_caller]
    pub(crate) fn wait_established(&self) {
        wait::until_eq("pipit's session", UP, || self.is_established(), &true);
    }

    /// Waits until each side has exactly what the other announces, and says so itself.
    #[track_caller]
    pub(crate) fn wait_exchanged(&self) {
        self.wait_established();
        let there = ("Established".to_owned(), self.ours());
        wait::until_eq("the session and our routes there", UP, || self.there(), &there);
        wait::until_eq("their routes here", UP, || self.here(), &self.theirs());
    }

    /// A counter of the kernel's TCP on both sides: segments that it dropped for this reason.
    #[track_caller]
    pub(crate) fn wait_dropped(&self, counter: &str) {
        let dropped = || {
            let of = |number: usize| tcp_counter(&self.rack.node(number).netns, counter);
            of(1) + of(2)
        };
        wait::until(&format!("{counter} of the kernel"), UP, dropped, |count| {
            *count > 0
        });
        assert!(!self.is_established());
        let (state, routes) = self.there();
        assert_ne!(state, "Established");
        assert_eq!((routes, self.here()), (BTreeSet::new(), BTreeSet::new()));
    }
}

fn tcp_counter(netns: &Netns, name: &str) -> u64 {
    let output = netns.command("cat").arg("/proc/net/netstat").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        panic!("no TcpExt: in /proc/net/netstat: {text}");
    };
    let mut columns = names.split_whitespace().zip(values.split_whitespace());
    let found = columns.find(|(found, _)| *found == name);
    found
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or_default()
}
