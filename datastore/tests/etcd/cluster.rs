//! Three members: leaders that change, die and are cut off.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::Client;
use pipit_datastore::backend::{StoreEvent, StoreStatus};
use pipit_datastore::key::Key;
use tempfile::TempDir;

use crate::driver::{Driver, config};
use crate::server::{PATIENCE, Writer, free_port};
use crate::stream::node;

struct Member {
    port: u16,
    child: Option<Child>,
}

/// A cluster on the loopback, ended with the test.
struct Cluster {
    members: Vec<Member>,
    peers: Vec<u16>,
    folder: TempDir,
}

impl Cluster {
    async fn start() -> Cluster {
        let member = |_| Member {
            port: free_port(),
            child: None,
        };
        let mut cluster = Cluster {
            members: (0..3).map(member).collect(),
            peers: (0..3).map(|_| free_port()).collect(),
            folder: tempfile::tempdir().unwrap(),
        };
        for at in 0..3 {
            cluster.launch(at);
        }
        cluster.leader().await;
        cluster
    }

    /// Starts a member (again) on what its folder holds.
    fn launch(&mut self, at: usize) {
        let all: Vec<String> = (0..3)
            .map(|at| format!("m{at}=http://127.0.0.1:{}", self.peers[at]))
            .collect();
        let (url, peer) = (self.url(at), format!("http://127.0.0.1:{}", self.peers[at]));
        let child = Command::new("etcd")
            .args(["--name", &format!("m{at}"), "--data-dir"])
            .arg(self.folder.path().join(format!("m{at}")))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &all.join(","), "--unsafe-no-fsync"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.members[at].child = Some(child.unwrap());
    }

    fn url(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[at].port)
    }

    fn urls(&self) -> Vec<String> {
        (0..3).map(|at| self.url(at)).collect()
    }

    async fn client(&self, at: usize) -> Writer {
        Writer(Client::connect([self.url(at)], None).await.unwrap())
    }

    /// Which member leads, once the running ones agree.
    async fn leader(&self) -> usize {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(leader) = self.known_leader().await {
                return leader;
            }
            assert!(tokio::time::Instant::now() < deadline, "no leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn known_leader(&self) -> Option<usize> {
        let mut agreed = None;
        let mut ids = Vec::new();
        for at in (0..3).filter(|at| self.members[*at].child.is_some()) {
            let mut client = Client::connect([self.url(at)], None).await.ok()?;
            let status = tokio::time::timeout(Duration::from_secs(1), client.status())
                .await
                .ok()?
                .ok()?;
            ids.push((at, status.header()?.member_id()));
            let leader = status.leader();
            if leader == 0 || agreed.is_some_and(|agreed| agreed != leader) {
                return None;
            }
            agreed = Some(leader);
        }
        ids.into_iter()
            .find(|(_, id)| Some(*id) == agreed)
            .map(|(at, _)| at)
    }

    /// Makes another member lead.
    async fn move_leader(&self) {
        let from = self.leader().await;
        let to = (from + 1) % 3;
        let mut target = Client::connect([self.url(to)], None).await.unwrap();
        let id = target.status().await.unwrap().header().unwrap().member_id();
        let mut leader = Client::connect([self.url(from)], None).await.unwrap();
        // One that is not quite up to date refuses, and is asked again.
        while self.leader().await == from {
            let _ = leader.move_leader(id).await;
        }
    }

    fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.members[at].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops or continues a member: to the others it is as if it were cut off.
    fn signal(&self, at: usize, signal: &str) {
        let pid = self.members[at].child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for at in 0..self.members.len() {
            self.kill(at);
        }
    }
}

/// Writes a node by one member until that is done: a member whose leader changes meanwhile refuses, and may have
/// written all the same.
async fn put(cluster: &Cluster, at: usize, name: &str) {
    let mut writer = cluster.client(at).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Err(error) = writer.0.put(node(name), "{}", None).await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
    }
}

/// Waits until a node is delivered. Reports of the connection may come before, and what was written twice; a listing
/// or a deletion must not.
async fn until_put(driver: &mut Driver, name: &str) {
    loop {
        match driver.next().await {
            StoreEvent::Put { key, .. } if key == Key::Node(name.to_owned()) => return,
            StoreEvent::Put { .. } | StoreEvent::Status(_) | StoreEvent::Settled { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn e3_leaders_that_change_are_not_noticed() {
    let cluster = Cluster::start().await;
    let mut driver = Driver::with(config(&cluster.urls()));
    driver.snapshot().await;
    driver.connected().await;
    for round in 0..4 {
        cluster.move_leader().await;
        let name = format!("n{round}");
        put(&cluster, round % 3, &name).await;
        // No listing comes between.
        until_put(&mut driver, &name).await;
    }
}

#[tokio::test]
async fn e3_the_member_in_use_dies_and_returns_and_every_change_comes_once() {
    let mut cluster = Cluster::start().await;
    let mut driver = Driver::with(config(&cluster.urls()));
    driver.snapshot().await;
    // Its first endpoint.
    assert_eq!(driver.connected().await, cluster.url(0));
    cluster.kill(0);
    cluster.leader().await;
    put(&cluster, 1, "a").await;
    until_put(&mut driver, "a").await;
    cluster.launch(0);
    cluster.leader().await;
    cluster.kill(1);
    cluster.leader().await;
    put(&cluster, 2, "b").await;
    until_put(&mut driver, "b").await;
}

#[tokio::test]
async fn e3_e4_a_member_without_a_quorum_is_left_and_nothing_is_lost_when_it_is_back() {
    let cluster = Cluster::start().await;
    let mut driver = Driver::with(config(&[cluster.url(0)]));
    driver.snapshot().await;
    driver.connected().await;
    put(&cluster, 0, "a").await;
    until_put(&mut driver, "a").await;
    for at in [1, 2] {
        cluster.signal(at, "-STOP");
    }
    // It still answers, but cannot know what is new: only a watch that asks for a leader finds that out.
    loop {
        match driver.next().await {
            StoreEvent::Status(StoreStatus::Lost { reason }) if reason.contains("no leader") => break,
            StoreEvent::Status(_) | StoreEvent::Settled { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    for at in [1, 2] {
        cluster.signal(at, "-CONT");
    }
    cluster.leader().await;
    loop {
        if let StoreEvent::Status(StoreStatus::Connected { .. }) = driver.next().await {
            break;
        }
    }
    put(&cluster, 2, "b").await;
    until_put(&mut driver, "b").await;
}
