//! A rack: nodes on one bridge, each with pods behind it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::netns::{Netns, next_number};

/// The addresses of a rack.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The nodes' subnet; node *i* has the address with number 10 + *i* in it. `None`: no IPv4.
    pub ipv4: Option<Ipv4Net>,
    /// The same for IPv6.
    pub ipv6: Option<Ipv6Net>,
    /// Pods of node *i* are in this pool's block number *i*.
    pub pool4: Ipv4Net,
    /// Length of a block.
    pub block4_len: u8,
    /// The same for IPv6.
    pub pool6: Ipv6Net,
    /// Length of an IPv6 block.
    pub block6_len: u8,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            ipv4: Some("172.31.1.0/24".parse().unwrap()),
            ipv6: None,
            pool4: "10.65.0.0/16".parse().unwrap(),
            block4_len: 26,
            pool6: "fd65::/48".parse().unwrap(),
            block6_len: 122,
        }
    }
}

impl Plan {
    /// The IPv4 block with a number: every fourth /26 by default, so that numbers are easy to read.
    pub fn block4(&self, number: usize) -> Ipv4Net {
        let base = u32::from(self.pool4.network()) + ((number as u32) << 8);
        Ipv4Net::new(base.into(), self.block4_len).expect("block length")
    }

    /// The IPv6 block with a number.
    pub fn block6(&self, number: usize) -> Ipv6Net {
        let base = u128::from(self.pool6.network()) + ((number as u128) << 16);
        Ipv6Net::new(base.into(), self.block6_len).expect("block length")
    }

    /// The IPv4 address of a node.
    pub fn node4(&self, number: usize) -> Option<Ipv4Addr> {
        self.ipv4
            .map(|net| Ipv4Addr::from(u32::from(net.network()) + 10 + number as u32))
    }

    /// The IPv6 address of a node.
    pub fn node6(&self, number: usize) -> Option<Ipv6Addr> {
        self.ipv6
            .map(|net| Ipv6Addr::from(u128::from(net.network()) + 0x10 + number as u128))
    }
}

/// One pod: a namespace of its own behind a `cali*` interface.
#[derive(Debug)]
pub struct Pod {
    /// Where it runs.
    pub netns: Netns,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Calico's name, `n1`.
    pub name: String,
    /// From 1.
    pub number: usize,
    /// Where it runs.
    pub netns: Netns,
    /// Its addresses, with the subnet's length.
    pub addresses: Vec<IpNet>,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// Nodes on a bridge.
#[derive(Debug)]
pub struct Rack {
    /// Addresses.
    pub plan: Plan,
    /// The nodes, `n1` first.
    pub nodes: Vec<Node>,
    bridge: Netns,
    topology: u32,
}

impl Rack {
    /// `count` nodes, each with one pod: the second address of its first block.
    pub fn new(plan: Plan, count: usize) -> Rack {
        let topology = next_number();
        let bridge = Netns::new(topology, "br");
        bridge.ip(&["link", "add", "br0", "type", "bridge"]);
        bridge.ip(&["link", "set", "br0", "up"]);
        let mut rack = Rack {
            plan,
            nodes: Vec::new(),
            bridge,
            topology,
        };
        for _ in 0..count {
            rack.add_node();
        }
        rack
    }

    /// One node more.
    pub fn add_node(&mut self) -> &Node {
        let number = self.nodes.len() + 1;
        let name = format!("n{number}");
        let netns = Netns::new(self.topology, &name);
        let port = format!("p{number}");
        netns.ip(&[
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            &port,
            "netns",
            self.bridge.name(),
        ]);
        self.bridge.ip(&["link", "set", &port, "master", "br0", "up"]);
        netns.sysctl("net.ipv6.conf.eth0.accept_dad", "0");
        netns.ip(&["link", "set", "eth0", "up"]);
        netns.sysctl("net.ipv4.ip_forward", "1");
        netns.sysctl("net.ipv6.conf.all.forwarding", "1");
        let mut addresses: Vec<IpNet> = Vec::new();
        if let (Some(net), Some(address)) = (self.plan.ipv4, self.plan.node4(number)) {
            addresses.extend(Ipv4Net::new(address, net.prefix_len()).map(IpNet::V4));
        }
        if let (Some(net), Some(address)) = (self.plan.ipv6, self.plan.node6(number)) {
            addresses.extend(Ipv6Net::new(address, net.prefix_len()).map(IpNet::V6));
        }
        for address in &addresses {
            netns.ip(&["addr", "add", &address.to_string(), "dev", "eth0", "nodad"]);
        }
        let mut node = Node {
            name,
            number,
            netns,
            addresses,
            pods: Vec::new(),
        };
        let mut pod_addresses: Vec<IpAddr> = Vec::new();
        if self.plan.ipv4.is_some() {
            let base = u32::from(self.plan.block4(number).network());
            pod_addresses.push(Ipv4Addr::from(base + 2).into());
        }
        if self.plan.ipv6.is_some() {
            let base = u128::from(self.plan.block6(number).network());
            pod_addresses.push(Ipv6Addr::from(base + 2).into());
        }
        node.add_pod(self.topology, &pod_addresses);
        self.nodes.push(node);
        &self.nodes[number - 1]
    }

    /// A pod on a node, with these addresses.
    pub fn add_pod(&mut self, node: usize, addresses: &[IpAddr]) -> &Pod {
        let topology = self.topology;
        let node = &mut self.nodes[node - 1];
        node.add_pod(topology, addresses);
        &node.pods[node.pods.len() - 1]
    }

    /// The node with a number.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    /// Gives a node another IPv4 address in place of its own.
    pub fn set_address(&mut self, number: usize, address: Ipv4Net) {
        let node = &mut self.nodes[number - 1];
        // The new one is a secondary address until the old one goes, and must not go with it.
        node.netns.sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
        node.netns
            .ip(&["addr", "add", &address.to_string(), "dev", "eth0"]);
        for old in node.addresses.iter_mut().filter(|old| old.addr().is_ipv4()) {
            node.netns.ip(&["addr", "del", &old.to_string(), "dev", "eth0"]);
            *old = address.into();
        }
    }

    /// Cuts a node's link, or mends it.
    pub fn set_link(&self, number: usize, is_up: bool) {
        self.bridge.ip(&[
            "link",
            "set",
            &format!("p{number}"),
            if is_up { "up" } else { "down" },
        ]);
    }
}

impl Node {
    /// As Calico's CNI plugin and Felix do it: a veth pair, a host route of protocol 80, proxy ARP for 169.254.1.1.
    fn add_pod(&mut self, topology: u32, addresses: &[IpAddr]) {
        let number = self.pods.len() + 1;
        let netns = Netns::new(topology, &format!("{}-pod{number}", self.name));
        let host_side = format!("cali{}p{number}", self.name);
        self.netns.ip(&[
            "link",
            "add",
            &host_side,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            netns.name(),
        ]);
        self.netns
            .ip(&["link", "set", &host_side, "address", "ee:ee:ee:ee:ee:ee"]);
        self.netns
            .sysctl(&format!("net.ipv6.conf.{host_side}.accept_dad"), "0");
        self.netns.ip(&["link", "set", &host_side, "up"]);
        self.netns
            .sysctl(&format!("net.ipv4.conf.{host_side}.proxy_arp"), "1");
        self.netns
            .sysctl(&format!("net.ipv6.conf.{host_side}.proxy_ndp"), "1");
        netns.sysctl("net.ipv6.conf.eth0.accept_dad", "0");
        netns.ip(&["link", "set", "eth0", "up"]);
        for address in addresses {
            let (text, gateway) = match address {
                IpAddr::V4(address) => (format!("{address}/32"), "169.254.1.1"),
                IpAddr::V6(address) => (format!("{address}/128"), "fe80::ecee:eeff:feee:eeee"),
            };
            netns.ip(&["addr", "add", &text, "dev", "eth0", "nodad"]);
            if address.is_ipv4() {
                netns.ip(&["route", "replace", gateway, "dev", "eth0", "scope", "link"]);
                netns.ip(&["route", "replace", "default", "via", gateway, "dev", "eth0"]);
                netns.ip(&[
                    "neigh",
                    "replace",
                    gateway,
                    "lladdr",
                    "ee:ee:ee:ee:ee:ee",
                    "dev",
                    "eth0",
                    "nud",
                    "permanent",
                ]);
            } else {
                netns.ip(&["-6", "route", "replace", "default", "via", gateway, "dev", "eth0"]);
                netns.ip(&[
                    "neigh",
                    "replace",
                    gateway,
                    "lladdr",
                    "ee:ee:ee:ee:ee:ee",
                    "dev",
                    "eth0",
                    "nud",
                    "permanent",
                ]);
            }
            self.netns.ip(&[
                "route", "replace", &text, "dev", &host_side, "proto", "80", "scope", "link",
            ]);
        }
        self.pods.push(Pod {
            netns,
            addresses: addresses.to_vec(),
        });
    }

    /// The node's address of a family.
    pub fn address(&self, is_ipv4: bool) -> Option<IpNet> {
        self.addresses
            .iter()
            .copied()
            .find(|address| matches!(address, IpNet::V4(_)) == is_ipv4)
    }
}
