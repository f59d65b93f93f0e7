//! BIRD 2 on a node, configured as Calico's confd configures its BIRD for a mesh.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::kernel::temporary;
use crate::netns::Netns;
use crate::process::Process;
use crate::topology::Node;
use crate::wait;

/// A node's BIRD.
#[derive(Debug)]
pub struct Bird {
    process: Option<Process>,
    folder: tempfile::TempDir,
}

impl Bird {
    /// Starts BIRD on a node: its block, its pool, and a mesh session to every peer.
    ///
    /// # Panics
    /// When BIRD does not answer on its socket.
    pub fn start(
        node: &Node,
        own: Ipv4Addr,
        block: Ipv4Net,
        pool: Ipv4Net,
        peers: &[Ipv4Addr],
        asn: u32,
    ) -> Bird {
        let mut bird = Bird {
            folder: temporary(),
            process: None,
        };
        let config = configuration(own, block, pool, peers, asn);
        let written = std::fs::write(bird.folder.path().join("bird.conf"), config);
        assert!(written.is_ok(), "bird.conf: {written:?}");
        bird.resume(&node.netns);
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
}

/// The behaviour contract's rules in BIRD 2's language: LOCAL_PREF is 2147483647 less the metric, own blocks are
/// static blackholes, what lies beneath them is not exported, all else inside the pool is.
fn configuration(own: Ipv4Addr, block: Ipv4Net, pool: Ipv4Net, peers: &[Ipv4Addr], asn: u32) -> String {
    let mut text = format!(
        r#"router id {own};
log stderr all;
protocol device {{ scan time 2; }}
protocol direct {{ ipv4; interface -"cali*", -"kube-ipvs*", "*"; }}
protocol static blocks {{ ipv4; route {block} blackhole; }}
filter calico_kernel_programming {{
  if ( source = RTS_DEVICE ) then reject;
  if ( defined(bgp_local_pref) ) then krt_metric = 2147483647 - bgp_local_pref;
  accept;
}}
protocol kernel {{
  learn; persist; scan time 2; graceful restart; merge paths on;
  ipv4 {{ import all; export filter calico_kernel_programming; }};
}}
filter calico_export {{
  if ( source != RTS_BGP ) then bgp_local_pref = 2147483647 - 1024;
  if ( net = {block} ) then accept;
  if ( net ~ [ {block}+ ] ) then reject;
  if ( net ~ [ {pool}+ ] ) then accept;
  reject;
}}
template bgp bgp_template {{
  local as {asn};
  multihop; connect delay time 2; connect retry time 5; error wait time 5, 30; graceful restart; long lived graceful restart aware;
  ipv4 {{ import all; export filter calico_export; add paths on; gateway recursive; igp table master4; }};
}}
"#
    );
    for peer in peers {
        // Calico's rule: the one whose address text sorts after the other's waits... for the other to dial.
        let passive = if peer.to_string() > own.to_string() {
            "passive on;"
        } else {
            ""
        };
        let name = peer.to_string().replace('.', "_");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "protocol bgp Mesh_{name} from bgp_template {{ neighbor {peer} as {asn}; source address {own}; {passive} }}"
        );
    }
    text
}
