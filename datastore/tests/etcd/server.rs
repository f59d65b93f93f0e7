//! A real etcd, and a relay before it that can be cut.

use std::net::TcpListener as StdListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Txn, TxnOp};
use tempfile::TempDir;

/// Nothing here takes longer unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How a server is set up.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Part of what makes the cluster id.
    pub(crate) token: &'static str,
    /// Arguments in addition.
    pub(crate) arguments: Vec<String>,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Whether it is ready when it only listens: with TLS or logins the test cannot ask it without either.
    pub(crate) is_closed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            token: "pipit-test",
            arguments: Vec::new(),
            scheme: "http",
            is_closed: false,
        }
    }
}

/// A single-member etcd on the loopback, ended with the test.
#[derive(Debug)]
pub(crate) struct Etcd {
    options: Options,
    port: u16,
    peer_port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Etcd {
    /// Starts it on free ports and waits until it answers.
    pub(crate) async fn start() -> Etcd {
        Etcd::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Etcd {
        let mut etcd = Etcd {
            options,
            port: free_port(),
            peer_port: free_port(),
            folder: tempfile::tempdir().unwrap(),
            child: None,
        };
        etcd.launch().await;
        etcd
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.options.scheme, self.port)
    }

    /// Starts it (again) on what its folder holds.
    pub(crate) async fn launch(&mut self) {
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new("etcd")
            .args(["--name", "only", "--data-dir"])
            .arg(self.data())
            .args(["--listen-client-urls", &self.url()])
            .args(["--advertise-client-urls", &self.url()])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("only={peer}")])
            .args(["--initial-cluster-token", self.options.token])
            .args(["--unsafe-no-fsync"])
            .args(&self.options.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("these tests need etcd: apt-get install etcd-server");
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready().await {
            let status = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                status.is_none() && Instant::now() < deadline,
                "etcd does not answer ({status:?}):\n{}",
                std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The same, of one that meanwhile answers nobody without a login.
    pub(crate) async fn launch_closed(&mut self) {
        self.options.is_closed = true;
        self.launch().await;
    }

    async fn is_ready(&self) -> bool {
        if self.options.is_closed {
            return tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .is_ok();
        }
        let Ok(mut client) = Client::connect([self.url()], None).await else {
            return false;
        };
        let answer = tokio::time::timeout(Duration::from_secs(1), client.get("ready", None)).await;
        matches!(answer, Ok(Ok(_)))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Kills it as a power cut does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Kills it and forgets its data; the next launch makes a cluster with this token.
    pub(crate) fn wipe(&mut self, token: &'static str) {
        self.kill();
        std::fs::remove_dir_all(self.data()).unwrap();
        self.options.token = token;
    }

    /// A client of the test's own.
    pub(crate) async fn client(&self) -> Writer {
        self.client_with(ConnectOptions::new()).await
    }

    pub(crate) async fn client_with(&self, options: ConnectOptions) -> Writer {
        Writer(Client::connect([self.url()], Some(options)).await.unwrap())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes as libcalico-go does.
pub(crate) struct Writer(pub Client);

impl Writer {
    pub(crate) async fn put(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.0.put(key, value.into(), None).await.unwrap();
    }

    /// Many objects in few revisions.
    pub(crate) async fn put_all(&mut self, objects: impl Iterator<Item = (String, String)>) {
        let objects: Vec<_> = objects.collect();
        for part in objects.chunks(100) {
            let puts: Vec<_> = part
                .iter()
                .map(|(key, value)| TxnOp::put(key.as_str(), value.as_str(), None))
                .collect();
            let always = Compare::version("never", CompareOp::Equal, 0);
            self.0
                .txn(Txn::new().when([always]).and_then(puts))
                .await
                .unwrap();
        }
    }

    pub(crate) async fn delete(&mut self, key: &str) {
        self.0.delete(key, None).await.unwrap();
    }

    pub(crate) async fn delete_prefix(&mut self, prefix: &str) {
        let options = DeleteOptions::new().with_prefix();
        self.0.delete(prefix, Some(options)).await.unwrap();
    }

    /// Deletes these in one revision.
    pub(crate) async fn delete_all(&mut self, keys: &[String]) {
        let deletes: Vec<_> = keys.iter().map(|key| TxnOp::delete(key.as_str(), None)).collect();
        let always = Compare::version("never", CompareOp::Equal, 0);
        let txn = Txn::new().when([always]).and_then(deletes);
        self.0.txn(txn).await.unwrap();
    }

    pub(crate) async fn get(&mut self, key: &str) -> String {
        let answer = self.0.get(key, None).await.unwrap();
        String::from_utf8(answer.kvs().first().unwrap().value().to_vec()).unwrap()
    }

    /// Forgets all history.
    pub(crate) async fn compact(&mut self) {
        let revision = self
            .0
            .get("any", None)
            .await
            .unwrap()
            .header()
            .unwrap()
            .revision();
        self.0.compact(revision, None).await.unwrap();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = StdListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
