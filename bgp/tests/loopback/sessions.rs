//! Sessions come up, change, are reset and leave.

use std::time::Duration;

use pipit_bgp::session::Stop;
use pipit_bgp::session::config::{GracefulRestart, HoldReason};
use pipit_bgp::session::query::State;
use pipit_bgp::wire::iana::ErrorCode;
use pipit_bgp::wire::notification::Notification;
use pipit_bgp::{Family, FamilySet, PeerId};

use crate::node::{Node, PEER, both_up, pair, until};

#[tokio::test]
async fn sessions_come_up_whoever_dials() {
    for (test, left, right) in [(1, false, true), (2, true, false), (3, false, false)] {
        let nodes = pair(test, |c| c.passive = left, |c| c.passive = right).await;
        both_up(&nodes).await;
        for node in &nodes {
            assert_eq!(node.view(PEER).await.flaps, 0);
            assert_eq!(node.heard.borrow().peer(PEER).ups.len(), 1);
        }
    }
}

#[tokio::test]
async fn two_passive_peers_wait_for_each_other() {
    let nodes = pair(4, |c| c.passive = true, |c| c.passive = true).await;
    nodes[0].stays_down(PEER).await;
    assert_eq!(nodes[0].view(PEER).await.state, State::Active);
}

#[tokio::test]
async fn sessions_come_up_over_ipv6() {
    let free_port = || {
        let probe = std::net::TcpListener::bind("[::1]:0").unwrap();
        probe.local_addr().unwrap().port()
    };
    let nodes = [(); 2].map(|()| Node::silent("::1".parse().unwrap()));
    let ports = [free_port(), free_port()];
    for (at, node) in nodes.iter().enumerate() {
        node.listen(ports[at]).await;
        let mut config = node.config(node.address);
        config.port = ports[1 - at];
        config.router_id = (at as u32 + 1).into();
        config.families = Family::ALL.into_iter().collect();
        node.speaker.add_peer(PEER, config).await;
    }
    both_up(&nodes).await;
    let families = nodes[0].heard.borrow().peer(PEER).ups[0].families;
    assert_eq!(families, Family::ALL.into_iter().collect());
}

#[tokio::test]
async fn messages_are_counted_by_type_and_direction_and_the_last_errors_stay_visible() {
    let nodes = pair(14, |_| (), |c| c.passive = true).await;
    both_up(&nodes).await;
    // End-of-RIB is the UPDATE of an empty table.
    nodes[0]
        .shows("counts", PEER, |view| {
            let (sent, received) = (view.sent, view.received);
            (sent.open, sent.update, received.open, received.update) == (1, 1, 1, 1)
                && sent.keepalive >= 1
                && received.keepalive >= 1
                && sent.octets > 19 * 3
                && received.octets > 19 * 3
        })
        .await;
    let reset = Notification::new(ErrorCode::ADMINISTRATIVE_RESET);
    nodes[0].speaker.reset_peer(PEER, reset, "test".into()).await;
    nodes[1].hears("end", PEER, |heard| heard.downs.len() == 1).await;
    both_up(&nodes).await;
    let (ours, theirs) = (nodes[0].view(PEER).await, nodes[1].view(PEER).await);
    assert_eq!((ours.sent.notification, theirs.received.notification), (1, 1));
    let words = Some("administrative reset (6/4)".to_owned());
    assert_eq!((ours.last_error, ours.last_error_sent), (None, words.clone()));
    assert_eq!(
        (theirs.last_error_received, theirs.last_error_sent),
        (words, None)
    );
}

#[tokio::test]
async fn a_peer_over_its_limit_is_not_let_in_until_it_is_tried_again() {
    let nodes = pair(15, |c| c.passive = true, |_| ()).await;
    both_up(&nodes).await;
    let too_many = Notification::new(ErrorCode::MAX_PREFIXES);
    nodes[0]
        .speaker
        .reset_peer(PEER, too_many, "more than 5 IPv4 prefixes".into())
        .await;
    nodes[1].hears("end", PEER, |heard| heard.downs.len() == 1).await;
    nodes[0].stays_down(PEER).await;
    let view = nodes[0].view(PEER).await;
    assert_eq!(view.state, State::Idle);
    assert_eq!(view.last_error.as_deref(), Some("more than 5 IPv4 prefixes"));
    nodes[0].speaker.retry_peer(PEER).await;
    both_up(&nodes).await;
}

#[tokio::test]
async fn a_removed_peer_hears_that_it_is_and_one_added_again_is_found() {
    let nodes = pair(5, |_| (), |_| ()).await;
    both_up(&nodes).await;
    nodes[0].speaker.remove_peer(PEER).await;
    nodes[1].hears("end", PEER, |heard| heard.downs.len() == 1).await;
    let end = nodes[1].heard.borrow().peer(PEER).downs[0].clone();
    assert_eq!(end.reason, "received: hard reset (6/9): peer de-configured (6/3)");
    assert_eq!(end.retain, FamilySet::EMPTY);
    assert!(nodes[0].speaker.sessions().await.is_empty());
    // Peer ids are never used again.
    let config = nodes[0].config(nodes[1].address);
    nodes[0].speaker.add_peer(PeerId(2), config).await;
    nodes[0].is_up(PeerId(2)).await;
    nodes[1].is_up(PEER).await;
}

#[tokio::test]
async fn a_change_resets_the_session_only_if_it_must() {
    let nodes = pair(6, |_| (), |_| ()).await;
    both_up(&nodes).await;
    let mut config = nodes[0].config(nodes[1].address);
    config.keepalive = Some(Duration::from_secs(1));
    config.passive = true;
    nodes[0].speaker.change_peer(PEER, config.clone()).await;
    nodes[0].shows("passive", PEER, |view| view.is_passive).await;
    assert_eq!(nodes[0].view(PEER).await.flaps, 0);
    config.hold_time = Duration::from_secs(30);
    nodes[0].speaker.change_peer(PEER, config).await;
    nodes[1]
        .hears("second session", PEER, |heard| heard.ups.len() == 2)
        .await;
    both_up(&nodes).await;
    let heard = nodes[1].heard.borrow();
    assert_eq!(heard.peer(PEER).ups[1].hold_time, Duration::from_secs(30));
    assert_eq!(
        heard.peer(PEER).downs[0].reason,
        "received: other configuration change (6/6)"
    );
}

#[tokio::test]
async fn a_held_peer_is_refused_until_it_may_run() {
    let nodes = pair(7, |_| (), |c| c.held = Some(HoldReason::FilterInvalid)).await;
    nodes[0].stays_down(PEER).await;
    let view = nodes[1].view(PEER).await;
    assert_eq!(
        view.held.as_deref(),
        Some("held: a filter it uses cannot be read")
    );
    let config = nodes[1].config(nodes[0].address);
    nodes[1].speaker.change_peer(PEER, config).await;
    both_up(&nodes).await;
}

#[tokio::test]
async fn a_reset_session_comes_back_by_itself() {
    let nodes = pair(8, |_| (), |_| ()).await;
    both_up(&nodes).await;
    let reset = Notification::new(ErrorCode::ADMINISTRATIVE_RESET);
    nodes[0].speaker.reset_peer(PEER, reset, "asked for".into()).await;
    for node in &nodes {
        node.hears("second session", PEER, |heard| heard.ups.len() == 2)
            .await;
    }
    let reason = nodes[1].heard.borrow().peer(PEER).downs[0].reason.clone();
    assert_eq!(reason, "received: administrative reset (6/4)");
}

#[tokio::test]
async fn rfc4724_4_1_a_speaker_that_restarts_leaves_its_routes_with_its_peers() {
    let ipv4 = FamilySet::only(Family::Ipv4Unicast);
    let cases = [
        (9, GracefulRestart::default(), Stop::Restart, ipv4),
        (10, GracefulRestart::Off, Stop::Restart, FamilySet::EMPTY),
        (
            11,
            GracefulRestart::default(),
            Stop::Notify(Notification::new(ErrorCode::ADMINISTRATIVE_SHUTDOWN)),
            FamilySet::EMPTY,
        ),
    ];
    for (test, restart, how, kept) in cases {
        let nodes = pair(test, |c| c.graceful_restart = restart, |_| ()).await;
        both_up(&nodes).await;
        nodes[0].speaker.shutdown(how).await;
        nodes[1].hears("end", PEER, |heard| heard.downs.len() == 1).await;
        let end = nodes[1].heard.borrow().peer(PEER).downs[0].clone();
        assert_eq!(end.retain, kept, "{}", end.reason);
    }
}

#[tokio::test]
async fn two_hundred_sessions_come_up_at_once() {
    const COUNT: u8 = 200;
    let hub = Node::start(12, 250).await;
    let mut spokes = Vec::new();
    for host in 1..=COUNT {
        let spoke = Node::silent(crate::node::address(12, host));
        hub.speaker
            .add_peer(PeerId(host.into()), hub.config(spoke.address))
            .await;
        spoke.speaker.add_peer(PEER, spoke.config(hub.address)).await;
        spokes.push(spoke);
    }
    until("all sessions", async || {
        let sessions = hub.speaker.sessions().await;
        sessions.iter().all(|(_, view)| view.state == State::Established)
    })
    .await;
    for (spoke, host) in spokes.iter().zip(1..) {
        spoke.is_up(PEER).await;
        hub.is_up(PeerId(host)).await;
    }
}
