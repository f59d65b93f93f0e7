//! From what was told about etcd to what its driver takes.

use std::io;
use std::path::PathBuf;

use pipit_datastore::io::etcd::EtcdConfig as DriverConfig;

use crate::daemon::config::{EtcdConfig, PasswordSource};

/// The password of the etcd user is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the etcd password from {path}: {source}")]
pub struct PasswordError {
    path: PathBuf,
    source: io::Error,
}

impl EtcdConfig {
    /// What the driver takes, with the password read from its file.
    pub fn to_driver(&self) -> Result<DriverConfig, PasswordError> {
        let EtcdConfig {
            endpoints,
            ca_cert,
            client_cert,
            login,
        } = self;
        let user = match login {
            Some(login) => Some((login.username.clone(), login.password.read()?)),
            None => None,
        };
        Ok(DriverConfig {
            endpoints: endpoints.clone(),
            user,
            ca_cert: ca_cert.clone(),
            identity: client_cert
                .as_ref()
                .map(|pair| (pair.cert.clone(), pair.key.clone())),
        })
    }
}

impl PasswordSource {
    fn read(&self) -> Result<String, PasswordError> {
        match self {
            PasswordSource::Value(password) => Ok(password.clone()),
            PasswordSource::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(source) => Err(PasswordError {
                    path: path.clone(),
                    source,
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::Login;

    #[test]
    fn a_password_file_may_end_in_a_line_break_and_must_be_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, " hunter2 \n").unwrap();
        let mut config = EtcdConfig {
            endpoints: vec!["http://a:1".into()],
            ca_cert: None,
            client_cert: None,
            login: Some(Login {
                username: "calico".into(),
                password: PasswordSource::File(path),
            }),
        };
        let user = config.to_driver().unwrap().user;
        assert_eq!(
            user,
            Some(("calico".into(), " hunter2 ".into())),
            "spaces belong to it"
        );
        let password = PasswordSource::File(folder.path().join("none"));
        config.login = Some(Login {
            username: "calico".into(),
            password,
        });
        assert!(config.to_driver().unwrap_err().to_string().contains("/none"));
    }
}
