//! With which API key a request is made, so that what it does is written down with it.
//!
//! The audit log is written inside the SQL functions, which are told who asks and not by what. So the key's hash travels beside the
//! statement, as a setting of the connection that one statement before sets and one after takes back. All three are sent at once: on the
//! wire they are one trip, also when nobody waits for the answer any more, so that no connection goes back to the pool with a key on it. A
//! request of somebody who signed in has nothing of this.

use std::future::Future;

use futures_util::future::join3;
use tokio_postgres::{Client, Error, Statement};

use super::logins::TokenHash;

const MARK: &str = "SELECT set_config('meridian.key', $1, false)";
pub(super) const HOT: &[&str] = &[MARK];

tokio::task_local! {
    static KEY: TokenHash;
}

/// Does something with a key: every statement within is this key's.
pub(crate) async fn acting_with<T>(key: TokenHash, work: impl Future<Output = T>) -> T {
    KEY.scope(key, work).await
}

/// The statement that marks a connection, and the key to mark it with; none where nobody acts with one.
pub(super) fn mark() -> Option<(&'static str, String)> {
    KEY.try_with(|key| (MARK, hex::encode(key.0))).ok()
}

/// Runs something between the mark and its taking back.
pub(super) async fn marked<T>(
    client: &Client,
    mark: &Statement,
    key: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> (Result<T, Error>, Result<(), Error>) {
    // Each sends what it has to say when it is polled first, and they are polled in this order.
    let (set, outcome, reset) =
        join3(client.execute(mark, &[&key]), work, client.execute(mark, &[&""])).await;
    (outcome, set.and(reset).map(drop))
}
