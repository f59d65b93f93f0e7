//! A peer that does what the test says, octet by octet.

use std::net::{IpAddr, SocketAddr};

use pipit_bgp::wire::capability::Capability;
use pipit_bgp::wire::header;
use pipit_bgp::wire::iana::message;
use pipit_bgp::wire::notification::Notification;
use pipit_bgp::wire::open::Open;
use pipit_bgp::{Asn, RouterId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::node::{PATIENCE, PORT};

/// One connection.
pub(crate) struct Scripted {
    pub(crate) stream: TcpStream,
}

/// How a connection ended.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Notified(Notification),
    Closed,
}

impl Scripted {
    /// Dials a node from an address.
    pub(crate) async fn dial(from: IpAddr, node: IpAddr) -> Scripted {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let stream = socket.connect(SocketAddr::new(node, PORT)).await.unwrap();
        // What is said before the connection is dropped must be on its way by then.
        stream.set_nodelay(true).unwrap();
        Scripted { stream }
    }

    /// The OPEN of a plain internal peer.
    pub(crate) fn open(from: IpAddr, hold_time: u16) -> Vec<u8> {
        Self::open_with(from, hold_time, Vec::new())
    }

    /// The OPEN of an internal peer that can do more.
    pub(crate) fn open_with(from: IpAddr, hold_time: u16, more: Vec<Capability>) -> Vec<u8> {
        let IpAddr::V4(id) = from else {
            panic!("scripted peers are IPv4")
        };
        let plain = [
            Capability::Multiprotocol { afi: 1, safi: 1 },
            Capability::FourOctetAs(Asn(64_512)),
        ];
        let open = Open {
            my_as: 64_512,
            hold_time,
            router_id: RouterId(id),
            capabilities: plain.into_iter().chain(more).collect(),
        };
        open.encode().to_vec()
    }

    /// Exchanges OPENs and KEEPALIVEs.
    pub(crate) async fn establish(&mut self, from: IpAddr, hold_time: u16) {
        self.establish_with(&Self::open(from, hold_time)).await;
    }

    /// As [`Self::establish`], with this OPEN.
    pub(crate) async fn establish_with(&mut self, open: &[u8]) {
        self.send(open).await;
        self.send(&header::keepalive()).await;
        assert_eq!(self.receive().await.unwrap().0, message::OPEN);
        assert_eq!(self.receive().await.unwrap().0, message::KEEPALIVE);
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Type and body of the next message; `None` at the end of the connection.
    pub(crate) async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, async {
            let mut start = [0; header::LEN];
            self.stream.read_exact(&mut start).await.ok()?;
            let len = usize::from(u16::from_be_bytes([start[16], start[17]]));
            let mut body = vec![0; len - header::LEN];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((start[18], body))
        })
        .await
        .expect("neither a message nor the end")
    }

    /// Reads on until the connection ends.
    pub(crate) async fn ending(&mut self) -> Ending {
        loop {
            match self.receive().await {
                None => return Ending::Closed,
                Some((message::NOTIFICATION, body)) => {
                    return Ending::Notified(Notification::decode(&body).unwrap());
                }
                Some(_) => {}
            }
        }
    }
}
