//! The one thing that is written: the status of CalicoNodeStatus objects, by compare and swap.

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use serde_json::Value;

use super::config::EtcdConfig;
use super::connection::{CALL_TIMEOUT, call, connect};
use super::trouble::Trouble;
use crate::key::RESOURCES;

/// How often a write is tried anew that others got ahead of.
const ATTEMPTS: usize = 3;

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// It is stored.
    Stored,
    /// The object already says so; nothing was written.
    Unchanged,
    /// There is no such object; nothing was written.
    Absent,
    /// Somebody else kept changing the object; nothing was written.
    Conflict,
}

/// Replaces `status` of `CalicoNodeStatus/<name>`; all else of the object stays as it is.
///
/// `status` gets the whole stored object and returns the new status, `None` to leave it. It is asked again with the
/// newer object when somebody else wrote in between.
///
/// # Errors
/// When none of the endpoints takes it, the last one's reason. An object that is no JSON is never overwritten.
pub async fn update_status(
    config: &EtcdConfig,
    name: &str,
    status: impl Fn(&Value) -> Option<Value>,
) -> Result<Written, Trouble> {
    let key = format!("{RESOURCES}caliconodestatuses/{name}");
    let mut result = Err(Trouble::Unreachable {
        cause: "no endpoint given".to_owned(),
    });
    for endpoint in &config.endpoints {
        result = update_at(config, endpoint, &key, &status).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

async fn update_at(
    config: &EtcdConfig,
    endpoint: &str,
    key: &str,
    status: &impl Fn(&Value) -> Option<Value>,
) -> Result<Written, Trouble> {
    let mut client = connect(config, endpoint, CALL_TIMEOUT).await?;
    for _ in 0..ATTEMPTS {
        let answer = call(client.get(key, None)).await?;
        let Some(stored) = answer.kvs().first() else {
            return Ok(Written::Absent);
        };
        let Ok(mut object) = serde_json::from_slice::<Value>(stored.value()) else {
            return Err(Trouble::NotJson);
        };
        let Some(new) = status(&object).filter(|new| object.get("status") != Some(new)) else {
            return Ok(Written::Unchanged);
        };
        let Some(fields) = object.as_object_mut() else {
            return Err(Trouble::NotJson);
        };
        fields.insert("status".to_owned(), new);
        let is_as_read = Compare::mod_revision(key, CompareOp::Equal, stored.mod_revision());
        let put = TxnOp::put(key, object.to_string(), None);
        let txn = Txn::new().when([is_as_read]).and_then([put]);
        let answer = call(client.txn(txn)).await.map_err(|trouble| match trouble {
            Trouble::Forbidden => Trouble::ReadOnly,
            other => other,
        })?;
        if answer.succeeded() {
            return Ok(Written::Stored);
        }
    }
    Ok(Written::Conflict)
}
