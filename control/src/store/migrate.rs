//! Migrations, under an advisory lock: any number of Web App nodes may start at once.

use refinery::{Migration, Runner};
use tokio_postgres::Client;

use super::StoreError;

/// Any number, as long as it is ours alone on this database.
const ADVISORY_LOCK: i64 = 0x6d65_7269_6469_616e;

macro_rules! migrations {
    ($($name:literal),+ $(,)?) => {
        const MIGRATIONS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../migrations/", $name, ".sql")))),+];
        /// All migrations' text: what a prepared template database is good for.
        pub const MIGRATIONS_KEY: &str = concat!($(include_str!(concat!("../../migrations/", $name, ".sql"))),+);
    };
}

migrations!(
    "V20261122170000__tables",
    "V20261122170100__sign_in",
    "V20261122170200__sessions",
    "V20261122170300__nodes",
    "V20261122170400__catalogue",
);

/// Brings the database up to date. `client` should have no statement timeout.
///
/// # Errors
/// When the database refuses, or holds migrations of a newer release that this one does not know.
pub async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    client.execute("SELECT pg_advisory_lock($1)", &[&ADVISORY_LOCK]).await?;
    let migrations = MIGRATIONS
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()
        .map_err(StoreError::Migrate)?;
    // A migration that is applied but unknown here belongs to the next release, which is compatible one release back.
    let runner = Runner::new(&migrations).set_abort_missing(false);
    let outcome = runner.run_async(client).await.map_err(StoreError::Migrate);
    client.execute("SELECT pg_advisory_unlock($1)", &[&ADVISORY_LOCK]).await?;
    outcome.map(drop)
}
