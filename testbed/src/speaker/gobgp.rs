//! GoBGP's daemon, driven by its own command line.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Options, Setup};
use crate::kernel::temporary;
use crate::netns::Netns;
use crate::process::Process;
use crate::wait;

/// Where gobgpd answers its command line; the namespace is its own.
const API: &str = "127.0.0.1:50051";

/// A namespace's gobgpd.
#[derive(Debug)]
pub struct Gobgp {
    process: Option<Process>,
    setup: Setup,
    has_run: bool,
    folder: tempfile::TempDir,
}

impl Gobgp {
    /// Starts gobgpd with one session.
    ///
    /// # Panics
    /// When it does not answer, or does not take a route.
    pub fn start(netns: &Netns, setup: &Setup) -> Gobgp {
        let folder = temporary();
        let written = std::fs::write(folder.path().join("gobgpd.toml"), configuration(setup));
        assert!(written.is_ok(), "gobgpd.toml: {written:?}");
        let mut gobgp = Gobgp {
            folder,
            setup: setup.clone(),
            has_run: false,
            process: None,
        };
        gobgp.resume(netns);
        gobgp
    }

    /// Starts it again after [`Self::kill`]; its routes are not in its configuration and are given to it anew.
    ///
    /// # Panics
    /// When it does not answer, or does not take a route.
    pub fn resume(&mut self, netns: &Netns) {
        let mut command = netns.command("gobgpd");
        command.args(["--api-hosts", API, "--pprof-disable"]);
        // After a crash only: waiting for its peers, and F bits.
        if self.has_run && self.setup.options.graceful_restart {
            command.arg("-r");
        }
        self.has_run = true;
        command.arg("-f");
        command.arg(self.folder.path().join("gobgpd.toml"));
        self.process = Some(Process::start("gobgpd", command, &self.folder.path().join("log")));
        let answers = || self.ctl(netns, &["global"]).contains("Router-ID");
        wait::until_eq("gobgpd to answer", Duration::from_secs(10), answers, &true);
        let family = self.family();
        let next_hop = self.setup.own.to_string();
        for prefix in &self.setup.announces {
            let prefix = prefix.to_string();
            let words = [
                "global", "rib", "add", &prefix, "nexthop", &next_hop, "-a", family,
            ];
            let done = ctl(netns, &words).status();
            assert!(done.is_ok_and(|status| status.success()), "gobgp {words:?}");
        }
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Its word for the session's family.
    pub fn family(&self) -> &'static str {
        if self.setup.is_ipv4() { "ipv4" } else { "ipv6" }
    }

    /// Asks `gobgp`.
    pub fn ctl(&self, netns: &Netns, words: &[&str]) -> String {
        let output = ctl(netns, words).output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// `gobgp -j`; null while it does not answer.
    pub fn show(&self, netns: &Netns, words: &[&str]) -> Value {
        let text = self.ctl(netns, &[&["-j"], words].concat());
        serde_json::from_str(&text).unwrap_or_default()
    }
}

fn ctl(netns: &Netns, words: &[&str]) -> Command {
    let mut command = netns.command("gobgp");
    command.args(words);
    command
}

fn configuration(setup: &Setup) -> String {
    let Setup {
        own,
        peer,
        asn,
        peer_asn,
        router_id,
        announces: _,
        others,
        options,
    } = setup;
    let family = if setup.is_ipv4() {
        "ipv4-unicast"
    } else {
        "ipv6-unicast"
    };
    let password = options.password.unwrap_or_default();
    let lines = [
        Options::line(
            options.password.is_some(),
            &format!("    auth-password = \"{password}\""),
        ),
        Options::line(
            options.ttl_security,
            "  [neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255",
        ),
        Options::line(
            options.graceful_restart,
            "  [neighbors.graceful-restart.config]\n    enabled = true\n    restart-time = 30",
        ),
    ]
    .concat();
    let of_family = [
        Options::line(
            options.add_path,
            "    [neighbors.afi-safis.add-paths.config]\n      receive = true\n      send-max = 8",
        ),
        Options::line(
            options.graceful_restart,
            "    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true",
        ),
    ]
    .concat();
    let other_peers = others.iter().fold(String::new(), |mut text, (address, asn)| {
        let _ = writeln!(text, "[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{address}\"\n    peer-as = {asn}\n  [neighbors.timers.config]\n    connect-retry = 1\n  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      afi-safi-name = \"{family}\"");
        text
    });
    format!(
        r#"[global.config]
  as = {asn}
  router-id = "{router_id}"
  local-address-list = ["{own}"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{peer}"
    peer-as = {peer_asn}
{lines}  [neighbors.transport.config]
    local-address = "{own}"
  [neighbors.timers.config]
    connect-retry = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "{family}"
{of_family}{other_peers}"#
    )
}
