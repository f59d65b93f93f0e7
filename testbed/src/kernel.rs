//! The kernel's routes as text that can be compared, and what changes in them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::netns::{Netns, folder_prefix, run};
use crate::process::Process;
use crate::wait;

/// The routes of protocol `bird` in the main table of a namespace, one text each:
/// `10.65.2.0/26 via 172.31.1.12 dev eth0`, `blackhole 10.65.1.0/26`. The metric is left out, as it is the peers'
/// choice (Calico's releases differ).
///
/// # Panics
/// When two routes differ in nothing but their metric: one of them was left behind.
#[track_caller]
pub fn bird_routes(netns: &Netns) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for (family, len) in [("-4", "32"), ("-6", "128")] {
        for route in routes(netns, family, len) {
            assert!(
                !set.contains(&route),
                "`{route}` is there twice, with different metrics"
            );
            set.insert(route);
        }
    }
    set
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
    netns: String,
    marks: AtomicU32,
    _folder: tempfile::TempDir,
}

impl Monitor {
    /// Starts watching; changes from now on are seen.
    ///
    /// # Panics
    /// When `ip monitor` does not start.
    pub fn start(netns: &Netns) -> Monitor {
        let folder = temporary();
        let mut command = netns.command("ip");
        command.args(["monitor", "route"]);
        let process = Process::start("ip monitor", command, &folder.path().join("monitor"));
        let monitor = Monitor {
            process,
            netns: netns.name().to_owned(),
            marks: AtomicU32::new(0),
            _folder: folder,
        };
        monitor.mark();
        monitor
    }

    /// Waits until everything that has happened so far is written down.
    ///
    /// The kernel tells changes in their order: a change of ours that is written down has all earlier ones before
    /// it. Made again until it is seen, since the first one may be older than the monitor's subscription.
    #[track_caller]
    fn mark(&self) {
        let [_, _, high, low] = self.marks.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mark = format!("198.18.{high}.{low}");
        let is_seen = || {
            for action in ["replace", "del"] {
                run(
                    "ip",
                    &[
                        "-n",
                        &self.netns,
                        "route",
                        action,
                        "blackhole",
                        &mark,
                        "proto",
                        "static",
                    ],
                );
            }
            self.process
                .output()
                .contains(&format!("Deleted blackhole {mark} "))
        };
        wait::until_eq("ip monitor to see a mark", Duration::from_secs(5), is_seen, &true);
    }

    /// Changes of routes of protocol `bird` so far, those of this moment included.
    #[track_caller]
    pub fn changes(&self) -> Vec<String> {
        self.mark();
        let output = self.process.output();
        output
            .lines()
            .filter(|line| line.contains("proto bird"))
            .map(|line| line.trim().to_owned())
            .collect()
    }

    /// Changes of such routes of all prefixes but these.
    #[track_caller]
    pub fn changes_beside(&self, prefixes: &[&str]) -> Vec<String> {
        let mut changes = self.changes();
        changes.retain(|line| !line.split_whitespace().any(|word| prefixes.contains(&word)));
        changes
    }

    /// Deletions of such routes of all prefixes but these.
    #[track_caller]
    pub fn deletions_beside(&self, prefixes: &[&str]) -> Vec<String> {
        let mut changes = self.changes_beside(prefixes);
        changes.retain(|line| line.starts_with("Deleted"));
        changes
    }
}

/// A folder that goes away by itself.
///
/// # Panics
/// When the file system is full or read-only.
pub fn temporary() -> tempfile::TempDir {
    match tempfile::Builder::new().prefix(&folder_prefix()).tempdir() {
        Ok(folder) => folder,
        Err(error) => panic!("no temporary folder: {error}"),
    }
}
