//! What crosses the control socket.
//!
//! Names and meanings are a promise to scripts: fields are added, never renamed. Times are RFC 3339, absent values
//! are `null`, numbers are numbers.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use pipit_bgp::session::counts::MessageCounts;
use pipit_bgp::{Asn, ClusterId, Family, RouterId};
use serde::{Deserialize, Serialize};

/// The `apiVersion` of every document.
pub const API_VERSION: &str = "pipit/v1";

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/pipit/pipit.sock";

/// Media type of lists that travel as one JSON object a line.
pub const NDJSON: &str = "application/x-ndjson";

/// The paths of the API.
pub mod path {
    /// GET: [`super::PeerList`].
    pub const PEERS: &str = "/v1/peers";
    /// GET: [`super::RouteItem`]s, one a line; see [`crate::control::query::RouteParams`].
    pub const ROUTES: &str = "/v1/routes";
    /// GET: [`super::FibItem`]s, one a line; see [`crate::control::query::FibParams`].
    pub const FIB: &str = "/v1/fib";
    /// GET: [`super::FibDiff`].
    pub const FIB_DIFF: &str = "/v1/fib/diff";
    /// POST: [`super::FibSync`].
    pub const FIB_SYNC: &str = "/v1/fib/sync";
    /// GET: [`super::DaemonStatus`].
    pub const STATUS: &str = "/v1/status";
    /// GET: [`super::ProblemList`].
    pub const PROBLEMS: &str = "/v1/problems";
    /// GET: what the desired state is computed from, in lines: see [`pipit_datastore::inputs`].
    pub const INPUTS: &str = "/v1/inputs";
    /// POST with [`crate::control::query::DrainParams`]: [`super::Drained`].
    pub const DRAIN: &str = "/v1/drain";
    /// POST: [`super::Drained`].
    pub const UNDRAIN: &str = "/v1/undrain";
    /// POST with [`crate::control::query::ResetParams`]: [`super::Reset`].
    pub const RESET: &str = "/v1/peers/reset";
    /// GET: [`super::Verified`].
    pub const VERIFY: &str = "/v1/debug/verify";
    /// POST: [`super::Released`].
    pub const RELEASE: &str = "/v1/datastore/release";
}

/// Every configured peer, with the daemon's own state beside them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PeerList {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `PeerList`.
    pub kind: String,
    /// The peers, in order of their names.
    pub items: Vec<PeerItem>,
    /// The daemon that has them.
    pub daemon: DaemonStatus,
    /// What it cannot honour in its configuration.
    pub problems: Vec<ProblemItem>,
}

/// What the daemon cannot honour in its configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProblemList {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `ProblemList`.
    pub kind: String,
    /// The problems, in order of their resources.
    pub items: Vec<ProblemItem>,
}

/// The states of RFC 4271 §8.2.2, in its words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PeerState {
    /// Refusing connections, or waiting after an error.
    Idle,
    /// Dialling.
    Connect,
    /// Waiting for the peer to dial, or to dial again.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPENs exchanged.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl PeerState {
    /// The RFC's word.
    pub fn name(self) -> &'static str {
        match self {
            PeerState::Idle => "Idle",
            PeerState::Connect => "Connect",
            PeerState::Active => "Active",
            PeerState::OpenSent => "OpenSent",
            PeerState::OpenConfirm => "OpenConfirm",
            PeerState::Established => "Established",
        }
    }
}

/// Which of Calico's rules made a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerKind {
    /// The node-to-node mesh.
    Mesh,
    /// A BGPPeer that names or selects nodes.
    Node,
    /// A BGPPeer for every node.
    Global,
    /// A BGPPeer for the workloads of this node.
    LocalWorkload,
}

impl PeerKind {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            PeerKind::Mesh => "mesh",
            PeerKind::Node => "node",
            PeerKind::Global => "global",
            PeerKind::LocalWorkload => "local_workload",
        }
    }
}

/// One peer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PeerItem {
    /// Calico's session name, `Mesh_10_0_0_2`.
    pub name: String,
    /// The peer's address.
    pub address: IpAddr,
    /// The interface of a link-local address.
    pub interface: Option<String>,
    /// TCP port that is dialled.
    pub port: u16,
    /// The AS the peer must present; zero when its resource does not say (the peer is held then).
    pub remote_as: Asn,
    /// The AS we present.
    pub local_as: Asn,
    /// State of its session.
    pub state: PeerState,
    /// Why there is such a peer.
    pub kind: PeerKind,
    /// When the session entered or left Established, or the peer was configured.
    pub since: Timestamp,
    /// Prefixes it announces to us.
    pub prefixes_received: u64,
    /// Of those, the ones that policy accepted.
    pub prefixes_accepted: u64,
    /// Prefixes we announce to it.
    pub prefixes_sent: u64,
    /// Why the last session or attempt ended; `None` when nothing went wrong yet.
    pub last_error: Option<String>,
    /// The last NOTIFICATION that we sent, collisions left out; `None`: none yet.
    #[serde(default)]
    pub last_error_sent: Option<String>,
    /// The last NOTIFICATION that the peer sent, collisions left out; `None`: none yet.
    #[serde(default)]
    pub last_error_received: Option<String>,
    /// Messages to the peer since it was configured.
    #[serde(default)]
    pub messages_sent: MessageCounts,
    /// Messages from the peer since it was configured.
    #[serde(default)]
    pub messages_received: MessageCounts,
    /// Why the session must not run; `None` when it may.
    pub held: Option<String>,
    /// We never dial it.
    pub passive: bool,
    /// How often an Established session has ended.
    pub flaps: u64,
    /// The hold time in effect; zero: none; `None` unless Established.
    pub hold_time_secs: Option<u64>,
    /// The peer's BGP Identifier; `None` unless Established.
    pub remote_router_id: Option<RouterId>,
    /// Address families in use; those offered unless Established.
    pub families: Vec<Family>,
    /// Capabilities in effect, by name; empty unless Established.
    pub capabilities: Vec<String>,
    /// Host name, from the FQDN capability.
    pub hostname: Option<String>,
    /// Software version capability.
    pub software: Option<String>,
    /// The Calico object that it comes from: `BGPPeer/rack-1`, `Node/node-2`.
    pub resource: String,
    /// The BFD session; `None` where BFD is off.
    #[serde(default)]
    pub bfd: Option<BfdItem>,
}

/// A peer's BFD session (RFC 5880).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BfdItem {
    /// `AdminDown`, `Down`, `Init` or `Up`.
    pub state: String,
    /// The same as the peer last said it; `Down` until it says anything.
    pub remote_state: String,
    /// `single-hop` or `multihop`.
    pub path: String,
    /// Why our state last changed; `None` while nothing went wrong.
    pub diagnostic: Option<String>,
    /// Why the peer's did, as it last said.
    pub remote_diagnostic: Option<String>,
    /// Our discriminator.
    pub discriminator: u32,
    /// The peer's; `None` while it is unknown.
    pub remote_discriminator: Option<u32>,
    /// Interval between our packets, before jitter; `None`: none are sent.
    pub tx_interval_us: Option<u64>,
    /// The longest interval between the peer's packets; `None` while it is unknown.
    pub rx_interval_us: Option<u64>,
    /// Silence that ends the session; `None` while it is unknown.
    pub detection_time_us: Option<u64>,
    /// How often an Up session was lost.
    pub flaps: u64,
    /// Why packets cannot be sent or received; `None` when they can.
    pub error: Option<String>,
}

/// How a route entered BGP (RFC 4271 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Interior to its AS.
    Igp,
    /// Learned by EGP.
    Egp,
    /// By other means.
    Incomplete,
}

impl Origin {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Igp => "igp",
            Origin::Egp => "egp",
            Origin::Incomplete => "incomplete",
        }
    }
}

/// One element of an AS path as people count it: an AS, or a set of them in which order means nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AsPathElement {
    /// One AS of a sequence.
    As(Asn),
    /// An AS_SET (RFC 4271 §4.3).
    Set(Vec<Asn>),
}

/// One path to one prefix.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RouteItem {
    /// Destination.
    pub prefix: IpNet,
    /// Address family of the destination.
    pub family: Family,
    /// BGP next hop; `None` for routes of this node.
    pub next_hop: Option<IpAddr>,
    /// Session name of the peer that announced it; `local` for routes of this node.
    pub peer: String,
    /// It is the path in use for the prefix.
    pub best: bool,
    /// It is the path in use, or shares the traffic with it.
    #[serde(default)]
    pub multipath: bool,
    /// The AS path, nearest AS first.
    pub as_path: Vec<AsPathElement>,
    /// LOCAL_PREF; `None` when the path carries none.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC; `None` when the path carries none.
    pub med: Option<u32>,
    /// ORIGIN.
    pub origin: Origin,
    /// Communities, `65000:100`, well-known ones by name.
    pub communities: Vec<String>,
    /// Large communities, `65000:1:2`.
    pub large_communities: Vec<String>,
    /// Extended communities in hexadecimal.
    #[serde(default)]
    pub extended_communities: Vec<String>,
    /// ORIGINATOR_ID (RFC 4456).
    pub originator_id: Option<RouterId>,
    /// CLUSTER_LIST (RFC 4456).
    pub cluster_list: Vec<ClusterId>,
    /// Path identifier (RFC 7911); `None` when the peer sends none.
    pub path_id: Option<u32>,
    /// Kept from before the peer's restart (RFC 4724).
    pub stale: bool,
    /// Whether it goes to the peer that was asked about: `announced`, or why not; `None` when none was.
    #[serde(default)]
    pub announced: Option<String>,
    /// Which rule decided for or against the path, or why it cannot be used.
    pub reason: String,
    /// When the path was last learned; `None` when that is not recorded.
    #[serde(default)]
    pub since: Option<Timestamp>,
}

/// One route of this node in the kernel, as it should be and as it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FibItem {
    /// Destination.
    pub prefix: IpNet,
    /// `unicast` or `blackhole`.
    pub kind: String,
    /// Gateways; several for ECMP, none for a blackhole.
    pub next_hops: Vec<FibNextHop>,
    /// Device of the first next hop.
    pub device: Option<String>,
    /// Linux metric; lower wins.
    pub metric: u32,
    /// Linux route protocol; 12 is `bird`.
    pub protocol: u8,
    /// `installed`, `shadowed`, `pending`, `removing`, `stale`, `parked`, `conflict` or `refused`.
    pub state: String,
    /// Why it is not installed.
    pub reason: Option<String>,
    /// What the kernel has in its place, as `ip route` says it; `None`: nothing else than this.
    #[serde(default)]
    pub kernel: Option<String>,
    /// The nexthop object that it leads through (`nhid` in `ip route`); `None`: a plain route.
    #[serde(default)]
    pub nexthop_object: Option<u32>,
}

/// One next hop of a kernel route.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FibNextHop {
    /// Gateway; `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Device name.
    pub device: Option<String>,
    /// Share of an ECMP route, 1 to 256.
    pub weight: u16,
    /// The gateway counts as on the link, whatever the addresses say.
    pub onlink: bool,
}

/// Where the kernel's table differs from what it should hold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FibDiff {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `FibDiff`.
    pub kind: String,
    /// The first differences, in order of their prefixes.
    pub items: Vec<FibDiffItem>,
    /// How many more there are.
    pub omitted: usize,
}

/// One difference.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FibDiffItem {
    /// Destination.
    pub prefix: IpNet,
    /// `missing`, `different`, `unexpected`; `conflict`, `refused`, `pending`, `parked` or `stale`, which wait for
    /// something.
    pub problem: String,
    /// What should be there, as `ip route` says it; `None`: nothing.
    pub desired: Option<String>,
    /// What is there.
    pub kernel: Option<String>,
    /// `create`, `replace` or `delete`; `wait` while the route waits for something else.
    pub action: String,
    /// Why it is not as it should be, where that is known.
    pub reason: Option<String>,
}

impl FibDiffItem {
    /// Whether something is wrong: a route without a way out, or one that an earlier run left, is where it should be.
    pub fn is_wrong(&self) -> bool {
        !matches!(self.problem.as_str(), "parked" | "stale")
    }
}

/// What was put right, and what was not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FibSync {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `FibSync`.
    pub kind: String,
    /// What was wrong and is right now.
    pub items: Vec<FibDiffItem>,
    /// What is still wrong, or waits.
    pub remaining: Vec<FibDiffItem>,
    /// How many more of either there are.
    pub omitted: usize,
}

/// The daemon as a whole.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `DaemonStatus`.
    pub kind: String,
    /// Version of the daemon.
    pub version: String,
    /// The Calico node it acts for.
    pub node_name: String,
    /// Its BGP Identifier; `None` until the node is known.
    pub router_id: Option<RouterId>,
    /// Its AS; `None` until the node is known.
    pub local_as: Option<Asn>,
    /// When it started.
    pub started: Timestamp,
    /// Where its configuration comes from.
    pub datastore: DatastoreStatus,
    /// How long what is in force may not have been the newest; 0 while the datastore can be read; `None` until
    /// something is in force.
    #[serde(default)]
    pub datastore_stale_seconds: Option<u64>,
    /// Drained, by command or by the Node's annotation: announcements carry GRACEFUL_SHUTDOWN (RFC 8326).
    #[serde(default)]
    pub drained: bool,
    /// Drained by command until nothing is announced at all.
    #[serde(default)]
    pub withdrawn: bool,
    /// What it waits for before it can act, one line for people; `None` when it acts.
    pub waiting: Option<String>,
    /// What was done to the kernel's routes since the start.
    #[serde(default)]
    pub kernel: KernelCounts,
}

/// What was done to the kernel's routes since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KernelCounts {
    /// Changes written.
    pub written: u64,
    /// Changes that the kernel refused.
    pub refused: u64,
    /// Routes put right after somebody else removed or changed them.
    pub repaired: u64,
    /// Dumps of the table after the first: notifications had been lost, or could not tell what was there.
    pub dumps: u64,
    /// Groups of nexthop objects that routes lead through now.
    #[serde(default)]
    pub nexthop_groups: u64,
}

/// Which back-end holds the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatastoreKind {
    /// etcd v3.
    Etcd,
    /// A directory of manifests.
    File,
}

impl DatastoreKind {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            DatastoreKind::Etcd => "etcd",
            DatastoreKind::File => "file",
        }
    }
}

/// The daemon's view of its datastore.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DatastoreStatus {
    /// Which back-end.
    pub kind: DatastoreKind,
    /// The endpoint in use, or the directory.
    pub endpoint: String,
    /// It can be read right now.
    pub connected: bool,
    /// A complete snapshot has been read since the start.
    pub in_sync: bool,
    /// Why it cannot be read, one line; `None` when it can.
    pub reason: Option<String>,
    /// Revision acted on; zero for files.
    pub revision: i64,
    /// What is in force was kept on disk by an earlier run: the datastore has not been reached since the start.
    #[serde(default)]
    pub from_disk: bool,
    /// How long the deletion of most objects of a kind is held back; `None`: it is not.
    #[serde(default)]
    pub guard_secs: Option<u64>,
    /// What is held back now.
    #[serde(default)]
    pub held: Vec<HeldItem>,
}

/// An object whose deletion is held back, because most of its kind vanished at once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HeldItem {
    /// The object.
    pub resource: String,
    /// When the deletion will be acted on.
    pub until: Timestamp,
}

/// What `pipit drain` and `pipit undrain` brought about.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Drained {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Drained`.
    pub kind: String,
    /// Drained by command.
    pub drained: bool,
    /// And what was announced is taken back.
    #[serde(default)]
    pub withdrawn: bool,
    /// Drained by the annotation `pipit.io/usable: "false"` of its Node, whatever the command said.
    pub by_annotation: bool,
}

/// What `pipit reset` brought about.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reset {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Reset`.
    pub kind: String,
    /// The peer's name.
    pub name: String,
    /// There was a session, and it has ended with Cease/Administrative Reset; otherwise the peer is tried now.
    pub was_established: bool,
}

/// What `pipit debug verify` found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verified {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Verified`.
    pub kind: String,
    /// Prefixes in the table.
    pub prefixes: usize,
    /// Paths in the table.
    pub paths: usize,
    /// What is not as it should be, one line each.
    pub faults: Vec<String>,
}

/// What `pipit datastore release` brought about.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Released {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Released`.
    pub kind: String,
    /// How many deletions were held back.
    pub count: usize,
}

/// One thing in the configuration that cannot be honoured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProblemItem {
    /// The object, `BGPPeer/rack-1`, or where it was read when its name is unknown.
    pub resource: String,
    /// What is wrong and what was done instead, for people.
    pub message: String,
}

/// What went wrong with a request, in the class a program can act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorReason {
    /// The request makes no sense; asking again will not help.
    BadRequest,
    /// No such path or object.
    NotFound,
    /// The daemon is starting or stopping; ask again.
    Unavailable,
    /// A fault of the daemon.
    Internal,
}

/// The body of every answer that is not a success.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Error`.
    pub kind: String,
    /// Class of the error.
    pub reason: ErrorReason,
    /// What happened, for people.
    pub message: String,
}
