//! A kernel that refuses, is silent where the real one is, loses notifications and dumps while others write.
//!
//! It fails the test itself when a foreign route would be overwritten or deleted by a FIB that could know of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

const ENOENT: i32 = 2;
const ENOMEM: i32 = 12;
const EINVAL: i32 = 22;
const ENETDOWN: i32 = 100;
const ESRCH: i32 = 3;

/// Splitmix64: the same seed, the same history.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

type Key = (IpNet, u32);

enum Request {
    Dump,
    /// Operations, and when they were asked for.
    Apply(Vec<FibOp>, u64),
    Objects(Vec<ObjectOp>, u64),
}

/// What the listener's socket holds.
enum Queued {
    Event(KernelEvent),
    /// The marker of a batch's answer.
    Answer(Vec<FibRefusal>),
}

#[derive(Default)]
pub(super) struct FakeKernel {
    pub(super) routes: BTreeMap<Key, (u8, KernelRoute)>,
    pub(super) links: BTreeMap<u32, String>,
    /// Devices that are up and lead nowhere.
    pub(super) without_carrier: BTreeSet<u32>,
    pub(super) objects: BTreeMap<u32, (u8, ObjectContent)>,
    /// When the FIB was told of the foreign object that is there.
    told_objects: BTreeMap<u32, u64>,
    /// Foreign objects that a request of ours hit that was on its way already: it names nobody either.
    pub(super) hit: BTreeSet<u32>,
    requests: VecDeque<Request>,
    clock: u64,
    /// When the FIB was told of the foreign route that is there.
    told: BTreeMap<Key, u64>,
    /// Foreign routes written over a replacement of ours that was on its way already: netlink has no way to say
    /// "only if it is still mine".
    pub(super) overwritten: BTreeSet<Key>,
    socket: VecDeque<Queued>,
    is_overrun: bool,
    /// Where the dump under way is: `None` inside: still to show links and objects.
    dump: Option<Option<Key>>,
    /// Percentage of refusals without reason.
    pub(super) unreliability: usize,
    /// Notifications that fit.
    pub(super) capacity: usize,
}

impl FakeKernel {
    /// Everybody but the FIB changes the table by this; `None` deletes.
    pub(super) fn write(&mut self, key: Key, new: Option<(u8, KernelRoute)>) {
        let (prefix, _) = key;
        self.told.remove(&key);
        self.overwritten.remove(&key);
        let old = self.routes.remove(&key);
        let event = match (old, new) {
            (None, None) => return,
            (old, Some((protocol, route))) => {
                self.routes.insert(key, (protocol, route.clone()));
                KernelEvent::Route {
                    table: Table::Ours,
                    prefix,
                    protocol,
                    route,
                    how: if old.is_some() {
                        Arrival::Replacement
                    } else {
                        Arrival::Added
                    },
                }
            }
            (Some((protocol, route)), None) => KernelEvent::RouteGone {
                table: Table::Ours,
                prefix,
                protocol,
                route,
            },
        };
        self.notify(event);
    }

    pub(super) fn link_up(&mut self, index: u32, name: &str) {
        self.links.insert(index, name.to_owned());
        self.notify(link(index, name, true));
    }

    /// Down or gone: the routes go in silence.
    pub(super) fn link_down(&mut self, index: u32, is_gone: bool) {
        let Some(name) = self.links.remove(&index) else {
            return;
        };
        self.without_carrier.remove(&index);
        self.drop_objects_through(index);
        self.routes.retain(|_, (_, route)| !route.uses_only(index));
        let event = if is_gone {
            KernelEvent::LinkGone { index }
        } else {
            link(index, &name, false)
        };
        self.notify(event);
    }

    /// The other end goes: objects through the device go with it, in silence.
    pub(super) fn carrier_changes(&mut self, index: u32) {
        let Some(name) = self.links.get(&index).cloned() else {
            return;
        };
        let has_carrier = self.without_carrier.remove(&index);
        if !has_carrier {
            self.without_carrier.insert(index);
            self.drop_objects_through(index);
        }
        self.notify(KernelEvent::Link {
            index,
            name,
            is_up: true,
            has_carrier,
        });
    }

    fn drop_objects_through(&mut self, index: u32) {
        let is_through =
            |content: &ObjectContent| matches!(content, ObjectContent::Hop(hop) if hop.device == index);
        let through: Vec<u32> = self
            .objects
            .iter()
            .filter(|(_, (_, content))| is_through(content))
            .map(|(id, _)| *id)
            .collect();
        for id in through {
            self.remove_object(id, false);
        }
    }

    /// Removes an object, from the groups that it is in as well; of the routes through it only IPv6 ones are told of.
    fn remove_object(&mut self, id: u32, is_told: bool) {
        if self.objects.remove(&id).is_none() {
            return;
        }
        if is_told {
            self.notify(KernelEvent::ObjectGone { id });
        }
        let keys: Vec<Key> = self
            .routes
            .iter()
            .filter(|(_, (_, route))| route.object == Some(id))
            .map(|(key, _)| *key)
            .collect();
        for (prefix, metric) in keys {
            let Some((protocol, route)) = self.routes.remove(&(prefix, metric)) else {
                continue;
            };
            if matches!(prefix, IpNet::V6(_)) {
                self.notify(KernelEvent::RouteGone {
                    table: Table::Ours,
                    prefix,
                    protocol,
                    route,
                });
            }
        }
        let groups: Vec<u32> = self.objects.keys().copied().collect();
        for group in groups {
            let Some((protocol, ObjectContent::Group(members))) = self.objects.get_mut(&group) else {
                continue;
            };
            let before = members.len();
            members.retain(|(member, _)| *member != id);
            let (protocol, members, left) = (*protocol, members.clone(), members.len());
            if left == 0 {
                self.remove_object(group, is_told);
            } else if left < before && is_told {
                let content = ObjectContent::Group(members);
                self.notify(KernelEvent::Object {
                    id: group,
                    protocol,
                    content,
                });
            }
        }
    }

    /// Everybody but the FIB changes objects by this; `None` removes.
    pub(super) fn write_object(&mut self, id: u32, new: Option<(u8, ObjectContent)>) {
        let Some((protocol, content)) = new else {
            return self.remove_object(id, true);
        };
        if self.check_object(&content).is_ok() {
            self.told_objects.remove(&id);
            self.hit.remove(&id);
            self.objects.insert(id, (protocol, content.clone()));
            self.notify(KernelEvent::Object {
                id,
                protocol,
                content,
            });
        }
    }

    fn check_object(&self, content: &ObjectContent) -> Result<(), i32> {
        let is_right = match content {
            ObjectContent::Hop(hop) => {
                let is_usable =
                    self.links.contains_key(&hop.device) && !self.without_carrier.contains(&hop.device);
                return if is_usable { Ok(()) } else { Err(ENETDOWN) };
            }
            ObjectContent::Group(members) => members
                .iter()
                .all(|(id, _)| matches!(self.objects.get(id), Some((_, ObjectContent::Hop(_))))),
            ObjectContent::Other => true,
        };
        if is_right { Ok(()) } else { Err(EINVAL) }
    }

    fn apply_object(&mut self, op: &ObjectOp, asked: u64, random: &mut Random) -> Result<(), i32> {
        if random.chance(self.unreliability) {
            return Err(ENOMEM);
        }
        let there = self.objects.get(&op.id).map(|(protocol, content)| {
            let is_group = matches!(content, ObjectContent::Group(_));
            (*protocol, is_group)
        });
        if there.is_some_and(|(protocol, _)| protocol != OURS) && op.kind != FibOpKind::Create {
            let was_told = self.told_objects.get(&op.id).is_some_and(|&told| told < asked);
            assert!(!was_told, "hits a foreign object: {op:?}");
            self.hit.insert(op.id);
        }
        match op.kind {
            FibOpKind::Delete if there.is_none() => Err(ENOENT),
            FibOpKind::Delete => {
                self.remove_object(op.id, false);
                Ok(())
            }
            FibOpKind::Create if there.is_some() => Err(EEXIST),
            FibOpKind::Create | FibOpKind::Replace => {
                let is_group = matches!(op.content, ObjectContent::Group(_));
                if there.is_some_and(|(_, was_group)| was_group != is_group) {
                    return Err(EINVAL);
                }
                self.check_object(&op.content)?;
                self.objects.insert(op.id, (op.protocol, op.content.clone()));
                Ok(())
            }
        }
    }

    /// Where a route leads in the end.
    pub(super) fn effective(&self, route: &KernelRoute) -> KernelRoute {
        let Some((_, ObjectContent::Group(members))) =
            route.object.and_then(|object| self.objects.get(&object))
        else {
            return route.clone();
        };
        let hop = |(id, weight): &(u32, u8)| match &self.objects[id].1 {
            ObjectContent::Hop(hop) => KernelHop {
                weight: *weight,
                ..*hop
            },
            _ => panic!("a group in a group"),
        };
        let mut hops: Vec<KernelHop> = members.iter().map(hop).collect();
        hops.sort();
        unicast(&hops, route.metric)
    }

    fn notify(&mut self, event: KernelEvent) {
        if self.socket.len() < self.capacity && !self.is_overrun {
            self.socket.push_back(Queued::Event(event));
        } else {
            self.is_overrun = true;
        }
    }

    pub(super) fn ask(&mut self, ops: Vec<FibOp>) {
        self.clock += 1;
        self.requests.push_back(Request::Apply(ops, self.clock));
    }

    pub(super) fn ask_objects(&mut self, ops: Vec<ObjectOp>) {
        self.clock += 1;
        self.requests.push_back(Request::Objects(ops, self.clock));
    }

    pub(super) fn ask_dump(&mut self) {
        self.requests.push_back(Request::Dump);
    }

    /// The writer serves one request.
    pub(super) fn serve(&mut self, random: &mut Random) {
        // One socket cannot dump twice at once.
        if matches!(self.requests.front(), Some(Request::Dump)) && self.dump.is_some() {
            return self.dump_part(random);
        }
        match self.requests.pop_front() {
            None => {}
            Some(Request::Dump) => {
                self.dump = Some(None);
                self.socket.push_back(Queued::Event(KernelEvent::DumpBegin));
            }
            Some(Request::Apply(ops, asked)) => {
                let mut refusals = Vec::new();
                for (at, op) in ops.iter().enumerate() {
                    if let Err(errno) = self.apply(op, asked, random) {
                        refusals.push(FibRefusal { at, errno });
                    }
                }
                self.socket.push_back(Queued::Answer(refusals));
            }
            Some(Request::Objects(ops, asked)) => {
                let refuse = |(at, op)| {
                    let errno = self.apply_object(op, asked, random).err()?;
                    Some(FibRefusal { at, errno })
                };
                let refusals = ops.iter().enumerate().filter_map(refuse).collect();
                self.socket.push_back(Queued::Answer(refusals));
            }
        }
    }

    fn apply(&mut self, op: &FibOp, asked: u64, random: &mut Random) -> Result<(), i32> {
        let key = (op.prefix, op.route.metric);
        if random.chance(self.unreliability) {
            return Err(ENOMEM);
        }
        let there = self.routes.get(&key);
        match op.kind {
            FibOpKind::Create if there.is_some() => return Err(EEXIST),
            FibOpKind::Create | FibOpKind::Replace => {
                if let Some((protocol, _)) = there
                    && *protocol != OURS
                {
                    let was_told = self.told.get(&key).is_some_and(|&told| told < asked);
                    assert!(!was_told, "overwrites a foreign route: {}", words(op));
                }
                if let KernelAction::Unicast(hops) = &op.route.action
                    && !hops.iter().all(|hop| self.links.contains_key(&hop.device))
                {
                    return Err(ENETUNREACH);
                }
                if op
                    .route
                    .object
                    .is_some_and(|object| !self.objects.contains_key(&object))
                {
                    return Err(EINVAL);
                }
                if there.is_some_and(|(protocol, _)| *protocol != OURS) {
                    self.overwritten.insert(key);
                }
                self.routes.insert(key, (OURS, op.route.clone()));
            }
            FibOpKind::Delete => match there {
                // The protocol number in the request keeps others' routes safe.
                Some((OURS, _)) => drop(self.routes.remove(&key)),
                Some(_) | None => return Err(ESRCH),
            },
        }
        Ok(())
    }

    fn note_told(&mut self, event: &KernelEvent) {
        self.clock += 1;
        if let KernelEvent::Route {
            prefix,
            protocol,
            route,
            ..
        } = event
            && *protocol != OURS
            && self.routes.get(&(*prefix, route.metric)) == Some(&(*protocol, route.clone()))
        {
            self.told.insert((*prefix, route.metric), self.clock);
        }
        if let KernelEvent::Object {
            id,
            protocol,
            content,
        } = event
            && *protocol != OURS
            && self.objects.get(id) == Some(&(*protocol, content.clone()))
        {
            self.told_objects.insert(*id, self.clock);
        }
    }

    /// The dump under way goes on a little.
    pub(super) fn dump_part(&mut self, random: &mut Random) {
        let Some(at) = self.dump.take() else { return };
        let events: Vec<KernelEvent> = match at {
            None => {
                let links = self.links.iter().map(|(&index, name)| KernelEvent::Link {
                    index,
                    name: name.clone(),
                    is_up: true,
                    has_carrier: !self.without_carrier.contains(&index),
                });
                let objects = self.objects.iter();
                let objects = objects.map(|(&id, (protocol, content))| KernelEvent::Object {
                    id,
                    protocol: *protocol,
                    content: content.clone(),
                });
                links.chain(objects).collect()
            }
            Some(after) => {
                let part = self
                    .routes
                    .range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
                let len = 1 + random.below(4);
                part.take(len)
                    .map(|(&(prefix, _), (protocol, route))| KernelEvent::Route {
                        table: Table::Ours,
                        prefix,
                        protocol: *protocol,
                        route: route.clone(),
                        how: Arrival::Shown,
                    })
                    .collect()
            }
        };
        let last = events.iter().rev().find_map(|event| match event {
            KernelEvent::Route { prefix, route, .. } => Some((*prefix, route.metric)),
            _ => None,
        });
        self.dump = match (at, last) {
            // Lower than any key of the tests.
            (None, _) => Some(Some((net("0.0.0.0/0"), 0))),
            (Some(_), Some(last)) => Some(Some(last)),
            (Some(_), None) => None,
        };
        // What a dump answers is never dropped: the kernel waits for room.
        let is_done = self.dump.is_none();
        self.socket.extend(events.into_iter().map(Queued::Event));
        if is_done {
            self.socket.push_back(Queued::Event(KernelEvent::DumpEnd));
        }
    }

    /// Hands up to `max` events to the FIB, in one call.
    pub(super) fn deliver_events(&mut self, fib: &mut Fib, max: usize) {
        let mut events = Vec::new();
        for _ in 0..max {
            match self.socket.pop_front() {
                Some(Queued::Event(event)) => {
                    self.note_told(&event);
                    events.push(event);
                }
                Some(Queued::Answer(refusals)) => {
                    fib.handle_kernel(std::mem::take(&mut events));
                    fib.handle_result(&refusals);
                }
                None => {
                    if std::mem::take(&mut self.is_overrun) {
                        events.push(KernelEvent::Overrun);
                    }
                    break;
                }
            }
        }
        fib.handle_kernel(events);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.requests.is_empty() && self.socket.is_empty() && !self.is_overrun && self.dump.is_none()
    }
}
