//! AS_PATH values in 4-octet form (RFC 4271 §4.3, RFC 6793).

use std::fmt;

use smallvec::SmallVec;

use crate::asn::Asn;

/// An unordered set of ASes (deprecated by RFC 6472, still met).
pub const AS_SET: u8 = 1;
/// An ordered sequence.
pub const AS_SEQUENCE: u8 = 2;
/// RFC 5065, not valid from an ordinary peer.
pub const AS_CONFED_SEQUENCE: u8 = 3;
/// RFC 5065, not valid from an ordinary peer.
pub const AS_CONFED_SET: u8 = 4;

/// ASes that fit into one segment: its count is one octet.
const SEGMENT_MAX: usize = 255;

/// A well-formed AS_PATH value with 4-octet AS numbers, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AsPathView<'a>(&'a [u8]);

/// One segment of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// [`AS_SEQUENCE`] or [`AS_SET`].
    pub kind: u8,
    members: &'a [u8],
}

impl<'a> Segment<'a> {
    /// How many ASes the segment holds.
    #[expect(clippy::len_without_is_empty, reason = "decoding refuses an empty segment")]
    pub fn len(self) -> usize {
        self.members.len() / 4
    }

    /// The ASes in order.
    pub fn members(self) -> impl Iterator<Item = Asn> + 'a {
        self.members.chunks_exact(4).map(|octets| Asn(be32(octets)))
    }
}

impl<'a> AsPathView<'a> {
    /// Takes a value that decoding has checked.
    pub fn new(value: &'a [u8]) -> Self {
        AsPathView(value)
    }

    /// The segments in order.
    pub fn segments(self) -> impl Iterator<Item = Segment<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&[kind, count], after) = rest.split_first_chunk()?;
            let (members, after) = after.split_at_checked(usize::from(count) * 4)?;
            rest = after;
            Some(Segment { kind, members })
        })
    }

    /// All ASes in the order written, sets included.
    pub fn asns(self) -> impl Iterator<Item = Asn> + 'a {
        self.segments().flat_map(Segment::members)
    }

    /// How often an AS stands in the path.
    pub fn count_of(self, asn: Asn) -> usize {
        self.asns().filter(|&member| member == asn).count()
    }

    /// Whether the path starts with this sequence of ASes; an empty path starts with none but the empty one.
    pub fn starts_with(self, sequence: &[Asn]) -> bool {
        let mut leading = self
            .segments()
            .take_while(|segment| segment.kind == AS_SEQUENCE)
            .flat_map(Segment::members);
        sequence.iter().all(|&asn| leading.next() == Some(asn))
    }

    /// The length as RFC 4271 §9.1.2.2 a) counts it: a set is one, confederation segments are none.
    pub fn decision_len(self) -> u16 {
        self.segments().fold(0, |len, segment| {
            len + match segment.kind {
                AS_SEQUENCE => segment.len() as u16,
                AS_SET => 1,
                _ => 0,
            }
        })
    }

    /// The first AS when the path starts with a sequence.
    pub fn neighbor_as(self) -> Option<Asn> {
        let first = self
            .segments()
            .next()
            .filter(|segment| segment.kind == AS_SEQUENCE)?;
        first.members().next()
    }
}

/// As people write paths: `64512 64513 {65000,65001}`.
impl fmt::Display for AsPathView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for segment in self.segments() {
            if segment.kind == AS_SEQUENCE {
                for asn in segment.members() {
                    write!(f, "{separator}{asn}")?;
                    separator = " ";
                }
            } else {
                write!(f, "{separator}{{")?;
                for (at, asn) in segment.members().enumerate() {
                    write!(f, "{}{asn}", if at == 0 { "" } else { "," })?;
                }
                write!(f, "}}")?;
                separator = " ";
            }
        }
        Ok(())
    }
}

/// Writes a path with `prefix` put before it, as one sequence as far as segments allow.
pub(crate) fn prepend(path: &[u8], prefix: &[Asn], out: &mut Vec<u8>) {
    let view = AsPathView(path);
    let (joined, rest): (SmallVec<[Asn; 16]>, &[u8]) = match view.segments().next() {
        Some(first) if first.kind == AS_SEQUENCE && first.len() + prefix.len() <= SEGMENT_MAX => (
            prefix.iter().copied().chain(first.members()).collect(),
            &path[2 + first.members.len()..],
        ),
        _ => (SmallVec::from_slice(prefix), path),
    };
    for part in joined.chunks(SEGMENT_MAX) {
        put_segment(AS_SEQUENCE, part.iter().copied(), out);
    }
    out.extend_from_slice(rest);
}

/// Writes one segment of at most [`SEGMENT_MAX`] ASes.
pub(crate) fn put_segment(kind: u8, members: impl Iterator<Item = Asn>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[kind, 0]);
    members.for_each(|asn| out.extend_from_slice(&asn.0.to_be_bytes()));
    out[start + 1] = ((out.len() - start) / 4) as u8;
}

pub(crate) fn be32(octets: &[u8]) -> u32 {
    match octets {
        &[a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(segments: &[(u8, &[u32])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, members) in segments {
            out.extend([*kind, members.len() as u8]);
            members.iter().for_each(|asn| out.extend(asn.to_be_bytes()));
        }
        out
    }

    #[test]
    fn rfc4271_9_1_2_2_a_set_counts_as_one() {
        let bytes = path(&[(AS_SEQUENCE, &[64512, 64513]), (AS_SET, &[1, 2, 3])]);
        let view = AsPathView::new(&bytes);
        assert_eq!(view.decision_len(), 3);
        assert_eq!(view.neighbor_as(), Some(Asn(64512)));
        assert_eq!(view.to_string(), "64512 64513 {1,2,3}");
        assert_eq!(view.count_of(Asn(2)), 1);
        assert!(view.starts_with(&[Asn(64512)]));
        assert!(!view.starts_with(&[Asn(64513)]));
        assert!(!AsPathView::new(&[]).starts_with(&[Asn(1)]));
    }

    #[test]
    fn prepending_joins_the_first_sequence_until_its_count_is_full() {
        let mut out = Vec::new();
        prepend(&path(&[(AS_SEQUENCE, &[2])]), &[Asn(1)], &mut out);
        assert_eq!(out, path(&[(AS_SEQUENCE, &[1, 2])]));
        let full: Vec<u32> = (0..255).collect();
        let mut out = Vec::new();
        prepend(&path(&[(AS_SEQUENCE, &full)]), &[Asn(9)], &mut out);
        assert_eq!(out, path(&[(AS_SEQUENCE, &[9]), (AS_SEQUENCE, &full)]));
        let mut out = Vec::new();
        prepend(&path(&[(AS_SET, &[7])]), &[Asn(9)], &mut out);
        assert_eq!(out, path(&[(AS_SEQUENCE, &[9]), (AS_SET, &[7])]));
        let mut out = Vec::new();
        prepend(&[], &[Asn(9)], &mut out);
        assert_eq!(out, path(&[(AS_SEQUENCE, &[9])]));
    }
}
