//! Names of everything that has one: in any script, and never such as would break a page, a log or a table.

mod support;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

const PASSWORD: &str = "a-long-enough-password";

/// Where things with names are made: the path, the field of the name, and what else is needed.
fn makers() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("/api/v1/users", "username", json!({"password": PASSWORD})),
        ("/api/v1/groups", "name", json!({"priority": 10})),
        ("/api/v1/workspaces", "name", json!({"image": "meridian/desktop:1"})),
        ("/api/v1/zones", "zone_name", json!({})),
        ("/api/v1/api-keys", "name", json!({"permissions": ["zones:view"]})),
    ]
}

async fn make(admin: &Client, maker: &(&str, &str, Value), name: &str) -> Result<(StatusCode, Value)> {
    let (path, field, rest) = maker;
    let mut body = rest.clone();
    body[*field] = json!(name);
    admin.send(Method::POST, path, Some(body)).await
}

#[tokio::test]
async fn a_name_that_cannot_be_shown_is_refused_at_its_field_and_nothing_is_written() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let long = "x".repeat(200);
    let bad = ["", " ", "a\0b", "a\nb", "\u{1b}[31mred", "a\u{202e}b", "\u{feff}a", &long];
    for maker in makers() {
        let (path, field, _) = &maker;
        let (_, before) = admin.send(Method::GET, path, None).await?;
        for name in bad {
            let (status, body) = make(&admin, &maker, name).await?;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {name:?}: {body}");
            assert_eq!(body["error"]["fields"][0]["field"], json!(field), "{path} {name:?}: {body}");
        }
        let (_, after) = admin.send(Method::GET, path, None).await?;
        assert_eq!(
            before["items"].as_array().map(Vec::len),
            after["items"].as_array().map(Vec::len),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_name_of_a_megabyte_is_refused_before_anything_reads_it() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let huge = "x".repeat(1 << 20);
    for maker in makers() {
        let (status, body) = make(&admin, &maker, &huge).await?;
        let refused = [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::PAYLOAD_TOO_LARGE];
        assert!(refused.contains(&status), "{}: {status} {body}", maker.0);
        assert!(body["error"]["message"].is_string(), "{}: {body}", maker.0);
        assert!(body.to_string().len() < 4096, "{}: it is not said back", maker.0);
    }
    Ok(())
}

#[tokio::test]
async fn a_name_in_any_script_stays_as_it_is() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    for maker in makers() {
        let (path, ..) = &maker;
        // A zone's name is part of host names.
        if *path == "/api/v1/zones" {
            continue;
        }
        for name in ["Ада Лавлейс", "東京の机", "مكتب", "Zoë’s <b>desk</b> & \"more\"", "🖥️"]
        {
            let (status, made) = make(&admin, &maker, name).await?;
            assert!(status.is_success(), "{path} {name}: {made}");
            let (_, list) = admin.send(Method::GET, path, None).await?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            assert!(items.iter().any(|item| item["name"] == name), "{path} {name}: {list}");
        }
    }
    Ok(())
}

/// Where things are named that must be there: the method, the path, the body with `NAME` for the name, and the field.
fn references(desktop: &str) -> Vec<(Method, String, Value, &'static str)> {
    let path = |path: &str| format!("/api/v1/{path}");
    let workspace = path(&format!("workspaces/{desktop}"));
    vec![
        (
            Method::POST,
            path("zones"),
            json!({"zone_name": "oslo", "alternate_zones": ["NAME"]}),
            "alternate_zones",
        ),
        (Method::PATCH, path("zones/london"), json!({"alternate_zones": ["NAME"]}), "alternate_zones"),
        (Method::PATCH, workspace.clone(), json!({"zones": ["NAME"]}), "zones"),
        (Method::PATCH, workspace, json!({"groups": ["NAME"]}), "groups"),
        (
            Method::POST,
            path("api-keys"),
            json!({"name": "k", "permissions": ["zones:view"], "zones": ["NAME"]}),
            "zones",
        ),
        (Method::POST, path("reassignments"), json!({"user": "admin", "to": "NAME"}), "to"),
    ]
}

#[tokio::test]
async fn a_name_of_what_does_not_exist_is_not_said_back_whole() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let long = format!("\u{1b}[31m{}", "x".repeat(20_000));
    for (method, path, body, field) in references(&desktop) {
        for (name, place) in [(long.as_str(), field), ("a\0b", field)] {
            let body = serde_json::from_str::<Value>(
                &body.to_string().replace("\"NAME\"", &json!(name).to_string()),
            )?;
            let (status, answer) = admin.send(method.clone(), &path, Some(body)).await?;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {answer}");
            let said = answer["error"]["fields"][0]["field"].as_str().unwrap_or_default();
            assert!(said == place || said == format!("{place}[0]"), "{path}: {answer}");
            let text = answer.to_string();
            assert!(text.len() < 2_000 && !text.contains("\\u001b"), "{path}: {} bytes", text.len());
        }
    }
    Ok(())
}
