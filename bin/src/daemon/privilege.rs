//! What the kernel must let the daemon do.

use std::io;

/// `CAP_NET_ADMIN`, by number (`linux/capability.h`).
const CAP_NET_ADMIN: u32 = 12;

/// A right that is missing.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Routes cannot be written.
    #[error(
        "pipitd needs CAP_NET_ADMIN to write kernel routes: run it as root, or with that capability \
         (systemd: AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE)"
    )]
    NetAdmin,
    /// The kernel does not tell.
    #[error("cannot read the capabilities of this process from /proc/self/status: {0}")]
    Unknown(#[from] io::Error),
}

/// Checks that the process may write kernel routes. Binding port 179 tells for itself.
pub fn check() -> Result<(), PrivilegeError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let effective = effective_capabilities(&status)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no line CapEff"))?;
    if effective & 1 << CAP_NET_ADMIN != 0 {
        Ok(())
    } else {
        Err(PrivilegeError::NetAdmin)
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_set_is_read_from_the_kernels_text() {
        let status = "Name:\tpipitd\nCapPrm:\t0000000000000000\nCapEff:\t0000000000001000\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(effective_capabilities(status), Some(1 << CAP_NET_ADMIN));
        assert_eq!(effective_capabilities("Name:\tpipitd\n"), None);
        assert_eq!(effective_capabilities("CapEff:\tx\n"), None);
    }
}
