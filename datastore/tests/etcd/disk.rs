//! The last good state on disk, with a real etcd that is away.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipit_datastore::backend::StoreStatus;
use pipit_datastore::desired::{DesiredState, Environment};
use pipit_datastore::io::snapshot::SnapshotFile;
use pipit_datastore::io::task::{self, Options, Store, StoreState};
use pipit_datastore::key::RESOURCES;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::driver::config;
use crate::server::{Etcd, PATIENCE, Writer};
use crate::stream::node;

pub(crate) struct Run {
    pub(crate) store: Store,
    _environment: watch::Sender<Environment>,
    _cancel: DropGuard,
}

impl Run {
    pub(crate) fn start(url: &str, folder: &Path, hold: Option<Duration>) -> Run {
        let (environment, watched) = watch::channel(Environment::default());
        let cancel = CancellationToken::new();
        let snapshot = Some(SnapshotFile {
            path: folder.join("node-1.snapshot"),
            source: vec![url.to_owned()],
        });
        let options = Options { hold, snapshot };
        let source = config(&[url.to_owned()]);
        let store = task::spawn(source, "node-1".into(), watched, options, cancel.clone());
        Run {
            store,
            _environment: environment,
            _cancel: cancel.drop_guard(),
        }
    }

    pub(crate) async fn until(&mut self, is_so: impl FnMut(&StoreState) -> bool) -> StoreState {
        let waited = tokio::time::timeout(PATIENCE, self.store.state.wait_for(is_so)).await;
        waited.expect("it does not come to that").unwrap().clone()
    }
}

pub(crate) async fn put_nodes(writer: &mut Writer, numbers: impl Iterator<Item = usize>) {
    let spec = |n: usize| {
        format!(r#"{{"metadata":{{"name":"node-{n}"}},"spec":{{"bgp":{{"ipv4Address":"10.0.0.{n}/24"}}}}}}"#)
    };
    let nodes = numbers.map(|n| (node(&format!("node-{n}")), spec(n)));
    writer.put_all(nodes).await;
}

/// Waits until this stands in the state on disk.
pub(crate) async fn until_kept(folder: &Path, holds: &str) {
    let path = folder.join("node-1.snapshot");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains(holds)) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "no state with {holds} on disk"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn peers(state: &StoreState) -> usize {
    let count = |desired: &Arc<DesiredState>| desired.ipv4.peers.len();
    state.desired.as_ref().map_or(0, count)
}

const BLOCK: &str = "/calico/ipam/v2/host/node-1/ipv4/block/10.1.0.0-26";

#[tokio::test]
async fn e1_c210_a_daemon_that_starts_while_etcd_is_down_goes_by_the_last_good_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    put_nodes(&mut writer, 1..=4).await;
    writer.put(BLOCK, "").await;
    let mut first = Run::start(&etcd.url(), folder.path(), None);
    let before = first.until(|state| peers(state) == 3).await;
    assert!(!before.is_from_disk && before.stale.is_none());
    until_kept(folder.path(), "10.1.0.0/26").await;
    drop(first);

    etcd.kill();
    let mut second = Run::start(&etcd.url(), folder.path(), None);
    let from_disk = second.until(|state| state.desired.is_some()).await;
    assert_eq!(from_disk.desired, before.desired);
    assert!(from_disk.is_from_disk && !from_disk.is_in_sync);
    assert!(matches!(from_disk.status, Some(StoreStatus::Lost { .. })));
    let age = from_disk.stale.unwrap().elapsed();
    assert!(age < PATIENCE, "{age:?}");
    assert_eq!((from_disk.waiting, from_disk.revision), (None, before.revision));

    // When etcd is back, the difference counts: what is the same is the very same session.
    etcd.launch().await;
    let mut writer = etcd.client().await;
    put_nodes(&mut writer, 5..=5).await;
    let after = second.until(|state| peers(state) == 4).await;
    assert!(after.is_in_sync && !after.is_from_disk && after.stale.is_none());
    let (old, new) = (from_disk.desired.unwrap(), after.desired.unwrap());
    let changes = pipit_datastore::diff::diff(&old, &new);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(Arc::ptr_eq(&old.ipv4.peers[0], &new.ipv4.peers[0]));
}

#[tokio::test]
async fn e1_a_server_that_says_nothing_at_all_is_away_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start().await;
    let url = etcd.url();
    put_nodes(&mut etcd.client().await, 1..=3).await;
    let mut first = Run::start(&url, folder.path(), None);
    first.until(|state| peers(state) == 2).await;
    until_kept(folder.path(), "node-3").await;
    drop(first);
    let port = etcd.port();
    etcd.kill();
    // Takes connections and never answers.
    let _silent = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut second = Run::start(&url, folder.path(), None);
    let state = second.until(|state| state.desired.is_some()).await;
    assert!(state.is_from_disk && peers(&state) == 2);
}

#[tokio::test]
async fn e10_an_etcd_that_comes_back_empty_is_measured_by_the_state_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start().await;
    put_nodes(&mut etcd.client().await, 1..=4).await;
    let mut first = Run::start(&etcd.url(), folder.path(), None);
    first.until(|state| peers(state) == 3).await;
    until_kept(folder.path(), "node-4").await;
    drop(first);
    etcd.wipe("another-cluster");
    let hold = Some(Duration::from_secs(600));
    let mut second = Run::start(&etcd.url(), folder.path(), hold);
    second.until(|state| state.is_from_disk).await;
    etcd.launch().await;
    let held = second.until(|state| state.is_in_sync).await;
    assert_eq!((peers(&held), held.held.len()), (3, 4));
    assert!(held.held[0].until > SystemTime::now());
    assert_eq!(second.store.release_held().await, Some(4));
    // Its own Node is gone with the rest: it keeps running as it was (C206) and says what it waits for.
    let state = second.until(|state| state.held.is_empty()).await;
    assert!(state.waiting.unwrap().contains("node-1"));
}

#[tokio::test]
async fn a_state_that_is_another_nodes_or_damaged_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("node-1.snapshot"),
        "{\"format\":\"pipit-record\"}",
    )
    .unwrap();
    let mut run = Run::start("http://127.0.0.1:1", folder.path(), None);
    let state = run.until(|state| state.status.is_some()).await;
    assert!(state.desired.is_none() && !state.is_from_disk);
}

#[tokio::test]
async fn c199_what_was_kept_at_its_last_good_version_is_so_after_a_start_without_etcd() {
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    put_nodes(&mut writer, 1..=1).await;
    let peer = format!("{RESOURCES}bgppeers/tor");
    writer
        .put(&peer, r#"{"spec":{"peerIP":"10.9.0.1","asNumber":64601}}"#)
        .await;
    let mut first = Run::start(&etcd.url(), folder.path(), None);
    first.until(|state| peers(state) == 1).await;
    writer
        .put(&peer, r#"{"spec":{"peerIP":"10.9.0.1:0","asNumber":64601}}"#)
        .await;
    let problems = |state: &StoreState| {
        let problems = state.desired.iter().flat_map(|desired| &desired.problems);
        problems
            .filter(|problem| problem.resource == "BGPPeer/tor")
            .count()
    };
    first.until(|state| problems(state) == 1).await;
    until_kept(folder.path(), "10.9.0.1:0").await;
    drop(first);
    etcd.kill();
    let mut second = Run::start(&etcd.url(), folder.path(), None);
    let state = second.until(|state| state.desired.is_some()).await;
    assert_eq!((peers(&state), problems(&state)), (1, 1));
}

#[tokio::test]
async fn what_changed_a_moment_before_the_end_is_kept_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    put_nodes(&mut writer, 1..=3).await;
    let mut run = Run::start(&etcd.url(), folder.path(), None);
    run.until(|state| peers(state) == 2).await;
    until_kept(folder.path(), "node-3").await;
    // Its turn would be ten seconds after the one before.
    put_nodes(&mut writer, 4..=4).await;
    run.until(|state| peers(state) == 3).await;
    drop(run);
    until_kept(folder.path(), "node-4").await;
}
