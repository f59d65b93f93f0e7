//! Sets of prefixes, asked which member covers a prefix.

use std::collections::HashSet;

use ipnet::IpNet;

/// A set of prefixes. A question costs one look-up for each prefix length that the set holds.
#[derive(Clone, Debug, Default)]
pub struct NetSet {
    nets: HashSet<IpNet, foldhash::fast::RandomState>,
    /// Lengths in use with the number of members, longest first.
    lengths: Vec<(u8, u32)>,
}

impl NetSet {
    /// Adds a prefix, masked; says whether it is new.
    pub fn insert(&mut self, net: IpNet) -> bool {
        let net = net.trunc();
        if !self.nets.insert(net) {
            return false;
        }
        let len = net.prefix_len();
        match self.lengths.binary_search_by(|(have, _)| len.cmp(have)) {
            Ok(at) => self.lengths[at].1 += 1,
            Err(at) => self.lengths.insert(at, (len, 1)),
        }
        true
    }

    /// Removes a prefix; says whether it was there.
    pub fn remove(&mut self, net: IpNet) -> bool {
        let net = net.trunc();
        if !self.nets.remove(&net) {
            return false;
        }
        if let Ok(at) = self
            .lengths
            .binary_search_by(|(have, _)| net.prefix_len().cmp(have))
        {
            self.lengths[at].1 -= 1;
            if self.lengths[at].1 == 0 {
                self.lengths.remove(at);
            }
        }
        true
    }

    /// Whether the prefix itself is a member.
    pub fn contains(&self, net: IpNet) -> bool {
        !self.nets.is_empty() && self.nets.contains(&net)
    }

    /// The longest member that equals or covers the prefix.
    pub fn covering(&self, net: IpNet) -> Option<IpNet> {
        self.lengths
            .iter()
            .filter(|(len, _)| *len <= net.prefix_len())
            .find_map(|&(len, _)| {
                let candidate = truncated(net, len)?;
                self.nets.get(&candidate).copied()
            })
    }

    /// Whether some member equals or covers the prefix.
    pub fn covers(&self, net: IpNet) -> bool {
        self.covering(net).is_some()
    }

    /// The members, in no order.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        self.nets.iter().copied()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.nets.is_empty()
    }
}

impl PartialEq for NetSet {
    fn eq(&self, other: &Self) -> bool {
        self.nets == other.nets
    }
}

impl Eq for NetSet {}

impl FromIterator<IpNet> for NetSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let mut set = NetSet::default();
        for net in nets {
            set.insert(net);
        }
        set
    }
}

fn truncated(net: IpNet, len: u8) -> Option<IpNet> {
    IpNet::new(net.addr(), len).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_covering_member_is_found_and_removal_forgets_it() {
        let mut set: NetSet = ["10.0.0.0/8", "10.1.0.0/16", "fd00::/8", "0.0.0.0/0"]
            .map(net)
            .into_iter()
            .collect();
        assert_eq!(set.covering(net("10.1.2.0/24")), Some(net("10.1.0.0/16")));
        assert_eq!(set.covering(net("10.1.0.0/16")), Some(net("10.1.0.0/16")));
        assert_eq!(set.covering(net("10.0.0.0/7")), Some(net("0.0.0.0/0")));
        assert_eq!(set.covering(net("fd00:1::/64")), Some(net("fd00::/8")));
        assert_eq!(set.covering(net("2001:db8::/32")), None);
        assert!(set.remove(net("10.1.0.0/16")));
        assert!(!set.remove(net("10.1.0.0/16")));
        assert_eq!(set.covering(net("10.1.2.0/24")), Some(net("10.0.0.0/8")));
    }
}
