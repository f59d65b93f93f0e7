//! Two connections to one peer: which of them stays.

use crate::asn::Asn;
use crate::router_id::RouterId;

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// We did.
    Outgoing,
    /// The peer did.
    Incoming,
}

impl Direction {
    /// The other one.
    pub fn opposite(self) -> Direction {
        match self {
            Direction::Outgoing => Direction::Incoming,
            Direction::Incoming => Direction::Outgoing,
        }
    }
}

/// Chooses which of two connections to one peer must close, neither being Established.
///
/// RFC 4271 §6.8: the speaker with the higher router id keeps the connection that it opened; RFC 6286 §2.3: equal
/// ids (of different ASes) are told apart by the AS number.
pub(crate) fn loser(ours: (RouterId, Asn), theirs: (RouterId, Asn)) -> Direction {
    let key = |(id, asn): (RouterId, Asn)| (u32::from(id), asn);
    if key(ours) > key(theirs) {
        Direction::Incoming
    } else {
        Direction::Outgoing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4271_6_8_the_higher_id_keeps_its_own_connection() {
        let id = |n: u32, asn: u32| (RouterId::from(n), Asn(asn));
        assert_eq!(loser(id(2, 1), id(1, 1)), Direction::Incoming);
        assert_eq!(loser(id(1, 1), id(2, 1)), Direction::Outgoing);
        assert_eq!(
            loser(id(0x8000_0000, 1), id(1, 1)),
            Direction::Incoming,
            "unsigned"
        );
        assert_eq!(loser(id(7, 2), id(7, 1)), Direction::Incoming);
        assert_eq!(loser(id(7, 1), id(7, 2)), Direction::Outgoing);
    }
}
