//! What policy lets one person have at once holds however many launches race, at whichever Web App node.

mod support;

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use meridian_harness::wait_for;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Site, world::judge_books};

const RACERS: usize = 12;
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn launches_that_race_at_two_nodes_never_exceed_a_limit_and_use_it_up() -> Result<()> {
    let site = Site::start().await?;
    let second = site.another("web-2").await?;
    site.agent("london", 64).await?;
    let sql = site.sql().await?;
    let everyone = async |settings: Value| {
        sql.execute("UPDATE groups SET settings = $1 WHERE system = 'everyone'", &[&settings]).await
    };
    // The agent beats no more, and is heard of however slow this machine is.
    sql.batch_execute("UPDATE nodes SET last_seen_at = now() + interval '1 hour' WHERE role = 'agent'")
        .await?;
    let (ada, bob) = (site.user("ada").await?, site.user("bob").await?);
    let (desktop, terminal) =
        (site.workspace(&ada, "Desktop").await?, site.workspace(&ada, "Terminal").await?);
    for (user, settings, refusal) in [
        (&ada, json!({"session_limit": 3}), "session_limit"),
        (&bob, json!({"session_limit": 100, "workspace_session_limit": 3}), "policy"),
    ] {
        everyone(settings).await?;
        let clients = [user.clone(), user.at(&second.web)];
        let answers = try_join_all((0..RACERS).map(|number| {
            let (client, key) = (&clients[number % 2], format!("racer {number}"));
            let desktop = &desktop;
            async move { client.launch(desktop, "london", &key).await }
        }))
        .await?;
        let made = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
        assert_eq!(made, 3, "{answers:?}");
        for (status, body) in answers.iter().filter(|(status, _)| *status != StatusCode::CREATED) {
            assert_eq!(
                (*status, body["error"]["code"].as_str()),
                (StatusCode::CONFLICT, Some(refusal)),
                "{body}"
            );
        }
        judge_books(&sql).await?;
    }
    // The limit of each workspace leaves the others alone.
    assert_eq!(bob.launch(&terminal, "london", "another").await?.0, StatusCode::CREATED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_that_the_database_undoes_for_a_deadlock_is_made_all_the_same() -> Result<()> {
    let site = Site::start().await?;
    site.agent("london", 4).await?;
    let ada = site.user("ada").await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let (sql, looking) = (site.sql().await?, site.sql().await?);
    // Somebody who takes the locks the other way round: the agent first, then the user whom the launch has locked by then.
    sql.batch_execute("BEGIN; SELECT 1 FROM nodes WHERE role = 'agent' FOR NO KEY UPDATE").await?;
    let launched = async { ada.launch(&desktop, "london", "one").await };
    let crossed = async {
        wait_for("the launch waits for the agent", LIMIT, async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let waiting: i64 = looking.query_one(waiting, &[]).await?.get(0);
            ensure!(waiting == 1, "{waiting} statements wait");
            Ok(())
        })
        .await?;
        sql.batch_execute("SELECT 1 FROM users FOR NO KEY UPDATE; COMMIT").await?;
        anyhow::Ok(())
    };
    let ((status, body), ()) = tokio::try_join!(launched, crossed)?;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    wait_for("the deadlock is counted", LIMIT, async || {
        let undone = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        let undone: i64 = looking.query_one(undone, &[]).await?.get(0);
        ensure!(undone == 1, "{undone} deadlocks");
        Ok(())
    })
    .await?;
    judge_books(&looking).await
}
