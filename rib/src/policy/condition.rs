//! What a rule may ask of a route.

use ipnet::IpNet;
use pipit_bgp::Asn;

use crate::policy::{Attributes, Community, Glob, PeerType};

/// One condition of a rule (Calico BGPFilter's match fields).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Condition {
    /// `cidr` with `matchOperator`, and `prefixLength` where given.
    Prefix {
        /// The CIDR, masked.
        net: IpNet,
        /// How the route's prefix relates to it.
        operator: PrefixOperator,
        /// Shortest and longest length that the operator speaks of; `None`: any. With the shortest above the longest
        /// nothing matches.
        length: Option<(u8, u8)>,
    },
    /// `source: RemotePeers`: the route was learned over BGP.
    RemotePeers,
    /// `interface`: the route leaves by an interface of this name; a route without one never matches.
    Interface(Glob),
    /// `peerType`: the session the filter stands on is of this type.
    PeerType(PeerType),
    /// `communities`: the route carries it.
    Community(Community),
    /// `asPathPrefix`: the path starts with this sequence; an empty path never matches.
    AsPathPrefix(Vec<Asn>),
    /// `priority`, as the LOCAL_PREF that stands for it.
    LocalPref(u32),
}

/// Calico's `matchOperator`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PrefixOperator {
    /// The same prefix.
    Equal,
    /// What [`Self::Equal`] does not match.
    NotEqual,
    /// The same or a more specific prefix.
    In,
    /// What [`Self::In`] does not match, as BIRD's `net !~ [ cidr{min,max} ]`.
    NotIn,
}

/// A route as conditions see it.
pub(crate) struct Subject<'a> {
    pub(crate) prefix: IpNet,
    pub(crate) attrs: Attributes<'a>,
    pub(crate) local_pref: Option<u32>,
    pub(crate) is_from_peer: bool,
    pub(crate) interface: Option<&'a str>,
    pub(crate) peer_type: PeerType,
}

impl Condition {
    pub(crate) fn holds(&self, subject: &Subject<'_>) -> bool {
        match self {
            Condition::Prefix {
                net,
                operator,
                length,
            } => operator.holds(*net, *length, subject.prefix),
            Condition::RemotePeers => subject.is_from_peer,
            Condition::Interface(glob) => subject.interface.is_some_and(|name| glob.matches(name)),
            Condition::PeerType(peer_type) => subject.peer_type == *peer_type,
            Condition::Community(Community::Standard(value)) => {
                subject.attrs.communities().any(|have| have == *value)
            }
            Condition::Community(Community::Large(value)) => {
                subject.attrs.large_communities().any(|have| have == *value)
            }
            Condition::AsPathPrefix(sequence) => subject.attrs.as_path().starts_with(sequence),
            Condition::LocalPref(value) => subject.local_pref == Some(*value),
        }
    }
}

impl PrefixOperator {
    fn holds(self, net: IpNet, length: Option<(u8, u8)>, prefix: IpNet) -> bool {
        let (min, max) = length.unwrap_or((0, u8::MAX));
        let fits = (min..=max).contains(&prefix.prefix_len());
        min <= max
            && match self {
                PrefixOperator::Equal => fits && net == prefix,
                PrefixOperator::NotEqual => !(fits && net == prefix),
                PrefixOperator::In => fits && net.contains(&prefix),
                PrefixOperator::NotIn => !(fits && net.contains(&prefix)),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(net: &str, operator: PrefixOperator, length: Option<(u8, u8)>, prefix: &str) -> bool {
        let condition = Condition::Prefix {
            net: net.parse().unwrap(),
            operator,
            length,
        };
        condition.holds(&Subject {
            prefix: prefix.parse().unwrap(),
            attrs: Attributes::new(&[]),
            local_pref: None,
            is_from_peer: false,
            interface: None,
            peer_type: PeerType::Ibgp,
        })
    }

    #[test]
    fn c130_prefix_operators_are_prefix_relations() {
        use PrefixOperator::*;
        for (operator, same, inside, outside) in [
            (Equal, true, false, false),
            (NotEqual, false, true, true),
            (In, true, true, false),
            (NotIn, false, false, true),
        ] {
            assert_eq!(
                holds("10.0.0.0/8", operator, None, "10.0.0.0/8"),
                same,
                "{operator:?}"
            );
            assert_eq!(
                holds("10.0.0.0/8", operator, None, "10.1.0.0/16"),
                inside,
                "{operator:?}"
            );
            assert_eq!(
                holds("10.0.0.0/8", operator, None, "11.0.0.0/16"),
                outside,
                "{operator:?}"
            );
        }
    }

    #[test]
    fn c131_prefix_length_bounds_have_their_plain_meaning() {
        use PrefixOperator::*;
        assert!(holds("10.0.0.0/8", In, Some((26, 26)), "10.1.0.0/26"));
        assert!(!holds("10.0.0.0/8", In, Some((26, 26)), "10.1.0.0/25"));
        assert!(holds("10.0.0.0/8", Equal, Some((8, 32)), "10.0.0.0/8"));
        assert!(!holds("10.0.0.0/8", Equal, Some((9, 32)), "10.0.0.0/8"));
        // The negations are those of the whole, as BIRD's.
        for (prefix, is_matched) in [
            ("10.1.0.0/26", false),
            ("10.1.0.0/25", true),
            ("11.1.0.0/26", true),
        ] {
            assert_eq!(
                holds("10.0.0.0/8", NotIn, Some((26, 26)), prefix),
                is_matched,
                "{prefix}"
            );
        }
        assert!(!holds("10.0.0.0/8", NotEqual, Some((8, 32)), "10.0.0.0/8"));
        assert!(holds("10.0.0.0/8", NotEqual, Some((9, 32)), "10.0.0.0/8"));
        for operator in [Equal, NotEqual, In, NotIn] {
            assert!(
                !holds("10.0.0.0/8", operator, Some((28, 24)), "10.0.0.0/26"),
                "{operator:?}"
            );
        }
    }
}
