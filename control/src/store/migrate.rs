//! Migrations, under an advisory lock: any number of Web App nodes may start at once.

use std::time::Duration;

use refinery::{Migration, Runner};
use tokio_postgres::{Client, error::SqlState};

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
    "V20261123001000__silence",
    "V20261123010000__fleet",
    "V20261123020000__registry",
    "V20261123100000__quiet_heartbeat",
    "V20261123101000__people",
    "V20261123101500__placement",
    "V20261123101600__permissions",
    "V20261123101700__people_admin",
    "V20261123102500__zone_choice",
    "V20261123103000__zone_life",
    "V20261123103100__session_life",
    "V20261123103200__homes",
    "V20261123103500__reassign",
    "V20261123103600__remove_node",
    "V20261123103700__images",
    "V20261123103800__image_policy",
    "V20261123104500__watching",
    "V20261123104600__audit_keys",
    "V20261123110000__placement_again",
    "V20261123110100__nodes_again",
    "V20261123110200__sessions_again",
    "V20261123110300__workspaces_again",
    "V20261123110400__configuration",
    "V20261123140000__image_matrix",
    "V20261123140100__node_lists",
    "V20261123140200__bounds",
    "V20261123140300__direct_probe",
    "V20261123141000__audit_origin",
    "V20261123150200__sessions_again",
    "V20261123160000__planned_once",
    "V20261123170000__zones_judged_again",
    "V20261123171000__home_of_an_account",
);

/// How long another node's migration is waited for.
pub const MIGRATION_WAIT: Duration = Duration::from_secs(60);

/// Brings the database up to date. `client` should have no statement timeout. Another node that is at it is waited for, but no longer
/// than `wait`.
///
/// # Errors
/// When the database refuses, or somebody else holds the lock all the time.
pub async fn migrate(client: &mut Client, wait: Duration) -> Result<(), StoreError> {
    take_lock(client, wait).await?;
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

async fn take_lock(client: &Client, wait: Duration) -> Result<(), StoreError> {
    client.batch_execute(&format!("SET lock_timeout = {}", wait.as_millis())).await?;
    let taken = client.execute("SELECT pg_advisory_lock($1)", &[&ADVISORY_LOCK]).await;
    client.batch_execute("RESET lock_timeout").await?;
    match taken {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            Err(StoreError::MigrationBusy { wait_s: wait.as_secs(), holder: holder(client).await? })
        }
        Err(error) => Err(error.into()),
    }
}

/// Whoever holds the lock, in words with which an administrator finds it.
async fn holder(client: &Client) -> Result<String, StoreError> {
    // A lock by one number is shown as its two halves.
    let row = client
        .query_opt(
            "SELECT format('backend pid %s, application %s, from %s, connected since %s', l.pid,
                 coalesce(nullif(a.application_name, ''), 'unnamed'), coalesce(host(a.client_addr), 'this machine'),
                 coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), 'unknown'))
             FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND (l.classid::bigint << 32) | l.objid::bigint = $1 LIMIT 1",
            &[&ADVISORY_LOCK],
        )
        .await?;
    Ok(row.map_or_else(|| "nobody any more: try again".into(), |row| row.get(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_there_is_is_run_in_order() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
        let names = folder.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> =
            names.filter_map(|name| Some(name.strip_suffix(".sql")?.to_owned())).collect();
        files.sort();
        let run: Vec<_> = MIGRATIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(run, files);
    }
}
