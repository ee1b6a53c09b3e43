//! What the control plane does by itself: it judges silence, puts counters right, and removes what is over.

mod support;

use std::time::Duration;

use anyhow::Result;
use meridian_harness::wait_for;
use meridian_settings::RetentionSettings;
use meridian_wire::Observation;
use support::{Site, homes::id};

/// Does something behind Meridian's back.
async fn execute(site: &Site, statements: &str) -> Result<()> {
    let (client, connection) = site.database.superuser_config().connect(tokio_postgres::NoTls).await?;
    tokio::select! {
        _ = connection => anyhow::bail!("closed"),
        done = client.batch_execute(statements) => Ok(done?),
    }
}

async fn count(site: &Site, query: &str) -> Result<i64> {
    let (client, connection) = site.database.superuser_config().connect(tokio_postgres::NoTls).await?;
    tokio::select! {
        _ = connection => anyhow::bail!("closed"),
        row = client.query_one(query, &[]) => Ok(row?.get(0)),
    }
}

#[tokio::test]
async fn a_web_app_that_was_away_does_not_take_its_own_absence_for_an_agents() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let session = id(&user.launch(&desktop, "london", "one").await?.1);
    agent.say(&session, 1, Observation::Running).await?;
    execute(&site, "UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE role = 'agent'").await?;
    let site = site.restart().await?;
    let user = site.anonymous().sign_in("ada", support::PASSWORD).await?;
    let began = std::time::Instant::now();
    let marked = wait_for("the silence to be judged", Duration::from_secs(20), async || {
        match user.state_of(&session).await?.as_str() {
            "unreachable" => Ok(began.elapsed()),
            state => anyhow::bail!("{state}"),
        }
    })
    .await?;
    assert!(marked > Duration::from_secs(7), "it was judged after {marked:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_over_is_kept_as_long_as_configured_and_no_longer() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 16).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let mut sessions = Vec::new();
    for key in ["old", "unfinished", "young", "live"] {
        sessions.push(id(&user.launch(&desktop, "london", key).await?.1));
    }
    for session in &sessions[..3] {
        agent.say(session, 1, Observation::Exited { reason: "over".into() }).await?;
    }
    for session in [&sessions[0], &sessions[2]] {
        agent.say(session, 2, Observation::Gone).await?;
    }
    let days = |days: i32| format!("now() - interval '{days} days'");
    execute(
        &site,
        &format!(
            "UPDATE sessions SET created_at = {long}, ended_at = CASE WHEN id <> '{young}' AND ended_at IS NOT NULL THEN {long} ELSE ended_at END;
             UPDATE audit SET at = {audit} WHERE action = 'launch';
             INSERT INTO logins (token_hash, user_id, expires_at) SELECT 'yesterday', id, now() - interval '23 hours' FROM users LIMIT 1;
             INSERT INTO logins (token_hash, user_id, expires_at) SELECT 'before', id, now() - interval '25 hours' FROM users LIMIT 1",
            long = days(91),
            young = sessions[2],
            audit = days(366),
        ),
    )
    .await?;
    let kept = RetentionSettings { ended_sessions_days: 0, audit_days: 0 };
    site.store().clean_up(kept, 1000).await?;
    assert_eq!(count(&site, "SELECT count(*) FROM sessions").await?, 4, "0 means for ever");
    assert_eq!(count(&site, "SELECT count(*) FROM audit WHERE action = 'launch'").await?, 4);
    assert_eq!(count(&site, "SELECT count(*) FROM sessions WHERE idempotency_key IS NOT NULL").await?, 0);
    assert_eq!(
        count(&site, "SELECT count(*) FROM logins WHERE token_hash IN ('yesterday', 'before')").await?,
        1
    );

    // Another node is at it.
    let client = site.sql().await?;
    client.batch_execute("SELECT pg_advisory_lock(hashtextextended('meridian clean_up', 0))").await?;
    let default = RetentionSettings::default();
    assert!(!site.store().clean_up(default, 1).await?);
    assert_eq!(count(&site, "SELECT count(*) FROM audit WHERE action = 'launch'").await?, 4);
    client.batch_execute("SELECT pg_advisory_unlock_all()").await?;

    assert!(site.store().clean_up(default, 1).await?, "there is more than one row of a kind");
    wait_for("everything to be removed in small batches", Duration::from_secs(10), async || {
        site.store().clean_up(default, 1).await?;
        let left = count(&site, "SELECT count(*) FROM audit WHERE action = 'launch'").await?;
        anyhow::ensure!(left == 0, "{left}");
        Ok(())
    })
    .await?;
    let left = count(&site, &format!("SELECT count(*) FROM sessions WHERE id = '{}'", sessions[0])).await?;
    assert_eq!(
        (left, count(&site, "SELECT count(*) FROM sessions").await?),
        (0, 3),
        "a tombstone must be carried out first"
    );
    assert_eq!(site.store().audit_counters().await?, 0);
    Ok(())
}

#[tokio::test]
async fn counters_are_put_right_and_nobody_waits_for_it() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    user.launch(&desktop, "london", "one").await?;
    let client = site.sql().await?;
    // Somebody launches: the user is locked, a place is taken, and the user's count is still to be written.
    client
        .batch_execute(
            "BEGIN; SELECT 1 FROM users WHERE name = 'ada' FOR NO KEY UPDATE; UPDATE nodes SET last_placed = last_placed",
        )
        .await?;
    assert_eq!(site.store().audit_counters().await?, 0);
    client.batch_execute("UPDATE users SET sessions_used = sessions_used; COMMIT").await?;

    client
        .batch_execute(
            "UPDATE users SET sessions_used = 7; UPDATE nodes SET cpu_used = 7 WHERE role = 'agent'",
        )
        .await?;
    assert_eq!(site.store().audit_counters().await?, 3, "ada, the administrator, and the agent");
    assert_eq!(site.store().audit_counters().await?, 0);
    let row = client
        .query_one(
            "SELECT u.sessions_used, n.cpu_used FROM users u, nodes n WHERE u.name = 'ada' AND n.id = $1",
            &[&agent.node.0],
        )
        .await?;
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i64>(1)), (1, 500));
    Ok(())
}
