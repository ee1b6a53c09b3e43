//! Which zone a launch begins in, what the catalogue shows, and how both are explained.

mod support;

use anyhow::Result;
use meridian_runtime::Tasks;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Another, Client, Site, read, web_settings};
use tokio_postgres::NoTls;

async fn sql(site: &Site, tasks: &Tasks) -> Result<tokio_postgres::Client> {
    let (client, connection) = site.database.superuser_config().connect(NoTls).await?;
    tasks.spawn("test connection", async move { drop(connection.await) });
    Ok(client)
}

/// Launches without naming a zone, from a page at this host; gives the zone and why.
async fn launch_at(client: &Client, workspace: &str, host: &str) -> Result<(String, String)> {
    let request = client.request(Method::POST, "/api/v1/sessions").header("x-forwarded-host", host);
    let (status, session) = read(request.json(&json!({"workspace_id": workspace})).send().await?).await?;
    anyhow::ensure!(status == StatusCode::CREATED, "{session}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((text(&session["zone"]), text(&session["choice"]["because"])))
}

async fn set_zone(admin: &Client, zone: &str, patch: Value) -> Result<()> {
    let (status, body) = admin.send(Method::PATCH, &format!("/api/v1/zones/{zone}"), Some(patch)).await?;
    anyhow::ensure!(status == StatusCode::OK, "{body}");
    Ok(())
}

async fn everyone(sql: &tokio_postgres::Client, settings: &str) -> Result<()> {
    let settings: Value = serde_json::from_str(settings)?;
    sql.execute("UPDATE groups SET settings = $1 WHERE system = 'everyone'", &[&settings]).await?;
    Ok(())
}

#[tokio::test]
async fn each_way_to_a_zone_comes_before_the_next() -> Result<()> {
    let site = Site::start().await?;
    let tasks = Tasks::new();
    let sql = sql(&site, &tasks).await?;
    for zone in ["london", "virginia"] {
        site.agent(zone, 64).await?;
    }
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let because = |zone: &str, words: &str| (zone.to_owned(), words.to_owned());

    let first = because("london", "it is the first of the zones that you may use");
    assert_eq!(launch_at(&admin, &desktop, "work.example.org").await?, first);

    // The answering node's own zone.
    let settings = meridian_settings::WebSettings {
        zone: Some("virginia".into()),
        ..web_settings(site.folder.path(), "web-2")?
    };
    let second = Another::start(settings, site.database.config()).await?;
    let there = admin.at(&second.web);
    let node = because("virginia", "the Web App node that answered belongs to it");
    assert_eq!(launch_at(&there, &desktop, "work.example.org").await?, node);

    // The nearest, as measured: for this login, at every node.
    let measured = json!({"zones": [{"zone": "london", "round_trips_ms": [9.0, 8.0, 9.5]},
        {"zone": "virginia", "round_trips_ms": [85.0, 84.0, 90.0]}]});
    let (status, nearest) =
        there.send(Method::POST, "/api/v1/zones/measurements", Some(measured.clone())).await?;
    assert_eq!((status, &nearest["zone"]), (StatusCode::OK, &json!("london")), "{nearest}");
    let near = because("london", "it is the nearest to you, as measured");
    assert_eq!(launch_at(&there, &desktop, "work.example.org").await?, near);

    // The zone of the host name asked for; not when several share it.
    let hostname = "virginia.example.org";
    set_zone(&admin, "virginia", json!({"allow_origin_domain": "https://virginia.example.org"})).await?;
    let host = because("virginia", "the address you came by belongs to it");
    assert_eq!(launch_at(&admin, &desktop, hostname).await?, host);
    set_zone(&admin, "london", json!({"proxy_hostname": hostname})).await?;
    assert_eq!(launch_at(&admin, &desktop, hostname).await?, near, "two zones have that name");
    set_zone(&admin, "london", json!({"proxy_hostname": "$request_host$"})).await?;

    // The home zone, and what was asked for.
    let zone_id = async |name: &str| -> Result<String> {
        Ok(sql.query_one("SELECT id::text FROM zones WHERE name = $1", &[&name]).await?.get(0))
    };
    let (london, virginia) = (zone_id("london").await?, zone_id("virginia").await?);
    everyone(&sql, &format!(r#"{{"home_zone": "{london}", "session_limit": 100}}"#)).await?;
    assert_eq!(launch_at(&admin, &desktop, hostname).await?, because("london", "it is your home zone"));
    let (_, asked) = admin.launch(&desktop, "virginia", "asked").await?;
    assert_eq!((&asked["zone"], &asked["choice"]["because"]), (&json!("virginia"), &json!("you chose it")));
    assert_eq!(asked["choice"]["distance_ms"], 84.0, "{asked}");

    // Policy: no choice; and a zone that is not allowed is not gone to, by any way.
    everyone(&sql, &format!(r#"{{"home_zone": "{london}", "zone_choice": false, "session_limit": 100}}"#))
        .await?;
    let (status, refused) = admin.launch(&desktop, "virginia", "not asked").await?;
    assert_eq!((status, refused["error"]["code"].as_str()), (StatusCode::CONFLICT, Some("policy")));
    assert_eq!(admin.launch(&desktop, "london", "home").await?.0, StatusCode::CREATED);
    everyone(&sql, r#"{"zone_choice": false, "session_limit": 100}"#).await?;
    let (status, refused) = admin.launch(&desktop, "virginia", "without a home").await?;
    assert_eq!((status, refused["error"]["code"].as_str()), (StatusCode::CONFLICT, Some("policy")));
    let (_, why) = admin.send(Method::GET, "/api/v1/explain?workspace=Desktop&zone=virginia", None).await?;
    assert_eq!(
        why["refusal"], refused["error"]["message"],
        "what is asked beforehand says what the launch says"
    );
    everyone(&sql, &format!(r#"{{"allowed_zones": ["{virginia}"], "session_limit": 100}}"#)).await?;
    let only = because("virginia", "it is the first of the zones that you may use");
    assert_eq!(launch_at(&admin, &desktop, "work.example.org").await?, only);
    let (status, refused) = admin.launch(&desktop, "london", "forbidden").await?;
    assert_eq!((status, refused["error"]["code"].as_str()), (StatusCode::CONFLICT, Some("not_offered")));
    assert!(refused["error"]["message"].as_str().is_some_and(|text| text.contains("policy")), "{refused}");
    Ok(())
}

#[tokio::test]
async fn the_nearest_zone_is_passed_over_where_it_has_no_room_and_stays_the_nearest() -> Result<()> {
    let site = Site::start().await?;
    let tasks = Tasks::new();
    let sql = sql(&site, &tasks).await?;
    let (near, far) = (site.agent("london", 1).await?, site.agent("virginia", 64).await?);
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    everyone(&sql, r#"{"session_limit": 100}"#).await?;
    let measured = json!({"zones": [{"zone": "london", "round_trips_ms": [9.0, 8.0, 9.5]},
        {"zone": "virginia", "round_trips_ms": [85.0, 84.0, 90.0]}]});
    admin.send(Method::POST, "/api/v1/zones/measurements", Some(measured)).await?;
    let launch = async || launch_at(&admin, &desktop, "work.example.org").await;
    let nearest = ("london".to_owned(), "it is the nearest to you, as measured".to_owned());
    let instead = |lacks: &str| {
        let because = format!("it is the nearest to you with room: london is nearer, and {lacks}");
        ("virginia".to_owned(), because)
    };
    let (_, why) = admin.send(Method::GET, "/api/v1/explain?workspace=Desktop", None).await?;
    assert_eq!(why["choice"]["because"], nearest.1, "asked beforehand, what the page measured counts: {why}");
    // Its one core holds two desktops.
    assert_eq!(launch().await?, nearest);
    assert_eq!(launch().await?, nearest);
    assert_eq!(launch().await?, instead("it is full"));
    let node = format!("/api/v1/nodes/{}", near.node);
    admin.send(Method::PATCH, &node, Some(json!({"cpu_overcommit": 8.0, "memory_overcommit": 8.0}))).await?;
    assert_eq!(launch().await?, nearest, "what was measured sticks");
    admin.send(Method::POST, &format!("{node}/drain"), None).await?;
    near.report(Vec::new()).await?;
    far.report(Vec::new()).await?;
    assert_eq!(launch().await?, instead("its agents are being drained"));
    sql.batch_execute(
        "UPDATE nodes SET last_seen_at = now() - interval '1 minute' WHERE name = 'agent-london'",
    )
    .await?;
    assert_eq!(launch().await?, instead("none of its agents answers"));

    // An isolated zone lends nothing, and borrows nothing either.
    let refused = async || -> Result<Value> {
        let body = json!({"workspace_id": desktop});
        Ok(admin.send(Method::POST, "/api/v1/sessions", Some(body)).await?.1["error"]["message"].clone())
    };
    set_zone(&admin, "virginia", json!({"isolated": true})).await?;
    assert!(refused().await?.as_str().is_some_and(|text| text.contains("zone london")));
    set_zone(&admin, "virginia", json!({"isolated": false})).await?;
    set_zone(&admin, "london", json!({"isolated": true})).await?;
    let first = ("virginia".to_owned(), "it is the first of the zones that you may use".to_owned());
    assert_eq!(launch().await?, first, "the nearest zone is isolated, and nobody said that this is theirs");
    let named: Value = sql
        .query_one(
            "SELECT jsonb_build_object('session_limit', 100, 'allowed_zones', jsonb_agg(id)) FROM zones",
            &[],
        )
        .await?
        .get(0);
    everyone(&sql, &named.to_string()).await?;
    assert!(refused().await?.as_str().is_some_and(|text| text.contains("zone london")));
    everyone(&sql, r#"{"session_limit": 100}"#).await?;
    set_zone(&admin, "london", json!({"isolated": false})).await?;
    near.report(Vec::new()).await?;
    far.report(Vec::new()).await?;
    admin.send(Method::POST, &format!("{node}/undrain"), None).await?;
    assert_eq!(launch().await?, nearest);
    Ok(())
}

#[tokio::test]
async fn whoever_runs_elsewhere_is_told_so_and_why() -> Result<()> {
    let site = Site::start().await?;
    site.agent("virginia", 4).await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    set_zone(&admin, "london", json!({"search_alternate_zones": true})).await?;
    let (status, session) = admin.launch(&desktop, "london", "one").await?;
    assert_eq!((status, &session["zone"]), (StatusCode::CREATED, &json!("virginia")), "{session}");
    assert_eq!(session["choice"]["zone"], "london");
    assert_eq!(session["choice"]["elsewhere_because"], "it has no agents");
    let path = format!("/api/v1/sessions/{}/explanation", session["id"].as_str().unwrap_or_default());
    let (_, why) = admin.send(Method::GET, &path, None).await?;
    let expected =
        json!([{"zone": "london", "verdict": "it has no agents"}, {"zone": "virginia", "verdict": "chosen"}]);
    assert_eq!(why["zones"], expected, "{why}");
    assert_eq!(why["counts"], json!({"chosen": 1}));
    Ok(())
}

#[tokio::test]
async fn what_is_hidden_or_refused_is_explained_to_administrators() -> Result<()> {
    let site = Site::start().await?;
    let tasks = Tasks::new();
    let sql = sql(&site, &tasks).await?;
    let admin = site.admin().await?;
    let ada = site.user("ada").await?;
    let browser = site.workspace(&admin, "Browser").await?;
    let explain =
        async |query: &str| admin.send(Method::GET, &format!("/api/v1/explain?{query}"), None).await;
    let names = async |client: &Client, query: &str| -> Result<Vec<String>> {
        let (_, list) = client.send(Method::GET, &format!("/api/v1/workspaces{query}"), None).await?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items.iter().map(|item| item["name"].as_str().unwrap_or_default().to_owned()).collect())
    };
    assert_eq!(names(&ada, "").await?.len(), 3);

    everyone(&sql, r#"{"network": "none"}"#).await?;
    assert_eq!(names(&ada, "").await?, ["Desktop", "Terminal"]);
    let (_, why) = explain("workspace=Browser&user=ada").await?;
    assert_eq!(why["hidden_because"], "its network mode is internet, and policy allows none", "{why}");
    assert_eq!(names(&admin, "?all=true").await?.len(), 3, "administrators see all that there is");
    assert_eq!(ada.send(Method::GET, "/api/v1/workspaces?all=true", None).await?.0, StatusCode::FORBIDDEN);

    everyone(&sql, "{}").await?;
    let path = format!("/api/v1/workspaces/{browser}");
    let patch = json!({"zones": ["virginia"], "groups": ["Administrators"]});
    assert_eq!(admin.send(Method::PATCH, &path, Some(patch)).await?.0, StatusCode::OK);
    let (_, why) = explain("workspace=Browser&user=ada").await?;
    assert_eq!(why["hidden_because"], "it is for members of Administrators");
    let (_, why) = explain("workspace=Browser&user=admin&zone=london").await?;
    assert_eq!(why["hidden_because"], "london: this workspace is not offered there");
    assert_eq!(names(&admin, "?zone=london").await?, ["Desktop", "Terminal"]);
    assert_eq!(names(&admin, "?zone=virginia").await?.len(), 3);

    // Candidates that no refusal has room for come page by page.
    for number in 0..25 {
        let agent = site.agent("virginia", 4).await?;
        if number > 0 {
            admin.send(Method::POST, &format!("/api/v1/nodes/{}/drain", agent.node), None).await?;
        }
    }
    // They beat once, and on a slow machine that may be long ago.
    sql.execute("UPDATE nodes SET last_seen_at = now() WHERE role = 'agent'", &[]).await?;
    let (_, first) = explain("workspace=Browser&zone=virginia").await?;
    assert_eq!(
        (&first["counts"], &first["next"]),
        (&json!({"draining": 24, "fits": 1}), &json!("20")),
        "{first}"
    );
    sql.execute("UPDATE nodes SET last_seen_at = now() WHERE role = 'agent'", &[]).await?;
    let (_, rest) = explain("workspace=Browser&zone=virginia&cursor=20").await?;
    assert_eq!((rest["candidates"].as_array().map(Vec::len), &rest["next"]), (Some(5), &Value::Null));
    let (status, _) = explain("workspace=Browser&user=nobody").await?;
    assert_eq!(status, StatusCode::NOT_FOUND);

    // A refusal is found again by the request id that its user was shown.
    let desktop = site.workspace(&ada, "Desktop").await?;
    let (_, refused) = ada.launch(&desktop, "london", "one").await?;
    let request_id = refused["error"]["request_id"].as_str().unwrap_or_default();
    let (_, found) =
        admin.send(Method::GET, &format!("/api/v1/refusals?request_id={request_id}"), None).await?;
    let refusal = &found["items"][0];
    assert_eq!((&refusal["user"], &refusal["outcome"]), (&json!("ada"), &json!("capacity")), "{found}");
    assert_eq!(refusal["zones"][0]["verdict"], "it has no agents");
    let (_, all) = admin.send(Method::GET, "/api/v1/refusals?user=ada", None).await?;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));
    Ok(())
}
