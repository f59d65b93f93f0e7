//! BGP passwords from a folder, `DIR/<secret>/<key>`, followed live.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use notify::RecursiveMode;
use pipit_bgp::session::config::Secret;
use tokio::sync::watch;
use tracing::warn;

use super::folder_watch::FolderWatch;
use crate::desired::Environment;
use crate::model::SecretRef;

/// No password is longer (TCP MD5 takes 80 octets): what is, is no password and is not read into memory.
const SECRET_MAX: u64 = 4096;

/// Puts the passwords of a folder into the environment, now and whenever they change, until the receivers are gone.
pub async fn follow(folder: PathBuf, environment: watch::Sender<Environment>) {
    let mut watch = FolderWatch::new(folder.clone(), RecursiveMode::Recursive);
    loop {
        take(&folder, &environment);
        tokio::select! {
            () = environment.closed() => return,
            () = watch.changed() => {}
        }
    }
}

/// Reads the folder. A secret that is gone or empty is missing, and its sessions are held; what cannot be read,
/// the whole folder or one file, stays as it was.
pub fn take(folder: &Path, environment: &watch::Sender<Environment>) {
    environment.send_if_modified(|environment| match read(folder, &environment.secrets) {
        Ok(secrets) if secrets == environment.secrets => false,
        Ok(secrets) => {
            environment.secrets = secrets;
            true
        }
        Err(error) => {
            warn!(folder = %folder.display(), %error, "cannot read the secrets folder");
            false
        }
    });
}

type Secrets = BTreeMap<SecretRef, Secret>;

/// The passwords of a folder as they are now.
///
/// # Errors
///
/// The folder cannot be read.
pub fn read_once(folder: &Path) -> std::io::Result<Secrets> {
    read(folder, &Secrets::new())
}

fn read(folder: &Path, known: &Secrets) -> std::io::Result<Secrets> {
    let mut secrets = BTreeMap::new();
    for secret in std::fs::read_dir(folder)? {
        let secret = secret?;
        let Ok(keys) = std::fs::read_dir(secret.path()) else {
            continue;
        };
        for key in keys.flatten() {
            let names = (secret.file_name().into_string(), key.file_name().into_string());
            let (Ok(name), Ok(key_name)) = names else {
                continue;
            };
            // Kubernetes keeps its own bookkeeping under such names.
            if name.starts_with("..") || key_name.starts_with("..") {
                continue;
            }
            let reference = SecretRef { name, key: key_name };
            if let Some(value) = read_key(&key.path(), &reference, known) {
                secrets.insert(reference, value);
            }
        }
    }
    Ok(secrets)
}

fn read_key(path: &Path, reference: &SecretRef, known: &Secrets) -> Option<Secret> {
    let metadata = std::fs::metadata(path)
        .ok()
        .filter(|metadata| metadata.is_file())?;
    let SecretRef { name, key } = reference;
    if metadata.len() > SECRET_MAX {
        warn!(secret = %name, %key, octets = metadata.len(), "too large for a password");
        return None;
    }
    match std::fs::read(path) {
        Ok(bytes) if bytes.is_empty() => None,
        Ok(bytes) => Some(Secret::new(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            warn!(secret = %name, %key, %error, "cannot read a secret; its last value stays in force");
            known.get(reference).cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn password(environment: &Environment, name: &str, key: &str) -> Option<Secret> {
        let (name, key) = (name.to_owned(), key.to_owned());
        environment.secrets.get(&SecretRef { name, key }).cloned()
    }

    #[tokio::test]
    async fn c100_passwords_are_followed_through_a_kubernetes_swap_and_octet_by_octet() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("secrets");
        let mount = folder.join("bgp");
        let version = |name: &str, content: &[u8]| {
            std::fs::create_dir_all(mount.join(name)).unwrap();
            std::fs::write(mount.join(name).join("tor"), content).unwrap();
            std::os::unix::fs::symlink(name, mount.join("..data_tmp")).unwrap();
            std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        };
        version("..1", b"one\n\xff");
        std::os::unix::fs::symlink("..data/tor", mount.join("tor")).unwrap();
        let sender = watch::Sender::new(Environment::default());
        let mut receiver = sender.subscribe();
        tokio::spawn(follow(folder.clone(), sender));
        let limit = Duration::from_secs(10);
        let mut wait = async |expected: Option<&[u8]>| {
            let expected = expected.map(|bytes| Secret::new(bytes.to_vec()));
            let is_so = |environment: &Environment| password(environment, "bgp", "tor") == expected;
            let waited = tokio::time::timeout(limit, receiver.wait_for(is_so)).await;
            let environment = waited.expect("not followed").unwrap();
            assert!(environment.secrets.len() <= 1, "bookkeeping is no secret");
        };
        wait(Some(b"one\n\xff")).await;
        version("..2", b"two");
        wait(Some(b"two")).await;
        version("..3", b"");
        wait(None).await;
        version("..4", b"four");
        wait(Some(b"four")).await;
        std::fs::remove_dir_all(&mount).unwrap();
        wait(None).await;
    }
}
