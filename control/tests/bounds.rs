//! What is answered whole is bounded, whatever makes it.

mod support;

use anyhow::{Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

async fn refused(admin: &Client, path: &str, body: Value, words: &str) -> Result<()> {
    let (status, body) = admin.send(Method::POST, path, Some(body)).await?;
    let error = &body["error"];
    ensure!(status == StatusCode::CONFLICT && error["code"] == "too_many", "{body}");
    ensure!(error["message"].as_str().is_some_and(|message| message.contains(words)), "{body}");
    Ok(())
}

#[tokio::test]
async fn zones_and_workspaces_are_bounded_one_by_one_and_from_files() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let sql = site.sql().await?;
    let statement = "INSERT INTO zones (id, name, settings) SELECT gen_random_uuid(), 'zone-' || i, z.settings
            FROM generate_series(1, 1000 - (SELECT count(*)::integer FROM zones)) i, (SELECT * FROM zones LIMIT 1) z;
        INSERT INTO workspaces (id, name, image, cpu_milli, memory_mb) SELECT gen_random_uuid(), 'workspace-' || i, w.image, 100, 100
            FROM generate_series(1, 1000 - (SELECT count(*)::integer FROM workspaces)) i, (SELECT * FROM workspaces LIMIT 1) w";
    sql.batch_execute(statement).await?;

    refused(&admin, "/api/v1/zones", json!({"zone_name": "oslo"}), "1000 zones").await?;
    let files = json!({"zones": [{"zone_name": "oslo"}], "revision": "r"});
    refused(&admin, "/api/v1/configuration/apply", files, "1000 zones").await?;
    let desktop = json!({"name": "One more", "image": "registry.example.org/one:1"});
    refused(&admin, "/api/v1/workspaces", desktop.clone(), "1000 workspaces").await?;

    // Deleted ones make room.
    let id: meridian_ids::Uuid =
        sql.query_one("SELECT id FROM workspaces WHERE name = 'workspace-1'", &[]).await?.get(0);
    let path = format!("/api/v1/workspaces/{id}");
    assert_eq!(admin.send(Method::DELETE, &path, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(admin.send(Method::POST, "/api/v1/workspaces", Some(desktop)).await?.0, StatusCode::CREATED);
    Ok(())
}
