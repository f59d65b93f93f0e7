//! Our OPEN, and what ours and theirs allow together.

use std::net::IpAddr;
use std::time::Duration;

use crate::asn::Asn;
use crate::family::{Family, FamilyMap, FamilySet};
use crate::session::config::{AddPath, GracefulRestart, PeerConfig, Role};
use crate::session::output::{Negotiated, PeerRestart};
use crate::wire::capability::{Capability, ROLE, RestartFamily};
use crate::wire::header;
use crate::wire::iana::ErrorCode;
use crate::wire::notification::Notification;
use crate::wire::open::Open;

/// Shortest hold time that is not zero (RFC 4271 §4.2).
const HOLD_TIME_MIN: u16 = 3;
/// The restart time has twelve bits (RFC 4724 §3).
const RESTART_TIME_MAX: u64 = 4_095;
/// The long-lived stale time has twenty-four (RFC 9494 §3.1).
const STALE_TIME_MAX: u64 = 0xff_ffff;

/// What our OPEN says of the time before it (RFC 4724 §3): R and F bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resumption {
    /// There is nothing to come back to.
    None,
    /// Forwarding went on since a session with this peer, or since another daemon on this node: F.
    Forwarding,
    /// This daemon ended, and forwarding went on; peers shall wait for our routes (RFC 4724 §4.1): R and F.
    Restart,
}

/// The OPEN that a peer's configuration means.
pub(crate) fn our_open(config: &PeerConfig, resumption: Resumption) -> Open {
    let mut capabilities: Vec<Capability> = config
        .families
        .iter()
        .map(|f| Capability::Multiprotocol {
            afi: f.afi(),
            safi: f.safi(),
        })
        .collect();
    capabilities.push(Capability::RouteRefresh);
    if config.extended_next_hop && config.families.contains(Family::Ipv4Unicast) {
        capabilities.push(Capability::ExtendedNextHop(vec![(1, 1, 2)]));
    }
    capabilities.push(Capability::ExtendedMessage);
    if let Some(role) = config.role {
        capabilities.push(Capability::Role(role));
    }
    capabilities.extend(restart_capability(config, resumption));
    capabilities.extend(long_lived_capability(config, resumption));
    capabilities.push(Capability::FourOctetAs(config.local_as));
    let mode = match config.add_path {
        AddPath::Off => None,
        AddPath::Receive => Some(1),
        AddPath::Send => Some(2),
        AddPath::Both => Some(3),
    };
    if let Some(mode) = mode {
        capabilities.push(Capability::AddPath(
            config
                .families
                .iter()
                .map(|f| (f.afi(), f.safi(), mode))
                .collect(),
        ));
    }
    capabilities.push(Capability::EnhancedRefresh);
    Open {
        my_as: config.local_as.to_two_octets(),
        hold_time: u16::try_from(config.hold_time.as_secs()).unwrap_or(u16::MAX),
        router_id: config.router_id,
        capabilities,
    }
}

fn restart_capability(config: &PeerConfig, resumption: Resumption) -> Option<Capability> {
    let (restart_time, families) = match config.graceful_restart {
        GracefulRestart::Off => return None,
        // Without a family it says only: we wait for yours (RFC 4724 §3).
        GracefulRestart::Helper => (0, Vec::new()),
        GracefulRestart::Restart { restart_time, .. } => (
            restart_time.as_secs().min(RESTART_TIME_MAX) as u16,
            config
                .families
                .iter()
                .map(|f| RestartFamily {
                    afi: f.afi(),
                    safi: f.safi(),
                    is_forwarding: resumption != Resumption::None,
                })
                .collect(),
        ),
    };
    Some(Capability::GracefulRestart {
        is_restarting: resumption == Resumption::Restart && !families.is_empty(),
        has_notification: true,
        restart_time,
        families,
    })
}

fn long_lived_capability(config: &PeerConfig, resumption: Resumption) -> Option<Capability> {
    let (families, stale_time) = match config.graceful_restart {
        GracefulRestart::Off => return None,
        GracefulRestart::Restart { long_lived, .. } if !long_lived.is_zero() => (config.families, long_lived),
        // Without a family, as BIRD has it: we keep yours for as long as you say, and ask nothing for ours.
        GracefulRestart::Helper | GracefulRestart::Restart { .. } => (FamilySet::EMPTY, Duration::ZERO),
    };
    let secs = stale_time.as_secs().min(STALE_TIME_MAX) as u32;
    let is_forwarding = resumption != Resumption::None;
    let families = families.iter().map(|f| (f.afi(), f.safi(), is_forwarding, secs));
    Some(Capability::LongLivedRestart(families.collect()))
}

/// Puts both OPENs together.
///
/// # Errors
/// What to tell the peer when they do not go together (RFC 4271 §6.2); the session ends.
pub(crate) fn negotiate(
    config: &PeerConfig,
    theirs: &Open,
    local_address: IpAddr,
) -> Result<Negotiated, Notification> {
    let remote_as = check_as(config, theirs)?;
    check_router_id(config, theirs, remote_as)?;
    if (1..HOLD_TIME_MIN).contains(&theirs.hold_time) {
        return Err(Notification::new(ErrorCode::UNACCEPTABLE_HOLD_TIME));
    }
    check_role(config, theirs)?;
    let families = common_families(config, theirs)?;
    let capabilities = &theirs.capabilities;
    let has = |wanted: &Capability| capabilities.contains(wanted);
    let hold_time = config.hold_time.min(Duration::from_secs(theirs.hold_time.into()));
    let extended_next_hop = config.extended_next_hop
        && capabilities
            .iter()
            .any(|c| matches!(c, Capability::ExtendedNextHop(list) if list.contains(&(1, 1, 2))));
    let max_message_len = if has(&Capability::ExtendedMessage) {
        header::EXTENDED_MAX_LEN
    } else {
        header::MAX_LEN
    } as u16;
    let text = |pick: fn(&Capability) -> Option<&String>| capabilities.iter().find_map(pick).cloned();
    let graceful_restart = peer_restart(config, theirs);
    let asks_to_keep = matches!(config.graceful_restart, GracefulRestart::Restart { .. });
    Ok(Negotiated {
        remote_router_id: theirs.router_id,
        remote_as,
        local_address,
        families,
        hold_time,
        four_octet_as: capabilities
            .iter()
            .any(|c| matches!(c, Capability::FourOctetAs(_))),
        max_message_len,
        add_path_send: add_path(config, theirs, Direction::Send).intersection(families),
        add_path_receive: add_path(config, theirs, Direction::Receive).intersection(families),
        route_refresh: has(&Capability::RouteRefresh),
        enhanced_refresh: has(&Capability::EnhancedRefresh),
        extended_next_hop,
        keeps_our_routes: asks_to_keep && graceful_restart.is_some(),
        graceful_restart,
        role: config.role,
        hostname: text(|c| {
            if let Capability::Fqdn(name) = c {
                Some(name)
            } else {
                None
            }
        }),
        software: text(|c| {
            if let Capability::SoftwareVersion(name) = c {
                Some(name)
            } else {
                None
            }
        }),
    })
}

fn check_as(config: &PeerConfig, theirs: &Open) -> Result<Asn, Notification> {
    let wide = theirs.capabilities.iter().find_map(|c| match c {
        Capability::FourOctetAs(asn) => Some(*asn),
        _ => None,
    });
    let remote_as = wide.unwrap_or(Asn(theirs.my_as.into()));
    // RFC 6793 §4.1: the two fields belong together.
    let is_consistent = theirs.my_as == remote_as.to_two_octets() || theirs.my_as == 23456;
    if remote_as != config.remote_as || remote_as == Asn(0) || !is_consistent {
        return Err(Notification::new(ErrorCode::BAD_PEER_AS));
    }
    Ok(remote_as)
}

fn check_router_id(config: &PeerConfig, theirs: &Open, remote_as: Asn) -> Result<(), Notification> {
    let is_zero = u32::from(theirs.router_id) == 0;
    // RFC 6286 §2.1: unique within an AS only.
    let is_ours = theirs.router_id == config.router_id && remote_as == config.local_as;
    if is_zero || is_ours {
        Err(Notification::new(ErrorCode::BAD_BGP_IDENTIFIER))
    } else {
        Ok(())
    }
}

/// RFC 9234 §4.2: checked only where both sides say a role. One that nobody has assigned corresponds to none of ours.
fn check_role(config: &PeerConfig, theirs: &Open) -> Result<(), Notification> {
    let mut roles = theirs.capabilities.iter().filter_map(|c| match c {
        Capability::Role(role) => Some(Some(*role)),
        Capability::Unknown { code: ROLE, value } if value.len() == 1 => Some(None),
        _ => None,
    });
    let (Some(ours), Some(first)) = (config.role, roles.next()) else {
        return Ok(());
    };
    let wanted = Some(counterpart(ours));
    if first == wanted && roles.all(|role| role == wanted) {
        Ok(())
    } else {
        Err(Notification::new(ErrorCode::ROLE_MISMATCH))
    }
}

/// The role of the other end (RFC 9234 §4.2, table 2).
fn counterpart(role: Role) -> Role {
    match role {
        Role::Provider => Role::Customer,
        Role::Customer => Role::Provider,
        Role::RsServer => Role::RsClient,
        Role::RsClient => Role::RsServer,
        Role::Peer => Role::Peer,
    }
}

fn common_families(config: &PeerConfig, theirs: &Open) -> Result<FamilySet, Notification> {
    let says_any = theirs
        .capabilities
        .iter()
        .any(|c| matches!(c, Capability::Multiprotocol { .. }));
    let offered = if says_any {
        let family = |c: &Capability| match c {
            Capability::Multiprotocol { afi, safi } => Family::from_afi_safi(*afi, *safi),
            _ => None,
        };
        theirs.capabilities.iter().filter_map(family).collect()
    } else {
        // RFC 4760 §8 leaves those who say nothing with what BGP-4 had from the start.
        FamilySet::only(Family::Ipv4Unicast)
    };
    let common = config.families.intersection(offered);
    if common.is_empty() {
        let mut data = Vec::new();
        config.families.iter().for_each(|f| {
            Capability::Multiprotocol {
                afi: f.afi(),
                safi: f.safi(),
            }
            .encode(&mut data)
        });
        return Err(Notification::with(ErrorCode::UNSUPPORTED_CAPABILITY, data));
    }
    Ok(common)
}

enum Direction {
    Send,
    Receive,
}

fn add_path(config: &PeerConfig, theirs: &Open, direction: Direction) -> FamilySet {
    let (we_do, their_modes) = match direction {
        Direction::Send => (matches!(config.add_path, AddPath::Send | AddPath::Both), [1, 3]),
        Direction::Receive => (
            matches!(config.add_path, AddPath::Receive | AddPath::Both),
            [2, 3],
        ),
    };
    if !we_do {
        return FamilySet::EMPTY;
    }
    let lists = theirs.capabilities.iter().filter_map(|c| match c {
        Capability::AddPath(list) => Some(list),
        _ => None,
    });
    // RFC 7911 §4: modes other than 1 to 3 are ignored.
    lists
        .flatten()
        .filter(|(_, _, mode)| their_modes.contains(mode))
        .filter_map(|&(afi, safi, _)| Family::from_afi_safi(afi, safi))
        .collect()
}

fn peer_restart(config: &PeerConfig, theirs: &Open) -> Option<PeerRestart> {
    if config.graceful_restart == GracefulRestart::Off {
        return None;
    }
    // RFC 4724 §3: of several instances, all but the last are ignored.
    let mut found = theirs.capabilities.iter().rev().find_map(|c| match c {
        Capability::GracefulRestart {
            is_restarting,
            has_notification,
            restart_time,
            families,
        } => {
            let set = |wanted: fn(&RestartFamily) -> bool| {
                families
                    .iter()
                    .filter(|f| wanted(f))
                    .filter_map(|f| Family::from_afi_safi(f.afi, f.safi))
                    .collect()
            };
            Some(PeerRestart {
                restarting: *is_restarting,
                notification: *has_notification,
                restart_time: Duration::from_secs((*restart_time).into()),
                families: set(|_| true),
                forwarding: set(|f| f.is_forwarding),
                knows_long_lived: false,
                long_lived: FamilyMap::default(),
                long_lived_forwarding: FamilySet::EMPTY,
            })
        }
        _ => None,
    })?;
    for capability in &theirs.capabilities {
        if let Capability::LongLivedRestart(list) = capability {
            found.knows_long_lived = true;
            for &(afi, safi, is_forwarding, secs) in list {
                if let Some(family) = Family::from_afi_safi(afi, safi).filter(|f| found.families.contains(*f))
                {
                    found.long_lived[family] = Duration::from_secs(secs.into());
                    if is_forwarding {
                        found.long_lived_forwarding.insert(family);
                    }
                }
            }
        }
    }
    Some(found)
}
