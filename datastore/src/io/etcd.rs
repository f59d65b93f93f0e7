//! The etcd v3 back-end: one snapshot at one revision, then watches from the next.
//!
//! ```text
//! connect to one endpoint ─► list every prefix at revision R ─► watch every prefix from R+1 ──┐
//!    ▲  └─────── place known: resume each watch where it stood ──────────▲                    │
//!    └──────────── any error or silence: next endpoint (back-off with jitter) ◄───────────────┘
//! ```
//!
//! A session is bound to one endpoint, so that listing and watching see the same member; trouble moves on to the
//! next one at once, and waits only when all of them have failed. Each watch is resumed behind the last event it
//! delivered, so a restarted server costs a look at what changed and not a listing per node of the cluster. When the
//! place is lost (compaction, a restored backup, another cluster) everything is listed again, and the cache takes
//! the difference.
//!
//! **Invariant:** a deletion is only ever delivered because etcd said so, or because a complete newer snapshot does
//! not hold the key; never because etcd could not be asked.

mod config;
mod connection;
mod listing;
mod object;
mod place;
mod retry;
mod status_writer;
mod trouble;
mod watching;

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::config::{EtcdConfig, Password};
use self::connection::{call, connect, patience};
use self::listing::list;
use self::place::Place;
use self::retry::Retry;
pub use self::status_writer::{Written, update_status};
pub use self::trouble::Trouble;
use self::watching::Watching;
use crate::backend::{StoreEvent, StoreStatus};
use crate::key;

/// How long a watch may be silent before the server is asked how far it is. The answer may take as long again, so a
/// stalled watch is found within half a minute.
const PROGRESS: Duration = Duration::from_secs(15);

/// So many keys that mean nothing to us are logged.
const STRANGERS: usize = 100;

/// Delivers Calico's objects from etcd until cancelled. Of block affinities, only those of `node`.
pub async fn run(
    config: EtcdConfig,
    node: String,
    events: mpsc::Sender<StoreEvent>,
    cancel: CancellationToken,
) {
    let driver = Driver {
        retry: Retry::new(config.endpoints.len()),
        prefixes: key::prefixes(&node),
        config,
        node,
        events,
        place: None,
        connected_to: None,
        complaint: None,
        strangers: HashSet::new(),
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = driver.run() => {}
    }
}

struct Driver {
    config: EtcdConfig,
    node: String,
    prefixes: Vec<String>,
    events: mpsc::Sender<StoreEvent>,
    retry: Retry,
    /// Where to go on; `None`: everything has to be listed.
    place: Option<Place>,
    /// The endpoint last reported as connected; `None`: not connected.
    connected_to: Option<String>,
    /// What was last reported as wrong.
    complaint: Option<String>,
    /// Keys among ours that mean nothing to us, as far as they have been logged.
    strangers: HashSet<Vec<u8>>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let trouble = match self.session().await {
                Ok(never) => match never {},
                Err(Trouble::ReceiverGone) => return,
                Err(trouble) => trouble,
            };
            let wait = if trouble.is_place_lost() {
                info!(reason = %trouble, "reading everything again");
                self.place = None;
                self.retry.again(Instant::now())
            } else {
                let wait = self.retry.next(Instant::now(), trouble.is_silence());
                if self.retry.is_exhausted() && self.complain(&trouble).await.is_err() {
                    return;
                }
                wait
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection: a snapshot unless the place is known, then changes for as long as it lasts.
    async fn session(&mut self) -> Result<Infallible, Trouble> {
        let endpoint = self.endpoint();
        let patience = patience(self.retry.has_others());
        let mut client = connect(&self.config, &endpoint, patience).await?;
        let mut place = match &self.place {
            Some(place) => {
                place.check(&mut client).await?;
                place.clone()
            }
            None => self.snapshot(&mut client).await?,
        };
        let mut watching = Watching::open(&mut client, &self.prefixes, &place).await?;
        let mut is_asked = false;
        loop {
            let limit = if watching.is_complete() {
                PROGRESS
            } else {
                connection::CALL_TIMEOUT
            };
            match tokio::time::timeout(limit, watching.next(&mut place)).await {
                Ok(batch) => {
                    is_asked = false;
                    self.deliver(batch?, &mut place).await?;
                    if watching.is_complete() {
                        self.connected(&endpoint).await?;
                    }
                }
                Err(_) if !watching.is_complete() => return Err(Trouble::Timeout),
                Err(_) if is_asked => return Err(Trouble::Stalled),
                Err(_) => {
                    call(watching.request_progress()).await?;
                    is_asked = true;
                }
            }
        }
    }

    fn endpoint(&self) -> String {
        let endpoint = self.config.endpoints.get(self.retry.endpoint());
        endpoint.cloned().unwrap_or_default()
    }

    /// Lists everything; only a complete listing is shown to anybody.
    async fn snapshot(&mut self, client: &mut etcd_client::Client) -> Result<Place, Trouble> {
        let listing = list(client, &self.prefixes, &self.node).await?;
        let revision = listing.revision;
        let place = Place::after_listing(&listing, self.prefixes.len());
        self.send(StoreEvent::Begin).await?;
        for stored in listing.objects {
            match object::put(&stored, &self.node) {
                Some(event) => self.send(event).await?,
                None => self.pass_over(&stored),
            }
        }
        self.send(StoreEvent::SnapshotDone { revision }).await?;
        self.place = Some(place.clone());
        Ok(place)
    }

    /// Hands on what one message of the server brought, and only then remembers it as delivered.
    async fn deliver(&mut self, batch: watching::Batch, place: &mut Place) -> Result<(), Trouble> {
        // Each revision ends with its mark: what was deleted together is told from what was deleted one by one.
        let mut revision = None;
        for event in batch.events {
            let of_event = event.kv().map(etcd_client::KeyValue::mod_revision);
            if let Some(settled) = revision.filter(|_| of_event != revision) {
                self.send(StoreEvent::Settled { revision: settled }).await?;
            }
            revision = of_event;
            match (object::event(&event, &self.node), event.kv()) {
                (Some(event), _) => self.send(event).await?,
                (None, Some(kv)) => self.pass_over(kv),
                (None, None) => {}
            }
        }
        if let Some(revision) = revision {
            self.send(StoreEvent::Settled { revision }).await?;
        }
        self.place = Some(place.clone());
        Ok(())
    }

    async fn connected(&mut self, endpoint: &str) -> Result<(), Trouble> {
        self.retry.connected(Instant::now());
        if self.connected_to.as_deref() == Some(endpoint) {
            return Ok(());
        }
        let revision = self.place.as_ref().map_or(0, |place| place.revision);
        info!(endpoint, revision, "connected to etcd");
        self.connected_to = Some(endpoint.to_owned());
        self.complaint = None;
        let endpoint = endpoint.to_owned();
        self.send(StoreEvent::Status(StoreStatus::Connected { endpoint }))
            .await
    }

    async fn complain(&mut self, trouble: &Trouble) -> Result<(), Trouble> {
        let hint = self.hint(trouble);
        let reason = format!("etcd at {}: {trouble}{hint}", self.config.endpoints.join(","));
        self.connected_to = None;
        if self.complaint.as_ref() == Some(&reason) {
            return Ok(());
        }
        warn!("{reason}; trying again, what was read before stays in force");
        self.complaint = Some(reason.clone());
        self.send(StoreEvent::Status(StoreStatus::Lost { reason })).await
    }

    /// A server that wants a certificate, or refuses the one that it gets, does not say so: it hangs up. One that has
    /// just worked and hangs up has rather ended.
    fn hint(&self, trouble: &Trouble) -> &'static str {
        let is_tls = self
            .config
            .endpoints
            .iter()
            .any(|url| url.starts_with("https://"));
        match (trouble, &self.config.identity) {
            (Trouble::Unreachable { cause }, _) if !is_tls || cause.contains("refused (os error") => "",
            (Trouble::Unreachable { .. }, None) => {
                "; it may want a client certificate (--etcd-cert, --etcd-key)"
            }
            (Trouble::Unreachable { cause }, Some(_)) if self.connected_to.is_none() && is_hang_up(cause) => {
                "; it may have refused our certificate: expired, or of a CA that it does not know"
            }
            _ => "",
        }
    }

    /// Says once of each key that nothing comes of it: a block whose name is no CIDR would be missed for long.
    fn pass_over(&mut self, kv: &etcd_client::KeyValue) {
        if self.strangers.len() < STRANGERS && self.strangers.insert(kv.key().to_vec()) {
            let key = String::from_utf8_lossy(kv.key());
            warn!(%key, "not a key of Calico's; it is passed over");
        }
    }

    async fn send(&self, event: StoreEvent) -> Result<(), Trouble> {
        self.events.send(event).await.map_err(|_| Trouble::ReceiverGone)
    }
}

/// Whether a TLS connection ended by the other side's will. That our certificate is refused shows only so, for in TLS
/// 1.3 the client has finished by then.
fn is_hang_up(cause: &str) -> bool {
    let words = ["closed", "fatal alert", "broken pipe", "reset by peer"];
    words.iter().any(|word| cause.contains(word))
}
