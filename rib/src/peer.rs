//! All that the RIB knows of one peer.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipit_bgp::session::config::Role;
use pipit_bgp::session::output::Negotiated;
use pipit_bgp::{Asn, Family, FamilyMap, FamilySet, PeerId};

use crate::adj_rib_out::GroupId;
use crate::policy::{Condition, Filter, PeerType};
use crate::source::SourceId;

/// What an operator may decide for one peer, as far as its routes are concerned.
///
/// What concerns the session itself is `pipit_bgp`'s `PeerConfig`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerSettings {
    /// Name in the CLI: Calico's session name.
    pub name: String,
    /// The peer's address.
    pub address: IpAddr,
    /// The interface that a link-local address is on.
    pub interface: Option<String>,
    /// The AS we present to it.
    pub local_as: Asn,
    /// The peer's AS.
    pub remote_as: Asn,
    /// Next hop of what we announce to it.
    pub next_hop: NextHopMode,
    /// A route reflection client (RFC 4456).
    pub is_client: bool,
    /// How often `local_as` may stand in a received path.
    pub allowed_local_as: u8,
    /// The session ends above this many prefixes of a family; `None`: no limit.
    pub max_prefixes: Option<u32>,
    /// LOCAL_PREF received over eBGP counts.
    pub accepts_local_pref: bool,
    /// Its routes must name its AS first (RFC 4271 §6.3); eBGP only.
    pub enforces_first_as: bool,
    /// Our role towards it (RFC 9234); `None`: no leak protection.
    pub role: Option<Role>,
    /// Import filters by family, in order.
    pub import: FamilyMap<Vec<Arc<Filter>>>,
    /// Export filters by family, in order.
    pub export: FamilyMap<Vec<Arc<Filter>>>,
}

impl PeerSettings {
    pub(crate) fn has_export_filters(&self) -> bool {
        Family::ALL
            .into_iter()
            .any(|family| !self.export[family].is_empty())
    }

    /// iBGP or eBGP, by the AS we present.
    pub fn peer_type(&self) -> PeerType {
        if self.local_as == self.remote_as {
            PeerType::Ibgp
        } else {
            PeerType::Ebgp
        }
    }

    /// Whether an import filter asks for the interface by which a route leaves.
    pub(crate) fn asks_for_interface(&self) -> bool {
        let filters = self.import.ipv4.iter().chain(&self.import.ipv6);
        let mut conditions = filters
            .flat_map(|filter| &filter.rules)
            .flat_map(|rule| &rule.conditions);
        conditions.any(|condition| matches!(condition, Condition::Interface(_)))
    }
}

/// Calico's `nextHopMode`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum NextHopMode {
    /// Own routes and everything towards eBGP: our address; otherwise kept.
    #[default]
    Auto,
    /// Always our address.
    SelfAddress,
    /// Kept wherever the route has one.
    Keep,
}

/// A configured peer and, if there is one, its session.
#[derive(Debug)]
pub(crate) struct PeerState {
    pub(crate) settings: Arc<PeerSettings>,
    /// Where its paths are filed; survives the session while they are kept for a graceful restart.
    pub(crate) source: Option<SourceId>,
    pub(crate) session: Option<SessionState>,
    /// Families whose stale paths wait for End-of-RIB or a deadline.
    pub(crate) retained: FamilySet,
    /// When the session was lost for the first time since the peer last said everything.
    pub(crate) away_since: Option<Instant>,
    /// How much longer they may wait than the restart time (RFC 9494); zero: no longer.
    pub(crate) long_lived: FamilyMap<Duration>,
}

/// An Established session.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) negotiated: Box<Negotiated>,
    /// Families in use; a malformed UPDATE can end one (RFC 7606 §7.11).
    pub(crate) families: FamilySet,
    pub(crate) groups: FamilyMap<Option<GroupId>>,
    /// Frames that its task has and has not written yet, oldest first. Each family has credit of its own, so that a
    /// long feed of one does not hold the other up.
    pub(crate) in_flight: VecDeque<Family>,
    /// Families for which it has said End-of-RIB.
    pub(crate) end_of_rib: FamilySet,
    /// Families for which the warning at 80 % of the prefix limit is out.
    pub(crate) near_limit: FamilySet,
    /// It is being ended over a limit: what still comes from it is not taken.
    pub(crate) is_over_limit: bool,
}

/// All configured peers.
#[derive(Debug, Default)]
pub(crate) struct PeerTable {
    peers: HashMap<PeerId, PeerState, foldhash::fast::RandomState>,
    /// Those with export filters of their own: few of many, and asked for whenever the policy changes.
    with_filters: BTreeSet<PeerId>,
}

impl PeerTable {
    pub(crate) fn get(&self, id: PeerId) -> Option<&PeerState> {
        self.peers.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut PeerState> {
        self.peers.get_mut(&id)
    }

    pub(crate) fn session_mut(&mut self, id: PeerId) -> Option<&mut SessionState> {
        self.get_mut(id)?.session.as_mut()
    }

    pub(crate) fn insert(&mut self, id: PeerId, settings: Arc<PeerSettings>) {
        self.note_filters(id, &settings);
        let state = PeerState {
            settings,
            source: None,
            session: None,
            retained: FamilySet::EMPTY,
            away_since: None,
            long_lived: FamilyMap::default(),
        };
        self.peers.insert(id, state);
    }

    /// Other settings for a peer that is known.
    pub(crate) fn change(&mut self, id: PeerId, settings: Arc<PeerSettings>) {
        self.note_filters(id, &settings);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.settings = settings;
        }
    }

    fn note_filters(&mut self, id: PeerId, settings: &PeerSettings) {
        if settings.has_export_filters() {
            self.with_filters.insert(id);
        } else {
            self.with_filters.remove(&id);
        }
    }

    pub(crate) fn remove(&mut self, id: PeerId) -> Option<PeerState> {
        self.with_filters.remove(&id);
        self.peers.remove(&id)
    }

    /// The peers' own export filters of a family.
    pub(crate) fn export_filters(&self, family: Family) -> impl Iterator<Item = &Filter> {
        let peers = self.with_filters.iter().filter_map(|id| self.peers.get(id));
        peers.flat_map(move |peer| peer.settings.export[family].iter().map(|filter| &**filter))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &PeerState)> {
        self.peers.iter().map(|(&id, state)| (id, state))
    }

    pub(crate) fn ids(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }
}

impl SessionState {
    pub(crate) fn carries(&self, family: Family) -> bool {
        self.families.contains(family)
    }
}
