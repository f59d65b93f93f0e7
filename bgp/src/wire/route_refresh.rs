//! ROUTE-REFRESH (RFC 2918 §3) with the subtypes of enhanced refresh (RFC 7313 §3.2).

use bytes::Bytes;

use crate::family::Family;
use crate::wire::header;
use crate::wire::iana::{ErrorCode, message};
use crate::wire::notification::Notification;

/// What a ROUTE-REFRESH says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteRefresh {
    /// Send the family's routes again.
    Request(Family),
    /// They are sent again from here on (BoRR).
    Begin(Family),
    /// They all have been sent (EoRR).
    End(Family),
}

/// Reads a whole message; `None` for an unknown family or subtype, which is ignored (RFC 7313 §5).
///
/// # Errors
/// A wrong length, when enhanced refresh was negotiated (RFC 7313 §5). Without it such a message is ignored.
pub fn decode(whole: &[u8], is_enhanced: bool) -> Result<Option<RouteRefresh>, Notification> {
    let body = whole.get(header::LEN..).unwrap_or_default();
    let Some((&[high, low, subtype, safi], orf)) = body.split_first_chunk() else {
        return if is_enhanced {
            Err(Notification::with(ErrorCode::INVALID_REFRESH_LENGTH, whole))
        } else {
            Ok(None)
        };
    };
    if is_enhanced && matches!(subtype, 1 | 2) && !orf.is_empty() {
        return Err(Notification::with(ErrorCode::INVALID_REFRESH_LENGTH, whole));
    }
    let family = Family::from_afi_safi(u16::from_be_bytes([high, low]), safi);
    Ok(match (family, subtype, is_enhanced) {
        (Some(family), 0, _) | (Some(family), _, false) => Some(RouteRefresh::Request(family)),
        (Some(family), 1, true) => Some(RouteRefresh::Begin(family)),
        (Some(family), 2, true) => Some(RouteRefresh::End(family)),
        _ => None,
    })
}

/// Asks for a family's routes.
pub fn request(family: Family) -> Bytes {
    encode(family, 0)
}

/// BoRR.
pub fn begin_of_refresh(family: Family) -> Bytes {
    encode(family, 1)
}

/// EoRR.
pub fn end_of_refresh(family: Family) -> Bytes {
    encode(family, 2)
}

fn encode(family: Family, subtype: u8) -> Bytes {
    let [high, low] = family.afi().to_be_bytes();
    header::message(message::ROUTE_REFRESH, &[high, low, subtype, family.safi()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7313_subtypes_both_ways() {
        let family = Family::Ipv6Unicast;
        assert_eq!(
            decode(&request(family), true),
            Ok(Some(RouteRefresh::Request(family)))
        );
        assert_eq!(
            decode(&begin_of_refresh(family), true),
            Ok(Some(RouteRefresh::Begin(family)))
        );
        assert_eq!(
            decode(&end_of_refresh(family), true),
            Ok(Some(RouteRefresh::End(family)))
        );
        assert_eq!(request(family)[19..], [0, 2, 0, 1]);
        let cut = header::message(5, &[0, 1, 0]);
        assert_eq!(
            decode(&cut, true).unwrap_err().error,
            ErrorCode::INVALID_REFRESH_LENGTH
        );
        assert_eq!(decode(&cut, false), Ok(None));
        assert_eq!(decode(&header::message(5, &[0, 99, 0, 1]), true), Ok(None));
        assert_eq!(decode(&header::message(5, &[0, 1, 77, 1]), true), Ok(None));
    }
}
