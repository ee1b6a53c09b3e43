//! A session that stands still because of its home says so to its own user, with why and what to do, as long as its agent says it.

mod support;

use anyhow::Result;
use meridian_wire::{FrozenCause, FrozenSession, Observation};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Client, FakeAgent, Site,
    homes::{id, keeping, launch},
};

/// A session of ada's that runs on the one agent.
async fn running() -> Result<(Site, FakeAgent, Client, String)> {
    let site = keeping().await?;
    let agent = site.agent("london", 4).await?;
    let ada = site.user("ada").await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let (status, session) = launch(&ada, &desktop, json!({})).await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let session = id(&session);
    agent.say(&session, 1, Observation::Running).await?;
    Ok((site, agent, ada, session))
}

async fn seen(by: &Client, session: &str) -> Result<Value> {
    let (_, view) = by.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
    Ok(view["frozen"].clone())
}

#[tokio::test]
async fn a_frozen_session_tells_its_user_why_and_what_to_do_until_it_runs_on() -> Result<()> {
    let (site, mut agent, ada, session) = running().await?;
    assert_eq!(seen(&ada, &session).await?, Value::Null);

    let session_id = session.parse()?;
    agent.frozen = vec![FrozenSession { session_id, because: FrozenCause::StorageAway }];
    agent.report(Vec::new()).await?;
    let away = seen(&ada, &session).await?;
    assert_eq!(away["because"], "storage_away", "{away}");
    assert!(away["message"].as_str().is_some_and(|words| words.contains("storage")), "{away}");
    assert!(away["hint"].as_str().is_some_and(|words| words.contains("by itself")), "{away}");
    let (_, list) = ada.send(Method::GET, "/api/v1/sessions", None).await?;
    assert_eq!(list["items"][0]["frozen"], away, "the list says it, too");

    agent.frozen = vec![FrozenSession { session_id, because: FrozenCause::Overtaken }];
    agent.report(Vec::new()).await?;
    assert_eq!(seen(&site.admin().await?, &session).await?["because"], "overtaken");
    agent.frozen = vec![FrozenSession { session_id, because: FrozenCause::Unknown }];
    agent.report(Vec::new()).await?;
    assert_eq!(seen(&ada, &session).await?["because"], "unknown", "an agent of a later release");

    agent.frozen.clear();
    agent.report(Vec::new()).await?;
    assert_eq!(seen(&ada, &session).await?, Value::Null);
    Ok(())
}

#[tokio::test]
async fn nothing_is_said_of_other_sessions_nor_once_nobody_knows() -> Result<()> {
    let (site, mut agent, ada, session) = running().await?;
    let bob = site.user("bob").await?;
    let desktop = site.workspace(&bob, "Desktop").await?;
    let (_, other) = launch(&bob, &desktop, json!({})).await?;
    agent.say(&id(&other), 1, Observation::Running).await?;
    agent.frozen = vec![FrozenSession { session_id: session.parse()?, because: FrozenCause::StorageAway }];
    agent.report(Vec::new()).await?;
    assert_eq!(seen(&ada, &session).await?["because"], "storage_away");
    assert_eq!(seen(&bob, &id(&other)).await?, Value::Null);

    let silent = "UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE id = $1";
    site.sql().await?.execute(silent, &[&agent.node.0]).await?;
    site.store().mark_unreachable().await?;
    assert_eq!(ada.state_of(&session).await?, "unreachable");
    assert_eq!(seen(&ada, &session).await?, Value::Null, "what it said last may be over");
    Ok(())
}
