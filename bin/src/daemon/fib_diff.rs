//! `pipit fib diff` and `pipit fib sync` as the daemon answers them.

use std::collections::HashSet;
use std::time::Duration;

use ipnet::IpNet;
use pipit_rib::fib::FibDifference;
use pipit_rib::io::task::RibHandle;

use crate::control::api::ApiError;
use crate::control::protocol::{API_VERSION, FibDiff, FibDiffItem, FibSync};

/// A page of `pipit fib` costs the RIB a look at the whole table, however few items it has: few large ones cost less.
pub const LEAST_PAGE: usize = 2048;
/// Differences told; the others are counted.
const TOLD: usize = 1000;
/// What is on its way to the kernel arrives meanwhile, and is no difference.
const SETTLING: Duration = Duration::from_millis(200);
/// How long a repair may take before what is left of it is told.
const REPAIR: Duration = Duration::from_secs(8);

const GONE: ApiError = ApiError::Unavailable { owner: "the RIB" };

/// Where the kernel differs from what it should hold. A difference that a second look does not find was a change on
/// its way.
async fn differences(rib: &RibHandle) -> Result<Vec<FibDifference>, ApiError> {
    let first = rib.fib_diff().await.ok_or(GONE)?;
    if first.iter().all(|found| found.action == "wait") {
        return Ok(first);
    }
    tokio::time::sleep(SETTLING).await;
    let known: HashSet<(IpNet, &str)> = first.iter().map(|found| (found.prefix, found.problem)).collect();
    let mut second = rib.fib_diff().await.ok_or(GONE)?;
    second.retain(|found| found.action == "wait" || known.contains(&(found.prefix, found.problem)));
    Ok(second)
}

/// Answers `pipit fib diff`.
pub async fn diff(rib: &RibHandle) -> Result<FibDiff, ApiError> {
    let found = differences(rib).await?;
    let (items, omitted) = told(found);
    Ok(FibDiff {
        api_version: API_VERSION.to_owned(),
        kind: "FibDiff".to_owned(),
        items,
        omitted,
    })
}

/// Answers `pipit fib sync`.
pub async fn sync(rib: &RibHandle) -> Result<FibSync, ApiError> {
    let before = differences(rib).await?;
    // What cannot be written in time is told as what remains.
    if let Ok(answer) = tokio::time::timeout(REPAIR, rib.fib_sync()).await {
        answer.ok_or(GONE)?;
    }
    let after = differences(rib).await?;
    let left: HashSet<IpNet> = after.iter().map(|found| found.prefix).collect();
    let done = before
        .into_iter()
        .filter(|found| !left.contains(&found.prefix))
        .collect();
    let (items, omitted_done) = told(done);
    let (remaining, omitted_left) = told(after);
    Ok(FibSync {
        api_version: API_VERSION.to_owned(),
        kind: "FibSync".to_owned(),
        items,
        remaining,
        omitted: omitted_done + omitted_left,
    })
}

fn told(found: Vec<FibDifference>) -> (Vec<FibDiffItem>, usize) {
    let omitted = found.len().saturating_sub(TOLD);
    (found.into_iter().take(TOLD).map(item).collect(), omitted)
}

fn item(found: FibDifference) -> FibDiffItem {
    FibDiffItem {
        prefix: found.prefix,
        problem: found.problem.to_owned(),
        desired: found.desired,
        kernel: found.kernel,
        action: found.action.to_owned(),
        reason: found.reason,
    }
}
