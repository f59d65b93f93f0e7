//! What `tests/loopback` cannot bring about from outside: a defect.

use super::*;
use crate::Asn;
use crate::io::message::FrameSender;
use crate::session::Resumption;
use crate::session::query::State;

const PATIENCE: Duration = Duration::from_secs(10);

/// The next message to the RIB; frame senders are kept in `kept`.
async fn next(messages: &mut mpsc::Receiver<PeerMessage>, kept: &mut Vec<FrameSender>) -> String {
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
    let (ours, peers) = (
        Speaker::spawn(Resumption::None, routes),
        Speaker::spawn(Resumption::None, their_routes),
    );
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
    let sessions = ours.sessions().await;
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0].1.state, State::Established);
}

#[tokio::test]
async fn one_link_local_address_on_two_interfaces_is_two_peers() {
    let (routes, _messages) = mpsc::channel(16);
    let mut speaker = Speaker::new(Resumption::None, routes);
    let address: std::net::Ipv6Addr = "fe80::1".parse().unwrap();
    let config = |name: &str, interface: &str| PeerConfig {
        passive: true,
        interface: Some(interface.into()),
        ..PeerConfig::new(name, address.into(), Asn(1), Asn(1), 1.into())
    };
    speaker.add(PeerId(1), config("here", "lo"));
    speaker.add(PeerId(2), config("elsewhere", "absent0"));
    let loopback = socket::interface_index("lo").unwrap();
    let name_at = |speaker: &Speaker, scope| {
        let from = SocketAddr::V6(std::net::SocketAddrV6::new(address, 40_000, 0, scope));
        speaker.peer_at(from).map(|peer| peer.config.name.clone())
    };
    assert_eq!(name_at(&speaker, loopback).as_deref(), Some("here"));
    assert_eq!(name_at(&speaker, loopback + 1_000_000), None);
    // The other one leaves, and then the first: each takes only itself away.
    speaker.remove(PeerId(2)).await;
    assert_eq!(name_at(&speaker, loopback).as_deref(), Some("here"));
    speaker.remove(PeerId(1)).await;
    assert_eq!(name_at(&speaker, loopback), None);
    assert!(speaker.by_address.is_empty());
}
