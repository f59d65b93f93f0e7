//! What peers ought to hold, worked out the slow way: every route kept as it came, every answer computed from
//! nothing. No code of the RIB is used.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use pipit_bgp::Asn;

use crate::bench::{Kind, OWN_AS, Route, neighbor_as};

#[derive(Clone, Copy, Debug)]
struct Entry {
    route: Route,
    is_stale: bool,
    is_long_lived: bool,
}

/// All peers and what they announced.
#[derive(Default)]
pub(crate) struct Naive {
    kinds: BTreeMap<u32, Kind>,
    /// By peer, prefix and path identifier.
    routes: BTreeMap<(u32, Ipv4Net, u32), Entry>,
    /// Prefixes that a peer's import filter refuses, and that its export filter keeps from it.
    pub(crate) refused: BTreeMap<u32, BTreeSet<Ipv4Net>>,
    pub(crate) hidden: BTreeMap<u32, BTreeSet<Ipv4Net>>,
}

impl Naive {
    pub(crate) fn add(&mut self, id: u32, kind: Kind) {
        self.kinds.insert(id, kind);
    }

    pub(crate) fn announce(&mut self, id: u32, prefix: Ipv4Net, route: Route) {
        let entry = Entry {
            route,
            is_stale: false,
            is_long_lived: false,
        };
        self.routes.insert((id, prefix, route.path_id), entry);
    }

    pub(crate) fn withdraw(&mut self, id: u32, prefix: Ipv4Net, path_id: u32) {
        self.routes.remove(&(id, prefix, path_id));
    }

    pub(crate) fn lose(&mut self, id: u32) {
        self.routes.retain(|(of, ..), _| *of != id);
    }

    pub(crate) fn make_stale(&mut self, id: u32) {
        self.of(id).for_each(|entry| entry.is_stale = true);
    }

    pub(crate) fn make_long_lived(&mut self, id: u32) {
        self.of(id)
            .filter(|entry| entry.is_stale)
            .for_each(|entry| entry.is_long_lived = true);
    }

    pub(crate) fn drop_stale(&mut self, id: u32) {
        self.routes.retain(|(of, ..), entry| *of != id || !entry.is_stale);
    }

    fn of(&mut self, id: u32) -> impl Iterator<Item = &mut Entry> {
        self.routes
            .iter_mut()
            .filter(move |((of, ..), _)| *of == id)
            .map(|(_, entry)| entry)
    }

    /// What a peer ought to hold: tags by prefix.
    pub(crate) fn due(&self, to: u32) -> BTreeMap<Ipv4Net, Vec<u32>> {
        let mut due = BTreeMap::new();
        let prefixes: BTreeSet<Ipv4Net> = self.routes.keys().map(|(_, prefix, _)| *prefix).collect();
        for prefix in prefixes {
            let mut paths: Vec<(u32, Entry)> = self
                .routes
                .iter()
                .filter(|((from, of, _), _)| *of == prefix && !listed(&self.refused, *from, prefix))
                .map(|((from, ..), entry)| (*from, *entry))
                .collect();
            if !self.kinds[&to].takes_all {
                paths = self.best(paths).into_iter().collect();
            }
            let mut tags: Vec<u32> = paths
                .into_iter()
                .filter(|(from, entry)| self.goes(*from, entry, to) && !listed(&self.hidden, to, prefix))
                .map(|(_, entry)| entry.route.tag)
                .collect();
            tags.sort_unstable();
            if !tags.is_empty() {
                due.insert(prefix, tags);
            }
        }
        due
    }

    /// RFC 9494 §4.4 first, then RFC 4271 §9.1: within each neighbouring AS, where MED counts, then among the winners.
    fn best(&self, paths: Vec<(u32, Entry)>) -> Option<(u32, Entry)> {
        let key = |(from, entry): &(u32, Entry), counts_med: bool| {
            let route = entry.route;
            (
                (entry.is_long_lived, Reverse(route.local_pref), route.path_len),
                if counts_med { route.med.unwrap_or(0) } else { 0 },
                self.kinds[from].asn == OWN_AS,
                (*from, route.path_id),
            )
        };
        let mut by_neighbor: BTreeMap<Asn, Vec<(u32, Entry)>> = BTreeMap::new();
        for path in paths {
            let neighbor = neighbor_as(self.kinds[&path.0], path.1.route);
            by_neighbor.entry(neighbor).or_default().push(path);
        }
        let winners = by_neighbor
            .into_values()
            .filter_map(|of_as| of_as.into_iter().min_by_key(|path| key(path, true)));
        winners.min_by_key(|path| key(path, false))
    }

    fn goes(&self, from: u32, entry: &Entry, to: u32) -> bool {
        let (source, target) = (self.kinds[&from], self.kinds[&to]);
        let is_internal = source.asn == OWN_AS && target.asn == OWN_AS;
        let is_reflected = source.is_client || target.is_client;
        from != to && (!is_internal || is_reflected) && (!entry.is_long_lived || target.knows_long_lived)
    }
}

fn listed(table: &BTreeMap<u32, BTreeSet<Ipv4Net>>, id: u32, prefix: Ipv4Net) -> bool {
    table.get(&id).is_some_and(|prefixes| prefixes.contains(&prefix))
}
