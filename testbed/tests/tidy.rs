//! Rules about the code that people forget: who may name what, and what the documents promise.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All Rust files below a folder of the workspace, with their text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// Code without comments and tests: a rule about what code may name does not bind prose.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let body = text.split("#[cfg(test)]").next().unwrap_or_default();
    body.lines().filter(|line| !line.trim_start().starts_with("//"))
}

const CRATES: [&str; 5] = ["bgp", "rib", "datastore", "bin", "testbed"];
const CORES: [&str; 3] = ["bgp/src", "rib/src", "datastore/src"];

#[test]
fn pure_cores_name_no_runtime_socket_file_or_clock() {
    let forbidden = [
        "tokio::",
        "std::fs",
        "TcpStream",
        "UdpSocket",
        "UnixStream",
        "Instant::now",
        "SystemTime::now",
        "std::thread",
        "std::process",
    ];
    for (path, text) in CORES.iter().flat_map(|folder| sources(folder)) {
        let relative = path.strip_prefix(root()).unwrap().to_owned();
        let is_edge =
            relative.iter().any(|part| part == "io" || part == "tests") || relative.ends_with("tests.rs");
        if is_edge {
            continue;
        }
        for line in code(&text) {
            let named = forbidden.iter().find(|name| line.contains(*name));
            assert!(
                named.is_none(),
                "{}: `{line}` names {named:?}; I/O belongs under io/",
                relative.display()
            );
        }
    }
}

#[test]
fn state_has_one_owner_and_queues_have_bounds() {
    for (path, text) in CRATES.iter().flat_map(|folder| sources(folder)) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for line in code(&text) {
            for shared in ["Arc<Mutex", "Arc<RwLock", "unbounded_channel", "#[ignore"] {
                assert!(!line.contains(shared), "{}: `{line}`", path.display());
            }
        }
    }
}

#[test]
fn crates_depend_in_one_direction() {
    let allowed: [(&str, &[&str]); 4] = [
        ("bgp", &[]),
        ("rib", &["pipit-bgp"]),
        ("datastore", &["pipit-bgp", "pipit-rib"]),
        ("bin", &["pipit-bgp", "pipit-rib", "pipit-datastore"]),
    ];
    for (folder, allowed) in allowed {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let dependencies: BTreeSet<&str> = manifest
            .lines()
            .filter(|line| line.starts_with("pipit"))
            .filter_map(|line| line.split([' ', '.', '=']).next())
            .collect();
        assert_eq!(dependencies, allowed.iter().copied().collect(), "{folder}");
    }
}

#[test]
fn no_file_is_a_drawer_for_anything() {
    for (path, _) in CRATES.iter().flat_map(|folder| sources(folder)) {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            !["utils", "util", "helpers", "common", "misc"].contains(&stem.as_str()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let mut named = 0;
    for document in ["docs/architecture.md", "README.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for word in text.split(['`', '(', ')', '[', ']', ' ', '\n', ',']) {
            let path = word.trim_end_matches(['.', ':', ';']);
            let starts = [
                "bgp/",
                "rib/",
                "datastore/",
                "bin/",
                "testbed/",
                "docs/",
                "tools/",
                ".ci/",
            ];
            if starts.iter().any(|start| path.starts_with(start)) && !path.contains(['*', '{', '<']) {
                assert!(
                    root().join(path).exists(),
                    "{document} names {path}, which does not exist"
                );
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} paths found: is the search still right?");
}
