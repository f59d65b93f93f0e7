//! IPv6 and IPv4 routes in MP_REACH_NLRI, martians, and UPDATEs that say several things at once.

use std::net::Ipv6Addr;

use crate::bench::{NODE6, Neighbour};
use crate::message::{
    AS_PATH, COMMUNITIES, IPV4, IPV6, MP_REACH, MP_UNREACH, NEXT_HOP, OPTIONAL, ORIGIN, TRANSITIVE,
    WELL_KNOWN, attribute, end_of_rib, mp_reach, mp_unreach, nlri, path, update,
};
use crate::peer::Ending;
use crate::stage::{FIRST_FREE, From, Stage, mark_of};

use From::{External, Internal};

/// A next hop on the link.
const LINKED: Ipv6Addr = Ipv6Addr::new(0xfd97, 0, 0, 0, 0, 0, 0, 2);

#[test]
fn rfc7606_7_11_next_hops_that_are_no_host_withdraw_the_route() {
    let mut stage = Stage::new();
    let unusable = [
        "::",
        "::1",
        "ff02::1",
        "ff0e::5",
        "::ffff:127.0.0.1",
        "::ffff:224.0.0.1",
        "::ffff:0.0.0.0",
        "::ffff:255.255.255.255",
    ];
    let own = NODE6.to_string();
    for (at, text) in unusable.into_iter().chain([own.as_str()]).enumerate() {
        let octets = text.parse::<Ipv6Addr>().unwrap().octets();
        for (form, next_hop) in [(0, octets.to_vec()), (1, [octets, octets].concat())] {
            let prefix = format!("2001:db8:{at}:{form}::/64");
            let what = format!("the next hop {text}");
            stage.external.announce_v6(1, &LINKED.octets(), &[&prefix]);
            stage.everybody("the good route", |peer| mark_of(peer, &prefix) == Some(1));
            stage.external.announce_v6(2, &next_hop, &[&prefix]);
            stage.withdrawn(&prefix, &what);
            stage.settle(External, &what);
        }
    }
    stage.unharmed();
}

#[test]
fn rfc4271_5_1_3_no_address_of_the_host_is_a_next_hop_for_others() {
    let mut stage = Stage::new();
    // Other addresses than those that the sessions and the node's resources name.
    for (net, settled) in [
        ("10.97.0.250/16", "60.41.0.0/24"),
        ("fd97::250/64", "2001:db8:41::/48"),
    ] {
        let next_hop = crate::message::octets(net.split('/').next().unwrap().parse().unwrap());
        let is_ipv6 = next_hop.len() == 16;
        let announce = |stage: &mut Stage, mark: u32, next_hop: &[u8]| {
            let peer = &mut stage.external;
            match is_ipv6 {
                true => peer.announce_v6(mark, next_hop, &[settled]),
                false => {
                    let mut attributes = peer.attributes(mark);
                    attributes.set(WELL_KNOWN, NEXT_HOP, next_hop);
                    peer.send(&update(&[], &attributes.encode(), &nlri(&[settled])));
                }
            }
        };
        announce(&mut stage, 2, &next_hop);
        stage.handed_on(settled, "a next hop on the link");
        stage.bench.node.ip(&["addr", "add", net, "dev", "eth0"]);
        stage.withdrawn(settled, "the next hop has become ours");
        announce(&mut stage, 1, &next_hop);
        stage.settle(External, "a next hop that is ours");
        stage.withdrawn(settled, "a next hop that is ours");
        stage.bench.node.ip(&["addr", "del", net, "dev", "eth0"]);
        stage.everybody("the route once the address is gone", |peer| {
            mark_of(peer, settled) == Some(1)
        });
    }
    stage.unharmed();
}

#[test]
fn rfc2545_3_a_link_local_address_beside_the_global_one_stays_on_its_link() {
    let mut stage = Stage::new();
    let link_local: Ipv6Addr = "fe80::97".parse().unwrap();
    let both = [LINKED.octets(), link_local.octets()].concat();
    stage.external.announce_v6(2, &both, &["2001:db8:1::/48"]);
    let [outer, inner] = stage.handed_on("2001:db8:1::/48", "two next hops");
    assert_eq!(outer.next_hop[..16], NODE6.octets());
    assert!(
        inner.next_hop.starts_with(&LINKED.octets()),
        "{:02x?}",
        inner.next_hop
    );
    stage.unharmed();
}

#[test]
fn rfc7606_malformed_attributes_cost_multiprotocol_routes_as_well() {
    let mut stage = Stage::new();
    let good = mp_reach(IPV6, &LINKED.octets(), &nlri(&["2001:db8:2::/48"]));
    let spoilt: [(&str, &[u8], u8, u8); 4] = [
        ("ORIGIN 9", &[9], WELL_KNOWN, ORIGIN),
        ("an AS_PATH of one octet", &[2], WELL_KNOWN, AS_PATH),
        ("COMMUNITIES of three octets", &[1; 3], TRANSITIVE, COMMUNITIES),
        (
            "MP_REACH that claims to be transitive",
            &good,
            TRANSITIVE,
            MP_REACH,
        ),
    ];
    for (what, value, flags, code) in spoilt {
        stage
            .external
            .announce_v6(1, &LINKED.octets(), &["2001:db8:2::/48"]);
        stage.everybody(&format!("the good route before {what}"), |peer| {
            peer.has("2001:db8:2::/48")
        });
        let mut attributes = stage.external.attributes(2);
        attributes
            .remove(NEXT_HOP)
            .set(OPTIONAL, MP_REACH, &good)
            .set(flags, code, value);
        stage.external.send(&update(&[], &attributes.encode(), &[]));
        stage.withdrawn("2001:db8:2::/48", what);
    }
    for missing in [ORIGIN, AS_PATH] {
        stage
            .external
            .announce_v6(1, &LINKED.octets(), &["2001:db8:2::/48"]);
        stage.everybody("the good route before", |peer| peer.has("2001:db8:2::/48"));
        let mut attributes = stage.external.attributes(2);
        attributes
            .remove(NEXT_HOP)
            .remove(missing)
            .set(OPTIONAL, MP_REACH, &good);
        stage.external.send(&update(&[], &attributes.encode(), &[]));
        stage.withdrawn("2001:db8:2::/48", &format!("attribute {missing} missing"));
    }
    stage.unharmed();
}

#[test]
fn rfc4760_6_families_that_are_not_in_use_are_passed_over() {
    let mut stage = Stage::new();
    for (family, prefixes) in [
        ((25, 70), &[3, 1, 2, 3][..]),
        ((1, 128), &[200; 30]),
        ((2, 133), &[0]),
        ((0, 0), &[]),
    ] {
        let mut attributes = stage.external.attributes(2);
        attributes.remove(NEXT_HOP);
        for len in [0, 4, 12, 24] {
            attributes.set(OPTIONAL, MP_REACH, &mp_reach(family, &vec![0; len], prefixes));
            stage.external.send(&update(&[], &attributes.encode(), &[]));
        }
        let gone = attribute(OPTIONAL, MP_UNREACH, &mp_unreach(family, prefixes));
        stage.external.send(&update(&[], &gone, &[]));
        stage.settle(External, &format!("routes of family {family:?}"));
    }
    stage.unharmed();
}

#[test]
fn rfc4760_3_ipv4_routes_may_come_in_mp_reach_and_go_in_mp_unreach() {
    let mut stage = Stage::new();
    let sender = stage.external.address;
    let prefix = "60.40.0.0/24";
    let mut attributes = stage.external.attributes(2);
    let reach = mp_reach(IPV4, &crate::message::octets(sender), &nlri(&[prefix]));
    attributes.remove(NEXT_HOP).set(OPTIONAL, MP_REACH, &reach);
    stage.external.send(&update(&[], &attributes.encode(), &[]));
    stage.handed_on(prefix, "IPv4 in MP_REACH");
    let gone = attribute(OPTIONAL, MP_UNREACH, &mp_unreach(IPV4, &nlri(&[prefix])));
    stage.external.send(&update(&[], &gone, &[]));
    stage.withdrawn(prefix, "IPv4 in MP_UNREACH");
    stage.unharmed();
}

#[test]
fn rfc4760_6_ipv4_routes_where_only_ipv6_is_in_use_are_passed_over() {
    let over_ipv6 = Neighbour::external().over_ipv6();
    let mut stage = Stage::with(vec![over_ipv6.clone(), over_ipv6]);
    let mut six = stage.bench.up(FIRST_FREE);
    let mut attributes = six.attributes(2);
    attributes.set(WELL_KNOWN, NEXT_HOP, &[10, 97, 2, 2]);
    six.send(&update(
        &nlri(&["61.0.0.0/16"]),
        &attributes.encode(),
        &nlri(&["60.46.0.0/24"]),
    ));
    six.send(&end_of_rib());
    six.announce_v6(2, &LINKED.octets(), &["2001:db8:46::/48"]);
    stage.everybody("the IPv6 route", |peer| peer.has("2001:db8:46::/48"));
    assert!(!stage.outer.has("60.46.0.0/24") && !stage.inner.has("60.46.0.0/24"));
    // RFC 4271 §6.3 holds all the same: what does not parse cannot be passed over.
    let mut cut = stage.bench.up(FIRST_FREE + 1);
    let attributes = cut.attributes(2).encode();
    cut.send(&update(&[], &attributes, &[33, 1, 2, 3, 4, 5]));
    assert_eq!(cut.ends("a /33"), Ending::Notified(3, 10, vec![]));
    stage.unharmed();
}

#[test]
fn rfc2545_routes_of_both_families_go_over_a_session_on_ipv6() {
    let over_ipv6 = || Neighbour::external().over_ipv6().both_families();
    let mut stage = Stage::with(vec![over_ipv6(), over_ipv6()]);
    let mut sender = stage.bench.up(FIRST_FREE);
    let mut watcher = stage.bench.up(FIRST_FREE + 1);
    let own = crate::message::octets(sender.address);
    let link_local: Ipv6Addr = "fe80::97:20".parse().unwrap();
    sender.announce_v6(2, &own, &["2001:db8:50::/48"]);
    sender.announce_v6(
        2,
        &[&own[..], &link_local.octets()].concat(),
        &["2001:db8:51::/48"],
    );
    let mut attributes = sender.attributes(2);
    attributes.set(WELL_KNOWN, NEXT_HOP, &[10, 97, 2, 2]);
    sender.send(&update(&[], &attributes.encode(), &nlri(&["60.50.0.0/24"])));
    let all = ["2001:db8:50::/48", "2001:db8:51::/48", "60.50.0.0/24"];
    stage.everybody("all of them", |peer| {
        all.iter().all(|prefix| mark_of(peer, prefix) == Some(2))
    });
    watcher.wait("all of them, on IPv6", |peer| {
        all.iter().all(|prefix| mark_of(peer, prefix) == Some(2))
    });
    assert_eq!(watcher.route(all[0]).unwrap().next_hop[..16], NODE6.octets());
    assert_eq!(
        watcher.route(all[2]).unwrap().next_hop,
        crate::bench::NODE.octets()
    );
    sender.withdraw(&all[2..]);
    drop(sender);
    stage.everybody("none of them", |peer| !all.iter().any(|prefix| peer.has(prefix)));
    stage.unharmed();
}

#[test]
fn one_update_may_say_several_things() {
    let mut stage = Stage::new();
    let [old, new, both] = ["60.41.0.0/24", "60.41.1.0/24", "60.41.2.0/24"];
    let [old6, new6] = ["2001:db8:41::/48", "2001:db8:42::/48"];
    stage.external.announce(1, &[old, both]);
    stage.external.announce_v6(1, &LINKED.octets(), &[old6]);
    stage.everybody("the old routes", |peer| {
        [old, both, old6].iter().all(|prefix| peer.has(prefix))
    });
    let mut attributes = stage.external.attributes(2);
    attributes.add(OPTIONAL, MP_UNREACH, &mp_unreach(IPV6, &nlri(&[old6])));
    attributes.add(
        OPTIONAL,
        MP_REACH,
        &mp_reach(IPV6, &LINKED.octets(), &nlri(&[new6])),
    );
    // RFC 4271 §4.3: a prefix in both fields counts as announced.
    let bytes = update(&nlri(&[old, both]), &attributes.encode(), &nlri(&[new, both]));
    stage.external.send(&bytes);
    stage.everybody("the new routes", |peer| {
        [new, both, new6]
            .iter()
            .all(|prefix| mark_of(peer, prefix) == Some(2))
            && !peer.has(old)
            && !peer.has(old6)
    });
    // RFC 7606 §5.1: what is withdrawn there is withdrawn although the attributes are malformed.
    let mut attributes = stage.external.attributes(2);
    attributes.set(WELL_KNOWN, ORIGIN, &[7]);
    attributes.add(OPTIONAL, MP_UNREACH, &mp_unreach(IPV6, &nlri(&[new6])));
    let bytes = update(&nlri(&[both]), &attributes.encode(), &nlri(&[new]));
    stage.external.send(&bytes);
    stage.everybody("no routes", |peer| {
        ![new, both, new6].iter().any(|prefix| peer.has(prefix))
    });
    stage.unharmed();
}

#[test]
fn an_update_that_announces_nothing_changes_nothing() {
    let mut stage = Stage::new();
    let good = stage.external.attributes(2).encode();
    for bytes in [
        update(&[], &good, &[]),
        end_of_rib(),
        end_of_rib(),
        update(&[], &attribute(OPTIONAL, MP_UNREACH, &mp_unreach(IPV6, &[])), &[]),
        update(&nlri(&["60.42.0.0/24"]), &[], &[]),
        update(&nlri(&["60.42.0.0/24"]).repeat(50), &[], &[]),
        update(&[], &attribute(TRANSITIVE, 99, &[1]), &[]),
    ] {
        stage.external.send(&bytes);
        stage.settle(External, "an UPDATE that announces nothing");
    }
    stage.unharmed();
}

#[test]
fn rfc6890_martian_prefixes_are_neither_installed_nor_handed_on() {
    let mut stage = Stage::new();
    let martians = [
        "127.0.0.0/8",
        "127.1.2.3/32",
        "0.0.0.0/8",
        "0.4.0.0/16",
        "224.0.0.0/4",
        "239.1.1.0/24",
    ];
    let martians: Vec<&str> = martians.into_iter().chain(["255.255.255.255/32"]).collect();
    for from in [External, Internal] {
        stage.sender(from).announce(2, &martians);
    }
    stage.external.announce_v6(
        2,
        &LINKED.octets(),
        &["::1/128", "fe80::/64", "ff05::/16", "::ffff:0.0.0.0/96"],
    );
    for from in [External, Internal] {
        stage.settle(from, "martians");
    }
    for watcher in [&stage.outer, &stage.inner] {
        assert_eq!(martians.iter().find(|prefix| watcher.has(prefix)), None);
        let is_martian = |prefix: &str| {
            ["::1/", "fe80", "ff05", "::ffff:"]
                .iter()
                .any(|head| prefix.starts_with(head))
        };
        assert!(!watcher.routes.keys().any(|(net, _)| is_martian(&net.to_string())));
    }
    let ours = stage.bench.node.ip(&["route", "show", "proto", "bird"]);
    assert!(
        ours.contains("61.0.0.0/16") && !ours.contains("239.1.1.0"),
        "{ours}"
    );
    // What covers them is another matter.
    stage.external.announce(2, &["0.0.0.0/0", "128.0.0.0/1"]);
    stage.handed_on("0.0.0.0/0", "a default route");
    stage.handed_on("128.0.0.0/1", "half of it");
    stage.unharmed();
}

#[test]
fn long_paths_arrive_whole_and_are_counted_right() {
    let mut stage = Stage::new();
    let asn = stage.external.asn;
    for (at, count) in [254usize, 255, 256, 257, 500, 510, 511, 980]
        .into_iter()
        .enumerate()
    {
        let prefix = format!("60.43.{at}.0/24");
        let asns: Vec<u32> = [asn]
            .into_iter()
            .chain((0..count as u32 - 2).map(|n| 100_000 + n))
            .chain([2])
            .collect();
        assert_eq!(asns.len(), count);
        let mut attributes = stage.external.attributes(2);
        attributes.set(WELL_KNOWN, AS_PATH, &path(&asns));
        stage.send(External, &attributes, &prefix);
        let [outer, inner] = stage.handed_on(&prefix, "a long path");
        assert_eq!(inner.asns(), asns);
        assert_eq!(outer.asns()[1..], asns);
        assert_eq!(outer.asns()[0], crate::bench::OURS);
    }
    // With our own AS before it this path no longer fits into a message to the outside. Nobody must be sent half of
    // it, and nobody be told of a route that he had before.
    let prefix = "60.44.0.0/24";
    stage.begin(External, prefix, "the longest path");
    let room = 4_096 - 19 - 4 - 4 - 4 - 7 - 4;
    let asns: Vec<u32> = [asn].into_iter().cycle().take(room / 4 - 3).collect();
    let mut attributes = stage.external.attributes(2);
    attributes.set(WELL_KNOWN, AS_PATH, &path(&asns));
    attributes.add(TRANSITIVE, 99, &[]);
    let bytes = update(&[], &attributes.encode(), &nlri(&[prefix]));
    assert!(bytes.len() > 4_090 && bytes.len() <= 4_096, "{}", bytes.len());
    stage.external.send(&bytes);
    stage.outer.wait("the route gone", |peer| !peer.has(prefix));
    stage.settle(External, "the longest path");
    assert!(stage.outer.longest <= 4_096 && stage.inner.longest <= 4_096);
    stage.unharmed();
}

#[test]
fn rfc1997_well_known_communities_bound_where_a_route_goes() {
    let mut stage = Stage::new();
    // NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED, and one that means nothing to us.
    let cases: [(u32, bool, bool); 4] = [
        (0xffff_ff01, false, true),
        (0xffff_ff02, false, false),
        (0xffff_ff03, false, true),
        (0xffff_ff05, true, true),
    ];
    for from in [External, Internal] {
        for (at, (community, goes_out, goes_in)) in cases.into_iter().enumerate() {
            let prefix = format!("60.45.{at}.0/24");
            stage.begin(from, &prefix, "a community");
            let mut attributes = stage.sender(from).attributes(2);
            // Not the first of the list.
            let list = [0xfde8_0001u32.to_be_bytes(), community.to_be_bytes()].concat();
            attributes.add(TRANSITIVE, COMMUNITIES, &list);
            stage.send(from, &attributes, &prefix);
            let mark = |goes: bool| goes.then_some(2);
            let what = format!("community {community:x}");
            stage
                .outer
                .wait(&what, |peer| mark_of(peer, &prefix) == mark(goes_out));
            stage
                .inner
                .wait(&what, |peer| mark_of(peer, &prefix) == mark(goes_in));
            stage.sender(from).withdraw(&[&prefix]);
            stage.withdrawn(&prefix, &what);
        }
    }
    stage.unharmed();
}
