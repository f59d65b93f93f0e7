//! What happens about nexthop objects, and how they must be in the end.

use std::collections::BTreeSet;

use super::*;

impl History {
    pub(super) fn something_about_objects(&mut self) {
        match self.random.below(12) {
            0 | 1 => {
                self.is_on = self.random.chance(70);
                self.fib.set_nexthop_objects(self.is_on);
            }
            2 => self.kernel.carrier_changes(self.eth1),
            3 => {
                let is_held = self.random.chance(50);
                self.fib.hold_back(is_held);
            }
            4 => self.somebody_changes_an_object(),
            // All prefixes of a family come to be wanted in another way, or none at all.
            _ => {
                let target = self.random.chance(90).then(|| self.some_target());
                let is_of_family = |prefix: &&str| prefix.contains('.');
                let is_ipv4 = self.random.chance(70);
                for prefix in PREFIXES
                    .into_iter()
                    .filter(|prefix| is_of_family(prefix) == is_ipv4)
                {
                    match &target {
                        Some(target) => drop(self.wanted.insert(net(prefix), target.clone())),
                        None => drop(self.wanted.remove(&net(prefix))),
                    }
                    set(&mut self.fib, prefix, target.clone());
                }
            }
        }
    }

    /// Removes one or all, changes what one holds, or puts one of another program in its place.
    fn somebody_changes_an_object(&mut self) {
        let ids: Vec<u32> = self.kernel.objects.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = self.random.pick(&ids);
        let hop = ObjectContent::Hop(way(Some("192.0.2.77"), 2));
        let (protocol, is_group) = match &self.kernel.objects[&id] {
            (protocol, ObjectContent::Group(_)) => (*protocol, true),
            (protocol, _) => (*protocol, false),
        };
        match self.random.below(4) {
            0 => ids.into_iter().for_each(|id| self.remove_object(id)),
            1 => self.remove_object(id),
            2 if protocol == OURS && !is_group => self.kernel.write_object(id, Some((OURS, hop))),
            3 if !is_group => {
                // A number that comes next, or one that is ours.
                let id = id + self.random.below(2) as u32;
                if !matches!(self.kernel.objects.get(&id), Some((_, ObjectContent::Group(_)))) {
                    self.kernel.write_object(id, Some((STATIC, hop.clone())));
                    self.others.insert(id, (STATIC, hop));
                }
            }
            _ => {}
        }
    }

    fn remove_object(&mut self, id: u32) {
        self.others.remove(&id);
        self.kernel.write_object(id, None);
    }

    /// No object goes that a wanted route leads through.
    pub(super) fn check_object(&self, op: &ObjectOp) {
        assert!(self.has_objects, "{op:?}");
        if op.kind == FibOpKind::Delete {
            let views = self.fib.query();
            let mut through = views.iter().filter(|view| view.object == Some(op.id));
            let bad = through.find(|view| !["removing", "parked", "pending"].contains(&view.state));
            assert_eq!(bad, None, "{op:?}");
        }
    }

    /// Exactly the objects that are needed are there, and those of others.
    pub(super) fn check_objects_at_the_end(&self, seed: u64) {
        let routes = || {
            let ours = self
                .kernel
                .routes
                .values()
                .filter(|(protocol, _)| *protocol == OURS);
            ours.map(|(_, route)| route)
        };
        let mut used: BTreeSet<u32> = routes().filter_map(|route| route.object).collect();
        // A group may be ready for a route that somebody else is in the way of.
        used.extend(self.fib.query().iter().filter_map(|view| view.object));
        let mut expected = used.clone();
        for id in &used {
            let Some((OURS, ObjectContent::Group(members))) = self.kernel.objects.get(id) else {
                panic!("seed {seed}: {:?}", self.kernel.objects);
            };
            expected.extend(members.iter().map(|(id, _)| *id));
        }
        let ours = self
            .kernel
            .objects
            .iter()
            .filter(|(_, (protocol, _))| *protocol == OURS);
        let ours: BTreeSet<u32> = ours.map(|(id, _)| *id).collect();
        assert_eq!(ours, expected, "seed {seed}: {:#?}", self.fib.shapes.objects);
        if !self.is_on {
            assert!(ours.is_empty(), "seed {seed}");
        }
        let has_carrier =
            |route: &KernelRoute| !self.kernel.without_carrier.iter().any(|index| route.uses(*index));
        let is_plain = |route: &&KernelRoute| {
            matches!(route.action, KernelAction::Unicast(_)) && route.object.is_none() && has_carrier(route)
        };
        if self.is_on {
            assert_eq!(
                routes().find(is_plain),
                None,
                "seed {seed}: {:#?}",
                self.fib.shapes.objects
            );
        }
        for (id, object) in &self.others {
            if !self.kernel.hit.contains(id) {
                assert_eq!(self.kernel.objects.get(id), Some(object), "seed {seed}");
            }
        }
    }
}
