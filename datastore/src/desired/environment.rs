//! What the desired state depends on besides the datastore: the node's environment, as data.

use std::collections::BTreeMap;

use pipit_bgp::session::config::Secret;

use crate::model::{EndpointStatus, SecretRef};

/// Namespace of password Secrets when NAMESPACE is not set.
const DEFAULT_NAMESPACE: &str = "kube-system";

/// The variables and files that count. Unset and empty variables are the same.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Environment {
    /// `CALICO_ROUTER_ID`: `hash`, or an IPv4 address.
    pub router_id: Option<String>,
    /// `CALICO_K8S_NODE_REF`: this node as Kubernetes names it; default: the Calico name.
    pub k8s_node_ref: Option<String>,
    /// `CALICO_ADVERTISE_CLUSTER_IPS`: one prefix in place of `serviceClusterIPs`.
    pub advertise_cluster_ips: Option<String>,
    /// `NAMESPACE` of password Secrets; default `kube-system`.
    pub namespace: Option<String>,
    /// Felix's endpoint-status files that could be read.
    pub endpoints: Vec<EndpointStatus>,
    /// Passwords from a secrets directory; they count before Secrets of the datastore.
    pub secrets: BTreeMap<SecretRef, Secret>,
}

impl Environment {
    /// Reads the variables; `lookup` is `|name| std::env::var(name).ok()` outside of tests.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Environment {
        let set = |name| lookup(name).filter(|value| !value.is_empty());
        Environment {
            router_id: set("CALICO_ROUTER_ID"),
            k8s_node_ref: set("CALICO_K8S_NODE_REF"),
            advertise_cluster_ips: set("CALICO_ADVERTISE_CLUSTER_IPS"),
            namespace: set("NAMESPACE"),
            endpoints: Vec::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// Namespace of password Secrets.
    pub fn secrets_namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }
}
