//! A node is removed by draining it; and a Web App node says how far it is from its database.

mod support;

use std::time::Duration;

use anyhow::Result;
use meridian_harness::wait_for;
use meridian_wire::{Heartbeat, ImageStanding, ImageState, Observation};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Another, FakeProxy, Site, web_settings};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_agent_is_drained_its_sessions_end_with_the_reason_and_then_it_goes() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let agent = site.agent("london", 4).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = admin.launch(&desktop, "london", "one").await?;
    let session = session["id"].as_str().unwrap_or_default().to_owned();
    agent.say(&session, 1, Observation::Running).await?;
    let remove = async |query: &str| {
        let path = format!("/api/v1/nodes/{}/remove{query}", agent.node);
        admin.send(Method::POST, &path, None).await
    };
    let (status, body) = remove("").await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::CONFLICT, Some("node_in_use")),
        "{body}"
    );
    let (status, body) = remove("?drain=true").await?;
    assert_eq!((status, &body["sessions"]), (StatusCode::ACCEPTED, &json!(1)), "{body}");
    let (_, seen) = admin.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
    assert_eq!(
        (&seen["state"], &seen["reason"]),
        (&json!("ending"), &json!("its machine agent-london is being removed"))
    );
    let (status, body) = admin.launch(&desktop, "london", "two").await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "nothing new comes to it: {body}");
    assert_eq!(remove("?drain=true").await?.0, StatusCode::ACCEPTED, "it still ends what it had");
    agent.say(&session, 2, Observation::Gone).await?;
    assert_eq!(remove("?drain=true").await?.0, StatusCode::NO_CONTENT);
    assert_eq!(admin.state_of(&session).await?, "ended");
    assert!(agent.report(Vec::new()).await.is_err(), "a removed node is told so");
    assert_eq!(site.store().audit_counters().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_proxy_with_streams_is_kept_until_they_are_gone_and_a_dead_one_never() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let proxy = FakeProxy::enroll(&site).await?;
    let beat = async |streams: u32| {
        let beat = Heartbeat {
            since: 0,
            epoch: 0,
            version: "0.1.0".into(),
            address: "127.0.0.1:1".into(),
            agent: None,
            problems: Vec::new(),
            streams: Some(streams),
        };
        site.store().heartbeat(proxy.name.node, &beat).await
    };
    let remove = async |query: &str| {
        let path = format!("/api/v1/nodes/{}/remove{query}", proxy.name.node);
        admin.send(Method::POST, &path, None).await
    };
    beat(3).await?;
    assert_eq!(remove("").await?.0, StatusCode::CONFLICT);
    let (status, body) = remove("?drain=true").await?;
    assert_eq!((status, &body["streams"]), (StatusCode::ACCEPTED, &json!(3)), "{body}");
    let (_, nodes) = admin.send(Method::GET, "/api/v1/nodes", None).await?;
    let state = nodes["items"].as_array().into_iter().flatten().find(|node| node["role"] == "proxy");
    assert_eq!(state.map(|node| &node["state"]), Some(&json!("draining")));
    let sql = site.sql().await?;
    sql.execute(
        "UPDATE nodes SET last_seen_at = now() - interval '1 minute' WHERE id = $1",
        &[&proxy.name.node.0],
    )
    .await?;
    assert_eq!(remove("").await?.0, StatusCode::NO_CONTENT, "it does not answer");
    Ok(())
}

#[tokio::test]
async fn a_web_app_node_that_answers_is_not_removed_and_one_that_comes_back_is_listed_again() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let second = Another::start(web_settings(site.folder.path(), "web-2")?, site.database.config()).await?;
    let node = async |name: &str| -> Result<Option<Value>> {
        let (_, nodes) = admin.send(Method::GET, "/api/v1/nodes", None).await?;
        Ok(nodes["items"].as_array().into_iter().flatten().find(|node| node["name"] == name).cloned())
    };
    let id = node("web-2").await?.map(|node| node["id"].clone()).unwrap_or_default();
    let path = format!("/api/v1/nodes/{}/remove", id.as_str().unwrap_or_default());
    let (status, body) = admin.send(Method::POST, &path, None).await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::CONFLICT, Some("node_answers")),
        "{body}"
    );
    second.tasks.stop(LIMIT).await;
    let sql = site.sql().await?;
    let silent = "UPDATE nodes SET last_seen_at = now() - interval '1 minute' WHERE name = 'web-2'";
    sql.batch_execute(silent).await?;
    assert_eq!(admin.send(Method::POST, &path, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(node("web-2").await?, None);
    // Started again, it is the same node.
    let again = Another::start(web_settings(site.folder.path(), "web-2")?, site.database.config()).await?;
    assert_eq!(node("web-2").await?.map(|node| node["id"].clone()), Some(id));
    again.tasks.stop(LIMIT).await;
    // And one that was taken for dead says that it is not.
    sql.batch_execute("UPDATE nodes SET removed_at = now() WHERE name = 'web-1'").await?;
    wait_for("the node to come back", LIMIT, async || {
        node("web-1").await.map_err(|error| error.to_string())?.ok_or("it is not listed".to_owned())
    })
    .await?;
    let (_, audit) = admin.send(Method::GET, "/api/v1/audit?action=node_returned", None).await?;
    assert_eq!(audit["items"][0]["target"], "web-1", "{audit}");
    Ok(())
}

#[tokio::test]
async fn nothing_of_a_removed_node_stays_in_the_lists_of_images() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let agent = site.agent("london", 4).await?;
    let state = ImageState::Present { image_id: "sha256:0".into(), digest: None, size_bytes: 1 };
    let standing = ImageStanding { reference: "registry.example.org/one:1".into(), state };
    agent.report_images("", Some(vec![standing])).await?;
    agent.report(Vec::new()).await?;
    let sql = site.sql().await?;
    let rows = async || -> Result<(i64, i64)> {
        let row = sql
            .query_one(
                "SELECT (SELECT count(*) FROM node_images), (SELECT count(*) FROM image_standings)",
                &[],
            )
            .await?;
        Ok((row.get(0), row.get(1)))
    };
    assert_eq!(rows().await?, (3, 1));
    let path = format!("/api/v1/nodes/{}/remove", agent.node);
    assert_eq!(admin.send(Method::POST, &path, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(rows().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_web_app_node_says_how_far_its_database_is() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let web = wait_for("a measurement", LIMIT, async || {
        let (_, nodes) =
            admin.send(Method::GET, "/api/v1/nodes", None).await.map_err(|error| json!(error.to_string()))?;
        let web = nodes["items"].as_array().into_iter().flatten().find(|node| node["role"] == "web").cloned();
        web.filter(|web| web["database_ms"].is_number()).ok_or(nodes)
    })
    .await?;
    assert!(web["database_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{web}");
    // Another node, far away: it is told by its name.
    let far = r#"INSERT INTO nodes (id, name, role, public_point, report, last_seen_at)
        VALUES (gen_random_uuid(), 'web-far', 'web', '', '{"database_ms": 83}', now())"#;
    site.sql().await?.execute(far, &[]).await?;
    let (_, needs) = admin.send(Method::GET, "/api/v1/zones/london/requirements", None).await?;
    let told = needs["warnings"].as_array().into_iter().flatten().any(|warning| {
        warning["code"] == "web_far"
            && warning["message"].as_str().is_some_and(|text| text.contains("web-far is 83 ms"))
    });
    assert!(told, "{needs}");
    Ok(())
}
