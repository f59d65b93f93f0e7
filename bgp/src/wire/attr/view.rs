//! Canonical attribute bytes, read in place.

use std::net::Ipv4Addr;

use crate::asn::Asn;
use crate::router_id::{ClusterId, RouterId};
use crate::wire::attr::as_path::{AsPathView, be32};
use crate::wire::attr::code;
use crate::wire::attr::{AttrFacts, Marks, Origin};

/// One attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawAttr<'a> {
    /// Flags octet.
    pub flags: u8,
    /// Type code.
    pub code: u8,
    /// Value.
    pub value: &'a [u8],
}

/// A set of attributes in canonical form: sorted by type code, each at most once, next hop and NLRI left out, AS
/// numbers in four octets, flags as the type demands. Equal sets are equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttrView<'a>(&'a [u8]);

impl<'a> AttrView<'a> {
    /// Takes canonical bytes, as decoding and editing make them.
    pub fn new(canonical: &'a [u8]) -> Self {
        AttrView(canonical)
    }

    /// The attributes in order of their type code.
    pub fn iter(self) -> impl Iterator<Item = RawAttr<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&[flags, code], after) = rest.split_first_chunk()?;
            let (len, after) = if flags & code::EXTENDED_LENGTH != 0 {
                let (&[high, low], after) = after.split_first_chunk()?;
                (usize::from(u16::from_be_bytes([high, low])), after)
            } else {
                let (&[len], after) = after.split_first_chunk()?;
                (usize::from(len), after)
            };
            let (value, after) = after.split_at_checked(len)?;
            rest = after;
            Some(RawAttr { flags, code, value })
        })
    }

    /// The value of one attribute.
    pub fn get(self, code: u8) -> Option<&'a [u8]> {
        self.iter().find(|attr| attr.code == code).map(|attr| attr.value)
    }

    /// ORIGIN; incomplete where it is missing.
    pub fn origin(self) -> Origin {
        match self.get(code::ORIGIN) {
            Some([0]) => Origin::Igp,
            Some([1]) => Origin::Egp,
            _ => Origin::Incomplete,
        }
    }

    /// AS_PATH; empty where it is missing.
    pub fn as_path(self) -> AsPathView<'a> {
        AsPathView::new(self.get(code::AS_PATH).unwrap_or_default())
    }

    /// MULTI_EXIT_DISC.
    pub fn med(self) -> Option<u32> {
        self.get(code::MULTI_EXIT_DISC).map(be32)
    }

    /// LOCAL_PREF.
    pub fn local_pref(self) -> Option<u32> {
        self.get(code::LOCAL_PREF).map(be32)
    }

    /// ATOMIC_AGGREGATE.
    pub fn is_atomic_aggregate(self) -> bool {
        self.get(code::ATOMIC_AGGREGATE).is_some()
    }

    /// AGGREGATOR: who aggregated, and that speaker's address.
    pub fn aggregator(self) -> Option<(Asn, Ipv4Addr)> {
        let value = self.get(code::AGGREGATOR)?;
        Some((Asn(be32(value)), be32(value.get(4..)?).into()))
    }

    /// The metric of AIGP (RFC 7311 §3), the first where there are several.
    pub fn aigp(self) -> Option<u64> {
        let mut rest = self.get(code::AIGP)?;
        while let [kind, high, low, ..] = rest {
            let (tlv, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
            match (kind, tlv) {
                (1, [_, _, _, metric @ ..]) => return metric.try_into().ok().map(u64::from_be_bytes),
                (_, []) => return None,
                _ => rest = after,
            }
        }
        None
    }

    /// Communities (RFC 1997), as written.
    pub fn communities(self) -> impl Iterator<Item = u32> + 'a {
        self.get(code::COMMUNITIES)
            .unwrap_or_default()
            .chunks_exact(4)
            .map(be32)
    }

    /// Large communities (RFC 8092), as written.
    pub fn large_communities(self) -> impl Iterator<Item = [u32; 3]> + 'a {
        let value = self.get(code::LARGE_COMMUNITIES).unwrap_or_default();
        value
            .chunks_exact(12)
            .map(|octets| [be32(octets), be32(&octets[4..]), be32(&octets[8..])])
    }

    /// Extended communities (RFC 4360), as written.
    pub fn extended_communities(self) -> impl Iterator<Item = &'a [u8]> {
        self.get(code::EXTENDED_COMMUNITIES)
            .unwrap_or_default()
            .chunks_exact(8)
    }

    /// ORIGINATOR_ID (RFC 4456).
    pub fn originator_id(self) -> Option<RouterId> {
        self.get(code::ORIGINATOR_ID)
            .map(|value| RouterId::from(be32(value)))
    }

    /// CLUSTER_LIST (RFC 4456), last reflector first.
    pub fn cluster_list(self) -> impl Iterator<Item = ClusterId> + 'a {
        let value = self.get(code::CLUSTER_LIST).unwrap_or_default();
        value.chunks_exact(4).map(|octets| ClusterId::from(be32(octets)))
    }

    /// Only to Customer (RFC 9234).
    pub fn otc(self) -> Option<Asn> {
        self.get(code::OTC).map(|value| Asn(be32(value)))
    }
}

impl AttrFacts {
    /// Reads the facts from canonical bytes.
    pub fn read(canonical: &[u8]) -> AttrFacts {
        let mut facts = AttrFacts {
            local_pref: None,
            med: None,
            as_path_len: 0,
            neighbor_as: None,
            originator_id: None,
            cluster_list_len: 0,
            origin: Origin::Incomplete,
            marks: Marks::default(),
        };
        for RawAttr { code, value, .. } in AttrView::new(canonical).iter() {
            match code {
                code::ORIGIN => facts.origin = AttrView::new(canonical).origin(),
                code::AS_PATH => {
                    let path = AsPathView::new(value);
                    facts.as_path_len = path.decision_len();
                    facts.neighbor_as = path.neighbor_as();
                }
                code::MULTI_EXIT_DISC => facts.med = Some(be32(value)),
                code::LOCAL_PREF => facts.local_pref = Some(be32(value)),
                code::COMMUNITIES => value.chunks_exact(4).map(be32).for_each(|c| facts.marks.note(c)),
                code::ORIGINATOR_ID => facts.originator_id = Some(RouterId::from(be32(value))),
                code::CLUSTER_LIST => facts.cluster_list_len = (value.len() / 4).min(255) as u8,
                _ => {}
            }
        }
        facts
    }
}

impl Marks {
    /// Adds what a community stands for, if the engine obeys it.
    fn note(&mut self, community: u32) {
        match community {
            0xffff_0000 => self.insert(Marks::GRACEFUL_SHUTDOWN),
            0xffff_0006 => self.insert(Marks::LLGR_STALE),
            0xffff_0007 => self.insert(Marks::NO_LLGR),
            0xffff_029a => self.insert(Marks::BLACKHOLE),
            0xffff_ff01 => self.insert(Marks::NO_EXPORT),
            0xffff_ff02 => self.insert(Marks::NO_ADVERTISE),
            0xffff_ff03 => self.insert(Marks::NO_EXPORT_SUBCONFED),
            _ => {}
        }
    }
}
