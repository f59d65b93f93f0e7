//! OPEN: bytes → decode → negotiate → Established, or a NOTIFICATION.
//!
//! An input is one octet that chooses the configuration, and an OPEN without its header.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pipit_bgp::session::collision::Direction;
use pipit_bgp::session::config::{AddPath, GracefulRestart, PeerConfig, Role};
use pipit_bgp::session::output::Negotiated;
use pipit_bgp::session::{Action, Connected, Resumption, Session};
use pipit_bgp::wire::capability::Capability;
use pipit_bgp::wire::header;
use pipit_bgp::wire::iana::message;
use pipit_bgp::wire::open::Open;
use pipit_bgp::wire::update::UpdateBatch;
use pipit_bgp::{Asn, Family, FamilySet, RouterId};

use super::session::check_message;

/// # Panics
/// When a promise of the codec or of the negotiation is broken.
pub(crate) fn check(input: &[u8]) {
    let [choice, body @ ..] = input else { return };
    let body = &body[..body.len().min(header::MAX_LEN - header::LEN)];
    let decoded = Open::decode(body).ok();
    if let Some(open) = &decoded {
        let again = open.encode();
        check_message(&again);
        assert_eq!(Open::decode(&again[header::LEN..]).as_ref(), Ok(open));
    }
    let config = config(*choice, decoded.as_ref());
    let now = Instant::now();
    let mut session = Session::new(config.clone(), Resumption::None, 1);
    session.start(now);
    let local = IpAddr::from([192, 0, 2, 1]);
    assert_eq!(
        session.handle_connected(now, Direction::Incoming, local),
        Connected::Taken
    );
    while session.poll_action().is_some() {}

    let mut batch = UpdateBatch::default();
    let mut receive = |session: &mut Session, kind: u8, body: &[u8]| {
        let mut bytes = vec![0xff; 16];
        bytes.extend(((header::LEN + body.len()) as u16).to_be_bytes());
        bytes.push(kind);
        bytes.extend(body);
        session.handle_bytes(now, Direction::Incoming, &mut bytes.as_slice(), &mut batch);
        std::iter::from_fn(|| session.poll_action()).collect::<Vec<Action>>()
    };
    let actions = receive(&mut session, message::OPEN, body);
    let sent = |kind: u8| {
        let mut sends = actions.iter();
        sends.any(|action| matches!(action, Action::Send(_, bytes) if bytes[18] == kind))
    };
    actions.iter().for_each(check_sent);
    // One of the two, always.
    assert!(
        sent(message::KEEPALIVE) != sent(message::NOTIFICATION),
        "{actions:?}"
    );
    assert_eq!(
        sent(message::NOTIFICATION),
        actions.iter().any(|action| matches!(action, Action::Close(_)))
    );
    if sent(message::NOTIFICATION) {
        return;
    }
    let open = decoded.unwrap_or_else(|| panic!("an OPEN that cannot be read was accepted"));
    let actions = receive(&mut session, message::KEEPALIVE, &[]);
    let Some(Action::Up(_, negotiated)) = actions.iter().find(|action| matches!(action, Action::Up(..)))
    else {
        panic!("not Established: {actions:?}");
    };
    check_negotiated(&config, &open, negotiated);
}

fn check_sent(action: &Action) {
    if let Action::Send(_, bytes) = action {
        check_message(bytes);
    }
}

fn check_negotiated(config: &PeerConfig, open: &Open, negotiated: &Negotiated) {
    let within = |inner: FamilySet, outer: FamilySet| inner.iter().all(|family| outer.contains(family));
    assert!(!negotiated.families.is_empty() && within(negotiated.families, config.families));
    assert!(within(negotiated.add_path_send, negotiated.families));
    assert!(within(negotiated.add_path_receive, negotiated.families));
    let hold_time = negotiated.hold_time;
    assert!(
        hold_time.is_zero() || hold_time >= Duration::from_secs(3),
        "{hold_time:?}"
    );
    assert!(hold_time <= config.hold_time && hold_time.as_secs() <= u64::from(open.hold_time));
    assert!([header::MAX_LEN, header::EXTENDED_MAX_LEN].contains(&usize::from(negotiated.max_message_len)));
    assert_eq!(negotiated.remote_as, config.remote_as);
    assert_ne!(negotiated.remote_router_id, RouterId::from(0));
    assert!(!negotiated.extended_next_hop || config.extended_next_hop);
    let text = [&negotiated.hostname, &negotiated.software];
    assert!(text.into_iter().flatten().all(|text| text.len() <= 255 * 3));
}

/// The AS that an OPEN speaks for (RFC 6793 §4.1).
fn presented(open: &Open) -> Asn {
    let four_octets = open.capabilities.iter().find_map(|capability| match capability {
        Capability::FourOctetAs(asn) => Some(*asn),
        _ => None,
    });
    four_octets.unwrap_or(Asn(open.my_as.into()))
}

/// Bits: 0 the peer's own AS is expected, 1 a 4-octet AS of ours, 2 IPv4 only, 3 ADD-PATH, 4 RFC 8950, 5 a role, 6 no
/// graceful restart, 7 no hold time.
fn config(choice: u8, open: Option<&Open>) -> PeerConfig {
    let bit = |bit: u8| choice & 1 << bit != 0;
    let ours = Asn(if bit(1) { 4_200_000_512 } else { 64_512 });
    let theirs = match open {
        Some(open) if bit(0) => presented(open),
        _ => Asn(64_513),
    };
    let address = IpAddr::from([192, 0, 2, 2]);
    let mut config = PeerConfig::new("fuzz", address, ours, theirs, RouterId::from(0xc000_0201));
    config.families = Family::ALL.into_iter().collect();
    if bit(2) {
        config.families = FamilySet::only(Family::Ipv4Unicast);
    }
    if !bit(3) {
        config.add_path = AddPath::Off;
    }
    config.extended_next_hop = bit(4);
    config.role = bit(5).then_some(Role::Customer);
    if bit(6) {
        config.graceful_restart = GracefulRestart::Off;
    }
    if bit(7) {
        config.hold_time = Duration::ZERO;
    }
    config
}
