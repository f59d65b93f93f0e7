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
    /// Communities that go, before any is added. The attribute goes with the last of them.
    pub remove_communities: SmallVec<[u32; 4]>,
    /// Communities to add; one that is there already is not added again.
    pub add_communities: SmallVec<[u32; 4]>,
    /// Large communities to add, likewise.
    pub add_large_communities: SmallVec<[[u32; 3]; 2]>,
    /// ORIGINATOR_ID where there is none yet (RFC 4456 §8).
    pub originator_id: Option<RouterId>,
    /// Cluster id put before the CLUSTER_LIST.
    pub prepend_cluster: Option<ClusterId>,
    /// The route leaves the AS, and what is the AS's own goes: ORIGINATOR_ID and CLUSTER_LIST (RFC 4456 §8), extended
    /// communities that are not transitive (RFC 4360 §6), AIGP (RFC 7311 §3.1: off towards other ASes by default).
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
        if self.is_empty() {
            out.extend_from_slice(canonical);
            return;
        }
        out.reserve(canonical.len() + 32);
        let mut additions = self.additions().into_iter().peekable();
        for attr in AttrView::new(canonical).iter() {
            while let Some(missing) = additions.next_if(|&code| code < attr.code) {
                self.write(absent(missing), false, out);
            }
            additions.next_if_eq(&attr.code);
            self.write(attr, true, out);
        }
        for missing in additions {
            self.write(absent(missing), false, out);
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
            code::COMMUNITIES if !(self.add_communities.is_empty() && self.remove_communities.is_empty()) => {
                let add: SmallVec<[[u8; 4]; 4]> = self
                    .add_communities
                    .iter()
                    .map(|value| value.to_be_bytes())
                    .collect();
                let stays = |value: &[u8; 4]| !self.remove_communities.contains(&be32(value));
                put_list(flags | OPTIONAL | TRANSITIVE, attr, stays, &add, out);
            }
            code::LARGE_COMMUNITIES if !self.add_large_communities.is_empty() => {
                let add: SmallVec<[[u8; 12]; 2]> =
                    self.add_large_communities.iter().map(large_octets).collect();
                put_list(flags | OPTIONAL | TRANSITIVE, attr, |_| true, &add, out);
            }
            code::EXTENDED_COMMUNITIES if self.removes_reflection => {
                put_list(flags, attr, is_transitive::<8>, &[], out);
            }
            code::IPV6_EXTENDED_COMMUNITIES if self.removes_reflection => {
                put_list(flags, attr, is_transitive::<20>, &[], out);
            }
            code::AIGP if self.removes_reflection => {}
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

fn absent(code: u8) -> RawAttr<'static> {
    RawAttr {
        flags: 0,
        code,
        value: &[],
    }
}

fn large_octets(community: &[u32; 3]) -> [u8; 12] {
    let mut octets = [0; 12];
    for (part, field) in community.iter().zip(octets.chunks_exact_mut(4)) {
        field.copy_from_slice(&part.to_be_bytes());
    }
    octets
}

/// RFC 4360 §2, RFC 5701 §2: the T bit of the type's first octet says "non-transitive".
fn is_transitive<const N: usize>(community: &[u8; N]) -> bool {
    community[0] & 0x40 == 0
}

/// Writes a list of values of `N` octets: those that stay in their order, then those to add that are not there yet.
/// An empty list is no attribute: RFC 7606 §7.8 calls one malformed.
fn put_list<const N: usize>(
    flags: u8,
    attr: RawAttr<'_>,
    stays: impl Fn(&[u8; N]) -> bool,
    add: &[[u8; N]],
    out: &mut Vec<u8>,
) {
    let (values, _) = attr.value.as_chunks::<N>();
    let mut list: Vec<[u8; N]> = Vec::with_capacity(values.len() + add.len());
    list.extend(values.iter().filter(|value| stays(value)));
    for value in add {
        if !list.contains(value) {
            list.push(*value);
        }
    }
    if !list.is_empty() {
        put(out, flags, attr.code, list.as_flattened());
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
    fn with(attributes: &[(u8, u8, &[u8])]) -> Vec<u8> {
        let mut out = originated();
        attributes
            .iter()
            .for_each(|&(flags, code, value)| put(&mut out, flags, code, value));
        out
    }

    #[test]
    fn rfc4360_6_what_is_the_as_own_leaves_no_trace_outside() {
        let leaves = AttrEdit {
            removes_reflection: true,
            ..AttrEdit::default()
        };
        let (transitive, own) = ([0, 2, 0, 1, 0, 0, 0, 1], [0x43, 0, 0, 0, 0, 0, 0, 0]);
        let inside = with(&[
            (0xc0, code::EXTENDED_COMMUNITIES, &[own, transitive].concat()),
            (0xc0, code::IPV6_EXTENDED_COMMUNITIES, &[0x40; 20]),
            (0x80, code::AIGP, &[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9]),
        ]);
        assert_eq!(
            apply(&leaves, &inside),
            with(&[(0xc0, code::EXTENDED_COMMUNITIES, &transitive)])
        );
        assert_eq!(apply(&AttrEdit::default(), &inside), inside);
    }

    #[test]
    fn communities_go_before_others_come_and_an_empty_list_is_no_attribute() {
        let set = with(&[(0xe0, code::COMMUNITIES, &[0, 0, 0, 1, 0, 0, 0, 2])]);
        let edit = |remove: &[u32], add: &[u32]| AttrEdit {
            remove_communities: SmallVec::from_slice(remove),
            add_communities: SmallVec::from_slice(add),
            ..AttrEdit::default()
        };
        let communities = |edit: &AttrEdit| {
            let out = apply(edit, &set);
            AttrView::new(&out).communities().collect::<Vec<_>>()
        };
        assert_eq!(communities(&edit(&[1, 3], &[])), [2]);
        assert_eq!(communities(&edit(&[1], &[5, 5, 1, 2])), [2, 5, 1]);
        assert_eq!(apply(&edit(&[1, 2], &[]), &set), originated());
        assert_eq!(apply(&edit(&[1, 2], &[]), &originated()), originated());
        // The Partial bit tells of the attribute's way, whatever we add.
        let out = apply(&edit(&[], &[9]), &set);
        assert_eq!(
            AttrView::new(&out).iter().last().map(|attr| attr.flags),
            Some(0xe0)
        );
    }

    #[test]
    fn rfc8092_2_no_large_community_is_there_twice() {
        let edit = AttrEdit {
            add_large_communities: SmallVec::from_slice(&[[1, 2, 3], [1, 2, 3], [4, 5, 6]]),
            ..AttrEdit::default()
        };
        let twice = apply(&edit, &apply(&edit, &originated()));
        let large: Vec<_> = AttrView::new(&twice).large_communities().collect();
        assert_eq!(large, [[1, 2, 3], [4, 5, 6]]);
    }

    #[test]
    fn a_value_beyond_any_message_is_cut_and_stays_readable() {
        let edit = AttrEdit {
            prepend_as: (1..=20_000).map(Asn).collect(),
            med: Change::Set(7),
            ..AttrEdit::default()
        };
        let out = apply(&edit, &originated());
        let view = AttrView::new(&out);
        assert_eq!(view.get(code::AS_PATH).map(<[u8]>::len), Some(code::VALUE_MAX));
        assert_eq!(view.med(), Some(7));
    }
}
