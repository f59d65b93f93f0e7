//! Users, rights and certificates.

use std::path::{Path, PathBuf};
use std::process::Command;

use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use pipit_datastore::backend::StoreEvent;
use pipit_datastore::io::etcd::{EtcdConfig, Password, update_status};
use pipit_datastore::key::RESOURCES;
use serde_json::json;

use crate::driver::{Driver, config};
use crate::relay::{Mode, Relay};
use crate::server::{Etcd, Options};
use crate::stream::node;

fn with_user(etcd: &Etcd, name: &str, password: &str) -> EtcdConfig {
    EtcdConfig {
        user: Some((name.into(), Password::Value(password.into()))),
        ..config(&[etcd.url()])
    }
}

/// Users `root` and `calico` (may read `/calico/`) and `nobody`, all with the password `right`.
async fn with_users() -> Etcd {
    let etcd = Etcd::start().await;
    let mut client: Client = etcd.client().await.0;
    for user in ["root", "calico", "nobody"] {
        client.user_add(user, "right", None).await.unwrap();
    }
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.role_add("reader").await.unwrap();
    let calico = Permission::new(PermissionType::Read, "/calico/").with_prefix();
    client.role_grant_permission("reader", calico).await.unwrap();
    client.user_grant_role("calico", "reader").await.unwrap();
    client.auth_enable().await.unwrap();
    etcd
}

#[tokio::test]
async fn a_user_with_rights_reads_and_watches() {
    let etcd = with_users().await;
    let mut driver = Driver::with(with_user(&etcd, "calico", "right"));
    driver.snapshot().await;
    driver.connected().await;
    let root = ConnectOptions::new().with_user("root", "right");
    etcd.client_with(root).await.put(&node("a"), "{}").await;
    driver.change().await;
}

#[tokio::test]
async fn wrong_password_no_user_and_no_rights_are_told_apart() {
    let etcd = with_users().await;
    let reason = |config| async { Driver::with(config).lost().await };
    let wrong = reason(with_user(&etcd, "calico", "hunter2")).await;
    assert!(
        wrong.contains("user or password are wrong") && !wrong.contains("hunter2"),
        "{wrong}"
    );
    let missing = reason(config(&[etcd.url()])).await;
    assert!(missing.contains("a user is required"), "{missing}");
    let forbidden = reason(with_user(&etcd, "nobody", "right")).await;
    assert!(forbidden.contains("may not read"), "{forbidden}");
}

#[tokio::test]
async fn a_user_who_may_only_read_is_told_what_for_he_may_not() {
    let etcd = with_users().await;
    let root = ConnectOptions::new().with_user("root", "right");
    let key = format!("{RESOURCES}caliconodestatuses/mine");
    etcd.client_with(root).await.put(&key, r#"{"spec":{}}"#).await;
    let user = with_user(&etcd, "calico", "right");
    let written = update_status(&user, "mine", |_| Some(json!({"agent": 1})));
    let reason = written.await.unwrap_err().to_string();
    assert!(reason.contains("may not write CalicoNodeStatus"), "{reason}");
}

#[tokio::test]
async fn e13_rights_that_come_back_are_used_without_a_restart() {
    let etcd = with_users().await;
    let mut driver = Driver::with(with_user(&etcd, "nobody", "right"));
    driver.lost().await;
    let root = ConnectOptions::new().with_user("root", "right");
    let mut client = etcd.client_with(root).await.0;
    client.user_grant_role("nobody", "reader").await.unwrap();
    driver.snapshot().await;
    driver.connected().await;
}

#[tokio::test]
async fn e13_a_password_that_changes_is_read_again_from_its_file_without_a_restart() {
    let mut etcd = with_users().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "right\n").unwrap();
    let mut config = with_user(&etcd, "calico", "");
    config.user = Some(("calico".into(), Password::File(file.clone())));
    let mut driver = Driver::with(config);
    driver.snapshot().await;
    driver.connected().await;
    let root = || ConnectOptions::new().with_user("root", "right");
    let mut client = etcd.client_with(root()).await.0;
    client.user_change_password("calico", "newer").await.unwrap();
    // Cut off, it has to log in again.
    etcd.kill();
    etcd.launch_closed().await;
    while !driver.lost().await.contains("user or password are wrong") {}
    std::fs::write(&file, "newer").unwrap();
    driver.connected().await;
    etcd.client_with(root()).await.put(&node("a"), "{}").await;
    assert!(matches!(driver.change().await, StoreEvent::Put { .. }));
}

#[tokio::test]
async fn credentials_that_etcd_does_not_ask_for_do_no_harm() {
    let etcd = Etcd::start().await;
    let mut driver = Driver::with(with_user(&etcd, "calico", "right"));
    driver.snapshot().await;
    driver.connected().await;
}

/// A CA and certificates signed by it, made with openssl.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let authority = Authority {
            folder: tempfile::tempdir().unwrap(),
        };
        let (key, cert) = (authority.path("ca.key"), authority.path("ca.pem"));
        openssl(
            &["req", "-x509", "-subj", "/CN=test CA", "-days", "2"],
            &key,
            &cert,
        );
        authority
    }

    /// Another CA in the place of this one, as after a rotation.
    fn renew(&self) {
        let (key, cert) = (self.path("ca.key"), self.path("ca.pem"));
        openssl(
            &["req", "-x509", "-subj", "/CN=new CA", "-days", "2"],
            &key,
            &cert,
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for 127.0.0.1, good for both sides: `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let (key, cert) = (
            self.path(&format!("{name}.key")),
            self.path(&format!("{name}.pem")),
        );
        let subject = format!("/CN={name}");
        let (ca, ca_key) = (self.path("ca.pem"), self.path("ca.key"));
        let arguments = [
            "req",
            "-x509",
            "-subj",
            &subject,
            "-days",
            "2",
            "-CA",
            text(&ca),
            "-CAkey",
            text(&ca_key),
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ];
        openssl(&arguments, &key, &cert);
        (cert, key)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn openssl(arguments: &[&str], key: &Path, cert: &Path) {
    let output = Command::new("openssl")
        .args(arguments)
        .args([
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-keyout", text(key), "-out", text(cert)])
        .output()
        .expect("these tests need openssl: apt-get install openssl");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn with_tls(authority: &Authority) -> Etcd {
    let (cert, key) = authority.issue("server");
    let ca = authority.path("ca.pem");
    let arguments = [
        "--cert-file",
        text(&cert),
        "--key-file",
        text(&key),
        "--client-cert-auth",
        "--trusted-ca-file",
        text(&ca),
    ];
    Etcd::with(Options {
        scheme: "https",
        arguments: arguments.map(str::to_owned).to_vec(),
        is_closed: true,
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn client_certificates_are_presented_and_read_again_when_they_change() {
    let authority = Authority::new();
    let etcd = with_tls(&authority).await;
    let (cert, key) = (authority.path("client.pem"), authority.path("client.key"));
    let config = EtcdConfig {
        ca_cert: Some(authority.path("ca.pem")),
        identity: Some((cert.clone(), key)),
        ..config(&[etcd.url()])
    };
    let mut driver = Driver::with(config);
    let reason = driver.lost().await;
    assert!(
        reason.contains(&format!("cannot read {}", cert.display())),
        "{reason}"
    );
    authority.issue("client");
    driver.snapshot().await;
    driver.connected().await;
}

#[tokio::test]
async fn a_missing_client_certificate_and_an_unknown_ca_are_reported() {
    let authority = Authority::new();
    let etcd = with_tls(&authority).await;
    let mut config = EtcdConfig {
        ca_cert: Some(authority.path("ca.pem")),
        ..config(&[etcd.url()])
    };
    let reason = Driver::with(config.clone()).lost().await;
    assert!(reason.contains("may want a client certificate"), "{reason}");
    let other = Authority::new();
    config.ca_cert = Some(other.path("ca.pem"));
    let reason = Driver::with(config.clone()).lost().await;
    assert!(reason.contains("certificate"), "{reason}");
    config.ca_cert = Some(authority.path("ca.pem"));
    config.identity = Some(other.issue("client"));
    let reason = Driver::with(config).lost().await;
    assert!(reason.contains("may have refused our certificate"), "{reason}");
}

#[tokio::test]
async fn e13_certificates_that_are_all_rotated_are_taken_up_without_a_restart() {
    let authority = Authority::new();
    let mut etcd = with_tls(&authority).await;
    let identity = authority.issue("client");
    let config = EtcdConfig {
        ca_cert: Some(authority.path("ca.pem")),
        identity: Some(identity),
        ..config(&[etcd.url()])
    };
    let mut driver = Driver::with(config);
    driver.snapshot().await;
    driver.connected().await;
    etcd.kill();
    driver.lost().await;
    authority.renew();
    authority.issue("server");
    authority.issue("client");
    etcd.launch().await;
    driver.connected().await;
}

#[tokio::test]
async fn e13_rights_that_are_revoked_are_named_and_cost_nothing_that_was_read() {
    let etcd = with_users().await;
    let relay = Relay::to(etcd.port()).await;
    let mut through = with_user(&etcd, "calico", "right");
    through.endpoints = vec![relay.url()];
    let root = ConnectOptions::new().with_user("root", "right");
    let mut client = etcd.client_with(root).await;
    client.put(&node("a"), "{}").await;
    let mut driver = Driver::with(through);
    assert_eq!(driver.snapshot().await.0.len(), 1);
    driver.connected().await;
    client.0.user_revoke_role("calico", "reader").await.unwrap();
    // etcd asks for rights when a watch begins.
    relay.set(Mode::Cut);
    driver.lost().await;
    relay.set(Mode::Pass);
    while !driver.lost().await.contains("may not read") {}
    client.put(&node("b"), "{}").await;
    client.0.user_grant_role("calico", "reader").await.unwrap();
    // Where it stood, and not from the beginning: nothing was deleted meanwhile. One watch may have news before all
    // are there.
    driver.connected_or_change().await;
}
