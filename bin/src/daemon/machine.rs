//! What is read of this machine, once, before anything is decided.

use std::path::{Path, PathBuf};

use pipit_datastore::desired::Environment;
use pipit_datastore::model::EndpointStatus;

use crate::daemon::config::{NODENAME_FILE, Surroundings};

/// Where Felix writes unless `CALICO_ENDPOINT_STATUS_PATH_PREFIX` says otherwise.
const STATUS_PREFIX: &str = "/var/run/calico";

/// The parts of this machine that decide about a configuration.
#[derive(Clone, Debug)]
pub struct Machine {
    nodename_file: Option<String>,
    hostname: Option<String>,
}

impl Machine {
    /// Reads them. What cannot be read counts as absent: every one of them has a stand-in.
    pub fn read() -> Machine {
        let text = |path| std::fs::read_to_string(path).ok();
        Machine {
            nodename_file: text(NODENAME_FILE),
            hostname: text("/proc/sys/kernel/hostname"),
        }
    }

    /// With this process's environment, for [`crate::daemon::config`].
    pub fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            env: &variable,
            nodename_file: self.nodename_file.as_deref(),
            hostname: self.hostname.as_deref(),
        }
    }
}

/// What the desired state depends on besides the datastore: variables, and Felix's files.
pub fn environment() -> Environment {
    Environment {
        endpoints: endpoint_statuses(&endpoint_status_folder()),
        ..Environment::from_vars(variable)
    }
}

/// The folder of Felix's endpoint-status files.
pub fn endpoint_status_folder() -> PathBuf {
    let prefix = variable("CALICO_ENDPOINT_STATUS_PATH_PREFIX").filter(|prefix| !prefix.is_empty());
    Path::new(prefix.as_deref().unwrap_or(STATUS_PREFIX)).join("endpoint-status")
}

/// Felix's files, in the order of their content. No folder: no workloads that are peers; a file that does not parse
/// is being written and will be read next time.
pub fn endpoint_statuses(folder: &Path) -> Vec<EndpointStatus> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let read = |path: PathBuf| EndpointStatus::parse(&std::fs::read_to_string(path).ok()?);
    let mut statuses: Vec<_> = entries.filter_map(|entry| read(entry.ok()?.path())).collect();
    statuses.sort();
    statuses
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
