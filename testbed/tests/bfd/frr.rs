//! FRR's bgpd, bfdd and zebra with one BGP session and BFD.

use std::net::IpAddr;
use std::path::Path;

use pipit_testbed::kernel::temporary;
use pipit_testbed::netns::Netns;
use pipit_testbed::process::Process;
use serde_json::Value;

use crate::bench::{OURS, Scene, UP, Way};

pub(crate) struct Frr {
    _processes: Vec<Process>,
    folder: tempfile::TempDir,
}

impl Frr {
    pub(crate) fn start(netns: &Netns, scene: &Scene, own: IpAddr, peer: IpAddr) -> Frr {
        let folder = temporary();
        let path = folder.path();
        // The daemons drop root's rights.
        pipit_testbed::netns::run("chown", &["frr:frrvty", &path.display().to_string()]);
        let zebra = start(netns, path, "zebra", "");
        let bfdd = start(netns, path, "bfdd", "");
        // A bgpd that finds no zebra tries again after ten seconds, and tells bfdd nothing then.
        let knows_bfdd = || zebra.output().contains("announce only bfd");
        pipit_testbed::wait::until_eq("zebra and bfdd", UP, knows_bfdd, &true);
        let bgpd = start(netns, path, "bgpd", &configuration(scene, own, peer));
        let processes = vec![bgpd, bfdd, zebra];
        let frr = Frr {
            _processes: processes,
            folder,
        };
        let answers = || frr.vtysh(netns, &["show bgp summary json"]).contains('{');
        pipit_testbed::wait::until_eq("bgpd to answer", UP, answers, &true);
        frr
    }

    pub(crate) fn vtysh(&self, netns: &Netns, commands: &[&str]) -> String {
        let mut vtysh = netns.command("vtysh");
        vtysh.arg("--vty_socket").arg(self.folder.path());
        for command in commands {
            vtysh.args(["-c", command]);
        }
        vtysh
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// The one entry of `show bfd peers`.
    pub(crate) fn bfd_peer(&self, netns: &Netns) -> Value {
        let text = self.vtysh(netns, &["show bfd peers json"]);
        let peers: Value = serde_json::from_str(&text).unwrap_or_default();
        peers[0].clone()
    }
}

fn start(netns: &Netns, folder: &Path, daemon: &str, text: &str) -> Process {
    let config = folder.join(format!("{daemon}.conf"));
    std::fs::write(&config, text).unwrap();
    // Not by the search path: OpenBGPD's bgpd is there as well.
    let mut command = netns.command(Path::new("/usr/lib/frr").join(daemon));
    command.args(["--log", "stdout", "-P", "0"]);
    command.arg("-f").arg(config);
    command.arg("--vty_socket").arg(folder);
    command.arg("-i").arg(folder.join(format!("{daemon}.pid")));
    command.arg("-z").arg(folder.join("zserv.api"));
    if daemon == "bfdd" {
        command.arg("--bfdctl").arg(folder.join("bfdd.sock"));
    }
    Process::start(daemon, command, &folder.join(format!("{daemon}.log")))
}

fn configuration(scene: &Scene, own: IpAddr, peer: IpAddr) -> String {
    let family = if scene.is_ipv4 { "ipv4" } else { "ipv6" };
    let is_external = scene.asn != OURS;
    let multihop = if scene.way == Way::Routed && is_external {
        format!("neighbor {peer} ebgp-multihop 5")
    } else {
        String::new()
    };
    let bfd = if scene.has_bfd {
        format!("neighbor {peer} bfd 3 300 300")
    } else {
        String::new()
    };
    format!(
        r#"router bgp {asn}
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor {peer} remote-as {OURS}
 neighbor {peer} update-source {own}
 neighbor {peer} timers connect 1
 {multihop}
 {bfd}
 address-family {family} unicast
  neighbor {peer} activate
 exit-address-family
exit
"#,
        asn = scene.asn,
    )
}
