//! `docs/calico-checklist.md`: every line of the behaviour contract's checklist has a test, and every test named
//! there exists.
//!
//! `PIPIT_WRITE=1 cargo test -p pipit-testbed --test checklist` writes the names that carry a number into its line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The checklist has this many lines.
const LINES: usize = 232;
const CRATES: [&str; 5] = ["bgp", "rib", "datastore", "bin", "testbed"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// Names of the functions that follow `#[test]` or `#[tokio::test]`.
fn tests() -> BTreeSet<String> {
    let mut texts = Vec::new();
    for name in CRATES {
        sources(&root().join(name), &mut texts);
    }
    let mut names = BTreeSet::new();
    for text in &texts {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line == "#[test]" || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && let Some((_, rest)) = line.split_once("fn ") {
                names.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
                is_test = false;
            }
        }
    }
    names
}

/// The numbers that a test's name carries: `c106_…`, `e1_c210_…`.
fn numbers(name: &str) -> impl Iterator<Item = usize> {
    name.split('_')
        .filter_map(|word| word.strip_prefix('c')?.parse().ok())
}

/// The line of a table: number, behaviour, and the cell of its tests.
fn row(line: &str) -> Option<(usize, &str, &str)> {
    let mut cells = line.strip_prefix("| C")?.strip_suffix(" |")?.splitn(2, " | ");
    let (number, rest) = (cells.next()?.parse().ok()?, cells.next()?);
    let (what, tests) = rest.rsplit_once(" | ")?;
    Some((number, what, tests))
}

fn named(cell: &str) -> Vec<String> {
    let words = cell.split('`').skip(1).step_by(2);
    words
        .filter(|word| !word.contains(' '))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_line_has_a_test_or_a_reason_and_every_test_named_exists() {
    let path = root().join("docs/calico-checklist.md");
    let (text, tests) = (fs::read_to_string(&path).unwrap(), tests());
    let mut by_number: BTreeMap<usize, Vec<&String>> = BTreeMap::new();
    for name in &tests {
        numbers(name).for_each(|number| by_number.entry(number).or_default().push(name));
    }
    let (mut found, mut written) = (BTreeSet::new(), String::new());
    for line in text.lines() {
        let Some((number, what, cell)) = row(line) else {
            written.push_str(line);
            written.push('\n');
            continue;
        };
        found.insert(number);
        assert!(
            !cell.trim().is_empty(),
            "C{number} has neither a test nor a reason"
        );
        let mut names = named(cell);
        if std::env::var_os("PIPIT_WRITE").is_some() {
            names.retain(|name| tests.contains(name));
            let more = by_number
                .get(&number)
                .into_iter()
                .flatten()
                .map(|name| (*name).clone());
            names.extend(more);
            names.sort();
            names.dedup();
        }
        for name in &names {
            assert!(
                tests.contains(name),
                "C{number} names {name}, and there is no such test"
            );
        }
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let cell = if names.is_empty() {
            cell.to_owned()
        } else {
            names.join(", ")
        };
        written.push_str(&format!("| C{number} | {what} | {cell} |\n"));
    }
    assert_eq!(found, (1..=LINES).collect());
    if std::env::var_os("PIPIT_WRITE").is_some() {
        fs::write(&path, written).unwrap();
    }
}
