//! The kept fuzz corpus as an ordinary test, and mutations of it: what libFuzzer found once stays found.
//!
//! Long runs: `cd bgp && cargo fuzz run -s none update -- -max_total_time=60`.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

/// Rounds of mutation for each seed: about a second in a debug build.
const ROUNDS: u64 = 300;

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    seeds.sort();
    assert!(
        seeds.len() >= 40,
        "{} holds {} seeds",
        folder.display(),
        seeds.len()
    );
    seeds
}

/// xorshift64: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// One to four of: an octet changed, removed or doubled, the end cut, a piece of another seed put in.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            _ if bytes.is_empty() => bytes.push(0),
            0 | 1 => bytes[at] = [0, 1, 0x7f, 0xff, random.below(256) as u8][random.below(5)],
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, bytes[at]),
            4 => bytes.truncate(at),
            _ => {
                let start = random.below(other.len());
                let end = (start + random.below(40)).min(other.len());
                bytes.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
}

#[test]
fn the_corpus_holds() {
    for (name, bytes) in corpus("update") {
        // Shown only when a check panics: which seed it was.
        eprintln!("{name}");
        checks::update(&bytes);
        // Every option and every edit: the first two octets choose them.
        for choice in 0..=u8::MAX {
            checks::update(
                &[
                    &[choice, choice.rotate_left(3)],
                    bytes.get(2..).unwrap_or_default(),
                ]
                .concat(),
            );
        }
    }
}

#[test]
fn mutations_of_the_corpus_hold() {
    let seeds = corpus("update");
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    for (name, seed) in &seeds {
        eprintln!("{name}");
        for _ in 0..ROUNDS {
            let mut bytes = seed.clone();
            let (_, other) = &seeds[random.below(seeds.len())];
            mutate(&mut bytes, other, &mut random);
            checks::update(&bytes);
        }
    }
}
