//! Calico's own golden tests: the resources go in, the plan that says what confd's BIRD configuration says comes out.
//!
//! See `fixtures/golden/README.md` for where the data comes from. Each scenario is a test.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::without_nulls;
use pipit_datastore::desired::Environment;
use pipit_datastore::manifest;
use pipit_datastore::model::EndpointStatus;
use pipit_datastore::plan;
use serde_json::Value;

/// Runs a scenario, or all steps of it.
fn check(scenario: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/golden")
        .join(scenario);
    let meta = json_file(&folder.join("meta.json"));
    match meta["steps"].as_object() {
        None => check_case(&meta, &folder),
        Some(steps) => {
            assert!(!steps.is_empty());
            steps
                .keys()
                .for_each(|step| check_case(&meta, &folder.join(step)));
        }
    }
}

fn check_case(meta: &Value, folder: &Path) {
    let texts = input(folder);
    let mut expected = json_file(&folder.join("expected.json"));
    expected.as_object_mut().unwrap().remove("deviations");
    let forth = plan_of(meta, folder, &texts);
    assert_same(&expected, &forth, folder);
    let reversed: Vec<_> = texts.iter().map(|text| reversed(text)).collect();
    assert_same(&expected, &plan_of(meta, folder, &reversed), folder);
    for secret in meta["secrets"].as_array().into_iter().flatten() {
        assert!(
            !forth.to_string().contains(secret.as_str().unwrap()),
            "{}",
            folder.display()
        );
    }
}

/// The texts of `input.yaml`, or of the files in `input/` in the order of their names.
fn input(folder: &Path) -> Vec<String> {
    let single = folder.join("input.yaml");
    let mut paths = vec![single.clone()];
    if !single.exists() {
        let entries = fs::read_dir(folder.join("input")).unwrap();
        paths = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
    }
    assert!(!paths.is_empty());
    paths
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// The documents of a text the other way round: their order must have no influence.
fn reversed(text: &str) -> String {
    let documents: Vec<_> = text.rsplit("\n---").collect();
    documents.join("\n---\n")
}

fn plan_of(meta: &Value, folder: &Path, texts: &[String]) -> Value {
    let root = folder.to_str().unwrap();
    let variable = |name: &str| Some(meta["env"][name].as_str()?.replace("@SCENARIO@", root));
    let mut environment = Environment::from_vars(variable);
    if let Some(prefix) = variable("CALICO_ENDPOINT_STATUS_PATH_PREFIX") {
        environment.endpoints = endpoints(&PathBuf::from(prefix).join("endpoint-status"));
    }
    let items = manifest::merge(texts.iter().map(|text| manifest::read(text, "input.yaml")));
    let state = plan::plan(items, meta["node"].as_str().unwrap(), &environment).unwrap();
    serde_json::from_str(&plan::to_json(&state).unwrap()).unwrap()
}

fn endpoints(folder: &Path) -> Vec<EndpointStatus> {
    let files = fs::read_dir(folder).unwrap();
    files
        .filter_map(|file| EndpointStatus::parse(&fs::read_to_string(file.unwrap().path()).unwrap()))
        .collect()
}

fn json_file(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Equal but for notes and the wording of problems; null is the same as missing.
fn assert_same(expected: &Value, actual: &Value, folder: &Path) {
    let comparable = |plan: &Value| {
        let mut plan = plan.clone();
        plan.as_object_mut().unwrap().remove("notes");
        for problem in plan["problems"].as_array_mut().unwrap() {
            let message = problem.as_object_mut().unwrap().remove("message");
            assert!(!message.unwrap().as_str().unwrap().is_empty());
        }
        without_nulls(&plan)
    };
    let (expected, actual) = (comparable(expected), comparable(actual));
    if expected != actual {
        panic!("{}\nexpected {expected:#}\nactual {actual:#}", folder.display());
    }
}

macro_rules! scenarios {
    ($($name:ident: $scenario:literal,)*) => {
        $(#[test] fn $name() { check($scenario); })*

        #[test]
        fn every_scenario_has_a_test() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden");
            let mut folders: Vec<_> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.path().is_dir())
                .map(|entry| entry.file_name().into_string().unwrap())
                .collect();
            folders.sort();
            assert_eq!(folders, [$($scenario),*]);
        }
    };
}

scenarios! {
    cluster_routes_default: "cluster-routes-default",
    cluster_routes_enabled: "cluster-routes-enabled",
    filter_as_path_and_priority: "filter-as-path-and-priority",
    filter_communities_and_operations: "filter-communities-and-operations",
    filter_export_only_explicit_peer: "filter-export-only-explicit-peer",
    filter_filter_names: "filter-filter-names",
    filter_import_only_global_peer: "filter-import-only-global-peer",
    filter_match_operators: "filter-match-operators",
    filter_match_source: "filter-match-source",
    filter_multi_filter_global_peer: "filter-multi-filter-global-peer",
    filter_node_mesh: "filter-node-mesh",
    filter_peer_type: "filter-peer-type",
    filter_single_filter_global_peer: "filter-single-filter-global-peer",
    filter_v4_only_global_peer: "filter-v4-only-global-peer",
    filter_v6_only_explicit_peer: "filter-v6-only-explicit-peer",
    ignored_interfaces: "ignored-interfaces",
    mesh_bgp_export: "mesh-bgp-export",
    mesh_communities: "mesh-communities",
    mesh_hash: "mesh-hash",
    mesh_ipip_always: "mesh-ipip-always",
    mesh_ipip_off: "mesh-ipip-off",
    mesh_route_reflector: "mesh-route-reflector",
    mesh_static_routes: "mesh-static-routes",
    mesh_vxlan_always: "mesh-vxlan-always",
    next_hop_mode_route_reflectors: "next-hop-mode-route-reflectors",
    password_mesh: "password-mesh",
    peer_global: "peer-global",
    peer_global_ipv6: "peer-global-ipv6",
    peer_idle: "peer-idle",
    peer_keepnexthop_global: "peer-keepnexthop-global",
    peer_local_as: "peer-local-as",
    peer_local_as_global_ipv6: "peer-local-as-global-ipv6",
    peer_local_workload: "peer-local-workload",
    peer_route_reflector: "peer-route-reflector",
    peer_selectors: "peer-selectors",
    peer_source_address: "peer-source-address",
    peer_specific_node: "peer-specific-node",
    reachable_by_global_peers: "reachable-by-global-peers",
    reverse_peering_auto: "reverse-peering-auto",
    ttl_security_explicit_node: "ttl-security-explicit-node",
}
