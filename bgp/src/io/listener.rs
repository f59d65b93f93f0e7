//! Listening sockets: one a family, bound again while the port is taken, closed and moved live.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use crate::io::socket;

/// How long until a port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What listeners report.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// The address is ours. Nobody is let in before the answer, so that keys can be set first: a connection made
    /// without one would stay without one.
    Bound(SocketAddr, Arc<Socket>, oneshot::Sender<()>),
    /// Connections are taken.
    Listening(SocketAddr),
    /// Not listening, for this reason; it is tried again.
    Failed(SocketAddr, String),
    /// A connection from this address.
    Connection(SocketAddr, TcpStream),
}

/// The speaker no longer wants to hear of this listener.
struct Unwanted;

/// Listens on an address until dropped.
pub(crate) async fn run(address: SocketAddr, accepted: mpsc::Sender<Accepted>) {
    let mut has_complained = false;
    let listener = loop {
        match open(address, &accepted).await {
            Err(Unwanted) => return,
            Ok(Ok(listener)) => break listener,
            Ok(Err(cause)) => {
                let reason = explain(address, &cause);
                if !has_complained {
                    error!("{reason}");
                    has_complained = true;
                }
                if accepted.send(Accepted::Failed(address, reason)).await.is_err() {
                    return;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    info!(%address, "listening");
    if accepted.send(Accepted::Listening(address)).await.is_err() {
        return;
    }
    accept(address, &listener, &accepted).await;
}

async fn open(
    address: SocketAddr,
    accepted: &mpsc::Sender<Accepted>,
) -> Result<io::Result<TcpListener>, Unwanted> {
    let socket = match socket::bind(address) {
        Ok(socket) => Arc::new(socket),
        Err(cause) => return Ok(Err(cause)),
    };
    let (answer, is_keyed) = oneshot::channel();
    accepted
        .send(Accepted::Bound(address, Arc::clone(&socket), answer))
        .await
        .map_err(|_| Unwanted)?;
    is_keyed.await.map_err(|_| Unwanted)?;
    Ok(socket::listen(&socket))
}

async fn accept(address: SocketAddr, listener: &TcpListener, accepted: &mpsc::Sender<Accepted>) {
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                is_failing = false;
                if accepted.send(Accepted::Connection(peer, stream)).await.is_err() {
                    return;
                }
            }
            // EMFILE and the like: the connection stays in the backlog until there is room again.
            Err(cause) => {
                if !std::mem::replace(&mut is_failing, true) {
                    error!(%address, error = %cause, "cannot accept connections");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn explain(address: SocketAddr, cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {address}: another program has the port (BIRD? see `ss -ltnp 'sport = :{}'`); \
             trying again every second, peers are dialled meanwhile",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {address}: needs root or CAP_NET_BIND_SERVICE")
        }
        _ => format!("cannot listen on {address}: {cause}; trying again every second"),
    }
}
