//! What `pipit plan --diff` says of a change is what the speaker does with it.

use pipit_bgp::session::{ChangeClass as Speaker, Resumption, Session};
use pipit_datastore::desired::DesiredState;
use pipit_datastore::diff::{Change, ChangeClass, diff};

use crate::support::plan_n1;

fn tor(annotations: &str, fields: &str) -> String {
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {{name: tor, annotations: {{{annotations}}}}}, \
         spec: {{peerIP: 10.9.0.1, {fields}}}}}"
    )
}

fn secret(value: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: kube-system}}, stringData: {{k: {value}}}}}"
    )
}

/// The class of the one session's change, and what the speaker makes of its two configurations.
fn classes(before: &DesiredState, after: &DesiredState) -> (ChangeClass, Speaker) {
    let found = diff(before, after);
    let [change @ Change::SessionChanged { old_name, name, .. }] = &found[..] else {
        panic!("{found:?}");
    };
    let config = |state: &DesiredState, wanted: &str| {
        let session = state.sessions().find(|session| session.name == wanted).unwrap();
        session.peer_config(state.router_id)
    };
    let session = Session::new(config(before, old_name), Resumption::None, 1);
    (change.class(), session.classify(&config(after, name)))
}

#[test]
fn c201_c202_a_change_that_is_called_a_reset_is_one_and_no_other() {
    let plain = "asNumber: 65001";
    let cases = [
        ("", "asNumber: 65002"),
        ("", "asNumber: 65001, localASNumber: 5"),
        ("", "asNumber: 65001, sourceAddress: None"),
        ("", "asNumber: 65001, ttlSecurity: 1"),
        ("", "asNumber: 65001, keepaliveTime: 5s"),
        ("", "asNumber: 65001, maxRestartTime: 5m"),
        ("", "asNumber: 65001, nextHopMode: Self"),
        ("", "asNumber: 65001, nextHopMode: Keep"),
        ("", "asNumber: 65001, numAllowedLocalASNumbers: 3"),
        ("", "asNumber: 65001, password: {secretKeyRef: {name: s, key: k}}"),
        (
            "",
            "asNumber: 65001, password: {secretKeyRef: {name: s, key: none}}",
        ),
        ("pipit.io/passive: 'true'", plain),
        ("pipit.io/hold-time: 9s", plain),
        ("pipit.io/connect-retry: 1s", plain),
        ("pipit.io/idle-hold: 3s", plain),
        ("pipit.io/delay-open: 2s", plain),
        ("pipit.io/send-hold-time: 9m", plain),
        ("pipit.io/max-prefixes: '5'", plain),
        ("pipit.io/families: 'ipv4,ipv6'", plain),
        ("pipit.io/add-path: receive", plain),
        ("pipit.io/extended-next-hop: 'true'", plain),
        ("pipit.io/graceful-restart: helper", plain),
        ("pipit.io/graceful-restart: 'off'", plain),
        ("pipit.io/role: peer", plain),
        ("pipit.io/bfd: tx=100ms", plain),
        ("pipit.io/local-preference-accept: 'true'", plain),
    ];
    let before = plan_n1(&[tor("", plain), secret("a")]);
    for (annotations, fields) in cases {
        let after = plan_n1(&[tor(annotations, fields), secret("a")]);
        for (old, new) in [(&before, &after), (&after, &before)] {
            let (told, done) = classes(old, new);
            let is_reset = told == ChangeClass::SessionReset;
            assert_eq!(
                is_reset,
                done == Speaker::Reset,
                "{annotations} {fields}: {told:?}, {done:?}"
            );
        }
    }
    let with_password = |value: &str| plan_n1(&[tor("", cases[9].1), secret(value)]);
    let (told, done) = classes(&with_password("a"), &with_password("b"));
    assert_eq!((told, done), (ChangeClass::SessionReset, Speaker::Reset));
}
