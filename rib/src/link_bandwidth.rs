//! Shares of an ECMP set by the link bandwidth that its members carry (draft-ietf-idr-link-bandwidth).
//!
//! Unequal shares only when every member says its bandwidth: how much to give to one that says nothing cannot be
//! known, and equal shares are what operators expect then.

use pipit_bgp::wire::attr::AttrView;
use smallvec::SmallVec;

/// Type of the community, transitive or not, and its subtype.
const TYPES: [u8; 2] = [0x40, 0x00];
const SUBTYPE: u8 = 0x04;
/// Multiples up to this are tried before shares are made relative to the largest.
const MULTIPLES: u16 = 16;
/// How far from a whole number a share may be.
const TOLERANCE: f32 = 0.01;

/// Octets per second; `None` when the route carries no usable value.
pub(crate) fn of(attrs: AttrView<'_>) -> Option<f32> {
    attrs.extended_communities().find_map(|community| {
        let [kind, SUBTYPE, _, _, value @ ..] = community else {
            return None;
        };
        let bandwidth = f32::from_be_bytes(value.try_into().ok()?);
        let is_usable = TYPES.contains(kind) && bandwidth.is_finite() && bandwidth > 0.0;
        is_usable.then_some(bandwidth)
    })
}

/// The smallest weights that stand in the relation of these bandwidths, within a percent; each from 1 to 255. All
/// are 1 where a bandwidth is missing.
pub(crate) fn weights(bandwidths: &[Option<f32>]) -> SmallVec<[u8; 4]> {
    let known: Option<SmallVec<[f32; 4]>> = bandwidths.iter().copied().collect();
    let Some(known) = known else {
        return bandwidths.iter().map(|_| 1).collect();
    };
    let least = known.iter().copied().fold(f32::INFINITY, f32::min);
    let most = known.iter().copied().fold(0.0, f32::max);
    let share = |bandwidth: f32, multiple: u16| bandwidth / least * f32::from(multiple);
    let fits = |multiple: &u16| {
        known.iter().all(|&bandwidth| {
            let share = share(bandwidth, *multiple);
            share <= 255.0 && (share - share.round()).abs() <= TOLERANCE * share
        })
    };
    let multiple = (1..=MULTIPLES).find(fits);
    let weight = |bandwidth: f32| match multiple {
        Some(multiple) => share(bandwidth, multiple),
        None => bandwidth / most * 255.0,
    };
    known
        .iter()
        .map(|&bandwidth| weight(bandwidth).round().clamp(1.0, 255.0) as u8)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_smallest_numbers_in_the_same_relation() {
        let cases: [(&[f32], &[u8]); 7] = [
            (&[1.25e9, 1.25e9], &[1, 1]),
            (&[1.25e9, 2.5e9], &[1, 2]),
            (&[1.0e9, 1.5e9], &[2, 3]),
            (&[1.0e8, 1.0e10, 1.0e9], &[1, 100, 10]),
            // Too far apart for a kernel's weights: the least gets the least there is.
            (&[1.0, 1.0e6], &[1, 255]),
            (&[7.0, 11.0, 13.0], &[7, 11, 13]),
            (&[1.0e9], &[1]),
        ];
        for (bandwidths, expected) in cases {
            let bandwidths: Vec<Option<f32>> = bandwidths.iter().copied().map(Some).collect();
            assert_eq!(weights(&bandwidths).as_slice(), expected, "{bandwidths:?}");
        }
        assert_eq!(weights(&[Some(1.0e9), None]).as_slice(), [1, 1]);
    }

    #[test]
    fn only_a_positive_number_is_a_bandwidth() {
        let read = |community: [u8; 8]| {
            let mut attrs = vec![0xc0, 16, 8];
            attrs.extend(community);
            of(AttrView::new(&attrs))
        };
        let with = |value: f32| {
            let [a, b, c, d] = value.to_be_bytes();
            [0x40, 0x04, 0xfc, 0x00, a, b, c, d]
        };
        assert_eq!(read(with(1.25e9)), Some(1.25e9));
        for nonsense in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(read(with(nonsense)), None, "{nonsense}");
        }
        assert_eq!(
            read([0x00, 0x02, 0xfc, 0x00, 0x4e, 0x95, 0x02, 0xf9]),
            None,
            "a route target"
        );
    }
}
