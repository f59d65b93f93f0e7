//! docs/conformance.md names only tests and files that exist.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rust sources below a folder of the project, but not what was built.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn tests() -> HashSet<String> {
    let mut files = Vec::new();
    for folder in ["bgp", "rib", "datastore", "bin", "testbed"] {
        sources(&root().join(folder), &mut files);
    }
    let mut names = HashSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for (at, _) in text
            .match_indices("#[test]")
            .chain(text.match_indices("#[tokio::test"))
        {
            let after = text[at..].split_once("fn ").map_or("", |(_, after)| after);
            names.insert(after.split('(').next().unwrap_or_default().to_owned());
        }
    }
    names
}

#[test]
fn what_the_document_names_exists() {
    let text = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let tests = tests();
    let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let mut count = 0;
    for word in quoted {
        if word.contains('/') && !word.contains(' ') {
            assert!(root().join(word).exists(), "{word}");
        } else if word.matches('_').count() >= 3 && !word.contains(' ') {
            assert!(tests.contains(word), "no test {word}");
            count += 1;
        }
    }
    assert!(count > 60, "{count} tests");
}
