//! With which API key a request is made and where it came from, so that what it does is written down with both.
//!
//! The audit log is written inside the SQL functions, which are told who asks and not by what, and some of them not from where. So the key's hash
//! and the address travel beside the statement, as settings of the connection that one statement before sets and one after takes back. All three
//! are sent at once: on the wire they are one trip, also when nobody waits for the answer any more, so that no connection goes back to the pool
//! with another's settings. Hot interactions are told the address themselves; of somebody who signed in they have nothing of this.

use std::future::Future;

use futures_util::future::join3;
use tokio_postgres::{Client, Error, Statement};

use super::logins::{Origin, TokenHash};

const MARK: &str = "SELECT set_config('meridian.key', $1, false), set_config('meridian.origin', $2, false)";
pub(super) const HOT: &[&str] = &[MARK];

tokio::task_local! {
    static KEY: TokenHash;
    static ORIGIN: Origin;
}

/// What a connection is marked with.
pub(super) struct Mark {
    key: String,
    origin: String,
}

/// Does something with a key: every statement within is this key's.
pub(crate) async fn acting_with<T>(key: TokenHash, work: impl Future<Output = T>) -> T {
    KEY.scope(key, work).await
}

/// Does something that was asked for from there: whatever is written down within has the address.
pub(crate) async fn acting_from<T>(origin: Origin, work: impl Future<Output = T>) -> T {
    ORIGIN.scope(origin, work).await
}

/// The statement that marks a connection, and what with; none where nothing has to be said.
pub(super) fn mark() -> Option<(&'static str, Mark)> {
    let key = KEY.try_with(|key| hex::encode(key.0)).ok();
    let origin = ORIGIN.try_with(|origin| format!("{} {}", origin.address, origin.request_id)).ok();
    if key.is_none() && origin.is_none() {
        return None;
    }
    Some((MARK, Mark { key: key.unwrap_or_default(), origin: origin.unwrap_or_default() }))
}

/// Runs something between the mark and its taking back.
pub(super) async fn marked<T>(
    client: &Client,
    statement: &Statement,
    mark: &Mark,
    work: impl Future<Output = Result<T, Error>>,
) -> (Result<T, Error>, Result<(), Error>) {
    // Each sends what it has to say when it is polled first, and they are polled in this order.
    let (set, outcome, reset) = join3(
        client.execute(statement, &[&mark.key, &mark.origin]),
        work,
        client.execute(statement, &[&"", &""]),
    )
    .await;
    (outcome, set.and(reset).map(drop))
}
