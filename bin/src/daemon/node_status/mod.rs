//! Answers CalicoNodeStatus objects that ask this node: reads what there is to say, writes it into etcd.
//!
//! Only `status` is ever written, by compare and swap, and only when it says something new. A task of its own: an
//! etcd that hangs delays nothing but the next answer.

pub mod report;
pub mod schedule;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use jiff::Timestamp;
use pipit_bgp::FamilyMap;
use pipit_datastore::backend::StoreStatus;
use pipit_datastore::io::etcd::{Written, update_status};
use pipit_datastore::io::task::StoreState;
use pipit_datastore::model::{CalicoNodeStatus, StatusClass};
use serde_json::Value;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::control::api::{ApiError, ControlApi, PageRequest};
use crate::control::protocol::{FibItem, RouteItem};
use crate::control::query::{FibQuery, RouteQuery};
use crate::daemon::api::Api;
use crate::daemon::config::EtcdConfig;
use crate::daemon::node_status::report::{Exit, Exits, Facts};
use crate::daemon::node_status::schedule::Schedule;

/// Paths in one object: together with thousands of peers they stay below what etcd takes (1.5 MiB).
const ROUTES_MAX: usize = 4_000;
/// Routes asked for at once.
const PAGE: usize = 1_024;

/// Why an object is not answered, by its name.
pub type Complaints = BTreeMap<String, String>;

/// See the module.
pub struct Reporter {
    /// Where the facts come from.
    api: Api,
    store: watch::Receiver<StoreState>,
    config: EtcdConfig,
    complaints: watch::Sender<Complaints>,
    schedule: Schedule,
    /// Objects whose routes did not all fit, to say so once.
    cut: HashSet<String>,
}

impl Reporter {
    /// Answers for the daemon behind `api`.
    pub fn new(api: Api, config: EtcdConfig, complaints: watch::Sender<Complaints>) -> Reporter {
        Reporter {
            store: api.store.state.clone(),
            api,
            config,
            complaints,
            schedule: Schedule::default(),
            cut: HashSet::new(),
        }
    }

    /// Runs until the datastore's task ends.
    pub async fn run(mut self) {
        // Before the first configuration is in force there is nothing to say.
        let mut reconfigured = self.api.reconfigured.clone();
        if reconfigured.wait_for(Option::is_some).await.is_err() {
            return;
        }
        loop {
            self.take_requests();
            let next = self.schedule.poll_timeout();
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                result = self.store.changed() => {
                    if result.is_err() {
                        return;
                    }
                }
                () = due => self.answer_due().await,
            }
        }
    }

    fn take_requests(&mut self) {
        let state = self.store.borrow_and_update();
        self.schedule.set(Instant::now(), &state.status_requests);
        let requests = &state.status_requests;
        self.complaints.send_if_modified(|complaints| {
            let before = complaints.len();
            complaints.retain(|name, _| requests.contains_key(name));
            complaints.len() != before
        });
    }

    async fn answer_due(&mut self) {
        for (name, request) in self.schedule.due(Instant::now()) {
            let outcome = self.answer(&name, &request).await;
            let now = Instant::now();
            match &outcome {
                Ok(()) => self.schedule.answered(now, &name, &request),
                Err(_) => self.schedule.failed(now, &name, &request),
            }
            self.complain(&name, outcome.err());
        }
    }

    /// Writes one answer; why not, in words.
    async fn answer(&mut self, name: &str, request: &CalicoNodeStatus) -> Result<(), String> {
        if let Some(StoreStatus::Lost { reason }) = &self.store.borrow().status {
            return Err(reason.clone());
        }
        let facts = self.facts(name, &request.classes).await?;
        let mut config = self.config.to_driver();
        if let Some(StoreStatus::Connected { endpoint }) = &self.store.borrow().status {
            // The one that answers first, before those that may not.
            config.endpoints.sort_by_key(|url| url != endpoint);
        }
        let new = report::status(&request.classes, &facts);
        let node = &facts.daemon.node_name;
        let status = |object: &Value| {
            let is_ours = object["spec"]["node"].as_str() == Some(node);
            if !is_ours || report::says_the_same(object.get("status"), &new) {
                return None;
            }
            let mut status = new.clone();
            status.insert("lastUpdated".to_owned(), last_updated().into());
            Some(Value::Object(status))
        };
        match update_status(&config, name, status).await {
            Ok(Written::Stored | Written::Unchanged | Written::Absent) => Ok(()),
            Ok(Written::Conflict) => Err("others keep changing the object".to_owned()),
            Err(trouble) => Err(trouble.to_string()),
        }
    }

    async fn facts(&mut self, name: &str, classes: &[StatusClass]) -> Result<Facts, String> {
        let api = self.api.clone();
        let gone = |error: ApiError| error.to_string();
        let needs_routes = classes.contains(&StatusClass::Routes);
        let needs_peers = needs_routes || classes.contains(&StatusClass::Bgp);
        let routes = match needs_routes {
            true => self.routes(name).await.map_err(gone)?,
            false => Vec::new(),
        };
        let desired = self.store.borrow().desired.clone();
        let enabled = FamilyMap {
            ipv4: desired.as_ref().is_some_and(|desired| desired.ipv4.enabled),
            ipv6: desired.as_ref().is_some_and(|desired| desired.ipv6.enabled),
        };
        let reconfigured = *api.reconfigured.borrow();
        Ok(Facts {
            daemon: api.status().await.map_err(gone)?,
            reconfigured,
            enabled,
            is_recovering: api.rib.is_recovering().await.unwrap_or(true),
            peers: match needs_peers {
                true => api.peers().await.map_err(gone)?,
                false => Vec::new(),
            },
            exits: self.exits(&routes).await.map_err(gone)?,
            routes,
        })
    }

    /// The first paths, in the order of prefixes.
    async fn routes(&mut self, name: &str) -> Result<Vec<RouteItem>, ApiError> {
        let (query, mut after, mut routes) = (RouteQuery::default(), None, Vec::new());
        loop {
            let page = self
                .api
                .routes(&query, PageRequest { after, limit: PAGE })
                .await?;
            routes.extend(page.items);
            let is_cut = routes.len() > ROUTES_MAX;
            routes.truncate(ROUTES_MAX);
            if is_cut && self.cut.insert(name.to_owned()) {
                warn!(object = %name, routes = ROUTES_MAX, "CalicoNodeStatus: only the first routes fit into the object");
            }
            match page.next {
                Some(next) if !is_cut => after = Some(next),
                _ => return Ok(routes),
            }
        }
    }

    /// How packets leave on these paths.
    async fn exits(&self, routes: &[RouteItem]) -> Result<Exits, ApiError> {
        let mut exits = Exits::default();
        let Some(last) = routes.last().map(|route| route.prefix) else {
            return Ok(exits);
        };
        let learned = |route: &RouteItem| report::is_learned(route).then(|| route.prefix.addr());
        let hops: HashSet<IpAddr> = routes
            .iter()
            .filter_map(|route| route.next_hop.or_else(|| learned(route)))
            .collect();
        let hops: Vec<IpAddr> = hops.into_iter().collect();
        let ways = self.api.rib.ways(hops.clone()).await.unwrap_or_default();
        for (next_hop, way) in hops.into_iter().zip(ways) {
            if let Some(way) = way {
                let interface = way.device.unwrap_or_default();
                let gateway = way.gateway;
                exits.of_address.insert(next_hop, Exit { gateway, interface });
            }
        }
        exits.of_prefix = self.installed(last).await?;
        Ok(exits)
    }

    /// What the kernel does with each prefix up to `last`.
    async fn installed(&self, last: IpNet) -> Result<HashMap<IpNet, Exit>, ApiError> {
        let (query, mut after, mut exits) = (FibQuery::default(), None, HashMap::new());
        loop {
            let page = self.api.fib(&query, PageRequest { after, limit: PAGE }).await?;
            exits.extend(
                page.items
                    .iter()
                    .filter_map(|item| Some((item.prefix, exit(item)?))),
            );
            match page.next {
                Some(next) if next < last => after = Some(next),
                _ => return Ok(exits),
            }
        }
    }

    fn complain(&mut self, name: &str, complaint: Option<String>) {
        match &complaint {
            Some(reason) if self.complaints.borrow().get(name) != Some(reason) => {
                warn!(object = %name, "CalicoNodeStatus cannot be answered: {reason}");
            }
            None if self.complaints.borrow().contains_key(name) => {
                info!(object = %name, "CalicoNodeStatus is answered again");
            }
            _ => {}
        }
        self.complaints.send_if_modified(|complaints| match complaint {
            Some(reason) => complaints.insert(name.to_owned(), reason.clone()).as_ref() != Some(&reason),
            None => complaints.remove(name).is_some(),
        });
    }
}

/// Where an installed route leads; `None` for one that the kernel does not have.
fn exit(item: &FibItem) -> Option<Exit> {
    if !matches!(item.state.as_str(), "installed" | "shadowed") {
        return None;
    }
    let Some(hop) = item.next_hops.first() else {
        return Some(Exit {
            gateway: None,
            interface: item.kind.clone(),
        });
    };
    Some(Exit {
        gateway: hop.gateway,
        interface: hop.device.clone().unwrap_or_default(),
    })
}

/// Now, in whole seconds, as Kubernetes writes times.
fn last_updated() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
