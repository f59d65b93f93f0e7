//! What the kernel says, taken in event by event.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use pipit_bgp::Family;
use tracing::warn;

use crate::fib::connected::{ends, is_near};
use crate::fib::dump::Dump;
use crate::fib::family_fib::Outcome;
use crate::fib::foreign::Change;
use crate::fib::kernel::{Arrival, Authored, KernelEvent, KernelRoute, Table};
use crate::fib::plan::Surroundings;
use crate::fib::resolve::Link;
use crate::fib::{Fib, FibEvent};

/// What a dump is a repair of.
const EVERYTHING: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

/// What others did to routes of ours, for one line in the log.
#[derive(Debug, Default)]
pub(super) struct Damage {
    count: usize,
    example: Option<IpNet>,
}

impl Fib {
    /// Takes events in. The caller hands over as many as it has at once: resolution follows once, after the last.
    pub fn handle_kernel(&mut self, events: impl IntoIterator<Item = KernelEvent>) {
        for event in events {
            self.handle_event(event);
        }
        self.judge_resistance();
        if self.dump == Dump::Done {
            self.resolve_again();
        }
        let Damage { count, example } = std::mem::take(&mut self.damage);
        if let Some(prefix) = example {
            warn!(count, %prefix, "somebody changed routes of ours; putting them right");
        }
    }

    fn handle_event(&mut self, event: KernelEvent) {
        match event {
            KernelEvent::DumpBegin => self.begin_dump(),
            KernelEvent::DumpEnd => self.end_dump(),
            KernelEvent::Overrun => self.handle_overrun(),
            KernelEvent::Address {
                device,
                address,
                net,
                is_tentative,
            } => {
                if self.topology.set_tentative(device, address, is_tentative) {
                    self.stir.all |= self.source[Family::of(address)] == Some(address);
                }
                if self.topology.add_address(net, device, address) {
                    self.address_changed(address, net);
                    // It may be the preferred source that the kernel missed.
                    self.stir_link(device, [None, None]);
                }
            }
            KernelEvent::AddressGone { device, address, net } => {
                if self.topology.remove_address(net, device, address) {
                    self.address_changed(address, net);
                }
                // Of IPv6 routes the kernel takes only the preferred source away, as silently.
                if address.is_ipv4() || self.source.ipv6 == Some(address) || self.has_lost_ipv6(device) {
                    self.wants_dump();
                }
            }
            KernelEvent::Object {
                id,
                protocol,
                content,
            } => {
                self.note_object(id, &content);
                self.object_found(id, protocol, &content);
            }
            KernelEvent::ObjectGone { id } => {
                self.topology.objects_mut().remove(id);
                self.object_gone(id);
            }
            KernelEvent::Route {
                table,
                prefix,
                protocol,
                route,
                how,
            } => {
                let mut authored = Authored { protocol, route };
                if table == Table::Ours && self.protocols.are_ours(protocol) {
                    self.own_route(prefix, &authored.without_hops(), how == Arrival::Replacement);
                    if how == Arrival::AddedFirst {
                        self.lead(prefix, &authored);
                    }
                } else {
                    self.topology.objects_mut().fill(&mut authored);
                    let authored = essential(authored);
                    if table == Table::Ours {
                        self.rank(prefix, &authored, how);
                    }
                    self.foreign_route(table, prefix, authored, how);
                }
            }
            KernelEvent::RouteGone {
                table,
                prefix,
                protocol,
                route,
            } => {
                let mut gone = Authored { protocol, route };
                if table == Table::Ours && self.protocols.are_ours(protocol) {
                    let gone = gone.without_hops();
                    self.own_route_gone(prefix, gone.route.metric, Some(&gone));
                } else {
                    self.topology.objects_mut().fill(&mut gone);
                    self.joined_route(table, prefix, &gone.route);
                    let change = self.topology.remove_route(table, prefix, &essential(gone));
                    self.take_change(prefix, change);
                }
            }
            KernelEvent::Link {
                index,
                name,
                is_up,
                has_carrier,
            } => {
                let link = Link {
                    name,
                    is_up,
                    has_carrier,
                };
                let old = self.topology.set_link(index, link.clone());
                if old.as_ref() != Some(&link) {
                    let old_name = old.as_ref().map(|old| old.name.as_str());
                    self.stir_link(index, [old_name, Some(&link.name)]);
                    self.learner
                        .touch_link(old_name.filter(|name| *name != link.name));
                }
                // Without carrier the kernel drops a device's nexthop objects, and what leads through them: in silence.
                if old.as_ref().is_some_and(|old| old.has_carrier) && !has_carrier {
                    for prefix in self.topology.drop_objects_of(index) {
                        self.others_changed(prefix);
                    }
                    self.drop_objects_through(index);
                }
                // Unknown before: a dump is under way, and routes may have been told of before their link.
                if old.is_none_or(|old| old.is_up) && !is_up {
                    self.drop_device(index);
                }
            }
            KernelEvent::LinkGone { index } => {
                let old = self.topology.remove_link(index);
                let old_name = old.as_ref().map(|old| old.name.as_str());
                self.learner.touch_link(old_name);
                self.stir_link(index, [old_name, None]);
                self.drop_device(index);
            }
        }
    }

    fn address_changed(&mut self, address: IpAddr, net: IpNet) {
        self.learner.touch_connected();
        self.stir.all |= self.source[Family::of(address)] == Some(address);
        // Whether it is ours decides whether it can be a next hop.
        self.stir_net(IpNet::from(address));
        for end in ends(net) {
            self.stir_net(IpNet::from(end));
        }
        // A pod's interface has nothing but a link-local one.
        if self.is_loaded && !is_near(address) && self.events.back() != Some(&FibEvent::AddressesChanged) {
            self.events.push_back(FibEvent::AddressesChanged);
        }
    }

    /// Whether IPv6 left a link that stays up (disable_ipv6, an MTU below 1280) without a word of the routes. They are
    /// told of before the last address unless net.ipv6.route.skip_notify_on_dev_down is set: then some are left here.
    fn has_lost_ipv6(&self, device: u32) -> bool {
        self.topology.is_up_without_ipv6(device)
            && (self.topology.has_ipv6_through(device)
                || self.ipv6.users(&self.shapes.routes_through(device)) > 0)
    }

    fn own_route(&mut self, prefix: IpNet, found: &Authored, is_replacement: bool) {
        let metric = found.route.metric;
        // Where ours is the first of its metric, that is what was replaced.
        if is_replacement && !self.is_first(prefix, metric) {
            let change = self.topology.displace(prefix, metric);
            self.take_change(prefix, change);
        }
        let id = self.shapes.route_id(found);
        let around = Surroundings {
            shapes: &self.shapes,
            topology: &self.topology,
            may_sweep: self.may_sweep,
            is_dumping: matches!(self.dump, Dump::Running { .. }),
        };
        let outcome = match prefix {
            IpNet::V4(prefix) => self.ipv4.found(prefix, id, is_replacement, &around),
            IpNet::V6(prefix) => self.ipv6.found(prefix, id, is_replacement, &around),
        };
        // What a dump shows for the first time is not somebody's doing of this moment.
        if self.is_loaded {
            self.judge(prefix, outcome);
        }
    }

    fn own_route_gone(&mut self, prefix: IpNet, metric: u32, gone: Option<&Authored>) {
        let outcome = match prefix {
            IpNet::V4(prefix) => self.ipv4.lost(prefix, metric, gone, &self.shapes),
            IpNet::V6(prefix) => self.ipv6.lost(prefix, metric, gone, &self.shapes),
        };
        self.judge(prefix, outcome);
    }

    fn judge(&mut self, prefix: IpNet, outcome: Outcome) {
        match outcome {
            Outcome::Expected => {}
            Outcome::Ambiguous => self.wants_dump(),
            Outcome::Differs => {
                self.counts.repaired += 1;
                self.damage.count += 1;
                self.damage.example.get_or_insert(prefix);
                if let Some(now) = self.now
                    && !self.fights.repair_at_once(prefix, now)
                {
                    match prefix {
                        IpNet::V4(prefix) => self.ipv4.delay(prefix),
                        IpNet::V6(prefix) => self.ipv6.delay(prefix),
                    }
                }
            }
        }
    }

    /// Of IPv4 routes with one prefix and metric the first is in force, and is what a replacement hits. Another
    /// program's came.
    fn rank(&mut self, prefix: IpNet, foreign: &Authored, how: Arrival) {
        if let IpNet::V4(prefix) = prefix {
            let metric = foreign.route.metric;
            let is_behind = matches!(how, Arrival::Added | Arrival::Shown);
            // A dump may show what an event told just before.
            let is_alone = !self.topology.has_beside(prefix, foreign);
            self.ipv4.rank(prefix, metric, is_behind, is_alone, &self.shapes);
        }
    }

    /// Somebody wrote one with our number, before all others.
    fn lead(&mut self, prefix: IpNet, found: &Authored) {
        if let IpNet::V4(prefix) = prefix
            && self.topology.has_beside(prefix, found)
        {
            self.ipv4
                .rank(prefix, found.route.metric, true, true, &self.shapes);
        }
    }

    /// Whether a route of ours goes before all others with its prefix and metric, of which there are some.
    pub(super) fn is_first(&self, prefix: IpNet, metric: u32) -> bool {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.exceptions.is_first(prefix, metric),
            IpNet::V6(prefix) => self.ipv6.exceptions.is_first(prefix, metric),
        }
    }

    fn foreign_route(&mut self, table: Table, prefix: IpNet, foreign: Authored, how: Arrival) {
        let is_replacement = how == Arrival::Replacement;
        let metric = foreign.route.metric;
        if !is_replacement {
            self.joined_route(table, prefix, &foreign.route);
        }
        let change = self.topology.add_route(table, prefix, foreign, how);
        if is_replacement && table == Table::Ours {
            self.own_route_gone(prefix, metric, None);
        }
        self.take_change(prefix, change);
    }

    fn take_change(&mut self, prefix: IpNet, change: Change) {
        match change {
            Change::None => {}
            Change::Done => self.others_changed(prefix),
            Change::Unclear => {
                self.others_changed(prefix);
                self.look_up();
            }
        }
    }

    /// Asks for a dump, ever more slowly while others do again and again what only a dump shows. Until then what is
    /// known of theirs stays.
    fn look_up(&mut self) {
        let is_coming = matches!(self.dump, Dump::Awaited { .. } | Dump::Running { again: true });
        if is_coming || self.doubts.next_due().is_some() {
            return;
        }
        if self
            .now
            .is_none_or(|now| self.doubts.repair_at_once(EVERYTHING, now))
        {
            self.wants_dump();
        }
    }

    /// IPv6 makes one route of all that have a prefix, a metric and gateways, and tells of it under the number of
    /// whichever it looked at: what is said of another program's may have happened to ours. A dump shows it.
    fn joined_route(&mut self, table: Table, prefix: IpNet, other: &KernelRoute) {
        let IpNet::V6(prefix) = prefix else { return };
        // A dump tells of the routes as they are, and of each but once.
        let is_telling = matches!(self.dump, Dump::Running { .. });
        if table == Table::Ours
            && !is_telling
            && other.has_gateway()
            && self.ipv6.has(prefix, other.metric, &self.shapes)
        {
            self.wants_dump();
        }
    }

    /// Another program's routes to a prefix changed.
    pub(super) fn others_changed(&mut self, prefix: IpNet) {
        self.touch(prefix);
        self.stir_net(prefix);
        // After a dump everything is looked at.
        if !matches!(self.dump, Dump::Running { .. }) {
            self.learner.touch(prefix);
        }
    }

    /// The kernel drops a device's routes without a word for IPv4; IPv6 routes are told of, but later.
    fn drop_device(&mut self, index: u32) {
        for prefix in self.topology.drop_device(index) {
            self.others_changed(prefix);
        }
        self.drop_objects_through(index);
        let routes = self.shapes.routes_through(index);
        if routes.is_empty() {
            return;
        }
        let is_ambiguous = self.ipv4.drop_device(index, &routes, &self.shapes)
            | self.ipv6.drop_device(index, &routes, &self.shapes);
        if is_ambiguous {
            self.wants_dump();
        }
    }

    pub(super) fn touch(&mut self, prefix: IpNet) {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.touch(prefix),
            IpNet::V6(prefix) => self.ipv6.touch(prefix),
        }
    }
}

/// Others' preferred sources and the like do not matter, and would be as many different routes.
fn essential(foreign: Authored) -> Authored {
    let Authored { protocol, mut route } = foreign;
    (route.source, route.has_more) = (None, false);
    Authored { protocol, route }
}
