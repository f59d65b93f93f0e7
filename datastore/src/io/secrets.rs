//! BGP passwords from a folder, `DIR/<secret>/<key>`, followed live.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use pipit_bgp::session::config::Secret;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::desired::Environment;
use crate::model::SecretRef;

/// A folder that does not exist, or whose watch has ended, is looked at again after this long.
const LOOK: Duration = Duration::from_secs(1);
/// Kubernetes swaps a whole folder at once; what belongs together is taken together.
const QUIET: Duration = Duration::from_millis(20);

/// Puts the passwords of a folder into the environment, now and whenever they change, until the receivers are gone.
pub async fn follow(folder: PathBuf, environment: watch::Sender<Environment>) {
    loop {
        let (wake, mut woken) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_| {
            // A wake-up that finds one waiting already adds nothing.
            let _ = wake.try_send(());
        })
        .and_then(|mut watcher| watcher.watch(&folder, RecursiveMode::Recursive).map(|()| watcher));
        take(&folder, &environment);
        let Ok(_watcher) = watcher else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        while woken.recv().await.is_some() {
            while let Ok(Some(())) = tokio::time::timeout(QUIET, woken.recv()).await {}
            take(&folder, &environment);
            if environment.is_closed() {
                return;
            }
            if !folder.is_dir() {
                break;
            }
        }
    }
}

/// Reads the folder; a secret that cannot be read counts as missing, and its sessions are held.
pub fn take(folder: &Path, environment: &watch::Sender<Environment>) {
    let secrets = match read(folder) {
        Ok(secrets) => secrets,
        Err(error) => {
            warn!(folder = %folder.display(), %error, "cannot read the secrets folder");
            return;
        }
    };
    environment.send_if_modified(|environment| {
        let is_new = environment.secrets != secrets;
        environment.secrets = secrets;
        is_new
    });
}

fn read(folder: &Path) -> std::io::Result<BTreeMap<SecretRef, Secret>> {
    let mut secrets = BTreeMap::new();
    for secret in std::fs::read_dir(folder)? {
        let secret = secret?;
        let Ok(keys) = std::fs::read_dir(secret.path()) else {
            continue;
        };
        for key in keys.flatten() {
            let (Ok(name), Ok(key_name)) = (secret.file_name().into_string(), key.file_name().into_string())
            else {
                continue;
            };
            // Kubernetes keeps its own bookkeeping under such names.
            if name.starts_with("..") || key_name.starts_with("..") || !key.path().is_file() {
                continue;
            }
            match std::fs::read(key.path()) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => drop(secrets.insert(SecretRef { name, key: key_name }, Secret::new(bytes))),
                Err(error) => warn!(secret = %name, key = %key_name, %error, "cannot read a secret"),
            }
        }
    }
    Ok(secrets)
}
