//! The kernel's routes, links and addresses as events, and what we ask of it.

use std::net::IpAddr;

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::fib::objects;

/// One next hop of a kernel route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KernelHop {
    /// Gateway; `None` for a route that is directly on the link.
    pub gateway: Option<IpAddr>,
    /// Interface index; zero where there is none.
    pub device: u32,
    /// The gateway counts as on the link although no address says so; without a gateway: those that resolve through
    /// this must.
    pub is_onlink: bool,
    /// Share of an ECMP route, from 1.
    pub weight: u8,
}

/// What a route does with its packets.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KernelAction {
    /// Drops them silently.
    Blackhole,
    /// Sends them on.
    Unicast(SmallVec<[KernelHop; 1]>),
    /// Anything that pipit never writes (unreachable, prohibit, local …), by its Linux number.
    Other(u8),
}

/// A route without its prefix.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KernelRoute {
    /// What it does.
    pub action: KernelAction,
    /// Priority; lower wins. IPv6 knows no zero: the kernel makes it 1024.
    pub metric: u32,
    /// Preferred source address of packets that this host itself sends (RTA_PREFSRC).
    pub source: Option<IpAddr>,
    /// The nexthop object that it leads through (RTA_NH_ID); its next hops are what that held when the kernel spoke.
    /// Others use them, and we where the setting says so ([ADR 4](../../../docs/adr/0004-plain-routes.md)): then its
    /// next hops are left out here, since they are the object's.
    pub object: Option<u32>,
    /// It has what pipit never writes: metrics such as an MTU (RTA_METRICS), a realm, an encapsulation, an IPv6
    /// preference or an end of its life. Of others' routes it does not matter.
    pub has_more: bool,
}

/// A route and who wrote it (rtm_protocol), without its prefix.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Authored {
    pub(crate) protocol: u8,
    pub(crate) route: KernelRoute,
}

impl Authored {
    /// What an object of ours holds is not its routes'.
    pub(crate) fn without_hops(&self) -> Authored {
        let mut route = self.clone();
        if let (Some(id), KernelAction::Unicast(hops)) = (self.route.object, &mut route.route.action)
            && objects::is_in_range(id)
        {
            hops.clear();
        }
        route
    }

    /// Without the next hops of another one; `None`: nothing is left.
    pub(crate) fn without_hops_of(&self, gone: &Authored) -> Option<Authored> {
        let mut left = self.clone();
        let KernelAction::Unicast(hops) = &mut left.route.action else {
            return None;
        };
        hops.retain(|hop| !gone.route.has_gateway_of(hop));
        (!hops.is_empty()).then_some(left)
    }

    /// Whether both lead through one nexthop object.
    pub(crate) fn is_through_same(&self, other: &Authored) -> bool {
        let key = |of: &Authored| (of.protocol, of.route.metric, of.route.object);
        self.route.object.is_some() && key(self) == key(other)
    }
}

/// Which table a route is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// The one that we write to.
    Ours,
    /// The main table, while ours is another one: its routes lead to next hops and may be announced.
    Main,
}

impl KernelRoute {
    /// Whether packets may leave through this device.
    pub(crate) fn uses(&self, device: u32) -> bool {
        self.hops().iter().any(|hop| hop.device == device)
    }

    /// Whether packets go to another router.
    pub(crate) fn has_gateway(&self) -> bool {
        self.hops().iter().any(|hop| hop.gateway.is_some())
    }

    /// Whether it has the gateway of this next hop. The kernel leaves the weight out where it tells of one alone.
    fn has_gateway_of(&self, hop: &KernelHop) -> bool {
        let is_same =
            |of: &KernelHop| of.gateway.is_some() && (of.gateway, of.device) == (hop.gateway, hop.device);
        self.hops().iter().any(is_same)
    }

    /// Whether both have the same metric and some gateway.
    pub(crate) fn shares_gateway(&self, other: &KernelRoute) -> bool {
        self.metric == other.metric && self.hops().iter().any(|hop| other.has_gateway_of(hop))
    }

    /// Whether `new` is this route with gateways that joined.
    pub(crate) fn is_joined_by(&self, new: &KernelRoute) -> bool {
        self.metric == new.metric
            && !self.hops().is_empty()
            && self.hops().iter().all(|hop| new.has_gateway_of(hop))
    }

    fn hops(&self) -> &[KernelHop] {
        match &self.action {
            KernelAction::Unicast(hops) => hops,
            KernelAction::Blackhole | KernelAction::Other(_) => &[],
        }
    }

    /// The devices of its next hops.
    pub(crate) fn devices(&self) -> impl Iterator<Item = u32> {
        self.hops().iter().map(|hop| hop.device)
    }

    /// Whether packets leave through this device and no other: then the kernel drops the route with it.
    pub(crate) fn uses_only(&self, device: u32) -> bool {
        !self.hops().is_empty() && self.hops().iter().all(|hop| hop.device == device)
    }
}

/// How a route came to be told of, and where it is among those with the same prefix and metric: IPv4 has several, and
/// packets go by the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// A dump shows it, behind those that it showed before.
    Shown,
    /// It was added, as the last.
    Added,
    /// It was added, as the first (`ip route prepend`).
    AddedFirst,
    /// It took the place of the first, or of the only one (NLM_F_REPLACE), whosever that was: the kernel says nothing
    /// else of the route that had to go.
    Replacement,
}

/// What the kernel says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelEvent {
    /// A dump starts: what it does not show is not there. What happens in the kernel meanwhile is reported in its
    /// place between the parts, so later events are always newer. A second one without [`Self::DumpEnd`] between
    /// them starts over.
    DumpBegin,
    /// The dump is complete.
    DumpEnd,
    /// A route is there.
    Route {
        /// Where.
        table: Table,
        /// Destination.
        prefix: IpNet,
        /// Who wrote it (rtm_protocol).
        protocol: u8,
        /// The rest.
        route: KernelRoute,
        /// How it came to be told of.
        how: Arrival,
    },
    /// It is there no longer.
    RouteGone {
        /// Where it was.
        table: Table,
        /// Destination.
        prefix: IpNet,
        /// Who wrote it.
        protocol: u8,
        /// The rest.
        route: KernelRoute,
    },
    /// An interface.
    Link {
        /// Index.
        index: u32,
        /// Name.
        name: String,
        /// Administratively up (IFF_UP). When it goes down the kernel drops the routes through it.
        is_up: bool,
        /// The other end is there (IFF_LOWER_UP). Without, the kernel keeps routes, and packets are lost.
        has_carrier: bool,
    },
    /// An interface that is gone.
    LinkGone {
        /// Index.
        index: u32,
    },
    /// An interface has an address.
    Address {
        /// Interface index.
        device: u32,
        /// The address itself.
        address: IpAddr,
        /// The network on the link; of a point-to-point link the peer's address.
        net: IpNet,
        /// Somebody else may have it, or has (RFC 4862 §5.4): packets cannot be sent from it, so that the kernel
        /// refuses routes that prefer it.
        is_tentative: bool,
    },
    /// An address is gone: the kernel drops, without a word, IPv4 routes that used it as their source.
    AddressGone {
        /// Interface index.
        device: u32,
        /// The address itself.
        address: IpAddr,
        /// The network on the link.
        net: IpNet,
    },
    /// A nexthop object is there, or holds something else.
    Object {
        /// Its number.
        id: u32,
        /// Who wrote it (nh_protocol).
        protocol: u8,
        /// What it leads to.
        content: ObjectContent,
    },
    /// A nexthop object is gone: the kernel drops, without a word, the IPv4 routes through it.
    ObjectGone {
        /// Its number.
        id: u32,
    },
    /// Events were lost.
    Overrun,
}

/// What a nexthop object leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObjectContent {
    /// One gateway; its weight is one.
    Hop(KernelHop),
    /// Other objects, each with a weight from 1.
    Group(SmallVec<[(u32, u8); 2]>),
    /// What pipit never writes.
    Other,
}

/// One change to the kernel's nexthop objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectOp {
    /// Its number.
    pub id: u32,
    /// What to do. All routes through an object follow its replacement, and go with its deletion.
    pub kind: FibOpKind,
    /// Protocol number to mark it with.
    pub protocol: u8,
    /// What to write.
    pub content: ObjectContent,
}

/// One change to the kernel's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FibOp {
    /// Destination.
    pub prefix: IpNet,
    /// What to do.
    pub kind: FibOpKind,
    /// Protocol number of the route to write, or of the one to delete.
    pub protocol: u8,
    /// The route to write, or the one to delete.
    pub route: KernelRoute,
}

/// See [`FibOp`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FibOpKind {
    /// There is none of ours with this metric: fail if there is a foreign one.
    Create,
    /// Take the place of ours with this metric, in one step.
    Replace,
    /// Remove ours with this metric.
    Delete,
}

/// What the kernel is asked for at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FibWork {
    /// Changes of routes.
    Routes(Vec<FibOp>),
    /// Changes of nexthop objects.
    Objects(Vec<ObjectOp>),
}

/// Why the kernel refused one change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FibRefusal {
    /// Index in the batch.
    pub at: usize,
    /// `errno`.
    pub errno: i32,
}
