//! The etcd v3 back-end: one snapshot at one revision, then a watch from the next.
//!
//! ```text
//! connect ─► list every prefix at revision R ─► watch every prefix from R+1 ─┐
//!    ▲                                                                       │
//!    └──────── any error, compaction, silence (back-off with jitter) ────────┘
//! ```
//!
//! Coming back means listing again, and the cache takes the difference: with several watches on one stream no single
//! revision says what each of them has delivered, and compaction or a restored backup need no path of their own.
//!
//! **Invariant:** a deletion is only ever delivered because etcd said so, or because a complete newer snapshot does
//! not hold the key; never because etcd could not be asked.

use std::path::PathBuf;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, Error, EventType, GetOptions, Identity, KeyValue, TlsOptions,
    WatchOptions, WatchResponse, WatchStream,
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backend::{StoreEvent, StoreStatus};
use crate::key::{self, Key};

/// Keys in one answer of a listing: well below the 4 MiB that a message may have.
const PAGE: i64 = 500;
/// Shortest and longest wait before another attempt.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A unary call that takes longer has failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the server is asked how far the watch is: a stalled one is found within twice this.
const PROGRESS: Duration = Duration::from_secs(10);
/// A value larger than this is no Calico resource (etcd's own limit is 1.5 MiB).
const VALUE_MAX: usize = 2 << 20;

/// How to reach etcd.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EtcdConfig {
    /// URLs; at least one.
    pub endpoints: Vec<String>,
    /// User and password; used only together.
    pub user: Option<(String, String)>,
    /// PEM file with the CA's certificate; the system's roots where it is left out.
    pub ca_cert: Option<PathBuf>,
    /// PEM files with our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("user", &user)
            .field("ca_cert", &self.ca_cert)
            .field("identity", &self.identity)
            .finish()
    }
}

/// Why etcd cannot be used right now.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Etcd(#[from] Error),
    #[error("no answer within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
    #[error("the watch fell silent")]
    Stalled,
    #[error("history was compacted up to revision {0}")]
    Compacted(i64),
    #[error("the watch ended: {0}")]
    Ended(String),
    #[error("the daemon stops")]
    Receiver,
}

impl Trouble {
    /// In words for people, with what to do where that is known.
    fn explain(&self, config: &EtcdConfig) -> String {
        let endpoints = config.endpoints.join(",");
        let text = self.to_string();
        let hint = if text.contains("authentication failed") || text.contains("user name is empty") {
            " (check user and password: --etcd-username, ETCD_PASSWORD)"
        } else if text.contains("permission denied") {
            " (the user may not read /calico/)"
        } else {
            ""
        };
        format!("etcd at {endpoints}: {text}{hint}")
    }
}

/// Delivers Calico's objects from etcd until cancelled. Of block affinities, only those of `node`.
pub async fn run(
    config: EtcdConfig,
    node: String,
    events: mpsc::Sender<StoreEvent>,
    cancel: CancellationToken,
) {
    let mut driver = Driver {
        config,
        node,
        events,
        revision: 0,
        is_lost: true,
        complaint: String::new(),
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = driver.run() => {}
    }
}

struct Driver {
    config: EtcdConfig,
    node: String,
    events: mpsc::Sender<StoreEvent>,
    /// Of the last snapshot or change delivered.
    revision: i64,
    is_lost: bool,
    complaint: String,
}

impl Driver {
    async fn run(&mut self) {
        let mut wait = BACK_OFF.0;
        loop {
            let trouble = match self.session().await {
                Ok(never) => match never {},
                Err(Trouble::Receiver) => return,
                Err(trouble) => trouble,
            };
            if let Trouble::Compacted(at) = trouble {
                info!(compacted = at, "history is gone; reading everything again");
                continue;
            }
            if !self.is_lost {
                wait = BACK_OFF.0;
            }
            if self.complain(&trouble).await.is_err() {
                return;
            }
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }

    /// One connection: a snapshot, then changes for as long as it lasts.
    async fn session(&mut self) -> Result<std::convert::Infallible, Trouble> {
        let mut client = connect(&self.config).await?;
        let revision = self.snapshot(&mut client).await?;
        let mut stream = watch(&mut client, &self.node, revision + 1).await?;
        self.recovered().await?;
        let mut is_asked = false;
        loop {
            match tokio::time::timeout(PROGRESS, stream.message()).await {
                Ok(Ok(Some(response))) => {
                    is_asked = false;
                    self.handle(&response).await?;
                }
                Ok(Ok(None)) => return Err(Trouble::Ended("closed by the server".into())),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) if is_asked => return Err(Trouble::Stalled),
                Err(_) => {
                    stream.request_progress().await?;
                    is_asked = true;
                }
            }
        }
    }

    /// Lists every prefix at one revision.
    async fn snapshot(&mut self, client: &mut Client) -> Result<i64, Trouble> {
        let mut revision = 0;
        let mut listed = Vec::new();
        for prefix in key::prefixes(&self.node) {
            let mut from = prefix.clone().into_bytes();
            let end = end_of(&prefix);
            loop {
                let options = GetOptions::new()
                    .with_range(end.clone())
                    .with_limit(PAGE)
                    .with_revision(revision);
                let answer = call(client.get(from.clone(), Some(options))).await?;
                if revision == 0 {
                    revision = answer.header().map_or(0, |header| header.revision());
                }
                let kvs = answer.kvs();
                listed.extend(kvs.iter().filter_map(|kv| self.event(kv)));
                match kvs.last() {
                    Some(last) if answer.more() => {
                        from = last.key().to_vec();
                        from.push(0);
                    }
                    _ => break,
                }
            }
        }
        // Only a complete listing is shown to anybody.
        self.send(StoreEvent::Begin).await?;
        for event in listed {
            self.send(event).await?;
        }
        self.send(StoreEvent::SnapshotDone { revision }).await?;
        if revision < self.revision {
            warn!(
                from = self.revision,
                to = revision,
                "etcd's revision went back: restored, or another cluster"
            );
        }
        self.revision = revision;
        Ok(revision)
    }

    async fn handle(&mut self, response: &WatchResponse) -> Result<(), Trouble> {
        if response.canceled() {
            return Err(match response.compact_revision() {
                0 => Trouble::Ended(response.cancel_reason().to_owned()),
                compacted => Trouble::Compacted(compacted),
            });
        }
        let mut is_changed = false;
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let store_event = match event.event_type() {
                EventType::Put => self.event(kv),
                EventType::Delete => self.key_of(kv).map(|key| StoreEvent::Delete { key }),
            };
            if let Some(store_event) = store_event {
                self.send(store_event).await?;
                is_changed = true;
            }
        }
        if is_changed {
            self.revision = response
                .header()
                .map_or(self.revision, |header| header.revision());
            self.send(StoreEvent::Settled {
                revision: self.revision,
            })
            .await?;
        }
        Ok(())
    }

    fn key_of(&self, kv: &KeyValue) -> Option<Key> {
        key::parse(kv.key_str().ok()?, &self.node)
    }

    /// The object of a key, `None` for a key that is none of ours.
    fn event(&self, kv: &KeyValue) -> Option<StoreEvent> {
        let key = self.key_of(kv)?;
        let origin = kv.key_str().ok()?.to_owned();
        let value = kv.value();
        if value.is_empty() {
            return Some(StoreEvent::Put {
                key,
                value: Value::Null,
                origin,
            });
        }
        if value.len() > VALUE_MAX {
            let error = format!("value of {} octets is too large", value.len());
            return Some(StoreEvent::Unreadable {
                key: Some(key),
                origin,
                error,
            });
        }
        Some(match serde_json::from_slice(value) {
            Ok(value) => StoreEvent::Put { key, value, origin },
            Err(error) => {
                // Where, not what: values can hold secrets.
                let error = format!("not JSON (line {}, column {})", error.line(), error.column());
                warn!(%origin, %error, "an object cannot be read; its last good version stays in force");
                StoreEvent::Unreadable {
                    key: Some(key),
                    origin,
                    error,
                }
            }
        })
    }

    async fn recovered(&mut self) -> Result<(), Trouble> {
        if !std::mem::take(&mut self.is_lost) {
            return Ok(());
        }
        self.complaint.clear();
        let endpoint = self.config.endpoints.join(",");
        info!(%endpoint, revision = self.revision, "connected to etcd");
        self.send(StoreEvent::Status(StoreStatus::Connected { endpoint }))
            .await
    }

    async fn complain(&mut self, trouble: &Trouble) -> Result<(), Trouble> {
        let reason = trouble.explain(&self.config);
        self.is_lost = true;
        if reason != self.complaint {
            warn!("{reason}; trying again, what was read before stays in force");
            self.complaint.clone_from(&reason);
            self.send(StoreEvent::Status(StoreStatus::Lost { reason }))
                .await?;
        }
        Ok(())
    }

    async fn send(&self, event: StoreEvent) -> Result<(), Trouble> {
        self.events.send(event).await.map_err(|_| Trouble::Receiver)
    }
}

async fn connect(config: &EtcdConfig) -> Result<Client, Trouble> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CALL_TIMEOUT)
        .with_keep_alive(Duration::from_secs(5), Duration::from_secs(5))
        .with_keep_alive_while_idle(true)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some((name, password)) = &config.user {
        options = options.with_user(name, password);
    }
    // Read at every connection, so that rotated certificates are taken up.
    if config
        .endpoints
        .iter()
        .any(|endpoint| endpoint.starts_with("https://"))
    {
        let mut tls = TlsOptions::new().with_enabled_roots();
        if let Some(path) = &config.ca_cert {
            tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
        }
        if let Some((cert, key)) = &config.identity {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        options = options.with_tls(tls);
    }
    call(Client::connect(&config.endpoints, Some(options))).await
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Trouble> {
    std::fs::read(path).map_err(|source| Trouble::File {
        path: path.clone(),
        source,
    })
}

/// All prefixes on one stream.
async fn watch(client: &mut Client, node: &str, from: i64) -> Result<WatchStream, Trouble> {
    let mut stream: Option<WatchStream> = None;
    for prefix in key::prefixes(node) {
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(from)
            .with_progress_notify();
        match &mut stream {
            Some(stream) => call(stream.watch(prefix, Some(options))).await?,
            None => stream = Some(call(client.watch(prefix, Some(options))).await?),
        }
    }
    stream.ok_or_else(|| Trouble::Ended("nothing to watch".into()))
}

/// A call with a limit: a server that hangs answers nothing.
async fn call<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(result) => result.map_err(Trouble::from),
        Err(_) => Err(Trouble::Timeout),
    }
}

/// The first key after a prefix that ends in `/`.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Half to all of a time, by the clock's last digits: enough to keep a thousand nodes apart.
fn jittered(wait: Duration) -> Duration {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    wait / 2 + wait * (nanos % 1000) / 2000
}
