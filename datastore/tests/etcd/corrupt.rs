//! E9: values that are not what they should be, each in an object of its own.

use std::sync::Arc;

use pipit_datastore::desired::{DesiredState, Environment};
use pipit_datastore::io::task::{self, Options, StoreState};
use pipit_datastore::key::RESOURCES;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::driver::config;
use crate::server::{Etcd, PATIENCE};
use crate::stream::node;

fn peers(state: &StoreState) -> Vec<String> {
    let sessions =
        |desired: &Arc<DesiredState>| desired.sessions().map(|session| session.name.clone()).collect();
    state.desired.as_ref().map(sessions).unwrap_or_default()
}

fn problems(state: &StoreState) -> Vec<String> {
    let desired = state.desired.iter().flat_map(|desired| &desired.problems);
    desired.map(|problem| problem.resource.clone()).collect()
}

#[tokio::test]
async fn e9_c007_c199_each_corrupted_value_is_named_kept_at_its_last_good_version_and_harms_no_other() {
    let etcd = Etcd::start().await;
    let mut writer = etcd.client().await;
    let good = |n: usize| {
        format!(r#"{{"metadata":{{"name":"node-{n}"}},"spec":{{"bgp":{{"ipv4Address":"10.0.0.{n}/24"}}}}}}"#)
    };
    for n in 1..=9 {
        writer.put(&node(&format!("node-{n}")), good(n)).await;
    }
    let (_environment, watched) = watch::channel(Environment::default());
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    let source = config(&[etcd.url()]);
    let mut store = task::spawn(source, "node-1".into(), watched, Options::default(), cancel);
    let until = async |store: &mut task::Store, is_so: &dyn Fn(&StoreState) -> bool| {
        let waited = tokio::time::timeout(PATIENCE, store.state.wait_for(is_so)).await;
        waited.expect("it does not come to that").unwrap().clone()
    };
    let all = until(&mut store, &|state| peers(state).len() == 8).await;
    assert_eq!(problems(&all), Vec::<String>::new());

    let large = format!(
        r#"{{"spec":{{"bgp":{{"ipv4Address":"10.0.0.7/24"}}}},"blob":"{}"#,
        "x".repeat(1_400_000)
    );
    let corrupted: [(usize, Vec<u8>); 7] = [
        (2, good(2)[..40].into()),
        (3, b"[1, 2, 3]".to_vec()),
        (4, br#"{"spec":{"bgp":{"ipv4Address":17}}}"#.to_vec()),
        (5, br#"{"spec":{"bgp":{"ipv4Address":"fd00::5/64"}}}"#.to_vec()),
        (6, b"\xff\xfe{\"spec\":{}}".to_vec()),
        (7, large.into_bytes()),
        (8, [b"{\"a\":".repeat(5_000), b"1".to_vec()].concat()),
    ];
    for (n, value) in corrupted {
        writer.put(&node(&format!("node-{n}")), value).await;
    }
    // Host bits in a block's key, and an IPv6 block under the name of IPv4: the one is masked, the other passed over.
    writer
        .put("/calico/ipam/v2/host/node-1/ipv4/block/10.1.0.9-26", "{}")
        .await;
    writer
        .put("/calico/ipam/v2/host/node-1/ipv4/block/fd00::-122", "{}")
        .await;
    writer
        .put(
            "/calico/ipam/v2/host/node-1/ipv4/block/10.1.0.64-26",
            r#"{"state":"strange"}"#,
        )
        .await;
    writer
        .put(
            &format!("{RESOURCES}bgppeers/tor"),
            r#"{"spec":{"peerIP":"10.9.0.1","asNumber":64601}}"#,
        )
        .await;
    let state = until(&mut store, &|state| peers(state).len() == 9).await;
    let mut named = problems(&state);
    named.dedup();
    let nodes = (2..=8).map(|n| format!("Node/node-{n}"));
    let expected: Vec<String> = ["BlockAffinity/10.1.0.64/26".to_owned()]
        .into_iter()
        .chain(nodes)
        .collect();
    assert_eq!(named, expected);
    let desired = state.desired.unwrap();
    assert_eq!(desired.ipv4.blackholes, ["10.1.0.0/26".parse().unwrap()]);
    let shown = format!("{:?}", desired.problems);
    assert!(!shown.contains("xxxx"), "a value is never shown");

    // Mended, they are as before.
    for n in 2..=8 {
        writer.put(&node(&format!("node-{n}")), good(n)).await;
    }
    until(&mut store, &|state| {
        problems(state) == ["BlockAffinity/10.1.0.64/26"] && peers(state).len() == 9
    })
    .await;
}
