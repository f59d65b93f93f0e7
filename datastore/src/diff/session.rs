//! Which settings of one session changed, and what each change costs.

use std::time::Duration;

use super::ChangeClass;
use crate::desired::Session;
use crate::model::PeerExtensions;

/// A setting of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SessionSetting {
    /// Calico's name, the resource that made it, or why it exists.
    Origin,
    /// Port to dial.
    Port,
    /// The neighbour's AS.
    Asn,
    /// The AS we present.
    LocalAsn,
    /// Local address.
    SourceAddress,
    /// Whether we dial.
    Passive,
    /// Whether the neighbour is our client.
    RouteReflectorClient,
    /// Next hop of what we announce.
    NextHop,
    /// TCP MD5 key.
    Password,
    /// GTSM; in force at once.
    TtlSecurity,
    /// Graceful restart role.
    GracefulRestart,
    /// Restart time; in force with the next OPEN.
    RestartTime,
    /// Keepalive interval.
    Keepalive,
    /// How often our AS may be in a received path.
    AllowedLocalAs,
    /// Filters for received routes.
    ImportFilters,
    /// Filters for announced routes.
    ExportFilters,
    /// Whether the session may run.
    Held,
    /// Offered hold time.
    HoldTime,
    /// First retry, first back-off, send hold time.
    Timers,
    /// Prefixes above which the session ends.
    MaxPrefixes,
    /// Families on the session.
    Families,
    /// ADD-PATH.
    AddPath,
    /// RFC 8950.
    ExtendedNextHop,
    /// RFC 9234.
    Role,
    /// BFD.
    Bfd,
    /// LOCAL_PREF on eBGP.
    LocalPreferenceAccept,
    /// Whether paths must begin with the neighbour's AS.
    EnforceFirstAs,
}

impl SessionSetting {
    /// What a change of it does to the session.
    pub fn class(self) -> ChangeClass {
        match self {
            SessionSetting::Asn
            | SessionSetting::LocalAsn
            | SessionSetting::SourceAddress
            | SessionSetting::Password
            | SessionSetting::GracefulRestart
            | SessionSetting::Held
            | SessionSetting::HoldTime
            | SessionSetting::Families
            | SessionSetting::AddPath
            | SessionSetting::ExtendedNextHop
            | SessionSetting::Role => ChangeClass::SessionReset,
            SessionSetting::RouteReflectorClient
            | SessionSetting::NextHop
            | SessionSetting::AllowedLocalAs
            | SessionSetting::ImportFilters
            | SessionSetting::ExportFilters
            | SessionSetting::LocalPreferenceAccept
            | SessionSetting::EnforceFirstAs => ChangeClass::RouteRefresh,
            SessionSetting::Origin
            | SessionSetting::Port
            | SessionSetting::Passive
            | SessionSetting::TtlSecurity
            | SessionSetting::RestartTime
            | SessionSetting::Keepalive
            | SessionSetting::Timers
            | SessionSetting::MaxPrefixes
            | SessionSetting::Bfd => ChangeClass::NoEffect,
        }
    }

    /// How a session has it, for people; of passwords, only whether there is one.
    pub fn value(self, session: &Session) -> String {
        fn or<T: ToString>(value: Option<T>, otherwise: &str) -> String {
            value.map_or_else(|| otherwise.to_owned(), |value| value.to_string())
        }
        let secs = |duration: Duration| format!("{}s", duration.as_secs_f64());
        let list = |names: &[String]| format!("[{}]", names.join(", "));
        let lists = |names: &[String], others: &[String]| match others {
            [] => list(names),
            _ => format!("{} and, for the other family, {}", list(names), list(others)),
        };
        match self {
            SessionSetting::Origin => format!("{} of {}", session.name, session.resource),
            SessionSetting::Port => session.port.unwrap_or(179).to_string(),
            SessionSetting::Asn => or(session.asn, "none"),
            SessionSetting::LocalAsn => session.local_asn.to_string(),
            SessionSetting::SourceAddress => or(session.source_address, "the kernel's choice"),
            SessionSetting::Passive => session.is_passive().to_string(),
            SessionSetting::RouteReflectorClient => session.is_route_reflector_client().to_string(),
            SessionSetting::NextHop => session.next_hop.word().to_owned(),
            SessionSetting::Password => match session.password {
                Some(_) => "set".to_owned(),
                None => "none".to_owned(),
            },
            SessionSetting::TtlSecurity => or(session.ttl_security_hops, "off"),
            SessionSetting::GracefulRestart => {
                format!("{:?}", session.graceful_restart_mode()).to_lowercase()
            }
            SessionSetting::RestartTime => {
                let restart_time = secs(Duration::from_secs(session.graceful_restart_secs.unwrap_or(120)));
                match session.long_lived() {
                    Duration::ZERO => restart_time,
                    long_lived => format!("{restart_time}, and {} long-lived", secs(long_lived)),
                }
            }
            SessionSetting::Keepalive => or(
                session.keepalive_secs.map(Duration::from_secs).map(secs),
                "hold time / 3",
            ),
            SessionSetting::AllowedLocalAs => session.allowed_local_as.to_string(),
            SessionSetting::ImportFilters => lists(&session.import_filters, &session.other_import_filters),
            SessionSetting::ExportFilters => lists(&session.export_filters, &session.other_export_filters),
            SessionSetting::Held => session
                .held
                .map_or_else(|| "no".to_owned(), |held| format!("{held:?}")),
            SessionSetting::HoldTime => secs(session.hold_time()),
            SessionSetting::Timers => {
                let send_hold = session.extensions.send_hold.map(secs);
                let (retry, idle) = (secs(session.connect_retry()), secs(session.idle_hold()));
                let delay_open = secs(session.delay_open());
                format!(
                    "retry {retry}, back-off {idle}, delay open {delay_open}, send hold {}",
                    or(send_hold, "default")
                )
            }
            SessionSetting::MaxPrefixes => session.max_prefixes().to_string(),
            SessionSetting::Families => {
                let families: Vec<String> = session
                    .families()
                    .iter()
                    .map(|family| family.to_string())
                    .collect();
                families.join("+")
            }
            SessionSetting::AddPath => format!("{:?}", session.add_path()).to_lowercase(),
            SessionSetting::ExtendedNextHop => session.has_extended_next_hop().to_string(),
            SessionSetting::Role => session
                .role()
                .map_or_else(|| "none".to_owned(), |role| format!("{role:?}")),
            SessionSetting::Bfd => session.bfd().map_or_else(
                || "off".to_owned(),
                |bfd| {
                    let ms = |interval: Duration| interval.as_millis();
                    format!(
                        "tx={}ms rx={}ms multiplier={}",
                        ms(bfd.tx),
                        ms(bfd.rx),
                        bfd.multiplier
                    )
                },
            ),
            SessionSetting::LocalPreferenceAccept => session.accepts_local_preference().to_string(),
            SessionSetting::EnforceFirstAs => session.enforces_first_as().to_string(),
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            SessionSetting::Origin => "name or origin",
            SessionSetting::Port => "port",
            SessionSetting::Asn => "AS",
            SessionSetting::LocalAsn => "local AS",
            SessionSetting::SourceAddress => "source address",
            SessionSetting::Passive => "passive",
            SessionSetting::RouteReflectorClient => "route reflector client",
            SessionSetting::NextHop => "next hop",
            SessionSetting::Password => "password",
            SessionSetting::TtlSecurity => "TTL security",
            SessionSetting::GracefulRestart => "graceful restart",
            SessionSetting::RestartTime => "restart time",
            SessionSetting::Keepalive => "keepalive",
            SessionSetting::AllowedLocalAs => "allowed local AS",
            SessionSetting::ImportFilters => "import filters",
            SessionSetting::ExportFilters => "export filters",
            SessionSetting::Held => "held",
            SessionSetting::HoldTime => "hold time",
            SessionSetting::Timers => "timers",
            SessionSetting::MaxPrefixes => "max prefixes",
            SessionSetting::Families => "families",
            SessionSetting::AddPath => "ADD-PATH",
            SessionSetting::ExtendedNextHop => "extended next hop",
            SessionSetting::Role => "role",
            SessionSetting::Bfd => "BFD",
            SessionSetting::LocalPreferenceAccept => "LOCAL_PREF on eBGP",
            SessionSetting::EnforceFirstAs => "first AS",
        }
    }
}

/// The settings in which two sessions with one neighbour differ, in their order.
pub(super) fn changed_settings(old: &Session, new: &Session) -> Vec<SessionSetting> {
    // Without `..`: a new field does not compile before somebody has decided what its change means.
    let Session {
        name,
        source,
        resource,
        address: _,
        interface: _,
        port,
        asn,
        local_asn,
        // Follows from the two AS numbers.
        peer_type: _,
        source_address,
        passive: _,
        route_reflector_client: _,
        next_hop,
        authenticated,
        // Where the password comes from matters to nobody but people.
        password_ref: _,
        ttl_security_hops,
        graceful_restart_secs,
        keepalive_secs,
        allowed_local_as,
        import_filters,
        export_filters,
        other_import_filters,
        other_export_filters,
        held,
        password,
        extensions,
    } = new;
    // What annotations say is compared as it acts: saying the default changes nothing.
    let PeerExtensions {
        passive: _,
        hold_time: _,
        connect_retry: _,
        idle_hold: _,
        delay_open: _,
        send_hold,
        max_prefixes: _,
        families: _,
        add_path: _,
        extended_next_hop: _,
        graceful_restart: _,
        long_lived: _,
        route_reflector_client: _,
        role: _,
        bfd: _,
        local_preference_accept: _,
        enforce_first_as: _,
        said: _,
    } = extensions.as_ref();
    let was = old.extensions.as_ref();
    let origin = (&old.name, old.source, &old.resource) != (name, *source, resource);
    let restart_time =
        (old.graceful_restart_secs, old.long_lived()) != (*graceful_restart_secs, new.long_lived());
    let waits = |session: &Session| (session.connect_retry(), session.idle_hold(), session.delay_open());
    let timers = (waits(old), &was.send_hold) != (waits(new), send_hold);
    let is_client = old.is_route_reflector_client() != new.is_route_reflector_client();
    [
        (origin, SessionSetting::Origin),
        (old.port != *port, SessionSetting::Port),
        (old.asn != *asn, SessionSetting::Asn),
        (old.local_asn != *local_asn, SessionSetting::LocalAsn),
        (
            old.source_address != *source_address,
            SessionSetting::SourceAddress,
        ),
        (old.is_passive() != new.is_passive(), SessionSetting::Passive),
        (is_client, SessionSetting::RouteReflectorClient),
        (old.next_hop != *next_hop, SessionSetting::NextHop),
        (
            old.authenticated != *authenticated || old.password != *password,
            SessionSetting::Password,
        ),
        (
            old.ttl_security_hops != *ttl_security_hops,
            SessionSetting::TtlSecurity,
        ),
        (
            old.graceful_restart_mode() != new.graceful_restart_mode(),
            SessionSetting::GracefulRestart,
        ),
        (restart_time, SessionSetting::RestartTime),
        (old.keepalive_secs != *keepalive_secs, SessionSetting::Keepalive),
        (
            old.allowed_local_as != *allowed_local_as,
            SessionSetting::AllowedLocalAs,
        ),
        (
            (&old.import_filters, &old.other_import_filters) != (import_filters, other_import_filters),
            SessionSetting::ImportFilters,
        ),
        (
            (&old.export_filters, &old.other_export_filters) != (export_filters, other_export_filters),
            SessionSetting::ExportFilters,
        ),
        (old.held != *held, SessionSetting::Held),
        (old.hold_time() != new.hold_time(), SessionSetting::HoldTime),
        (timers, SessionSetting::Timers),
        (
            old.max_prefixes() != new.max_prefixes(),
            SessionSetting::MaxPrefixes,
        ),
        (old.families() != new.families(), SessionSetting::Families),
        (old.add_path() != new.add_path(), SessionSetting::AddPath),
        (
            old.has_extended_next_hop() != new.has_extended_next_hop(),
            SessionSetting::ExtendedNextHop,
        ),
        (old.role() != new.role(), SessionSetting::Role),
        (old.bfd() != new.bfd(), SessionSetting::Bfd),
        (
            old.accepts_local_preference() != new.accepts_local_preference(),
            SessionSetting::LocalPreferenceAccept,
        ),
        (
            old.enforces_first_as() != new.enforces_first_as(),
            SessionSetting::EnforceFirstAs,
        ),
    ]
    .into_iter()
    .filter_map(|(is_changed, setting)| is_changed.then_some(setting))
    .collect()
}
