//! Felix's endpoint-status files, one a local workload, followed live: which workloads are BGP peers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::RecursiveMode;
use serde::de::IgnoredAny;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::folder_watch::FolderWatch;
use crate::desired::Environment;
use crate::model::EndpointStatus;

/// Felix does not write at once and rename: a file that does not parse is read again after this long,
const RETRY: Duration = Duration::from_millis(50);
/// this often; then only when it changes.
const RETRIES: u32 = 20;

/// Puts the workloads of a folder into the environment, now and whenever they change, until the receivers are gone.
pub async fn follow(folder: PathBuf, environment: watch::Sender<Environment>) {
    let mut watch = FolderWatch::new(folder.clone(), RecursiveMode::NonRecursive);
    let mut files = Files::default();
    let mut retries = 0;
    loop {
        let is_whole = files.read(&folder);
        environment.send_if_modified(|environment| {
            let statuses = files.statuses();
            let is_new = environment.endpoints != statuses;
            environment.endpoints = statuses;
            is_new
        });
        retries = if is_whole { 0 } else { retries + 1 };
        if retries == RETRIES {
            warn!(folder = %folder.display(), "an endpoint-status file stays unreadable and is passed over");
        }
        let changed = async {
            if (1..RETRIES).contains(&retries) {
                let _ = tokio::time::timeout(RETRY, watch.changed()).await;
            } else {
                watch.changed().await;
            }
        };
        tokio::select! {
            () = environment.closed() => return,
            () = changed => {}
        }
    }
}

/// By file name; `None` for an ordinary workload.
#[derive(Debug, Default)]
struct Files(BTreeMap<OsString, Option<EndpointStatus>>);

impl Files {
    /// Reads the folder; whether every file in it could be read. One that cannot keeps what it said.
    ///
    /// A folder that cannot be read changes nothing, one that does not exist holds no files: Felix has not run.
    fn read(&mut self, folder: &Path) -> bool {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.0.clear();
                return true;
            }
            Err(error) => {
                warn!(folder = %folder.display(), %error, "cannot read Felix's files");
                return true;
            }
        };
        let mut old = std::mem::take(&mut self.0);
        let mut is_whole = true;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Ok(text) = std::fs::read_to_string(entry.path()) else {
                // A folder, or gone since it was listed.
                continue;
            };
            if serde_json::from_str::<IgnoredAny>(&text).is_ok() {
                self.0.insert(name, EndpointStatus::parse(&text));
                continue;
            }
            debug!(file = ?name, "an endpoint-status file is being written");
            is_whole = false;
            if let Some(status) = old.remove(&name) {
                self.0.insert(name, status);
            }
        }
        is_whole
    }

    /// In the order of their content.
    fn statuses(&self) -> Vec<EndpointStatus> {
        let mut statuses: Vec<_> = self.0.values().flatten().cloned().collect();
        statuses.sort();
        statuses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(peer: &str) -> String {
        format!(r#"{{"ifaceName":"cali1","ipv4Nets":["10.0.0.9/32"],"bgpPeerName":"{peer}"}}"#)
    }

    #[tokio::test]
    async fn c094_files_come_change_are_half_written_and_go() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("calico/endpoint-status");
        let sender = watch::Sender::new(Environment::default());
        let mut receiver = sender.subscribe();
        tokio::spawn(follow(folder.clone(), sender));
        let limit = Duration::from_secs(10);
        let mut wait = async |expected: &[&str]| {
            let peers = |environment: &Environment| -> Vec<String> {
                let endpoints = environment.endpoints.iter();
                endpoints.map(|status| status.bgp_peer.clone()).collect()
            };
            let waited = receiver.wait_for(|environment| peers(environment) == expected);
            tokio::time::timeout(limit, waited)
                .await
                .expect("not followed")
                .unwrap();
        };
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("pod1"), text("pods")).unwrap();
        wait(&["pods"]).await;
        std::fs::write(folder.join("pod1"), r#"{"bgpPeerNa"#).unwrap();
        std::fs::write(folder.join("pod2"), text("others")).unwrap();
        wait(&["others", "pods"]).await;
        std::fs::write(folder.join("pod1"), text("")).unwrap();
        wait(&["others"]).await;
        std::fs::remove_file(folder.join("pod2")).unwrap();
        wait(&[]).await;
    }
}
