//! How etcd is reached.

use std::fmt;
use std::path::{Path, PathBuf};

use super::trouble::Trouble;

/// How etcd is reached.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EtcdConfig {
    /// URLs; at least one.
    pub endpoints: Vec<String>,
    /// User and password; `None`: no login.
    pub user: Option<(String, Password)>,
    /// PEM file with the CA's certificates; `None`: the system's.
    pub ca_cert: Option<PathBuf>,
    /// PEM files with our certificate and its key; `None`: none presented.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Where a password comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// This is it.
    Value(String),
    /// A file that is read at each login, so that a password that changes is taken up without a restart; a final line
    /// end does not belong to it.
    File(PathBuf),
}

impl Password {
    /// The password as it is now.
    pub(super) fn read(&self) -> Result<String, Trouble> {
        match self {
            Password::Value(password) => Ok(password.clone()),
            Password::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(source) => Err(Trouble::File {
                    path: Path::to_owned(path),
                    source,
                }),
            },
        }
    }
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
            user: Some(("calico".into(), Password::Value("hunter2".into()))),
            ..EtcdConfig::default()
        };
        let text = format!("{config:?}");
        assert!(text.contains("calico") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_password_file_may_end_in_a_line_break_and_is_read_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let password = Password::File(path.clone());
        let reason = password.read().unwrap_err().to_string();
        assert!(
            reason.starts_with(&format!("cannot read {}", path.display())),
            "{reason}"
        );
        std::fs::write(&path, " hunter2 \n").unwrap();
        assert_eq!(password.read().unwrap(), " hunter2 ", "spaces belong to it");
        std::fs::write(&path, "hunter3\r\n").unwrap();
        assert_eq!(password.read().unwrap(), "hunter3");
    }
}
