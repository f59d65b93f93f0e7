//! Where a speaker listens, and to whom.

use std::net::SocketAddr;

use pipit_bgp::wire::iana::ErrorCode;
use pipit_bgp::wire::notification::Notification;

use crate::node::{Node, PEER, PORT, address, both_up, pair, until};
use crate::scripted::{Ending, Scripted};

#[tokio::test]
async fn a_stranger_is_refused_without_a_word() {
    let nodes = pair(40, |_| (), |_| ()).await;
    both_up(&nodes).await;
    for _ in 0..20 {
        let mut stranger = Scripted::dial(address(40, 99), nodes[0].address).await;
        assert_eq!(stranger.ending().await, Ending::Closed);
    }
    assert_eq!(nodes[0].view(PEER).await.flaps, 0);
}

#[tokio::test]
async fn a_connection_to_an_address_that_is_not_configured_is_refused() {
    let node = Node::start(41, 1).await;
    let peer = address(41, 2);
    let mut config = node.config(peer);
    (config.passive, config.source) = (true, Some(address(41, 3)));
    node.speaker.add_peer(PEER, config).await;
    let mut connection = Scripted::dial(peer, node.address).await;
    assert_eq!(connection.ending().await, Ending::Closed);
}

#[tokio::test]
async fn the_port_moves_live_and_standing_sessions_stay() {
    const NEW: u16 = PORT + 1;
    let nodes = pair(42, |c| c.passive = true, |_| ()).await;
    both_up(&nodes).await;
    nodes[0].listen(NEW).await;
    until("move", async || {
        let connect = |port| tokio::net::TcpStream::connect((nodes[0].address, port));
        connect(NEW).await.is_ok() && connect(PORT).await.is_err()
    })
    .await;
    assert_eq!(nodes[0].view(PEER).await.flaps, 0);
    let reset = Notification::new(ErrorCode::ADMINISTRATIVE_RESET);
    nodes[0].speaker.reset_peer(PEER, reset, "test".into()).await;
    nodes[1].hears("end", PEER, |heard| heard.downs.len() == 1).await;
    nodes[1].stays_down(PEER).await;
    let mut config = nodes[1].config(nodes[0].address);
    config.port = NEW;
    nodes[1].speaker.change_peer(PEER, config).await;
    both_up(&nodes).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_tried_again() {
    let address = address(43, 1);
    let squatter = std::net::TcpListener::bind(SocketAddr::new(address, PORT)).unwrap();
    let node = Node::silent(address);
    node.listen(PORT).await;
    until("complaint", async || {
        let errors = node.speaker.listen_errors().await;
        errors
            .first()
            .is_some_and(|e| e.contains("another program has the port") && e.contains(&PORT.to_string()))
    })
    .await;
    drop(squatter);
    until("port", async || {
        node.speaker.listen_errors().await.is_empty()
            && tokio::net::TcpStream::connect((address, PORT)).await.is_ok()
    })
    .await;
}
