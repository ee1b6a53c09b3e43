//! Groups are applied from files beside zones and workspaces: all of it or nothing, and nobody gives away more than they have.

mod support;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

async fn apply(client: &Client, body: Value) -> Result<(StatusCode, Value)> {
    client.send(Method::POST, "/api/v1/configuration/apply", Some(body)).await
}

async fn export(client: &Client) -> Result<Value> {
    Ok(client.send(Method::GET, "/api/v1/configuration", None).await?.1)
}

fn actions(plan: &Value) -> Vec<(&str, &str)> {
    let items = plan["plan"].as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .map(|item| (item["name"].as_str().unwrap_or(""), item["action"].as_str().unwrap_or("")))
        .collect()
}

#[tokio::test]
async fn groups_are_what_the_files_say_with_the_zones_and_workspaces_beside_them() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let before = export(&admin).await?;
    let (status, body) = apply(&admin, json!({"groups": before["groups"], "prune": true})).await?;
    assert_eq!(
        (status, &body["plan"]),
        (StatusCode::OK, &json!([])),
        "what was exported changes nothing: {body}"
    );

    // One file names a zone, another a group, that come with them.
    let mut zones = before["zones"].clone();
    if let Some(zones) = zones.as_array_mut() {
        zones.push(json!({"zone_name": "oslo"}));
    }
    let desk = json!({"name": "Desk", "priority": 20, "description": "", "permissions": ["users:view", "audit:view"],
        "settings": {"allowed_zones": ["oslo", "london"], "home_zone": "oslo", "max_cpu": 2}});
    let paint = json!({"name": "Paint", "image": "x", "groups": ["Desk"]});
    let wanted = json!({"zones": zones, "groups": [desk], "workspaces": [paint]});
    let (status, done) = apply(&admin, wanted.clone()).await?;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert!(actions(&done).contains(&("Desk", "create")), "{done}");
    let (_, group) = admin.send(Method::GET, "/api/v1/groups/Desk", None).await?;
    assert_eq!(group["settings"]["allowed_zones"], json!(["oslo", "london"]));
    assert_eq!(group["permissions"], json!(["audit:view", "users:view"]));
    let again = apply(&admin, wanted).await?.1;
    assert!(actions(&again).iter().all(|(_, action)| *action == "unlisted"), "again without effect: {again}");

    // Changed, and a zone renamed: the group follows by the zone's id.
    let rename = json!({"zone_name": "bergen"});
    admin.send(Method::PATCH, "/api/v1/zones/oslo", Some(rename)).await?;
    let now = export(&admin).await?;
    let groups = now["groups"].as_array().cloned().unwrap_or_default();
    let mut desk = groups.iter().find(|group| group["name"] == "Desk").cloned().unwrap_or_default();
    assert_eq!(desk["settings"]["home_zone"], "bergen");
    desk["priority"] = json!(30);
    let (_, told) = apply(&admin, json!({"groups": [desk]})).await?;
    assert_eq!(told["plan"][0]["changes"], json!([{"field": "priority", "from": 20, "to": 30}]));

    // What is wrong is said at its place, and nothing is written; deleting needs to be asked for.
    let wrong =
        json!({"groups": [{"name": "Desk", "settings": {"speed": 9}}, {"name": "Everyone", "priority": 5}]});
    let (status, body) = apply(&admin, wrong).await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<_> =
        body["error"]["fields"].as_array().into_iter().flatten().map(|field| &field["field"]).collect();
    assert_eq!(fields, ["groups.Desk.settings.speed", "groups.Everyone.priority"], "{body}");
    let system: Vec<_> = groups.iter().filter(|group| group["name"] != "Desk").collect();
    let (_, kept) = apply(&admin, json!({"groups": system})).await?;
    assert_eq!(actions(&kept), [("Desk", "unlisted")]);
    let (status, gone) = apply(&admin, json!({"groups": system, "prune": true})).await?;
    assert_eq!((status, actions(&gone)), (StatusCode::OK, vec![("Desk", "delete")]), "{gone}");
    assert_eq!(admin.send(Method::GET, "/api/v1/groups/Desk", None).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn whoever_applies_files_gives_nobody_more_than_they_have() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let key = async |permissions: &[&str]| -> Result<Client> {
        let body = json!({"name": permissions.join(" "), "permissions": permissions});
        let (status, key) = admin.send(Method::POST, "/api/v1/api-keys", Some(body)).await?;
        anyhow::ensure!(status == StatusCode::CREATED, "{key}");
        Ok(Client { token: key["token"].as_str().map(str::to_owned), ..site.anonymous() })
    };
    let zones = key(&["zones:view", "zones:modify"]).await?;
    assert_eq!(export(&zones).await?["groups"], Value::Null, "who may not view groups sees none");
    let new = json!({"groups": [{"name": "Desk"}]});
    let (status, body) = apply(&zones, new.clone()).await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::FORBIDDEN, Some("forbidden")),
        "{body}"
    );
    let groups = key(&["zones:modify", "groups:create", "groups:modify"]).await?;
    assert_eq!(apply(&groups, new).await?.0, StatusCode::OK);
    let more = json!({"groups": [{"name": "Desk", "permissions": ["users:delete"]}]});
    let (status, body) = apply(&groups, more).await?;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    let (_, desk) = admin.send(Method::GET, "/api/v1/groups/Desk", None).await?;
    assert_eq!(desk["permissions"], json!([]));
    Ok(())
}
