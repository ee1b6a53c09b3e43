//! Sites that keep homes, and what is done with them.

use anyhow::{Result, ensure};
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Client, FakeAgent, Site};

/// A site that keeps homes for everyone.
pub async fn keeping() -> Result<Site> {
    let site = Site::start().await?;
    let body = json!({"settings": {"persistent_home": true}});
    let (status, answer) =
        site.admin().await?.send(Method::PATCH, "/api/v1/groups/Everyone", Some(body)).await?;
    ensure!(status == StatusCode::OK, "{answer}");
    Ok(site)
}

pub async fn launch(user: &Client, workspace: &str, more: Value) -> Result<(StatusCode, Value)> {
    let mut body = json!({"workspace_id": workspace});
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    user.send(Method::POST, "/api/v1/sessions", Some(body)).await
}

pub fn id(view: &Value) -> String {
    view["id"].as_str().unwrap_or_default().to_owned()
}

pub fn code(answer: &(StatusCode, Value)) -> (StatusCode, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default())
}

pub async fn homes(user: &Client) -> Result<Vec<Value>> {
    let (_, list) = user.send(Method::GET, "/api/v1/homes", None).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// The session ends, and its agent has put everything away.
pub async fn end(user: &Client, agent: &FakeAgent, session: &str) -> Result<()> {
    user.send(Method::DELETE, &format!("/api/v1/sessions/{session}"), None).await?;
    agent.say(session, 2, Observation::Gone).await?;
    ensure!(user.state_of(session).await? == "ended", "it has not ended");
    Ok(())
}
