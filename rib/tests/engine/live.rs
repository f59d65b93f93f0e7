//! Settings of the node that change while sessions stay: what peers hold follows.

use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::wire::attr::AttrView;
use pipit_bgp::{ClusterId, Family, FamilyMap, NextHop};
use pipit_rib::fib::{KernelAction, KernelEvent, KernelHop, KernelRoute, Table};
use pipit_rib::policy::{Action, Condition, Glob, NetSet, Rule};
use pipit_rib::{FamilyPolicy, NodeSettings};

use crate::bench::{Bench, CLIENT, EXTERNAL, Kind, Route, accept_all, filter, net, node};

const PREFIX: &str = "10.1.0.0/16";

fn nets(texts: &[String]) -> NetSet {
    texts.iter().map(|text| text.parse::<IpNet>().unwrap()).collect()
}

#[test]
fn rfc4456_8_another_cluster_id_is_announced() {
    let mut bench = Bench::new();
    for id in 1..=2 {
        bench.add(id, CLIENT);
        bench.up(id);
    }
    bench.announce(1, net(PREFIX), Route::tagged(1));
    for own in [[10, 0, 0, 1], [10, 0, 0, 8], [10, 0, 0, 9]].map(|own| ClusterId(own.into())) {
        bench.rib.set_node(NodeSettings {
            cluster_id: Some(own),
            ..node()
        });
        bench.settle();
        let (attrs, _) = &bench.peers[&2].attrs[&net(PREFIX).into()];
        assert_eq!(AttrView::new(attrs).cluster_list().collect::<Vec<_>>(), [own]);
        bench.verify();
    }
    bench.rib.set_node(NodeSettings {
        cluster_id: None,
        ..node()
    });
    bench.settle();
    assert!(bench.tags(2).is_empty(), "no reflector any more");
    bench.verify();
}

const DUAL: Kind = Kind {
    is_dual: true,
    ..EXTERNAL
};

/// A node with IPv6 routes of its own, and a peer that takes both families over IPv4.
fn dual(routes: usize) -> Bench {
    let mut bench = Bench::new();
    set_address6(&mut bench, "fd00::1");
    let mut policy = FamilyPolicy::default();
    policy.export.pools = nets(&["fd65::/16".into()]);
    bench.rib.set_policy(Family::Ipv6Unicast, policy);
    for n in 0..routes {
        bench
            .rib
            .originate(format!("fd65:{n:x}::/64").parse().unwrap(), false);
    }
    bench.add(1, DUAL);
    bench
}

fn set_address6(bench: &mut Bench, address: &str) {
    bench.rib.set_node(NodeSettings {
        addresses: FamilyMap {
            ipv4: None,
            ipv6: Some(address.parse().unwrap()),
        },
        ..node()
    });
    bench.settle();
}

#[test]
fn another_address_of_ours_is_announced_as_next_hop() {
    let mut bench = dual(3);
    bench.up(1);
    for address in ["fd00::1", "fd00::2"] {
        set_address6(&mut bench, address);
        let next_hop = NextHop::from(address.parse::<IpAddr>().unwrap());
        let held: Vec<NextHop> = bench.peers[&1]
            .attrs
            .values()
            .map(|(_, next_hop)| *next_hop)
            .collect();
        assert_eq!(held, [next_hop; 3]);
        bench.verify();
    }
}

#[test]
fn two_families_share_a_session_and_no_frame_is_one_too_many() {
    let mut bench = dual(20_000);
    bench.add(2, EXTERNAL);
    bench.change(2, |settings| settings.remote_as = pipit_bgp::Asn(65_002));
    bench.up(2);
    let route = |n: u32| {
        (
            net(&format!("11.{}.{}.0/24", n / 256, n % 256)),
            Route::tagged(1 + n),
        )
    };
    bench.announce_all(2, (0..2_000).map(route));
    bench.stick(1);
    bench.up(1);
    // Each time it reads a little, and gets stuck again with both feeds under way.
    for _ in 0..40 {
        bench.read_one(1);
    }
    bench.unstick(1);
    assert_eq!(bench.peers[&1].attrs.len(), 22_000);
    bench.verify();
}

#[test]
fn an_import_filter_that_asks_for_the_interface_follows_the_next_hop() {
    let mut bench = Bench::new();
    for id in 1..=3 {
        bench.add(id, CLIENT);
        bench.up(id);
    }
    let only_eth0 = vec![
        Rule {
            conditions: vec![Condition::Interface(Glob::new("eth0"))],
            action: Action::Accept(Vec::new()),
        },
        Rule {
            conditions: Vec::new(),
            action: Action::Reject,
        },
    ];
    let only_eth0 = filter("eth0", only_eth0);
    bench.change(1, |settings| settings.import.ipv4 = vec![only_eth0.clone()]);
    bench.change(3, |settings| settings.import.ipv4 = vec![only_eth0]);
    bench.announce(1, net(PREFIX), Route::tagged(1));
    bench.announce(3, net("10.3.0.0/16"), Route::tagged(3));
    assert_eq!(bench.tags(2).len(), 2);
    let elsewhere = |is_there: bool| {
        let hop = KernelHop {
            gateway: None,
            device: 2,
            is_onlink: false,
            weight: 1,
        };
        let (prefix, protocol) = ("10.0.1.0/24".parse().unwrap(), 2);
        let route = KernelRoute {
            action: KernelAction::Unicast([hop].into_iter().collect()),
            metric: 0,
            source: None,
            object: None,
            has_more: false,
        };
        match is_there {
            true => KernelEvent::Route {
                prefix,
                protocol,
                table: Table::Ours,
                route,
                how: pipit_rib::fib::Arrival::Added,
            },
            false => KernelEvent::RouteGone {
                prefix,
                protocol,
                table: Table::Ours,
                route,
            },
        }
    };
    let eth1 = KernelEvent::Link {
        index: 2,
        name: "eth1".into(),
        is_up: true,
        has_carrier: true,
    };
    bench.rib.handle_kernel(bench.now, vec![eth1, elsewhere(true)]);
    bench.settle();
    assert!(bench.tags(2).is_empty(), "it leaves by eth1 now");
    bench.verify();
    bench.rib.handle_kernel(bench.now, vec![elsewhere(false)]);
    bench.settle();
    assert_eq!(bench.tags(2).len(), 2);
    bench.change(1, |settings| settings.import.ipv4 = vec![accept_all()]);
    bench.verify();
}
