//! Who is let in: TCP MD5 (RFC 2385) and TTL security (RFC 5082).

use std::time::Duration;

use pipit_bgp::session::config::{PeerConfig, Secret};

use crate::node::{Node, PEER, both_up, pair};
use crate::scripted::{Ending, Scripted};

fn key(text: &str) -> impl FnOnce(&mut PeerConfig) {
    let key = (!text.is_empty()).then(|| Secret::new(text));
    move |config| config.password = key
}

#[tokio::test]
async fn rfc2385_equal_keys_let_sessions_up_whoever_dials() {
    for (test, left, right) in [(20, false, true), (21, true, false), (22, false, false)] {
        let nodes = pair(
            test,
            |c| (c.passive, c.password) = (left, Some(Secret::new("k3y"))),
            |c| (c.passive, c.password) = (right, Some(Secret::new("k3y"))),
        )
        .await;
        both_up(&nodes).await;
    }
}

#[tokio::test]
async fn rfc2385_a_wrong_or_missing_key_keeps_the_session_down_until_it_is_right() {
    for (test, left, right) in [(23, "one", "other"), (24, "one", ""), (25, "", "one")] {
        let nodes = pair(test, key(left), key(right)).await;
        nodes[0].stays_down(PEER).await;
        for (at, node) in nodes.iter().enumerate() {
            let config = PeerConfig {
                password: Some(Secret::new("right")),
                ..node.config(nodes[1 - at].address)
            };
            node.speaker.change_peer(PEER, config).await;
        }
        both_up(&nodes).await;
    }
}

#[tokio::test]
async fn a_key_taken_away_leaves_the_peer_to_speak_without() {
    let nodes = pair(26, key("k"), key("k")).await;
    both_up(&nodes).await;
    for (at, node) in nodes.iter().enumerate() {
        let config = node.config(nodes[1 - at].address);
        node.speaker.change_peer(PEER, config).await;
    }
    for node in &nodes {
        node.hears("second session", PEER, |heard| {
            heard.ups.len() >= 2 && heard.is_up()
        })
        .await;
    }
}

#[tokio::test]
async fn a_key_longer_than_the_kernel_takes_is_an_error_and_no_session() {
    let long = "x".repeat(81);
    let nodes = pair(27, key(&long), |_| ()).await;
    nodes[0]
        .shows("error", PEER, |view| {
            view.last_error
                .as_deref()
                .is_some_and(|error| error.contains("81 octets"))
        })
        .await;
    // The listening socket has no key for it either, so what the peer dials would be unsigned.
    nodes[0].stays_down(PEER).await;
}

#[tokio::test]
async fn rfc5082_neighbours_come_up_and_a_connection_from_afar_is_not_answered() {
    let nodes = pair(28, |c| c.ttl_security = Some(1), |c| c.ttl_security = Some(1)).await;
    both_up(&nodes).await;

    let nodes = pair(29, |c| (c.ttl_security, c.passive) = (Some(1), true), |_| ()).await;
    nodes[0].stays_down(PEER).await;
    nodes[1].speaker.remove_peer(PEER).await;
    // An OPEN right behind the handshake, from a socket with the usual TTL of 64.
    let mut far = Scripted::dial(nodes[1].address, nodes[0].address).await;
    // The connection may be gone before all is sent.
    let _ = far.stream.try_write(&Scripted::open(nodes[1].address, 90));
    assert_eq!(far.ending().await, Ending::Closed);
}

#[tokio::test]
async fn rfc5082_a_standing_session_begins_to_check_and_ends_only_when_the_peer_stays_behind() {
    let short = |config: &mut PeerConfig| config.hold_time = Duration::from_secs(3);
    let nodes = pair(31, short, short).await;
    both_up(&nodes).await;
    let change = async |at: usize, hops: Option<u8>| {
        let mut config = nodes[at].config(nodes[1 - at].address);
        (config.hold_time, config.ttl_security) = (Duration::from_secs(3), hops);
        nodes[at].speaker.change_peer(PEER, config).await;
    };
    for hops in [Some(1), None, Some(2)] {
        change(0, hops).await;
        change(1, hops).await;
        let heard = async |node: &Node| node.view(PEER).await.received.keepalive;
        let before = [heard(&nodes[0]).await, heard(&nodes[1]).await];
        for (node, before) in nodes.iter().zip(before) {
            // Longer than the hold time: what both say arrives.
            node.shows("keepalives", PEER, |view| view.received.keepalive > before + 4)
                .await;
            assert_eq!(node.view(PEER).await.flaps, 0, "{hops:?}");
        }
    }
    change(1, None).await;
    nodes[0].hears("end", PEER, |heard| heard.downs.len() == 1).await;
    nodes[0].stays_down(PEER).await;
}
