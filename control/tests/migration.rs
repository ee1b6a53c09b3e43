//! Migrations: of several nodes at once, and what they leave behind.

mod support;

use std::time::Duration;

use anyhow::{Context, Result};
use meridian_control::store::{StoreError, migrate};
use meridian_runtime::Tasks;
use tokio_postgres::{Client, NoTls};

async fn connect(config: &tokio_postgres::Config, tasks: &Tasks) -> Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    tasks.spawn("test connection", async move { drop(connection.await) });
    Ok(client)
}

#[tokio::test]
async fn a_migration_that_somebody_else_holds_is_given_up_with_their_name() -> Result<()> {
    let database = support::database().await?;
    let tasks = Tasks::new();
    let mut config = database.config();
    let mut waiting = connect(&config, &tasks).await?;
    config.application_name("a forgotten session");
    let holder = connect(&config, &tasks).await?;
    // The number that spells the project's name.
    holder.execute("SELECT pg_advisory_lock(x'6d6572696469616e'::bigint)", &[]).await?;
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let error =
        migrate(&mut waiting, Duration::from_millis(200)).await.err().context("it was not refused")?;
    assert!(matches!(error, StoreError::MigrationBusy { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("pid {pid}")) && text.contains("a forgotten session"), "{text}");
    drop(holder);
    migrate(&mut waiting, Duration::from_secs(10)).await?;
    let limit: String = waiting.query_one("SHOW lock_timeout", &[]).await?.get(0);
    assert_eq!(limit, "0", "migrations themselves wait for their locks as before");
    drop(waiting);
    tasks.stop(Duration::from_secs(10)).await;
    Ok(())
}

#[tokio::test]
async fn no_function_that_reads_tables_for_one_value_is_planned_anew_for_each_row() -> Result<()> {
    let site = support::Site::start().await?;
    let statement = "SELECT p.proname::text FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = current_schema()::regnamespace AND l.lanname = 'sql' AND NOT p.proretset
          AND regexp_replace(p.prosrc, 'DISTINCT FROM|FROM ''', '', 'g') ~ '\\mFROM\\M|\\mINSERT\\M|\\mUPDATE\\M|\\mDELETE\\M'";
    let rows = site.sql().await?.query(statement, &[]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(names.is_empty(), "write these in PL/pgSQL, whose plans are kept: {names:?}");
    Ok(())
}
