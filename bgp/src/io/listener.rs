//! Listening sockets: one a family, bound again while the port is taken, closed and moved live.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::io::{socket, tcp_md5};
use crate::session::config::Secret;

/// How long until a port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What listeners report.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// Listening: keys can be set now.
    Bound(SocketAddr, Arc<TcpListener>),
    /// Not listening, for this reason; it is tried again.
    Failed(SocketAddr, String),
    /// A connection from this address.
    Connection(IpAddr, TcpStream),
}

/// Listens on an address until dropped.
pub(crate) async fn run(address: SocketAddr, accepted: mpsc::Sender<Accepted>) {
    let mut has_complained = false;
    let listener = loop {
        match socket::listen(address) {
            Ok(listener) => break Arc::new(listener),
            Err(cause) => {
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
    if accepted
        .send(Accepted::Bound(address, Arc::clone(&listener)))
        .await
        .is_err()
    {
        return;
    }
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if accepted
                    .send(Accepted::Connection(peer.ip().to_canonical(), stream))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            // EMFILE and the like: the connection stays in the backlog until there is room again.
            Err(cause) => {
                error!(%address, error = %cause, "cannot accept a connection");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Sets or removes a peer's key on a listening socket of its family.
pub(crate) fn set_key(listener: &TcpListener, peer: IpAddr, key: Option<&Secret>) -> std::io::Result<()> {
    tcp_md5::set_key(listener, peer, key)
}

fn explain(address: SocketAddr, cause: &std::io::Error) -> String {
    match cause.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "cannot listen on {address}: another program has the port (BIRD? see `ss -ltnp 'sport = :{}'`); \
             trying again every second, peers are dialled meanwhile",
            address.port()
        ),
        std::io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {address}: needs root or CAP_NET_BIND_SERVICE")
        }
        _ => format!("cannot listen on {address}: {cause}; trying again every second"),
    }
}
