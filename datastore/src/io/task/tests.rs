use serde_json::json;

use super::*;
use crate::key::BlockId;

/// A source that delivers what the test says, and much between that concerns nobody.
struct Noisy(mpsc::Receiver<StoreEvent>);

impl Backend for Noisy {
    async fn run(mut self, _node: String, events: mpsc::Sender<StoreEvent>, _cancel: CancellationToken) {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let mut heartbeat = 0;
        loop {
            let event = tokio::select! {
                Some(event) = self.0.recv() => event,
                _ = tick.tick() => {
                    heartbeat += 1;
                    let value = json!({"metadata": {"annotations": {"heartbeat": heartbeat}}, "spec": {}});
                    put(Key::Node("other".into()), value)
                }
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

fn put(key: Key, value: serde_json::Value) -> StoreEvent {
    let origin = String::new();
    StoreEvent::Put { key, value, origin }
}

fn block(number: u8) -> Key {
    Key::BlockAffinity {
        node: "n1".into(),
        id: BlockId::Cidr(format!("10.65.{number}.0/26").parse().unwrap()),
    }
}

#[tokio::test]
async fn a_change_does_not_wait_for_what_changes_nothing() {
    let (feed, fed) = mpsc::channel(16);
    let (_environment, watched) = watch::channel(Environment::default());
    let cancel = CancellationToken::new();
    let _ended = cancel.clone().drop_guard();
    let mut store = spawn(Noisy(fed), "n1".into(), watched, Options::default(), cancel);
    let node = json!({"spec": {"bgp": {"ipv4Address": "10.0.0.1/24"}}});
    for event in [
        StoreEvent::Begin,
        put(Key::Node("n1".into()), node),
        StoreEvent::SnapshotDone { revision: 1 },
    ] {
        feed.send(event).await.unwrap();
    }
    let blocks = |state: &StoreState| {
        state
            .desired
            .as_ref()
            .map(|desired| desired.ipv4.blackholes.len())
    };
    let mut until = async |count: usize| {
        let waited = store.state.wait_for(|state| blocks(state) == Some(count));
        let limit = Duration::from_secs(20);
        drop(tokio::time::timeout(limit, waited).await.expect("not in force"));
    };
    until(0).await;
    let since = Instant::now();
    for number in 1..=6 {
        feed.send(put(block(number), json!({"state": "confirmed"})))
            .await
            .unwrap();
        until(number.into()).await;
    }
    // Each within half of what a burst may take; together with the noise they would need all of it.
    let limit = 6 * PATIENCE / 2;
    assert!(since.elapsed() < limit, "{:?}", since.elapsed());
}
