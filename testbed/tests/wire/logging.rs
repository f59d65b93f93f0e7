//! Log lines that nobody reads, and more of them than anybody would read.

use std::process::{Child, Stdio};
use std::time::Duration;

use pipit_testbed::speaker::program;

use crate::bench::{Bench, Neighbour};
use crate::message::{ORIGIN, WELL_KNOWN, nlri, update};
use crate::peer::Peer;

/// A program that ends with its value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An UPDATE whose routes count as withdrawn.
fn malformed(peer: &Peer) -> Vec<u8> {
    let mut attributes = peer.attributes(1);
    attributes.set(WELL_KNOWN, ORIGIN, &[9]);
    update(&[], &attributes.encode(), &nlri(&["62.0.0.0/24"]))
}

#[test]
fn a_reader_of_the_log_that_stops_reading_stops_nobody() {
    let mut bench = Bench::start(vec![Neighbour::external(); 3]);
    bench.pipit.kill();
    let folder = pipit_testbed::kernel::temporary();
    let mut command = bench.node.command(program("pipitd"));
    command.args([
        "--node-name",
        "dut",
        "--datastore",
        "file",
        "--log-level",
        "trace",
        "--datastore-path",
    ]);
    command
        .arg(bench.store.path())
        .arg("--socket")
        .arg(folder.path().join("socket"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut daemon = Running(command.spawn().unwrap());
    let [mut sender, mut watcher, mut bad] = [0, 1, 2].map(|at| bench.up(at));
    // Far more lines than a pipe holds.
    for round in 0..40 {
        let bytes = malformed(&bad).repeat(50);
        bad.send(&bytes);
        let prefix = format!("60.1.{round}.0/24");
        sender.announce(1, &[&prefix]);
        watcher.wait_for("a route", Duration::from_secs(5), |watcher| watcher.has(&prefix));
    }
    assert!(matches!(daemon.0.try_wait(), Ok(None)));
    assert_eq!([sender.ending, watcher.ending, bad.ending], [None, None, None]);
    assert!(daemon.0.stderr.is_some(), "nobody has read");
}

#[test]
fn malformed_updates_are_told_of_and_not_each_of_them() {
    let bench = Bench::start(vec![Neighbour::external(); 3]);
    let [mut sender, mut watcher, mut bad] = [0, 1, 2].map(|at| bench.up(at));
    let bytes = malformed(&bad).repeat(2_000);
    bad.send(&bytes);
    bad.announce(1, &["60.1.0.0/24"]);
    watcher.wait("the route behind them", |watcher| watcher.has("60.1.0.0/24"));
    let log = bench.pipit.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("malformed UPDATE"))
        .count();
    assert!((1..20).contains(&lines), "{lines} lines");
    sender.announce(1, &["60.2.0.0/24"]);
    watcher.wait("another's route", |watcher| watcher.has("60.2.0.0/24"));
}
