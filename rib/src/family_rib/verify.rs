//! Everything that a family keeps up step by step, computed anew from the paths and compared.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::adj_rib_out::{Paths, UpdateGroup};
use crate::attrs::AttrId;
use crate::family_rib::FamilyRib;
use crate::family_rib::choice::candidate;
use crate::family_rib::telling::decide;
use crate::fib::FibPrefix;
use crate::rib::Shared;
use crate::source::SourceId;
use crate::table::{Path, PathFlags, PathId, PrefixId};

impl<P: FibPrefix> FamilyRib<P> {
    /// What is wrong with prefixes `from..to` (by index): the choice, the kernel's part, what groups say.
    pub(crate) fn verify_prefixes(&self, shared: &Shared, from: u32, to: u32, faults: &mut Vec<String>) {
        for slot in from..to.min(self.table.prefix_slots()) {
            let Some(id) = self.table.prefix_at(slot) else {
                continue;
            };
            // Its turn to be chosen anew comes with the walk that clears the source away.
            let is_waiting = self.table.paths(id).any(|(_, path)| {
                !path.flags.contains(PathFlags::DEAD) && shared.sources[path.source].is_closing
            });
            if !is_waiting {
                self.verify_prefix(shared, id, faults);
            }
        }
    }

    fn verify_prefix(&self, shared: &Shared, id: PrefixId, faults: &mut Vec<String>) {
        let prefix: IpNet = self.table.prefix(id).into();
        let selection = self.selection(shared, id);
        let best = selection.as_ref().map(|selection| selection.best);
        if best != self.table.best(id) {
            faults.push(format!(
                "{prefix}: {:?} is chosen, {best:?} should be",
                self.table.best(id)
            ));
        }
        let target = selection.and_then(|selection| self.fib_target(shared, id, &selection));
        if !shared.fib.wants(self.table.prefix(id), target.as_ref()) {
            faults.push(format!(
                "{prefix}: the kernel is to have something else than {target:?}"
            ));
        }
        for (at, group) in self.groups.iter().enumerate() {
            let Some(group) = group else { continue };
            match group.paths() {
                Paths::Best => {
                    let path = best.map(|best| self.table.path(best));
                    verify_item(shared, (at, group), prefix, id.0, path, faults);
                }
                Paths::All => {
                    for (path_id, path) in self.table.paths(id) {
                        let is_usable =
                            path.is_candidate() && candidate(shared, prefix, path_id, path).is_some();
                        let path = is_usable.then_some(path);
                        verify_item(shared, (at, group), prefix, path_id.0, path, faults);
                    }
                }
            }
        }
    }

    /// What is wrong with the sums: routes by source, paths in all, announcements of things that are not there.
    pub(crate) fn verify_sums(&self, shared: &Shared, faults: &mut Vec<String>) {
        let mut counts: HashMap<SourceId, (u32, u32)> = HashMap::new();
        for (_, path) in self.live_paths() {
            let (received, accepted) = counts.entry(path.source).or_default();
            *received += 1;
            *accepted += u32::from(!path.flags.contains(PathFlags::REJECTED));
        }
        for (id, source) in shared.sources.iter() {
            let kept = (source.received[P::FAMILY], source.accepted[P::FAMILY]);
            let found = counts.get(&id).copied().unwrap_or_default();
            if kept != found {
                faults.push(format!(
                    "{} {id:?}: counted {kept:?} routes, there are {found:?}",
                    P::FAMILY
                ));
            }
        }
        let live = self.live_paths().count();
        if live != self.table.live_paths() {
            faults.push(format!(
                "{}: counted {} paths, there are {live}",
                P::FAMILY,
                self.table.live_paths()
            ));
        }
        for group in self.groups.iter().flatten() {
            let is_there = |item| match group.paths() {
                Paths::Best => self.table.prefix_at(item).is_some(),
                Paths::All => self.table.path_at(item).is_some(),
            };
            for item in (0..group.items()).filter(|&item| group.said(item).is_some() && !is_there(item)) {
                faults.push(format!(
                    "{}: a group announces {item}, which is not there",
                    P::FAMILY
                ));
            }
            group.verify(faults);
        }
    }

    /// How often the paths of the family use each attribute set.
    pub(crate) fn count_attrs(&self, uses: &mut HashMap<AttrId, u32>) {
        for (_, path) in self.live_paths() {
            *uses.entry(path.received).or_default() += 1;
            *uses.entry(path.attrs).or_default() += 1;
        }
    }

    /// Adds the octets of attributes that each source's paths hold, by the number of the source.
    pub(crate) fn add_attribute_bytes(&self, shared: &Shared, held: &mut Vec<u64>) {
        for (_, path) in self.live_paths() {
            let at = usize::from(path.source.0);
            if at >= held.len() {
                held.resize(at + 1, 0);
            }
            held[at] += shared.attrs.share(path.received) + shared.attrs.share(path.attrs);
        }
    }

    fn live_paths(&self) -> impl Iterator<Item = (PathId, &Path)> {
        (0..self.table.path_slots())
            .filter_map(|at| self.table.path_at(at))
            .filter(|(_, path)| !path.flags.contains(PathFlags::DEAD))
    }
}

fn verify_item(
    shared: &Shared,
    (at, group): (usize, &UpdateGroup),
    prefix: IpNet,
    item: u32,
    path: Option<&Path>,
    faults: &mut Vec<String>,
) {
    let due = path.and_then(|path| Some((decide(shared, group.key(), prefix, path).ok()?, path.source)));
    let said = group
        .said(item)
        .map(|(announcement, source)| (announcement.clone(), source));
    if due != said {
        faults.push(format!(
            "{prefix}: group {at} is to say {due:?} and says {said:?}"
        ));
    }
}
