//! How etcd is reached.

use std::fmt;
use std::path::PathBuf;

/// How etcd is reached.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EtcdConfig {
    /// URLs; at least one.
    pub endpoints: Vec<String>,
    /// User and password; `None`: no login.
    pub user: Option<(String, String)>,
    /// PEM file with the CA's certificates; `None`: the system's.
    pub ca_cert: Option<PathBuf>,
    /// PEM files with our certificate and its key; `None`: none presented.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for EtcdConfig {
    /// Never shows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("user", &user)
            .field("ca_cert", &self.ca_cert)
            .field("identity", &self.identity)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let config = EtcdConfig {
            user: Some(("calico".into(), "hunter2".into())),
            ..EtcdConfig::default()
        };
        let text = format!("{config:?}");
        assert!(text.contains("calico") && !text.contains("hunter2"), "{text}");
    }
}
