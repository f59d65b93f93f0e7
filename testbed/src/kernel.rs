//! The kernel's routes as text that can be compared, and what changes in them.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::netns::Netns;
use crate::process::Process;
use crate::wait;

/// The routes of protocol `bird` in the main table of a namespace, one text each:
/// `10.65.2.0/26 via 172.31.1.12 dev eth0`, `blackhole 10.65.1.0/26`.
pub fn bird_routes(netns: &Netns) -> BTreeSet<String> {
    [("-4", "32"), ("-6", "128")]
        .into_iter()
        .flat_map(|(family, len)| routes(netns, family, len))
        .collect()
}

fn routes(netns: &Netns, family: &str, host_len: &str) -> Vec<String> {
    let json = netns.ip(&["-j", family, "route", "show", "proto", "bird"]);
    let routes: Vec<Value> =
        serde_json::from_str(if json.trim().is_empty() { "[]" } else { &json }).unwrap_or_default();
    routes.iter().map(|route| describe(route, host_len)).collect()
}

fn describe(route: &Value, host_len: &str) -> String {
    let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    let mut prefix = text(route, "dst").unwrap_or_default();
    if !prefix.contains('/') && prefix != "default" {
        prefix = format!("{prefix}/{host_len}");
    }
    let kind = text(route, "type").filter(|kind| kind != "unicast");
    let mut words: Vec<String> = kind.into_iter().chain([prefix]).collect();
    let is_blackhole = words.len() == 2;
    let mut hop = |hop: &Value| {
        let gateway = text(hop, "gateway").or_else(|| text(&hop["via"], "host"));
        words.extend(gateway.map(|gateway| format!("via {gateway}")));
        words.extend(
            text(hop, "dev")
                .filter(|_| !is_blackhole)
                .map(|dev| format!("dev {dev}")),
        );
    };
    match route["nexthops"].as_array() {
        Some(hops) => hops.iter().for_each(&mut hop),
        None => hop(route),
    }
    words.join(" ")
}

/// Writes down every change of a namespace's routes from its start on.
#[derive(Debug)]
pub struct Monitor {
    process: Process,
    _folder: tempfile::TempDir,
}

impl Monitor {
    /// Starts watching; changes from now on are seen.
    ///
    /// # Panics
    /// When `ip monitor` does not start.
    pub fn start(netns: &Netns) -> Monitor {
        let folder = temporary();
        let log = folder.path().join("monitor");
        if let Err(error) = File::create(&log) {
            panic!("cannot write {}: {error}", log.display());
        }
        let mut command = netns.command("ip");
        command.args(["monitor", "route"]);
        let process = Process::start("ip monitor", command, &log);
        let monitor = Monitor {
            process,
            _folder: folder,
        };
        // It is watching once a change of ours shows.
        let mark = ["203.0.113.253/32", "203.0.113.254/32"];
        let is_seen = || {
            netns.try_ip(&["route", "replace", "blackhole", mark[0], "proto", "static"]);
            netns.try_ip(&["route", "del", "blackhole", mark[0]]);
            monitor.process.output().contains("203.0.113.253")
        };
        wait::until_eq("ip monitor to start", Duration::from_secs(5), is_seen, &true);
        monitor
    }

    /// Changes of routes of protocol `bird` so far.
    pub fn changes(&self) -> Vec<String> {
        let output = self.process.output();
        output
            .lines()
            .filter(|line| line.contains("proto bird"))
            .map(|line| line.trim().to_owned())
            .collect()
    }

    /// Changes of such routes that mention none of these texts.
    pub fn changes_beside(&self, expected: &[&str]) -> Vec<String> {
        let is_expected = |line: &String| expected.iter().any(|text| line.contains(text));
        self.changes()
            .into_iter()
            .filter(|line| !is_expected(line))
            .collect()
    }
}

/// A folder that goes away by itself.
///
/// # Panics
/// When the file system is full or read-only.
pub fn temporary() -> tempfile::TempDir {
    match tempfile::Builder::new().prefix("pipit-testbed-").tempdir() {
        Ok(folder) => folder,
        Err(error) => panic!("no temporary folder: {error}"),
    }
}

/// The path of a file in a folder, as text.
pub fn path_in(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}
