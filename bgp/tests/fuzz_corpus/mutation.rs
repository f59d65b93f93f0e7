//! A small mutating fuzzer that needs nothing but the corpus: a second in each test run, or as long as one likes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long each target runs, in seconds; without it each runs its rounds, the same ones every time.
const SECONDS: &str = "PIPIT_FUZZ_SECONDS";
/// Inputs between two looks at the clock.
const BATCH: usize = 1_000;

/// A check and the inputs that it begins with.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) check: fn(&[u8]),
    /// Mutations of each seed in an ordinary run: a second or two in a debug build.
    pub(crate) rounds: usize,
}

impl Target {
    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(self.name)
    }

    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    pub(crate) fn corpus(&self) -> Vec<(String, Vec<u8>)> {
        let folder = self.folder();
        let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
            .collect();
        seeds.sort();
        assert!(
            seeds.len() >= 12,
            "{} holds {} seeds",
            folder.display(),
            seeds.len()
        );
        seeds
    }

    /// Checks mutations of the corpus.
    #[expect(clippy::print_stderr, reason = "what a long run did, and what it found")]
    pub(crate) fn mutate(&self) {
        let seeds = self.corpus();
        let limit = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
        let start = Instant::now();
        let is_over = |checked: usize| match limit {
            Some(seconds) => start.elapsed() >= Duration::from_secs(seconds),
            None => checked >= self.rounds * seeds.len(),
        };
        let mut random = Random(match limit {
            Some(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |time| time.as_nanos() as u64 | 1),
            None => 0x5eed_5eed_5eed_5eed,
        });
        let mut checked = 0;
        while !is_over(checked) {
            for _ in 0..BATCH {
                let (_, seed) = &seeds[random.below(seeds.len())];
                let (_, other) = &seeds[random.below(seeds.len())];
                let mut bytes = seed.clone();
                mutate(&mut bytes, other, &mut random);
                let witness = Witness(self, &bytes);
                (self.check)(&bytes);
                std::mem::forget(witness);
            }
            checked += BATCH;
        }
        eprintln!("{}: {checked} inputs in {:?}", self.name, start.elapsed());
    }
}

/// Keeps the input that a check fails with, as a seed of all later runs.
struct Witness<'a>(&'a Target, &'a [u8]);

impl Drop for Witness<'_> {
    #[expect(clippy::print_stderr, reason = "the test is failing")]
    fn drop(&mut self) {
        let Witness(target, bytes) = self;
        let sum = bytes.iter().fold(0_u32, |sum, octet| {
            sum.wrapping_mul(31).wrapping_add((*octet).into())
        });
        let path = target.folder().join(format!("found-{sum:08x}"));
        match fs::write(&path, *bytes) {
            Ok(()) => eprintln!("the input that fails: {}", path.display()),
            Err(error) => eprintln!("the input that fails: {bytes:02x?} ({}: {error})", path.display()),
        }
    }
}

/// xorshift64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
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
