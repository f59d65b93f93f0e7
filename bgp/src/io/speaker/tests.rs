//! What `tests/loopback` cannot bring about from outside: a defect.

use super::*;
use crate::Asn;
use crate::session::query::State;

const PATIENCE: Duration = Duration::from_secs(10);

/// The next message to the RIB; frames channels are kept open in `kept`.
async fn next(
    messages: &mut mpsc::Receiver<PeerMessage>,
    kept: &mut Vec<mpsc::Sender<bytes::Bytes>>,
) -> String {
    let message = tokio::time::timeout(PATIENCE, messages.recv())
        .await
        .unwrap()
        .unwrap();
    let what = match message.body {
        PeerBody::Up { frames, .. } => {
            kept.push(frames);
            "up".to_owned()
        }
        PeerBody::Down(end) => format!("down: {}", end.reason),
        other => panic!("{other:?}"),
    };
    format!("{} {what}", message.peer)
}

#[tokio::test]
async fn a_panic_in_one_peers_task_costs_that_peer_its_session_and_nobody_else() {
    let own: IpAddr = [127, 9, (std::process::id() % 250) as u8, 1].into();
    let other: IpAddr = [127, 9, (std::process::id() % 250) as u8, 2].into();
    let (routes, mut messages) = mpsc::channel(16);
    let (their_routes, mut theirs) = mpsc::channel(16);
    let (ours, peers) = (Speaker::spawn(false, routes), Speaker::spawn(false, their_routes));
    let listen = FamilyMap {
        ipv4: Some(SocketAddr::new(other, 1790)),
        ipv6: None,
    };
    peers.set_listen(listen).await;
    let config = |from: IpAddr, to: IpAddr, id: u32| PeerConfig {
        source: Some(from),
        port: 1790,
        connect_retry: Duration::from_millis(100),
        ..PeerConfig::new("x", to, Asn(1), Asn(1), id.into())
    };
    ours.add_peer(PeerId(1), config(own, other, 1)).await;
    // Nobody answers this one; its task must not care either.
    let absent = [127, 9, (std::process::id() % 250) as u8, 3].into();
    ours.add_peer(PeerId(2), config(own, absent, 1)).await;
    let mut passive = config(other, own, 2);
    passive.passive = true;
    peers.add_peer(PeerId(1), passive).await;

    let (mut kept, mut their_kept) = (Vec::new(), Vec::new());
    assert_eq!(next(&mut messages, &mut kept).await, "peer#1 up");
    assert_eq!(next(&mut theirs, &mut their_kept).await, "peer#1 up");
    ours.send(SpeakerCommand::Panic(PeerId(1))).await;
    assert_eq!(
        next(&mut messages, &mut kept).await,
        "peer#1 down: internal error"
    );
    assert_eq!(next(&mut messages, &mut kept).await, "peer#1 up");
    assert!(
        next(&mut theirs, &mut their_kept)
            .await
            .starts_with("peer#1 down: connection")
    );
    let sessions = ours.sessions().await.sessions;
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0].1.state, State::Established);
}
