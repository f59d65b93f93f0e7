//! Calico's resources as far as BGP is concerned, one a file.
//!
//! Every resource is read from a JSON value field by field: unknown fields are passed over, `null` and the empty
//! text are a missing field, and a field that cannot be read is reported by name and costs what `plan-contract.md`
//! §3 says, never the whole cluster. **Invariant:** a model holds only what the desired state depends on, so two
//! equal models mean that nothing has to be computed again (a node's heartbeat changes no model).

mod annotations;
mod bgp_configuration;
mod bgp_filter;
mod bgp_peer;
mod block_affinity;
mod calico_node_status;
mod community;
mod endpoint_slice;
mod endpoint_status;
mod fields;
mod ip_pool;
mod node;
mod scalar;
mod secret;
mod service;

pub use annotations::{
    ClusterExtensions, GracefulRestartMode, MassWithdrawalGuard, NodeExtensions, PeerExtensions,
};
pub use bgp_configuration::{
    BgpConfiguration, BindMode, CommunitySource, LogSeverity, PrefixAdvertisement, ProgramClusterRoutes,
};
pub use bgp_filter::{
    BgpFilter, FilterAction, FilterRule, FilterRules, Operation, Operator, PeerType, PrefixLengths,
    PrefixMatch, Source,
};
pub use bgp_peer::{BgpPeer, LocalNodes, NextHopMode, PeerAddress, RemotePeers, SecretRef};
pub use block_affinity::{BlockAffinity, BlockState};
pub use calico_node_status::{CalicoNodeStatus, StatusClass};
pub use community::Community;
pub use endpoint_slice::{Endpoint, EndpointSlice};
pub use endpoint_status::EndpointStatus;
pub use fields::{FieldProblem, Parsed};
pub use ip_pool::{Encapsulation, EncapsulationMode, IpPool};
pub use node::Node;
pub use scalar::{ScalarError, parse_duration};
pub use secret::SecretObject;
pub use service::{Service, ServiceType, TrafficPolicy};

pub(crate) use scalar::parse_prefix;

use serde_json::Value;

/// A kind of object that the cache keeps.
pub trait Resource: Sized + PartialEq {
    /// Reads one object.
    fn parse(value: &Value) -> Parsed<Self>;

    /// Puts what the last version had in place of what this one has unreadable; `true` when something was taken.
    ///
    /// Only parts without which other objects would suffer are kept: a session whose BGPPeer was broken by an edit
    /// stays as it was, a setting that has a default goes to its default.
    fn keep_last_good(parsed: &mut Parsed<Self>, last: Self) -> bool {
        match parsed.object {
            Some(_) => false,
            None => {
                parsed.object = Some(last);
                true
            }
        }
    }
}
