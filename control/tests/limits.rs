//! What policy lets one person have at once holds however many launches race, at whichever Web App node.

mod support;

use anyhow::Result;
use futures_util::future::try_join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Site, world::judge_books};

const RACERS: usize = 12;

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
