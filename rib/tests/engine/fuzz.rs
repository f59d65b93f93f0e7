//! Bytes → decode → validate → RIB → encode: whatever peers send, what others are told can be read, and the tables hold.
//!
//! The bytes are mutations of the codec's corpus. `make fuzz SECONDS=60` runs it for so long.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bench::{Bench, CLIENT, EXTERNAL, Kind, LONG_LIVED};

/// Set, the run lasts so many seconds, and is another one each time.
const SECONDS: &str = "PIPIT_FUZZ_SECONDS";
/// Tables of an ordinary run.
const TABLES: usize = 20;
/// Messages to one table.
const MESSAGES: usize = 150;

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// UPDATEs without their headers; the two octets before them are for the codec's own checks.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bgp/fuzz/corpus/update");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 40, "{}", folder.display());
    let bytes = paths.into_iter().map(|path| fs::read(path).unwrap());
    bytes
        .map(|bytes| bytes.get(2..).unwrap_or_default().to_vec())
        .collect()
}

fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(3) {
        let at = random.below(bytes.len());
        match random.below(4) {
            _ if bytes.is_empty() => bytes.push(0),
            0 | 1 => bytes[at] = [0, 1, 0x7f, 0xff, random.below(256) as u8][random.below(5)],
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, bytes[at]),
        }
    }
    bytes
}

#[test]
fn fuzz_bytes_to_rib_to_bytes() {
    let seeds = corpus();
    let limit: Option<u64> = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    let mut random = Random(match limit {
        Some(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1,
        None => 0x5eed_5eed_5eed_5eed,
    });
    let start = Instant::now();
    let mut tables = 0;
    let is_over = |tables: usize| match limit {
        Some(seconds) => start.elapsed() >= Duration::from_secs(seconds),
        None => tables >= TABLES,
    };
    while !is_over(tables) {
        // What to give `Random` to see a failure again.
        eprintln!("table {tables}: {:#x}", random.0);
        play(&seeds, &mut random);
        tables += 1;
    }
}

fn play(seeds: &[Vec<u8>], random: &mut Random) {
    let mut bench = Bench::new();
    let everything = Kind {
        takes_all: true,
        is_dual: true,
        ..CLIENT
    };
    let dual = Kind {
        is_dual: true,
        ..EXTERNAL
    };
    for (id, kind) in [(1, CLIENT), (2, everything), (3, EXTERNAL), (4, dual)] {
        bench.add(id, kind);
        bench.up(id);
    }
    for _ in 0..MESSAGES {
        let id = 1 + random.below(4) as u32;
        match random.below(40) {
            0 => {
                bench.down(id, None);
                bench.up(id);
            }
            1 => {
                bench.down(id, Some(LONG_LIVED));
                bench.up(id);
            }
            2 => bench.refresh(id),
            3 => bench.end_of_rib(id),
            _ if bench.receive_any(id, &mutated(seeds, random)) => {}
            // What the session would do.
            _ => {
                bench.down(id, None);
                bench.up(id);
            }
        }
    }
    bench.verify();
}
