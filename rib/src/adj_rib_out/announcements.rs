//! The announcements that an update group makes, numbered: what differs from route to route (originator, cluster) is
//! not part of them, so there are a handful, and a route remembers its own in two octets.

use std::collections::HashMap;

use crate::export::Announcement;

/// Names an announcement of one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AnnouncementId(u16);

impl AnnouncementId {
    /// No announcement.
    pub(crate) const NONE: AnnouncementId = AnnouncementId(u16::MAX);
}

/// How many there may be before it is asked which of them are still in use.
const COLLECT_AT: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Announcements {
    known: Vec<Option<Announcement>>,
    index: HashMap<Announcement, u16, foldhash::fast::RandomState>,
    free: Vec<u16>,
    last: u16,
    collect_at: usize,
}

impl Default for Announcements {
    fn default() -> Self {
        Announcements {
            known: Vec::new(),
            index: HashMap::default(),
            free: Vec::new(),
            last: 0,
            collect_at: COLLECT_AT,
        }
    }
}

impl Announcements {
    /// The announcement with this number.
    pub(crate) fn get(&self, AnnouncementId(at): AnnouncementId) -> Option<&Announcement> {
        self.known.get(usize::from(at))?.as_ref()
    }

    /// The number of an announcement; `None` when all numbers are in use. `used` says which are, now and then.
    pub(crate) fn id<I: Iterator<Item = AnnouncementId>>(
        &mut self,
        announcement: Announcement,
        used: impl FnOnce() -> I,
    ) -> Option<AnnouncementId> {
        // Routes that are alike come together.
        if self.get(AnnouncementId(self.last)) == Some(&announcement) {
            return Some(AnnouncementId(self.last));
        }
        if let Some(&at) = self.index.get(&announcement) {
            self.last = at;
            return Some(AnnouncementId(at));
        }
        if self.index.len() >= self.collect_at {
            self.collect(used());
        }
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.known.len() < usize::from(u16::MAX) => {
                self.known.push(None);
                (self.known.len() - 1) as u16
            }
            None => return None,
        };
        self.index.insert(announcement.clone(), at);
        self.known[usize::from(at)] = Some(announcement);
        self.last = at;
        Some(AnnouncementId(at))
    }

    fn collect(&mut self, used: impl Iterator<Item = AnnouncementId>) {
        let mut is_used = vec![false; self.known.len()];
        for AnnouncementId(at) in used {
            if let Some(is_used) = is_used.get_mut(usize::from(at)) {
                *is_used = true;
            }
        }
        for (at, is_used) in is_used.into_iter().enumerate() {
            if !is_used && let Some(gone) = self.known[at].take() {
                self.index.remove(&gone);
                self.free.push(at as u16);
            }
        }
        // Asked again when there are twice as many, so that asking costs a constant share.
        self.collect_at = (2 * self.index.len()).max(COLLECT_AT);
    }
}

#[cfg(test)]
mod tests {
    use pipit_bgp::wire::attr::{AttrEdit, Change};

    use super::*;

    fn announcement(local_pref: u32) -> Announcement {
        Announcement {
            edit: AttrEdit {
                local_pref: Change::Set(local_pref),
                ..AttrEdit::default()
            },
            ..Announcement::default()
        }
    }

    #[test]
    fn numbers_in_use_stay_and_others_are_used_again() {
        let mut table = Announcements::default();
        let kept = table.id(announcement(0), std::iter::empty).unwrap();
        for n in 1..200_000 {
            let id = table
                .id(announcement(n), || std::iter::once(kept))
                .expect("there is always room for another");
            assert_eq!(table.get(id), Some(&announcement(n)));
        }
        assert_eq!(table.get(kept), Some(&announcement(0)));
        assert!(table.known.len() <= 2 * COLLECT_AT, "{}", table.known.len());
    }

    #[test]
    fn when_all_are_in_use_there_is_no_other() {
        let mut table = Announcements::default();
        let mut used = Vec::new();
        for n in 0..u32::from(u16::MAX) {
            used.push(table.id(announcement(n), || used.clone().into_iter()).unwrap());
        }
        assert_eq!(table.id(announcement(1 << 20), || used.clone().into_iter()), None);
        assert_eq!(
            table.id(announcement(7), || used.clone().into_iter()),
            Some(used[7])
        );
    }
}
