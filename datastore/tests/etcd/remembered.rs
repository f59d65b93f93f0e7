//! What a restart remembers of the run before, with a real etcd that answers.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use pipit_datastore::backend::StoreStatus;
use pipit_datastore::key::RESOURCES;

use crate::disk::{Run, peers, put_nodes, until_kept};
use crate::server::{Etcd, PATIENCE};
use crate::stream::node;

const HOLD: Option<Duration> = Some(Duration::from_secs(600));

fn set_age(folder: &Path, age: Duration) -> io::Result<()> {
    let path = folder.join("node-1.snapshot");
    let file = File::options().write(true).open(path)?;
    file.set_modified(SystemTime::now() - age)
}

fn age(folder: &Path) -> io::Result<Duration> {
    let found = std::fs::metadata(folder.join("node-1.snapshot"))?;
    Ok(found.modified()?.elapsed().unwrap_or_default())
}

/// A run that ended, and what was done to its objects before the next: most nodes deleted, a BGPPeer broken.
async fn mended_while_nobody_looked(etcd: &Etcd, folder: &Path) {
    let mut writer = etcd.client().await;
    put_nodes(&mut writer, 1..=4).await;
    let peer = format!("{RESOURCES}bgppeers/tor");
    writer
        .put(&peer, r#"{"spec":{"peerIP":"10.9.0.1","asNumber":64601}}"#)
        .await;
    let mut first = Run::start(&etcd.url(), folder, None);
    first.until(|state| peers(state) == 4).await;
    until_kept(folder, "10.9.0.1").await;
    drop(first);
    for n in 2..=4 {
        writer.delete(&node(&format!("node-{n}"))).await;
    }
    writer.put(&peer, "{").await;
}

#[tokio::test]
async fn c199_a_restart_remembers_what_was_there_and_what_could_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start().await;
    mended_while_nobody_looked(&etcd, folder.path()).await;
    let mut second = Run::start(&etcd.url(), folder.path(), HOLD);
    let state = second.until(|state| state.desired.is_some()).await;
    assert!(state.is_in_sync && !state.is_from_disk && state.stale.is_none());
    assert_eq!((peers(&state), state.held.len()), (4, 3));
    assert_eq!(second.store.release_held().await, Some(3));
    let state = second.until(|state| state.held.is_empty()).await;
    assert_eq!(peers(&state), 1, "the BGPPeer's, at its last good version");
    let told = state.desired.unwrap().problems.clone();
    assert!(
        told.iter()
            .any(|problem| problem.message.contains("the last good version stays in force")),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_was_there_long_ago_and_is_missing_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start().await;
    mended_while_nobody_looked(&etcd, folder.path()).await;
    set_age(folder.path(), Duration::from_secs(3_600)).unwrap();
    let mut second = Run::start(&etcd.url(), folder.path(), HOLD);
    let state = second.until(|state| state.desired.is_some()).await;
    assert_eq!((peers(&state), state.held.len()), (1, 0));
}

#[tokio::test]
async fn what_was_let_go_is_on_disk_at_once_so_that_a_crash_does_not_bring_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    put_nodes(&mut writer, 1..=4).await;
    let mut run = Run::start(&etcd.url(), folder.path(), HOLD);
    run.until(|state| peers(state) == 3).await;
    until_kept(folder.path(), "node-4").await;
    writer
        .delete_all(&[2, 3, 4].map(|n| node(&format!("node-{n}"))))
        .await;
    run.until(|state| state.held.len() == 3).await;
    assert_eq!(run.store.release_held().await, Some(3));
    run.until(|state| peers(state) == 0).await;
    // The next turn to write would be ten seconds after the one before.
    let since = std::time::Instant::now();
    let text = || std::fs::read_to_string(folder.path().join("node-1.snapshot")).unwrap();
    while text().contains("node-4") {
        assert!(since.elapsed() < Duration::from_secs(5), "still on disk");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn where_the_guard_is_off_by_annotation_nothing_of_the_run_before_is_acted_on() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    put_nodes(&mut writer, 1..=4).await;
    let default = format!("{RESOURCES}bgpconfigurations/default");
    let off = r#"{"metadata":{"annotations":{"pipit.io/mass-withdrawal-guard":"off"}},"spec":{}}"#;
    writer.put(&default, off).await;
    let mut first = Run::start(&etcd.url(), folder.path(), HOLD);
    first
        .until(|state| peers(state) == 3 && state.hold.is_none())
        .await;
    until_kept(folder.path(), "node-4").await;
    drop(first);
    writer.delete_prefix("/calico").await;
    let mut second = Run::start(&etcd.url(), folder.path(), HOLD);
    let state = second.until(|state| state.is_in_sync).await;
    assert!(state.waiting.unwrap().contains("node-1"));
    assert!(state.desired.is_none() && state.held.is_empty());
}

#[tokio::test]
async fn a_daemon_that_restarts_again_and_again_holds_back_no_longer_than_it_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start().await;
    mended_while_nobody_looked(&etcd, folder.path()).await;
    set_age(folder.path(), Duration::from_secs(200)).unwrap();
    let mut second = Run::start(&etcd.url(), folder.path(), HOLD);
    second.until(|state| state.held.len() == 3).await;
    put_nodes(&mut etcd.client().await, 5..=5).await;
    until_kept(folder.path(), "node-5").await;
    assert!(
        age(folder.path()).unwrap() >= Duration::from_secs(200),
        "the newest it is not"
    );
    assert_eq!(second.store.release_held().await, Some(3));
    let since = std::time::Instant::now();
    while age(folder.path()).unwrap() > PATIENCE {
        assert!(since.elapsed() < PATIENCE, "now it is");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_changed_a_moment_before_etcd_went_away_is_kept_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start().await;
    put_nodes(&mut etcd.client().await, 1..=3).await;
    let mut run = Run::start(&etcd.url(), folder.path(), HOLD);
    run.until(|state| peers(state) == 2).await;
    etcd.kill();
    run.until(|state| matches!(state.status, Some(StoreStatus::Lost { .. })))
        .await;
    until_kept(folder.path(), "node-3").await;
}
