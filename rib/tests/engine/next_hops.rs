//! By which link packets to a next hop leave.

use std::net::Ipv6Addr;

use ipnet::IpNet;
use pipit_bgp::wire::attr::{AttrEdit, Change, originated};
use pipit_rib::fib::{KernelAction, KernelEvent, KernelHop, KernelRoute, Table};

use crate::bench::{Bench, CLIENT, Kind};

const DUAL: Kind = Kind {
    is_dual: true,
    ..CLIENT
};

fn connected(net: &str, device: u32) -> KernelEvent {
    let hop = KernelHop {
        gateway: None,
        device,
        is_onlink: false,
        weight: 1,
    };
    KernelEvent::Route {
        table: Table::Ours,
        prefix: net.parse().unwrap(),
        protocol: 2,
        route: KernelRoute {
            action: KernelAction::Unicast([hop].into_iter().collect()),
            metric: 256,
            source: None,
            object: None,
            has_more: false,
        },
        how: pipit_rib::fib::Arrival::Added,
    }
}

/// The body of an UPDATE that announces 2001:db8::/32 with one next hop of sixteen octets.
fn announcement(next_hop: Ipv6Addr) -> Vec<u8> {
    let edit = AttrEdit {
        local_pref: Change::Set(100),
        ..AttrEdit::default()
    };
    let mut attrs = Vec::new();
    edit.apply(&originated(), &mut attrs);
    let reach = [
        &[0, 2, 1, 16][..],
        &next_hop.octets(),
        &[0, 32, 0x20, 0x01, 0x0d, 0xb8],
    ]
    .concat();
    attrs.extend([0x80, 14, reach.len() as u8]);
    attrs.extend(reach);
    [&[0, 0][..], &(attrs.len() as u16).to_be_bytes(), &attrs].concat()
}

#[test]
fn rfc4007_6_a_link_local_next_hop_alone_is_on_the_link_of_its_peer() {
    let mut bench = Bench::new();
    // The first link with fe80::/64 is not the peer's.
    let eth1 = KernelEvent::Link {
        index: 2,
        name: "eth1".into(),
        is_up: true,
        has_carrier: true,
    };
    let kernel = vec![
        eth1,
        connected("fe80::/64", 1),
        connected("fe80::/64", 2),
        connected("fd00:2::/64", 2),
    ];
    bench.rib.handle_kernel(bench.now, kernel);
    bench.add(1, DUAL);
    bench.change(1, |settings| settings.address = "fd00:2::9".parse().unwrap());
    bench.up(1);
    assert!(bench.receive_any(1, &announcement("fe80::9".parse().unwrap())));
    let prefix: IpNet = "2001:db8::/32".parse().unwrap();
    let views = bench.rib.fib_ref().query();
    let view = views.iter().find(|view| view.prefix == prefix).unwrap();
    let hop = &view.next_hops[0];
    assert_eq!(hop.gateway, Some("fe80::9".parse().unwrap()));
    assert_eq!(hop.device.as_deref(), Some("eth1"));
}
