//! One daemon for each routing table of a network namespace: two would undo each other's routes.
//!
//! The control socket's lock is a file, which two containers need not share. A name in the abstract socket namespace
//! belongs to the network namespace, as the table does, and ends with the process, however that ends.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Why the table is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A daemon has it.
    #[error("another pipitd{} writes to routing table {table} of this network namespace", of(*pid))]
    Taken {
        /// The table.
        table: u32,
        /// The daemon's process, if it can be seen from here.
        pid: Option<i32>,
    },
    /// The operating system refused.
    #[error("cannot take the lock on routing table {table}: {source}")]
    Io {
        /// The table.
        table: u32,
        /// Its answer.
        source: io::Error,
    },
}

fn of(pid: Option<i32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// Held as long as routes are written.
#[derive(Debug)]
pub struct TableLock {
    _listener: UnixListener,
}

impl TableLock {
    /// Takes the lock on a table. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When another process has it.
    pub fn take(table: u32) -> Result<TableLock, LockError> {
        let failed = |source| LockError::Io { table, source };
        let address = SocketAddr::from_abstract_name(format!("pipit/route-table/{table}")).map_err(failed)?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(TableLock { _listener: listener }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(LockError::Taken {
                table,
                pid: holder(&address),
            }),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Who holds the lock. The kernel says who began to listen; another PID namespace shows nobody.
fn holder(address: &SocketAddr) -> Option<i32> {
    let stream = UnixStream::connect_addr(address).ok()?;
    stream.set_nonblocking(true).ok()?;
    let stream = tokio::net::UnixStream::from_std(stream).ok()?;
    stream.peer_cred().ok()?.pid().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_one_daemon_and_the_error_names_it() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        // Numbers that no other test, and no daemon on this machine, uses.
        let table = 0x5000_0000 | std::process::id();
        let held = TableLock::take(table).unwrap();
        let other = TableLock::take(table + 0x1000_0000).unwrap();
        let error = TableLock::take(table).unwrap_err().to_string();
        let pid = std::process::id();
        assert_eq!(
            error,
            format!("another pipitd (pid {pid}) writes to routing table {table} of this network namespace")
        );
        drop((held, other));
        TableLock::take(table).unwrap();
    }
}
