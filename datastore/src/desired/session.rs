//! One session as `pipit plan` shows it, and what the speaker needs to run it.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pipit_bgp::session::config::{AddPath, Bfd, GracefulRestart, HoldReason, PeerConfig, Role, Secret};
use pipit_bgp::{Asn, Family, FamilySet, RouterId};
use serde::Serialize;

use crate::model::{GracefulRestartMode, NextHopMode, PeerExtensions, PeerType, SecretRef};

/// Hold time offered when nothing else is said.
const HOLD_TIME: Duration = Duration::from_secs(240);
/// First retry of a failed dial.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const CONNECT_RETRY: Duration = Duration::from_secs(5);
/// First back-off after an error.
const IDLE_HOLD: Duration = Duration::from_secs(1);
/// Prefixes above which a session ends.
const MAX_PREFIXES: u32 = 1_000_000;
/// Restart time offered when nothing else is said, and the longest that fits into OPEN (12 bits), in seconds.
const RESTART_SECS: u64 = 120;
const MAX_RESTART_SECS: u64 = 4_095;
/// Longest keepalive interval that makes sense: hold times have 16 bits.
const MAX_KEEPALIVE_SECS: u64 = 65_535;

/// A session that this node has. Fields in the order and words of `plan-contract.md` §2; what annotations add is
/// not part of that text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Session {
    /// Calico's session name.
    pub name: String,
    /// Why it exists.
    pub source: SessionSource,
    /// The resource that made it: `BGPPeer/<name>`, or `BGPConfiguration/default` for the mesh.
    pub resource: Arc<str>,
    /// The neighbour.
    pub address: IpAddr,
    /// Port to dial if one is known; `None`: 179.
    pub port: Option<u16>,
    /// The neighbour's AS; `None` when the resource does not say it.
    pub asn: Option<Asn>,
    /// The AS we present.
    pub local_asn: Asn,
    /// Whether both ends are in one AS.
    pub peer_type: PeerType,
    /// Our end; `None`: the kernel chooses.
    pub source_address: Option<IpAddr>,
    /// Never dials, by Calico's rule; see [`Session::is_passive`].
    pub passive: bool,
    /// A client, by Calico's rule; see [`Session::is_route_reflector_client`].
    pub route_reflector_client: bool,
    /// Next hop of what we announce.
    pub next_hop: NextHopMode,
    /// Whether TCP MD5 is on with a password that is at hand.
    pub authenticated: bool,
    /// Where the resource says that the password is.
    pub password_ref: Option<Arc<SecretRef>>,
    /// GTSM: accept TTL >= 256 - N.
    pub ttl_security_hops: Option<u8>,
    /// Restart time to offer; `None`: 120.
    pub graceful_restart_secs: Option<u64>,
    /// Keepalive interval; `None`: a third of the hold time.
    pub keepalive_secs: Option<u64>,
    /// How often our AS may be in a received path.
    pub allowed_local_as: u32,
    /// Filters that exist and have import rules for this family, in order.
    pub import_filters: Arc<[String]>,
    /// The same for export.
    pub export_filters: Arc<[String]>,
    /// Why the session must not run.
    pub held: Option<Held>,
    /// The same for the other family, where the session carries its routes as well (`pipit.io/families`).
    #[serde(skip)]
    pub other_import_filters: Arc<[String]>,
    /// The same for export.
    #[serde(skip)]
    pub other_export_filters: Arc<[String]>,
    /// Interface of a link-local neighbour.
    #[serde(skip)]
    pub interface: Option<Arc<str>>,
    /// The password, resolved.
    #[serde(skip)]
    pub password: Option<Arc<Secret>>,
    /// `pipit.io/` annotations of the BGPPeer.
    #[serde(skip)]
    pub extensions: Arc<PeerExtensions>,
}

/// Why a session exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionSource {
    /// Node-to-node mesh.
    Mesh,
    /// A BGPPeer for every node.
    Global,
    /// A BGPPeer for some nodes, or the other end of one that selects us.
    Node,
    /// A workload of this node.
    LocalWorkload,
}

impl SessionSource {
    /// How Calico's session names begin.
    fn prefix(self) -> &'static str {
        match self {
            SessionSource::Mesh => "Mesh_",
            SessionSource::Global => "Global_",
            SessionSource::Node => "Node_",
            SessionSource::LocalWorkload => "Local_Workload_",
        }
    }
}

/// Why a session that is configured must not run. The first in this order is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// The resource does not say the neighbour's AS.
    AsnMissing,
    /// A filter that it names cannot be read.
    FilterInvalid,
    /// Its password is not at hand.
    PasswordMissing,
}

impl Session {
    /// Calico's session name: prefix, address, and the port if one is known and it is not mesh.
    pub(super) fn name(
        source: SessionSource,
        address: &str,
        interface: Option<&str>,
        port: Option<u16>,
    ) -> String {
        let mut name = String::with_capacity(source.prefix().len() + address.len() + 16);
        name.push_str(source.prefix());
        name.extend(address.chars().map(|c| match c {
            '.' | ':' => '_',
            other => other,
        }));
        if let Some(interface) = interface {
            name.push('_');
            name.push_str(interface);
        }
        if let Some(port) = port.filter(|_| source != SessionSource::Mesh) {
            // Writing to a String cannot fail.
            let _ = write!(name, "_port_{port}");
        }
        name
    }

    /// The family of its addresses, and of its routes unless an annotation says more.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// Filters for received and for announced routes of a family, in order; none for one that it does not carry.
    pub fn filters(&self, family: Family) -> [&Arc<[String]>; 2] {
        if family == self.family() {
            [&self.import_filters, &self.export_filters]
        } else {
            [&self.other_import_filters, &self.other_export_filters]
        }
    }

    /// Whether any filter judges its routes.
    pub fn has_filters(&self) -> bool {
        Family::ALL
            .into_iter()
            .flat_map(|family| self.filters(family))
            .any(|names| !names.is_empty())
    }

    /// Whether it never dials.
    pub fn is_passive(&self) -> bool {
        self.extensions.passive.unwrap_or(self.passive)
    }

    /// Whether the neighbour is a client of ours.
    pub fn is_route_reflector_client(&self) -> bool {
        self.extensions
            .route_reflector_client
            .unwrap_or(self.route_reflector_client)
    }

    /// Hold time to offer.
    pub fn hold_time(&self) -> Duration {
        self.extensions.hold_time.unwrap_or(HOLD_TIME)
    }

    /// First retry of a failed dial: soon, where nothing was asked for.
    pub fn first_retry(&self) -> Duration {
        self.extensions.connect_retry.unwrap_or(FIRST_RETRY)
    }

    /// Later ones.
    pub fn connect_retry(&self) -> Duration {
        self.extensions.connect_retry.unwrap_or(CONNECT_RETRY)
    }

    /// First back-off after an error.
    pub fn idle_hold(&self) -> Duration {
        self.extensions.idle_hold.unwrap_or(IDLE_HOLD)
    }

    /// How long a new connection waits for the neighbour's OPEN.
    pub fn delay_open(&self) -> Duration {
        self.extensions.delay_open.unwrap_or_default()
    }

    /// ADD-PATH to offer.
    pub fn add_path(&self) -> AddPath {
        self.extensions.add_path.unwrap_or(AddPath::Both)
    }

    /// Whether IPv4 routes with IPv6 next hops are offered.
    pub fn has_extended_next_hop(&self) -> bool {
        self.extensions.extended_next_hop.unwrap_or(false)
    }

    /// BFD, `None` when it is off.
    pub fn bfd(&self) -> Option<Bfd> {
        self.extensions.bfd.flatten()
    }

    /// Graceful restart role.
    pub fn graceful_restart_mode(&self) -> GracefulRestartMode {
        self.extensions
            .graceful_restart
            .unwrap_or(GracefulRestartMode::Restart)
    }

    /// How much longer than the restart time peers are asked to keep our routes (RFC 9494); zero: no longer. A node
    /// that is away for so long rarely comes back with the pods it had, so it is off unless asked for.
    pub fn long_lived(&self) -> Duration {
        self.extensions.long_lived.unwrap_or_default()
    }

    /// Prefixes above which the session ends.
    pub fn max_prefixes(&self) -> u32 {
        self.extensions.max_prefixes.unwrap_or(MAX_PREFIXES)
    }

    /// Whether LOCAL_PREF is accepted on eBGP.
    pub fn accepts_local_preference(&self) -> bool {
        self.extensions.local_preference_accept.unwrap_or(false)
    }

    /// Whether eBGP routes must name the neighbour's AS first. Route servers leave theirs out (RFC 7947 §2.2.2), so it
    /// is off unless asked for.
    pub fn enforces_first_as(&self) -> bool {
        self.extensions.enforce_first_as.unwrap_or(false)
    }

    /// Our role (RFC 9234 §4): between ASes only, where routes can leak.
    pub fn role(&self) -> Option<Role> {
        self.extensions
            .role
            .filter(|_| self.peer_type == PeerType::External)
    }

    /// Families whose routes it carries.
    pub fn families(&self) -> FamilySet {
        self.extensions.families.unwrap_or(FamilySet::only(self.family()))
    }

    /// What the speaker is told. A missing AS becomes 0, with the session held.
    pub fn peer_config(&self, router_id: RouterId) -> PeerConfig {
        let extensions = &self.extensions;
        PeerConfig {
            name: self.name.clone(),
            address: self.address,
            interface: self.interface.as_deref().map(str::to_owned),
            port: self.port.unwrap_or(179),
            remote_as: self.asn.unwrap_or(Asn(0)),
            local_as: self.local_asn,
            router_id,
            source: self.source_address,
            passive: self.is_passive(),
            held: self.held.map(|held| match held {
                Held::AsnMissing => HoldReason::AsnMissing,
                Held::FilterInvalid => HoldReason::FilterInvalid,
                Held::PasswordMissing => HoldReason::PasswordMissing,
            }),
            families: self.families(),
            hold_time: self.hold_time(),
            // Zero would be "never", and the neighbour's hold timer would end the session.
            keepalive: self
                .keepalive_secs
                .filter(|secs| *secs > 0)
                .map(|secs| Duration::from_secs(secs.min(MAX_KEEPALIVE_SECS))),
            first_retry: self.first_retry(),
            connect_retry: self.connect_retry(),
            idle_hold: self.idle_hold(),
            delay_open: self.delay_open(),
            send_hold: extensions.send_hold,
            add_path: self.add_path(),
            graceful_restart: self.graceful_restart(),
            extended_next_hop: self.has_extended_next_hop(),
            ttl_security: self.ttl_security_hops,
            password: self.password.as_deref().cloned(),
            role: self.role(),
            bfd: self.bfd(),
        }
    }

    fn graceful_restart(&self) -> GracefulRestart {
        match self.graceful_restart_mode() {
            GracefulRestartMode::Off => GracefulRestart::Off,
            GracefulRestartMode::Helper => GracefulRestart::Helper,
            GracefulRestartMode::Restart => GracefulRestart::Restart {
                restart_time: Duration::from_secs(
                    self.graceful_restart_secs
                        .unwrap_or(RESTART_SECS)
                        .min(MAX_RESTART_SECS),
                ),
                long_lived: self.long_lived(),
            },
        }
    }
}
