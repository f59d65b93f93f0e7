//! Whatever one peer does costs only that peer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pipit_bgp::io::message::Unsent;
use pipit_bgp::wire::capability::{Capability, RestartFamily};
use pipit_bgp::wire::header;
use pipit_bgp::wire::iana::{ErrorCode, message};
use pipit_bgp::wire::notification::Notification;
use pipit_bgp::{FamilySet, PeerId};

use crate::node::{Node, PEER, address, both_up, pair};
use crate::scripted::{Ending, Scripted};

/// A node with one scripted passive-side peer and one real one.
const SCRIPTED: PeerId = PeerId(2);

async fn node_with_scripted(test: u8, hold_time: u64) -> ([Node; 2], IpAddr) {
    let short = Duration::from_secs(hold_time);
    let nodes = pair(test, |c| c.hold_time = short, |c| c.hold_time = short).await;
    both_up(&nodes).await;
    let peer = address(test, 3);
    let mut config = nodes[0].config(peer);
    (config.passive, config.hold_time) = (true, Duration::from_secs(90));
    config.send_hold = Some(Duration::from_secs(3));
    nodes[0].speaker.add_peer(SCRIPTED, config).await;
    (nodes, peer)
}

/// Prefixes in a [`frame`].
const FRAME_PREFIXES: usize = 20_000;

/// A frame of UPDATEs that withdraw a thousand times the same prefix, twenty times.
fn frame() -> Bytes {
    let withdrawn = [24, 10, 1, 2].repeat(1_000);
    let body = [&4_000u16.to_be_bytes()[..], &withdrawn, &[0, 0]].concat();
    header::message(message::UPDATE, &body).repeat(20).into()
}

/// Sends to a peer that does not read until nothing goes any more.
async fn fill(node: &Node, peer: PeerId) {
    let (frames, mut heard) = (node.frames(peer), node.heard.clone());
    let patience = Duration::from_millis(200);
    loop {
        heard.borrow_and_update();
        if frames.send(frame()) == Err(Unsent::Full)
            && tokio::time::timeout(patience, heard.changed()).await.is_err()
        {
            return;
        }
    }
}

#[tokio::test]
async fn rfc9687_a_peer_that_stops_reading_costs_only_itself() {
    let (nodes, peer) = node_with_scripted(60, 3).await;
    let mut stalled = Scripted::dial(peer, nodes[0].address).await;
    stalled.establish(peer, 90).await;
    nodes[0].hears("session", SCRIPTED, |heard| heard.is_up()).await;
    let (to_stalled, to_other) = (nodes[0].frames(SCRIPTED), nodes[0].frames(PEER));
    let (began, mut sent) = (Instant::now(), 0);
    // Until the send hold timer ends the stalled session, the other gets all it is sent, without delay.
    while !to_stalled.is_closed() {
        let _ = to_stalled.send(frame());
        sent += FRAME_PREFIXES;
        to_other.send(frame()).unwrap();
        nodes[1]
            .hears("routes", PEER, |heard| heard.prefixes == sent)
            .await;
        assert!(began.elapsed() < Duration::from_secs(15), "never let go");
    }
    assert!(began.elapsed() >= Duration::from_secs(3), "let go too soon");
    nodes[0]
        .hears("end", SCRIPTED, |heard| heard.downs.len() == 1)
        .await;
    let reason = nodes[0].heard.borrow().peer(SCRIPTED).downs[0].reason.clone();
    assert_eq!(reason, "sent: send hold timer expired (8/0)");
    assert_eq!(nodes[0].view(PEER).await.flaps, 0);
}

#[tokio::test]
async fn sessions_outlive_a_rib_that_takes_nothing_for_longer_than_the_hold_time() {
    let (nodes, peer) = node_with_scripted(61, 3).await;
    let mut flood = Scripted::dial(peer, nodes[0].address).await;
    flood.establish(peer, 3).await;
    nodes[0].hears("session", SCRIPTED, |heard| heard.is_up()).await;
    nodes[0].set_busy(true);
    let to_busy = nodes[1].frames(PEER);
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(5) {
        // Both peers have much to say, and say it for as long as somebody reads.
        if to_busy.send(frame()).is_ok() {
            sent += FRAME_PREFIXES;
        }
        let _ = flood.stream.try_write(&frame());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    nodes[0].set_busy(false);
    nodes[0]
        .hears("everything", PEER, |heard| heard.prefixes == sent)
        .await;
    for node in &nodes {
        assert_eq!(node.view(PEER).await.flaps, 0);
    }
    assert_eq!(nodes[0].view(SCRIPTED).await.flaps, 0);
}

#[tokio::test]
async fn rfc4271_6_last_words_arrive_although_much_is_unread() {
    let (nodes, peer) = node_with_scripted(62, 90).await;
    let mut bad = Scripted::dial(peer, nodes[0].address).await;
    bad.establish(peer, 90).await;
    nodes[0].hears("session", SCRIPTED, |heard| heard.is_up()).await;
    // Its window is shut, so all that is said from now on waits in our kernel.
    fill(&nodes[0], SCRIPTED).await;
    // No header, and far more than is read at once.
    bad.send(&vec![0; 300_000]).await;
    let expected = Notification::new(ErrorCode::NOT_SYNCHRONIZED);
    assert_eq!(bad.ending().await, Ending::Notified(expected));
    assert_eq!(nodes[0].view(PEER).await.flaps, 0);
}

#[tokio::test]
async fn a_peer_that_connects_again_and_again_is_served_and_disturbs_nobody() {
    let (nodes, peer) = node_with_scripted(63, 3).await;
    for _ in 0..100 {
        drop(Scripted::dial(peer, nodes[0].address).await);
    }
    let mut good = Scripted::dial(peer, nodes[0].address).await;
    good.establish(peer, 90).await;
    nodes[0].hears("session", SCRIPTED, |heard| heard.is_up()).await;
    assert_eq!(nodes[0].view(PEER).await.flaps, 0);
}

#[tokio::test]
async fn rfc4724_4_2_a_notification_counts_although_writing_failed_before_it_was_read() {
    let (nodes, peer) = node_with_scripted(64, 90).await;
    let restart = Capability::GracefulRestart {
        is_restarting: false,
        has_notification: false,
        restart_time: 60,
        families: vec![RestartFamily {
            afi: 1,
            safi: 1,
            is_forwarding: true,
        }],
    };
    let mut leaving = Scripted::dial(peer, nodes[0].address).await;
    leaving
        .establish_with(&Scripted::open_with(peer, 90, vec![restart]))
        .await;
    nodes[0].hears("session", SCRIPTED, |heard| heard.is_up()).await;
    let frames = nodes[0].frames(SCRIPTED);
    // All of this happens before the node looks: it writes first, and that fails because the connection was reset,
    // something of ours being unread there.
    leaving
        .send(&Notification::new(ErrorCode::ADMINISTRATIVE_RESET).encode())
        .await;
    drop(leaving);
    frames.send(frame()).unwrap();
    nodes[0]
        .hears("end", SCRIPTED, |heard| heard.downs.len() == 1)
        .await;
    let heard = nodes[0].heard.borrow();
    let end = &heard.peer(SCRIPTED).downs[0];
    assert_eq!(end.reason, "received: administrative reset (6/4)");
    assert_eq!(end.retain, FamilySet::EMPTY);
}
