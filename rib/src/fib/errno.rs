//! What the kernel's refusals mean for a route, and what helps.

use crate::fib::kernel::FibOpKind;

/// Nothing to delete; IPv6 also: no route to replace.
pub(crate) const ESRCH: i32 = 3;
/// A route of somebody else is in the way.
pub(crate) const EEXIST: i32 = 17;
const ENOMEM: i32 = 12;
const ENODEV: i32 = 19;
pub(crate) const EINVAL: i32 = 22;
/// The kernel does not know such a request.
pub(crate) const EOPNOTSUPP: i32 = 95;
const ENETDOWN: i32 = 100;
const ENETUNREACH: i32 = 101;
const ENOBUFS: i32 = 105;
/// IPv6 also: another route covers the gateway.
pub(crate) const EHOSTUNREACH: i32 = 113;

/// What helps against a refusal. Whatever it is, a route that is still refused is tried again after a wait that
/// doubles up to a minute, and never keeps another one waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Remedy {
    /// Nothing is left to do: somebody deleted the route before us.
    Done,
    /// Another route has its prefix and metric: a dump shows whose, and its end is a reason to try again.
    WaitForPrefix,
    /// Device or gateway is not (or no longer) there: a change of links or of the way to the gateway is a reason to
    /// try again.
    WaitForWay,
    /// The kernel is short of memory: the writer has tried several times already.
    WaitForMemory,
    /// The kernel does not like the route itself: only other wishes change that.
    Report,
}

/// The table.
pub(crate) fn remedy(kind: FibOpKind, errno: i32) -> Remedy {
    match (errno, kind) {
        (ESRCH, FibOpKind::Delete) => Remedy::Done,
        (EEXIST, _) => Remedy::WaitForPrefix,
        // EINVAL: so says IPv4 of a gateway that is not on the link, among other things.
        (ENODEV | ENETDOWN | ENETUNREACH | EHOSTUNREACH | EINVAL | ESRCH, _) => Remedy::WaitForWay,
        (ENOMEM | ENOBUFS, _) => Remedy::WaitForMemory,
        _ => Remedy::Report,
    }
}

/// In words, for people.
pub(crate) fn words(errno: i32) -> String {
    let error = std::io::Error::from_raw_os_error(errno);
    let hint = match remedy(FibOpKind::Create, errno) {
        Remedy::Done | Remedy::WaitForPrefix => "",
        Remedy::WaitForWay => "; tried again when a link or the way to its gateway changes",
        Remedy::WaitForMemory => "; tried again later",
        Remedy::Report => "; tried again, at most once a minute",
    };
    format!("the kernel refused it: {error}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_remedy() {
        for (errno, kind, expected) in [
            (ESRCH, FibOpKind::Delete, Remedy::Done),
            (ESRCH, FibOpKind::Replace, Remedy::WaitForWay),
            (EEXIST, FibOpKind::Create, Remedy::WaitForPrefix),
            (ENETUNREACH, FibOpKind::Create, Remedy::WaitForWay),
            (ENODEV, FibOpKind::Replace, Remedy::WaitForWay),
            (EINVAL, FibOpKind::Create, Remedy::WaitForWay),
            (ENOMEM, FibOpKind::Create, Remedy::WaitForMemory),
            (ENOBUFS, FibOpKind::Delete, Remedy::WaitForMemory),
            (1, FibOpKind::Create, Remedy::Report),
        ] {
            assert_eq!(remedy(kind, errno), expected, "{errno} {kind:?}");
        }
    }
}
