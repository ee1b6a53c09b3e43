//! Accounts and groups, as administrators change them.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Client;

pub fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

pub fn field(answer: &Value) -> &str {
    answer["error"]["fields"][0]["field"].as_str().unwrap_or_default()
}

pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

pub async fn id_of(client: &Client) -> Result<String> {
    Ok(text(&client.send(Method::GET, "/api/v1/auth/me", None).await?.1, "id"))
}

pub async fn patch_user(admin: &Client, user: &str, patch: Value) -> Result<(StatusCode, Value)> {
    admin.send(Method::PATCH, &format!("/api/v1/users/{user}"), Some(patch)).await
}

pub async fn make_group(admin: &Client, body: Value) -> Result<String> {
    let (status, group) = admin.send(Method::POST, "/api/v1/groups", Some(body)).await?;
    anyhow::ensure!(status == StatusCode::CREATED, "{group}");
    Ok(text(&group, "id"))
}

pub async fn join_group(admin: &Client, group: &str, user: &str) -> Result<(StatusCode, Value)> {
    admin.send(Method::PUT, &format!("/api/v1/groups/{group}/members/{user}"), None).await
}

pub async fn leave_group(admin: &Client, group: &str, user: &str) -> Result<(StatusCode, Value)> {
    admin.send(Method::DELETE, &format!("/api/v1/groups/{group}/members/{user}"), None).await
}
