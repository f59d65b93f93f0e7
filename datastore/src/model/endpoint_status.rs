//! Felix's endpoint-status files: local workloads, and the BGPPeer that selects them.

use std::net::IpAddr;

use pipit_bgp::{Family, FamilyMap};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scalar;

/// A workload that is a BGP peer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// The BGPPeer whose `localWorkloadSelector` Felix found to match.
    pub bgp_peer: String,
    /// First address of each family: IPv4, IPv6.
    pub addresses: (Option<IpAddr>, Option<IpAddr>),
}

impl EndpointStatus {
    /// Reads a file. `None` for an ordinary workload; also for a file that does not parse: it may be half-written.
    pub fn parse(text: &str) -> Option<EndpointStatus> {
        let value: Value = serde_json::from_str(text).ok()?;
        let bgp_peer = value
            .get("bgpPeerName")?
            .as_str()
            .filter(|name| !name.is_empty())?;
        let first = |field: &str, family: Family| {
            let net = value.get(field)?.get(0)?;
            let address = scalar::prefix(net)
                .map(|net| net.addr())
                .or_else(|_| scalar::address(net));
            address.ok().filter(|address| Family::of(*address) == family)
        };
        Some(EndpointStatus {
            bgp_peer: bgp_peer.to_owned(),
            addresses: (
                first("ipv4Nets", Family::Ipv4Unicast),
                first("ipv6Nets", Family::Ipv6Unicast),
            ),
        })
    }

    /// The addresses by family.
    pub fn by_family(&self) -> FamilyMap<Option<IpAddr>> {
        FamilyMap {
            ipv4: self.addresses.0,
            ipv6: self.addresses.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c094_first_addresses_and_unreadable_files() {
        let status = EndpointStatus::parse(
            r#"{"ifaceName":"cali1","ipv4Nets":["192.168.162.134/32","192.168.162.135/32"],"ipv6Nets":[],
                "bgpPeerName":"pods"}"#,
        )
        .unwrap();
        assert_eq!(status.by_family().ipv4, Some("192.168.162.134".parse().unwrap()));
        assert_eq!(status.by_family().ipv6, None);
        for text in [
            r#"{"bgpPeerName":""}"#,
            r#"{"ipv4Nets":["10.0.0.1/32"]}"#,
            r#"{"bgpPeerName":"po"#,
            "",
        ] {
            assert_eq!(EndpointStatus::parse(text), None, "{text}");
        }
    }
}
