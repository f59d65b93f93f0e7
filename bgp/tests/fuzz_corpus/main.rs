//! The kept fuzz corpora as ordinary tests, and mutations of them: what was found once stays found.
//!
//! `make fuzz SECONDS=60` runs each target for so long, with other mutations each time. libFuzzer, where it is
//! installed: `cd bgp && cargo fuzz run -s none update -- -max_total_time=60`.

#[path = "../../fuzz/checks/mod.rs"]
mod checks;
mod mutation;

use crate::mutation::Target;

const OPEN: Target = Target {
    name: "open",
    check: checks::open::check,
    rounds: 1_000,
};
const SESSION: Target = Target {
    name: "session",
    check: checks::session::check,
    rounds: 1_000,
};
const UPDATE: Target = Target {
    name: "update",
    check: checks::update::check,
    rounds: 300,
};

#[test]
fn update_corpus_holds_with_every_option_and_edit() {
    for (name, bytes) in UPDATE.corpus() {
        // Shown only when a check panics: which seed it was.
        eprintln!("{name}");
        checks::update::check(&bytes);
        // The first two octets choose them.
        for choice in 0..=u8::MAX {
            let options = [choice, choice.rotate_left(3)];
            checks::update::check(&[&options, bytes.get(2..).unwrap_or_default()].concat());
        }
    }
}

#[test]
fn open_corpus_holds_with_every_configuration() {
    for (name, bytes) in OPEN.corpus() {
        eprintln!("{name}");
        for choice in 0..=u8::MAX {
            checks::open::check(&[&[choice], bytes.get(1..).unwrap_or_default()].concat());
        }
    }
}

#[test]
fn session_corpus_holds() {
    for (name, bytes) in SESSION.corpus() {
        eprintln!("{name}");
        checks::session::check(&bytes);
    }
}

#[test]
fn fuzz_update() {
    UPDATE.mutate();
}

#[test]
fn fuzz_open() {
    OPEN.mutate();
}

#[test]
fn fuzz_session() {
    SESSION.mutate();
}
