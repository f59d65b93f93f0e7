//! Which protocol numbers mark routes as ours: the configured one, and during a change the one before.

use std::net::IpAddr;

use pipit_bgp::FamilyMap;
use smallvec::SmallVec;
use tracing::info;

use crate::fib::Fib;

/// See the module.
#[derive(Debug)]
pub(super) struct Protocols {
    current: u8,
    /// Numbers used before, as long as routes may carry them. Afterwards they are others': whoever uses them then
    /// must not lose routes to us.
    former: SmallVec<[u8; 2]>,
}

impl Protocols {
    pub(super) fn new(current: u8) -> Self {
        Protocols {
            current,
            former: SmallVec::new(),
        }
    }

    pub(super) fn current(&self) -> u8 {
        self.current
    }

    pub(super) fn are_ours(&self, protocol: u8) -> bool {
        self.current == protocol || self.former.contains(&protocol)
    }

    pub(super) fn all(&self) -> SmallVec<[u8; 4]> {
        std::iter::once(self.current)
            .chain(self.former.iter().copied())
            .collect()
    }
}

impl Fib {
    /// Another protocol number: every route of ours is replaced by one that carries it, in one step each. Routes that
    /// carry it already become ours.
    pub fn set_protocol(&mut self, protocol: u8) {
        let old = self.protocols.current;
        if old == protocol {
            return;
        }
        info!(
            from = old,
            to = protocol,
            "another protocol number for kernel routes"
        );
        self.protocols.former.retain(|former| *former != protocol);
        self.protocols.former.push(old);
        self.protocols.current = protocol;
        self.mark_anew();
        // What carries the number was others' until now.
        self.wants_dump();
    }

    /// Whether routes in our table carry this number and are not ours so far.
    pub fn is_carried_by_others(&self, protocol: u8) -> bool {
        !self.protocols.are_ours(protocol) && self.topology.is_carried(protocol)
    }

    /// The source address that packets of this host prefer on routes of ours (RTA_PREFSRC); `None`: the kernel's
    /// choice.
    pub fn set_source(&mut self, source: FamilyMap<Option<IpAddr>>) {
        if self.source != source {
            self.source = source;
            self.mark_anew();
        }
    }

    /// The protocol number of all routes of ours; `None` while some may carry one that was used before.
    pub fn protocol(&self) -> Option<u8> {
        self.protocols.former.is_empty().then_some(self.protocols.current)
    }

    fn mark_anew(&mut self) {
        self.shapes.set_marks(self.protocols.current, self.source);
        self.stir.all = true;
        if self.dump == super::dump::Dump::Done {
            self.resolve_again();
        }
    }

    /// Everything is written: a former number that no route carries any more is given up.
    pub(super) fn forget_former_protocols(&mut self) {
        if self.protocols.former.is_empty() || !self.may_sweep || !self.in_flight.is_empty() {
            return;
        }
        let shapes = &self.shapes;
        let is_carried = |protocol: u8| {
            let of = |id| shapes.authored(id).protocol == protocol;
            self.ipv4.routes().any(of) || self.ipv6.routes().any(of) || shapes.objects.carries(protocol)
        };
        self.protocols.former.retain(|protocol| is_carried(*protocol));
    }
}
