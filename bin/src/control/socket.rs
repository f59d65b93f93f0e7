//! The control socket as a file: made, guarded against a second daemon, taken away.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Three digits or spaces and the end of the line.
const NOTE_LEN: usize = 4;

/// A control socket that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon is using it.
    #[error("another pipitd is running (socket {path})")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there, which is not ours to delete.
    #[error("{path} exists and is not a socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

/// The socket file of a running daemon. Dropping it removes the file.
///
/// A lock on `PATH.lock` says who the daemon is: the kernel drops it with the process, however that ends, so a
/// socket found under the lock is a dead daemon's. Asking the socket itself would leave two daemons that start at
/// once free to delete each other's. The lock file stays: removing it would let two processes lock two files. In it
/// stands the protocol number of the kernel routes that the daemon leaves behind.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    identity: (u64, u64),
    had_lock: bool,
    lock: File,
}

impl ControlSocket {
    /// Makes the socket with mode 0660, and its folder when there is none.
    ///
    /// It is bound under another name and then renamed, so that it is never seen with other permissions and the
    /// stale socket of a dead daemon is replaced in one step. Must be called inside a tokio runtime.
    pub fn bind(path: &Path) -> Result<(ControlSocket, UnixListener), SocketError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            fs::create_dir_all(folder).map_err(failed("create folder", folder))?;
        }
        let had_lock = with_suffix(path, ".lock").exists();
        let lock = take_lock(path)?;
        refuse_foreign(path)?;
        let fresh = with_suffix(path, ".new");
        match fs::remove_file(&fresh) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove", &fresh)(error)),
        }
        let listener = UnixListener::bind(&fresh).map_err(failed("bind", &fresh))?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o660))
            .map_err(failed("set the mode of", &fresh))?;
        let metadata = fs::metadata(&fresh).map_err(failed("read", &fresh))?;
        fs::rename(&fresh, path).map_err(failed("rename to", path))?;
        let identity = (metadata.dev(), metadata.ino());
        Ok((
            ControlSocket {
                path: path.to_owned(),
                identity,
                had_lock,
                lock,
            },
            listener,
        ))
    }

    /// Whether a daemon had this socket before. In /run, where it belongs, that is as long as the kernel's routes last.
    pub fn is_taken_over(&self) -> bool {
        self.had_lock
    }

    /// The protocol number that the last daemon noted.
    pub fn noted_protocol(&self) -> Option<u8> {
        let mut digits = [0; NOTE_LEN];
        self.lock.read_exact_at(&mut digits, 0).ok()?;
        std::str::from_utf8(&digits).ok()?.trim_end().parse().ok()
    }

    /// Notes the protocol number of all kernel routes that an end of this process would leave behind, so that the next
    /// daemon knows them before it knows its configuration.
    pub fn note_protocol(&self, protocol: u8) {
        if self.noted_protocol() == Some(protocol) {
            return;
        }
        // One write of always the same length: whole or not at all.
        let note = format!("{protocol:<width$}\n", width = NOTE_LEN - 1);
        if let Err(error) = self.lock.write_all_at(note.as_bytes(), 0) {
            tracing::warn!(path = %self.path.display(), %error, "the protocol number cannot be noted beside the socket");
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Whoever replaced the file meanwhile keeps theirs.
        let is_ours = fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "control socket not removed");
        }
    }
}

fn take_lock(path: &Path) -> Result<File, SocketError> {
    let lock_path = with_suffix(path, ".lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(failed("open", &lock_path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SocketError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed("lock", &lock_path)(error)),
    }
}

/// Refuses a file that is no socket, and a socket that somebody serves without having our lock.
fn refuse_foreign(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(SocketError::NotASocket {
            path: path.to_owned(),
        }),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => Err(SocketError::InUse {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("read", path)(error)),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn socket_has_mode_0660_in_a_folder_made_for_it_and_goes_with_the_daemon() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("run/pipit/pipit.sock");
        let (socket, _listener) = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_daemon_keeps_its_socket() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pipit.sock");
        let (_socket, _listener) = ControlSocket::bind(&path).unwrap();
        let error = ControlSocket::bind(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("another pipitd is running (socket {})", path.display())
        );
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn the_socket_of_a_dead_daemon_is_replaced() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pipit.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err(), "stale");
        let (_socket, _listener) = ControlSocket::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pipit.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(SocketError::NotASocket { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
