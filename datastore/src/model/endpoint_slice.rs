//! Kubernetes EndpointSlice: where a Service's endpoints are.

use pipit_bgp::Family;
use serde_json::Value;

use super::Resource;
use super::fields::{Fields, Parsed, Problems};
use super::scalar;

/// An EndpointSlice.
#[derive(Clone, PartialEq, Debug)]
pub struct EndpointSlice {
    /// The Service, of the same namespace, that it belongs to.
    pub service: Option<String>,
    /// `addressType`; `None` for FQDN.
    pub family: Option<Family>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One of a slice's endpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The node it is on.
    pub node: Option<String>,
    /// `conditions.ready`; missing counts as ready.
    pub is_ready: bool,
}

impl Resource for EndpointSlice {
    fn parse(value: &Value) -> Parsed<Self> {
        let mut ignored = Problems::default();
        let p = &mut ignored;
        let root = Fields::root(value, "");
        let labels = root.object("metadata", p).object("labels", p);
        let service = labels.read("kubernetes.io/service-name", p, scalar::text);
        let family = root
            .read("addressType", p, scalar::text)
            .and_then(|name| super::service::family(&name));
        let endpoints = root
            .list("endpoints", p)
            .into_iter()
            .map(|(path, item)| {
                let endpoint = root.item(path, item, p);
                Endpoint {
                    node: endpoint.read("nodeName", p, scalar::text),
                    is_ready: endpoint
                        .object("conditions", p)
                        .read("ready", p, scalar::boolean)
                        .unwrap_or(true),
                }
            })
            .collect();
        Parsed::clean(EndpointSlice {
            service,
            family,
            endpoints,
        })
    }
}
