//! A real etcd, reachable from every node: it listens on the bridge's address.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use crate::calico::{Store, affinity_key, etcd_key, etcd_value};
use crate::kernel::temporary;
use crate::netns::{Netns, run};
use crate::process::Process;
use crate::topology::Node;
use crate::wait;

/// A single-member etcd in one node's namespace; the other nodes reach it by that node's address.
#[derive(Debug)]
pub struct Etcd {
    netns: String,
    address: String,
    process: Option<Process>,
    folder: tempfile::TempDir,
}

impl Etcd {
    /// Starts it on a node and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(node: &Node) -> Etcd {
        let host = match node.addresses.first() {
            Some(IpNet::V4(net)) => net.addr().to_string(),
            Some(IpNet::V6(net)) => format!("[{}]", net.addr()),
            None => "127.0.0.1".into(),
        };
        let mut etcd = Etcd {
            netns: node.netns.name().to_owned(),
            address: format!("http://{host}:2379"),
            folder: temporary(),
            process: None,
        };
        etcd.restart(&node.netns);
        etcd
    }

    /// The URL for clients.
    pub fn endpoint(&self) -> &str {
        &self.address
    }

    /// Kills it; its data stays.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on the same data.
    ///
    /// # Panics
    /// When it does not answer within ten seconds.
    pub fn restart(&mut self, netns: &Netns) {
        let mut command = netns.command("etcd");
        command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        command.arg("--data-dir").arg(self.folder.path().join("data"));
        command.args([
            "--listen-client-urls",
            &self.address,
            "--advertise-client-urls",
            &self.address,
        ]);
        command.args(["--listen-peer-urls", "http://127.0.0.1:2380"]);
        self.process = Some(Process::start("etcd", command, &self.folder.path().join("log")));
        let is_up = || self.try_ctl(&["get", "x"]).is_some();
        wait::until_eq("etcd to answer", Duration::from_secs(10), is_up, &true);
    }

    /// Writes a key.
    pub fn put(&self, key: &str, value: &str) {
        self.ctl(&["put", "--", key, value]);
    }

    /// Deletes a key.
    pub fn del(&self, key: &str) {
        self.ctl(&["del", "--", key]);
    }

    /// Deletes one key and writes another at one revision, as a re-claim by IPAM in one transaction does.
    ///
    /// # Panics
    /// When etcd does not commit it.
    #[track_caller]
    pub fn replace(&self, del: &str, put: &str, value: &str) {
        // etcdctl reads compares, success requests and failure requests, an empty line after each.
        let requests = format!("\ndel {del}\nput {put} {value:?}\n\n\n");
        let mut child = Command::new("ip")
            .args(self.etcdctl())
            .arg("txn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("etcdctl");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(requests.as_bytes()).expect("etcdctl reads");
        drop(stdin);
        let output = child.wait_with_output().expect("etcdctl");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.starts_with("SUCCESS"),
            "txn: {text}"
        );
    }

    fn etcdctl(&self) -> [&str; 8] {
        [
            "netns",
            "exec",
            &self.netns,
            "env",
            "ETCDCTL_API=3",
            "etcdctl",
            "--endpoints",
            &self.address,
        ]
    }

    /// Runs etcdctl; its output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ctl(&self, args: &[&str]) -> String {
        run("ip", &[&self.etcdctl()[..], args].concat())
    }

    /// Forgets all history, as the API server asks every few minutes.
    pub fn compact(&self) {
        let status: Value =
            serde_json::from_str(&self.ctl(&["endpoint", "status", "-w", "json"])).unwrap_or_default();
        let revision = status[0]["Status"]["header"]["revision"].to_string();
        self.ctl(&["compact", &revision]);
    }

    fn try_ctl(&self, args: &[&str]) -> Option<()> {
        let output = Command::new("ip")
            .args(self.etcdctl())
            .args(["--command-timeout=1s"])
            .args(args)
            .output()
            .ok()?;
        output.status.success().then_some(())
    }
}

impl Store for Etcd {
    fn apply(&mut self, resource: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = etcd_key(&text(&resource["kind"]), &text(&resource["metadata"]["name"]));
        self.put(&key, &etcd_value(resource));
    }

    fn delete(&mut self, kind: &str, name: &str) {
        self.del(&etcd_key(kind, name));
    }

    fn assign(&mut self, node: &str, block: IpNet) {
        // As IPAM does: claimed first, confirmed once the block is written.
        self.put(
            &affinity_key(node, block),
            r#"{"state":"pending","deleted":false}"#,
        );
        self.put(
            &affinity_key(node, block),
            r#"{"state":"confirmed","deleted":false}"#,
        );
    }

    fn release(&mut self, node: &str, block: IpNet) {
        self.put(
            &affinity_key(node, block),
            r#"{"state":"pendingDeletion","deleted":false}"#,
        );
        self.del(&affinity_key(node, block));
    }
}
