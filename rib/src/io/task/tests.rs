use std::net::Ipv4Addr;
use std::time::Duration;

use pipit_bgp::io::Speaker;
use pipit_bgp::session::Resumption;
use pipit_bgp::session::output::{Negotiated, PeerRestart};
use pipit_bgp::wire::update::{BatchItem, UpdateBatch};
use pipit_bgp::{Asn, FamilySet, RouterId};

use super::*;
use crate::NextHopMode;
use crate::fib::Fib;

const PEER: PeerId = PeerId(1);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const AS: Asn = Asn(64_512);
const PROTOCOL: u8 = 12;

fn rib() -> Rib {
    let node = NodeSettings {
        router_id: RouterId(OWN),
        local_as: AS,
        cluster_id: None,
        addresses: FamilyMap::default(),
        max_paths: 1,
        route_protocol: PROTOCOL,
        nexthop_objects: false,
    };
    Rib::new(node, Fib::new(PROTOCOL))
}

fn settings() -> PeerSettings {
    PeerSettings {
        name: "peer".into(),
        address: THEIRS.into(),
        interface: None,
        local_as: AS,
        remote_as: AS,
        next_hop: NextHopMode::Auto,
        is_client: false,
        allowed_local_as: 0,
        max_prefixes: None,
        accepts_local_pref: true,
        enforces_first_as: false,
        role: None,
        import: FamilyMap::default(),
        export: FamilyMap::default(),
    }
}

fn up() -> PeerBody {
    let negotiated = Negotiated {
        remote_router_id: RouterId(THEIRS),
        remote_as: AS,
        local_address: OWN.into(),
        families: FamilySet::only(Family::Ipv4Unicast),
        hold_time: Duration::from_secs(90),
        four_octet_as: true,
        max_message_len: 4096,
        add_path_send: FamilySet::EMPTY,
        add_path_receive: FamilySet::EMPTY,
        route_refresh: true,
        enhanced_refresh: true,
        extended_next_hop: false,
        graceful_restart: Some(PeerRestart::default()),
        keeps_our_routes: false,
        role: None,
        hostname: None,
        software: None,
    };
    PeerBody::Up {
        negotiated: Box::new(negotiated),
        frames: FrameSender::default(),
    }
}

fn end_of_rib() -> PeerBody {
    PeerBody::Routes(UpdateBatch {
        items: vec![BatchItem::EndOfRib(Family::Ipv4Unicast)],
        ..UpdateBatch::default()
    })
}

#[tokio::test]
async fn a_session_that_came_up_while_the_task_was_busy_finds_its_peer_known() {
    // Which of its channels a task looks at first is chance.
    for _ in 0..16 {
        let (messages, received) = mpsc::channel(2);
        let speaker = Speaker::spawn(Resumption::None, messages.clone());
        let (kernel, _requests) = mpsc::channel(1);
        let (_reports, reported) = mpsc::channel(1);
        let rib = RibTask::spawn(rib(), true, received, speaker, (kernel, reported, 254));
        rib.send(Command::SetPeer(PEER, Box::new(settings()))).await;
        rib.send(Command::Configured {
            peers: vec![PEER],
            is_doubtful: false,
        })
        .await;
        for body in [up(), end_of_rib()] {
            messages.send(PeerMessage { peer: PEER, body }).await.unwrap();
        }
        // Both were taken.
        drop(messages.reserve_many(2).await.unwrap());
        assert_eq!(rib.is_recovering().await, Some(false), "nobody knew the peer");
    }
}
