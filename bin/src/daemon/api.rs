//! Answers the control socket from the tasks that own the state.

use std::collections::HashMap;

use jiff::Timestamp;
use pipit_bgp::io::SpeakerHandle;
use pipit_bgp::session::query::{NegotiatedView, SessionView, State};
use pipit_bgp::wire::attr::Origin as WireOrigin;
use pipit_bgp::{FamilyMap, PeerId};
use pipit_datastore::backend::StoreStatus;
use pipit_datastore::desired::SessionSource;
use pipit_datastore::io::task::StoreState;
use pipit_rib::fib::FibView;
use pipit_rib::io::task::RibHandle;
use pipit_rib::query::{AsPathPart, PeerCounts, RouteFilter, RouteView};
use tokio::sync::watch;

use crate::control::api::{ApiError, ControlApi, Page, PageRequest};
use crate::control::protocol::{
    API_VERSION, AsPathElement, DaemonStatus, DatastoreKind, DatastoreStatus, FibDiff, FibItem, FibNextHop,
    FibSync, KernelCounts, Origin, PeerItem, PeerKind, PeerState, ProblemItem, RouteItem,
};
use crate::control::query::{FibQuery, RouteQuery, Selection};
use crate::daemon::fib_diff;
use crate::daemon::reconcile::{Origins, PeerOrigin};

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
    pub store: watch::Receiver<StoreState>,
    /// Why each peer exists.
    pub origins: watch::Receiver<Origins>,
}

impl ControlApi for Api {
    async fn status(&self) -> Result<DaemonStatus, ApiError> {
        let store = self.store.borrow().clone();
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
            },
            waiting: store.waiting.clone(),
            kernel: KernelCounts {
                written: counts.written,
                refused: counts.refused,
                repaired: counts.repaired,
                dumps: counts.dumps,
            },
        })
    }

    async fn peers(&self) -> Result<Vec<PeerItem>, ApiError> {
        let origins = self.origins.borrow().clone();
        let sessions = self.speaker.sessions().await;
        let (counts, _) = self.rib.peers().await;
        let counts: HashMap<PeerId, FamilyMap<PeerCounts>> = counts.into_iter().collect();
        let mut items: Vec<PeerItem> = sessions
            .sessions
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
        let store = self.store.borrow().clone();
        let of_fields = store
            .desired
            .iter()
            .flat_map(|state| &state.problems)
            .map(|problem| ProblemItem {
                resource: problem.resource.clone(),
                message: if problem.field.is_empty() {
                    problem.message.clone()
                } else {
                    format!("{}: {}", problem.field, problem.message)
                },
            });
        let of_places = store.unreadable.iter().map(|(origin, why)| ProblemItem {
            resource: origin.clone(),
            message: format!("cannot be read: {why}"),
        });
        let of_guard = store.held.iter().map(|what| ProblemItem {
            resource: "datastore".into(),
            message: what.clone(),
        });
        let troubles = self.rib.fib_troubles(TROUBLES).await;
        let of_kernel = troubles.into_iter().map(|view| ProblemItem {
            resource: format!("kernel route {}", view.prefix),
            message: view.reason.unwrap_or_else(|| view.state.to_owned()),
        });
        let listening = self.speaker.sessions().await.listen_errors;
        let of_sockets = listening.into_iter().map(|message| ProblemItem {
            resource: "listening socket".into(),
            message,
        });
        Ok(of_fields
            .chain(of_places)
            .chain(of_guard)
            .chain(of_kernel)
            .chain(of_sockets)
            .collect())
    }

    async fn routes(&self, query: &RouteQuery, page: PageRequest) -> Result<Page<RouteItem>, ApiError> {
        let filter = match query.selection {
            Selection::All => RouteFilter::All,
            Selection::Exact(prefix) => RouteFilter::Exact(prefix),
            Selection::Within(prefix) => RouteFilter::Inside(prefix),
            Selection::LongestMatch(address) => RouteFilter::For(address),
        };
        let (views, next) = self
            .rib
            .routes(filter, page.after, page.limit)
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
    }
}
