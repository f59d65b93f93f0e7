//! Answers the control socket from the tasks that own the state.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use pipit_bgp::bfd::BfdView;
use pipit_bgp::io::SpeakerHandle;
use pipit_bgp::session::query::{NegotiatedView, SessionView, State};
use pipit_bgp::wire::attr::Origin as WireOrigin;
use pipit_bgp::wire::iana::ErrorCode;
use pipit_bgp::wire::notification::Notification;
use pipit_bgp::{FamilyMap, PeerId};
use pipit_datastore::backend::StoreStatus;
use pipit_datastore::desired::{Problem, SessionSource};
use pipit_datastore::inputs::Disguise;
use pipit_datastore::io::task::{HeldDeletion, Store};
use pipit_rib::Drain;
use pipit_rib::fib::FibView;
use pipit_rib::io::task::RibHandle;
use pipit_rib::query::{AsPathPart, PeerCounts, RouteFilter, RouteView};
use tokio::sync::watch;

use crate::control::api::{ApiError, ControlApi, Page, PageRequest};
use crate::control::protocol::{
    API_VERSION, AsPathElement, BfdItem, DaemonStatus, DatastoreKind, DatastoreStatus, Drained, FibDiff,
    FibItem, FibNextHop, FibSync, HeldItem, KernelCounts, Origin, PeerItem, PeerKind, PeerState, ProblemItem,
    Reset, RouteItem, Verified,
};
use crate::control::query::{FibQuery, RouteQuery, Selection};
use crate::daemon::node_status::Complaints;
use crate::daemon::reconcile::{Origins, PeerOrigin};
use crate::daemon::{claims, fib_diff};

/// See the module.
#[derive(Clone)]
pub struct Api {
    /// The node's name.
    pub node_name: String,
    /// Which back-end is in use, and where it is.
    pub datastore: (DatastoreKind, String),
    /// When the daemon started.
    pub started: Timestamp,
    /// Sessions.
    pub speaker: SpeakerHandle,
    /// Routes.
    pub rib: RibHandle,
    /// The datastore's state.
    pub store: Store,
    /// Why each peer exists.
    pub origins: watch::Receiver<Origins>,
    /// When the configuration last changed.
    pub reconfigured: watch::Receiver<Option<Timestamp>>,
    /// Drained by command.
    pub drain: Arc<watch::Sender<Drain>>,
    /// CalicoNodeStatus objects that cannot be answered.
    pub unanswered: watch::Receiver<Complaints>,
}

impl Api {
    fn is_drained_by_annotation(&self) -> bool {
        let store = self.store.state.borrow();
        store
            .desired
            .as_ref()
            .is_some_and(|state| !state.node_extensions.usable)
    }
}

impl ControlApi for Api {
    async fn status(&self) -> Result<DaemonStatus, ApiError> {
        let store = self.store.state.borrow().clone();
        let (kind, place) = &self.datastore;
        let counts = self.rib.fib_counts().await;
        let (endpoint, connected, reason) = match &store.status {
            Some(StoreStatus::Connected { endpoint }) => (endpoint.clone(), true, None),
            Some(StoreStatus::Lost { reason }) => (place.clone(), false, Some(reason.clone())),
            None => (place.clone(), false, None),
        };
        Ok(DaemonStatus {
            api_version: API_VERSION.into(),
            kind: "DaemonStatus".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            node_name: self.node_name.clone(),
            router_id: store.desired.as_ref().map(|state| state.router_id),
            local_as: store.desired.as_ref().map(|state| state.local_asn),
            started: self.started,
            datastore: DatastoreStatus {
                kind: *kind,
                endpoint,
                connected,
                in_sync: store.is_in_sync,
                reason,
                revision: store.revision,
                from_disk: store.is_from_disk,
                guard_secs: store.hold.map(|hold| hold.as_secs()),
                held: store.held.iter().map(held_item).collect(),
            },
            datastore_stale_seconds: match (store.stale, &store.desired) {
                (Some(stale), _) => Some(stale.elapsed().as_secs()),
                (None, Some(_)) => Some(0),
                (None, None) => None,
            },
            drained: *self.drain.borrow() != Drain::Off || self.is_drained_by_annotation(),
            withdrawn: *self.drain.borrow() == Drain::Withdrawn,
            waiting: store.waiting.clone(),
            kernel: KernelCounts {
                written: counts.written,
                refused: counts.refused,
                repaired: counts.repaired,
                dumps: counts.dumps,
                nexthop_groups: counts.groups,
            },
        })
    }

    async fn peers(&self) -> Result<Vec<PeerItem>, ApiError> {
        let origins = self.origins.borrow().clone();
        let (sessions, (counts, _)) = tokio::join!(self.speaker.sessions(), self.rib.peers());
        let counts: HashMap<PeerId, FamilyMap<PeerCounts>> = counts.into_iter().collect();
        let mut items: Vec<PeerItem> = sessions
            .into_iter()
            .filter_map(|(id, view)| {
                let counts = counts.get(&id).copied().unwrap_or_default();
                Some(peer_item(view, origins.get(&id)?, counts))
            })
            .collect();
        items.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(items)
    }

    async fn problems(&self) -> Result<Vec<ProblemItem>, ApiError> {
        let store = self.store.state.borrow().clone();
        let of_field = |problem: &Problem| ProblemItem {
            resource: problem.resource.clone(),
            message: if problem.field.is_empty() {
                problem.message.clone()
            } else {
                format!("{}: {}", problem.field, problem.message)
            },
        };
        let states = store.desired.iter();
        let of_fields = states.clone().flat_map(|state| &state.problems).map(of_field);
        let of_clashes = states.flat_map(|state| &state.clashes).map(of_field);
        let of_places = store.unreadable.iter().map(|(origin, why)| ProblemItem {
            resource: origin.clone(),
            message: format!("cannot be read: {why}"),
        });
        let of_guard = store.held.first().map(|first| ProblemItem {
            resource: "datastore".into(),
            message: format!(
                "the deletion of {} objects is held back until {}{} (`pipit datastore release` acts on it now)",
                store.held.len(),
                time(first.until),
                match &store.status {
                    Some(StoreStatus::Lost { .. }) => ", and for as long as the datastore is away",
                    _ => "",
                },
            ),
        });
        let of_requests = store
            .status_problems
            .iter()
            .map(|(resource, message)| ProblemItem {
                resource: resource.clone(),
                message: message.clone(),
            });
        let unanswered = self.unanswered.borrow().clone();
        let of_answers = unanswered.into_iter().map(|(name, why)| ProblemItem {
            resource: format!("CalicoNodeStatus/{name}"),
            message: format!("its status cannot be written: {why}"),
        });
        let of_claims = async {
            match &store.desired {
                Some(state) => claims::doubtful(&self.rib, state).await,
                None => Vec::new(),
            }
        };
        // Under load each answer waits for its owner's turn: all wait at once.
        let (of_claims, (troubles, of_objects), listening) = tokio::join!(
            of_claims,
            self.rib.fib_troubles(TROUBLES),
            self.speaker.listen_errors()
        );
        let of_objects = of_objects.map(|message| ProblemItem {
            resource: "kernel nexthop objects".into(),
            message,
        });
        let of_kernel = troubles.into_iter().map(|view| ProblemItem {
            resource: format!("kernel route {}", view.prefix),
            message: view.reason.unwrap_or_else(|| view.state.to_owned()),
        });
        let of_sockets = listening.into_iter().map(|message| ProblemItem {
            resource: "listening socket".into(),
            message,
        });
        Ok(of_fields
            .chain(of_clashes)
            .chain(of_places)
            .chain(of_guard)
            .chain(of_requests)
            .chain(of_answers)
            .chain(of_claims)
            .chain(of_kernel)
            .chain(of_objects)
            .chain(of_sockets)
            .collect())
    }

    async fn drain(&self, drain: Drain) -> Result<Drained, ApiError> {
        self.rib.drain(drain).await;
        self.drain.send_replace(drain);
        tracing::info!(?drain, "by command");
        Ok(Drained {
            api_version: API_VERSION.into(),
            kind: "Drained".into(),
            drained: drain != Drain::Off,
            withdrawn: drain == Drain::Withdrawn,
            by_annotation: self.is_drained_by_annotation(),
        })
    }

    async fn reset(&self, name: String) -> Result<Reset, ApiError> {
        let sessions = self.speaker.sessions().await;
        let Some((id, view)) = sessions.into_iter().find(|(_, view)| view.name == name) else {
            return Err(ApiError::NotFound { what: "peer", name });
        };
        let was_established = view.state == State::Established;
        if was_established {
            let notification = Notification::new(ErrorCode::ADMINISTRATIVE_RESET);
            self.speaker
                .reset_peer(id, notification, "reset by command".to_owned())
                .await;
        }
        // Whoever asks for a reset does not want to wait for it.
        self.speaker.retry_peer(id).await;
        tracing::info!(peer = %name, was_established, "reset by command");
        Ok(Reset {
            api_version: API_VERSION.into(),
            kind: "Reset".into(),
            name,
            was_established,
        })
    }

    async fn verify(&self) -> Result<Verified, ApiError> {
        let owner = "the routing table";
        let faults = self.rib.verify().await.ok_or(ApiError::Unavailable { owner })?;
        let (_, totals) = self.rib.peers().await;
        Ok(Verified {
            api_version: API_VERSION.into(),
            kind: "Verified".into(),
            prefixes: totals.prefixes,
            paths: totals.paths,
            faults,
        })
    }

    async fn release(&self) -> Result<usize, ApiError> {
        let store = ApiError::Unavailable {
            owner: "the datastore",
        };
        self.store.release_held().await.ok_or(store)
    }

    async fn inputs(&self) -> Result<Vec<String>, ApiError> {
        let store = ApiError::Unavailable {
            owner: "the datastore",
        };
        let inputs = self.store.inputs().await.ok_or(store)?;
        // Each hasher is made of randomness that nobody can foresee.
        let random = || u128::from(RandomState::new().build_hasher().finish());
        let disguise = Disguise::new(random() << 64 | random());
        Ok(inputs.lines(&disguise).collect())
    }

    async fn routes(&self, query: &RouteQuery, page: PageRequest) -> Result<Page<RouteItem>, ApiError> {
        if let Some(name) = query.to.clone().filter(|_| page.after.is_none()) {
            let sessions = self.speaker.sessions().await;
            if !sessions.iter().any(|(_, view)| view.name == name) {
                return Err(ApiError::NotFound { what: "peer", name });
            }
        }
        let filter = match query.selection {
            Selection::All => RouteFilter::All,
            Selection::Exact(prefix) => RouteFilter::Exact(prefix),
            Selection::Within(prefix) => RouteFilter::Inside(prefix),
            Selection::LongestMatch(address) => RouteFilter::For(address),
        };
        let (views, next) = self
            .rib
            .routes(filter, query.to.clone(), page.after, page.limit)
            .await
            .ok_or(GONE)?;
        Ok(Page {
            items: views.into_iter().map(route_item).collect(),
            next,
        })
    }

    async fn fib_diff(&self) -> Result<FibDiff, ApiError> {
        fib_diff::diff(&self.rib).await
    }

    async fn fib_sync(&self) -> Result<FibSync, ApiError> {
        fib_diff::sync(&self.rib).await
    }

    async fn fib(&self, _query: &FibQuery, page: PageRequest) -> Result<Page<FibItem>, ApiError> {
        let (views, next) = self
            .rib
            .fib(page.after, page.limit.max(fib_diff::LEAST_PAGE))
            .await
            .ok_or(GONE)?;
        Ok(Page {
            items: views.into_iter().map(fib_item).collect(),
            next,
        })
    }
}

/// In whole seconds; a time that no calendar has is the last one.
fn time(time: SystemTime) -> Timestamp {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn held_item(held: &HeldDeletion) -> HeldItem {
    HeldItem {
        resource: held.resource.clone(),
        until: time(held.until),
    }
}
/// Kernel routes in trouble that are told as problems.
const TROUBLES: usize = 20;

const GONE: ApiError = ApiError::Unavailable { owner: "the RIB" };

fn peer_item(view: SessionView, origin: &PeerOrigin, counts: FamilyMap<PeerCounts>) -> PeerItem {
    let sum = |pick: fn(&PeerCounts) -> u32| u64::from(pick(&counts.ipv4)) + u64::from(pick(&counts.ipv6));
    let negotiated = view.negotiated.as_ref();
    let seconds = i64::try_from(view.since).unwrap_or(i64::MAX);
    PeerItem {
        name: view.name,
        address: view.address,
        interface: origin.interface.clone(),
        port: view.port,
        remote_as: view.remote_as,
        local_as: view.local_as,
        state: match view.state {
            State::Idle => PeerState::Idle,
            State::Connect => PeerState::Connect,
            State::Active => PeerState::Active,
            State::OpenSent => PeerState::OpenSent,
            State::OpenConfirm => PeerState::OpenConfirm,
            State::Established => PeerState::Established,
        },
        kind: match origin.source {
            SessionSource::Mesh => PeerKind::Mesh,
            SessionSource::Global => PeerKind::Global,
            SessionSource::Node => PeerKind::Node,
            SessionSource::LocalWorkload => PeerKind::LocalWorkload,
        },
        since: Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX),
        prefixes_received: sum(|counts| counts.received),
        prefixes_accepted: sum(|counts| counts.accepted),
        prefixes_sent: sum(|counts| counts.sent),
        last_error: view.last_error,
        last_error_sent: view.last_error_sent,
        last_error_received: view.last_error_received,
        messages_sent: view.sent,
        messages_received: view.received,
        held: view.held,
        passive: view.is_passive,
        flaps: view.flaps,
        hold_time_secs: negotiated.map(|negotiated| negotiated.hold_time_secs),
        remote_router_id: negotiated.and_then(|negotiated| negotiated.router_id.parse().ok()),
        families: origin.families.clone(),
        capabilities: negotiated.map(capabilities).unwrap_or_default(),
        hostname: negotiated.and_then(|negotiated| negotiated.hostname.clone()),
        software: negotiated.and_then(|negotiated| negotiated.software.clone()),
        resource: origin.resource.to_string(),
        bfd: view.bfd.map(bfd_item),
    }
}

fn bfd_item(view: BfdView) -> BfdItem {
    let known = |number: u64| Some(number).filter(|number| *number > 0);
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    BfdItem {
        state: view.state.to_string(),
        remote_state: view.remote_state.to_string(),
        path: view.path.name().to_owned(),
        diagnostic: said(view.diagnostic),
        remote_diagnostic: said(view.remote_diagnostic),
        discriminator: view.discriminator,
        remote_discriminator: Some(view.remote_discriminator).filter(|number| *number > 0),
        tx_interval_us: known(view.tx_interval_us),
        rx_interval_us: known(view.rx_interval_us),
        detection_time_us: known(view.detection_time_us),
        flaps: view.flaps,
        error: view.error,
    }
}

fn capabilities(negotiated: &NegotiatedView) -> Vec<String> {
    negotiated
        .capabilities
        .iter()
        .map(|&name| name.to_owned())
        .collect()
}

fn route_item(view: RouteView) -> RouteItem {
    RouteItem {
        prefix: view.prefix,
        family: view.family,
        next_hop: view.next_hop,
        peer: view.peer,
        best: view.best,
        multipath: view.multipath,
        as_path: view
            .as_path
            .into_iter()
            .map(|part| match part {
                AsPathPart::As(asn) => AsPathElement::As(asn),
                AsPathPart::Set(members) => AsPathElement::Set(members),
            })
            .collect(),
        local_pref: view.local_pref,
        med: view.med,
        origin: match view.origin {
            WireOrigin::Igp => Origin::Igp,
            WireOrigin::Egp => Origin::Egp,
            WireOrigin::Incomplete => Origin::Incomplete,
        },
        communities: view.communities.into_iter().map(community).collect(),
        large_communities: view
            .large_communities
            .into_iter()
            .map(|[a, b, c]| format!("{a}:{b}:{c}"))
            .collect(),
        extended_communities: view.extended_communities,
        originator_id: view.originator_id,
        cluster_list: view.cluster_list,
        path_id: (view.path_id != 0).then_some(view.path_id),
        stale: view.stale,
        announced: view.announced,
        reason: view.reason,
        since: None,
    }
}

/// `65000:100`, well-known ones by their IANA name.
fn community(value: u32) -> String {
    match value {
        0xffff_0000 => "graceful-shutdown".into(),
        0xffff_0006 => "llgr-stale".into(),
        0xffff_0007 => "no-llgr".into(),
        0xffff_029a => "blackhole".into(),
        0xffff_ff01 => "no-export".into(),
        0xffff_ff02 => "no-advertise".into(),
        0xffff_ff03 => "no-export-subconfed".into(),
        other => format!("{}:{}", other >> 16, other & 0xffff),
    }
}

fn fib_item(view: FibView) -> FibItem {
    FibItem {
        prefix: view.prefix,
        kind: view.kind.into(),
        next_hops: view
            .next_hops
            .into_iter()
            .map(|hop| FibNextHop {
                gateway: hop.gateway,
                device: hop.device,
                weight: hop.weight.into(),
                onlink: hop.onlink,
            })
            .collect(),
        device: view.device,
        metric: view.metric,
        protocol: view.protocol,
        state: view.state.into(),
        reason: view.reason,
        kernel: view.kernel,
        nexthop_object: view.object,
    }
}
