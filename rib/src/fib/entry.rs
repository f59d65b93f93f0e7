//! One prefix's state in eight octets.
//!
//! A node may carry a million routes, and BIRD's whole process needs 141 octets for each.

use crate::fib::shapes::{RouteId, TargetId};

/// The lower bits hold a number plus one (zero: none), the upper ones flags.
const ID_BITS: u32 = 28;
const ID_MASK: u32 = (1 << ID_BITS) - 1;

/// What is to be remembered of a prefix beside what is wanted and what is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flag {
    /// On the list of prefixes to be looked at.
    Dirty,
    /// The kernel has been asked to change it, and has not answered.
    InFlight,
    /// Found in the kernel and never asked for by this process: stays until the sweep.
    Adopted,
    /// Not seen (yet) in the dump under way.
    Unseen,
    /// The kernel refused the last change.
    Refused,
    /// Somebody keeps removing it: it is put back later.
    Delayed,
    /// Something happened while a change was under way: to be looked at when that is answered.
    Again,
    /// No entry: its place waits for another one.
    Vacant,
}

/// What is wanted and what is there. Octets and not words: beside the five of an IPv4 prefix, alignment would cost
/// three more for each route.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Entry([[u8; 4]; 2]);

impl Entry {
    pub(crate) fn wanted(self) -> Option<TargetId> {
        (self.word(0) & ID_MASK).checked_sub(1).map(TargetId)
    }

    pub(crate) fn set_wanted(&mut self, id: Option<TargetId>) {
        self.set_word(0, self.word(0) & !ID_MASK | packed(id.map(|id| id.0)));
    }

    pub(crate) fn actual(self) -> Option<RouteId> {
        (self.word(1) & ID_MASK).checked_sub(1).map(RouteId)
    }

    pub(crate) fn set_actual(&mut self, id: Option<RouteId>) {
        self.set_word(1, self.word(1) & !ID_MASK | packed(id.map(|id| id.0)));
    }

    pub(crate) fn has(self, flag: Flag) -> bool {
        self.word(flag as usize / 4) >> (ID_BITS + flag as u32 % 4) & 1 == 1
    }

    pub(crate) fn put(&mut self, flag: Flag, is_set: bool) {
        let bit = 1 << (ID_BITS + flag as u32 % 4);
        let at = flag as usize / 4;
        let word = self.word(at);
        self.set_word(at, if is_set { word | bit } else { word & !bit });
    }

    fn word(self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at])
    }

    fn set_word(&mut self, at: usize, word: u32) {
        self.0[at] = word.to_ne_bytes();
    }
}

fn packed(id: Option<u32>) -> u32 {
    let packed = id.map_or(0, |id| id + 1);
    // Shapes are made of next hops; a quarter of a milliard of them does not fit any memory.
    assert!(packed <= ID_MASK, "more than {ID_MASK} shapes of routes");
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_eight_octets_and_its_parts_do_not_disturb_each_other() {
        assert_eq!(size_of::<(ipnet::Ipv4Net, Entry)>(), 13);
        let mut entry = Entry::default();
        assert_eq!((entry.wanted(), entry.actual()), (None, None));
        entry.set_wanted(Some(TargetId(0)));
        entry.set_actual(Some(RouteId(ID_MASK - 1)));
        let flags = [
            Flag::Dirty,
            Flag::InFlight,
            Flag::Adopted,
            Flag::Unseen,
            Flag::Refused,
            Flag::Delayed,
            Flag::Again,
            Flag::Vacant,
        ];
        for flag in flags {
            assert!(!entry.has(flag));
            entry.put(flag, true);
            assert!(entry.has(flag), "{flag:?}");
        }
        assert_eq!(entry.wanted(), Some(TargetId(0)));
        assert_eq!(entry.actual(), Some(RouteId(ID_MASK - 1)));
        entry.set_wanted(None);
        entry.put(Flag::InFlight, false);
        assert!(entry.has(Flag::Dirty) && !entry.has(Flag::InFlight) && entry.has(Flag::Delayed));
        assert_eq!(entry.wanted(), None);
    }
}
