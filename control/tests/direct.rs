//! A zone without proxies between: browsers are sent to the agent itself, and it may ask for its own sessions.

mod support;

use anyhow::Result;
use meridian_model::NodeRole;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, FakeAgent, FakeProxy, Site};

const NONCE: &str = "00000000000000000000000000000000";

async fn set_proxied(admin: &Client, proxied: bool) -> Result<()> {
    let patch = json!({"proxy_connections": proxied});
    let (status, body) = admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?;
    anyhow::ensure!(status == StatusCode::OK, "{body}");
    Ok(())
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn browsers_are_sent_to_the_agent_and_it_asks_for_its_own_sessions_alone() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let asking = FakeProxy::of_role(&site, NodeRole::Agent).await?;
    let proxy = FakeProxy::enroll(&site).await?;
    let mut agent = FakeAgent::of(asking.name.node, site.store(), 4);
    agent.report(Vec::new()).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = admin.launch(&desktop, "london", "one").await?;
    let session = session["id"].as_str().unwrap_or_default().to_owned();
    agent.say(&session, 1, Observation::Running).await?;
    let connect = format!("/api/v1/sessions/{session}/connect");

    // With proxies between, an agent may not ask.
    let (status, body) = asking.ask(&asking.ticket(&admin, &connect).await?, NONCE).await?;
    assert_eq!((status, code(&body)), (StatusCode::FORBIDDEN, "not_direct"));

    // Without them it must have said where it is.
    set_proxied(&admin, false).await?;
    let (status, body) = admin.send(Method::POST, &connect, None).await?;
    assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "no_direct_address"));
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains("agent agent")), "{body}");
    agent.direct_address = Some("https://not-an-address/".into());
    agent.report(Vec::new()).await?;
    assert_eq!(admin.send(Method::POST, &connect, None).await?.0, StatusCode::SERVICE_UNAVAILABLE);
    agent.direct_address = Some("$request_host$:8446".into());
    agent.report(Vec::new()).await?;
    let (status, view) = admin.send(Method::POST, &connect, None).await?;
    assert_eq!(status, StatusCode::OK, "{view}");
    assert_eq!(view["url"], format!("ws://127.0.0.1:8446/desktop-london/{session}/stream"));
    // The distance is measured where the streams go.
    let (_, zones) = admin.send(Method::GET, "/api/v1/zones", None).await?;
    assert_eq!(zones["items"][0]["probe"], "http://127.0.0.1:8446/desktop-london/probe");
    let ticket = asking.ticket(&admin, &connect).await?;
    let (status, granted) = asking.ask(&ticket, NONCE).await?;
    assert_eq!((status, &granted["agent_id"]), (StatusCode::OK, &json!(agent.node)), "{granted}");
    let (status, body) = asking.ask(&ticket, &"1".repeat(32)).await?;
    assert_eq!((status, code(&body)), (StatusCode::CONFLICT, "ticket_used"));

    // Another agent of the zone may not ask about this one's sessions; a proxy on its way out still may.
    let token = site.token(NodeRole::Agent, "london").await?;
    std::fs::copy(token, site.folder.path().join("agent-london.token"))?;
    let other = FakeProxy::of_role(&site, NodeRole::Agent).await?;
    let (status, body) = other.ask(&asking.ticket(&admin, &connect).await?, NONCE).await?;
    assert_eq!((status, code(&body)), (StatusCode::FORBIDDEN, "unknown_proxy"));
    assert_eq!(proxy.ask(&proxy.ticket(&admin, &connect).await?, NONCE).await?.0, StatusCode::OK);
    Ok(())
}
