use serde_json::json;

use super::*;
use crate::cache::Cache;

const HOLD: Duration = Duration::from_secs(30);

/// A guard with a cache behind it.
struct Bench {
    guard: Guard,
    cache: Cache,
    now: Instant,
    revision: i64,
}

impl Bench {
    fn with_nodes(count: usize) -> Bench {
        let mut bench = Bench {
            guard: Guard::new(Some(HOLD)),
            cache: Cache::new(),
            now: Instant::now(),
            revision: 1,
        };
        bench.snapshot(0..count);
        assert_eq!(bench.nodes(), count);
        bench
    }

    fn feed(&mut self, event: StoreEvent) {
        for event in self.guard.handle(self.now, event) {
            self.cache.handle(event);
        }
    }

    fn put(&mut self, number: usize) {
        let value = json!({"spec": {"bgp": {"ipv4Address": format!("10.0.0.{number}/24")}}});
        let (key, origin) = (node(number), String::new());
        self.feed(StoreEvent::Put { key, value, origin });
    }

    fn snapshot(&mut self, numbers: impl Iterator<Item = usize>) {
        self.feed(StoreEvent::Begin);
        numbers.for_each(|number| self.put(number));
        self.feed(StoreEvent::SnapshotDone { revision: 1 });
    }

    fn delete(&mut self, numbers: impl Iterator<Item = usize>) {
        for number in numbers {
            self.feed(StoreEvent::Delete { key: node(number) });
        }
        self.settle();
    }

    /// The next revision is complete, and nothing more is at hand.
    fn settle(&mut self) {
        self.revision += 1;
        let revision = self.revision;
        self.feed(StoreEvent::Settled { revision });
        self.judge();
    }

    fn judge(&mut self) {
        for event in self.guard.judge(self.now) {
            self.cache.handle(event);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.guard.poll_timeout().is_none_or(|due| due > self.now) {
            return;
        }
        for event in self.guard.handle_timeout(self.now) {
            self.cache.handle(event);
        }
    }

    fn nodes(&self) -> usize {
        self.cache.nodes().count()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.cache.each_problem(Some("none"), |key, _, unreadable, _| {
            problems.push(format!("{key}: {}", unreadable.unwrap_or_default()));
        });
        problems
    }
}

fn node(number: usize) -> Key {
    Key::Node(format!("n{number}"))
}

#[test]
fn e10_an_emptied_prefix_is_held_and_shown_and_then_believed() {
    let mut bench = Bench::with_nodes(5);
    bench.delete(0..5);
    assert_eq!((bench.nodes(), bench.guard.held().len()), (5, 5));
    let problems = bench.problems();
    assert_eq!(
        problems[0],
        "Node/n0: 5 of 5 nodes vanished at once: its deletion is held back for 30 s"
    );
    bench.pass(HOLD - Duration::from_millis(1));
    assert_eq!(bench.nodes(), 5);
    bench.pass(Duration::from_millis(1));
    assert_eq!((bench.nodes(), bench.guard.poll_timeout()), (0, None));
}

#[test]
fn e10_an_empty_listing_is_held_and_forgotten_when_the_objects_are_back() {
    let mut bench = Bench::with_nodes(5);
    bench.snapshot(0..0);
    assert_eq!(bench.nodes(), 5);
    // Again, as after another reconnect: the time does not start anew.
    bench.pass(HOLD / 2);
    bench.snapshot(0..1);
    assert_eq!((bench.nodes(), bench.guard.held().len()), (5, 4));
    assert_eq!(bench.guard.poll_timeout(), Some(bench.now + HOLD / 2));
    bench.snapshot(0..5);
    assert_eq!((bench.nodes(), bench.guard.held().len()), (5, 0));
    assert!(bench.problems().is_empty());
    bench.pass(HOLD);
    assert_eq!(bench.nodes(), 5);
}

#[test]
fn an_object_that_comes_back_alone_is_no_longer_held() {
    let mut bench = Bench::with_nodes(4);
    bench.delete(0..4);
    bench.put(2);
    bench.settle();
    bench.pass(HOLD);
    assert_eq!(bench.nodes(), 1);
    assert!(bench.cache.readable_node("n2").is_some());
}

#[test]
fn what_is_said_to_be_meant_is_acted_on_at_once() {
    let mut bench = Bench::with_nodes(4);
    bench.delete(0..4);
    for event in bench.guard.release(bench.now) {
        bench.cache.handle(event);
    }
    assert_eq!((bench.nodes(), bench.guard.held().len()), (0, 0));
}

#[test]
fn a_word_in_the_middle_of_a_snapshot_counts_after_it() {
    let mut bench = Bench::with_nodes(4);
    bench.delete(0..4);
    bench.feed(StoreEvent::Begin);
    assert_eq!(bench.guard.release(bench.now), []);
    assert_eq!(bench.guard.poll_timeout(), None);
    bench.feed(StoreEvent::SnapshotDone { revision: 3 });
    assert_eq!(bench.nodes(), 4);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.nodes(), 0);
}

#[test]
fn few_or_less_than_half_go_at_once() {
    let mut bench = Bench::with_nodes(10);
    bench.delete(0..5);
    assert_eq!(bench.nodes(), 5, "half is not more than half");
    bench.snapshot(5..8);
    assert_eq!(bench.nodes(), 3, "two of five");
    for number in 5..8 {
        bench.delete(number..number + 1);
    }
    assert_eq!(bench.nodes(), 0, "one is no mass");
}

#[test]
fn e10_what_goes_in_the_same_revision_is_held_with_it() {
    let mut bench = Bench::with_nodes(3);
    let block = Key::BlockAffinity {
        node: "n0".into(),
        id: crate::key::BlockId::Cidr("10.1.0.0/26".parse().unwrap()),
    };
    let configuration = Key::BgpConfiguration("default".into());
    let filter = Key::BgpFilter("all".into());
    let others = [block.clone(), configuration.clone(), filter.clone()];
    for key in &others {
        let (key, value, origin) = (key.clone(), json!({"spec": {}}), String::new());
        bench.feed(StoreEvent::Put { key, value, origin });
    }
    for key in others.iter().cloned() {
        bench.feed(StoreEvent::Delete { key });
    }
    bench.delete(0..3);
    assert_eq!((bench.nodes(), bench.guard.held().len()), (3, 6));
    assert!(bench.cache.configuration("default").is_some() && bench.cache.filter("all").is_some());
    assert_eq!(bench.cache.blocks("n0").count(), 1);
    bench.pass(HOLD);
    assert_eq!((bench.nodes(), bench.cache.blocks("n0").count()), (0, 0));
    // Alone, each of them goes at once.
    for key in [block, configuration, filter] {
        let (key, value, origin) = (key, json!({"spec": {}}), String::new());
        bench.feed(StoreEvent::Put {
            key: key.clone(),
            value,
            origin,
        });
        bench.feed(StoreEvent::Delete { key });
        bench.settle();
    }
    assert!(bench.guard.held().is_empty());
    assert!(bench.cache.configuration("default").is_none() && bench.cache.blocks("n0").count() == 0);
}

#[test]
fn a_guard_that_is_off_passes_everything_and_knows_what_there_is_when_it_is_on_again() {
    let mut bench = Bench::with_nodes(8);
    bench.guard.set_hold(None);
    bench.delete(0..5);
    assert_eq!((bench.nodes(), bench.guard.held().len()), (3, 0));
    bench.guard.set_hold(Some(HOLD));
    bench.delete(5..8);
    assert_eq!((bench.nodes(), bench.guard.held().len()), (3, 3));
}

#[test]
fn a_deletion_and_a_new_version_in_one_batch_is_the_new_version() {
    let mut bench = Bench::with_nodes(1);
    bench.feed(StoreEvent::Delete { key: node(0) });
    bench.put(0);
    bench.settle();
    assert_eq!(bench.nodes(), 1);
    bench.put(0);
    bench.delete(0..1);
    assert_eq!(bench.nodes(), 0);
}

#[test]
fn held_objects_do_not_count_when_more_go() {
    let mut bench = Bench::with_nodes(10);
    bench.delete(0..6);
    assert_eq!(bench.guard.held().len(), 6);
    bench.delete(6..9);
    assert_eq!(bench.guard.held().len(), 9, "three of the four that are left");
}

#[test]
fn e10_one_revision_that_arrives_in_parts_is_judged_as_one() {
    let block = Key::BlockAffinity {
        node: "n0".into(),
        id: crate::key::BlockId::Cidr("10.1.0.0/26".parse().unwrap()),
    };
    let with_block = || {
        let mut bench = Bench::with_nodes(3);
        let (key, value, origin) = (block.clone(), json!({"state": "confirmed"}), String::new());
        bench.feed(StoreEvent::Put { key, value, origin });
        bench.settle();
        bench
    };
    let part = |bench: &mut Bench, keys: &[Key]| {
        for key in keys.iter().cloned() {
            bench.feed(StoreEvent::Delete { key });
        }
        bench.feed(StoreEvent::Settled { revision: 9 });
    };
    let nodes = [node(0), node(1), node(2)];
    // The block's watch speaks first, or last, or so late that the others have been judged.
    let mut bench = with_block();
    part(&mut bench, std::slice::from_ref(&block));
    part(&mut bench, &nodes);
    bench.judge();
    assert_eq!(
        (bench.guard.held().len(), bench.cache.blocks("n0").count()),
        (4, 1)
    );
    let mut bench = with_block();
    part(&mut bench, &nodes);
    bench.judge();
    part(&mut bench, std::slice::from_ref(&block));
    bench.judge();
    assert_eq!(
        (bench.guard.held().len(), bench.cache.blocks("n0").count()),
        (4, 1)
    );
    // Another revision is another matter.
    let mut bench = with_block();
    bench.delete(0..3);
    bench.revision = 20;
    bench.feed(StoreEvent::Delete { key: block.clone() });
    bench.settle();
    assert_eq!(
        (bench.guard.held().len(), bench.cache.blocks("n0").count()),
        (3, 0)
    );
}

#[test]
fn revisions_that_arrive_together_are_judged_one_by_one() {
    let mut bench = Bench::with_nodes(4);
    for number in 0..4 {
        bench.feed(StoreEvent::Delete { key: node(number) });
        let revision = 10 + number as i64;
        bench.feed(StoreEvent::Settled { revision });
    }
    bench.judge();
    assert_eq!((bench.nodes(), bench.guard.held().len()), (0, 0));
}

#[test]
fn e10_the_time_stands_still_while_the_source_is_away() {
    let mut bench = Bench::with_nodes(5);
    bench.delete(0..4);
    let second = Duration::from_secs(1);
    bench.pass(10 * second);
    let lost = |reason: &str| {
        StoreEvent::Status(StoreStatus::Lost {
            reason: reason.into(),
        })
    };
    bench.feed(lost("refused"));
    bench.pass(3600 * second);
    bench.feed(lost("no answer"));
    bench.pass(3600 * second);
    assert_eq!((bench.nodes(), bench.guard.poll_timeout()), (5, None));
    // One is back in the listing; one more is gone, which is no mass and goes.
    bench.snapshot([0].into_iter());
    let endpoint = String::new();
    bench.feed(StoreEvent::Status(StoreStatus::Connected { endpoint }));
    assert_eq!((bench.nodes(), bench.guard.held().len()), (4, 3));
    bench.pass(20 * second - Duration::from_millis(1));
    assert_eq!(bench.nodes(), 4);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.nodes(), 1);
    // What an operator says counts at once, also then.
    let mut bench = Bench::with_nodes(5);
    bench.delete(0..4);
    bench.feed(lost("refused"));
    let released = bench.guard.release(bench.now);
    assert_eq!(released.len(), 4);
}

#[test]
fn e10_what_the_return_of_the_source_brings_has_its_whole_time_before_it() {
    let mut bench = Bench::with_nodes(5);
    let reason = String::new();
    bench.feed(StoreEvent::Status(StoreStatus::Lost { reason }));
    bench.pass(HOLD);
    bench.delete(0..5);
    let endpoint = String::new();
    bench.feed(StoreEvent::Status(StoreStatus::Connected { endpoint }));
    assert_eq!(bench.guard.poll_timeout(), Some(bench.now + HOLD));
}

#[test]
fn e10_what_comes_in_the_same_revision_makes_up_for_nothing() {
    let mut bench = Bench::with_nodes(3);
    for number in 3..6 {
        bench.put(number);
    }
    bench.delete(0..2);
    assert_eq!((bench.nodes(), bench.guard.held().len()), (6, 2));
    // What came before counts, even if nobody has judged since.
    let mut bench = Bench::with_nodes(3);
    for number in 3..6 {
        bench.put(number);
    }
    bench.feed(StoreEvent::Settled { revision: 1 });
    bench.delete(0..2);
    assert_eq!((bench.nodes(), bench.guard.held().len()), (4, 0));
}
