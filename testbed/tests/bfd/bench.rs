//! pipitd on `n1`, another speaker on `n2`, one BGP session with BFD between them.

use std::net::IpAddr;
use std::time::Duration;

use pipit_testbed::calico::{Manifests, Store, node, resource};
use pipit_testbed::netns::Netns;
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::topology::{Plan, Rack};
use pipit_testbed::wait;
use serde_json::{Value, json};

use crate::bird::Bird;
use crate::frr::Frr;

/// The AS of pipit.
pub(crate) const OURS: u32 = 64512;
/// How long a session may take to come up: the other side's own retries.
pub(crate) const UP: Duration = Duration::from_secs(30);
/// What a machine that eight people build on may add to a time that is promised.
pub(crate) const MARGIN: Duration = Duration::from_millis(1500);

/// How the two reach each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// On one bridge.
    OneLink,
    /// Over a third node; the other's address is in no subnet of ours.
    Routed,
}

/// A session to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) way: Way,
    pub(crate) is_ipv4: bool,
    /// The other side's AS.
    pub(crate) asn: u32,
    /// The value of `pipit.io/bfd`; `None`: no annotation.
    pub(crate) bfd: Option<&'static str>,
    /// Whether the other side has BFD, 3 times 300 ms.
    pub(crate) has_bfd: bool,
}

impl Default for Scene {
    fn default() -> Self {
        Scene {
            way: Way::OneLink,
            is_ipv4: true,
            asn: 64513,
            bfd: Some("tx=300ms rx=300ms multiplier=3"),
            has_bfd: true,
        }
    }
}

/// The other side.
pub(crate) trait Other: Sized {
    /// Starts it in a namespace; its address is `own`, pipit's is `peer`.
    fn start(netns: &Netns, scene: &Scene, own: IpAddr, peer: IpAddr) -> Self;
    /// The state of its BFD session with pipit, in its own words; empty without one.
    fn bfd_state(&self, netns: &Netns) -> String;
}

pub(crate) struct Bench<O> {
    // Programs before the namespaces they run in.
    pub(crate) other: O,
    pub(crate) pipit: Pipit,
    pub(crate) store: Manifests,
    pub(crate) rack: Rack,
    pub(crate) scene: Scene,
    peer: IpAddr,
}

impl<O: Other> Bench<O> {
    pub(crate) fn new(scene: Scene) -> Bench<O> {
        let plan = Plan {
            ipv6: Some("fd31:1::/64".parse().unwrap()),
            ..Plan::default()
        };
        let rack = Rack::new(plan, if scene.way == Way::Routed { 3 } else { 2 });
        let address = |number: usize| rack.node(number).address(scene.is_ipv4).unwrap().addr();
        let own = address(1);
        let peer = match scene.way {
            Way::OneLink => address(2),
            Way::Routed => route_over_third(&rack, scene.is_ipv4, own, address(2), address(3)),
        };
        let mut store = Manifests::default();
        let n1 = rack.node(1);
        store.apply(&node("n1", &n1.addresses, Some(OURS)));
        store.apply(&resource(
            "BGPConfiguration",
            "default",
            json!({ "nodeToNodeMeshEnabled": false }),
        ));
        store.apply(&bgp_peer(&scene, peer, scene.bfd));
        let other = O::start(&rack.node(2).netns, &scene, peer, own);
        let pipit = Pipit::start(n1, &Source::File(store.path().to_owned()));
        Bench {
            other,
            pipit,
            store,
            rack,
            scene,
            peer,
        }
    }

    /// Changes the annotation.
    pub(crate) fn set_bfd(&mut self, bfd: Option<&str>) {
        let peer = bgp_peer(&self.scene, self.peer, bfd);
        self.store.apply(&peer);
    }

    pub(crate) fn peer_netns(&self) -> &Netns {
        &self.rack.node(2).netns
    }

    /// The one peer of `pipit peers -o json`.
    pub(crate) fn view(&self) -> Value {
        self.pipit.items("peers").into_iter().next().unwrap_or_default()
    }

    /// Waits for the BGP session and for BFD on both sides.
    #[track_caller]
    pub(crate) fn wait_up(&self) {
        let is_up = |view: &Value| view["state"] == "Established" && view["bfd"]["state"] == "Up";
        wait::until("session and BFD", UP, || self.view(), is_up);
        let netns = self.peer_netns();
        wait::until_eq(
            "BFD there",
            UP,
            || self.other.bfd_state(netns).to_lowercase(),
            &"up".to_owned(),
        );
    }

    #[track_caller]
    pub(crate) fn wait_established(&self) {
        wait::until(
            "session",
            UP,
            || self.view(),
            |view| view["state"] == "Established",
        );
    }

    /// Lets nothing more through to either side, and tells neither.
    pub(crate) fn cut(&self) {
        [1, 2]
            .iter()
            .for_each(|&number| nft(&self.rack.node(number).netns, CUT));
    }

    /// Ends [`Self::cut`].
    pub(crate) fn mend(&self) {
        let mend = "delete table netdev cut";
        [1, 2]
            .iter()
            .for_each(|&number| nft(&self.rack.node(number).netns, mend));
    }
}

/// Lets nothing in, before any counter or program of the node sees it.
pub(crate) const CUT: &str = "add table netdev cut; add chain netdev cut everything \
                              { type filter hook ingress device eth0 priority 0; policy drop; }";

/// Runs nftables commands in a namespace.
#[track_caller]
pub(crate) fn nft(netns: &Netns, commands: &str) {
    let done = netns.command("/usr/sbin/nft").arg(commands).status();
    assert!(done.is_ok_and(|status| status.success()), "nft {commands}");
}

/// The BGPPeer; never passive there, so that either may dial.
fn bgp_peer(scene: &Scene, address: IpAddr, bfd: Option<&str>) -> Value {
    let spec = json!({ "node": "n1", "peerIP": address.to_string(), "asNumber": scene.asn });
    let mut peer = resource("BGPPeer", "other", spec);
    peer["metadata"]["annotations"] = json!({ "pipit.io/connect-retry": "1s" });
    if let Some(bfd) = bfd {
        peer["metadata"]["annotations"]["pipit.io/bfd"] = json!(bfd);
    }
    peer
}

/// Gives `n2` an address of no subnet and routes it, both ways, over `n3`; the address.
fn route_over_third(rack: &Rack, is_ipv4: bool, n1: IpAddr, n2: IpAddr, n3: IpAddr) -> IpAddr {
    let (far, len): (IpAddr, u8) = if is_ipv4 {
        ("10.99.0.2".parse().unwrap(), 32)
    } else {
        ("fd99::2".parse().unwrap(), 128)
    };
    let to = |address: IpAddr| format!("{address}/{len}");
    let (far_to, n1_to) = (to(far), to(n1));
    rack.node(2).netns.ip(&["addr", "add", &far_to, "dev", "lo"]);
    let n3 = n3.to_string();
    rack.node(1).netns.ip(&["route", "add", &far_to, "via", &n3]);
    rack.node(3)
        .netns
        .ip(&["route", "add", &far_to, "via", &n2.to_string()]);
    rack.node(2).netns.ip(&["route", "add", &n1_to, "via", &n3]);
    // Nobody shall learn the shorter way.
    for name in ["all", "eth0"] {
        rack.node(3)
            .netns
            .sysctl(&format!("net.ipv4.conf.{name}.send_redirects"), "0");
        rack.node(1)
            .netns
            .sysctl(&format!("net.ipv6.conf.{name}.accept_redirects"), "0");
        rack.node(2)
            .netns
            .sysctl(&format!("net.ipv6.conf.{name}.accept_redirects"), "0");
    }
    far
}

impl Other for Bird {
    fn start(netns: &Netns, scene: &Scene, own: IpAddr, peer: IpAddr) -> Bird {
        Bird::start(netns, scene, own, peer)
    }

    fn bfd_state(&self, netns: &Netns) -> String {
        self.bfd_session(netns).get(2).cloned().unwrap_or_default()
    }
}

impl Other for Frr {
    fn start(netns: &Netns, scene: &Scene, own: IpAddr, peer: IpAddr) -> Frr {
        Frr::start(netns, scene, own, peer)
    }

    fn bfd_state(&self, netns: &Netns) -> String {
        self.bfd_peer(netns)["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}
