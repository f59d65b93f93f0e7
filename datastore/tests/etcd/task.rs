//! From keys in a real etcd to desired states.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pipit_datastore::desired::{DesiredState, Environment};
use pipit_datastore::io::task::{self, Options, Store, StoreState};
use pipit_datastore::key::RESOURCES;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::driver::config;
use crate::server::{Etcd, PATIENCE, Writer};
use crate::stream::node;

struct Bench {
    etcd: Etcd,
    writer: Writer,
    store: Store,
    _environment: watch::Sender<Environment>,
    _cancel: DropGuard,
}

impl Bench {
    async fn new(hold: Duration) -> Bench {
        let etcd = Etcd::start().await;
        let writer = etcd.client().await;
        let source = config(&[etcd.url()]);
        let (environment, watched) = watch::channel(Environment::default());
        let cancel = CancellationToken::new();
        let options = Options {
            hold: Some(hold),
            ..Options::default()
        };
        let store = task::spawn(source, "node-1".into(), watched, options, cancel.clone());
        Bench {
            etcd,
            writer,
            store,
            _environment: environment,
            _cancel: cancel.drop_guard(),
        }
    }

    /// Writes nodes `node-1` to `node-COUNT`, in one revision.
    async fn put_nodes(&mut self, count: usize) {
        let spec = |n: usize| {
            format!(
                r#"{{"metadata":{{"name":"node-{n}"}},"spec":{{"bgp":{{"ipv4Address":"10.0.0.{n}/24"}}}}}}"#
            )
        };
        let nodes = (1..=count).map(|n| (node(&format!("node-{n}")), spec(n)));
        self.writer.put_all(nodes).await;
    }

    async fn until(&mut self, is_so: impl FnMut(&StoreState) -> bool) -> StoreState {
        let waited = tokio::time::timeout(PATIENCE, self.store.state.wait_for(is_so)).await;
        waited.expect("it does not come to that").unwrap().clone()
    }
}

fn peers(state: &StoreState) -> usize {
    let count = |desired: &Arc<DesiredState>| desired.ipv4.peers.len();
    state.desired.as_ref().map_or(0, count)
}

#[tokio::test]
async fn a_node_that_is_not_there_yet_is_waited_for_and_kept_when_it_goes() {
    let mut bench = Bench::new(Duration::from_secs(600)).await;
    let waiting = bench.until(|state| state.is_in_sync).await;
    let reason = waiting.waiting.unwrap();
    assert!(waiting.desired.is_none() && reason.contains("node-1"), "{reason}");
    bench.put_nodes(3).await;
    let state = bench.until(|state| peers(state) == 2).await;
    assert_eq!(state.waiting, None);
    // C206: a node whose own Node object is deleted keeps running as it was.
    bench.writer.delete(&node("node-1")).await;
    let state = bench.until(|state| state.waiting.is_some()).await;
    assert_eq!(peers(&state), 2);
}

#[tokio::test]
async fn a_lone_change_acts_at_once() {
    let mut bench = Bench::new(Duration::from_secs(600)).await;
    bench.put_nodes(2).await;
    bench.until(|state| peers(state) == 1).await;
    let since = Instant::now();
    let affinity = "/calico/ipam/v2/host/node-1/ipv4/block/10.1.0.0-26";
    bench.writer.put(affinity, r#"{"state":"confirmed"}"#).await;
    let blocks = |state: &StoreState| {
        state
            .desired
            .as_ref()
            .map_or(0, |desired| desired.ipv4.blackholes.len())
    };
    bench.until(|state| blocks(state) == 1).await;
    assert!(
        since.elapsed() < Duration::from_millis(250),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test]
async fn e2_nothing_moves_while_etcd_is_away() {
    let mut bench = Bench::new(Duration::from_secs(600)).await;
    bench.put_nodes(3).await;
    let before = bench.until(|state| peers(state) == 2).await.desired.unwrap();
    bench.etcd.kill();
    let lost = bench
        .until(|state| {
            matches!(
                &state.status,
                Some(pipit_datastore::backend::StoreStatus::Lost { .. })
            )
        })
        .await;
    assert!(Arc::ptr_eq(&before, &lost.desired.unwrap()));
    bench.etcd.launch().await;
    let back = bench
        .until(|state| {
            matches!(
                &state.status,
                Some(pipit_datastore::backend::StoreStatus::Connected { .. })
            )
        })
        .await;
    assert!(Arc::ptr_eq(&before, &back.desired.unwrap()));
}

#[tokio::test]
async fn e10_a_deleted_prefix_is_held_until_somebody_says_it_is_meant() {
    let mut bench = Bench::new(Duration::from_secs(600)).await;
    let pool = |n: usize| format!(r#"{{"spec":{{"cidr":"10.{n}.0.0/16"}}}}"#);
    let pools = (0..4).map(|n| (format!("{RESOURCES}ippools/pool-{n}"), pool(n)));
    bench.writer.put_all(pools).await;
    bench.put_nodes(1).await;
    let pools = |state: &StoreState| {
        let desired = state.desired.as_ref();
        desired.map_or(0, |desired| {
            format!("{:?}", desired.ipv4.export).matches("AcceptPool").count()
        })
    };
    bench.until(|state| pools(state) == 4).await;
    bench.writer.delete_prefix(&format!("{RESOURCES}ippools/")).await;
    let held = bench.until(|state| state.held.len() == 4).await;
    assert_eq!(
        (pools(&held), held.held[0].resource.as_str()),
        (4, "IPPool/pool-0")
    );
    assert_eq!(bench.store.release_held().await, Some(4));
    let state = bench.until(|state| pools(state) == 0).await;
    assert!(state.held.is_empty());
}

#[tokio::test]
async fn e10_what_stays_away_is_deleted_after_its_time() {
    let mut bench = Bench::new(Duration::from_millis(200)).await;
    bench.put_nodes(5).await;
    bench.until(|state| peers(state) == 4).await;
    bench.writer.delete_prefix(&node("node-")).await;
    bench.put_nodes(1).await;
    bench
        .until(|state| peers(state) == 0 && state.held.is_empty())
        .await;
}

#[tokio::test]
async fn e10_the_annotation_switches_the_guard_off_and_lets_go_what_it_holds() {
    let mut bench = Bench::new(Duration::from_secs(600)).await;
    bench.put_nodes(5).await;
    bench.until(|state| peers(state) == 4).await;
    bench.writer.delete_prefix(&node("node-")).await;
    bench.until(|state| state.held.len() == 5).await;
    let configuration = format!("{RESOURCES}bgpconfigurations/default");
    let off =
        r#"{"metadata":{"name":"default","annotations":{"pipit.io/mass-withdrawal-guard":"off"}},"spec":{}}"#;
    bench.writer.put(&configuration, off).await;
    let state = bench
        .until(|state| state.held.is_empty() && state.waiting.is_some())
        .await;
    assert_eq!(state.hold, None);
    bench.put_nodes(5).await;
    bench
        .until(|state| peers(state) == 4 && state.waiting.is_none())
        .await;
    // Nodes 2 to 5 in one revision.
    let others = ["2", "3", "4", "5"].map(|n| node(&format!("node-{n}")));
    bench.writer.delete_all(&others).await;
    bench.until(|state| peers(state) == 0).await;
    bench.writer.delete(&configuration).await;
    let state = bench.until(|state| state.hold.is_some()).await;
    assert_eq!(state.hold, Some(Duration::from_secs(600)));
}

#[tokio::test]
async fn e10_what_is_deleted_one_by_one_is_no_mass_however_fast() {
    let mut bench = Bench::new(Duration::from_secs(600)).await;
    bench.put_nodes(5).await;
    bench.until(|state| peers(state) == 4).await;
    for n in 2..=5 {
        bench.writer.delete(&node(&format!("node-{n}"))).await;
    }
    let state = bench.until(|state| peers(state) == 0).await;
    assert!(state.held.is_empty());
}
