//! Changes of an attribute set: canonical bytes in, canonical bytes out.

use smallvec::SmallVec;

use crate::asn::Asn;
use crate::router_id::{ClusterId, RouterId};
use crate::wire::attr::as_path::{self, be32};
use crate::wire::attr::code::{self, OPTIONAL, TRANSITIVE, put};
use crate::wire::attr::view::{AttrView, RawAttr};

/// What becomes of a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Change<T> {
    /// It stays as it is, or stays away.
    #[default]
    Keep,
    /// It is this from now on.
    Set(T),
    /// It goes.
    Remove,
}

/// A set of changes. The default changes nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct AttrEdit {
    /// ASes put before the path, which then starts with exactly this sequence.
    pub prepend_as: SmallVec<[Asn; 4]>,
    /// MULTI_EXIT_DISC.
    pub med: Change<u32>,
    /// LOCAL_PREF.
    pub local_pref: Change<u32>,
    /// Communities to add; one that is there already is not added again.
    pub add_communities: SmallVec<[u32; 4]>,
    /// Large communities to add, likewise.
    pub add_large_communities: SmallVec<[[u32; 3]; 2]>,
    /// ORIGINATOR_ID where there is none yet (RFC 4456 §8).
    pub originator_id: Option<RouterId>,
    /// Cluster id put before the CLUSTER_LIST.
    pub prepend_cluster: Option<ClusterId>,
    /// ORIGINATOR_ID and CLUSTER_LIST go: the route leaves the AS.
    pub removes_reflection: bool,
    /// Only to Customer (RFC 9234).
    pub otc: Change<Asn>,
}

impl AttrEdit {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        *self == AttrEdit::default()
    }

    /// Appends the changed set to `out`.
    pub fn apply(&self, canonical: &[u8], out: &mut Vec<u8>) {
        out.reserve(canonical.len() + 32);
        let mut additions = self.additions().into_iter().peekable();
        for attr in AttrView::new(canonical).iter() {
            while let Some(missing) = additions.next_if(|&at| at < attr.code) {
                self.write(
                    RawAttr {
                        flags: 0,
                        code: missing,
                        value: &[],
                    },
                    false,
                    out,
                );
            }
            additions.next_if_eq(&attr.code);
            self.write(attr, true, out);
        }
        for missing in additions {
            self.write(
                RawAttr {
                    flags: 0,
                    code: missing,
                    value: &[],
                },
                false,
                out,
            );
        }
    }

    /// The attributes that must be there afterwards, in order.
    fn additions(&self) -> SmallVec<[u8; 8]> {
        let sets = |change: &Change<u32>| matches!(change, Change::Set(_));
        [
            (code::AS_PATH, !self.prepend_as.is_empty()),
            (code::MULTI_EXIT_DISC, sets(&self.med)),
            (code::LOCAL_PREF, sets(&self.local_pref)),
            (code::COMMUNITIES, !self.add_communities.is_empty()),
            (
                code::ORIGINATOR_ID,
                self.originator_id.is_some() && !self.removes_reflection,
            ),
            (
                code::CLUSTER_LIST,
                self.prepend_cluster.is_some() && !self.removes_reflection,
            ),
            (code::LARGE_COMMUNITIES, !self.add_large_communities.is_empty()),
            (code::OTC, matches!(self.otc, Change::Set(_))),
        ]
        .into_iter()
        .filter(|&(_, is_due)| is_due)
        .map(|(code, _)| code)
        .collect()
    }

    /// Writes one attribute, changed. `is_present`: it was there before.
    fn write(&self, attr: RawAttr<'_>, is_present: bool, out: &mut Vec<u8>) {
        let RawAttr { flags, code, value } = attr;
        match code {
            code::AS_PATH if !self.prepend_as.is_empty() => {
                let mut path = Vec::with_capacity(value.len() + 4 * self.prepend_as.len() + 2);
                as_path::prepend(value, &self.prepend_as, &mut path);
                put(out, TRANSITIVE, code, &path);
            }
            code::MULTI_EXIT_DISC => put_changed(self.med, OPTIONAL, attr, out),
            code::LOCAL_PREF => put_changed(self.local_pref, TRANSITIVE, attr, out),
            code::OTC => {
                let change = match self.otc {
                    Change::Keep => Change::Keep,
                    Change::Set(Asn(asn)) => Change::Set(asn),
                    Change::Remove => Change::Remove,
                };
                put_changed(change, OPTIONAL | TRANSITIVE, attr, out);
            }
            code::COMMUNITIES if !self.add_communities.is_empty() => {
                let mut all = value.to_vec();
                for community in &self.add_communities {
                    if !value.chunks_exact(4).any(|have| be32(have) == *community) {
                        all.extend_from_slice(&community.to_be_bytes());
                    }
                }
                put(out, flags | OPTIONAL | TRANSITIVE, code, &all);
            }
            code::LARGE_COMMUNITIES if !self.add_large_communities.is_empty() => {
                let mut all = value.to_vec();
                for community in &self.add_large_communities {
                    let octets: Vec<u8> = community.iter().flat_map(|part| part.to_be_bytes()).collect();
                    if !value.chunks_exact(12).any(|have| have == octets) {
                        all.extend_from_slice(&octets);
                    }
                }
                put(out, flags | OPTIONAL | TRANSITIVE, code, &all);
            }
            code::ORIGINATOR_ID | code::CLUSTER_LIST if self.removes_reflection => {}
            code::ORIGINATOR_ID => match self.originator_id {
                Some(id) if !is_present => put(out, OPTIONAL, code, &id.0.octets()),
                _ => put(out, flags, code, value),
            },
            code::CLUSTER_LIST => {
                let first = self.prepend_cluster.map(|id| id.0.octets());
                let mut list = Vec::with_capacity(value.len() + 4);
                list.extend(first.iter().flatten());
                list.extend_from_slice(value);
                put(out, OPTIONAL, code, &list);
            }
            _ => put(out, flags, code, value),
        }
    }
}

fn put_changed(change: Change<u32>, flags: u8, attr: RawAttr<'_>, out: &mut Vec<u8>) {
    match change {
        Change::Keep => put(out, attr.flags, attr.code, attr.value),
        Change::Set(value) => put(out, flags, attr.code, &value.to_be_bytes()),
        Change::Remove => {}
    }
}

/// The canonical attributes of a route that this node originates: ORIGIN IGP and an empty path.
pub fn originated() -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, TRANSITIVE, code::ORIGIN, &[0]);
    put(&mut out, TRANSITIVE, code::AS_PATH, &[]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attr::AttrFacts;

    fn apply(edit: &AttrEdit, canonical: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        edit.apply(canonical, &mut out);
        out
    }

    #[test]
    fn the_empty_edit_changes_nothing() {
        let set = originated();
        assert_eq!(apply(&AttrEdit::default(), &set), set);
    }

    #[test]
    fn additions_land_in_order_and_once() {
        let edit = AttrEdit {
            prepend_as: SmallVec::from_slice(&[Asn(64512)]),
            local_pref: Change::Set(200),
            add_communities: SmallVec::from_slice(&[0xffff_ff01, 7]),
            originator_id: Some(RouterId::from(0x0a00_0001)),
            prepend_cluster: Some(ClusterId::from(0x0a00_0002)),
            ..AttrEdit::default()
        };
        let once = apply(&edit, &originated());
        let codes: Vec<u8> = AttrView::new(&once).iter().map(|attr| attr.code).collect();
        assert_eq!(codes, [1, 2, 5, 8, 9, 10]);
        let twice = apply(&edit, &once);
        let view = AttrView::new(&twice);
        assert_eq!(view.as_path().to_string(), "64512 64512");
        assert_eq!(view.communities().collect::<Vec<_>>(), [0xffff_ff01, 7]);
        assert_eq!(view.cluster_list().count(), 2);
        let facts = AttrFacts::read(&twice);
        assert_eq!(facts.local_pref, Some(200));
        assert!(facts.marks.contains(crate::wire::attr::Marks::NO_EXPORT));
    }

    #[test]
    fn rfc4456_8_reflection_attributes_leave_with_the_as() {
        let edit = AttrEdit {
            originator_id: Some(RouterId::from(1)),
            prepend_cluster: Some(ClusterId::from(2)),
            ..Default::default()
        };
        let inside = apply(&edit, &originated());
        let outside = apply(
            &AttrEdit {
                removes_reflection: true,
                ..AttrEdit::default()
            },
            &inside,
        );
        assert_eq!(outside, originated());
    }
}
