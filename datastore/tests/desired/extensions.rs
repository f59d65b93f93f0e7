//! `pipit.io/` annotations.

use std::sync::Arc;
use std::time::Duration;

use pipit_bgp::FamilyMap;
use pipit_bgp::session::config::{AddPath, GracefulRestart, Role};
use pipit_datastore::desired::{Environment, Held};
use pipit_datastore::lower;
use pipit_datastore::model::MassWithdrawalGuard;
use pipit_rib::policy::Filter;
use serde_json::json;

use crate::support::{json as at, plan_for, plan_n1, problems, session};

fn annotated(kind: &str, name: &str, annotations: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: {name}, annotations: {{{annotations}}}}}, \
         spec: {spec}}}"
    )
}

#[test]
fn a_peers_annotations_reach_the_speaker_and_the_notes_but_not_the_json() {
    let annotations = "pipit.io/passive: 'true', pipit.io/hold-time: 9s, pipit.io/families: 'ipv4,ipv6', \
                       pipit.io/add-path: off, pipit.io/graceful-restart: helper, pipit.io/role: customer, \
                       pipit.io/max-prefixes: '100', pipit.io/bfd: tx=50ms, pipit.io/route-reflector-client: 'true'";
    let spec = "{peerIP: 10.9.0.1, asNumber: 65001}";
    let plan = plan_n1(&[annotated("BGPPeer", "tor", annotations, spec)]);
    let found = session(&plan, "Global_10_9_0_1");
    let config = found.peer_config(plan.router_id);
    assert!(config.passive && !found.passive, "the plan's JSON stays Calico's");
    assert_eq!(
        (config.hold_time, config.add_path),
        (Duration::from_secs(9), AddPath::Off)
    );
    assert_eq!(config.graceful_restart, GracefulRestart::Helper);
    assert_eq!(
        (config.role, config.families.iter().count()),
        (Some(Role::Customer), 2)
    );
    assert_eq!(config.bfd.unwrap().tx, Duration::from_millis(50));
    assert_eq!(
        (found.max_prefixes(), found.is_route_reflector_client()),
        (100, true)
    );
    assert_eq!(plan.notes.len(), 9);
    assert!(
        plan.notes
            .contains(&"BGPPeer/tor: pipit.io/hold-time = 9s".to_owned())
    );
    let without = plan_n1(&[annotated("BGPPeer", "tor", "", spec)]);
    assert_eq!(at(&plan, "/ipv4"), at(&without, "/ipv4"));
}

type Names = Vec<String>;

#[test]
fn filters_judge_every_family_that_a_session_carries() {
    let filter = |name: &str, rules: &str| annotated("BGPFilter", name, "", rules);
    let peer = |families: &str| {
        let annotations = format!("pipit.io/families: '{families}'");
        let spec = "{peerIP: 10.9.0.1, asNumber: 65001, filters: [four, six]}";
        annotated("BGPPeer", "tor", &annotations, spec)
    };
    let four = filter("four", "{importV4: [{action: Reject}]}");
    let six = filter(
        "six",
        "{importV6: [{action: Reject}], exportV6: [{action: Reject}]}",
    );
    let names = |families: &str| {
        let plan = plan_n1(&[four.clone(), six.clone(), peer(families)]);
        let found = session(&plan, "Global_10_9_0_1");
        assert_eq!(
            found.import_filters.to_vec(),
            ["four"],
            "the plan's JSON stays Calico's"
        );
        let settings = lower::peer_settings(&plan, found);
        let of = |filters: &Vec<Arc<Filter>>| filters.iter().map(|filter| filter.name.clone()).collect();
        let both = |filters: &FamilyMap<Vec<Arc<Filter>>>| -> (Names, Names) {
            (of(&filters.ipv4), of(&filters.ipv6))
        };
        (both(&settings.import), both(&settings.export))
    };
    let [none, fours, sixes] = [vec![], vec!["four".to_owned()], vec!["six".to_owned()]];
    let only_import = ((fours.clone(), none.clone()), (none.clone(), none.clone()));
    assert_eq!(names("ipv4"), only_import);
    assert_eq!(names("ipv4,ipv6"), ((fours, sixes.clone()), (none, sixes)));
    // One that cannot be read holds the sessions that carry its family, whatever family their addresses are of.
    let broken = filter("six", "{importV6: [{action: Perhaps}]}");
    let held = |families: &str| {
        let plan = plan_n1(&[four.clone(), broken.clone(), peer(families)]);
        session(&plan, "Global_10_9_0_1").held
    };
    assert_eq!(held("ipv4"), None);
    assert_eq!(held("ipv4,ipv6"), Some(Held::FilterInvalid));
}

#[test]
fn the_other_end_of_a_mirrored_peer_dials_and_has_the_other_role() {
    let annotations = "pipit.io/passive: 'true', pipit.io/role: provider, pipit.io/hold-time: 9s";
    let objects = [
        annotated(
            "BGPPeer",
            "p",
            annotations,
            "{node: n1, peerSelector: \"node == 'n2'\"}",
        ),
        crate::support::default("{nodeToNodeMeshEnabled: false}"),
    ];
    let config = |node: &str, name: &str| {
        let plan = plan_for(node, &objects, &Environment::default());
        let found = session(&plan, name);
        let config = found.peer_config(plan.router_id);
        assert_eq!(config.role, None, "both are in one AS: see below");
        (config.passive, found.extensions.role, config.hold_time.as_secs())
    };
    assert_eq!(config("n1", "Node_172_31_1_12"), (true, Some(Role::Provider), 9));
    assert_eq!(config("n2", "Node_172_31_1_11"), (false, Some(Role::Customer), 9));
}

#[test]
fn rfc9234_4_there_are_roles_between_ases_only() {
    let spec = |asn| format!("{{peerIP: 10.9.0.1, asNumber: {asn}}}");
    for (asn, role) in [(65001, Some(Role::Peer)), (64512, None)] {
        let plan = plan_n1(&[annotated("BGPPeer", "tor", "pipit.io/role: peer", &spec(asn))]);
        let found = session(&plan, "Global_10_9_0_1");
        assert_eq!(found.peer_config(plan.router_id).role, role, "AS {asn}");
        assert_eq!(lower::peer_settings(&plan, found).role, role, "AS {asn}");
    }
}

#[test]
fn an_annotation_on_a_resource_that_knows_none_is_reported() {
    let plan = plan_n1(&[
        annotated(
            "IPPool",
            "more",
            "pipit.io/x: y, example.com/x: y",
            "{cidr: 10.66.0.0/16}",
        ),
        annotated(
            "BGPFilter",
            "f",
            "pipit.io/x: y",
            "{importV4: [{action: Accept}]}",
        ),
        annotated(
            "BGPConfiguration",
            "node.n1",
            "pipit.io/max-paths: '4', pipit.io/x: y",
            "{listenPort: 1790}",
        ),
        annotated("BGPConfiguration", "node.n2", "pipit.io/max-paths: '4'", "{}"),
    ]);
    assert_eq!(
        problems(&plan),
        [
            "BGPConfiguration/node.n1 metadata.annotations[pipit.io/max-paths]",
            "BGPConfiguration/node.n1 metadata.annotations[pipit.io/x]",
            "BGPFilter/f metadata.annotations[pipit.io/x]",
            "IPPool/more metadata.annotations[pipit.io/x]",
        ]
    );
    assert_eq!(plan.cluster_extensions.max_paths, 16);
    assert_eq!(plan.ipv4.listen.map(|listen| listen.port), Some(1790));
    assert!(plan.ipv4.filters.contains_key("f") && at(&plan, "/ipv4/kernel/pools/1").is_object());
}

#[test]
fn an_unknown_or_unreadable_annotation_is_reported_and_the_rest_counts() {
    let spec = "{peerIP: 10.9.0.1, asNumber: 65001}";
    let annotations =
        "pipit.io/hold-time: 2s, pipit.io/colour: red, example.com/x: y, pipit.io/passive: 'true'";
    let plan = plan_n1(&[annotated("BGPPeer", "tor", annotations, spec)]);
    assert_eq!(
        problems(&plan),
        [
            "BGPPeer/tor metadata.annotations[pipit.io/colour]",
            "BGPPeer/tor metadata.annotations[pipit.io/hold-time]"
        ]
    );
    assert!(session(&plan, "Global_10_9_0_1").is_passive());
}

#[test]
fn a_nodes_annotations() {
    let annotations = "pipit.io/originate: '203.0.113.9/24, fd99::/48', pipit.io/usable: 'false'";
    let plan = plan_n1(&[annotated(
        "Node",
        "n1",
        annotations,
        "{bgp: {ipv4Address: 172.31.1.11/24}}",
    )]);
    let prefixes: Vec<_> = plan
        .node_extensions
        .originate
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(prefixes, ["203.0.113.0/24", "fd99::/48"]);
    assert!(!plan.node_extensions.usable);
    assert_eq!(at(&plan, "/ipv4/blackholes"), json!([]));
}

#[test]
fn the_clusters_annotations() {
    let annotations = "pipit.io/max-paths: '4', pipit.io/route-protocol: '200', pipit.io/nexthop-objects: 'true', \
         pipit.io/mass-withdrawal-guard: off";
    let plan = plan_n1(&[annotated("BGPConfiguration", "default", annotations, "{}")]);
    let found = &plan.cluster_extensions;
    assert_eq!((found.max_paths, found.route_protocol), (4, 200));
    assert_eq!(found.mass_withdrawal_guard, MassWithdrawalGuard::Off);
    let lowered = lower::node_settings(&plan);
    assert_eq!((lowered.max_paths, lowered.route_protocol), (4, 200));
    assert!(lowered.nexthop_objects && !plan_n1(&[]).cluster_extensions.nexthop_objects);
    let found = plan_n1(&[]).cluster_extensions;
    assert_eq!((found.max_paths, found.route_protocol), (16, 12));
    assert_eq!(found.mass_withdrawal_guard, MassWithdrawalGuard::On);
}
