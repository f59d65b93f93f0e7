//! FRR's bgpd, without zebra: what it learns stays in it.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{Options, Setup};
use crate::kernel::temporary;
use crate::netns::{Netns, run};
use crate::process::Process;
use crate::wait;

/// A namespace's bgpd.
#[derive(Debug)]
pub struct Frr {
    process: Option<Process>,
    folder: tempfile::TempDir,
}

impl Frr {
    /// Starts bgpd with one session.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start(netns: &Netns, setup: &Setup) -> Frr {
        let folder = temporary();
        let written = std::fs::write(folder.path().join("bgpd.conf"), configuration(setup));
        assert!(written.is_ok(), "bgpd.conf: {written:?}");
        // It drops root's rights before it opens its socket.
        run(
            "chown",
            &["-R", "frr:frrvty", &folder.path().display().to_string()],
        );
        let mut frr = Frr {
            folder,
            process: None,
        };
        frr.resume(netns);
        frr
    }

    /// Starts it again after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not answer.
    pub fn resume(&mut self, netns: &Netns) {
        let folder = self.folder.path();
        // Not by the search path: OpenBGPD's bgpd is there as well.
        let mut command = netns.command("/usr/lib/frr/bgpd");
        command.args(["--no_zebra", "--log", "stdout", "-P", "0"]);
        command.arg("-f").arg(folder.join("bgpd.conf"));
        command.arg("--vty_socket").arg(folder);
        command.arg("-i").arg(folder.join("bgpd.pid"));
        self.process = Some(Process::start("FRR's bgpd", command, &folder.join("log")));
        let answers = || self.vtysh(netns, "show bgp summary json").contains('{');
        wait::until_eq("FRR's bgpd to answer", Duration::from_secs(10), answers, &true);
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// One command of its own command line.
    pub fn vtysh(&self, netns: &Netns, command: &str) -> String {
        vtysh(netns, self.folder.path(), command)
    }

    /// A `show … json`; null while it does not answer.
    pub fn show(&self, netns: &Netns, what: &str) -> Value {
        let text = self.vtysh(netns, &format!("show {what} json"));
        serde_json::from_str(&text).unwrap_or_default()
    }
}

fn vtysh(netns: &Netns, folder: &Path, command: &str) -> String {
    let mut vtysh = netns.command("vtysh");
    let output = vtysh
        .arg("--vty_socket")
        .arg(folder)
        .args(["-c", command])
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

fn configuration(setup: &Setup) -> String {
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
        let _ = writeln!(text, "  network {prefix}");
        text
    });
    let other_peers = others.iter().fold(String::new(), |mut text, (address, asn)| {
        let _ = writeln!(
            text,
            " neighbor {address} remote-as {asn}\n neighbor {address} timers connect 1"
        );
        text
    });
    let activated = others.iter().fold(String::new(), |mut text, (address, _)| {
        let _ = writeln!(text, "  neighbor {address} activate");
        text
    });
    let password = options.password.unwrap_or_default();
    let lines = [
        Options::line(
            options.password.is_some(),
            &format!(" neighbor {peer} password {password}"),
        ),
        Options::line(
            options.ttl_security,
            &format!(" neighbor {peer} ttl-security hops 1"),
        ),
        Options::line(
            options.two_octet_as,
            &format!(" neighbor {peer} dont-capability-negotiate"),
        ),
        // Its routes lie in nobody's kernel; what they would lead through is kept all the same.
        Options::line(
            options.graceful_restart,
            " bgp graceful-restart\n bgp graceful-restart preserve-fw-state",
        ),
    ]
    .concat();
    let add_path = Options::line(
        options.add_path,
        &format!("  neighbor {peer} addpath-tx-all-paths"),
    );
    format!(
        r#"router bgp {asn}
 bgp router-id {router_id}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor {peer} remote-as {peer_asn}
 neighbor {peer} update-source {own}
 neighbor {peer} timers connect 1
{lines}{other_peers} address-family {family} unicast
{networks}  neighbor {peer} activate
{add_path}{activated} exit-address-family
exit
"#
    )
}
