//! A peer that sends what the test says, and keeps what it is told as a table and as a history.
//!
//! It reads only while the test waits for something, and has no timers of its own: its hold time is far longer than
//! any test but those that send KEEPALIVEs themselves.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use pipit_testbed::IpNet;

use crate::message::{
    AS_PATH, Attributes, HEADER, IPV6, KEEPALIVE, Key, LOCAL_PREF, MP_REACH, NEXT_HOP, NOTIFICATION, OPEN,
    OPTIONAL, ORIGIN, Route, UPDATE, Update, WELL_KNOWN, message, mp_reach, nlri, octets, path, update,
};

/// Longest wait for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How pipit ended a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Code, subcode, data.
    Notified(u8, u8, Vec<u8>),
    /// A FIN without a word.
    Closed,
    /// A RST without a word.
    Reset,
}

/// What a peer heard, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Announced(Key),
    Withdrawn(Key),
    EndOfRib((u16, u8)),
    /// The body of a ROUTE-REFRESH.
    Refresh(Vec<u8>),
}

/// What an OPEN says beside the AS and the identifier.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) hold_time: u16,
    /// Code and value, 4-octet AS and multiprotocol included.
    pub(crate) capabilities: Vec<(u8, Vec<u8>)>,
}

impl Offer {
    /// 4-octet AS, route refresh, and these families.
    pub(crate) fn new(asn: u32, families: &[(u16, u8)]) -> Offer {
        let mut capabilities = vec![(65, asn.to_be_bytes().to_vec()), (2, Vec::new())];
        let family = |&(afi, safi): &(u16, u8)| (1, vec![(afi >> 8) as u8, afi as u8, 0, safi]);
        capabilities.extend(families.iter().map(family));
        Offer {
            hold_time: 240,
            capabilities,
        }
    }

    pub(crate) fn with(mut self, code: u8, value: &[u8]) -> Offer {
        self.capabilities.push((code, value.to_vec()));
        self
    }

    pub(crate) fn without(mut self, code: u8) -> Offer {
        self.capabilities.retain(|(other, _)| *other != code);
        self
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    pub(crate) address: IpAddr,
    pub(crate) asn: u32,
    /// pipit is in the same AS.
    pub(crate) is_internal: bool,
    /// Our OPEN says that prefixes may come with path identifiers.
    takes_path_ids: bool,
    /// They do.
    has_path_ids: bool,
    /// The body of pipit's OPEN.
    pub(crate) open: Vec<u8>,
    /// What it has been told, and not been told otherwise since.
    pub(crate) routes: BTreeMap<Key, Route>,
    pub(crate) events: Vec<Event>,
    pub(crate) keepalives: usize,
    /// Length of the longest message.
    pub(crate) longest: usize,
    pub(crate) ending: Option<Ending>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream, address: IpAddr, asn: u32, is_internal: bool) -> Peer {
        stream.set_nodelay(true).unwrap();
        Peer {
            stream,
            received: Vec::new(),
            address,
            asn,
            is_internal,
            takes_path_ids: false,
            has_path_ids: false,
            open: Vec::new(),
            routes: BTreeMap::new(),
            events: Vec::new(),
            keepalives: 0,
            longest: 0,
            ending: None,
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends; what cannot be sent because pipit has closed is told by `ending`.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // Whatever the error, the next read has the end and what was said before it.
        let _ = self.stream.write_all(bytes);
    }

    /// Our OPEN.
    pub(crate) fn open_message(&self, offer: &Offer) -> Vec<u8> {
        let parameters: Vec<u8> = offer
            .capabilities
            .iter()
            .flat_map(|(code, value)| {
                let capability = [&[*code, value.len() as u8][..], value].concat();
                [&[2, capability.len() as u8][..], &capability].concat()
            })
            .collect();
        let my_as = u16::try_from(self.asn).unwrap_or(23_456);
        let id = match self.address {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => [10, 98, address.octets()[14], address.octets()[15]],
        };
        let mut body = vec![4];
        body.extend(my_as.to_be_bytes());
        body.extend(offer.hold_time.to_be_bytes());
        body.extend(id);
        body.push(parameters.len() as u8);
        body.extend(parameters);
        message(OPEN, &body)
    }

    /// Exchanges OPENs and KEEPALIVEs; whether that worked.
    pub(crate) fn establish(&mut self, offer: &Offer) -> bool {
        let mode = |(code, value): &(u8, Vec<u8>)| (*code == 69).then(|| value.last().copied());
        self.takes_path_ids = matches!(offer.capabilities.iter().find_map(mode), Some(Some(1 | 3)));
        let open = self.open_message(offer);
        self.send(&open);
        self.send(&message(KEEPALIVE, &[]));
        self.pump(PATIENCE, |peer| peer.keepalives > 0);
        self.keepalives > 0
    }

    /// What pipit's OPEN says of capabilities, in order.
    pub(crate) fn capabilities(&self) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        let mut rest = &self.open[10..];
        while let [2, len, after @ ..] = rest {
            let (mut parameter, next) = after.split_at(usize::from(*len));
            while let [code, len, value @ ..] = parameter {
                let (value, more) = value.split_at(usize::from(*len));
                found.push((*code, value.to_vec()));
                parameter = more;
            }
            rest = next;
        }
        found
    }

    /// The first capability with a code.
    pub(crate) fn capability(&self, code: u8) -> Option<Vec<u8>> {
        let mut capabilities = self.capabilities().into_iter();
        capabilities
            .find(|(other, _)| *other == code)
            .map(|(_, value)| value)
    }

    /// Reads until `is_done` says so, the connection ends, or the time is over.
    pub(crate) fn pump(&mut self, time: Duration, is_done: impl Fn(&Peer) -> bool) {
        let deadline = Instant::now() + time;
        let mut buffer = vec![0; 1 << 16];
        while !is_done(self) && self.ending.is_none() {
            let Some(left) = deadline
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
            else {
                return;
            };
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ending = Some(Ending::Closed),
                Ok(len) => {
                    self.received.extend_from_slice(&buffer[..len]);
                    self.take_messages();
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.ending = Some(Ending::Reset),
            }
        }
    }

    fn take_messages(&mut self) {
        let received = std::mem::take(&mut self.received);
        let mut rest = received.as_slice();
        while let Some(header) = rest.first_chunk::<HEADER>() {
            let len = usize::from(u16::from_be_bytes([header[16], header[17]]));
            assert!(header.starts_with(&[0xff; 16]) && len >= HEADER, "{header:02x?}");
            let Some((whole, after)) = rest.split_at_checked(len) else {
                break;
            };
            self.longest = self.longest.max(len);
            self.take(header[18], &whole[HEADER..]);
            rest = after;
        }
        self.received = rest.to_vec();
    }

    fn take(&mut self, kind: u8, body: &[u8]) {
        match kind {
            OPEN => {
                self.open = body.to_vec();
                let mode = self.capability(69).and_then(|value| value.last().copied());
                self.has_path_ids = self.takes_path_ids && matches!(mode, Some(2 | 3));
            }
            KEEPALIVE => self.keepalives += 1,
            NOTIFICATION => {
                let ending = Ending::Notified(body[0], body[1], body[2..].to_vec());
                self.ending = Some(ending);
            }
            UPDATE => self.take_update(&Update::decode(body, self.has_path_ids)),
            _ => self.events.push(Event::Refresh(body.to_vec())),
        }
    }

    fn take_update(&mut self, update: &Update) {
        for key in &update.withdrawn {
            self.routes.remove(key);
            self.events.push(Event::Withdrawn(*key));
        }
        for (key, route) in &update.announced {
            self.routes.insert(*key, route.clone());
            self.events.push(Event::Announced(*key));
        }
        if let Some(family) = update.end_of_rib {
            self.events.push(Event::EndOfRib(family));
        }
    }

    /// Waits for something that must come true.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, is_right: impl Fn(&Peer) -> bool) {
        self.wait_for(what, PATIENCE, is_right);
    }

    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, time: Duration, is_right: impl Fn(&Peer) -> bool) {
        self.pump(time, &is_right);
        assert!(
            is_right(self),
            "{what}: not within {time:?}; ending {:?}, routes {:#?}",
            self.ending,
            self.routes.keys()
        );
    }

    /// Waits for pipit to end the connection.
    #[track_caller]
    pub(crate) fn ends(&mut self, what: &str) -> Ending {
        self.wait(what, |peer| peer.ending.is_some());
        self.ending.clone().unwrap()
    }

    /// Closes with a RST.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn route(&self, prefix: &str) -> Option<&Route> {
        self.routes.get(&(prefix.parse().unwrap(), None))
    }

    pub(crate) fn has(&self, prefix: &str) -> bool {
        self.route(prefix).is_some()
    }

    /// How often a prefix was announced, and how often withdrawn.
    pub(crate) fn told(&self, prefix: &str) -> (usize, usize) {
        let net: IpNet = prefix.parse().unwrap();
        let count = |wanted: fn(&Event) -> Option<Key>| {
            let keys = self.events.iter().filter_map(wanted);
            keys.filter(|(prefix, _)| *prefix == net).count()
        };
        (
            count(|event| match event {
                Event::Announced(key) => Some(*key),
                _ => None,
            }),
            count(|event| match event {
                Event::Withdrawn(key) => Some(*key),
                _ => None,
            }),
        )
    }

    /// The attributes of a good IPv4 route, whose path ends in `mark`.
    pub(crate) fn attributes(&self, mark: u32) -> Attributes {
        let mut attributes = Attributes::default();
        attributes.set(WELL_KNOWN, ORIGIN, &[0]);
        let asns: &[u32] = if self.is_internal {
            &[mark]
        } else {
            &[self.asn, mark]
        };
        attributes.set(WELL_KNOWN, AS_PATH, &path(asns));
        if self.address.is_ipv4() {
            attributes.set(WELL_KNOWN, NEXT_HOP, &octets(self.address));
        }
        if self.is_internal {
            attributes.set(WELL_KNOWN, LOCAL_PREF, &100u32.to_be_bytes());
        }
        attributes
    }

    /// Announces IPv4 prefixes with [`Self::attributes`].
    pub(crate) fn announce(&mut self, mark: u32, prefixes: &[&str]) {
        let attributes = self.attributes(mark).encode();
        self.send(&update(&[], &attributes, &nlri(prefixes)));
    }

    /// Announces IPv6 prefixes.
    pub(crate) fn announce_v6(&mut self, mark: u32, next_hop: &[u8], prefixes: &[&str]) {
        let mut attributes = self.attributes(mark);
        attributes.remove(NEXT_HOP);
        attributes.set(OPTIONAL, MP_REACH, &mp_reach(IPV6, next_hop, &nlri(prefixes)));
        self.send(&update(&[], &attributes.encode(), &[]));
    }

    pub(crate) fn withdraw(&mut self, prefixes: &[&str]) {
        self.send(&update(&nlri(prefixes), &[], &[]));
    }
}
