//! Parameters of sessions, and what the speaker is told.

use std::collections::BTreeMap;
use std::time::Duration;

use pipit_bgp::session::config::{AddPath, GracefulRestart, HoldReason, Secret};
use pipit_bgp::{Asn, Family, FamilySet, RouterId};
use pipit_datastore::desired::{DesiredState, Environment, Held};
use pipit_datastore::model::{NextHopMode, PeerType, SecretRef};

use crate::support::{default, object, peer, plan_for, plan_n1, problems, session};

fn plan(spec: &str) -> DesiredState {
    plan_n1(&[default("{nodeToNodeMeshEnabled: false}"), peer("p", spec)])
}

const TOR: &str = "Global_10_9_0_1";

/// `n1`'s plan with a ToR that has these fields besides.
fn tor(fields: &str) -> DesiredState {
    plan(&format!("{{peerIP: 10.9.0.1, asNumber: 65001, {fields}}}"))
}

#[test]
fn c071_source_address() {
    assert_eq!(
        session(&tor(""), TOR).source_address,
        Some("172.31.1.11".parse().unwrap())
    );
    assert_eq!(session(&tor("sourceAddress: None"), TOR).source_address, None);
}

#[test]
fn c072_c073_ttl_security_and_times() {
    let found = tor("ttlSecurity: 2, maxRestartTime: 2m0s, keepaliveTime: 10s");
    let found = session(&found, TOR);
    assert_eq!(
        (
            found.ttl_security_hops,
            found.graceful_restart_secs,
            found.keepalive_secs
        ),
        (Some(2), Some(120), Some(10))
    );
    assert_eq!(session(&tor("ttlSecurity: 0"), TOR).ttl_security_hops, None);
}

#[test]
fn c074_local_as_decides_what_is_internal() {
    let found = tor("localASNumber: 65001");
    let found = session(&found, TOR);
    assert_eq!(
        (found.local_asn, found.peer_type),
        (Asn(65001), PeerType::Internal)
    );
    assert_eq!(session(&tor("localASNumber: 0"), TOR).local_asn, Asn(64512));
}

#[test]
fn c075_allowed_local_as() {
    assert_eq!(
        session(&tor("numAllowedLocalASNumbers: 3"), TOR).allowed_local_as,
        3
    );
}

#[test]
fn c076_c077_next_hop() {
    let next_hop = |fields: &str| session(&tor(fields), TOR).next_hop;
    assert_eq!(next_hop(""), NextHopMode::Auto);
    assert_eq!(next_hop("keepOriginalNextHop: true"), NextHopMode::Keep);
    assert_eq!(
        next_hop("keepOriginalNextHop: true, localASNumber: 65001"),
        NextHopMode::Auto,
        "iBGP"
    );
    assert_eq!(
        next_hop("keepOriginalNextHop: true, nextHopMode: Self"),
        NextHopMode::SelfAddress
    );
    assert_eq!(
        next_hop("keepOriginalNextHop: true, nextHopMode: Auto"),
        NextHopMode::Auto
    );
    assert_eq!(
        next_hop("nextHopMode: Keep, localASNumber: 65001"),
        NextHopMode::Keep
    );
}

#[test]
fn c085_passwords_are_bytes_of_the_secret_in_the_namespace() {
    let secret = |namespace: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: {namespace}}}, stringData: {{k: pw}}}}"
        )
    };
    let tor = peer(
        "p",
        "{peerIP: 10.9.0.1, asNumber: 65001, password: {secretKeyRef: {name: s, key: k}}}",
    );
    let in_namespace = |namespace: &str, secret: String| {
        let environment = Environment {
            namespace: Some(namespace.into()),
            ..Environment::default()
        };
        let plan = plan_for("n1", &[secret, tor.clone()], &environment);
        let found = session(&plan, TOR).clone();
        (
            found.authenticated,
            found.password.map(|password| password.expose().to_vec()),
        )
    };
    assert_eq!(
        in_namespace("calico-system", secret("calico-system")),
        (true, Some(b"pw".to_vec()))
    );
    assert_eq!(
        in_namespace("kube-system", secret("calico-system")),
        (false, None)
    );
}

#[test]
fn c086_c088_c089_a_secret_holds_exactly_the_sessions_that_need_it() {
    let objects = [
        peer(
            "a",
            "{peerIP: 10.9.0.1, asNumber: 65001, password: {secretKeyRef: {name: s, key: a}}}",
        ),
        peer(
            "b",
            "{peerIP: 10.9.0.2, asNumber: 65001, password: {secretKeyRef: {name: s, key: b}}}",
        ),
    ];
    let reference = |key: &str| SecretRef {
        name: "s".into(),
        key: key.into(),
    };
    let environment = Environment {
        secrets: BTreeMap::from([
            (reference("a"), Secret::new("a \"quoted\"\nline")),
            (reference("b"), Secret::new("")),
        ]),
        ..Environment::default()
    };
    let plan = plan_for("n1", &objects, &environment);
    assert_eq!(
        session(&plan, TOR).password.as_ref().unwrap().expose(),
        b"a \"quoted\"\nline"
    );
    let held = session(&plan, "Global_10_9_0_2");
    assert_eq!(
        (held.held, held.authenticated),
        (Some(Held::PasswordMissing), false)
    );
    assert_eq!(held.password_ref.as_ref().unwrap().to_string(), "s/b");
    assert_eq!(problems(&plan), ["BGPPeer/b spec.password"]);
    let shown = format!(
        "{plan:?}{}{}",
        pipit_datastore::plan::to_json(&plan).unwrap(),
        pipit_datastore::plan::to_text(&plan)
    );
    assert!(!shown.contains("quoted"));
}

#[test]
fn a_password_that_tcp_md5_cannot_take_holds_its_session_and_is_reported() {
    let tor = peer(
        "p",
        "{peerIP: 10.9.0.1, asNumber: 65001, password: {secretKeyRef: {name: s, key: k}}}",
    );
    let of_len = |len: usize| {
        let (name, key) = ("s".into(), "k".into());
        let secrets = BTreeMap::from([(SecretRef { name, key }, Secret::new(vec![b'x'; len]))]);
        let environment = Environment {
            secrets,
            ..Environment::default()
        };
        let plan = plan_for("n1", std::slice::from_ref(&tor), &environment);
        let message = plan.problems.first().map(|problem| problem.message.clone());
        (session(&plan, TOR).held, message.unwrap_or_default())
    };
    assert_eq!(of_len(80), (None, String::new()));
    let (held, message) = of_len(81);
    assert_eq!(held, Some(Held::PasswordMissing));
    assert!(
        message.starts_with("the value of s/k has 81 octets, a password at most 80"),
        "{message}"
    );
}

#[test]
fn c090_c091_c092_what_the_speaker_is_told_by_default() {
    let router_id: RouterId = "172.31.1.11".parse().unwrap();
    let config = session(&tor(""), TOR).peer_config(router_id);
    assert_eq!(
        (config.hold_time, config.keepalive),
        (Duration::from_secs(240), None)
    );
    assert_eq!(
        (config.connect_retry, config.idle_hold),
        (Duration::from_secs(5), Duration::from_secs(1))
    );
    assert_eq!(
        (config.add_path, config.port, config.held),
        (AddPath::Both, 179, None)
    );
    assert_eq!(
        config.graceful_restart,
        GracefulRestart::Restart {
            restart_time: Duration::from_secs(120),
            long_lived: Duration::ZERO,
        }
    );
    assert_eq!(config.families, FamilySet::only(Family::Ipv4Unicast));
    assert_eq!(
        (config.local_as, config.remote_as, config.router_id),
        (Asn(64512), Asn(65001), router_id)
    );
}

#[test]
fn what_a_held_session_tells_the_speaker() {
    let config = session(&plan("{peerIP: 10.9.0.1}"), TOR).peer_config("1.1.1.1".parse().unwrap());
    assert_eq!(
        (config.held, config.remote_as),
        (Some(HoldReason::AsnMissing), Asn(0))
    );
}

#[test]
fn c140_c141_c142_filters_that_exist_and_have_rules_in_listed_order() {
    let objects = [
        object(
            "BGPFilter",
            "a.name-of-any-length-is-a-name-however-long-it-is-1234567890",
            "{importV4: [{action: Accept}]}",
        ),
        object(
            "BGPFilter",
            "b",
            "{exportV4: [{action: Accept}], importV6: [{action: Accept}]}",
        ),
        peer(
            "p",
            "{peerIP: 10.9.0.1, asNumber: 65001, filters: [missing, b, \
             a.name-of-any-length-is-a-name-however-long-it-is-1234567890]}",
        ),
    ];
    let plan = plan_n1(&objects);
    let found = session(&plan, TOR);
    let long = "a.name-of-any-length-is-a-name-however-long-it-is-1234567890";
    assert_eq!(*found.import_filters, [long.to_owned()]);
    assert_eq!(*found.export_filters, ["b".to_owned()]);
    assert_eq!(found.held, None);
    assert_eq!(problems(&plan), ["BGPPeer/p spec.filters"]);
}

#[test]
fn c199_a_bad_filter_holds_the_sessions_that_name_it_in_its_family() {
    let objects = [
        object(
            "BGPFilter",
            "bad",
            "{importV4: [{cidr: x, matchOperator: In, action: Accept}], importV6: [{action: Accept}]}",
        ),
        peer("v4", "{peerIP: 10.9.0.1, asNumber: 65001, filters: [bad]}"),
        peer("v6", "{peerIP: 'fd09::1', asNumber: 65001, filters: [bad]}"),
        peer("other", "{peerIP: 10.9.0.2, asNumber: 65001}"),
    ];
    let plan = plan_n1(&objects);
    assert_eq!(session(&plan, TOR).held, Some(Held::FilterInvalid));
    assert_eq!(session(&plan, "Global_fd09__1").held, None);
    assert_eq!(session(&plan, "Global_10_9_0_2").held, None);
    assert_eq!(problems(&plan), ["BGPFilter/bad spec.importV4[0].cidr"]);
    assert!(plan.ipv4.filters.is_empty() && plan.ipv6.filters.contains_key("bad"));
}

#[test]
fn the_plan_for_people_says_what_is_not_as_usual() {
    let spec = "{peerIP: 10.9.0.1, asNumber: 65001, localASNumber: 65009, numAllowedLocalASNumbers: 2, \
                maxRestartTime: 2m, keepaliveTime: 10s, ttlSecurity: 3, sourceAddress: None}";
    let text = |spec: &str| pipit_datastore::plan::to_text(&plan_n1(&[peer("tor", spec)]));
    let line = |spec: &str| {
        let text = text(spec);
        let line = text.lines().find(|line| line.contains("Global_10_9_0_1"));
        line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    };
    assert_eq!(
        line(spec),
        "Global_10_9_0_1  10.9.0.1 port 179, AS 65001 (eBGP), global by BGPPeer/tor, as AS 65009, own AS 2 times, \
         TTL security 3, restart 120 s, keepalive 10 s, from any address"
    );
    assert_eq!(
        line("{peerIP: 10.9.0.1, asNumber: 64512}"),
        "Global_10_9_0_1  10.9.0.1 port 179, AS 64512 (iBGP), global by BGPPeer/tor"
    );
}
