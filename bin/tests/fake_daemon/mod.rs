//! A daemon that has a control socket and nothing behind it: `/32` routes counted up from 10.0.0.0.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use ipnet::{IpNet, Ipv4Net};
use pipit::control::api::{ApiError, ControlApi, Page, PageRequest};
use pipit::control::protocol::{
    API_VERSION, AsPathElement, DaemonStatus, DatastoreKind, DatastoreStatus, Drained, FibDiff, FibItem,
    FibNextHop, FibSync, KernelCounts, Origin, PeerItem, PeerKind, PeerState, ProblemItem, Reset, RouteItem,
    Verified,
};
use pipit::control::query::{FibQuery, RouteQuery, Selection};
use pipit::control::server;
use pipit::control::socket::ControlSocket;
use pipit_bgp::session::counts::MessageCounts;
use pipit_bgp::{Asn, Family};
use pipit_rib::Drain;
use tokio::sync::oneshot;

/// What the fake daemon says.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    /// How many routes there are.
    pub(crate) route_count: u32,
    /// Pages of routes asked for so far.
    pub(crate) pages: Arc<AtomicUsize>,
    /// What becomes of a page of routes, by its number.
    pub(crate) trouble: Trouble,
    /// All sessions are Established.
    pub(crate) is_healthy: bool,
}

/// How the owner of the routes misbehaves.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// It is gone from this page on.
    GoneAt(usize),
    /// Every other page is empty.
    EmptyPages,
    /// The second page leads back to the first.
    Circle,
}

impl ControlApi for FakeApi {
    async fn status(&self) -> Result<DaemonStatus, ApiError> {
        Ok(DaemonStatus {
            api_version: "pipit/v1".into(),
            kind: "DaemonStatus".into(),
            version: "0.0.0-fake".into(),
            node_name: "node-1".into(),
            router_id: Some("10.0.0.1".parse().unwrap()),
            local_as: Some(Asn(64512)),
            started: "2026-11-23T10:00:00Z".parse().unwrap(),
            datastore: DatastoreStatus {
                kind: DatastoreKind::File,
                endpoint: "/etc/pipit/resources".into(),
                connected: true,
                in_sync: true,
                reason: None,
                revision: 0,
                from_disk: false,
                guard_secs: None,
                held: Vec::new(),
            },
            datastore_stale_seconds: Some(0),
            drained: false,
            withdrawn: false,
            waiting: None,
            kernel: KernelCounts::default(),
        })
    }

    async fn reset(&self, name: String) -> Result<Reset, ApiError> {
        Ok(Reset {
            api_version: "pipit/v1".into(),
            kind: "Reset".into(),
            was_established: self.is_healthy,
            name,
        })
    }

    async fn peers(&self) -> Result<Vec<PeerItem>, ApiError> {
        let second = if self.is_healthy {
            PeerState::Established
        } else {
            PeerState::Active
        };
        Ok(vec![peer(2, PeerState::Established), peer(3, second)])
    }

    async fn problems(&self) -> Result<Vec<ProblemItem>, ApiError> {
        Ok(vec![ProblemItem {
            resource: "BGPPeer/rack".into(),
            message: "asNumber is missing".into(),
        }])
    }

    async fn drain(&self, drain: Drain) -> Result<Drained, ApiError> {
        Ok(Drained {
            api_version: API_VERSION.into(),
            kind: "Drained".into(),
            drained: drain != Drain::Off,
            withdrawn: drain == Drain::Withdrawn,
            by_annotation: false,
        })
    }

    async fn verify(&self) -> Result<Verified, ApiError> {
        Ok(Verified {
            api_version: API_VERSION.into(),
            kind: "Verified".into(),
            prefixes: 7,
            paths: 9,
            faults: vec!["10.0.0.0/24: nothing is chosen".into()],
        })
    }

    async fn release(&self) -> Result<usize, ApiError> {
        Ok(3)
    }

    async fn inputs(&self) -> Result<Vec<String>, ApiError> {
        Err(ApiError::Unavailable {
            owner: "the datastore",
        })
    }

    async fn routes(&self, query: &RouteQuery, page: PageRequest) -> Result<Page<RouteItem>, ApiError> {
        let number = self.pages.fetch_add(1, Ordering::SeqCst);
        if let Trouble::GoneAt(first) = self.trouble
            && number >= first
        {
            return Err(ApiError::Unavailable { owner: "rib" });
        }
        if self.trouble == Trouble::EmptyPages && number % 2 == 1 {
            // An owner that scanned one prefix and selected nothing.
            let scanned = route(page.after.map_or(0, |after| index(after) + 1));
            let next = (index(scanned.prefix) < self.route_count).then_some(scanned.prefix);
            return Ok(Page {
                items: Vec::new(),
                next,
            });
        }
        let first = page.after.map_or(0, |after| index(after) + 1);
        let all = (first..self.route_count).map(route);
        let items: Vec<RouteItem> = match query.selection {
            Selection::All => all.take(page.limit).collect(),
            Selection::Exact(prefix) => all.filter(|route| route.prefix == prefix).collect(),
            Selection::Within(prefix) => all.filter(|route| prefix.contains(&route.prefix)).collect(),
            Selection::LongestMatch(address) => all.filter(|route| route.prefix.contains(&address)).collect(),
        };
        let last = items
            .last()
            .map(|route| route.prefix)
            .filter(|_| query.selection == Selection::All);
        let next = match last {
            Some(_) if self.trouble == Trouble::Circle => Some(route(0).prefix),
            other => other.filter(|&last| index(last) + 1 < self.route_count),
        };
        Ok(Page { items, next })
    }

    async fn fib_diff(&self) -> Result<FibDiff, ApiError> {
        Ok(FibDiff {
            api_version: "pipit/v1".into(),
            kind: "FibDiff".into(),
            items: Vec::new(),
            omitted: 0,
        })
    }

    async fn fib_sync(&self) -> Result<FibSync, ApiError> {
        Ok(FibSync {
            api_version: "pipit/v1".into(),
            kind: "FibSync".into(),
            items: Vec::new(),
            remaining: Vec::new(),
            omitted: 0,
        })
    }

    async fn fib(&self, _query: &FibQuery, _page: PageRequest) -> Result<Page<FibItem>, ApiError> {
        let gateway = FibNextHop {
            gateway: Some("172.18.0.3".parse().unwrap()),
            device: Some("eth0".into()),
            weight: 1,
            onlink: false,
        };
        let learned = fib("10.1.0.0/26", "unicast", vec![gateway]);
        let own = fib("fd00::/122", "blackhole", Vec::new());
        Ok(Page {
            items: vec![learned, own],
            next: None,
        })
    }
}

fn peer(last: u8, state: PeerState) -> PeerItem {
    let is_up = state == PeerState::Established;
    PeerItem {
        name: format!("Mesh_172_18_0_{last}"),
        address: IpAddr::from([172, 18, 0, last]),
        interface: None,
        port: 179,
        remote_as: Asn(64512),
        local_as: Asn(64512),
        state,
        kind: PeerKind::Mesh,
        since: "2026-11-23T10:00:00Z".parse().unwrap(),
        prefixes_received: u64::from(is_up),
        prefixes_accepted: u64::from(is_up),
        prefixes_sent: u64::from(is_up),
        last_error: (!is_up).then(|| "connection refused".into()),
        last_error_sent: None,
        last_error_received: (!is_up).then(|| "bad peer AS (2/2)".into()),
        messages_sent: MessageCounts {
            open: 1,
            keepalive: 2,
            octets: 91,
            ..MessageCounts::default()
        },
        messages_received: Default::default(),
        held: None,
        passive: false,
        flaps: 0,
        hold_time_secs: is_up.then_some(240),
        remote_router_id: is_up.then(|| "172.18.0.2".parse().unwrap()),
        families: vec![Family::Ipv4Unicast],
        capabilities: Vec::new(),
        hostname: None,
        software: None,
        resource: format!("Node/node-{last}"),
        bfd: None,
    }
}

/// The route with this number.
pub(crate) fn route(index: u32) -> RouteItem {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + index);
    RouteItem {
        prefix: IpNet::V4(Ipv4Net::from(address)),
        family: Family::Ipv4Unicast,
        next_hop: Some("172.18.0.2".parse().unwrap()),
        peer: "Mesh_172_18_0_2".into(),
        best: index % 10 != 9,
        multipath: index % 10 != 9,
        as_path: vec![
            AsPathElement::As(Asn(64513)),
            AsPathElement::Set(vec![Asn(1), Asn(2)]),
        ],
        local_pref: Some(100),
        med: None,
        origin: Origin::Igp,
        communities: vec!["65000:100".into()],
        large_communities: Vec::new(),
        extended_communities: Vec::new(),
        originator_id: None,
        cluster_list: Vec::new(),
        path_id: None,
        stale: false,
        announced: None,
        reason: "only_path".into(),
        since: None,
    }
}

fn index(prefix: IpNet) -> u32 {
    match prefix {
        IpNet::V4(prefix) => u32::from(prefix.addr()) - u32::from(Ipv4Addr::new(10, 0, 0, 0)),
        IpNet::V6(_) => panic!("no such prefix here"),
    }
}

fn fib(prefix: &str, kind: &str, next_hops: Vec<FibNextHop>) -> FibItem {
    FibItem {
        nexthop_object: None,
        prefix: prefix.parse().unwrap(),
        kind: kind.into(),
        device: next_hops.first().and_then(|hop| hop.device.clone()),
        next_hops,
        metric: 0,
        protocol: 12,
        state: "installed".into(),
        reason: None,
        kernel: None,
    }
}

/// A control server on a thread of its own, with one runtime thread as in pipitd.
pub(crate) struct FakeDaemon {
    /// Where it listens.
    pub(crate) socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl FakeDaemon {
    /// Starts one; when this returns it listens.
    pub(crate) fn start(api: FakeApi) -> FakeDaemon {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("pipit.sock");
        let (stop, stopped) = oneshot::channel();
        let (listening, is_listening) = std::sync::mpsc::channel();
        let path = socket.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (_socket, listener) = ControlSocket::bind(&path).unwrap();
                listening.send(()).unwrap();
                tokio::select! {
                    never = server::serve(listener, api) => match never {},
                    _ = stopped => {}
                }
            });
        });
        is_listening.recv().unwrap();
        FakeDaemon {
            socket,
            stop: Some(stop),
            thread: Some(thread),
            _folder: folder,
        }
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}
