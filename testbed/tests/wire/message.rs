//! BGP messages, built without any check, since most of them are wrong on purpose, and read as far as tests look.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pipit_testbed::IpNet;

pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const NOTIFICATION: u8 = 3;
pub(crate) const KEEPALIVE: u8 = 4;
pub(crate) const ROUTE_REFRESH: u8 = 5;
/// Octets of a header.
pub(crate) const HEADER: usize = 19;

pub(crate) const ORIGIN: u8 = 1;
pub(crate) const AS_PATH: u8 = 2;
pub(crate) const NEXT_HOP: u8 = 3;
pub(crate) const MED: u8 = 4;
pub(crate) const LOCAL_PREF: u8 = 5;
pub(crate) const ATOMIC_AGGREGATE: u8 = 6;
pub(crate) const AGGREGATOR: u8 = 7;
pub(crate) const COMMUNITIES: u8 = 8;
pub(crate) const ORIGINATOR_ID: u8 = 9;
pub(crate) const CLUSTER_LIST: u8 = 10;
pub(crate) const MP_REACH: u8 = 14;
pub(crate) const MP_UNREACH: u8 = 15;
pub(crate) const EXTENDED_COMMUNITIES: u8 = 16;
pub(crate) const AS4_PATH: u8 = 17;
pub(crate) const AS4_AGGREGATOR: u8 = 18;
pub(crate) const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
pub(crate) const AIGP: u8 = 26;
pub(crate) const LARGE_COMMUNITIES: u8 = 32;
pub(crate) const OTC: u8 = 35;

pub(crate) const WELL_KNOWN: u8 = 0x40;
pub(crate) const OPTIONAL: u8 = 0x80;
pub(crate) const TRANSITIVE: u8 = 0xc0;
pub(crate) const PARTIAL: u8 = 0x20;
pub(crate) const EXTENDED: u8 = 0x10;

/// IPv4 and IPv6 unicast, as AFI and SAFI.
pub(crate) const IPV4: (u16, u8) = (1, 1);
pub(crate) const IPV6: (u16, u8) = (2, 1);

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (HEADER + body.len()) as u16;
    [&[0xff; 16][..], &len.to_be_bytes(), &[kind], body].concat()
}

/// One path attribute; the length takes two octets where it must, or the flags say so.
pub(crate) fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let len = (value.len() as u16).to_be_bytes();
    match flags & EXTENDED != 0 || value.len() > 255 {
        true => [&[flags | EXTENDED, code], &len[..], value].concat(),
        false => [&[flags, code, len[1]], value].concat(),
    }
}

/// An AS_PATH value of one segment; `kind` 2 is a sequence.
pub(crate) fn segment(kind: u8, asns: &[u32]) -> Vec<u8> {
    let members = asns.iter().flat_map(|asn| asn.to_be_bytes());
    [kind, asns.len() as u8].into_iter().chain(members).collect()
}

/// The same in two octets an AS.
pub(crate) fn narrow_segment(kind: u8, asns: &[u16]) -> Vec<u8> {
    let members = asns.iter().flat_map(|asn| asn.to_be_bytes());
    [kind, asns.len() as u8].into_iter().chain(members).collect()
}

/// An AS_PATH value of as many sequences as it needs.
pub(crate) fn path(asns: &[u32]) -> Vec<u8> {
    asns.chunks(255).flat_map(|part| segment(2, part)).collect()
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Prefixes as NLRI.
pub(crate) fn nlri(prefixes: &[&str]) -> Vec<u8> {
    let one = |prefix: &&str| {
        let net: IpNet = prefix.parse().unwrap();
        let len = usize::from(net.prefix_len());
        let mut out = vec![net.prefix_len()];
        out.extend_from_slice(&octets(net.network())[..len.div_ceil(8)]);
        out
    };
    prefixes.iter().flat_map(one).collect()
}

/// Prefixes with a path identifier (RFC 7911 §3).
pub(crate) fn nlri_with_id(id: u32, prefixes: &[&str]) -> Vec<u8> {
    let one = |prefix: &&str| [&id.to_be_bytes()[..], &nlri(&[prefix])].concat();
    prefixes.iter().flat_map(one).collect()
}

/// The value of MP_REACH_NLRI.
pub(crate) fn mp_reach((afi, safi): (u16, u8), next_hop: &[u8], nlri: &[u8]) -> Vec<u8> {
    let head = [(afi >> 8) as u8, afi as u8, safi, next_hop.len() as u8];
    [&head[..], next_hop, &[0], nlri].concat()
}

/// The value of MP_UNREACH_NLRI.
pub(crate) fn mp_unreach((afi, safi): (u16, u8), nlri: &[u8]) -> Vec<u8> {
    [&[(afi >> 8) as u8, afi as u8, safi][..], nlri].concat()
}

/// An UPDATE of the three fields.
pub(crate) fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let lengths = [withdrawn.len() as u16, attributes.len() as u16].map(u16::to_be_bytes);
    let body = [&lengths[0], withdrawn, &lengths[1], attributes, nlri].concat();
    message(UPDATE, &body)
}

pub(crate) fn end_of_rib() -> Vec<u8> {
    update(&[], &[], &[])
}

/// Attributes to be sent, in order. A case takes those of a good route and spoils them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    list: Vec<(u8, u8, Vec<u8>)>,
    /// Octets behind them.
    tail: Vec<u8>,
}

impl Attributes {
    /// Puts an attribute in the place of the one of its type, or behind the others.
    pub(crate) fn set(&mut self, flags: u8, code: u8, value: &[u8]) -> &mut Self {
        let new = (flags, code, value.to_vec());
        match self.list.iter_mut().find(|(_, other, _)| *other == code) {
            Some(old) => *old = new,
            None => self.list.push(new),
        }
        self
    }

    /// One more, whatever is there.
    pub(crate) fn add(&mut self, flags: u8, code: u8, value: &[u8]) -> &mut Self {
        self.list.push((flags, code, value.to_vec()));
        self
    }

    pub(crate) fn remove(&mut self, code: u8) -> &mut Self {
        self.list.retain(|(_, other, _)| *other != code);
        self
    }

    pub(crate) fn clear(&mut self) -> &mut Self {
        self.list.clear();
        self
    }

    /// Octets behind all attributes.
    pub(crate) fn append(&mut self, octets: &[u8]) -> &mut Self {
        self.tail.extend_from_slice(octets);
        self
    }

    pub(crate) fn reverse(&mut self) -> &mut Self {
        self.list.reverse();
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let attributes = self.list.iter();
        let mut out: Vec<u8> = attributes
            .flat_map(|(flags, code, value)| attribute(*flags, *code, value))
            .collect();
        out.extend_from_slice(&self.tail);
        out
    }
}

/// What somebody has of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    /// Flags (the length's form left out) and value by type, without the multiprotocol ones.
    pub(crate) attributes: BTreeMap<u8, (u8, Vec<u8>)>,
    pub(crate) next_hop: Vec<u8>,
}

impl Route {
    pub(crate) fn value(&self, code: u8) -> Option<&[u8]> {
        self.attributes.get(&code).map(|(_, value)| value.as_slice())
    }

    /// All ASes of the path.
    pub(crate) fn asns(&self) -> Vec<u32> {
        let mut rest = self.value(AS_PATH).unwrap_or_default();
        let mut asns = Vec::new();
        while let [_, count, members @ ..] = rest {
            let (members, after) = members.split_at(usize::from(*count) * 4);
            let (members, _) = members.as_chunks::<4>();
            asns.extend(members.iter().map(|asn| u32::from_be_bytes(*asn)));
            rest = after;
        }
        asns
    }
}

/// A prefix, with its path identifier where there is one.
pub(crate) type Key = (IpNet, Option<u32>);

/// An UPDATE as received.
#[derive(Debug, Default)]
pub(crate) struct Update {
    pub(crate) withdrawn: Vec<Key>,
    pub(crate) announced: Vec<(Key, Route)>,
    pub(crate) end_of_rib: Option<(u16, u8)>,
}

impl Update {
    /// Reads what pipit sent; what does not read is pipit's fault, hence the panics.
    pub(crate) fn decode(body: &[u8], has_ids: bool) -> Update {
        let (withdrawn, rest) = counted(body);
        let (mut attributes, classic) = counted(rest);
        let mut update = Update {
            withdrawn: keys(withdrawn, IPV4, has_ids),
            ..Update::default()
        };
        let mut list = BTreeMap::new();
        let mut reach = None;
        while let [flags, code, ..] = *attributes {
            let (value, after) = match flags & EXTENDED != 0 {
                true => counted(&attributes[2..]),
                false => attributes[3..].split_at(usize::from(attributes[2])),
            };
            attributes = after;
            match code {
                MP_REACH => reach = Some(value),
                MP_UNREACH => {
                    let family = (u16::from_be_bytes([value[0], value[1]]), value[2]);
                    if value.len() == 3 {
                        update.end_of_rib = Some(family);
                    }
                    update.withdrawn.extend(keys(&value[3..], family, has_ids));
                }
                _ => {
                    let old = list.insert(code, (flags & !EXTENDED, value.to_vec()));
                    assert_eq!(old, None, "attribute {code} twice in {body:02x?}");
                }
            }
        }
        if body.len() == 4 {
            update.end_of_rib = Some(IPV4);
        }
        let next_hop = list.remove(&NEXT_HOP).map(|(_, value)| value).unwrap_or_default();
        let mut announce = |prefixes: Vec<Key>, next_hop: &[u8]| {
            let route = Route {
                attributes: list.clone(),
                next_hop: next_hop.to_vec(),
            };
            let routes = prefixes.into_iter().map(|key| (key, route.clone()));
            update.announced.extend(routes);
        };
        announce(keys(classic, IPV4, has_ids), &next_hop);
        if let Some(value) = reach {
            let family = (u16::from_be_bytes([value[0], value[1]]), value[2]);
            let (next_hop, nlri) = value[4..].split_at(usize::from(value[3]));
            announce(keys(&nlri[1..], family, has_ids), next_hop);
        }
        update
    }
}

fn counted(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes[2..].split_at(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}

fn keys(mut field: &[u8], family: (u16, u8), has_ids: bool) -> Vec<Key> {
    let mut keys = Vec::new();
    while !field.is_empty() {
        let mut id = None;
        if has_ids {
            let (first, rest) = field.split_first_chunk::<4>().unwrap();
            (id, field) = (Some(u32::from_be_bytes(*first)), rest);
        }
        let (len, rest) = field.split_first().unwrap();
        let (significant, after) = rest.split_at(usize::from(*len).div_ceil(8));
        let mut address = [0; 16];
        address[..significant.len()].copy_from_slice(significant);
        let address: IpAddr = match family {
            IPV4 => Ipv4Addr::from(*address.first_chunk::<4>().unwrap()).into(),
            IPV6 => Ipv6Addr::from(address).into(),
            _ => panic!("prefixes of family {family:?}"),
        };
        keys.push((IpNet::new(address, *len).unwrap(), id));
        field = after;
    }
    keys
}
