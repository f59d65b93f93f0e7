//! A client of one endpoint, and calls that end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};

use super::config::EtcdConfig;
use super::trouble::Trouble;

/// A call that takes longer has failed: a server that hangs answers nothing.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// So long a server may take to be connected to while there are others that may do as well.
const HASTE: Duration = Duration::from_secs(2);
/// A server that hangs while a watch is open is found within twice this. Not shorter: etcd counts pings that come
/// more often than every five seconds as abuse and closes the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(6);
/// Where systems keep the certificates they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How long a server may take to be connected to.
pub(super) fn patience(has_others: bool) -> Duration {
    if has_others { HASTE } else { CALL_TIMEOUT }
}

/// A client of one endpoint. Certificates are read anew each time, so rotated ones are taken up.
///
/// The connection itself is made by the first call, with a user by the login.
pub(super) async fn connect(
    config: &EtcdConfig,
    endpoint: &str,
    patience: Duration,
) -> Result<Client, Trouble> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(patience)
        .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE)
        // etcd allows pings only while there is a call or a watch.
        .with_keep_alive_while_idle(false)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if endpoint.starts_with("https://") {
        options = options.with_tls(tls_options(config)?);
    }
    let Some((name, password)) = &config.user else {
        return call(Client::connect([endpoint], Some(options))).await;
    };
    let with_user = options.clone().with_user(name, password.read()?);
    match call(Client::connect([endpoint], Some(with_user))).await {
        // As with Calico's own client, credentials that nobody asks for do no harm.
        Err(Trouble::LoginOff) => call(Client::connect([endpoint], Some(options))).await,
        result => result,
    }
}

fn tls_options(config: &EtcdConfig) -> Result<TlsOptions, Trouble> {
    let mut tls = TlsOptions::new();
    match &config.ca_cert {
        Some(path) => tls = tls.ca_certificate(Certificate::from_pem(read_pem(path)?)),
        None => {
            let roots = SYSTEM_ROOTS.map(Path::new).into_iter().find(|path| path.exists());
            let path = roots.ok_or(Trouble::NoRoots)?;
            tls = tls.ca_certificate(Certificate::from_pem(read_pem(path)?));
        }
    }
    if let Some((cert, key)) = &config.identity {
        tls = tls.identity(Identity::from_pem(read_pem(cert)?, read_pem(key)?));
    }
    Ok(tls)
}

fn read_pem(path: &Path) -> Result<Vec<u8>, Trouble> {
    let path_buf = || PathBuf::from(path);
    let bytes = std::fs::read(path).map_err(|source| Trouble::File {
        path: path_buf(),
        source,
    })?;
    let marker = b"-----BEGIN ";
    match bytes.windows(marker.len()).any(|window| window == marker) {
        true => Ok(bytes),
        false => Err(Trouble::NotPem { path: path_buf() }),
    }
}

/// A call with a limit.
pub(super) async fn call<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(result) => result.map_err(Trouble::from),
        Err(_) => Err(Trouble::Timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let config = EtcdConfig {
            ca_cert: Some(path.clone()),
            ..EtcdConfig::default()
        };
        let reason = |config: &EtcdConfig| tls_options(config).unwrap_err().to_string();
        assert!(reason(&config).starts_with(&format!("cannot read {}", path.display())));
        std::fs::write(&path, "not a certificate").unwrap();
        assert_eq!(reason(&config), format!("{} holds no PEM block", path.display()));
    }
}
