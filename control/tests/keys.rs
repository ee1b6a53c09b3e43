//! API keys that are bound to zones use their user's own sessions there and nowhere else; and what is done with a key is written down with it.

mod support;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

async fn key(
    site: &Site,
    name: &str,
    permissions: &[&str],
    zones: Option<&[&str]>,
) -> Result<(Client, Value)> {
    let body = json!({"name": name, "permissions": permissions, "zones": zones});
    let (status, made) = site.admin().await?.send(Method::POST, "/api/v1/api-keys", Some(body)).await?;
    ensure!(status == StatusCode::CREATED, "{made}");
    let client = Client { token: made["token"].as_str().map(str::to_owned), ..site.anonymous() };
    Ok((client, made["id"].clone()))
}

#[tokio::test]
async fn a_key_bound_to_zones_uses_its_users_sessions_there_and_nowhere_else() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let agent = site.agent("london", 8).await?;
    site.agent("virginia", 8).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (london, _) = key(&site, "london", &["sessions:own"], Some(&["london"])).await?;
    let launch = async |client: &Client, zone: &str, name: &str| -> Result<(StatusCode, String)> {
        let (status, body) = client.launch(&desktop, zone, name).await?;
        let id = body["id"].as_str().or(body["error"]["code"].as_str()).unwrap_or_default();
        Ok((status, id.to_owned()))
    };
    let (_, here) = launch(&admin, "london", "here").await?;
    let (_, there) = launch(&admin, "virginia", "there").await?;
    let path = |id: &str, what: &str| format!("/api/v1/sessions/{id}{what}");
    for (method, what, works) in [
        (Method::GET, "", StatusCode::OK),
        (Method::GET, "/explanation", StatusCode::OK),
        (Method::POST, "/connect", StatusCode::OK),
        (Method::POST, "/stay", StatusCode::OK),
        (Method::DELETE, "", StatusCode::ACCEPTED),
    ] {
        let (status, body) = london.send(method.clone(), &path(&there, what), None).await?;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method} {what}: {body}");
        let (status, body) = london.send(method.clone(), &path(&here, what), None).await?;
        assert_eq!(status, works, "{method} {what}: {body}");
    }
    let (_, list) = london.send(Method::GET, "/api/v1/sessions", None).await?;
    let zones: Vec<_> = list["items"].as_array().into_iter().flatten().map(|item| &item["zone"]).collect();
    assert_eq!(zones, ["london"], "{list}");

    // It launches there, by whatever way, and never elsewhere.
    assert_eq!(launch(&london, "london", "one").await?.0, StatusCode::CREATED);
    let refused = (StatusCode::CONFLICT, "not_offered".to_owned());
    assert_eq!(launch(&london, "virginia", "two").await?, refused);
    let reused = (StatusCode::CONFLICT, "key_reused".to_owned());
    assert_eq!(launch(&london, "virginia", "there").await?, reused, "somebody's launch there is not shown");
    let sql = site.sql().await?;
    sql.batch_execute("UPDATE groups SET settings = (SELECT jsonb_build_object('home_zone', id) FROM zones WHERE name = 'virginia')
        WHERE system = 'everyone'").await?;
    let body = json!({"workspace_id": desktop});
    let (status, session) = london.send(Method::POST, "/api/v1/sessions", Some(body)).await?;
    assert_eq!((status, &session["zone"]), (StatusCode::CREATED, &json!("london")), "{session}");
    let alternates = Some(json!({"search_alternate_zones": true}));
    admin.send(Method::PATCH, "/api/v1/zones/london", alternates).await?;
    admin.send(Method::POST, &format!("/api/v1/nodes/{}/drain", agent.node), None).await?;
    assert_eq!(launch(&london, "london", "three").await?.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(launch(&admin, "london", "four").await?.0, StatusCode::CREATED, "its user overflows");

    // Where policy allows none of its zones, it launches nowhere.
    sql.batch_execute("UPDATE groups SET settings = (SELECT jsonb_build_object('allowed_zones', jsonb_build_array(id)) FROM zones
        WHERE name = 'virginia') WHERE system = 'everyone'").await?;
    assert_eq!(launch(&london, "virginia", "five").await?, refused);
    assert_eq!(launch(&london, "london", "six").await?, refused);
    Ok(())
}

#[tokio::test]
async fn what_is_done_with_a_key_is_written_down_with_it_and_nothing_else_is() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    site.agent("london", 8).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let permissions = ["sessions:own", "zones:view", "zones:modify"];
    let (robot, id) = key(&site, "robot", &permissions, None).await?;
    let (other, _) = key(&site, "other", &permissions, None).await?;
    let patch = |grace: u32| Some(json!({"outage_grace": grace}));
    // In turn, many times: a connection that one of them used is another's next.
    for round in 0..20 {
        robot.send(Method::PATCH, "/api/v1/zones/london", patch(100 + round)).await?;
        admin.send(Method::PATCH, "/api/v1/zones/london", patch(200 + round)).await?;
        other.send(Method::PATCH, "/api/v1/zones/london", patch(300 + round)).await?;
        // Refused by the database itself, in the middle.
        let taken = Some(json!({"zone_name": "virginia"}));
        let (status, body) = robot.send(Method::PATCH, "/api/v1/zones/london", taken).await?;
        ensure!(status == StatusCode::CONFLICT, "{body}");
    }
    let (status, session) = robot.launch(&desktop, "london", "one").await?;
    ensure!(status == StatusCode::CREATED, "{session}");
    let audit = async |query: &str| -> Result<Vec<Value>> {
        let (status, list) =
            admin.send(Method::GET, &format!("/api/v1/audit?limit=500&{query}"), None).await?;
        ensure!(status == StatusCode::OK, "{list}");
        Ok(list["items"].as_array().context("items")?.clone())
    };
    let changes = audit("action=update_zone").await?;
    let of = |name: Option<&str>| {
        let names = |entry: &&Value| entry["key"]["name"].as_str() == name;
        let graces = changes.iter().filter(names).map(|entry| &entry["detail"]["outage_grace_s"]);
        graces.map(|grace| grace.as_u64().unwrap_or_default() / 100).collect::<Vec<_>>()
    };
    assert_eq!((of(Some("robot")), of(None), of(Some("other"))), (vec![1; 20], vec![2; 20], vec![3; 20]));
    assert!(changes.iter().all(|entry| entry["user"]["name"] == "admin"), "a key's deeds are its user's");

    let by_name = audit("key=robot").await?;
    assert_eq!(by_name.len(), 21, "twenty changes and a launch");
    assert_eq!(by_name[0]["action"], "launch");
    let id = id.as_str().context("id")?;
    assert_eq!(audit(&format!("key={id}")).await?.len(), 21);
    assert!(audit("key=nobody").await?.is_empty());

    // A key that is gone is still told apart.
    admin.send(Method::DELETE, &format!("/api/v1/api-keys/{id}"), None).await?;
    assert_eq!(audit(&format!("key={id}")).await?.len(), 21);
    Ok(())
}
