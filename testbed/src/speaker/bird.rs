//! BIRD 2 on a node, configured as Calico's confd configures its BIRD for a mesh.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;

use super::{Options, Setup};
use crate::calico;
use crate::kernel::temporary;
use crate::netns::Netns;
use crate::process::Process;
use crate::topology::Rack;
use crate::wait;

/// A node's BIRD.
#[derive(Debug)]
pub struct Bird {
    process: Option<Process>,
    folder: tempfile::TempDir,
}

impl Bird {
    /// Starts BIRD on a node of a rack: its first blocks, the rack's pools, a mesh session to every other node for
    /// each family that the rack has.
    ///
    /// # Panics
    /// When BIRD does not answer on its socket.
    pub fn start(rack: &Rack, number: usize, asn: u32) -> Bird {
        Bird::run(&rack.node(number).netns, &configuration(rack, number, asn))
    }

    /// Starts BIRD with one session, `pipit`.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with(netns: &Netns, setup: &Setup) -> Bird {
        Bird::run(netns, &peer_configuration(setup))
    }

    fn run(netns: &Netns, config: &str) -> Bird {
        let mut bird = Bird {
            folder: temporary(),
            process: None,
        };
        let written = std::fs::write(bird.folder.path().join("bird.conf"), config);
        assert!(written.is_ok(), "bird.conf: {written:?}");
        bird.resume(netns);
        bird
    }

    /// Starts it (again), as calico-node does: `-R`, graceful restart recovery.
    pub fn resume(&mut self, netns: &Netns) {
        let mut command = netns.command("/usr/sbin/bird");
        command
            .arg("-f")
            .arg("-R")
            .arg("-c")
            .arg(self.folder.path().join("bird.conf"));
        command.arg("-s").arg(self.folder.path().join("bird.ctl"));
        self.process = Some(Process::start("bird", command, &self.folder.path().join("log")));
        let answers = || self.ctl(netns, &["show", "status"]).contains("Router ID");
        wait::until_eq("BIRD to answer", Duration::from_secs(10), answers, &true);
    }

    /// Ends it as a crash, or a container stop, would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Asks `birdc`.
    pub fn ctl(&self, netns: &Netns, words: &[&str]) -> String {
        let output = netns
            .command("birdc")
            .arg("-s")
            .arg(self.folder.path().join("bird.ctl"))
            .args(words)
            .output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// How many BGP sessions are established.
    pub fn established(&self, netns: &Netns) -> usize {
        let protocols = self.ctl(netns, &["show", "protocols"]);
        protocols
            .lines()
            .filter(|line| line.contains(" BGP ") && line.contains("Established"))
            .count()
    }

    /// Whether it still waits for the End-of-RIB of its peers after a start.
    pub fn is_recovering(&self, netns: &Netns) -> bool {
        self.ctl(netns, &["show", "status"])
            .contains("Graceful restart recovery in progress")
    }
}

/// The behaviour contract's rules in BIRD 2's language: LOCAL_PREF is 2147483647 less the metric, own blocks are
/// static blackholes, what lies beneath them is not exported, all else inside the pool is.
fn configuration(rack: &Rack, number: usize, asn: u32) -> String {
    let plan = &rack.plan;
    let node = rack.node(number);
    // Calico gives the node's IPv4 address, or with CALICO_ROUTER_ID=hash something like the other.
    let router_id = plan
        .node4(number)
        .unwrap_or(Ipv4Addr::new(25, 79, 212, number as u8));
    let mut text = format!(
        r#"router id {router_id};
log stderr all;
protocol device {{ scan time 2; }}
filter calico_kernel_programming {{
  if ( source = RTS_DEVICE ) then reject;
  if ( defined(bgp_local_pref) ) then krt_metric = 2147483647 - bgp_local_pref;
  accept;
}}
"#
    );
    for block in calico::blocks(plan, number) {
        let is_ipv4 = matches!(block, IpNet::V4(_));
        let pool: IpNet = if is_ipv4 {
            plan.pool4.into()
        } else {
            plan.pool6.into()
        };
        let Some(own) = node.address(is_ipv4) else {
            continue;
        };
        let family = if is_ipv4 { "ipv4" } else { "ipv6" };
        text.push_str(&family_configuration(family, block, pool));
        let others = rack.nodes.iter().filter(|other| other.number != number);
        for peer in others.filter_map(|other| other.address(is_ipv4)) {
            text.push_str(&mesh_peer(family, own.addr(), peer.addr(), asn));
        }
    }
    text
}

fn family_configuration(family: &str, block: IpNet, pool: IpNet) -> String {
    // `metric 0`: BIRD 2's own default of 32 would go before krt_metric, which BIRD 1.6 always obeys.
    format!(
        r#"protocol direct direct_{family} {{ {family}; interface -"cali*", -"kube-ipvs*", "*"; }}
protocol static blocks_{family} {{ {family}; route {block} blackhole; }}
protocol kernel kernel_{family} {{
  learn; persist; scan time 2; graceful restart; merge paths on; metric 0;
  {family} {{ import all; export filter calico_kernel_programming; }};
}}
filter calico_export_{family} {{
  if ( source != RTS_BGP ) then bgp_local_pref = 2147483647 - 1024;
  if ( net = {block} ) then accept;
  if ( net ~ [ {block}+ ] ) then reject;
  if ( net ~ [ {pool}+ ] ) then accept;
  reject;
}}
"#
    )
}

/// One session with everything on that the setup asks for.
fn peer_configuration(setup: &Setup) -> String {
    let Setup {
        own,
        peer,
        asn,
        peer_asn,
        router_id,
        announces,
        others,
        options,
    } = setup;
    let family = if setup.is_ipv4() { "ipv4" } else { "ipv6" };
    let networks = announces.iter().fold(String::new(), |mut text, prefix| {
        let _ = writeln!(text, "  route {prefix} blackhole;");
        text
    });
    let password = options.password.unwrap_or_default();
    let lines = [
        Options::line(options.password.is_some(), &format!("  password \"{password}\";")),
        Options::line(options.ttl_security, "  ttl security on;"),
        Options::line(options.graceful_restart, "  graceful restart on;"),
        Options::line(options.two_octet_as, "  enable as4 off;"),
    ]
    .concat();
    let add_path = Options::line(options.add_path, "    add paths on;");
    let times = "connect delay time 1; connect retry time 1; error wait time 1, 2;";
    let other_peers = others.iter().enumerate().fold(String::new(), |mut text, (at, (address, asn_of))| {
        let _ = writeln!(
            text,
            "protocol bgp other_{at} {{ local {own} as {asn}; neighbor {address} as {asn_of}; {times} {family} {{ import all; export all; }}; }}"
        );
        text
    });
    format!(
        r#"router id {router_id};
log stderr all;
protocol device {{ }}
protocol static {{
  {family};
{networks}}}
protocol bgp pipit {{
  local {own} as {asn}; neighbor {peer} as {peer_asn};
  {times}
  enable extended messages on;
{lines}  {family} {{
    import all; export all; next hop self;
{add_path}  }};
}}
{other_peers}"#
    )
}

/// Calico's rule for who dials: the one whose address text sorts after the other's waits for the other to.
fn mesh_peer(family: &str, own: IpAddr, peer: IpAddr, asn: u32) -> String {
    let name = peer.to_string().replace(['.', ':'], "_");
    let passive = if peer.to_string() > own.to_string() {
        "passive on;"
    } else {
        ""
    };
    format!(
        r#"protocol bgp Mesh_{name} {{
  local as {asn}; neighbor {peer} as {asn}; source address {own}; {passive}
  multihop; connect delay time 2; connect retry time 5; error wait time 5, 30;
  graceful restart; long lived graceful restart aware;
  {family} {{ import all; export filter calico_export_{family}; add paths on; gateway recursive; }};
}}
"#
    )
}
