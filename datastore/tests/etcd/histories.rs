//! Random histories of changes and faults: in the end, what is in force is what etcd holds.

use std::collections::BTreeSet;

use pipit_datastore::cache::Cache;
use pipit_datastore::desired::{DesiredState, Environment, desired};
use pipit_datastore::io::task::{self, Options, StoreState};
use pipit_datastore::key::RESOURCES;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::driver::{Driver, config};
use crate::relay::{Mode, Relay};
use crate::server::{Etcd, PATIENCE};
use crate::stream::node;

const STEPS: usize = 120;

/// xorshift: the same history for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn block(n: u64) -> String {
    format!("/calico/ipam/v2/host/node-1/ipv4/block/10.1.{n}.0-26")
}

fn node_value(n: u64, address: u64) -> String {
    format!(
        r#"{{"metadata":{{"labels":{{"rack":"r{address}"}}}},"spec":{{"bgp":{{"ipv4Address":"10.0.{address}.{n}/16"}}}}}}"#
    )
}

fn peer_value(n: u64, port: u64) -> String {
    format!(r#"{{"spec":{{"nodeSelector":"rack != 'r9'","peerIP":"10.9.0.{n}:{port}","asNumber":64601}}}}"#)
}

/// One random change.
async fn change(etcd: &Etcd, dice: &mut Dice) {
    let mut writer = etcd.client().await;
    let n = dice.roll(6);
    match dice.roll(8) {
        0 | 1 => writer.put(&block(n), r#"{"state":"confirmed"}"#).await,
        2 => writer.delete(&block(n)).await,
        3 => writer.put(&block(n), r#"{"state":"pending"}"#).await,
        4 => {
            writer
                .put(&node(&format!("node-{}", n + 2)), node_value(n + 2, dice.roll(3)))
                .await
        }
        5 => writer.delete(&node(&format!("node-{}", n + 2))).await,
        6 => {
            // Every other one is broken: a port of zero.
            let port = dice.roll(2) * 1790;
            writer
                .put(&format!("{RESOURCES}bgppeers/p{n}"), peer_value(n + 1, port))
                .await;
        }
        _ => writer.delete(&format!("{RESOURCES}bgppeers/p{n}")).await,
    }
}

/// What a plan makes the node do; problems tell the past of an object as well.
fn deeds(state: &DesiredState) -> (BTreeSet<String>, Vec<String>) {
    let blocks = state.ipv4.blackholes.iter().map(ToString::to_string);
    let sessions = state.sessions().map(|session| format!("{session:?}"));
    (blocks.collect(), sessions.collect())
}

async fn history(seed: u64) {
    let mut dice = Dice(seed);
    let mut etcd = Etcd::start().await;
    let relay = Relay::to(etcd.port()).await;
    etcd.client().await.put(&node("node-1"), node_value(1, 0)).await;
    let (_environment, watched) = watch::channel(Environment::default());
    let cancel = CancellationToken::new();
    let _end = cancel.clone().drop_guard();
    let source = config(&[relay.url()]);
    let mut store = task::spawn(source, "node-1".into(), watched, Options::default(), cancel);
    for _ in 0..STEPS {
        match dice.roll(12) {
            0 => relay.set(Mode::Cut),
            1 | 2 => relay.set(Mode::Pass),
            3 => {
                // What was compacted cannot be compacted again.
                let mut writer = etcd.client().await;
                writer.put("/other", "").await;
                writer.compact().await;
            }
            4 if dice.roll(4) == 0 => {
                etcd.kill();
                etcd.launch().await;
            }
            _ => change(&etcd, &mut dice).await,
        }
    }
    relay.set(Mode::Pass);
    // What is broken is mended: else its last good version counts, which etcd does not hold any more.
    let mut writer = etcd.client().await;
    for n in 0..6 {
        writer
            .put(&format!("{RESOURCES}bgppeers/p{n}"), peer_value(n + 1, 1791))
            .await;
    }
    let mut fresh = Driver::of(etcd.url());
    let mut cache = Cache::new();
    while !cache.is_complete() {
        cache.handle(fresh.next().await);
    }
    let expected = desired(&cache, "node-1", &Environment::default()).unwrap();
    let is_caught_up = |state: &StoreState| {
        let found = state.desired.as_ref();
        found.is_some_and(|found| deeds(found) == deeds(&expected) && found.problems == expected.problems)
    };
    let is_late = {
        let waited = tokio::time::timeout(PATIENCE, store.state.wait_for(is_caught_up));
        waited.await.is_err()
    };
    if is_late {
        let found = store.state.borrow().desired.clone().unwrap();
        assert_eq!(deeds(&found), deeds(&expected), "seed {seed}");
        panic!("seed {seed}: {:?} is not {:?}", found.problems, expected.problems);
    }
}

#[tokio::test]
async fn e2_e6_e14_after_random_changes_and_faults_the_state_is_etcds() {
    for seed in [1, 0x9e37_79b9_7f4a_7c15, 77] {
        history(seed).await;
    }
}
