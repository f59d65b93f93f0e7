//! What is worth telling and no problem.

use super::DesiredState;
use super::context::Context;
use crate::model::parse_prefix;

pub(super) fn notes(context: &Context<'_>, state: &DesiredState) -> Vec<String> {
    let clashes = state.clashes.iter();
    let mut notes: Vec<String> = clashes
        .map(|clash| format!("{}: {}: {}", clash.resource, clash.field, clash.message))
        .collect();
    if let Some(text) = &context.environment.advertise_cluster_ips
        && parse_prefix(text).is_none()
    {
        notes.push(format!(
            "CALICO_ADVERTISE_CLUSTER_IPS `{text}` is not a prefix; no cluster IP range is advertised"
        ));
    }
    let has_affinity = context.cache.blocks(context.name).next().is_some();
    if !has_affinity && !context.node.pod_cidrs.is_empty() {
        notes.push("there is no block affinity; status.podCIDRs count as this node's blocks".to_owned());
    }
    let mut say = |resource: &str, said: &[(String, String)]| {
        notes.extend(
            said.iter()
                .map(|(name, value)| format!("{resource}: {name} = {value}")),
        );
    };
    say("BGPConfiguration/default", &state.cluster_extensions.said);
    say(&format!("Node/{}", state.node), &state.node_extensions.said);
    for (name, peer) in context.cache.peers() {
        let resource = format!("BGPPeer/{name}");
        if !peer.extensions.said.is_empty() && state.sessions().any(|session| *session.resource == *resource)
        {
            say(&resource, &peer.extensions.said);
        }
    }
    notes.extend(
        context
            .cache
            .unreadable_origins()
            .map(|(origin, error)| format!("{origin}: {error}")),
    );
    notes
}
