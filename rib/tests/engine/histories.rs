//! Random histories: after each of them every peer holds what a naive RIB works out, and `Rib::verify` finds nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use pipit_bgp::{Asn, PeerId};
use pipit_rib::policy::{Action, Condition, Filter, PrefixOperator, Rule};
use pipit_rib::{NextHopMode, PeerSettings};

use crate::bench::{
    Bench, CLIENT, EXTERNAL, Kind, LONG_LIVED, RESTART_TIME, Route, accept_all, filter, rule,
};
use crate::naive::Naive;

const PREFIXES: u64 = 12;
const STEPS: usize = 120;
const HISTORIES: u64 = 150;

/// xorshift64*: histories are told apart by their seed alone.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    Up,
    /// Away, its routes kept.
    Away,
    /// Back, End-of-RIB outstanding.
    Back,
}

fn kinds() -> Vec<Kind> {
    let internal = Kind {
        is_client: false,
        ..CLIENT
    };
    vec![
        EXTERNAL,
        Kind {
            asn: Asn(65002),
            knows_long_lived: false,
            ..EXTERNAL
        },
        CLIENT,
        CLIENT,
        // Two, so that one can leave the other's group.
        Kind {
            takes_all: true,
            ..CLIENT
        },
        Kind {
            takes_all: true,
            ..CLIENT
        },
        Kind {
            knows_long_lived: false,
            ..CLIENT
        },
        internal,
        internal,
        Kind {
            sends_many: true,
            ..CLIENT
        },
        Kind {
            sends_many: true,
            takes_all: true,
            ..EXTERNAL
        },
    ]
}

fn prefix(random: &mut Random) -> Ipv4Net {
    let third = random.below(PREFIXES);
    format!("10.50.{third}.0/24").parse().unwrap()
}

fn rejecting(prefixes: &BTreeSet<Ipv4Net>) -> Arc<Filter> {
    let reject = |prefix: &Ipv4Net| Rule {
        conditions: vec![Condition::Prefix {
            net: (*prefix).into(),
            operator: PrefixOperator::Equal,
            length: None,
        }],
        action: Action::Reject,
    };
    let mut rules: Vec<Rule> = prefixes.iter().map(reject).collect();
    rules.push(rule(Action::Accept(Vec::new())));
    filter("rejecting", rules)
}

fn hiding(prefixes: &BTreeSet<Ipv4Net>) -> Arc<Filter> {
    match prefixes.is_empty() {
        true => accept_all(),
        false => rejecting(prefixes),
    }
}

struct History {
    bench: Bench,
    naive: Naive,
    states: Vec<State>,
    random: Random,
    next_tag: u32,
}

impl History {
    fn new(seed: u64) -> History {
        let (mut bench, mut naive) = (Bench::new(), Naive::default());
        for (id, kind) in (0..).zip(kinds()) {
            bench.add(id, kind);
            naive.add(id, kind);
        }
        History {
            bench,
            naive,
            states: vec![State::Down; kinds().len()],
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            next_tag: 1,
        }
    }

    fn step(&mut self) {
        let id = self.random.below(self.states.len() as u64) as u32;
        let prefix = prefix(&mut self.random);
        match (self.random.below(16), self.states[id as usize]) {
            (_, State::Down) => self.come_up(id, State::Up),
            (0, State::Up | State::Back) => self.go(id, None),
            (1, State::Up | State::Back) => self.go(id, Some(LONG_LIVED)),
            (2, State::Up | State::Back) => self.go(id, Some(Duration::ZERO)),
            (3..=5, State::Back) => {
                self.bench.end_of_rib(id);
                self.naive.drop_stale(id);
                self.states[id as usize] = State::Up;
            }
            (3, State::Up) => self.bench.refresh(id),
            (4, _) => self.bench.stick(id),
            (5, _) => self.bench.unstick(id),
            (6, _) => self.filter(id, prefix),
            (7, _) => self.hide(id, prefix),
            (11, _) => self.exchange(id),
            (8, _) => self.bench.change(id, |settings| {
                settings.next_hop = match settings.next_hop {
                    NextHopMode::Auto => NextHopMode::SelfAddress,
                    _ => NextHopMode::Auto,
                };
            }),
            (0..=4, State::Away) => self.come_up(id, State::Back),
            (_, State::Away) => {}
            (9 | 10, _) => {
                let path_id = self.path_id(id);
                self.bench.withdraw_path(id, prefix, path_id);
                self.naive.withdraw(id, prefix, path_id);
            }
            (_, State::Up | State::Back) => {
                let route = Route {
                    local_pref: 100 + self.random.below(2) as u32,
                    path_len: 1 + self.random.below(2) as u8,
                    neighbor: 1 + self.random.below(2) as u32,
                    med: [None, Some(0), Some(1), Some(7)][self.random.below(4) as usize],
                    path_id: self.path_id(id),
                    ..Route::tagged(self.next_tag)
                };
                self.next_tag += 1;
                self.bench.announce(id, prefix, route);
                self.naive.announce(id, prefix, route);
            }
        }
    }

    /// A path identifier of the peer, zero where it sends none.
    fn path_id(&mut self, id: u32) -> u32 {
        match kinds()[id as usize].sends_many {
            true => 1 + self.random.below(3) as u32,
            false => 0,
        }
    }

    fn come_up(&mut self, id: u32, state: State) {
        self.bench.up(id);
        if state == State::Up {
            self.bench.end_of_rib(id);
        }
        self.states[id as usize] = state;
    }

    fn go(&mut self, id: u32, long_lived: Option<Duration>) {
        self.bench.down(id, long_lived);
        match long_lived {
            None => self.naive.lose(id),
            Some(_) => self.naive.make_stale(id),
        }
        self.states[id as usize] = if long_lived.is_some() {
            State::Away
        } else {
            State::Down
        };
        // Half of those that are away outstay the restart time.
        if let Some(time) = long_lived
            && self.random.below(2) == 0
        {
            let away: Vec<u32> = (0..self.states.len() as u32)
                .filter(|&other| {
                    other != id && matches!(self.states[other as usize], State::Away | State::Back)
                })
                .collect();
            if !away.is_empty() {
                // One clock for all: the others' times would be over, too.
                return;
            }
            self.bench.advance(RESTART_TIME);
            if time.is_zero() {
                self.naive.lose(id);
                self.states[id as usize] = State::Down;
            } else {
                self.naive.make_long_lived(id);
            }
        }
    }

    fn filter(&mut self, id: u32, prefix: Ipv4Net) {
        let refused = self.naive.refused.entry(id).or_default();
        if !refused.remove(&prefix) {
            refused.insert(prefix);
        }
        let filter = rejecting(refused);
        self.bench
            .change(id, |settings| settings.import.ipv4 = vec![filter]);
    }

    fn hide(&mut self, id: u32, prefix: Ipv4Net) {
        let hidden = self.naive.hidden.entry(id).or_default();
        if !hidden.remove(&prefix) {
            hidden.insert(prefix);
        }
        let filter = hiding(hidden);
        self.bench
            .change(id, |settings| settings.export.ipv4 = vec![filter]);
    }

    /// Two peers are at once told what the other one was.
    fn exchange(&mut self, id: u32) {
        let other = self.random.below(self.states.len() as u64) as u32;
        let [first, second] = [id, other].map(|id| self.naive.hidden.remove(&id).unwrap_or_default());
        let changes = [(id, second), (other, first)].map(|(id, hidden)| {
            let filter = hiding(&hidden);
            self.naive.hidden.insert(id, hidden);
            (id, move |settings: &mut PeerSettings| {
                settings.export.ipv4 = vec![filter]
            })
        });
        self.bench.change_together(changes);
    }

    fn check(&mut self, seed: u64) {
        for id in 0..self.states.len() as u32 {
            self.bench.unstick(id);
        }
        for id in 0..self.states.len() as u32 {
            if matches!(self.states[id as usize], State::Up | State::Back) {
                assert_eq!(
                    self.bench.tags(id),
                    self.naive.due(id),
                    "history {seed}, peer {id}"
                );
            }
        }
        let faults = self.bench.rib.verify();
        assert!(faults.is_empty(), "history {seed}: {faults:#?}");
    }
}

#[test]
fn after_random_histories_every_peer_holds_what_a_naive_rib_works_out() {
    for seed in 1..=HISTORIES {
        let mut history = History::new(seed);
        for step in 0..STEPS {
            history.step();
            if step % 10 == 0 {
                history.bench.verify();
            }
        }
        history.check(seed);
        // Once everybody is gone nothing is left.
        for id in 0..history.states.len() as u32 {
            history.bench.rib.remove_peer(PeerId(id));
        }
        history.bench.settle();
        history.bench.verify();
        let totals = history.bench.rib.totals();
        assert_eq!((totals.prefixes, totals.paths), (0, 0), "history {seed}");
    }
}
