//! What an administrator sets about agents and workspaces decides where workspaces go, and every answer says why.

mod support;

use anyhow::Result;
use meridian_runtime::Tasks;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, FakeAgent, Site};
use tokio_postgres::NoTls;

async fn set(admin: &Client, agent: &FakeAgent, patch: Value) -> Result<Value> {
    let (status, node) =
        admin.send(Method::PATCH, &format!("/api/v1/nodes/{}", agent.node), Some(patch)).await?;
    anyhow::ensure!(status == StatusCode::OK, "{node}");
    Ok(node)
}

/// The one candidate's verdict in a refusal.
fn verdict(answer: &(StatusCode, Value)) -> &Value {
    assert_eq!(answer.0, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.1);
    &answer.1["error"]["explanation"][0]["verdict"]
}

#[tokio::test]
async fn an_agents_capacity_is_what_its_administrator_says() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let mut agent = site.agent("london", 4).await?;
    let launch = async |key: &str| admin.launch(&desktop, "london", key).await;

    set(&admin, &agent, json!({"cpu_override": 0.25})).await?;
    assert_eq!(verdict(&launch("1").await?), "0.25 core short");
    let node = set(&admin, &agent, json!({"cpu_overcommit": 2.0})).await?;
    assert_eq!(node["capacity"]["cpu"], 0.5, "{node}");
    assert_eq!(launch("2").await?.0, StatusCode::CREATED);
    assert_eq!(verdict(&launch("3").await?), "0.5 core short");
    set(&admin, &agent, json!({"cpu_override": null, "session_limit": 1})).await?;
    assert_eq!(verdict(&launch("4").await?), "at its session limit of 1");
    set(&admin, &agent, json!({"session_limit": null, "memory_mb_override": 100, "cpu_overcommit": 1.0}))
        .await?;
    assert!(verdict(&launch("5").await?).as_str().is_some_and(|words| words.ends_with("MB memory short")));
    set(&admin, &agent, json!({"memory_mb_override": null})).await?;
    assert_eq!(launch("6").await?.0, StatusCode::CREATED);

    // Cards that nobody reports, and as many as are said; taken away again, there are none.
    let path = format!("/api/v1/workspaces/{desktop}");
    let (status, _) = admin.send(Method::PATCH, &path, Some(json!({"gpu": 2}))).await?;
    assert_eq!((status, verdict(&launch("7").await?)), (StatusCode::OK, &json!("no graphics card")));
    set(&admin, &agent, json!({"gpus_override": 3})).await?;
    assert_eq!(launch("8").await?.0, StatusCode::CREATED);
    assert_eq!(verdict(&launch("9").await?), "1 of its graphics cards short");
    set(&admin, &agent, json!({"gpus_override": null})).await?;
    assert_eq!(verdict(&launch("10").await?), "no graphics card");
    admin.send(Method::PATCH, &path, Some(json!({"gpu": 0}))).await?;

    // What is out of range is refused at its field, and nothing of it is written.
    let wrong = json!({"labels": {"disk": "fast"}, "cpu_overcommit": 0.0, "session_limit": -1});
    let (status, body) =
        admin.send(Method::PATCH, &format!("/api/v1/nodes/{}", agent.node), Some(wrong)).await?;
    let fields: Vec<_> = body["error"]["fields"].as_array().into_iter().flatten().collect();
    let fields: Vec<_> = fields.into_iter().map(|field| field["field"].as_str()).collect();
    assert_eq!(
        (status, fields),
        (StatusCode::UNPROCESSABLE_ENTITY, vec![Some("session_limit"), Some("cpu_overcommit")])
    );
    let node = set(&admin, &agent, json!({})).await?;
    assert_eq!(node["capacity"]["labels"], json!({}));

    // A heartbeat changes what the agent reports, not what the administrator said.
    set(&admin, &agent, json!({"cpu_override": 3.0})).await?;
    agent.total.cpu_milli = 8000;
    agent.report(Vec::new()).await?;
    let node = set(&admin, &agent, json!({})).await?;
    assert_eq!((&node["cpu_total"], &node["capacity"]["cpu"]), (&json!(8.0), &json!(3.0)), "{node}");
    Ok(())
}

#[tokio::test]
async fn labels_zones_and_graphics_cards_decide_who_runs_what() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let mut agent = site.agent("london", 16).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let path = format!("/api/v1/workspaces/{desktop}");
    let change = async |patch: Value| admin.send(Method::PATCH, &path, Some(patch)).await;
    let launch = async |key: &str| admin.launch(&desktop, "london", key).await;

    let (status, changed) = change(json!({"required_labels": {"disk": "fast", "site": "roof"}})).await?;
    assert_eq!((status, &changed["required_labels"]["site"]), (StatusCode::OK, &json!("roof")), "{changed}");
    assert_eq!(verdict(&launch("1").await?), "label disk=fast is missing");
    set(&admin, &agent, json!({"labels": {"disk": "fast"}})).await?;
    assert_eq!(verdict(&launch("2").await?), "label site=roof is missing");
    set(&admin, &agent, json!({"labels": {"disk": "fast", "site": "roof"}})).await?;
    assert_eq!(launch("3").await?.0, StatusCode::CREATED);

    change(json!({"required_labels": {}, "zones": ["virginia"]})).await?;
    let (status, body) = launch("4").await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::CONFLICT, Some("not_offered")),
        "{body}"
    );
    let (status, body) = change(json!({"zones": ["atlantis"]})).await?;
    assert_eq!(
        (status, &body["error"]["fields"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("zones")),
        "{body}"
    );

    change(json!({"zones": null, "gpu": 1})).await?;
    assert_eq!(verdict(&launch("5").await?), "no graphics card");
    agent.gpus = 1;
    agent.report(Vec::new()).await?;
    let (status, session) = launch("6").await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    assert_eq!(verdict(&launch("7").await?), "1 of its graphics cards short");
    let session = session["id"].as_str().unwrap_or_default().to_owned();
    agent.say(&session, 1, Observation::Failed { reason: "it broke".into() }).await?;
    assert_eq!(launch("8").await?.0, StatusCode::CREATED, "the card was given back");
    assert_eq!(site.store().audit_counters().await?, 0);

    // What is for a group's members does not exist for others.
    change(json!({"gpu": 0, "groups": ["administrators"]})).await?;
    let ada = site.user("ada").await?;
    assert_eq!(ada.launch(&desktop, "london", "1").await?.0, StatusCode::NOT_FOUND);
    let (_, catalogue) = ada.send(Method::GET, "/api/v1/workspaces", None).await?;
    assert_eq!(catalogue["items"].as_array().map(Vec::len), Some(2), "{catalogue}");
    assert_eq!(launch("8a").await?.0, StatusCode::CREATED);
    let (status, body) = change(json!({"groups": ["atlanteans"]})).await?;
    assert_eq!(
        (status, &body["error"]["fields"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("groups")),
        "{body}"
    );

    let (status, _) = admin.send(Method::DELETE, &path, None).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(launch("9").await?.0, StatusCode::NOT_FOUND);
    let (_, sessions) = admin.send(Method::GET, "/api/v1/sessions", None).await?;
    assert_eq!(sessions["items"][0]["name"], "Desktop", "what ran is told by its name: {sessions}");
    let new = json!({"name": "Desktop", "image": "meridian/desktop:dev"});
    assert_eq!(admin.send(Method::POST, "/api/v1/workspaces", Some(new)).await?.0, StatusCode::CREATED);
    Ok(())
}

#[tokio::test]
async fn a_launch_looks_at_its_own_zones_agents_alone() -> Result<()> {
    let site = Site::start().await?;
    let tasks = Tasks::new();
    let (client, connection) = site.database.superuser_config().connect(NoTls).await?;
    tasks.spawn("test connection", async move { drop(connection.await) });
    client
        .batch_execute(
            "INSERT INTO zones (id, name, settings) SELECT gen_random_uuid(), 'zone-' || g, settings
                 FROM zones z, generate_series(1, 99) g WHERE z.name = 'london';
             INSERT INTO nodes (id, name, role, zone_id, public_point, last_seen_at, cpu_total, memory_total)
                 SELECT gen_random_uuid(), z.name || '-' || g, 'agent', z.id, '', now() + interval '1 hour', 64000, 256000
                 FROM zones z, generate_series(1, 100) g ORDER BY z.id;
             INSERT INTO node_images SELECT id, 'meridian/terminal:dev', 'sha256:0' FROM nodes WHERE role = 'agent';
             ANALYZE",
        )
        .await?;
    let read = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'nodes'";
    let place = "SELECT explanation->'counts' FROM zones z, workspaces w, place_v1(z, w, '[]')
        WHERE z.name = 'zone-7' AND w.name = 'Terminal'";
    client.batch_execute("BEGIN").await?;
    let before: i64 = client.query_one(read, &[]).await?.get(0);
    let counts: Value = client.query_one(place, &[]).await?.get(0);
    let rows = client.query_one(read, &[]).await?.get::<_, i64>(0) - before;
    client.batch_execute("ROLLBACK").await?;
    assert_eq!(counts, json!({"chosen": 1, "fits": 99}));
    assert!(
        (100..200).contains(&rows),
        "{rows} rows of nodes were read for a zone of 100 agents among 10,100"
    );
    Ok(())
}
