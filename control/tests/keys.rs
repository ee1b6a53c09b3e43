//! API keys that are bound to zones use their user's own sessions there and nowhere else; what they may is theirs alone; and what is done with a key is written down with it.

mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_harness::wait_for;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Client, Site,
    people::{code, field, join_group, leave_group, make_group, patch_user, text},
};

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

#[tokio::test]
async fn a_key_does_what_it_says_and_no_more_and_its_secret_is_nowhere() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    site.agent("virginia", 4).await?;
    let admin = site.admin().await?;
    let make = async |body: Value| admin.send(Method::POST, "/api/v1/api-keys", Some(body)).await;
    for (body, wanted) in [
        (json!({"name": "x", "permissions": []}), "permissions"),
        (json!({"name": "x", "permissions": ["zones:fly"]}), "permissions"),
        (json!({"name": "x", "permissions": ["zones:view"], "expires_in_days": 0}), "expires_in_days"),
        (json!({"name": "x", "permissions": ["zones:view"], "zones": ["atlantis"]}), "zones"),
        (json!({"name": "x", "permissions": ["zones:view"], "zones": []}), "zones"),
        (json!({"name": "x", "permissions": ["users:view"], "zones": ["london"]}), "zones"),
        (json!({"name": "", "permissions": ["zones:view"]}), "name"),
    ] {
        let (status, answer) = make(body.clone()).await?;
        assert_eq!((status, field(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, wanted), "{body}: {answer}");
    }
    let client =
        |made: &Value| Client { token: made["token"].as_str().map(str::to_owned), ..site.anonymous() };

    let (status, own) =
        make(json!({"name": "own", "permissions": ["sessions:own"], "expires_in_days": 7})).await?;
    assert_eq!(status, StatusCode::CREATED, "{own}");
    let token = text(&own, "token");
    assert!(token.starts_with("mk_") && token.starts_with(&text(&own, "hint")));
    let key = client(&own);
    let desktop = site.workspace(&key, "Desktop").await?;
    let (status, session) = key.launch(&desktop, "london", "one").await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let (status, answer) = key.send(Method::GET, "/api/v1/users", None).await?;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::FORBIDDEN, "forbidden"),
        "its user is an administrator, and it is not"
    );
    let (status, _) = key.send(Method::GET, "/api/v1/sessions?all=true", None).await?;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, answer) = key
        .send(
            Method::POST,
            "/api/v1/api-keys",
            Some(json!({"name": "child", "permissions": ["sessions:own"]})),
        )
        .await?;
    assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "not_for_keys"), "a key makes no keys");

    let scoped = json!({"name": "london", "permissions": ["zones:view", "zones:modify", "nodes:view", "nodes:modify", "nodes:create",
        "sessions:view"], "zones": ["london"]});
    let london = client(&make(scoped).await?.1);
    let patch = json!({"outage_grace": 600});
    assert_eq!(
        london.send(Method::PATCH, "/api/v1/zones/london", Some(patch.clone())).await?.0,
        StatusCode::OK
    );
    let (status, answer) = london.send(Method::PATCH, "/api/v1/zones/virginia", Some(patch)).await?;
    assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "other_zone"));
    let (_, zones) = london.send(Method::GET, "/api/v1/zones", None).await?;
    let shown = |zone: &Value| zone.get("load_strategy").is_some();
    assert_eq!(
        zones["items"].as_array().context("zones")?.iter().map(shown).collect::<Vec<_>>(),
        [true, false]
    );
    let (_, nodes) = london.send(Method::GET, "/api/v1/nodes", None).await?;
    let nodes = nodes["items"].as_array().context("nodes")?.clone();
    assert!(!nodes.is_empty() && nodes.iter().all(|node| node["zone"] == "london"), "{nodes:?}");
    let drain = |node: &str| format!("/api/v1/nodes/{node}/drain");
    assert_eq!(
        london.send(Method::POST, &drain(&agent.node.to_string()), None).await?.0,
        StatusCode::NO_CONTENT
    );
    let (_, all) = admin.send(Method::GET, "/api/v1/nodes", None).await?;
    let other = all["items"].as_array().context("nodes")?.iter().find(|node| node["zone"] == "virginia");
    let other = text(other.context("a node of virginia")?, "id");
    assert_eq!(london.send(Method::POST, &drain(&other), None).await?.0, StatusCode::FORBIDDEN);
    let enroll = json!({"role": "agent", "zone": "virginia"});
    assert_eq!(
        london.send(Method::POST, "/api/v1/nodes/enrollments", Some(enroll)).await?.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        london.launch(&desktop, "london", "two").await?.0,
        StatusCode::FORBIDDEN,
        "it launches nothing"
    );
    let (_, there) = admin.launch(&desktop, "virginia", "three").await?;
    assert_eq!(london.state_of(&text(&session, "id")).await?, "starting");
    let (status, _) =
        london.send(Method::GET, &format!("/api/v1/sessions/{}", text(&there, "id")), None).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);

    // Its last use is written down soon, by whichever node.
    let seen = wait_for("the key's last use", Duration::from_secs(60), async || {
        let (_, list) = admin.send(Method::GET, "/api/v1/api-keys", None).await?;
        let found =
            list["items"].as_array().into_iter().flatten().find(|item| item["id"] == own["id"]).cloned();
        found.filter(|found| found["last_used_at"].is_string()).with_context(|| format!("{list}"))
    })
    .await?;
    assert!(seen.get("token").is_none() && !text(&seen, "last_address").is_empty());
    let secret = token.trim_start_matches("mk_");
    let stored: bool = site
        .sql()
        .await?
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM api_keys k WHERE k::text LIKE '%' || $1 || '%')
                 OR EXISTS (SELECT 1 FROM audit a WHERE a::text LIKE '%' || $1 || '%')",
            &[&secret],
        )
        .await?
        .get(0);
    assert!(!stored, "only its hash is");

    let path = format!("/api/v1/api-keys/{}", text(&own, "id"));
    assert_eq!(admin.send(Method::DELETE, &path, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(key.send(Method::GET, "/api/v1/sessions", None).await?.0, StatusCode::UNAUTHORIZED);
    site.sql().await?.execute("UPDATE api_keys SET expires_at = now() WHERE name = 'london'", &[]).await?;
    assert_eq!(london.send(Method::GET, "/api/v1/nodes", None).await?.0, StatusCode::UNAUTHORIZED);
    let (_, audit) = admin.send(Method::GET, "/api/v1/audit?action=revoke_key", None).await?;
    assert_eq!(audit["items"][0]["target"], "own");
    Ok(())
}

#[tokio::test]
async fn a_key_loses_what_its_user_loses() -> Result<()> {
    let site = Site::start().await?;
    let (ada, admin) = (site.user("ada").await?, site.admin().await?);
    let desk =
        make_group(&admin, json!({"name": "Desk", "priority": 20, "permissions": ["users:view"]})).await?;
    join_group(&admin, &desk, "ada").await?;
    let body = json!({"name": "mine", "permissions": ["users:view", "sessions:own"]});
    let (_, made) = ada.send(Method::POST, "/api/v1/api-keys", Some(body)).await?;
    let key = Client { token: made["token"].as_str().map(str::to_owned), ..site.anonymous() };
    let users = async || -> Result<StatusCode> { Ok(key.send(Method::GET, "/api/v1/users", None).await?.0) };
    let own = async || -> Result<StatusCode> { Ok(key.send(Method::GET, "/api/v1/sessions", None).await?.0) };
    assert_eq!((users().await?, own().await?), (StatusCode::OK, StatusCode::OK));
    leave_group(&admin, &desk, "ada").await?;
    assert_eq!((users().await?, own().await?), (StatusCode::FORBIDDEN, StatusCode::OK));
    for off in ["locked", "disabled", "must_change_password"] {
        patch_user(&admin, "ada", json!({off: true})).await?;
        assert_eq!(own().await?, StatusCode::UNAUTHORIZED, "{off}");
        patch_user(&admin, "ada", json!({off: false})).await?;
        assert_eq!(own().await?, StatusCode::OK, "{off}");
    }
    Ok(())
}
