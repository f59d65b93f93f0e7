//! The daemon: what it is told at its start, how it speaks to its operator, and what it runs.
//!
//! The kernel is read before anything else, so that peers learn in the first OPEN whether forwarding went on
//! without us; the datastore decides the rest.

pub mod api;
pub mod claims;
pub mod config;
pub mod etcd_driver;
pub mod fib_diff;
pub mod logging;
pub mod machine;
pub mod node_status;
pub mod privilege;
pub mod reconcile;
pub mod stderr;
pub mod table_lock;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use pipit_bgp::io::Speaker;
use pipit_bgp::session::{Resumption, Stop};
use pipit_bgp::{Asn, FamilyMap, RouterId};
use pipit_datastore::desired::{DesiredState, Environment};
use pipit_datastore::io::backend::Manifests;
use pipit_datastore::io::snapshot::SnapshotFile;
use pipit_datastore::io::task::{self, Options, Store};
use pipit_datastore::io::{endpoint_status, secrets};
use pipit_rib::fib::Fib;
use pipit_rib::io::netlink::{self, Report, Request};
use pipit_rib::io::task::RibTask;
use pipit_rib::{NodeSettings, Output, Rib};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::control::protocol::DatastoreKind;
use crate::control::{server, socket::ControlSocket};
use crate::daemon::api::Api;
use crate::daemon::config::{Config, DatastoreConfig};
use crate::daemon::logging::LogControl;
use crate::daemon::node_status::{Complaints, Reporter};
use crate::daemon::reconcile::Reconciler;
use crate::daemon::table_lock::TableLock;

/// Linux route protocol `bird`: what Calico's other parts expect.
pub(crate) const PROTOCOL: u8 = 12;
/// Messages of all peers that wait for the RIB.
const PEER_MESSAGES: usize = 256;

/// How long what is still being written to disk at the end may take.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Runs the daemon until it is told to end.
///
/// # Errors
/// What keeps it from starting: no permission, another daemon on the socket.
pub fn run(config: Config, logs: LogControl) -> anyhow::Result<()> {
    // Held for the daemon's life: dropping it ends the changeability of the log level.
    let _logs = logs;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(config));
    // The last state is being written; a disk that does not answer keeps nobody from ending.
    runtime.shutdown_timeout(LAST_WRITE);
    result
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (control_socket, listener) = ControlSocket::bind(&config.socket)?;
    let table = config.route_table;
    let _table = TableLock::take(table)?;
    let (kernel, mut reports) = netlink::spawn(table).context("the kernel's routing table")?;
    let noted = control_socket.noted_protocol();
    let mut rib = Rib::new(unknown_node(), kernel_table(&config, noted));
    let mut adopted = first_dump(&mut rib, &kernel, &mut reports).await?;
    if adopted == 0 && noted.is_some() {
        // What we left is gone; there may be something of BIRD's.
        rib = Rib::new(unknown_node(), kernel_table(&config, None));
        adopted = first_dump(&mut rib, &kernel, &mut reports).await?;
    }
    rib.set_limits(config.limits);
    let is_restart = adopted > 0;
    let resumption = match (is_restart, control_socket.is_taken_over()) {
        (false, _) => Resumption::None,
        // Routes of another program with our number, BIRD's.
        (true, false) => Resumption::Forwarding,
        (true, true) => Resumption::Restart,
    };

    let (routes, received) = mpsc::channel(PEER_MESSAGES);
    let speaker = Speaker::spawn(resumption, routes);
    let rib = RibTask::spawn(
        rib,
        is_restart,
        received,
        speaker.clone(),
        (kernel, reports, table),
    );
    let (mut reconciler, origins) = Reconciler::new(speaker.clone(), rib.clone(), config.route_protocol);

    let cancel = CancellationToken::new();
    let (environment, watched) = watch::channel(machine::environment());
    if let Some(folder) = config.secrets_dir.clone() {
        // Before the first plan: a session whose password is at hand is never held.
        secrets::take(&folder, &environment);
        tokio::spawn(secrets::follow(folder, environment.clone()));
    }
    tokio::spawn(endpoint_status::follow(
        machine::endpoint_status_folder(),
        environment,
    ));
    let (kind, place, store) = follow_datastore(&config, watched, cancel.clone())?;
    let mut state = store.state.clone();
    let rib_handle = rib.clone();
    let (reconfigured, reconfigured_at) = watch::channel(None);
    let (complaints, unanswered) = watch::channel(Complaints::default());
    let api = Api {
        node_name: config.node_name.clone(),
        datastore: (kind, place),
        started: Timestamp::now(),
        speaker: speaker.clone(),
        rib,
        store,
        origins,
        reconfigured: reconfigured_at,
        drain: Arc::default(),
        unanswered,
    };
    if let DatastoreConfig::Etcd(etcd) = &config.datastore {
        tokio::spawn(Reporter::new(api.clone(), etcd.clone(), complaints).run());
    }
    let control = tokio::spawn(server::serve(listener, api));
    info!(node = %config.node_name, version = env!("CARGO_PKG_VERSION"), adopted, "pipitd is running");
    let mut in_force: Option<Arc<DesiredState>> = None;
    let mut route_protocol = rib_handle.route_protocol();
    loop {
        tokio::select! {
            result = state.changed() => {
                result.context("the datastore task ended")?;
                let desired = state.borrow_and_update().desired.clone();
                // The store says more than what to do: most of its news change nothing here.
                if let Some(desired) = desired.filter(|new| !in_force.as_ref().is_some_and(|old| Arc::ptr_eq(old, new))) {
                    reconciler.apply(in_force.as_deref(), &desired).await;
                    in_force = Some(desired);
                    reconfigured.send_replace(Some(Timestamp::now()));
                }
            }
            result = route_protocol.changed() => {
                result.context("the RIB's task ended")?;
                // As long as some routes carry another number, the old note is the better one.
                if let Some(only) = *route_protocol.borrow_and_update() {
                    control_socket.note_protocol(only);
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    info!("ending as for a restart: kernel routes stay, peers keep ours");
    control.abort();
    cancel.cancel();
    // First the RIB: that our sessions end is no reason to take their routes out of the kernel.
    rib_handle.end().await;
    speaker.shutdown(Stop::Restart).await;
    Ok(())
}

/// Reads the kernel's tables; how many routes of an earlier life they hold.
async fn first_dump(
    rib: &mut Rib,
    kernel: &mpsc::Sender<Request>,
    reports: &mut mpsc::Receiver<Report>,
) -> anyhow::Result<usize> {
    kernel
        .send(Request::Dump)
        .await
        .context("the kernel's routing table")?;
    loop {
        match reports
            .recv()
            .await
            .context("the kernel's routing table cannot be read")?
        {
            Report::Events(events) => rib.handle_kernel(Instant::now(), events),
            Report::Applied(_) => {}
        }
        while let Some(output) = rib.poll_output() {
            if let Output::Loaded(adopted) = output {
                return Ok(adopted);
            }
        }
    }
}

/// `noted`: the number of the routes that the last daemon left. They are ours whatever the number is now.
fn kernel_table(config: &Config, noted: Option<u8>) -> Fib {
    let protocol = config.route_protocol.or(noted).unwrap_or(PROTOCOL);
    let left = noted.unwrap_or(protocol);
    let mut fib = if config.route_table == netlink::MAIN {
        Fib::new(left)
    } else {
        Fib::apart(left)
    };
    fib.set_protocol(protocol);
    fib.set_source(config.route_source);
    fib
}

fn unknown_node() -> NodeSettings {
    NodeSettings {
        router_id: RouterId(Ipv4Addr::UNSPECIFIED),
        local_as: Asn(0),
        cluster_id: None,
        addresses: FamilyMap::default(),
        max_paths: 16,
        route_protocol: PROTOCOL,
        nexthop_objects: false,
    }
}

/// Follows the datastore that was configured; its kind and place for `pipit status`.
fn follow_datastore(
    config: &Config,
    environment: watch::Receiver<Environment>,
    cancel: CancellationToken,
) -> anyhow::Result<(DatastoreKind, String, Store)> {
    let node = config.node_name.clone();
    let options = |source: &[String]| Options {
        hold: config.guard_hold,
        snapshot: config.snapshot.clone().map(|path| SnapshotFile {
            path,
            source: source.to_vec(),
        }),
    };
    Ok(match &config.datastore {
        DatastoreConfig::File { path } => (
            DatastoreKind::File,
            path.display().to_string(),
            task::spawn(Manifests(path.clone()), node, environment, options(&[]), cancel),
        ),
        DatastoreConfig::Etcd(etcd) => (
            DatastoreKind::Etcd,
            etcd.endpoints.join(","),
            task::spawn(
                etcd.to_driver(),
                node,
                environment,
                options(&etcd.endpoints),
                cancel,
            ),
        ),
    })
}
