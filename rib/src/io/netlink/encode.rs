//! Route changes to netlink messages, many to a datagram, without a heap allocation for each.
//!
//! ```text
//! struct nlmsghdr  len 4 │ type 2 │ flags 2 │ sequence 4 │ port 4
//! struct rtmsg     family 1 │ dst_len 1 │ src_len 1 │ tos 1 │ table 1 │ protocol 1 │ scope 1 │ type 1 │ flags 4
//! attributes       len 2 │ type 2 │ value, padded to 4   (RTA_DST, RTA_PRIORITY, RTA_GATEWAY, RTA_OIF …)
//! ```

use std::net::IpAddr;

use ipnet::IpNet;

use crate::fib::{FibOp, FibOpKind, KernelAction, KernelHop, ObjectContent, ObjectOp};

/// RTNH_F_ONLINK.
const ONLINK: u8 = 4;
/// RTA_VIA: a gateway of another family.
const RTA_VIA: u16 = 18;
/// RTA_NH_ID: a nexthop object.
const RTA_NH_ID: u16 = 30;
/// RTM_NEWNEXTHOP, RTM_DELNEXTHOP and their attributes (linux/nexthop.h).
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
/// RT_SCOPE_UNIVERSE, and RT_SCOPE_NOWHERE: to a deletion any scope is right.
const UNIVERSE: u8 = 0;
const NOWHERE: u8 = 255;
/// RTN_UNSPEC: to a deletion any type is right.
const ANY_TYPE: u8 = 0;
/// What the kernel has IPv6 routes without a way out lead through, in each network namespace.
const LOOPBACK: u32 = 1;
/// RT_TABLE_UNSPEC: the number stands in an attribute.
const TABLE_UNSPEC: u8 = 0;

/// A datagram under construction.
pub(super) struct Encoder {
    table: u32,
    bytes: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(table: u32) -> Self {
        Encoder {
            table,
            bytes: Vec::new(),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Adds one change of a route.
    pub(super) fn append(&mut self, sequence: u32, wants_ack: bool, op: &FibOp) {
        let kinds = [libc::RTM_NEWROUTE, libc::RTM_DELROUTE];
        let start = self.begin_message(kinds, op.kind, sequence, wants_ack);
        self.route(op);
        self.end_message(start);
    }

    /// Adds one change of a nexthop object.
    pub(super) fn append_object(&mut self, sequence: u32, wants_ack: bool, op: &ObjectOp) {
        let start = self.begin_message([RTM_NEWNEXTHOP, RTM_DELNEXTHOP], op.kind, sequence, wants_ack);
        self.object(op);
        self.end_message(start);
    }

    fn begin_message(&mut self, kinds: [u16; 2], op: FibOpKind, sequence: u32, wants_ack: bool) -> usize {
        let [new, delete] = kinds;
        let (kind, flags) = match op {
            FibOpKind::Create => (new, libc::NLM_F_CREATE | libc::NLM_F_EXCL),
            FibOpKind::Replace => (new, libc::NLM_F_CREATE | libc::NLM_F_REPLACE),
            FibOpKind::Delete => (delete, 0),
        };
        let ack = if wants_ack { libc::NLM_F_ACK } else { 0 };
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.half(kind);
        self.half((libc::NLM_F_REQUEST | flags | ack) as u16);
        self.word(sequence);
        self.word(0);
        start
    }

    fn end_message(&mut self, start: usize) {
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    /// struct nhmsg: family 1, scope 1, protocol 1, reserved 1, flags 4. A deletion names nothing but the number.
    fn object(&mut self, op: &ObjectOp) {
        let hop = match &op.content {
            ObjectContent::Hop(hop) if op.kind != FibOpKind::Delete => Some(hop),
            _ => None,
        };
        let gateway = hop.and_then(|hop| hop.gateway);
        let family = match (hop, gateway) {
            (None, _) => libc::AF_UNSPEC,
            (Some(_), Some(IpAddr::V6(_))) => libc::AF_INET6,
            (Some(_), _) => libc::AF_INET,
        };
        let is_delete = op.kind == FibOpKind::Delete;
        let protocol = if is_delete { 0 } else { op.protocol };
        let is_onlink = hop.is_some_and(|hop| hop.is_onlink);
        self.bytes.extend([family as u8, 0, protocol, 0]);
        self.word(if is_onlink { u32::from(ONLINK) } else { 0 });
        self.number(NHA_ID, op.id);
        if let Some(hop) = hop {
            self.number(NHA_OIF, hop.device);
        }
        if let Some(gateway) = gateway {
            self.address(NHA_GATEWAY, gateway);
        }
        if let ObjectContent::Group(members) = &op.content
            && !is_delete
        {
            // struct nexthop_grp: number 4, weight from zero 1, reserved 3.
            let start = self.begin(NHA_GROUP);
            for (id, weight) in members {
                self.word(*id);
                self.bytes.extend([weight.saturating_sub(1), 0, 0, 0]);
            }
            self.end(start);
        }
    }

    fn route(&mut self, op: &FibOp) {
        let (family, kind) = (family(op.prefix), kind(op));
        let table = u8::try_from(self.table).unwrap_or(TABLE_UNSPEC);
        let scope = match op.kind {
            FibOpKind::Create | FibOpKind::Replace => UNIVERSE,
            FibOpKind::Delete => NOWHERE,
        };
        let header = [op.prefix.prefix_len(), 0, 0, table, op.protocol, scope, kind];
        let hops = match &op.route.action {
            KernelAction::Unicast(hops) if names_next_hops(op) => hops.as_slice(),
            _ => &[],
        };
        let flags = match hops {
            [hop] if hop.is_onlink => ONLINK,
            _ => 0,
        };
        self.bytes.push(family);
        self.bytes.extend(header);
        self.word(u32::from(flags));
        self.address(libc::RTA_DST, op.prefix.addr());
        if table == TABLE_UNSPEC {
            self.number(libc::RTA_TABLE, self.table);
        }
        if op.route.metric != 0 {
            self.number(libc::RTA_PRIORITY, op.route.metric);
        }
        if let Some(source) = op.route.source.filter(|_| names_next_hops(op)) {
            self.address(libc::RTA_PREFSRC, source);
        }
        if let Some(object) = op.route.object.filter(|_| names_next_hops(op)) {
            if op.kind != FibOpKind::Delete && matches!(op.prefix, IpNet::V4(_)) {
                // None at all. Without a word of them the kernel takes those of any other route through the object.
                let metrics = self.begin(libc::RTA_METRICS);
                self.end(metrics);
            }
            return self.number(RTA_NH_ID, object);
        }
        match hops {
            [] if is_reject(op) => self.number(libc::RTA_OIF, LOOPBACK),
            [] => {}
            [hop] => {
                self.gateway(op.prefix, hop);
                self.number(libc::RTA_OIF, hop.device);
            }
            hops => self.multipath(op.prefix, hops),
        }
    }

    fn multipath(&mut self, prefix: IpNet, hops: &[KernelHop]) {
        let start = self.begin(libc::RTA_MULTIPATH);
        for hop in hops {
            let at = self.bytes.len();
            // struct rtnexthop: len 2, flags 1, hops 1 (the weight from zero), ifindex 4
            let flags = if hop.is_onlink { ONLINK } else { 0 };
            self.bytes.extend([0, 0, flags, hop.weight.saturating_sub(1)]);
            self.word(hop.device);
            self.gateway(prefix, hop);
            self.end(at);
        }
        self.end(start);
    }

    /// RTA_VIA where the gateway is of the other family (RFC 8950), RTA_GATEWAY otherwise.
    fn gateway(&mut self, prefix: IpNet, hop: &KernelHop) {
        match (prefix, hop.gateway) {
            (_, None) => {}
            (IpNet::V4(_), Some(IpAddr::V6(via))) => {
                let start = self.begin(RTA_VIA);
                self.half(libc::AF_INET6 as u16);
                self.bytes.extend(via.octets());
                self.end(start);
            }
            (_, Some(gateway)) => self.address(libc::RTA_GATEWAY, gateway),
        }
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.half(8);
        self.half(kind);
        self.word(value);
    }

    fn address(&mut self, kind: u16, address: IpAddr) {
        let start = self.begin(kind);
        match address {
            IpAddr::V4(address) => self.bytes.extend(address.octets()),
            IpAddr::V6(address) => self.bytes.extend(address.octets()),
        }
        self.end(start);
    }

    fn begin(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.half(0);
        self.half(kind);
        start
    }

    /// Writes the length of what began at `start`, and pads.
    fn end(&mut self, start: usize) {
        let len = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn half(&mut self, value: u16) {
        self.bytes.extend(value.to_ne_bytes());
    }

    fn word(&mut self, value: u32) {
        self.bytes.extend(value.to_ne_bytes());
    }
}

/// A delete names prefix, metric and protocol, for IPv4 also the type: mostly that is one route. Next hops are named
/// where it is not: where the metric is zero, which IPv4 takes for "any"; where the type is not what the dump shows;
/// and for IPv6, where another program's gateways may have been joined to the route, which would go with it.
fn names_next_hops(op: &FibOp) -> bool {
    let is_one = matches!(op.prefix, IpNet::V4(_)) && op.route.metric != 0 && kind(op) != ANY_TYPE;
    op.kind != FibOpKind::Delete || !is_one
}

/// Whether it is an IPv6 deletion of a route that leads nowhere: IPv6 does not look at the type.
fn is_reject(op: &FibOp) -> bool {
    const REJECT: [u8; 4] = [
        libc::RTN_BLACKHOLE,
        libc::RTN_UNREACHABLE,
        libc::RTN_PROHIBIT,
        libc::RTN_THROW,
    ];
    op.kind == FibOpKind::Delete && matches!(op.prefix, IpNet::V6(_)) && REJECT.contains(&kind(op))
}

fn family(prefix: IpNet) -> u8 {
    match prefix {
        IpNet::V4(_) => libc::AF_INET as u8,
        IpNet::V6(_) => libc::AF_INET6 as u8,
    }
}

fn kind(op: &FibOp) -> u8 {
    match &op.route.action {
        // The object is one, and the route is not: the kernel shows the former and compares with the latter.
        KernelAction::Blackhole if op.kind == FibOpKind::Delete && op.route.object.is_some() => ANY_TYPE,
        KernelAction::Blackhole => libc::RTN_BLACKHOLE,
        KernelAction::Unicast(_) => libc::RTN_UNICAST,
        KernelAction::Other(kind) => *kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::KernelRoute;

    /// What `ip route add 10.1.2.0/26 via 192.0.2.1 dev IF proto bird metric 32` sends, in its order of attributes.
    #[test]
    fn an_ipv4_route_has_the_octets_that_iproute2_sends() {
        let mut encoder = Encoder::new(254);
        let hop = KernelHop {
            gateway: Some("192.0.2.1".parse().unwrap()),
            device: 5,
            is_onlink: false,
            weight: 1,
        };
        let op = FibOp {
            prefix: "10.1.2.0/26".parse().unwrap(),
            kind: FibOpKind::Create,
            protocol: 12,
            route: KernelRoute {
                object: None,
                has_more: false,
                source: None,
                action: KernelAction::Unicast([hop].into_iter().collect()),
                metric: 32,
            },
        };
        encoder.append(7, true, &op);
        #[rustfmt::skip]
        let expected: &[&[u8]] = &[
            &60_u32.to_ne_bytes(), &24_u16.to_ne_bytes(), &0x605_u16.to_ne_bytes(), &7_u32.to_ne_bytes(), &[0; 4],
            &[2, 26, 0, 0, 254, 12, 0, 1, 0, 0, 0, 0],
            &8_u16.to_ne_bytes(), &1_u16.to_ne_bytes(), &[10, 1, 2, 0],
            &8_u16.to_ne_bytes(), &6_u16.to_ne_bytes(), &32_u32.to_ne_bytes(),
            &8_u16.to_ne_bytes(), &5_u16.to_ne_bytes(), &[192, 0, 2, 1],
            &8_u16.to_ne_bytes(), &4_u16.to_ne_bytes(), &5_u32.to_ne_bytes(),
        ];
        assert_eq!(encoder.bytes(), expected.concat());
    }

    fn deletion(prefix: &str, action: KernelAction, metric: u32, object: Option<u32>) -> Vec<u8> {
        let mut encoder = Encoder::new(254);
        let op = FibOp {
            prefix: prefix.parse().unwrap(),
            kind: FibOpKind::Delete,
            protocol: 12,
            route: KernelRoute {
                object,
                has_more: false,
                source: None,
                action,
                metric,
            },
        };
        encoder.append(7, false, &op);
        encoder.bytes()[16..].to_vec()
    }

    fn has(message: &[u8], attribute: &[u8]) -> bool {
        message[12..].windows(attribute.len()).any(|at| at == attribute)
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = 4 + value.len() as u16;
        [&len.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
    }

    fn eth0(gateway: &str) -> KernelHop {
        KernelHop {
            gateway: Some(gateway.parse().unwrap()),
            device: 5,
            is_onlink: false,
            weight: 1,
        }
    }

    #[test]
    fn a_deletion_hits_a_route_of_any_scope_and_of_a_blackhole_object() {
        let hop = eth0("192.0.2.1");
        let unicast = KernelAction::Unicast([hop].into_iter().collect());
        let message = deletion("10.1.2.0/26", unicast, 5, None);
        assert_eq!(
            message[4..8],
            [254, 12, 255, 1],
            "table, protocol, any scope, type"
        );
        assert!(!has(&message, &attribute(libc::RTA_OIF, &5_u32.to_ne_bytes())));
        let message = deletion("10.1.2.0/26", KernelAction::Blackhole, 5, Some(6));
        assert_eq!(message[4..8], [254, 12, 255, 0], "the route itself is unicast");
        assert!(has(&message, &attribute(RTA_NH_ID, &6_u32.to_ne_bytes())));
        let message = deletion("10.1.2.0/26", KernelAction::Blackhole, 5, None);
        assert_eq!(message[4..8], [254, 12, 255, 6]);
    }

    #[test]
    fn a_route_through_an_object_says_that_it_has_no_metrics() {
        let mut encoder = Encoder::new(254);
        let op = FibOp {
            prefix: "10.1.2.0/26".parse().unwrap(),
            kind: FibOpKind::Replace,
            protocol: 12,
            route: KernelRoute {
                object: Some(6),
                has_more: false,
                source: None,
                action: KernelAction::Unicast(Default::default()),
                metric: 5,
            },
        };
        encoder.append(7, false, &op);
        let expected = [
            attribute(libc::RTA_METRICS, &[]),
            attribute(RTA_NH_ID, &6_u32.to_ne_bytes()),
        ];
        assert!(encoder.bytes().ends_with(&expected.concat()));
    }

    #[test]
    fn a_deletion_for_ipv6_names_our_gateways_so_that_those_of_others_stay() {
        let gateway = |text: &str| {
            let address: std::net::Ipv6Addr = text.parse().unwrap();
            attribute(libc::RTA_GATEWAY, &address.octets())
        };
        let hops = [eth0("fd31::1"), eth0("fd31::2")];
        for count in [1, 2] {
            let unicast = KernelAction::Unicast(hops[..count].iter().copied().collect());
            let message = deletion("fd65::/122", unicast, 1024, None);
            assert!(has(&message, &gateway("fd31::1")));
            assert_eq!(has(&message, &gateway("fd31::2")), count == 2);
        }
        let message = deletion(
            "fd65::/122",
            KernelAction::Other(libc::RTN_UNREACHABLE),
            1024,
            None,
        );
        assert!(has(&message, &attribute(libc::RTA_OIF, &1_u32.to_ne_bytes())));
    }
}
