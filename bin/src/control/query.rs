//! What may be asked of the long lists, as query strings and as checked values.

use std::net::IpAddr;

use ipnet::IpNet;
use pipit_bgp::Family;
use serde::{Deserialize, Serialize};

use crate::control::protocol::{FibItem, RouteItem};

/// Which prefixes a question is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Selection {
    /// All.
    #[default]
    All,
    /// This one.
    Exact(IpNet),
    /// This one and all that lie in it.
    Within(IpNet),
    /// The longest one that has a route and contains the address.
    LongestMatch(IpAddr),
}

impl Selection {
    /// The family the prefixes must have, where the selection says it.
    pub fn family(&self) -> Option<Family> {
        match self {
            Selection::All => None,
            Selection::Exact(prefix) | Selection::Within(prefix) => Some(Family::of(prefix.addr())),
            Selection::LongestMatch(address) => Some(Family::of(*address)),
        }
    }

    /// Whether the selection names one thing, so that finding nothing is a negative answer.
    pub fn is_one(&self) -> bool {
        match self {
            Selection::All | Selection::Within(_) => false,
            Selection::Exact(_) | Selection::LongestMatch(_) => true,
        }
    }
}

/// A question about routes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RouteQuery {
    /// Which prefixes.
    pub selection: Selection,
    /// Only this family; `None`: both.
    pub family: Option<Family>,
    /// Only paths from the peer with this name; `local` for this node's own.
    pub from: Option<String>,
    /// Also say whether the paths go to the peer of this name.
    pub to: Option<String>,
    /// Only the paths in use.
    pub best: bool,
}

impl RouteQuery {
    /// Whether a path of a selected prefix is wanted.
    ///
    /// The control server asks this of every path, so that the owner of the routes need only honour `selection`.
    pub fn admits(&self, route: &RouteItem) -> bool {
        self.family.is_none_or(|family| family == route.family)
            && self.from.as_ref().is_none_or(|from| *from == route.peer)
            && (route.best || !self.best)
    }
}

/// A question about this node's kernel routes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FibQuery {
    /// Only this family; `None`: both.
    pub family: Option<Family>,
}

impl FibQuery {
    /// Whether a route is wanted.
    pub fn admits(&self, route: &FibItem) -> bool {
        self.family
            .is_none_or(|family| family == Family::of(route.prefix.addr()))
    }
}

/// The query string of [`crate::control::protocol::path::RESET`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetParams {
    /// The name of a peer.
    pub name: String,
}

/// The query string of [`crate::control::protocol::path::DRAIN`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainParams {
    /// Take back what is announced, in place of marking it.
    #[serde(default)]
    pub withdraw: bool,
}

/// The query string of [`crate::control::protocol::path::ROUTES`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteParams {
    /// A prefix; its host bits must be zero. Excludes `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<IpNet>,
    /// Also the prefixes within `prefix`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub longer: bool,
    /// An address: the longest match. Excludes `prefix`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// `ipv4` or `ipv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// The name of a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The name of a peer: say whether the paths go there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only the paths in use.
    #[serde(default, skip_serializing_if = "is_false")]
    pub best: bool,
}

/// The query string of [`crate::control::protocol::path::FIB`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FibParams {
    /// `ipv4` or `ipv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
}

/// A question that contradicts itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// Two selections at once.
    #[error("`prefix` and `for` exclude each other")]
    TwoSelections,
    /// `longer` without a prefix.
    #[error("`longer` needs `prefix`")]
    LongerThanNothing,
    /// A prefix with host bits.
    #[error("{given} has host bits set; did you mean {meant}")]
    HostBits {
        /// What was asked for.
        given: IpNet,
        /// The prefix it lies in.
        meant: IpNet,
    },
    /// The selection is of one family, `family` says the other.
    #[error("the prefix or address is not of family {0}")]
    OtherFamily(Family),
}

impl TryFrom<RouteParams> for RouteQuery {
    type Error = QueryError;

    fn try_from(params: RouteParams) -> Result<Self, QueryError> {
        let RouteParams {
            prefix,
            longer,
            address,
            family,
            from,
            to,
            best,
        } = params;
        let selection = match (prefix, longer, address) {
            (Some(_), _, Some(_)) => return Err(QueryError::TwoSelections),
            (None, true, _) => return Err(QueryError::LongerThanNothing),
            (None, false, None) => Selection::All,
            (None, false, Some(address)) => Selection::LongestMatch(address),
            (Some(prefix), false, None) => Selection::Exact(without_host_bits(prefix)?),
            (Some(prefix), true, None) => Selection::Within(without_host_bits(prefix)?),
        };
        match (family, selection.family()) {
            (Some(asked), Some(selected)) if asked != selected => Err(QueryError::OtherFamily(asked)),
            _ => Ok(RouteQuery {
                selection,
                family,
                from,
                to,
                best,
            }),
        }
    }
}

impl From<RouteQuery> for RouteParams {
    fn from(query: RouteQuery) -> Self {
        let RouteQuery {
            selection,
            family,
            from,
            to,
            best,
        } = query;
        let (prefix, longer, address) = match selection {
            Selection::All => (None, false, None),
            Selection::Exact(prefix) => (Some(prefix), false, None),
            Selection::Within(prefix) => (Some(prefix), true, None),
            Selection::LongestMatch(address) => (None, false, Some(address)),
        };
        RouteParams {
            prefix,
            longer,
            address,
            family,
            from,
            to,
            best,
        }
    }
}

fn without_host_bits(given: IpNet) -> Result<IpNet, QueryError> {
    let meant = given.trunc();
    if meant == given {
        Ok(given)
    } else {
        Err(QueryError::HostBits { given, meant })
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<Selection, &str>) {
        let params: RouteParams = serde_urlencoded::from_str(text).unwrap();
        let got = RouteQuery::try_from(params.clone());
        match expected {
            Ok(selection) => {
                let query = got.unwrap();
                assert_eq!(query.selection, selection, "{text}");
                assert_eq!(RouteParams::from(query), params, "{text}");
            }
            Err(message) => assert_eq!(got.unwrap_err().to_string(), message, "{text}"),
        }
    }

    #[test]
    fn query_strings_select_and_round_trip() {
        let prefix = "10.0.0.0/26".parse().unwrap();
        check("", Ok(Selection::All));
        check("prefix=10.0.0.0/26", Ok(Selection::Exact(prefix)));
        check("prefix=10.0.0.0%2F26&longer=true", Ok(Selection::Within(prefix)));
        check(
            "for=fd00::1",
            Ok(Selection::LongestMatch("fd00::1".parse().unwrap())),
        );
        check("family=ipv6&best=true&from=Mesh_10_0_0_2", Ok(Selection::All));
    }

    #[test]
    fn contradictions_are_refused_with_the_reason() {
        check(
            "prefix=10.0.0.0/8&for=10.0.0.1",
            Err("`prefix` and `for` exclude each other"),
        );
        check("longer=true", Err("`longer` needs `prefix`"));
        check(
            "prefix=10.0.0.1/26",
            Err("10.0.0.1/26 has host bits set; did you mean 10.0.0.0/26"),
        );
        check(
            "prefix=10.0.0.0/26&family=ipv6",
            Err("the prefix or address is not of family ipv6"),
        );
    }

    #[test]
    fn unknown_parameters_are_refused_not_ignored() {
        assert!(serde_urlencoded::from_str::<RouteParams>("prefx=10.0.0.0/26").is_err());
        assert!(serde_urlencoded::from_str::<RouteParams>("family=ipv5").is_err());
        assert!(serde_urlencoded::from_str::<FibParams>("device=eth0").is_err());
    }
}
