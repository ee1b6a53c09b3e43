//! What a zone's relays hear of it, and what they say of themselves.

mod support;

use anyhow::{Context, Result, ensure};
use meridian_control::store::nodes::HeartbeatOutcome;
use meridian_model::NodeRole;
use meridian_wire::Heartbeat;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site, joined::JoinedNode};

async fn proxy(site: &Site) -> Result<JoinedNode> {
    JoinedNode::join(site, NodeRole::Proxy, "london", None).await
}

async fn post(client: &Client, path: &str) -> Result<StatusCode> {
    Ok(client.send(Method::POST, path, None).await?.0)
}

/// The node in the administrators' list.
async fn listed(admin: &Client, node: &JoinedNode) -> Result<Value> {
    let (_, nodes) = admin.send(Method::GET, "/api/v1/nodes", None).await?;
    let id = node.client.name().node.to_string();
    let items = nodes["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().find(|item| item["id"] == id).context("the node is not listed")
}

async fn beat(site: &Site, node: &JoinedNode, streams: Option<u32>) -> Result<Value> {
    let beat = Heartbeat {
        since: 0,
        epoch: 0,
        version: "0.1.0".into(),
        address: "10.1.0.31:8443".into(),
        agent: None,
        problems: Vec::new(),
        streams,
    };
    match site.store().heartbeat(node.client.name().node, &beat).await? {
        HeartbeatOutcome::Ok { update } => Ok(update),
        outcome @ HeartbeatOutcome::UnknownNode => anyhow::bail!("{outcome:?}"),
    }
}

#[tokio::test]
async fn a_proxy_that_is_drained_hears_of_it_at_once_and_says_how_many_streams_are_left() -> Result<()> {
    let site = Site::start().await?;
    let (admin, node) = (site.admin().await?, proxy(&site).await?);
    let path = format!("/api/v1/nodes/{}", node.client.name().node);
    let update = beat(&site, &node, Some(3)).await?;
    assert_eq!(update["settings"]["draining"], json!(false));
    let mut watch = node.watch(&site.web, 0).await?;

    assert_eq!(post(&admin, &format!("{path}/drain")).await?, StatusCode::NO_CONTENT);
    watch.until(|update| update["settings"]["draining"] == true).await?;
    let shown = listed(&admin, &node).await?;
    assert_eq!((&shown["state"], &shown["streams"]), (&json!("draining"), &json!(3)), "{shown}");

    let update = beat(&site, &node, Some(0)).await?;
    assert_eq!(update["settings"]["draining"], json!(true));
    let shown = listed(&admin, &node).await?;
    assert_eq!((&shown["state"], &shown["streams"]), (&json!("draining"), &json!(0)), "{shown}");

    assert_eq!(post(&admin, &format!("{path}/undrain")).await?, StatusCode::NO_CONTENT);
    watch.until(|update| update["settings"]["draining"] == false).await?;
    let shown = listed(&admin, &node).await?;
    assert_eq!(shown["state"], json!("ready"), "{shown}");
    // A node of the release before does not count its streams.
    beat(&site, &node, None).await?;
    assert_eq!(listed(&admin, &node).await?["streams"], json!(0));
    Ok(())
}

#[tokio::test]
async fn an_agents_streams_are_those_of_its_sessions() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 8).await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let mut sessions = Vec::new();
    for key in ["one", "two"] {
        let (_, session) = admin.launch(&desktop, "london", key).await?;
        sessions.push(meridian_wire::ObservedSession {
            session_id: session["id"].as_str().unwrap_or_default().parse()?,
            epoch: 1,
            generation: 1,
            observation: meridian_wire::Observation::Running,
            streams: 2,
            active_at: None,
        });
    }
    agent.report(sessions).await?;
    let (_, nodes) = admin.send(Method::GET, "/api/v1/nodes", None).await?;
    let items = nodes["items"].as_array().cloned().unwrap_or_default();
    let shown = items.iter().find(|item| item["role"] == "agent").context("no agent")?;
    assert_eq!(shown["streams"], json!(4), "{shown}");
    Ok(())
}

#[tokio::test]
async fn access_that_is_taken_away_reaches_the_zones_relays_and_the_agent_at_once() -> Result<()> {
    let site = Site::start().await?;
    let agent = support::joined::JoinedAgent::join(&site, None).await?;
    agent.fake.report(Vec::new()).await?;
    let (admin, relay) = (site.admin().await?, proxy(&site).await?);
    let elsewhere = JoinedNode::join(&site, NodeRole::Proxy, "virginia", None).await?;
    let ada = site.user("ada").await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let mut sessions = Vec::new();
    for key in ["cut", "ended"] {
        let (status, session) = ada.launch(&desktop, "london", key).await?;
        ensure!(status == StatusCode::CREATED, "{session}");
        sessions.push(session["id"].as_str().unwrap_or_default().to_owned());
    }
    let mut watches = [relay.watch(&site.web, 0).await?, agent.watch(&site.web, 0).await?];
    let mut far = elsewhere.watch(&site.web, 0).await?;
    let names = |session: String| {
        move |update: &Value| {
            let revocations = update["settings"]["revocations"].as_array().cloned().unwrap_or_default();
            revocations.iter().any(|revocation| revocation["session_id"] == session.as_str())
        }
    };

    let path = format!("/api/v1/sessions/{}", sessions[1]);
    assert_eq!(ada.send(Method::DELETE, &path, None).await?.0, StatusCode::ACCEPTED);
    for watch in &mut watches {
        watch.until(names(sessions[1].clone())).await?;
    }
    let (_, users) = admin.send(Method::GET, "/api/v1/users", None).await?;
    let items = users["items"].as_array().cloned().unwrap_or_default();
    let user = items.iter().find(|user| user["name"] == "ada").context("no ada")?;
    let path = format!("/api/v1/users/{}", user["id"].as_str().unwrap_or_default());
    let (status, body) = admin.send(Method::PATCH, &path, Some(json!({"disabled": true}))).await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    for watch in &mut watches {
        watch.until(names(sessions[0].clone())).await?;
    }
    // Another zone hears of what concerns it, and of nothing else: its next news is its own.
    let patch = json!({"outage_grace": 60});
    let (status, body) = admin.send(Method::PATCH, "/api/v1/zones/virginia", Some(patch)).await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    let first = far.next().await?;
    assert_eq!(first["settings"]["zone"]["outage_grace_s"], json!(60), "{first}");
    assert_eq!(first["settings"]["revocations"], json!([]));
    Ok(())
}

/// What a row carries of who wrote or locked it, and where it lies: any write changes it.
async fn marks(site: &Site) -> Result<Vec<String>> {
    let client = site.sql().await?;
    let rows = client
        .query(
            "SELECT 'session ' || xmin || ' ' || xmax || ' ' || ctid FROM sessions
             UNION ALL SELECT 'image ' || xmin || ' ' || xmax || ' ' || ctid FROM node_images ORDER BY 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[tokio::test]
async fn sessions_that_merely_run_are_not_written() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 8).await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let mut sessions = Vec::new();
    for key in ["one", "two"] {
        let (_, session) = admin.launch(&desktop, "london", key).await?;
        sessions.push(meridian_wire::ObservedSession {
            session_id: session["id"].as_str().unwrap_or_default().parse()?,
            epoch: 1,
            generation: 1,
            observation: meridian_wire::Observation::Running,
            streams: 1,
            active_at: None,
        });
    }
    let before = marks(&site).await?;
    agent.report(sessions.clone()).await?;
    let running = marks(&site).await?;
    ensure!(before != running, "the first report makes them running: {running:?}");
    for _ in 0..3 {
        agent.report(sessions.clone()).await?;
    }
    assert_eq!(marks(&site).await?, running);
    Ok(())
}
