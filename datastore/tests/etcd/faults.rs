//! etcd restarted, cut off, compacted, restored, silent.

use std::time::{Duration, Instant};

use pipit_datastore::backend::StoreEvent;
use pipit_datastore::key::Key;

use crate::driver::{Driver, config};
use crate::relay::{Mode, Relay};
use crate::server::{Etcd, free_port};
use crate::stream::node;

fn put_of(event: &StoreEvent) -> String {
    match event {
        StoreEvent::Put { key, .. } => key.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn e1_etcd_that_comes_after_us_is_found() {
    let etcd = Etcd::start().await;
    let relay = Relay::to(etcd.port()).await;
    relay.set(Mode::Cut);
    let mut driver = Driver::of(relay.url());
    let reason = driver.lost().await;
    assert!(
        reason.contains(&relay.url()) && reason.contains("not reachable"),
        "{reason}"
    );
    relay.set(Mode::Pass);
    assert!(driver.snapshot().await.0.is_empty());
    driver.connected().await;
}

#[tokio::test]
async fn e1_a_refused_connection_is_called_so() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let reason = Driver::of(url).lost().await;
    assert!(reason.to_lowercase().contains("connection refused"), "{reason}");
}

#[tokio::test]
async fn e2_after_a_restart_of_etcd_only_the_difference_is_delivered() {
    let mut etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    writer.put(&node("old"), "{}").await;
    let mut driver = Driver::of(etcd.url());
    driver.snapshot().await;
    driver.connected().await;
    etcd.kill();
    driver.lost().await;
    etcd.launch().await;
    driver.connected().await;
    etcd.client().await.put(&node("new"), "{}").await;
    assert_eq!(put_of(&driver.change().await), "Node/new", "no second snapshot");
}

#[tokio::test]
async fn e2_what_happens_while_cut_off_is_caught_up_without_a_snapshot() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    let relay = Relay::to(etcd.port()).await;
    let mut driver = Driver::of(relay.url());
    driver.snapshot().await;
    driver.connected().await;
    writer.put(&node("a"), "{}").await;
    assert_eq!(put_of(&driver.change().await), "Node/a");
    relay.set(Mode::Cut);
    driver.lost().await;
    writer.delete(&node("a")).await;
    writer.put(&node("b"), "{}").await;
    relay.set(Mode::Pass);
    let key = Key::Node("a".into());
    assert_eq!(driver.next_change().await, StoreEvent::Delete { key });
    let put = match driver.next_change().await {
        StoreEvent::Settled { .. } => driver.next_change().await,
        put => put,
    };
    assert_eq!(put_of(&put), "Node/b");
}

#[tokio::test]
async fn e3_a_dead_member_is_passed_over_in_silence() {
    let etcd = Etcd::start().await;
    let dead = format!("http://127.0.0.1:{}", free_port());
    let mut driver = Driver::with(config(&[dead, etcd.url()]));
    driver.snapshot().await;
    assert_eq!(driver.next().await, connected_to(etcd.url()));
}

#[tokio::test]
async fn e3_when_one_member_dies_another_goes_on_from_the_same_place() {
    let etcd = Etcd::start().await;
    let (first, second) = (Relay::to(etcd.port()).await, Relay::to(etcd.port()).await);
    let mut driver = Driver::with(config(&[first.url(), second.url()]));
    driver.snapshot().await;
    assert_eq!(driver.next().await, connected_to(first.url()));
    first.set(Mode::Cut);
    assert_eq!(driver.next().await, connected_to(second.url()));
    etcd.client().await.put(&node("a"), "{}").await;
    assert_eq!(put_of(&driver.change().await), "Node/a");
}

#[tokio::test]
async fn e3_a_member_that_says_nothing_does_not_stand_in_the_way_of_those_that_work() {
    let etcd = Etcd::start().await;
    // The kernel takes connections that nobody ever reads.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let (first, second) = (Relay::to(etcd.port()).await, Relay::to(etcd.port()).await);
    let mut driver = Driver::with(config(&[silent_url, first.url(), second.url()]));
    driver.snapshot().await;
    assert_eq!(driver.next().await, connected_to(first.url()));
    let since = Instant::now();
    first.set(Mode::Cut);
    assert_eq!(driver.next().await, connected_to(second.url()));
    first.set(Mode::Pass);
    second.set(Mode::Cut);
    assert_eq!(driver.connected().await, first.url());
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}

fn connected_to(endpoint: String) -> StoreEvent {
    StoreEvent::Status(pipit_datastore::backend::StoreStatus::Connected { endpoint })
}

#[tokio::test]
async fn e4_e5_a_server_whose_answers_are_lost_is_found_within_15_seconds() {
    let etcd = Etcd::start().await;
    let relay = Relay::to(etcd.port()).await;
    let mut driver = Driver::of(relay.url());
    driver.snapshot().await;
    driver.connected().await;
    let since = Instant::now();
    relay.set(Mode::Silent);
    driver.lost().await;
    assert!(since.elapsed().as_secs() < 15, "{:?}", since.elapsed());
    etcd.client().await.put(&node("a"), "{}").await;
    relay.set(Mode::Pass);
    assert_eq!(put_of(&driver.next_change().await), "Node/a");
}

#[tokio::test]
async fn e6_history_that_is_gone_is_replaced_by_a_snapshot() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    writer.put(&node("kept"), "{}").await;
    writer.put(&node("removed"), "{}").await;
    let relay = Relay::to(etcd.port()).await;
    let mut driver = Driver::of(relay.url());
    assert_eq!(driver.snapshot().await.0.len(), 2);
    driver.connected().await;
    relay.set(Mode::Cut);
    driver.lost().await;
    writer.delete(&node("removed")).await;
    writer.put(&node("new"), "{}").await;
    writer.compact().await;
    relay.set(Mode::Pass);
    let objects = driver.snapshot().await.0;
    let names: Vec<_> = objects.keys().map(Key::to_string).collect();
    assert_eq!(names, ["Node/kept", "Node/new"]);
    writer.put(&node("later"), "{}").await;
    assert_eq!(put_of(&driver.change().await), "Node/later");
}

#[tokio::test]
async fn e11_a_history_that_went_back_is_read_anew() {
    let mut etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    writer.put(&node("lost"), "{}").await;
    writer.put(&node("also-lost"), "{}").await;
    let mut driver = Driver::of(etcd.url());
    let (_, before) = driver.snapshot().await;
    driver.connected().await;
    etcd.wipe("pipit-test");
    driver.lost().await;
    etcd.launch().await;
    let (objects, after) = driver.snapshot().await;
    assert!(
        objects.is_empty() && after < before,
        "{objects:?}, {before} to {after}"
    );
    etcd.client().await.put(&node("a"), "{}").await;
    assert_eq!(put_of(&driver.change().await), "Node/a");
}

#[tokio::test]
async fn e11_another_cluster_is_read_anew_even_if_its_history_is_longer() {
    let mut etcd = Etcd::start().await;
    let relay = Relay::to(etcd.port()).await;
    let mut driver = Driver::of(relay.url());
    let (_, before) = driver.snapshot().await;
    driver.connected().await;
    relay.set(Mode::Cut);
    driver.lost().await;
    etcd.wipe("other-cluster");
    etcd.launch().await;
    let mut writer = etcd.client().await;
    for _ in 0..5 {
        writer.put(&node("theirs"), "{}").await;
    }
    relay.set(Mode::Pass);
    let (objects, after) = driver.snapshot().await;
    assert!(
        objects.len() == 1 && after > before,
        "{objects:?}, {before} to {after}"
    );
}

/// The same cluster by its id, and by the time it is seen again its revision is past the one that was known.
#[tokio::test]
async fn e11_a_restored_cluster_that_has_written_more_since_is_read_anew() {
    let mut etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    writer.put(&node("lost"), "{}").await;
    let relay = Relay::to(etcd.port()).await;
    let mut driver = Driver::of(relay.url());
    let (_, before) = driver.snapshot().await;
    driver.connected().await;
    relay.set(Mode::Cut);
    driver.lost().await;
    etcd.wipe("pipit-test");
    etcd.launch().await;
    let mut writer = etcd.client().await;
    for name in ["a", "b", "c", "d"] {
        writer.put(&node(name), "{}").await;
    }
    relay.set(Mode::Pass);
    let (objects, after) = driver.snapshot().await;
    let names: Vec<_> = objects.keys().map(Key::to_string).collect();
    assert_eq!(names, ["Node/a", "Node/b", "Node/c", "Node/d"]);
    assert!(after > before, "{before} to {after}");
}

/// What was known last is a deletion, and it is undone.
#[tokio::test]
async fn e11_a_deletion_that_a_backup_undoes_is_seen() {
    let mut etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    writer.put(&node("first"), "{}").await;
    let relay = Relay::to(etcd.port()).await;
    let mut driver = Driver::of(relay.url());
    driver.snapshot().await;
    driver.connected().await;
    writer.delete(&node("first")).await;
    driver.change().await;
    relay.set(Mode::Cut);
    driver.lost().await;
    etcd.wipe("pipit-test");
    etcd.launch().await;
    let mut writer = etcd.client().await;
    for name in ["first", "second", "third"] {
        writer.put(&node(name), "{}").await;
    }
    relay.set(Mode::Pass);
    let (objects, _) = driver.snapshot().await;
    assert_eq!(objects.len(), 3, "{objects:?}");
}

#[tokio::test]
async fn e14_a_burst_is_delivered_whole_through_a_short_queue() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    let mut driver = Driver::of(etcd.url());
    driver.snapshot().await;
    driver.connected().await;
    let name = |number| node(&format!("node-{number:05}"));
    writer
        .put_all((0..5000).map(|number| (name(number), "{}".to_owned())))
        .await;
    writer.delete_prefix(&node("node-0")).await;
    let (mut puts, mut deletions) = (0, 0);
    while deletions < 5000 {
        match driver.next().await {
            StoreEvent::Put { .. } => puts += 1,
            StoreEvent::Delete { .. } => deletions += 1,
            StoreEvent::Settled { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(puts, 5000);
}

#[tokio::test]
async fn e7_a_watch_that_says_nothing_while_pings_are_answered_is_found_within_a_minute() {
    let etcd = Etcd::start().await;
    let relay = Relay::to(etcd.port()).await;
    let mut driver = Driver::of(relay.url());
    driver.snapshot().await;
    driver.connected().await;
    relay.set(Mode::Stalled);
    etcd.client().await.put(&node("unheard"), "{}").await;
    let since = Instant::now();
    let reason = tokio::time::timeout(
        Duration::from_secs(60),
        driver.lost_after(Duration::from_secs(60)),
    )
    .await;
    assert!(
        reason.unwrap().contains("the watch fell silent"),
        "{:?}",
        since.elapsed()
    );
    relay.set(Mode::Pass);
    driver.connected_or_change().await;
}

#[tokio::test]
async fn e8_a_server_that_is_slow_and_trickles_delivers_all_the_same() {
    let etcd = Etcd::start().await;
    let relay = Relay::to(etcd.port()).await;
    let mut writer = etcd.client().await;
    writer
        .put_all((0..20).map(|n| (node(&format!("n{n}")), "{}".to_owned())))
        .await;
    relay.set(Mode::Trickle);
    let mut driver = Driver::of(relay.url());
    assert_eq!(driver.snapshot().await.0.len(), 20);
    driver.connected().await;
    relay.set(Mode::Slow(Duration::from_secs(1)));
    writer.put(&node("late"), "{}").await;
    assert_eq!(put_of(&driver.change().await), "Node/late");
    // A whole start at a second an answer: each call has its own limit.
    let mut second = Driver::of(relay.url());
    assert_eq!(second.patient_snapshot().await.len(), 21);
}
