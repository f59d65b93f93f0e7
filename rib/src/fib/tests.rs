use super::*;

mod audit;
mod beside;
mod covered;
mod fake_kernel;
mod histories;
mod host_routes;
mod learning;
mod next_hops;
mod others;
mod ownership;
mod refusals;
mod tunnels;

/// BIRD's protocol number, as Calico expects it.
const OURS: u8 = 12;
/// Protocol "static".
const STATIC: u8 = 4;
/// Protocol "kernel".
const KERNEL: u8 = 2;
const EEXIST: i32 = 17;
const ENETUNREACH: i32 = 101;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn hop(next_hop: &str) -> Hop {
    Hop {
        next_hop: ip(next_hop),
        link_local: None,
        weight: 1,
        tunnel: Tunnel::None,
    }
}

fn via(hops: &[Hop], metric: u32) -> FibTarget {
    FibTarget {
        action: FibAction::Via(hops.iter().copied().collect()),
        metric,
    }
}

fn blackhole() -> FibTarget {
    FibTarget {
        action: FibAction::Blackhole,
        metric: 0,
    }
}

fn way(gateway: Option<&str>, device: u32) -> KernelHop {
    KernelHop {
        gateway: gateway.map(ip),
        device,
        is_onlink: false,
        weight: 1,
    }
}

fn unicast(ways: &[KernelHop], metric: u32) -> KernelRoute {
    KernelRoute {
        action: KernelAction::Unicast(ways.iter().copied().collect()),
        metric,
        source: None,
        object: None,
        has_more: false,
    }
}

/// The kernel tells of a route.
fn told(how: Arrival, prefix: &str, protocol: u8, route: KernelRoute) -> KernelEvent {
    KernelEvent::Route {
        table: Table::Ours,
        prefix: net(prefix),
        protocol,
        route,
        how,
    }
}

/// Behind all others with its metric, if there are any.
fn route(prefix: &str, protocol: u8, route: KernelRoute) -> KernelEvent {
    told(Arrival::Added, prefix, protocol, route)
}

fn replacement(prefix: &str, protocol: u8, route: KernelRoute) -> KernelEvent {
    told(Arrival::Replacement, prefix, protocol, route)
}

/// As `ip route prepend` writes it.
fn before(prefix: &str, protocol: u8, route: KernelRoute) -> KernelEvent {
    told(Arrival::AddedFirst, prefix, protocol, route)
}

fn gone(prefix: &str, protocol: u8, route: KernelRoute) -> KernelEvent {
    KernelEvent::RouteGone {
        table: Table::Ours,
        prefix: net(prefix),
        protocol,
        route,
    }
}

fn link(index: u32, name: &str, is_up: bool) -> KernelEvent {
    KernelEvent::Link {
        index,
        name: name.to_owned(),
        is_up,
        has_carrier: is_up,
    }
}

fn set(fib: &mut Fib, prefix: &str, target: Option<FibTarget>) {
    match net(prefix) {
        IpNet::V4(prefix) => fib.set(prefix, target),
        IpNet::V6(prefix) => fib.set(prefix, target),
    }
}

/// The interfaces and connected networks of a node: eth0 (2) with 192.0.2.0/24 and fd31:1::/64, eth1 (3) with
/// 198.51.100.0/24.
fn node() -> Vec<KernelEvent> {
    vec![
        link(2, "eth0", true),
        link(3, "eth1", true),
        route("192.0.2.0/24", KERNEL, unicast(&[way(None, 2)], 0)),
        route("fd31:1::/64", KERNEL, unicast(&[way(None, 2)], 256)),
        route("198.51.100.0/24", KERNEL, unicast(&[way(None, 3)], 0)),
    ]
}

/// A FIB after its first dump, which showed the node and these.
fn loaded(found: &[KernelEvent]) -> Fib {
    let mut fib = Fib::new(OURS);
    dump(&mut fib, found);
    let Some(FibEvent::Loaded { .. }) = fib.poll_event() else {
        panic!("the first dump is reported");
    };
    fib
}

fn dump(fib: &mut Fib, found: &[KernelEvent]) {
    let begin = [KernelEvent::DumpBegin];
    let mut found = found.to_vec();
    for event in &mut found {
        if let KernelEvent::Route { how, .. } = event {
            *how = Arrival::Shown;
        }
    }
    let events = begin.into_iter().chain(node()).chain(found);
    fib.handle_kernel(events.chain([KernelEvent::DumpEnd]));
}

/// The next batch in words.
fn batch(fib: &mut Fib) -> Vec<String> {
    fib.poll_batch().unwrap_or_default().iter().map(words).collect()
}

/// All that the FIB writes when the kernel takes everything, in words.
fn written(fib: &mut Fib) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(ops) = fib.poll_batch() {
        all.extend(ops.iter().map(words));
        fib.handle_result(&[]);
    }
    all
}

fn words(op: &FibOp) -> String {
    let how = match &op.route.action {
        KernelAction::Blackhole => "blackhole".to_owned(),
        KernelAction::Other(kind) => format!("kind {kind}"),
        KernelAction::Unicast(hops) => {
            let hops = hops.iter().map(|hop| {
                let gateway = hop
                    .gateway
                    .map_or_else(String::new, |gateway| format!("via {gateway} "));
                let onlink = if hop.is_onlink { " onlink" } else { "" };
                let weight = if hop.weight > 1 {
                    format!(" weight {}", hop.weight)
                } else {
                    String::new()
                };
                format!("{gateway}dev {}{onlink}{weight}", hop.device)
            });
            hops.collect::<Vec<_>>().join(", ")
        }
    };
    format!("{:?} {} {how} metric {}", op.kind, op.prefix, op.route.metric)
}

/// State and reason of one prefix.
fn state(fib: &Fib, prefix: &str) -> Option<(&'static str, Option<String>)> {
    let views = fib.query();
    let view = views.into_iter().find(|view| view.prefix == net(prefix))?;
    Some((view.state, view.reason))
}
