//! From what was told about etcd to what its driver takes.

use pipit_datastore::io::etcd::{EtcdConfig as DriverConfig, Password};

use crate::daemon::config::{EtcdConfig, PasswordSource};

impl EtcdConfig {
    /// What the driver takes. Files are read by it, at each connection.
    pub fn to_driver(&self) -> DriverConfig {
        let EtcdConfig {
            endpoints,
            ca_cert,
            client_cert,
            login,
        } = self;
        DriverConfig {
            endpoints: endpoints.clone(),
            user: login.as_ref().map(|login| {
                let password = match &login.password {
                    PasswordSource::Value(password) => Password::Value(password.clone()),
                    PasswordSource::File(path) => Password::File(path.clone()),
                };
                (login.username.clone(), password)
            }),
            ca_cert: ca_cert.clone(),
            identity: client_cert
                .as_ref()
                .map(|pair| (pair.cert.clone(), pair.key.clone())),
        }
    }
}
